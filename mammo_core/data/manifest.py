"""A data set as it lies in the workspace: ``manifest.csv`` (who may see it), ``paths.csv`` (who may not), ``dataset.json``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mammo_core.errors import CorruptRunFile, DataError, MammoError
from mammo_core.reading import read_json, read_text_table
from mammo_core.settings import Workspace
from mammo_core.storage import write_json

MANIFEST_COLUMNS = ("image_id", "patient_id", "exam_id", "laterality", "view", "center", "vendor", "label")
PATH_COLUMNS = ("image_id", "path", "mask_path", "sha256")
LESION_COLUMNS = ("image_id", "top", "left", "height", "width", "pathology")

MANIFEST_FILE = "manifest.csv"
PATHS_FILE = "paths.csv"
LESIONS_FILE = "lesions.csv"
"""Lesion boxes in pixels of the film as it is read; there is none where the source has no boxes."""
MASKS_FOLDER = "masks"
"""Outlines joined from several files of one film."""
OWN_FILE = "dataset:"
"""Begins a ``mask_path`` that is relative to the data set's folder instead of the data root."""
RECORD_FILE = "dataset.json"
AUDIT_FILE = "audit.json"
KEY_FILE = "hash.key"

RELINK_PROBES = 20
"""Films looked up before a moved data root is believed."""

T = TypeVar("T")
Box = tuple[int, int, int, int]
"""Top, left, height and width, pixels."""


class Counts(BaseModel):
    """How much there is of everything; ``per_class`` in class order, ``per_center`` in order of names."""

    model_config = ConfigDict(extra="allow")

    films: int = 0
    patients: int = 0
    exams: int = 0
    per_class: dict[str, int] = Field(default_factory=dict)
    per_center: dict[str, int] = Field(default_factory=dict)


class DatasetRecord(BaseModel):
    """The content of ``dataset.json``. Unknown keys are kept."""

    model_config = ConfigDict(extra="allow")

    schema_version: int = 1
    name: str
    root: str
    """Folder of the films on this machine; never exported."""
    adapter: str
    task: str
    class_names: list[str] = Field(min_length=1)
    """In label order; from low to high where ``ordinal``."""
    ordinal: bool = False
    counts: Counts = Field(default_factory=Counts)
    source_sha256: str = ""
    """Hash of the source listing: names and sizes of the films, and the table's bytes."""
    synthetic: bool = False
    patient_key: str = ""
    """How patients were known: ``column``, ``exam``, ``header``, ``file name pattern`` or ``each film alone``."""
    patient_statement: str = ""
    """The same as a sentence; says where leakage between patients cannot be excluded."""
    left_out: list[dict[str, Any]] = Field(default_factory=list)
    """``reason`` and ``count`` of what was not imported."""
    warnings: list[str] = Field(default_factory=list)
    notes: list[str] = Field(default_factory=list)
    """What one should know of this set; nothing is wrong."""
    label_words: str = ""
    label_map: dict[str, str | None] = Field(default_factory=dict)
    """Word of the source -> class, or null where its films are left out."""
    word_counts: dict[str, int] = Field(default_factory=dict)
    """Word of the source -> films that got their class by it, unreadable ones too; rows, where its films are left out."""
    origins: dict[str, str] = Field(default_factory=dict)
    """Patient, side, view, label ... -> where its values came from. For known sets only: what looks like column names could be
    the first row of a table without any."""
    unreadable: int = 0
    created_at: str = ""
    """ISO 8601, UTC."""

    def to_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json")


@dataclass(frozen=True)
class Dataset:
    """One imported data set."""

    directory: Path
    record: DatasetRecord

    @property
    def name(self) -> str:
        return self.directory.name

    @property
    def task(self) -> str:
        return self.record.task

    @property
    def class_names(self) -> tuple[str, ...]:
        return tuple(self.record.class_names)

    @property
    def ordinal(self) -> bool:
        return self.record.ordinal

    @property
    def root(self) -> Path:
        return Path(self.record.root)

    def manifest(self) -> pd.DataFrame:
        """:data:`MANIFEST_COLUMNS` and further columns, one row a film, all text.

        Raises
        ------
        DataError
            Missing or unreadable file, missing column, an id twice or empty, or a label that is no class.
        """
        table = _read(read_text_table, self.directory / MANIFEST_FILE, self.name)
        return check_manifest(table, self.class_names, f"{self.name}/{MANIFEST_FILE}")

    def paths(self) -> pd.DataFrame:
        """:data:`PATH_COLUMNS`, one row a film, unreadable films too (their ``sha256`` is empty). Never export it."""
        table = _read(read_text_table, self.directory / PATHS_FILE, self.name)
        missing = [column for column in PATH_COLUMNS if column not in table.columns]
        if missing:
            raise DataError(f"{self.name}/{PATHS_FILE} lacks the column(s) {', '.join(missing)}; import the data set again.")
        return table

    def pixel_hashes(self) -> dict[str, str]:
        """``image_id`` -> SHA-256 of the decoded pixels, for readable films."""
        paths = self.paths()
        return {image: sha for image, sha in zip(paths["image_id"], paths["sha256"], strict=True) if sha}

    def film_paths(self) -> dict[str, Path]:
        """``image_id`` -> file on this machine, of all films at once. The files are not looked at."""
        return {image: self._inside(film) for image, (film, _) in self._locations.items()}

    def film_path(self, image_id: str) -> Path:
        """The film's file on this machine.

        Raises
        ------
        DataError
            No such film, or its file is not there (moved data root: relink).
        """
        return self._existing(image_id, self._location(image_id)[0])

    def mask_path(self, image_id: str) -> Path | None:
        """The film's lesion mask, ``None`` where it has none. Raises as :meth:`film_path`."""
        mask = self._location(image_id)[1]
        return self._existing(image_id, mask) if mask else None

    def lesions(self) -> pd.DataFrame:
        """:data:`LESION_COLUMNS`, one row a lesion box, pixels as whole numbers; no row where the set has no boxes.

        Raises
        ------
        DataError
            The file is unreadable, lacks a column, or holds something that is no box.
        """
        path = self.directory / LESIONS_FILE
        if not path.exists():
            return pd.DataFrame(columns=list(LESION_COLUMNS))
        table = _read(read_text_table, path, self.name)
        if missing := [column for column in LESION_COLUMNS if column not in table.columns]:
            raise DataError(f"{self.name}/{LESIONS_FILE} lacks the column(s) {', '.join(missing)}; import the data set again.")
        try:
            return table.astype(dict.fromkeys(LESION_COLUMNS[1:5], int))
        except (ValueError, OverflowError) as error:
            raise DataError(
                f"{self.name}/{LESIONS_FILE} holds an edge that is no whole number; restore the file or import the set again."
            ) from error

    def lesion_boxes(self, image_id: str) -> tuple[Box, ...]:
        """The film's lesion boxes (top, left, height, width), pixels of the film as it is read; may be empty.

        Raises
        ------
        DataError
            No such film, or as :meth:`lesions`.
        """
        self._location(image_id)
        return self._boxes.get(image_id, ())

    @cached_property
    def _boxes(self) -> dict[str, tuple[Box, ...]]:
        found: dict[str, list[Box]] = {}
        table = self.lesions()
        for image_id, *edges in zip(*(table[column] for column in LESION_COLUMNS[:5]), strict=True):
            top, left, height, width = (int(edge) for edge in edges)
            found.setdefault(image_id, []).append((top, left, height, width))
        return {image_id: tuple(boxes) for image_id, boxes in found.items()}

    def audit(self) -> dict[str, Any]:
        """The content of ``audit.json``; empty where there is none."""
        try:
            content = read_json(self.directory / AUDIT_FILE)
        except FileNotFoundError:
            return {}
        return content if isinstance(content, dict) else {}

    @cached_property
    def _locations(self) -> dict[str, tuple[str, str]]:
        """``image_id`` -> film and mask path; kept, since ``paths.csv`` never changes after the import."""
        paths = self.paths()
        return dict(zip(paths["image_id"], zip(paths["path"], paths["mask_path"], strict=True), strict=True))

    def _location(self, image_id: str) -> tuple[str, str]:
        if image_id not in self._locations:
            raise DataError(f"The data set {self.name!r} has no film {image_id!r}; expected an image_id of its manifest.")
        return self._locations[image_id]

    def _existing(self, image_id: str, relative: str) -> Path:
        path = self._inside(relative)
        if not path.is_file():
            raise DataError(
                f"The file of film {image_id} is not where it was when {self.name!r} was imported; expected it below the data "
                "root. Relink the data set if its folder moved."
            )
        return path

    def _inside(self, relative: str) -> Path:
        is_own = relative.startswith(OWN_FILE)
        parts = PurePosixPath(relative.removeprefix(OWN_FILE))
        if parts.is_absolute() or ".." in parts.parts:
            raise DataError(f"{self.name}/{PATHS_FILE} holds a path that leaves the data root; import the data set again.")
        return (self.directory if is_own else self.root) / parts


def check_manifest(table: pd.DataFrame, class_names: tuple[str, ...], what: str = MANIFEST_FILE) -> pd.DataFrame:
    """Return ``table`` if it can serve as a manifest.

    Raises
    ------
    DataError
        A needed column is missing, no row, an ``image_id`` or ``patient_id`` is empty, an ``image_id`` stands twice, or a label
        is not among ``class_names``.
    """
    missing = [column for column in MANIFEST_COLUMNS if column not in table.columns]
    if missing:
        raise DataError(f"{what} lacks the column(s) {', '.join(missing)}; import the data set again or restore the file.")
    if table.empty:
        raise DataError(f"{what} has no film; expected at least one row. Import the data set again or restore the file.")
    for column in ("image_id", "patient_id"):
        empty = int((table[column] == "").sum())
        if empty:
            raise DataError(f"{what} has {empty} row(s) without {column}; each film needs one. Restore the file.")
    twice = int(table["image_id"].duplicated().sum())
    if twice:
        raise DataError(f"{what} lists {twice} image_id(s) twice; each film must stand in one row. Restore the file.")
    strange = sorted(set(table["label"]) - set(class_names))
    if strange:
        raise DataError(
            f"{what} holds the label(s) {', '.join(map(repr, strange[:5]))}, which are none of the classes "
            f"{', '.join(class_names)}. Correct the file or import the data set again."
        )
    return table


def count(manifest: pd.DataFrame, class_names: tuple[str, ...]) -> Counts:
    """Films, patients, exams, films per class (all classes, in order) and per centre (``""`` counts as ``unknown``)."""
    labels = Counter(manifest["label"])
    centers = Counter(manifest["center"].replace("", "unknown"))
    return Counts(
        films=len(manifest),
        patients=int(manifest["patient_id"].nunique()),
        exams=int(manifest["exam_id"].nunique()),
        per_class={name: labels[name] for name in class_names},
        per_center=dict(sorted(centers.items())),
    )


# ---- finding data sets -------------------------------------------------------------------------------------------------------


def load_dataset(workspace: Workspace, name: str) -> Dataset:
    """The data set of that name.

    Raises
    ------
    DataError
        There is none, or its ``dataset.json`` cannot be used.
    """
    directory = workspace.dataset(name)
    if not directory.is_dir():
        known = ", ".join(_names(workspace)[:5]) or "none yet"
        raise DataError(f"There is no data set {name!r}; import it on the Films page. Known data sets: {known}.")
    raw = _read(read_json, directory / RECORD_FILE, name)
    try:
        return Dataset(directory, DatasetRecord.model_validate(raw))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or RECORD_FILE
        raise DataError(
            f"{name}/{RECORD_FILE} does not describe a data set ({where}: {first['msg']}). Restore the file."
        ) from error


def list_datasets(workspace: Workspace) -> tuple[list[Dataset], dict[str, str]]:
    """All data sets by name, and name -> sentence for those that cannot be read."""
    datasets: list[Dataset] = []
    problems: dict[str, str] = {}
    for name in _names(workspace):
        try:
            datasets.append(load_dataset(workspace, name))
        except MammoError as error:
            problems[name] = str(error)
    return datasets, problems


def relink(dataset: Dataset, new_root: Path) -> Dataset:
    """Tell a data set that its films lie in another folder now. Nothing is imported again; ids and splits stay.

    Raises
    ------
    DataError
        The films are not there under their names; some films spread over the set are looked up.
    """
    root = new_root.expanduser().absolute()
    moved = Dataset(dataset.directory, dataset.record.model_copy(update={"root": str(root)}))
    files = list(moved.film_paths().values())
    probes = files[:: max(1, len(files) // RELINK_PROBES)]
    absent = sum(not file.is_file() for file in probes)
    if absent:
        raise DataError(
            f"{absent} of {len(probes)} films looked up are not below {root.name!r}; expected the folder that holds the films of "
            f"{dataset.name!r} under the same names. The link stays as it was."
        )
    write_json(dataset.directory / RECORD_FILE, moved.record.to_json())
    return moved


def _names(workspace: Workspace) -> list[str]:
    if not workspace.datasets.is_dir():
        return []
    return sorted(path.name for path in workspace.datasets.iterdir() if path.is_dir() and not path.name.startswith("."))


def _read(reader: Callable[[Path], T], path: Path, name: str) -> T:
    try:
        return reader(path)
    except FileNotFoundError as error:
        raise DataError(f"The data set {name!r} has no {path.name}; restore the file or import the data set again.") from error
    except CorruptRunFile as error:
        raise DataError(str(error)) from error
