"""The files of a prediction batch: what stands in them, and reading them again. Needs no model.

``predictions.json``, ``predictions.csv``, ``exams.csv`` and ``maps/`` know a film by its number and by digits of its content's
hash, and can be passed on. ``files.csv`` alone says which file a number was: paths carry names and dates.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from mammo_core.errors import CorruptRunFile, DataError
from mammo_core.reading import read_json, refuse_wide_table
from mammo_core.report.tables import safe_csv
from mammo_core.settings import RESEARCH_ONLY, Workspace
from mammo_core.storage import is_allowed_name, write_atomic, write_json, write_text
from mammo_core.workflows.batch_tables import exam_table, film_table

SUMMARY, RESULTS, FILM_TABLE, EXAM_TABLE, FILES = (
    "batch.json", "predictions.json", "predictions.csv", "exams.csv", "files.csv",
)  # fmt: skip
MAPS = "maps"
PASSABLE = (RESULTS, FILM_TABLE, EXAM_TABLE)
"""Files that name nobody; the pictures in ``maps`` neither."""
FILES_NOTICE = "# This file can identify patients: file names and folders carry names and dates. Keep it here; do not pass it on."


@dataclass(frozen=True)
class BatchSummary:
    """One batch as a list shows it."""

    name: str
    folder: Path
    state: str
    """``finished``, ``failed`` (no film was predicted), ``unfinished`` (under way, or cut off) or ``unreadable``."""
    made_at: str
    """Local date and time of the start, ISO 8601 without zone."""
    task: str
    model: str
    """As the user named it: the kept model, or the runs."""
    rule: str
    """By which the thresholds were chosen; empty in batches of older versions, which had none."""
    runs: tuple[str, ...]
    class_names: tuple[str, ...]
    grouping: str
    films: int
    """Found in the folder."""
    predicted: int
    failed: int
    exams: int
    maps: int
    problem: str
    """Why it cannot be shown, a sentence; empty otherwise."""


@dataclass(frozen=True)
class Batch:
    """One batch with its results."""

    summary: BatchSummary
    films: tuple[dict[str, Any], ...]
    """As ``predict --json`` gives them, with ``film`` (its number) in place of ``image``, and of ``exam`` and ``breast`` the
    names only: their means stand with the exams."""
    exams: tuple[dict[str, Any], ...]
    """As :func:`mammo_core.predict.exam_rows.exam_row` gives them."""
    models: tuple[dict[str, Any], ...]
    """Origin of each run."""
    problem: str
    """What of it could not be read, a sentence; empty where all could."""


def batches_folder(workspace: Workspace) -> Path:
    return workspace.reports / "predictions"


def list_batches(workspace: Workspace) -> list[BatchSummary]:
    """All batches of the workspace, newest first; one whose summary is broken is listed as ``unreadable``."""
    folder = batches_folder(workspace)
    entries = folder.iterdir() if folder.is_dir() else ()
    found = [_summary(entry) for entry in entries if entry.is_dir() and is_allowed_name(entry.name)]
    return sorted(found, key=lambda batch: (batch.made_at, batch.name), reverse=True)


def load_batch(workspace: Workspace, name: str) -> Batch:
    """One batch; rows that are none are left out, and ``problem`` says what is missing.

    Raises
    ------
    DataError
        There is no such batch.
    """
    folder = batches_folder(workspace) / name
    if not is_allowed_name(name) or not folder.is_dir():
        raise DataError(f"There is no prediction batch {name[:90]!r}; it was deleted or never made. Choose another one.")
    summary = _summary(folder)
    raw, problem = _read(folder / RESULTS)
    films = tuple(row for row in _dicts(raw.get("films")) if _is_film(row))
    exams = tuple(row for row in _dicts(raw.get("exams")) if _is_exam(row))
    lost = sum(len(raw[key]) if isinstance(raw.get(key), list) else 0 for key in ("films", "exams")) - len(films) - len(exams)
    if lost:
        problem = (
            f"{lost} entries of {RESULTS} are no results and are left out; the file was changed by hand or by another program."
        )
    return Batch(summary, films, exams, _dicts(raw.get("models")), summary.problem or problem)


def _is_film(row: Mapping[str, Any]) -> bool:
    unfamiliar, probabilities = row.get("unfamiliar"), row.get("probabilities")
    is_judged = isinstance(unfamiliar, dict) and isinstance(unfamiliar.get("flagged"), bool | None)
    is_named = isinstance(row.get("film"), int) and isinstance(row.get("predicted"), str | None)
    is_told = isinstance(probabilities, dict) and isinstance(row.get("warnings"), list)
    return is_judged and is_named and is_told and _is_threshold(row.get("threshold"))


def _is_exam(row: Mapping[str, Any]) -> bool:
    groups = [row.get("whole"), *row["breasts"]] if isinstance(row.get("breasts"), list) else [""]
    is_named = isinstance(row.get("exam"), str) and isinstance(row.get("basis"), str)
    return is_named and all(group is None or _is_group(group) for group in groups)


def _is_group(group: object) -> bool:
    if not isinstance(group, dict) or not isinstance(group.get("probabilities"), dict):
        return False
    views, predicted = group.get("views"), group.get("predicted")
    is_listed = isinstance(views, list) and all(isinstance(view, dict) and _is_view(view) for view in views)
    return is_listed and isinstance(predicted, str) and _is_threshold(group.get("threshold"))


def _is_threshold(judged: object) -> bool:
    """``None`` and what ``Judgement.to_json`` gives."""
    if not isinstance(judged, dict):
        return judged is None
    is_named = isinstance(judged.get("question"), str) and isinstance(judged.get("called"), bool)
    return is_named and isinstance(judged.get("score"), float | int) and isinstance(judged.get("threshold"), float | int | None)


def _is_view(view: Mapping[str, Any]) -> bool:
    return isinstance(view.get("name"), str) and isinstance(view.get("film"), int)


def write_batch(
    folder: Path, facts: Mapping[str, Any], rows: Sequence[dict[str, Any]], exams: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """Write all files of a batch but ``files.csv`` and the maps; returns the content of ``batch.json``.

    Parameters
    ----------
    facts : what the whole batch has in common: ``name, state, made_at, task, model, model_id, temperature, runs, class_names,
        models, grouping, rule, found`` (films in the folder) and whatever else is worth keeping
    rows : one a film
    exams : as ``exam_row`` gives them
    """
    counts = {
        "films": facts["found"],
        "predicted": sum(row["predicted"] is not None for row in rows),
        "failed": sum(row["predicted"] is None for row in rows),
        "unlike": sum(row["unfamiliar"]["flagged"] is True for row in rows),
        "exams": len(exams),
        "maps": sum(bool(row.get("gradcam")) for row in rows),
        "map_failures": sum(row["predicted"] is not None and row["error"] is not None for row in rows),
    }
    summary = {"disclaimer": RESEARCH_ONLY, **facts, "counts": counts}
    del summary["found"]
    write_text(folder / RESULTS, _results_text(summary, rows, exams))
    for name, table in ((FILM_TABLE, film_table(rows, facts)), (EXAM_TABLE, exam_table(exams, facts))):
        content = safe_csv(table)
        write_atomic(folder / name, lambda file, content=content: file.write(content))  # type: ignore[misc]
    write_json(folder / SUMMARY, summary)
    return summary


def _results_text(summary: dict[str, Any], rows: Sequence[dict[str, Any]], exams: Sequence[dict[str, Any]]) -> str:
    """JSON with one line a film and one an exam: indented, thousands of films would be half as large again."""
    head = json.dumps(summary, indent=1, ensure_ascii=False, allow_nan=False).removesuffix("\n}")
    lists = ",\n".join(f' "{key}": [\n{_lines(values)}\n ]' for key, values in (("films", rows), ("exams", exams)))
    return f"{head},\n{lists}\n}}\n"


def _lines(values: Sequence[dict[str, Any]]) -> str:
    return ",\n".join(json.dumps(value, ensure_ascii=False, allow_nan=False) for value in values)


def write_files_table(folder: Path, paths: Sequence[str]) -> None:
    """Which file film 1, 2, ... was; ``paths`` are relative to the folder that was predicted on."""
    table = pd.DataFrame({"film": range(1, len(paths) + 1), "path": list(paths)})
    content = f"{FILES_NOTICE}\r\n".encode() + safe_csv(table)
    write_atomic(folder / FILES, lambda file: file.write(content))


def film_paths(folder: Path) -> dict[int, str]:
    """Which file each film number was, for the screen only; empty where ``files.csv`` is missing or broken."""
    try:
        refuse_wide_table(folder / FILES)
        table = pd.read_csv(folder / FILES, skiprows=1, dtype=str, keep_default_na=False)
        return {int(number): path.removeprefix("'") for number, path in zip(table["film"], table["path"], strict=True)}
    except (OSError, KeyError, ValueError, pd.errors.ParserError):
        return {}


def _read(path: Path) -> tuple[dict[str, Any], str]:
    """A JSON object, or an empty one and the reason."""
    try:
        raw = read_json(path)
    except FileNotFoundError:
        return {}, f"The batch has no {path.name}; it was cut off before its first results, or the file was deleted."
    except CorruptRunFile as error:
        return {}, str(error)
    except OSError as error:
        return {}, f"{path.name} of the batch cannot be opened ({error.strerror}). Check that it may be read."
    if not isinstance(raw, dict):
        return {}, f"{path.name} of the batch holds no record but a {type(raw).__name__}. Predict on the folder again."
    return raw, ""


def _summary(folder: Path) -> BatchSummary:
    raw, problem = _read(folder / SUMMARY)
    counts = raw.get("counts")
    return BatchSummary(
        name=folder.name,
        folder=folder,
        state="unreadable" if problem else _text(raw.get("state")) or "unfinished",
        made_at=_text(raw.get("made_at")),
        task=_text(raw.get("task")),
        model=_text(raw.get("model")) or ", ".join(_texts(raw.get("runs"))),
        rule=_text(raw.get("rule")),
        runs=_texts(raw.get("runs")),
        class_names=_texts(raw.get("class_names")),
        grouping=_text(raw.get("grouping")),
        **{key: _count(counts, key) for key in ("films", "predicted", "failed", "exams", "maps")},
        problem=problem,
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _texts(value: object) -> tuple[str, ...]:
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()


def _count(counts: object, key: str) -> int:
    value = counts.get(key) if isinstance(counts, dict) else 0
    return value if isinstance(value, int) else 0


def _dicts(value: object) -> tuple[dict[str, Any], ...]:
    return tuple(item for item in value if isinstance(item, dict)) if isinstance(value, list) else ()
