"""What an adapter is, what it hands over, and what the user may correct.

An adapter knows how one data set lies on disk. It only answers two questions: *is this yours, and by what do you know it*
(:meth:`Adapter.recognises`) and *which film carries which raw words* (:meth:`Adapter.read`). Labels, double rows, missing files
and patients are then settled by ``planning.make_plan`` in the same way for every data set. A new public set is a new module with
one class, entered in the registry of this package.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import pandas as pd

from mammo_core.data.adapters.listing import Listing
from mammo_core.errors import DataError


class SeveralLabels(DataError):
    """A set has several labels, and nothing says which one is meant."""

    def __init__(self, text: str, tasks: tuple[str, ...]) -> None:
        super().__init__(text)
        self.tasks = tasks


PatientSource = Literal["column", "exam", "header", "file name pattern", "each film alone"]

ROW_COLUMNS = ("file", "patient", "exam", "laterality", "view", "center", "vendor", "label", "mask")
"""Columns of the rows an adapter hands over; text, empty where unknown."""

LESION_COLUMNS = ("file", "top", "left", "bottom", "right", "of_height", "of_width", "pathology")
"""Columns of the lesion boxes an adapter hands over. Edges are floats in pixels from the upper left corner of a film of
``of_height`` x ``of_width`` pixels (0: of the film as it is read); ``pathology`` is text, empty where unknown."""

PATIENT_STATEMENTS: dict[PatientSource, str] = {
    "column": "Patients are taken from the table.",
    "exam": "The table names exams but no patients: films are grouped by exam, and patient leakage cannot be excluded.",
    "header": "Patients are taken from the PatientID of the DICOM headers.",
    "file name pattern": "Patients are taken from the file names.",
    "each film alone": "No patient is known: each film is its own group, and patient leakage cannot be excluded.",
}


@dataclass(frozen=True, kw_only=True)
class ImportChoices:
    """What the user settles; everything left alone is worked out from names and columns."""

    adapter: str = "auto"
    task: str | None = None
    """``density``, ``lesion`` or any other word; chooses the label column."""
    root: Path | None = None
    """The folder that holds the films, where the table lies elsewhere."""
    table: str | None = None
    """File name of the table to use, where several lie there."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Role (``file``, ``patient``, ``exam``, ``laterality``, ``view``, ``center``, ``vendor``, ``label``, ``mask``) -> the
    table's column; empty text means that there is none."""
    label_map: Mapping[str, str | None] = field(default_factory=dict)
    """Value in the table -> class name, or ``None`` to leave its films out."""
    class_names: tuple[str, ...] = ()
    """The classes in their order."""
    ordinal: bool | None = None
    patient_from: PatientSource | None = None
    patient_pattern: str | None = None
    """Regular expression on the relative path; its first group is the patient."""
    synthetic: bool = False
    """Films made by code: their pseudonyms use a public key, so that they are the same on every machine."""

    def __post_init__(self) -> None:
        # A request in the queue comes back from JSON, which knows neither tuples nor paths.
        object.__setattr__(self, "class_names", tuple(self.class_names))
        object.__setattr__(self, "root", None if self.root is None else Path(self.root))


@dataclass(frozen=True)
class Evidence:
    """Why an adapter takes a source for its own."""

    sure: int
    """30 by folders, 50 by a table, 70 by a table of exact columns, 80 a known set, 90 by name and exact columns."""
    because: str
    """What was found, for the user: ``train.csv has the columns site_id, cancer``."""


@dataclass(frozen=True)
class LabelRule:
    """How a data set's own words become classes, where they are on none of the scales that every table shares."""

    mapping: Mapping[str, str | None]
    """Value (compared by :func:`~mammo_core.data.adapters.words.plain`) -> class, or ``None``; other values have none."""
    class_names: tuple[str, ...]
    """In order; classes without a film fall away."""
    ordinal: bool = False
    worst_wins: bool = False
    """Whether of several rows of a film the last class in order counts."""


@dataclass(frozen=True)
class LeftOut:
    """Rows or films that will not be imported. ``reason`` names no file, ``examples`` (for the screen only) may."""

    reason: str
    count: int
    examples: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What an adapter read: one row a table row (or film), in the source's own words.

    ``rows`` holds :data:`ROW_COLUMNS` and any further columns by their :func:`~mammo_core.data.adapters.words.plain` name;
    ``file`` and ``mask`` are as the table writes them, unless ``files_are_found``. Several masks of a film stand in one cell, one
    a line; the one or ones that have the film's size count.
    """

    rows: pd.DataFrame
    columns: Mapping[str, str]
    """Role -> the table's own column name, for the roles that have one."""
    columns_found: tuple[str, ...] = ()
    label_column: str = ""
    label_rule: LabelRule | None = None
    label_words: str = ""
    """What the label says and how it was mapped, where that needs a sentence."""
    task: str | None = None
    """The task that the label column speaks of, if it tells."""
    table: Path | None = None
    files_are_found: bool = False
    """``file`` already is a name of ``listing.films``."""
    origins: Mapping[str, str] = field(default_factory=dict)
    """Role -> where its values come from, where that is no plain column of the table."""
    patient_from: PatientSource | None = None
    """Where the set's patients stand, if that is not the best thing found."""
    patient_statement: str = ""
    """Said instead of the usual sentence, where the set is special."""
    row_is: str = "film"
    """What a row stands for: ``film``, or ``lesion`` where a film may have several."""
    lesions: pd.DataFrame | None = None
    """:data:`LESION_COLUMNS`; ``file`` as in ``rows``."""
    brings_split: bool = False
    """The further column ``source_split`` (train, val, test) is to become a split of the workspace."""
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()
    """What one should know of this set; nothing is wrong."""
    warnings: tuple[str, ...] = ()
    synthetic: bool = False


@dataclass(frozen=True, kw_only=True)
class ImportPlan:
    """What was understood of a source, before any pixel is read; :class:`ImportChoices` correct everything in it."""

    listing: Listing
    choices: ImportChoices
    adapter: str
    title: str
    """The adapter's name for the user."""
    because: str
    """Why this adapter; names the table, so for the screen only."""
    is_known_set: bool
    """Whether the columns are those of a known set, and not of any table."""
    task: str
    table: Path | None
    columns: Mapping[str, str]
    columns_found: tuple[str, ...]
    further_columns: tuple[str, ...]
    """Columns kept beside the fixed ones; all others are dropped because they could name a person or a date."""
    origins: Mapping[str, str]
    """Role -> where its values come from, for the user; every role that is known has one."""
    label_words: str
    class_names: tuple[str, ...]
    label_map: Mapping[str, str | None]
    """Each value found -> its class, or ``None`` where its films are left out."""
    word_counts: Mapping[str, int]
    """Each value found -> films that got their class by it; rows, where it stands for no class."""
    class_counts: Mapping[str, int]
    """Films of each class."""
    ordinal: bool
    patient_from: PatientSource
    rows: pd.DataFrame
    """One row a film: :data:`ROW_COLUMNS` (``file`` and ``mask`` relative to the root, ``label`` a class name) and the further
    columns. Patients and exams are still the source's own: this table stays in memory."""
    lesions: pd.DataFrame
    """:data:`LESION_COLUMNS` with ``file`` relative to the root; may be empty."""
    patient_statement: str
    brings_split: bool
    left_out: tuple[LeftOut, ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    synthetic: bool

    @property
    def root(self) -> Path:
        return self.listing.root

    def first_rows(self, count: int = 5) -> pd.DataFrame:
        """The first films as they were understood, for the screen."""
        return self.rows.head(count)


class Adapter(Protocol):
    """One way in which data sets lie on disk."""

    @property
    def name(self) -> str:
        """The word of ``--adapter``."""
        ...

    @property
    def title(self) -> str:
        """What the user reads."""
        ...

    def recognises(self, listing: Listing, choices: ImportChoices) -> Evidence | None:
        """What speaks for this source being the adapter's own; ``None`` where nothing does."""
        ...

    def read(self, listing: Listing, choices: ImportChoices) -> Reading:
        """The rows of the source in its own words.

        Raises
        ------
        DataError
            What is missing, what was found instead, and which choice settles it.
        """
        ...
