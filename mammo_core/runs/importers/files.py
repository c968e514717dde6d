"""One file to its histories: the format is told by content, not by suffix."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from mammo_core.errors import DataError
from mammo_core.runs.importers.assemble import histories_of
from mammo_core.runs.importers.delimited import read_delimited
from mammo_core.runs.importers.event_files import is_event_file, read_event_files
from mammo_core.runs.importers.json_tables import read_json_document
from mammo_core.runs.importers.model import ForeignHistory, Table
from mammo_core.runs.importers.pickles import read_pickle
from mammo_core.runs.importers.reading import MAX_ROWS, parse_json, read_text, refuse
from mammo_core.runs.importers.text_logs import read_log

PICKLES = frozenset({".pkl", ".pickle"})
NOT_READ = {
    ".xlsx": "an Excel workbook; save its sheet as CSV",
    ".xls": "an Excel workbook; save its sheet as CSV",
    ".h5": "a Keras model or HDF5 file; name the CSV or JSON log of the training",
    ".keras": "a Keras model; name the CSV or JSON log of the training",
    ".npz": "a NumPy archive; save the history as CSV or JSON",
    ".npy": "a NumPy array; save the history as CSV or JSON",
    ".pt": "a PyTorch checkpoint; name the log of the training",
    ".pth": "a PyTorch checkpoint; name the log of the training",
    ".ckpt": "a checkpoint; name the log of the training",
    ".png": "a picture; name the file with the numbers",
    ".jpg": "a picture; name the file with the numbers",
    ".pdf": "a PDF; name the file with the numbers",
    ".zip": "an archive; unpack it first",
}
GENERIC = frozenset(
    {"metrics", "results", "history", "log", "logs", "summary", "train_log", "training_log", "trainer_state", "train_history"}
    | {"training_history", "progress", "training"}
)


def read_file(path: Path, mapping: Mapping[str, str] | None = None) -> list[ForeignHistory]:
    """Every history of one file.

    Raises
    ------
    DataError
        The file is no history, too large, damaged or of a format that is not read: one sentence says which.
    """
    try:
        tables = _tables(path, any_names=bool(mapping))
    except OSError as error:
        raise DataError(f"{path.name} cannot be opened ({error.strerror}); expected a readable file.") from error
    histories = [history for table in tables for history in histories_of(table, mapping)]
    if not histories:
        raise refuse(path, _what_it_is(tables))
    return [history if history.label else replace(history, label=label_of(path)) for history in histories]


def label_of(path: Path) -> str:
    """The file's name without suffix, or its folder's where many tools give the same name."""
    stem = path.stem
    return path.resolve().parent.name or stem if stem.lower() in GENERIC else stem


def _what_it_is(tables: list[Table]) -> str:
    if not tables:
        return "is no training history: no column for each epoch was recognised"
    if all(len(table.rows) == 0 for table in tables):
        return "has a header but no rows"
    names = [name for name in tables[0].columns if name.strip()][:6]
    return f"is a table without curves (columns {', '.join(names)})"


def _tables(path: Path, any_names: bool) -> list[Table]:
    if is_event_file(path):
        return read_event_files([("", path)], "")
    if path.suffix.lower() in NOT_READ:
        raise refuse(path, f"is {NOT_READ[path.suffix.lower()]}", "")
    if path.suffix.lower() in PICKLES:
        return [replace(table, source="pickled history") for table in read_json_document(read_pickle(path), any_names)]
    text = read_text(path)
    if text.lstrip()[:1] in ("{", "["):
        return _json_tables(path, text, any_names)
    tables = read_delimited(path, text, any_names)
    if max((len(table.rows) for table in tables), default=0) < 2:
        logged = read_log(text)
        return logged or tables
    return tables


def _json_tables(path: Path, text: str, any_names: bool) -> list[Table]:
    try:
        return read_json_document(parse_json(text), any_names)
    except ValueError as error:
        lines = [line for line in text.splitlines() if line.strip()][:MAX_ROWS]
        records, broken = _json_lines(lines)
        if records and broken <= max(1, len(lines) // 20):
            notes = (f"{broken} line(s) that are not JSON were left out.",) if broken else ()
            return [
                replace(table, source="JSON lines", notes=(*notes, *table.notes))
                for table in read_json_document(records, any_names)
            ]
        tables = read_delimited(path, text, any_names)
        if tables:
            return tables
        logged = read_log(text)
        if logged:
            return logged
        if not path.suffix.lower().startswith(".json"):
            return []
        reason = str(error).splitlines()[0][:120]
        raise refuse(
            path, f"is not readable as JSON ({reason})", "If the writing was cut off, complete the last line."
        ) from error


def _json_lines(lines: list[str]) -> tuple[list[object], int]:
    records: list[object] = []
    broken = 0
    for line in lines:
        try:
            records.append(parse_json(line.strip().rstrip(",")))
        except ValueError:
            broken += 1
            if broken > 20 and broken > len(records):
                break
    return [record for record in records if isinstance(record, dict)], broken
