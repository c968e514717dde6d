"""A whole results folder: which of its files is the history, and what its other files say of the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mammo_core.errors import CorruptRunFile, DataError
from mammo_core.reading import read_yaml
from mammo_core.runs.importers.assemble import histories_of
from mammo_core.runs.importers.event_files import is_event_file, read_event_files
from mammo_core.runs.importers.files import read_file
from mammo_core.runs.importers.known import known_of
from mammo_core.runs.importers.model import ForeignHistory, Known
from mammo_core.runs.importers.reading import parse_json, read_text

SUFFIXES = frozenset({".json", ".jsonl", ".csv", ".tsv", ".log", ".txt", ".md", ".pkl", ".pickle"})
NOT_HISTORIES = frozenset({"config", "args", "hparams", "environment", "requirements", "readme", "split", "manifest", "status"})
FACTS = ("summary.json", "config.json", "args.json", "config.yaml", "args.yaml", "hparams.yaml", "metrics/val_metrics.json")
MAX_FILES = 40
MAX_FOLDERS = 60


def read_folder(path: Path, mapping: Mapping[str, str] | None = None) -> list[ForeignHistory]:
    """The histories of a folder: its own best file, else those of its sub-folders (folds, seeds, versions), else event files.

    Raises
    ------
    DataError
        No file of the folder is a history; the text says what was tried.
    """
    events = _event_tables(path)
    histories = _own_histories(path, mapping)
    if not histories:
        histories = events
    if not histories:
        for folder in _folders(path):
            found = _own_histories(folder, mapping)
            beside = _known_beside(folder)
            histories += [
                replace(
                    history,
                    label=folder.name if len(found) == 1 else f"{folder.name} {history.label}",
                    known=history.known.joined(beside),
                )
                for history in found
            ]
    if not histories:
        candidates = _candidates(path)
        if len(candidates) == 1:
            read_file(candidates[0], mapping)  # its own refusal says more than that of the folder
        tried = ", ".join(file.name for file in candidates[:5])
        raise DataError(
            f"The folder {path.name} holds no training history ({f'tried {tried}' if tried else 'no file of a known kind'}); "
            "expected a file with a loss or accuracy for each epoch. Name that file itself."
        )
    known = _known_beside(path)
    return [replace(history, known=history.known.joined(known)) for history in histories]


def _folders(path: Path) -> list[Path]:
    below = sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))[:MAX_FOLDERS]
    deeper = [inner for entry in below for inner in sorted(entry.iterdir()) if inner.is_dir() and not inner.name.startswith(".")]
    return below + deeper[:MAX_FOLDERS]


def _candidates(path: Path) -> list[Path]:
    files = [entry for entry in path.iterdir() if entry.is_file() and entry.suffix.lower() in SUFFIXES]
    files = [file for file in files if file.stem.lower() not in NOT_HISTORIES and file.name.lower() != "summary.json"]
    return sorted(files, key=lambda file: (file.suffix.lower() in (".pkl", ".pickle"), "hist" not in file.name, file.name))[
        :MAX_FILES
    ]


def _own_histories(path: Path, mapping: Mapping[str, str] | None) -> list[ForeignHistory]:
    """The histories of the file that holds most of the curves; a file with the other half of them is joined to it."""
    found: list[tuple[Path, list[ForeignHistory]]] = []
    for file in _candidates(path):
        try:
            found.append((file, read_file(file, mapping)))
        except DataError:
            continue  # a neighbour that is no history is no fault of the folder
    if not found:
        return []
    best_file, best = max(found, key=lambda item: _completeness(item[1]))
    others = [item for item in found if item[0] is not best_file]
    if len(best) == 1:
        for file, other in others:
            if len(other) == 1 and _complement(best[0], other[0]):
                best = [_joined(best[0], other[0], file.name)]
                break
    return [_said(history, best_file, others) for history in best]


def _said(history: ForeignHistory, chosen: Path, others: Sequence[tuple[Path, Any]]) -> ForeignHistory:
    if not others:
        return history
    names = ", ".join(file.name for file, _ in others[:4])
    return replace(history, facts=(f"Read from {chosen.name}; {names} beside it was not used.", *history.facts))


def _has(history: ForeignHistory, name: str) -> bool:
    return any(getattr(record, name) is not None or record.non_finite for record in history.records)


def _completeness(histories: Sequence[ForeignHistory]) -> tuple[int, int]:
    curves = max(sum(_has(history, name) for name in ("train_loss", "val_loss", "train_acc", "val_acc")) for history in histories)
    return curves, max(len(history.records) for history in histories)


def _complement(one: ForeignHistory, other: ForeignHistory) -> bool:
    """Whether the two hold different sets over the same number of rows: ``train.csv`` and ``val.csv`` of one run."""
    return len(one.records) == len(other.records) and any(
        _has(one, f"{here}_loss")
        and not _has(one, f"{there}_loss")
        and (_has(other, f"{there}_loss") or _has(other, "train_loss"))
        for here, there in (("train", "val"), ("val", "train"))
    )


def _joined(one: ForeignHistory, other: ForeignHistory, name: str) -> ForeignHistory:
    if [r.model_extra for r in one.records if r.model_extra] and one.source_epochs != other.source_epochs:
        return one
    records = []
    bare_validation = "val" in name.lower() or "test" in name.lower()
    for mine, theirs in zip(one.records, other.records, strict=True):
        given = {
            key: value for key, value in theirs.model_dump().items() if key.endswith(("_loss", "_acc")) and value is not None
        }
        if bare_validation:
            given = {key.replace("train_", "val_"): value for key, value in given.items()}
        kept = {key: value for key, value in given.items() if getattr(mine, key, None) is None}
        records.append(mine.model_copy(update=kept))
    return replace(one, records=records, facts=(*one.facts, f"Joined with {name} row by row."))


def _known_beside(path: Path) -> Known:
    known = Known()
    for name in FACTS:
        file = path / name
        if not file.is_file():
            continue
        try:
            document = read_yaml(file) if file.suffix == ".yaml" else parse_json(read_text(file))
        except (DataError, CorruptRunFile, ValueError, OSError):
            continue  # a damaged neighbour only means that less is known
        if isinstance(document, dict):
            known = known.joined(known_of(document))
    return known


def _event_tables(path: Path) -> list[ForeignHistory]:
    """Event files of the folder and of its ``train`` / ``validation`` sub-folders, as one run."""
    files = [(".", file) for file in sorted(path.iterdir()) if file.is_file() and is_event_file(file)]
    for folder in _folders(path):
        files += [(folder.name, file) for file in sorted(folder.iterdir()) if file.is_file() and is_event_file(file)]
    if not files:
        return []
    return [history for table in read_event_files(files[:MAX_FILES], path.name) for history in histories_of(table)]
