"""Reading tables as text: CSV, TSV, Excel and Parquet."""

from __future__ import annotations

import importlib
import re
import struct
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal
from xml.parsers import expat

import pandas as pd

from mammo_core.errors import DataError
from mammo_core.reading import refuse_wide_table

EXCEL_SUFFIXES = frozenset({".xlsx", ".xls"})
TABLE_SUFFIXES = frozenset({".csv", ".tsv", ".parquet"}) | EXCEL_SUFFIXES
MAX_TABLE_BYTES = 512 * 2**20
MAX_CELLS = 20_000_000
"""Of an Excel or Parquet table, empty ones too: both can state in a few kB a size that fills any memory."""


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
    frame = _parquet_without_rows(path) if path.suffix.lower() == ".parquet" else _read_text(path, rows=0)
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
        is_zip = zipfile.is_zipfile(path)
        if is_zip:
            _refuse_unfolding(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # openpyxl warns of styles and drop-down lists that it leaves out
            engine: Literal["openpyxl"] | None = "openpyxl" if is_zip else None  # whose way of counting cells is followed
            sheets = pd.read_excel(path, sheet_name=None, dtype=str, keep_default_na=False, header=header, engine=engine)
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
        spread = _Spread()
        for info in archive.infolist():  # a sheet may have any name
            with archive.open(info) as part:
                while (content := part.read(2**16)) and spread.take(content) and spread.cells <= MAX_CELLS:
                    pass
            if spread.cells > MAX_CELLS:
                raise DataError(_too_many_cells(path))
            spread.end_part()


def _too_many_cells(path: Path) -> str:
    return (
        f"{path.name} spreads over more than {MAX_CELLS // 10**6} million cells, empty ones included, which no film table does; "
        "delete the rows and columns that hold nothing needed, or save the table as .csv."
    )


class _Spread:
    """Counts what openpyxl and pandas make of the parts of a workbook, without making it.

    They fill each row up to its last cell, the rows up to the last one, and the sheet up to its last filled row and column. Cells
    are the children of a row, whatever their name.
    """

    def __init__(self) -> None:
        self._elements = self._padded = self._filled = 0
        self.end_part()

    @property
    def cells(self) -> int:
        """In all parts so far. Elements of any other kind count too, for each is kept in memory; a filled cell has two."""
        return max(self._padded, self._filled, self._elements // 2)

    def end_part(self) -> None:
        """The next bytes are those of another part of the archive."""
        self._parser = expat.ParserCreate()
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._row = self._last_row = self._column = self._filled_row = self._filled_column = 0
        self._depth = -1  # of the element below its row; -1 outside rows

    def take(self, content: bytes) -> bool:
        """Count the next bytes of a part; false where it is no XML, or no sheet that openpyxl reads, from here on."""
        try:
            self._parser.Parse(content)
        except (expat.ExpatError, ValueError, OverflowError):  # where openpyxl gives up too
            return False
        return True

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._elements += 1
        if name == "row" or name.endswith(":row"):
            if self._depth >= 0:
                raise SyntaxError("a row within a row")
            self._row = _row_number(attributes["r"]) if "r" in attributes else self._row + 1
            self._padded += max(0, self._row - self._last_row)
            self._last_row = max(self._row, self._last_row)
            self._column = self._depth = 0
        elif self._depth >= 0:
            self._depth += 1
            if self._depth == 1:
                self._cell(attributes.get("r", ""))
            elif self._row > self._filled_row or self._column > self._filled_column:
                self._fill()

    def _end(self, name: str) -> None:
        if self._depth >= 0:
            self._depth -= 1

    def _cell(self, place: str) -> None:
        before = self._column
        self._column = _column_number(place.rstrip("0123456789")) if place else before + 1
        self._padded += max(0, self._column - before)

    def _fill(self) -> None:
        before = self._filled_row * self._filled_column
        self._filled_row, self._filled_column = max(self._filled_row, self._row), max(self._filled_column, self._column)
        self._filled += self._filled_row * self._filled_column - before


@lru_cache(maxsize=2**15)
def _column_number(letters: str) -> int:
    """``A`` is 1, ``AA`` is 27; 0 for what is no column, where openpyxl gives up."""
    letters = re.split("[0-9]", letters)[0]
    if not re.fullmatch("[A-Za-z]{1,3}", letters):
        return 0
    return sum((ord(sign) - 64) * 26**power for power, sign in enumerate(reversed(letters.upper())))


def _row_number(text: str) -> int:
    """As openpyxl reads it, which takes ``7.0`` too."""
    try:
        return int(text)
    except ValueError:
        return int(float(text))


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
    with _parquet_faults(path):
        _refuse_large_parquet(path)
        frame: pd.DataFrame = pd.read_parquet(path).map(_as_text).astype(str)
    return frame


def _parquet_without_rows(path: Path) -> pd.DataFrame:
    with _parquet_faults(path):
        schema = importlib.import_module("pyarrow.parquet").read_schema(path)
        frame: pd.DataFrame = schema.empty_table().to_pandas()
    return frame


def _refuse_large_parquet(path: Path) -> None:
    """Equal values are stored once, however often they stand there and however long they are."""
    parquet, compute = (importlib.import_module(name) for name in ("pyarrow.parquet", "pyarrow.compute"))
    with parquet.ParquetFile(path) as file:
        facts = file.metadata
        groups = [facts.row_group(index) for index in range(facts.num_row_groups)]
        columns = [group.column(index) for group in groups for index in range(group.num_columns)]
        rows = max(facts.num_rows, sum(group.num_rows for group in groups))
        if max(rows * max(1, facts.num_columns), sum(column.num_values for column in columns)) > MAX_CELLS:
            raise DataError(_too_many_cells(path))
        size = sum(column.total_uncompressed_size for column in columns)
        leaves = [facts.schema.column(index) for index in range(facts.num_columns)]
    if size <= MAX_TABLE_BYTES:
        texts = [leaf.path for leaf in leaves if leaf.physical_type == "BYTE_ARRAY" and leaf.path == leaf.name]
        with parquet.ParquetFile(path, read_dictionary=texts) as file:
            for name in texts:
                if not str(file.schema_arrow.field(name).type).startswith("dictionary"):
                    raise ValueError(f"the texts of column {name} cannot be counted without unfolding them")
                for chunk in file.read(columns=[name]).column(0).chunks:
                    lengths = compute.binary_length(chunk.dictionary).take(chunk.indices)
                    size += compute.sum(lengths).as_py() or 0
    if size > MAX_TABLE_BYTES:
        raise DataError(f"{path.name} unfolds to more than {MAX_TABLE_BYTES // 2**20} MB, which no film table does. Check it.")


@contextmanager
def _parquet_faults(path: Path) -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise DataError(
            f"{path.name} is a Parquet file, and the package that reads it is not installed; install pyarrow, or save the table "
            "as .csv."
        ) from error
    except _arrow_faults() as error:
        raise DataError(
            f"{path.name} is not readable as a Parquet file; save it again as .parquet or .csv with one row a film."
        ) from error


def _arrow_faults() -> tuple[type[Exception], ...]:
    """What pyarrow and pandas raise on a damaged file, found by fuzzing; asked for only where one did."""
    faults = (AttributeError, LookupError, MemoryError, NotImplementedError, OSError, OverflowError, TypeError, ValueError)
    try:
        return (*faults, importlib.import_module("pyarrow").ArrowException)
    except ImportError:
        return faults


def _as_text(value: Any) -> str:
    """A cell as it would be typed: 7 for 7.0, which stands where a column of whole numbers has gaps."""
    if pd.api.types.is_scalar(value) and pd.isna(value):
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
