"""A split as files: ``split.csv`` says where each film stands, ``split.json`` how that came about and what was proved."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mammo_core.data.split_proof import SPLITS, Proof, places
from mammo_core.errors import CorruptRunFile, MammoError, SplitError
from mammo_core.reading import read_json, read_text_table
from mammo_core.settings import Workspace
from mammo_core.storage import lock_of, new_folder, write_atomic, write_json, writing

SPLIT_COLUMNS = ("image_id", "patient_id", "group_id", "split", "fold")
TABLE_FILE = "split.csv"
RECORD_FILE = "split.json"

PlaceCounts = dict[str, dict[str, int]]


class SplitRecord(BaseModel):
    """The content of ``split.json``. Counts are ``{"films", "patients"}``; places are splits and, with folds, ``fold_1`` ..."""

    model_config = ConfigDict(extra="allow")

    schema_version: int = 1
    name: str = ""
    dataset: str
    scheme: Literal["stratified", "center-holdout", "kfold", "date", "imported"]
    seed: int = 0
    ratios: list[float] = Field(default_factory=list)
    """Wanted shares of train, val and test. Centre holdout uses the middle one, as share of the training centres; k folds the
    last one."""
    holdout: list[str] = Field(default_factory=list)
    after: str = ""
    """First year or day of the test of a split by date."""
    date_column: str = ""
    gap_months: int = 0
    left_out: dict[str, int] = Field(default_factory=dict)
    """Reason -> films that the way of splitting could not place."""
    excluded: dict[str, int] = Field(default_factory=dict)
    """Reason, in the user's words -> films taken out of the data set before it was split."""
    folds: int | None = None
    fold: int | None = None
    """Set in a run's own copy: the fold that became its val."""
    view: str = ""
    """Set in a run's own copy: the one view that its films have; empty for films of all views."""
    task: str = ""
    class_names: list[str] = Field(default_factory=list)
    counts: PlaceCounts = Field(default_factory=dict)
    class_counts: dict[str, PlaceCounts] = Field(default_factory=dict)
    """Place -> class -> counts."""
    center_counts: dict[str, PlaceCounts] = Field(default_factory=dict)
    """Place -> centre -> counts."""
    proof: Proof = Field(default_factory=Proof)
    proof_text: str = ""
    patient_statement: str = ""
    """How patients were known; the proof is worth no more than this."""
    warnings: list[str] = Field(default_factory=list)
    override_reason: str | None = None
    """Why a leaking split was accepted, in the user's words."""
    algorithm: str = ""
    versions: dict[str, str] = Field(default_factory=dict)
    sha256: str = ""
    """SHA-256 of the bytes of ``split.csv``."""
    created_at: str = ""
    """ISO 8601, UTC."""

    def to_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json")


@dataclass(frozen=True, eq=False)
class Split:
    """``table`` has :data:`SPLIT_COLUMNS`, all text, one row a film; ``fold`` is empty where a row has none."""

    table: pd.DataFrame
    record: SplitRecord

    @property
    def name(self) -> str:
        return self.record.name


def table_bytes(table: pd.DataFrame) -> bytes:
    """The bytes of ``split.csv``."""
    buffer = BytesIO()
    table.to_csv(buffer, index=False, lineterminator="\n", columns=list(SPLIT_COLUMNS))
    return buffer.getvalue()


def write_split(directory: Path, split: Split) -> SplitRecord:
    """Write ``split.csv`` and ``split.json`` into a directory that exists; also for a run's own copy.

    Returns
    -------
    SplitRecord
        As written, with the hash of the table and the time.
    """
    content = table_bytes(split.table)
    record = split.record.model_copy(
        update={
            "sha256": hashlib.sha256(content).hexdigest(),
            "created_at": split.record.created_at or datetime.now(UTC).isoformat(timespec="seconds"),
        }
    )
    write_atomic(directory / TABLE_FILE, lambda file: file.write(content))
    write_json(directory / RECORD_FILE, record.to_json())
    return record


def read_split(directory: Path) -> Split:
    """Read a split, or a run's own copy, and check that its table is the one it was saved with.

    Raises
    ------
    SplitError
        A file is missing or unreadable, a column or value is not what a split holds, or the table was changed since.
    """
    what = directory.name
    try:
        content = (directory / TABLE_FILE).read_bytes()
        table = read_text_table(directory / TABLE_FILE)
        record = SplitRecord.model_validate(read_json(directory / RECORD_FILE))
    except FileNotFoundError as error:
        missing = Path(error.filename or TABLE_FILE).name
        raise SplitError(f"The split {what!r} has no {missing}; restore the file or make the split again.") from error
    except CorruptRunFile as error:
        raise SplitError(str(error)) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or RECORD_FILE
        raise SplitError(
            f"{what}/{RECORD_FILE} does not describe a split ({where}: {first['msg']}). Restore the file."
        ) from error
    check_table(table, f"{what}/{TABLE_FILE}")
    if hashlib.sha256(content).hexdigest() != record.sha256:
        raise SplitError(
            f"{what}/{TABLE_FILE} was changed after it was saved: its SHA-256 is not the one in {RECORD_FILE}. "
            "Restore the file, or import the changed table as a new split, so that its patients are checked again."
        )
    return Split(table[list(SPLIT_COLUMNS)], record)


def check_table(table: pd.DataFrame, what: str = TABLE_FILE) -> None:
    """Raise :class:`SplitError` where ``table`` is no split table: column missing, film twice, strange split or fold."""
    missing = [column for column in SPLIT_COLUMNS if column not in table.columns]
    if missing:
        raise SplitError(f"{what} lacks the column(s) {', '.join(missing)}; expected {', '.join(SPLIT_COLUMNS)}.")
    if table.empty:
        raise SplitError(f"{what} has no row; expected one row a film.")
    strange = sorted(set(table["split"]) - set(SPLITS))
    if strange:
        raise SplitError(f"{what} holds the split(s) {', '.join(map(repr, strange[:5]))}; expected train, val or test.")
    twice = int(table["image_id"].duplicated().sum())
    if twice:
        raise SplitError(f"{what} lists {twice} image_id(s) twice; each film must stand in one row.")
    strange = sorted({fold for fold in table["fold"] if fold and not (fold.isdecimal() and int(fold) > 0)})
    if strange:
        raise SplitError(
            f"{what} holds the fold(s) {', '.join(map(repr, strange[:5]))}; expected whole numbers from 1, or empty."
        )


def leaks_in(split: Split) -> list[str]:
    """What stands in more than one part, in words; empty where nothing does.

    The shared patients and groups are counted again in the table, so that a hand-edited one does not pass on an old proof.
    """
    place, proof = places(split.table), split.record.proof
    shared = {
        column: int((place.groupby(split.table[column]).nunique() > 1).sum()) for column in ("patient_id", "group_id")
    }  # fmt: skip
    patients = max(proof.patients_shared, shared["patient_id"])
    groups = max(proof.groups_shared, shared["group_id"])
    found = []
    if patients:
        found.append(f"{patients} of {split.table['patient_id'].nunique()} patients")
    if groups > patients:
        found.append(f"{groups} groups of films that belong together")
    if proof.duplicates_shared:
        found.append(f"{proof.duplicates_shared} sets of identical films")
    if proof.near_duplicates_shared:
        found.append(f"{proof.near_duplicates_shared} pairs of nearly identical films")
    if proof.exams_shared and not found:
        found.append(f"{proof.exams_shared} exams")
    return found


def check_trainable(split: Split, override_reason: str | None = None) -> None:
    """Refuse a split in which patients, groups or identical films stand in two places, unless someone answers for it.

    See :func:`leaks_in`. What is known about the data set today counts where
    :func:`mammo_core.data.splits.check_against` is asked.

    Raises
    ------
    SplitError
        It leaks, and neither ``override_reason`` nor the reason saved with the split says why it is used all the same.
    """
    if (override_reason or "").strip() or (split.record.override_reason or "").strip():
        return
    found = leaks_in(split)
    if found:
        raise SplitError(
            f"This split leaks: {' and '.join(found)} stand in more than one part, so a test on it would be too good. "
            "Make a split that keeps patients together, or give a reason to use this one all the same."
        )


# ---- splits of the workspace ---------------------------------------------------------------------------------------------------


def save_split(workspace: Workspace, name: str, split: Split, override_reason: str | None = None) -> Split:
    """Save a split under a new name; ``override_reason`` is kept where the split leaks.

    Raises
    ------
    SplitError
        The name is taken (nothing is overwritten), or the split leaks and no reason is given (see :func:`check_trainable`).
    NameNotAllowed
    """
    target = workspace.split(name)
    check_table(split.table, name)
    check_trainable(split, override_reason)
    with writing(name):
        workspace.splits.mkdir(parents=True, exist_ok=True)
        with lock_of(workspace.splits / ".lock"):
            if target.exists():
                raise SplitError(f"There already is a split {name!r}, and nothing is overwritten; choose another name.")
            with new_folder(target, alone=True) as building:
                reason = ((override_reason or "").strip() or split.record.override_reason) if leaks_in(split) else None
                named = split.record.model_copy(update={"name": name, "override_reason": reason})
                record = write_split(building, Split(split.table, named))
    return Split(split.table, record)


def load_split(workspace: Workspace, name: str) -> Split:
    """The split of that name; raises :class:`SplitError` as :func:`read_split`, or where there is none."""
    directory = workspace.split(name)
    if not directory.is_dir():
        known = ", ".join(_names(workspace)[:5]) or "none yet"
        raise SplitError(f"There is no split {name!r}; make it on the Splits page. Known splits: {known}.")
    return read_split(directory)


def list_splits(workspace: Workspace, dataset: str | None = None) -> tuple[list[SplitRecord], dict[str, str]]:
    """Records of all splits by name (or of one data set's), and name -> sentence for those that cannot be read."""
    records: list[SplitRecord] = []
    problems: dict[str, str] = {}
    for name in _names(workspace):
        try:
            record = load_split(workspace, name).record.model_copy(update={"name": name})
        except MammoError as error:
            problems[name] = str(error)
            continue
        if dataset in (None, record.dataset):
            records.append(record)
    return records, problems


def _names(workspace: Workspace) -> list[str]:
    if not workspace.splits.is_dir():
        return []
    return sorted(path.name for path in workspace.splits.iterdir() if path.is_dir() and not path.name.startswith("."))
