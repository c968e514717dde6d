"""From a table to histories in this app's schema: scales, undefined values, counts, and the sentences that say what was done."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from mammo_core.runs.importers.columns import Columns, choose_columns
from mammo_core.runs.importers.model import BROKEN, SEGMENT, SOURCE_EPOCH, SOURCE_ROW, Cell, ForeignHistory, Known, Table
from mammo_core.runs.importers.reading import as_seconds
from mammo_core.runs.importers.rows import Line, lines_of, mark_segments, one_line_an_epoch, pivot_phases, split_groups
from mammo_core.runs.importers.words import read_name
from mammo_core.runs.schema import EpochRecord

PERCENT_ABOVE = 1.5
"""An accuracy beyond this is a percentage; 1.5 leaves room for rounding above 1."""
LOSSES = ("train_loss", "val_loss")
ULTRALYTICS = "Ultralytics results.csv"
"""The tool whose ``time`` counts from the start of the run."""


def histories_of(table: Table, mapping: Mapping[str, str] | None = None) -> list[ForeignHistory]:
    """Every history that a table holds, in file order; empty where no column is recognised or each row is another model."""
    columns = choose_columns(table.columns, table.rows, mapping)
    if columns.phase:
        table = pivot_phases(table, columns.phase, columns.epoch)
        columns = choose_columns(table.columns, table.rows, mapping)
    if not columns.has_metrics or _is_a_summary(table, columns):
        return []
    groups = split_groups(table, columns)
    histories = [_history(part, columns, label) for label, part in groups]
    return [history for history in histories if history.records]


def _is_a_summary(table: Table, columns: Columns) -> bool:
    """A table of final results: every row is another model, or there is neither a count nor enough rows for a curve."""
    epochs = [row.get(columns.epoch) for row in table.rows] if columns.epoch else []
    if columns.step or (
        len(epochs) > 1 and all(isinstance(a, float) and isinstance(b, float) and a < b for a, b in pairwise(epochs))
    ):
        return False
    first = table.columns[0]
    for name in (name for name in table.columns if read_name(name).quantity == "group"):
        members = [row.get(name) for row in table.rows]
        if len(members) > 1 and len(set(members)) == len(members):
            return True
    texts = [row.get(first) for row in table.rows]
    named = all(isinstance(text, str) for text in texts) and len(set(texts)) == len(texts) and read_name(first).quantity != "time"
    return named or (not columns.epoch and len(table.rows) < 3 and not any(name in columns.chosen for name in LOSSES))


def _history(table: Table, columns: Columns, label: str) -> ForeignHistory:
    lines, done = one_line_an_epoch(lines_of(table, columns), columns)
    done += mark_segments(lines)
    scales, facts = _scales(lines, columns)
    facts = [*table.notes, *columns.notes, *done, *facts]
    if columns.epoch is None and lines:
        facts.append("The file numbers no epochs; rows are counted from 1.")
    _undefine_validation_gaps(lines)
    if table.source == ULTRALYTICS:
        _take_times_apart(lines)
    records = [_record(number, line, scales) for number, line in enumerate(lines, start=1)]
    known = _counted(table.known, columns)
    return ForeignHistory(label or table.label, records, table.source, tuple(facts), known, columns.score_name)


def _take_times_apart(lines: Sequence[Line]) -> None:
    """Seconds since the start of each run become seconds of each epoch."""
    before, segment = 0.0, None
    for line in lines:
        value = line.values.get("seconds")
        if line.segment != segment:
            before, segment = 0.0, line.segment
        if isinstance(value, float):
            line.values["seconds"] = value - before if value >= before else value
            before = value


def _counted(known: Known, columns: Columns) -> Known:
    names = tuple(columns.recalls)
    return replace(known, class_names=names) if names and not known.class_names else known


def _scales(lines: Sequence[Line], columns: Columns) -> tuple[dict[str, str], list[str]]:
    """For each accuracy: ``percent``, ``error`` or plain; with what is to be said of it."""
    scales: dict[str, str] = {}
    facts = []
    for name in ("train_acc", "val_acc", "train_score", "val_score"):
        values = [value for line in lines if isinstance(value := line.values.get(name), float) and math.isfinite(value)]
        if not values or (name.endswith("score") and columns.score_name in ("psnr", "r2")):
            continue
        if PERCENT_ABOVE < max(values) <= 100 and min(values) >= 0:
            scales[name] = "percent"
            facts.append(f"{name} was in percent and is now a fraction.")
        elif max(values) > 100 or (max(values) > PERCENT_ABOVE and min(values) < 0):
            scales[name] = "unusable"
            facts.append(f"{name} reaches {max(values):g}, which is neither a fraction nor a percentage; it was left out.")
        if name in columns.error_rates:
            scales[name] = "error percent" if scales.get(name) == "percent" else "error"
            facts.append(f"{name} is 1 minus the error rate of the file.")
    if not any(line.has(("val_loss",)) for line in lines):
        facts.append("There is no validation loss.")
    return scales, facts


def _scaled(value: float, scale: str) -> float | None:
    if scale == "unusable":
        return None
    value = value / 100 if "percent" in scale else value
    return 1 - value if "error" in scale else value


def _undefine_validation_gaps(lines: Sequence[Line]) -> None:
    """A NaN validation loss between finite ones, while training went on, means 'not validated in this epoch'."""
    finite = [index for index, line in enumerate(lines) if _is_finite(line.values.get("val_loss"))]
    for index, line in enumerate(lines):
        value = line.values.get("val_loss")
        skipped = isinstance(value, float) and math.isnan(value) and not _is_broken(line.values.get("train_loss"))
        if skipped and finite and (index < finite[-1] or 2 * len(finite) < len(lines)):
            line.values["val_loss"] = None


def _is_finite(value: Cell) -> bool:
    return isinstance(value, float) and math.isfinite(value)


def _is_broken(value: Cell) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _record(number: int, line: Line, scales: Mapping[str, str]) -> EpochRecord:
    broken = [name for name in LOSSES if _is_broken(line.values.get(name))]
    values: dict[str, Any] = {SOURCE_EPOCH: line.epoch}
    for name, value in line.values.items():
        if name == "seconds":
            values[name] = as_seconds(value)
        elif ":" not in name and isinstance(value, float) and math.isfinite(value):
            values[name] = _scaled(value, scales.get(name, ""))
    values["val_recall"] = _by_class(line, "recall:")
    values["predicted_share"] = _by_class(line, "share:")
    if isinstance(line.row, float) and line.row != number:
        values[SOURCE_ROW] = int(line.row)
    if line.segment:
        values[SEGMENT] = line.segment
    if broken:
        values[BROKEN] = " ".join(broken)
    return EpochRecord(epoch=number, resumed=line.resumed, non_finite=bool(broken), **values)


def _by_class(line: Line, prefix: str) -> dict[str, float | None]:
    given = {name.removeprefix(prefix): value for name, value in line.values.items() if name.startswith(prefix)}
    return {label: value if _is_fraction(value) else None for label, value in given.items()}  # type: ignore[misc]


def _is_fraction(value: Cell) -> bool:
    return isinstance(value, float) and 0 <= value <= 1
