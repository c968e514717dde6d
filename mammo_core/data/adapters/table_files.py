"""Reading tables as text: CSV, TSV, Excel and Parquet."""

from __future__ import annotations

import importlib
import re
import struct
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import Any

import pandas as pd

from mammo_core.errors import DataError
from mammo_core.reading import refuse_wide_table

EXCEL_SUFFIXES = frozenset({".xlsx", ".xls"})
TABLE_SUFFIXES = frozenset({".csv", ".tsv", ".parquet"}) | EXCEL_SUFFIXES
MAX_TABLE_BYTES = 512 * 2**20


def read_table(path: Path, sheet: str | None = None) -> pd.DataFrame:
    """Read a CSV, TSV, Excel or Parquet table as text: names and cells trimmed, empty rows dropped, unknown cells empty.

    Comma, semicolon, tab and bar separate; UTF-8 with or without mark, UTF-16 and Windows-1252 are read. Of an Excel file the
    first sheet with rows is taken.

    Parameters
    ----------
    sheet : str
        Of an Excel file, the sheet wanted; where there is none of that name, the first one with rows is taken.

    Raises
    ------
    DataError
        Too large, not a table, or without a row.
    """
    _refuse_size(path)
    suffix = path.suffix.lower()
    if suffix in EXCEL_SUFFIXES:
        frame = _read_excel(path, sheet)
    else:
        frame = _read_parquet(path) if suffix == ".parquet" else _read_text(path)
    frame = frame.rename(columns=lambda name: " ".join(str(name).split()))
    frame = frame.loc[:, ~frame.columns.duplicated()].fillna("").apply(lambda column: column.str.strip())
    filled: pd.DataFrame = frame[(frame != "").any(axis=1)].reset_index(drop=True)
    if filled.empty:
        raise DataError(f"{path.name} has no row below its column names; expected one row a film.")
    return filled


def read_cells(path: Path) -> pd.DataFrame:
    """The cells of a table that has no column names, as text; columns are numbered from 0. Raises as :func:`read_table`."""
    _refuse_size(path)
    is_excel = path.suffix.lower() in EXCEL_SUFFIXES
    return _read_excel(path, None, header=None) if is_excel else _read_text(path, header=None)


def columns_of(path: Path) -> tuple[str, ...]:
    """The column names of a text or Parquet table; its rows are not read, which can be hundreds of megabytes.

    Raises
    ------
    DataError
        It is no table.
    """
    frame = _read_parquet(path).head(0) if path.suffix.lower() == ".parquet" else _read_text(path, rows=0)
    return tuple(dict.fromkeys(" ".join(str(name).split()) for name in frame.columns))


def _refuse_size(path: Path) -> None:
    if path.stat().st_size > MAX_TABLE_BYTES:
        raise DataError(f"{path.name} holds more than {MAX_TABLE_BYTES // 2**20} MB, which no film table does. Check the file.")


def _read_text(path: Path, header: int | None = 0, rows: int | None = None) -> pd.DataFrame:
    encoding, first_line = _encoding_and_first_line(path, whole=rows is None)
    names = re.sub(r'"[^"]*"', "", first_line)
    separator = "\t" if path.suffix.lower() == ".tsv" else max(",;\t|", key=names.count)
    options: dict[str, Any] = {"sep": separator, "header": header, "nrows": rows, "encoding": encoding}
    try:
        refuse_wide_table(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", pd.errors.ParserWarning)  # a separator too many at the end of each row
            frame: pd.DataFrame = pd.read_csv(
                path, dtype=str, keep_default_na=False, encoding_errors="replace", index_col=False, **options
            )
        return frame
    except (ValueError, OverflowError, MemoryError) as error:  # the errors of pandas are ValueErrors
        raise DataError(
            f"{path.name} is not readable as a table ({str(error).splitlines()[0]}); expected column names, then one row a film."
        ) from error


def _encoding_and_first_line(path: Path, whole: bool) -> tuple[str, str]:
    with path.open("rb") as file:
        raw = file.read(-1 if whole else 2**16)
    encoding = "utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        raw.decode(encoding)
    except UnicodeDecodeError as error:
        if whole or error.start < len(raw) - 4:  # a sign may be cut in two where the reading ends
            encoding = "cp1252"
    lines = raw[:65536].decode(encoding, errors="replace").lstrip().splitlines()
    return encoding, lines[0] if lines else ""


def _read_excel(path: Path, sheet: str | None, header: int | None = 0) -> pd.DataFrame:
    try:
        if zipfile.is_zipfile(path):
            _refuse_unfolding(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # openpyxl warns of styles and drop-down lists that it leaves out
            sheets = pd.read_excel(path, sheet_name=None, dtype=str, keep_default_na=False, header=header)
    except _excel_faults() as error:
        raise DataError(
            f"{path.name} is not readable as an Excel file; save it again as .xlsx or .csv with one row a film."
        ) from error
    filled = [frame for name, frame in sheets.items() if len(frame) and name == sheet]
    filled += [frame for frame in sheets.values() if len(frame)]
    if not filled:
        raise DataError(f"{path.name} has no sheet with rows; expected column names, then one row a film.")
    return filled[0].fillna("").astype(str)


def _refuse_unfolding(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        if sum(info.file_size for info in archive.infolist()) > MAX_TABLE_BYTES:
            raise DataError(
                f"{path.name} unfolds to more than {MAX_TABLE_BYTES // 2**20} MB, which no film table does. Check it."
            )


def _excel_faults() -> tuple[type[Exception], ...]:
    """What its readers raise on a damaged workbook, found by fuzzing; asked for only where one did."""
    faults: tuple[type[Exception], ...] = (
        ArithmeticError, AssertionError, AttributeError, EOFError, ImportError, LookupError, MemoryError, OSError, RuntimeError,
        SyntaxError, TypeError, ValueError, struct.error, zipfile.BadZipFile, zlib.error,
    )  # fmt: skip
    try:
        xlrd = importlib.import_module("xlrd")
    except ImportError:
        return faults
    return (*faults, xlrd.XLRDError, xlrd.compdoc.CompDocError)


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        frame = pd.read_parquet(path)
    except ImportError as error:
        raise DataError(
            f"{path.name} is a Parquet file, and the package that reads it is not installed; install pyarrow, or save the table "
            "as .csv."
        ) from error
    except (ValueError, KeyError, OSError, NotImplementedError) as error:  # pyarrow's errors are ValueErrors
        raise DataError(
            f"{path.name} is not readable as a Parquet file; save it again as .parquet or .csv with one row a film."
        ) from error
    return frame.map(_as_text).astype(str)


def _as_text(value: Any) -> str:
    """A cell as it would be typed: 7 for 7.0, which stands where a column of whole numbers has gaps."""
    if pd.api.types.is_scalar(value) and pd.isna(value):
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
