"""A history of another tool before it is kept: where it lies, what was understood of it, and what can be corrected."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mammo_core.analysis.diagnosis import Diagnosis
from mammo_core.errors import DataError, MammoError
from mammo_core.runs.importers import ForeignHistory, read_foreign_history
from mammo_core.runs.importers.columns import choose_columns
from mammo_core.runs.importers.delimited import read_delimited
from mammo_core.runs.importers.json_tables import read_json_document
from mammo_core.runs.importers.model import Table
from mammo_core.runs.importers.reading import parse_json, read_text
from mammo_core.runs.importers.rows import pivot_phases
from mammo_core.workflows.diagnose import diagnose_foreign

MEANINGS = {
    "epoch": "Epoch",
    "train_loss": "Training loss",
    "val_loss": "Validation loss",
    "train_acc": "Training accuracy",
    "val_acc": "Validation accuracy",
    "train_score": "Training score",
    "val_score": "Validation score",
    "lr": "Learning rate",
    "seconds": "Seconds per epoch",
}
"""What a column can be read as, in words."""
MOST_FILES, MOST_LEVELS = 500, 4


@dataclass(frozen=True)
class Preview:
    """What was understood of one file or folder; ``problem`` says why nothing was."""

    name: str
    histories: tuple[ForeignHistory, ...] = ()
    judged: tuple[Diagnosis, ...] = ()
    columns: tuple[str, ...] = ()
    """Columns of the table, where it is one whose reading can be corrected."""
    reading: Mapping[str, tuple[str, ...]] | None = None
    """Our name of each quantity to the columns that it is read from."""
    problem: str = ""

    @property
    def summary(self) -> str:
        """Tool, number of histories and rows in one line."""
        if self.problem:
            return self.problem
        kinds = Counter(history.source for history in self.histories)
        if len(kinds) > 1:
            named = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
            total = sum(len(history.records) for history in self.histories)
            return f"{len(self.histories)} histories, each of which becomes a run, of {total} rows in all: {named}."
        rows = " + ".join(str(len(history.records)) for history in self.histories[:6])
        more = " + ..." if len(self.histories) > 6 else ""
        count = "one history" if len(self.histories) == 1 else f"{len(self.histories)} histories, each of which becomes a run,"
        return f"{self.histories[0].source}: {count} of {rows}{more} rows."


def preview_history(path: Path, mapping: Mapping[str, str] | None = None) -> Preview:
    """Read and judge a file or folder without keeping anything; never raises for a bad one."""
    name = path.name
    columns, reading = _reading_of(path, mapping)
    try:
        histories = tuple(read_foreign_history(path, mapping))
        judged = tuple(map(diagnose_foreign, histories))
    except MammoError as error:
        return Preview(name, columns=columns, reading=reading, problem=str(error))
    except OSError as error:
        return Preview(name, problem=f"{name} cannot be read ({error.strerror}); expected a readable file or folder.")
    return Preview(name, histories, judged, columns, reading)


def _reading_of(path: Path, mapping: Mapping[str, str] | None) -> tuple[tuple[str, ...], dict[str, tuple[str, ...]] | None]:
    """The columns of a file with one table, and which of them is read as what."""
    try:
        tables = _tables(path)
        if len({tuple(table.columns) for table in tables}) != 1:
            return (), None
        table = tables[0]
        chosen = choose_columns(table.columns, table.rows, mapping)
        if chosen.phase:
            table = pivot_phases(table, chosen.phase, chosen.epoch)
            chosen = choose_columns(table.columns, table.rows, mapping)
    except (MammoError, OSError, ValueError):
        return (), None
    reading: dict[str, tuple[str, ...]] = {"epoch": (chosen.epoch,)} if chosen.epoch else {}
    reading |= {ours: tuple(theirs) for ours, theirs in chosen.chosen.items()}
    reading |= {f"recall of {name}": (column,) for name, column in chosen.recalls.items()}
    return tuple(name for name in table.columns if name.strip() and not name.startswith("#")), reading


def _tables(path: Path) -> list[Table]:
    if not path.is_file():
        return []
    text = read_text(path)
    if text.lstrip()[:1] in ("{", "["):
        return read_json_document(parse_json(text), any_names=True)
    return read_delimited(path, text, any_names=True)


def parse_mapping(pairs: Iterable[str]) -> dict[str, str]:
    """``["val_loss=my column"]`` as a mapping from our names to the file's.

    Raises
    ------
    DataError
        A pair without ``=``, or a name that is none of ours.
    """
    mapping = {}
    for pair in pairs:
        ours, sign, theirs = pair.partition("=")
        if not sign or not theirs.strip() or ours.strip() not in MEANINGS:
            raise DataError(f"The column {pair!r} is not understood; expected NAME=COLUMN with a NAME of {', '.join(MEANINGS)}.")
        mapping[ours.strip()] = theirs.strip()
    return mapping


# ---- where uploads lie while they are read --------------------------------------------------------------------------------


def file_word(text: str, otherwise: str = "history") -> str:
    """A part of a file name out of any text: letters, digits, ``_`` and ``-``."""
    return re.sub(r"[^A-Za-z0-9-]+", "_", text).strip("_-")[:60] or otherwise


def lay_out_files(folder: Path, files: Sequence[tuple[str, bytes]]) -> list[Path]:
    """Write uploaded files below ``folder``, each in a folder of its own name; the names serve only to tell the format.

    A file that names no model is named after its folder, hence the folders.
    """
    paths = []
    for number, (name, content) in enumerate(files):
        last = PurePosixPath(name.replace("\\", "/")).name
        stem = file_word(PurePosixPath(last).stem)
        place = folder / f"file_{number}" / stem
        place.mkdir(parents=True)
        paths.append(place / _safe_name(last))
        paths[-1].write_bytes(content)
    return paths


def lay_out_folder(folder: Path, files: Sequence[tuple[str, bytes]]) -> Path:
    """Write an uploaded folder below ``folder``, its sub-folders kept under harmless names; returns its top.

    Raises
    ------
    DataError
        More files than a results folder has.
    """
    if len(files) > MOST_FILES:
        raise DataError(
            f"The folder holds {len(files)} files, more than {MOST_FILES}; choose the results folder of one training."
        )
    parts = [[part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")] for name, _ in files]
    tops = {part[0] for part in parts if len(part) > 1}
    is_nested = len(tops) == 1 and all(len(part) > 1 for part in parts)
    top = folder / file_word(tops.pop() if is_nested else "", "folder")
    top.mkdir(parents=True)
    for number, (part, (_, content)) in enumerate(zip(parts, files, strict=True)):
        inner = [file_word(name, "folder") for name in part[1 if is_nested else 0 : -1]][:MOST_LEVELS]
        place = top.joinpath(*inner)
        place.mkdir(parents=True, exist_ok=True)
        path = place / _safe_name(part[-1] if part else "history")
        (path if not path.exists() else place / f"{number}_{path.name}").write_bytes(content)
    return top


def _safe_name(name: str) -> str:
    """A file name without anything that could leave its folder; dots inside stay, since event files are told by them."""
    text = re.sub(r"\.{2,}", ".", re.sub(r"[^A-Za-z0-9._-]+", "_", name)).strip("._-")
    return text[-100:].strip("._-") or "history"
