"""What lies in a source: film files by name, tables with their columns. No pixel is read here."""

from __future__ import annotations

import hashlib
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path

import pandas as pd

from mammo_core.data.adapters.table_files import EXCEL_SUFFIXES, TABLE_SUFFIXES, columns_of, read_table
from mammo_core.errors import DataError
from mammo_core.storage import sha256_of

__all__ = ["FILM_SUFFIXES", "TABLE_SUFFIXES", "FileIndex", "Listing", "list_source", "read_table"]

FILM_SUFFIXES = frozenset({".dcm", ".dicom", ".dic", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".pgm"})
MASK_FOLDER = re.compile(r"(^|[\W_])(masks?|rois?|segmentations?)($|[\W_])", re.IGNORECASE)

MAX_FILES = 2_000_000
MAX_TEXT_BYTES = 2**20
"""A larger text file is no list of a few hundred films."""
MAX_TABLES = 25
"""Tables looked at in one folder; a data set comes with one or a handful."""


@dataclass(frozen=True)
class Listing:
    """The files below ``root``: films and masks as paths relative to it with ``/``, sorted; the others as absolute paths."""

    source: Path
    root: Path
    films: tuple[str, ...]
    masks: tuple[str, ...]
    tables: tuple[Path, ...]
    sizes: dict[str, int] = field(repr=False)
    """Relative path -> bytes, of films and masks."""
    all_tables: tuple[Path, ...] = ()
    """``tables``, and those that lie beside the chosen one: some sets spread their columns over several."""
    texts: tuple[Path, ...] = ()
    """Small text files that may list films, such as ``Info.txt``."""

    @cached_property
    def film_index(self) -> FileIndex:
        return FileIndex(self.films)

    @cached_property
    def mask_index(self) -> FileIndex:
        return FileIndex(self.masks or self.films)

    @cached_property
    def _frames(self) -> dict[Path, pd.DataFrame]:
        return {}

    @cached_property
    def _columns(self) -> dict[Path, tuple[str, ...]]:
        return {}

    def table(self, path: Path) -> pd.DataFrame:
        """The table at ``path``, read once. Raises :class:`DataError` where it cannot be read."""
        if path not in self._frames:
            self._frames[path] = read_table(path)
        return self._frames[path]

    def columns(self, path: Path) -> tuple[str, ...]:
        """The column names of a table, without its rows where that is quicker; none where it cannot be read."""
        if path not in self._columns:
            try:
                # An Excel file is unpacked as a whole anyway.
                is_excel = path.suffix.lower() in EXCEL_SUFFIXES
                self._columns[path] = tuple(self.table(path).columns) if is_excel else columns_of(path)
            except DataError:
                self._columns[path] = ()
        return self._columns[path]

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
    is_text = is_table and _is_text(source.name, source.suffix.lower())
    if is_table and not is_text and source.suffix.lower() not in TABLE_SUFFIXES:
        raise DataError(
            f"{source.name!r} is neither a folder nor a table; expected a folder of films, or one of {_words(TABLE_SUFFIXES)}."
        )
    root = (root or (source.parent if is_table else source)).expanduser().absolute()
    sizes: dict[str, int] = {}
    films: list[str] = []
    masks: list[str] = []
    tables: list[Path] = []
    texts: list[Path] = []
    for name, entry in _walk(root):
        suffix = os.path.splitext(name)[1].lower()
        if suffix in TABLE_SUFFIXES and name.count("/") <= 1 and not entry.name.startswith("~$"):
            tables.append(root / name)
        elif name.count("/") <= 1 and _is_text(entry.name, suffix) and entry.stat().st_size <= MAX_TEXT_BYTES:
            texts.append(root / name)
        elif suffix in FILM_SUFFIXES or (_may_be_dicom(name, suffix) and _has_dicom_mark(entry)):
            (masks if _is_in_mask_folder(name.rpartition("/")[0]) else films).append(name)
            sizes[name] = entry.stat().st_size
    if not films:
        raise DataError(
            f"No film was found below {root.name!r}; expected DICOM, PNG, JPEG, TIFF or PGM files. "
            "Choose the folder that holds them."
        )
    if is_table:
        found = [path for path in _beside(source) if path not in tables]
        tables, texts, others = ([], [source], tables) if is_text else ([source], [], tables + found)
    else:
        tables = tables or [path for path in _beside(root) if path.suffix.lower() in TABLE_SUFFIXES]
        others = []
    everything = dict.fromkeys([*sorted(tables), *sorted(others)])
    return Listing(
        source=source,
        root=root,
        films=tuple(sorted(films)),
        masks=tuple(sorted(masks)),
        tables=tuple(sorted(tables)[:MAX_TABLES]),
        sizes=sizes,
        all_tables=tuple(everything)[:MAX_TABLES],
        texts=tuple(sorted(texts)[:MAX_TABLES]),
    )


def _beside(path: Path) -> list[Path]:
    """The tables in the folder of ``path``."""
    return [other for other in path.parent.iterdir() if other.suffix.lower() in TABLE_SUFFIXES and other.name[0] not in "~."]


def _is_text(name: str, suffix: str) -> bool:
    """Whether a file may be the list of films of a set that has no table: ``Info.txt``, ``README``."""
    return suffix == ".txt" or name.upper() == "README"


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
        self._by_path: dict[tuple[str, ...], list[str]] = {}
        """More than one file where paths differ in capitals only."""
        for name in names:
            parts = _parts(name)
            self._by_path.setdefault(parts, []).append(name)
            self._by_stem[_stem(parts[-1])].append((parts, name))

    def find(self, cell: str) -> list[str]:
        """The files that ``cell`` fits best: none, one, or several where it is ambiguous.

        Folders in the cell and folders of the file must agree as far as both are given, since sets exist in which every film is
        called ``1-1.dcm``.
        """
        wanted = _parts(cell)
        if not wanted:
            return []
        exact = self._by_path.get(wanted, [])
        if len(exact) == 1:
            return list(exact)
        candidates = self._by_stem.get(_stem(wanted[-1])) or self._by_stem.get(re.sub(r"\.0$", "", wanted[-1])) or []
        fitting = [(parts, name) for parts, name in candidates if _folders_agree(parts, wanted)]
        same_suffix = [(parts, name) for parts, name in fitting if parts[-1] == wanted[-1]]
        fitting = same_suffix or fitting
        depth = max((min(len(parts), len(wanted)) for parts, _ in fitting), default=0)
        return [name for parts, name in fitting if min(len(parts), len(wanted)) == depth]


def _parts(text: str) -> tuple[str, ...]:
    text = text.strip().strip("\"'").strip().replace("\\", "/").casefold()
    return tuple(part for part in text.split("/") if part not in ("", "."))


def _stem(name: str) -> str:
    stem, suffix = os.path.splitext(name)
    return stem if suffix in FILM_SUFFIXES else name


def _folders_agree(parts: tuple[str, ...], wanted: tuple[str, ...]) -> bool:
    shared = min(len(parts), len(wanted)) - 1
    return shared == 0 or parts[-1 - shared : -1] == wanted[-1 - shared : -1]


def _words(items: Iterable[str]) -> str:
    return ", ".join(sorted(items))
