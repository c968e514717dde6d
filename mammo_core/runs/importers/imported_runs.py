"""A foreign history written as a run of this app, so that charts, verdicts and comparisons treat it as any other."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mammo_core.config import SCHEMA_VERSION
from mammo_core.errors import DataError
from mammo_core.runs.history import history_frame
from mammo_core.runs.importers.model import ForeignHistory
from mammo_core.runs.run_dir import RunDir
from mammo_core.runs.schema import Status
from mammo_core.settings import Workspace
from mammo_core.storage import check_name, is_allowed_name, lock_of, write_json, write_table, write_yaml

MAX_RUNS = 200


def import_history(workspace: Workspace, path: Path, name: str, mapping: Mapping[str, str] | None = None) -> list[RunDir]:
    """Write every history of a file or folder below ``runs/imported/<name>/``, one run each.

    Nothing is overwritten: a run name that is taken gets ``_2``, ``_3`` and so on.

    Raises
    ------
    DataError, NameNotAllowed
        Nothing to read; a name that cannot be a folder.
    """
    from mammo_core.runs.importers import read_foreign_history

    folder = workspace.imported / check_name(name, "experiment name")
    histories = read_foreign_history(path, mapping)
    if len(histories) > MAX_RUNS:
        raise DataError(f"{path.name} holds {len(histories)} histories, more than {MAX_RUNS}; import them in several parts.")
    folder.mkdir(parents=True, exist_ok=True)
    with lock_of(folder / ".import.lock"):
        return [_write(folder, history, path.name) for history in histories]


def _write(folder: Path, history: ForeignHistory, file: str) -> RunDir:
    run = RunDir(_free(folder, run_name(history.label)))
    run.path.mkdir()
    write_json(run.history_file, [record.to_json() for record in history.records])
    write_table(run.training_log, history_frame(history.records))
    write_json(run.import_file, _import_record(history, file))
    now = time.time()
    epochs = len(history.records)
    status = Status(
        state="finished",
        epoch=epochs,
        epochs=history.known.planned_epochs or epochs,
        created_at=now,
        finished_at=now,
        message=f"Imported from {file} ({history.source}).",
    )
    write_json(run.status_file, status.to_json())
    # Last, because a folder counts as a run from the moment on which it has a config.
    write_yaml(run.config_file, _config(history, folder.name))
    return run


def run_name(label: str) -> str:
    """A folder name out of a label of the file: letters, digits, ``._-``, at most 70 characters."""
    text = re.sub(r"[^A-Za-z0-9._-]+", "_", label).strip("._-")[:70].strip("._-")
    name = re.sub(r"\.{2,}", ".", text) or "run"
    return name if is_allowed_name(name) else f"run_{name}"  # Windows reserves some names, such as con


def _free(folder: Path, name: str) -> Path:
    check_name(name, "run name")
    taken = {entry.name.lower() for entry in folder.iterdir()}
    number = 2
    candidate = name
    while candidate.lower() in taken:
        candidate, number = f"{name}_{number}", number + 1
    return folder / candidate


def _import_record(history: ForeignHistory, file: str) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "file": file,
        "label": history.label,
        "source": history.source,
        "facts": list(history.facts),
        "known": history.known.to_json(),
        "score_name": history.score_name or None,
    }


def _config(history: ForeignHistory, experiment: str) -> dict[str, Any]:
    """The least that opens as a config; whatever the file does not say stays at ``none`` rather than at this app's defaults."""
    known = history.known
    planned = max(known.planned_epochs or 0, len(history.records), 1)
    warmup = known.warmup_epochs if known.warmup_epochs is not None and known.warmup_epochs < planned else 0
    return {
        "schema_version": SCHEMA_VERSION,
        "task": "imported",
        "experiment": experiment,
        **({} if known.seed is None else {"seed": known.seed}),
        "class_names": list(known.class_names),
        "epochs": planned,
        "warmup_epochs": warmup,
        "early_stopping_patience": known.patience,
        "class_weights": "none",
        "label_smoothing": known.label_smoothing or 0.0,
        "weights": "none",
        "augment": "none",
    }
