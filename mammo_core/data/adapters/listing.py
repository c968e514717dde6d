"""What lies in a source: film files by name, tables with their columns. No pixel is read here."""

from __future__ import annotations

import hashlib
import os
import re
import warnings
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path

import pandas as pd

from mammo_core.errors import DataError
from mammo_core.storage import sha256_of

FILM_SUFFIXES = frozenset({".dcm", ".dicom", ".dic", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".pgm"})
TABLE_SUFFIXES = frozenset({".csv", ".tsv", ".xlsx", ".xls"})
MASK_FOLDER = re.compile(r"(^|[\W_])(masks?|rois?|segmentations?)($|[\W_])", re.IGNORECASE)

MAX_FILES = 2_000_000
MAX_TABLE_BYTES = 512 * 2**20
MAX_TABLES = 25
"""Tables looked at in one folder; a data set comes with one or a handful."""


@dataclass(frozen=True)
class Listing:
    """The files below ``root``: films and masks as paths relative to it with ``/``, sorted; tables as absolute paths."""

    source: Path
    root: Path
    films: tuple[str, ...]
    masks: tuple[str, ...]
    tables: tuple[Path, ...]
    sizes: dict[str, int] = field(repr=False)
    """Relative path -> bytes, of films and masks."""

    @cached_property
    def film_index(self) -> FileIndex:
        return FileIndex(self.films)

    @cached_property
    def mask_index(self) -> FileIndex:
        return FileIndex(self.masks or self.films)

    @cached_property
    def _frames(self) -> dict[Path, pd.DataFrame]:
        return {}

    def table(self, path: Path) -> pd.DataFrame:
        """The table at ``path``, read once. Raises :class:`DataError` where it cannot be read."""
        if path not in self._frames:
            self._frames[path] = read_table(path)
        return self._frames[path]

    def sha256(self, table: Path | None) -> str:
        """Hash of the source listing: names and sizes of the films and masks, and the bytes of the table."""
        digest = hashlib.sha256()
        for name in sorted(self.sizes):
            digest.update(f"{name}\t{self.sizes[name]}\n".encode("utf-8", "surrogateescape"))
        if table is not None:
            digest.update(sha256_of(table).encode())
        return digest.hexdigest()


def list_source(source: Path, root: Path | None = None) -> Listing:
    """List films and tables of a folder, or of the folder of a table.

    A folder without a table of its own is looked up in the tables beside it.

    Raises
    ------
    DataError
        No such file or folder, no table and no folder, no film, or more files than any data set has.
    """
    source = source.expanduser().absolute()
    if not source.exists():
        raise DataError(f"There is no file or folder {source.name!r}; expected a folder of films or a table that names them.")
    is_table = source.is_file()
    if is_table and source.suffix.lower() not in TABLE_SUFFIXES:
        raise DataError(
            f"{source.name!r} is neither a folder nor a table; expected a folder of films, or one of {_words(TABLE_SUFFIXES)}."
        )
    root = (root or (source.parent if is_table else source)).expanduser().absolute()
    sizes: dict[str, int] = {}
    films: list[str] = []
    masks: list[str] = []
    tables: list[Path] = []
    for name, entry in _walk(root):
        suffix = os.path.splitext(name)[1].lower()
        if suffix in TABLE_SUFFIXES and name.count("/") <= 1 and not entry.name.startswith("~$"):
            tables.append(root / name)
        elif suffix in FILM_SUFFIXES or (_may_be_dicom(name, suffix) and _has_dicom_mark(entry)):
            (masks if _is_in_mask_folder(name.rpartition("/")[0]) else films).append(name)
            sizes[name] = entry.stat().st_size
    if not films:
        raise DataError(
            f"No film was found below {root.name!r}; expected DICOM, PNG, JPEG, TIFF or PGM files. "
            "Choose the folder that holds them."
        )
    if is_table:
        tables = [source]
    elif not tables:
        tables = [path for path in root.parent.iterdir() if path.suffix.lower() in TABLE_SUFFIXES and path.name[0] not in "~."]
    return Listing(source, root, tuple(sorted(films)), tuple(sorted(masks)), tuple(sorted(tables)[:MAX_TABLES]), sizes)


def _walk(root: Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Every regular file below ``root`` with its relative name; hidden ones are passed over, linked folders not entered."""
    pending, seen = [("", str(root))], 0
    while pending:
        prefix, folder = pending.pop()
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            raise DataError(
                f"The folder {os.path.basename(folder)!r} cannot be read ({error.strerror}); expected a folder with read access."
            ) from error
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                pending.append((f"{prefix}{entry.name}/", entry.path))
            elif entry.is_file():
                seen += 1
                if seen > MAX_FILES:
                    raise DataError(
                        f"More than {MAX_FILES:,} files lie below {root.name!r}, which no data set has; "
                        "choose the folder of films."
                    )
                yield prefix + entry.name, entry


@lru_cache(maxsize=1024)
def _is_in_mask_folder(folder: str) -> bool:
    return any(MASK_FOLDER.search(part) for part in folder.split("/"))


def _may_be_dicom(name: str, suffix: str) -> bool:
    """DICOM exports often carry no suffix, or end in the last number of a UID."""
    return (suffix == "" or suffix[1:].isdecimal()) and not name.upper().endswith("DICOMDIR")


def _has_dicom_mark(entry: os.DirEntry[str]) -> bool:
    """Whether ``DICM`` stands at byte 128 (DICOM PS3.10, 7.1)."""
    try:
        with open(entry.path, "rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


# ---- finding the file that a cell names ------------------------------------------------------------------------------------


class FileIndex:
    """Finds files by what tables write: a path, a path of another machine, a bare name, a name without its suffix."""

    def __init__(self, names: Iterable[str]) -> None:
        self._by_stem: dict[str, list[tuple[tuple[str, ...], str]]] = defaultdict(list)
        for name in names:
            parts = _parts(name)
            self._by_stem[_stem(parts[-1])].append((parts, name))

    def find(self, cell: str) -> list[str]:
        """The files that ``cell`` fits best: none, one, or several where it is ambiguous.

        Folders in the cell and folders of the file must agree as far as both are given, since sets exist in which every film is
        called ``1-1.dcm``.
        """
        wanted = _parts(cell)
        if not wanted:
            return []
        candidates = self._by_stem.get(_stem(wanted[-1])) or self._by_stem.get(re.sub(r"\.0$", "", wanted[-1])) or []
        fitting = [(parts, name) for parts, name in candidates if _folders_agree(parts, wanted)]
        same_suffix = [(parts, name) for parts, name in fitting if parts[-1] == wanted[-1]]
        fitting = same_suffix or fitting
        depth = max((min(len(parts), len(wanted)) for parts, _ in fitting), default=0)
        best = [name for parts, name in fitting if min(len(parts), len(wanted)) == depth]
        exact = [name for parts, name in fitting if parts == wanted]
        return exact if len(exact) == 1 else best


def _parts(text: str) -> tuple[str, ...]:
    text = text.strip().strip("\"'").strip().replace("\\", "/").casefold()
    return tuple(part for part in text.split("/") if part not in ("", "."))


def _stem(name: str) -> str:
    stem, suffix = os.path.splitext(name)
    return stem if suffix in FILM_SUFFIXES else name


def _folders_agree(parts: tuple[str, ...], wanted: tuple[str, ...]) -> bool:
    shared = min(len(parts), len(wanted)) - 1
    return shared == 0 or parts[-1 - shared : -1] == wanted[-1 - shared : -1]


# ---- reading a table ---------------------------------------------------------------------------------------------------------


def read_table(path: Path) -> pd.DataFrame:
    """Read a CSV, TSV or Excel table as text: column names trimmed, cells trimmed, empty rows dropped, unknown cells empty.

    Comma, semicolon, tab and bar separate; UTF-8 with or without mark, UTF-16 and Windows-1252 are read. Of an Excel file the
    first sheet with rows is taken.

    Raises
    ------
    DataError
        Too large, not a table, or without a row.
    """
    if path.stat().st_size > MAX_TABLE_BYTES:
        raise DataError(f"{path.name} holds more than {MAX_TABLE_BYTES // 2**20} MB, which no film table does. Check the file.")
    frame = _read_excel(path) if path.suffix.lower() in (".xlsx", ".xls") else _read_text(path)
    frame = frame.rename(columns=lambda name: " ".join(str(name).split()))
    frame = frame.loc[:, ~frame.columns.duplicated()].fillna("").apply(lambda column: column.str.strip())
    filled: pd.DataFrame = frame[(frame != "").any(axis=1)].reset_index(drop=True)
    if filled.empty:
        raise DataError(f"{path.name} has no row below its column names; expected one row a film.")
    return filled


def _read_text(path: Path) -> pd.DataFrame:
    raw = path.read_bytes()
    encoding = "utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        raw.decode(encoding)
    except UnicodeDecodeError:
        encoding = "cp1252"
    first_line = raw[:65536].decode(encoding, errors="replace").lstrip().splitlines()[:1]
    header = re.sub(r'"[^"]*"', "", first_line[0] if first_line else "")
    separator = "\t" if path.suffix.lower() == ".tsv" else max(",;\t|", key=header.count)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", pd.errors.ParserWarning)  # a separator too many at the end of each row
            frame: pd.DataFrame = pd.read_csv(
                path,
                sep=separator,
                dtype=str,
                keep_default_na=False,
                encoding=encoding,
                encoding_errors="replace",
                index_col=False,
            )
        return frame
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeError) as error:
        raise DataError(
            f"{path.name} is not readable as a table ({str(error).splitlines()[0]}); expected column names, then one row a film."
        ) from error


def _read_excel(path: Path) -> pd.DataFrame:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # openpyxl warns of styles and drop-down lists that it leaves out
            sheets = pd.read_excel(path, sheet_name=None, dtype=str, keep_default_na=False)
    except (ValueError, KeyError, OSError, zipfile.BadZipFile, ImportError) as error:
        raise DataError(
            f"{path.name} is not readable as an Excel file; save it again as .xlsx or .csv with one row a film."
        ) from error
    filled = [sheet for sheet in sheets.values() if len(sheet)]
    if not filled:
        raise DataError(f"{path.name} has no sheet with rows; expected column names, then one row a film.")
    return filled[0].astype(str)


def _words(items: Iterable[str]) -> str:
    return ", ".join(sorted(items))
