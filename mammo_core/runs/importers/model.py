"""What an importer hands over: tables of cells while reading, histories at the end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from mammo_core.runs.schema import EpochRecord

Cell = float | str | None
"""A number (NaN and infinity as the file wrote them), a text, or nothing."""

Row = dict[str, Cell]

PART = "#part"
"""Hidden column of a table: how often its header was repeated before the row."""

ROW = "#row"
"""Hidden column of a table: the row's number below the header, counting lines that were skipped."""

SOURCE_ROW = "source_row"
"""Extra key of an imported record: the row of the file that it is, where that is not its own number."""

SOURCE_EPOCH = "source_epoch"
"""Extra key of an imported record: the epoch value that the file itself gives, or ``None``."""

SEGMENT = "segment"
"""Extra key of an imported record: 0 for the first run of a file, 1 after a second one was appended, and so on."""

BROKEN = "non_finite_in"
"""Extra key of an imported record: the losses that were NaN or infinite, separated by blanks."""


@dataclass(frozen=True)
class Known:
    """What a file or folder says of the run beside the curves; ``None`` or empty where it says nothing."""

    planned_epochs: int | None = None
    class_names: tuple[str, ...] = ()
    n_classes: int | None = None
    patience: int | None = None
    warmup_epochs: float | None = None
    label_smoothing: float | None = None
    n_val: int | None = None
    val_counts: Mapping[str, int] = field(default_factory=dict)
    """Validation cases a class."""
    seed: int | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    """The other tool's own evaluation, under this app's metric names; at which epoch is not known."""

    def joined(self, other: Known) -> Known:
        """This, with what it lacks taken from ``other``."""
        blank = Known()
        lacking = {
            name: getattr(other, name)
            for name in self.__dataclass_fields__
            if getattr(self, name) in (getattr(blank, name), None) and getattr(other, name) is not None
        }
        return replace(self, **lacking)

    def to_json(self) -> dict[str, Any]:
        return {
            name: list(value) if isinstance(value := getattr(self, name), tuple) else value for name in self.__dataclass_fields__
        }


@dataclass(frozen=True)
class Table:
    """Rows as a file holds them, before anything is known of their columns."""

    rows: list[Row]
    columns: list[str]
    source: str
    """The format in words, for example ``Keras CSVLogger``."""
    label: str = ""
    known: Known = field(default_factory=Known)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ForeignHistory:
    """One training history of another tool in this app's schema."""

    label: str
    """Model or run name inside the file; else the name of the folder or file."""
    records: list[EpochRecord]
    """Rows numbered from 1 in file order; ``source_epoch`` keeps the file's own epoch value."""
    source: str
    facts: tuple[str, ...] = ()
    """Sentences: how columns were read, what was renamed, repaired or left out."""
    known: Known = field(default_factory=Known)
    score_name: str = ""
    """Name of the quality measure in ``train_score`` / ``val_score`` where the file has no accuracy."""

    @property
    def source_epochs(self) -> list[float | None]:
        return [(record.model_extra or {}).get(SOURCE_EPOCH) for record in self.records]
