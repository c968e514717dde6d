"""From rows as a tool wrote them to one row an epoch: phases, twins, steps, appended runs, several models in one file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise

from mammo_core.runs.importers.columns import METRICS, Columns
from mammo_core.runs.importers.model import PART, ROW, Cell, Row, Table
from mammo_core.runs.importers.words import ROLES, read_name

VALIDATION = ("val_loss", "val_acc", "val_score")
TRAINING = ("train_loss", "train_acc", "train_score")
MAX_PLAIN_ROWS = 2000
"""Step-wise rows without epochs beyond this number are averaged into equal blocks."""
BLOCKS = 100


@dataclass
class Line:
    """One row in canonical names."""

    epoch: float | None
    values: dict[str, Cell]
    stage: Cell = None
    part: Cell = None
    """Grows where the header is repeated mid-file."""
    row: Cell = None
    """Row of the file; ``None`` once several were joined."""
    segment: int = 0
    resumed: bool = False

    def has(self, names: Sequence[str]) -> bool:
        return any(self.values.get(name) is not None for name in names)


def pivot_phases(table: Table, phase: str, epoch: str | None) -> Table:
    """Rows ``phase, loss, acc`` become columns ``train_loss, val_loss, ...`` side by side."""
    rows: list[Row] = []
    names: dict[str, None] = {}
    keep = {name for name in table.columns if read_name(name).quantity in ("epoch", "step", "group", "stage", "lr", "time")}
    seen: set[str] = set()
    previous: tuple[Cell, ...] = ()
    for row in table.rows:
        role = ROLES.get(str(row.get(phase)).lower())
        if role is None:
            continue
        key = tuple(row.get(name) for name in table.columns if name == epoch or read_name(name).quantity in ("group", "stage"))
        if not rows or key != previous or role in seen:
            rows.append({})
            seen = set()
        previous = key
        seen.add(role)
        for name in table.columns:
            if name != phase:
                target = name if name in keep else f"{role}_{name}"
                names[target] = None
                rows[-1].setdefault(target, row.get(name))
    note = f"One row for each phase ({phase}): training and validation rows were joined."
    return replace(table, rows=rows, columns=list(names), notes=(*table.notes, note))


def lines_of(table: Table, columns: Columns) -> list[Line]:
    """Rows in canonical names; rows without any metric are left out."""
    lines = []
    for row in table.rows:
        values: dict[str, Cell] = {}
        for name, sources in columns.chosen.items():
            values[name] = _total([row.get(source) for source in sources])
        for prefix, classes in (("recall:", columns.recalls), ("share:", columns.shares)):
            values |= {prefix + label: row.get(source) for label, source in classes.items()}
        epoch = row.get(columns.epoch) if columns.epoch else None
        line = Line(epoch if isinstance(epoch, float) and math.isfinite(epoch) else None, values)
        line.stage, line.part, line.row = row.get(columns.stage) if columns.stage else None, row.get(PART), row.get(ROW)
        if line.has(METRICS):
            lines.append(line)
    return lines


def _total(parts: Sequence[Cell]) -> Cell:
    if len(parts) == 1:
        return parts[0]
    numbers = [part for part in parts if isinstance(part, float)]
    return sum(numbers) if numbers else None


def split_groups(table: Table, columns: Columns) -> list[tuple[str, Table]]:
    """One table for each model or run that the file names; a single one where it names none."""
    if not columns.groups:
        return [("", table)]
    members: dict[tuple[Cell, ...], list[Row]] = {}
    for row in table.rows:
        members.setdefault(tuple(row.get(name) for name in columns.groups), []).append(row)
    if 2 * len(members) > len(table.rows):
        return [("", table)]
    return [(_group_label(key, columns.groups), replace(table, rows=rows)) for key, rows in members.items()]


def _group_label(key: tuple[Cell, ...], names: Sequence[str]) -> str:
    parts = []
    for name, value in zip(names, key, strict=True):
        text = f"{value:g}" if isinstance(value, float) else str(value)
        parts.append(f"{name.strip()} {text}" if isinstance(value, float) else text)
    return ", ".join(parts)


# ---- one line an epoch -----------------------------------------------------------------------------------------------------


def one_line_an_epoch(lines: list[Line], columns: Columns) -> tuple[list[Line], list[str]]:
    """Join rows that speak of the same epoch, and average step-wise ones; what was done is said in sentences."""
    if len(lines) > 2 and _newest_first(lines):
        lines = lines[::-1]
        return lines, ["The file lists the newest epoch first; the rows were turned round."]
    train, val = sum(line.has(TRAINING) for line in lines), sum(line.has(VALIDATION) for line in lines)
    both = sum(line.has(TRAINING) and line.has(VALIDATION) for line in lines)
    epochs = len({(line.stage, line.epoch) for line in lines if line.epoch is not None})
    apart = min(train, val) > 0 and both < 0.5 * min(train, val)
    whole = all(line.epoch is None or line.epoch == int(line.epoch) for line in lines)
    repeated = epochs and sum(a.epoch is not None and _key(a) == _key(b) for a, b in pairwise(lines)) > 0.3 * len(lines)
    sparse = 0 < val < 0.5 * train
    if repeated and whole and (apart or sparse or (not val and columns.step)) and val < 2 * max(epochs, 1):
        return _by_epoch(lines), [
            "Several rows an epoch were joined (step-wise training values averaged, last validation value)."
        ]
    if apart or (sparse and epochs == 0 and columns.step):
        return _by_validation(lines)
    if not val and columns.step and not epochs and len(lines) > MAX_PLAIN_ROWS:
        return _in_blocks(lines), [f"{len(lines)} step-wise rows without epochs were averaged into {BLOCKS} blocks."]
    return lines, []


def _key(line: Line) -> tuple[Cell, float | None]:
    return line.stage, line.epoch


def _newest_first(lines: Sequence[Line]) -> bool:
    epochs = [line.epoch for line in lines]
    return all(a is not None and b is not None and a > b for a, b in pairwise(epochs))


def _by_epoch(lines: Sequence[Line]) -> list[Line]:
    joined = []
    for _, group in groupby(lines, key=_key):
        joined.append(_join(list(group)))
    return joined


def _by_validation(lines: Sequence[Line]) -> tuple[list[Line], list[str]]:
    """Each validation row closes a block: the training rows since the last one are averaged into it."""
    joined: list[Line] = []
    block: list[Line] = []
    for line in lines:
        same_point = joined and not block and line.has(VALIDATION) and not line.has(TRAINING)
        if same_point and line.epoch is not None and line.epoch == joined[-1].epoch:
            joined[-1] = _join([joined[-1], line])
            continue
        block.append(line)
        if line.has(VALIDATION):
            joined.append(_join(block))
            block = []
    notes = ["Training and validation stand on separate rows: training values since the last validation were averaged."]
    if block and not joined:
        return list(lines), []
    if block and joined and all(line.epoch is not None and line.epoch == joined[-1].epoch for line in block):
        joined[-1] = _join([joined[-1], *block])
    elif block:
        notes.append(f"{len(block)} training row(s) after the last validation were left out.")
    return joined, notes


def _join(group: Sequence[Line]) -> Line:
    """One line out of several: mean of the training values, last of everything else."""
    values: dict[str, Cell] = {}
    for name in dict.fromkeys(name for line in group for name in line.values):
        given = [value for line in group if (value := line.values.get(name)) is not None]
        numbers = [value for value in given if isinstance(value, float)]
        if name in TRAINING and numbers:
            values[name] = sum(numbers) / len(numbers)
        elif given:
            values[name] = given[-1]
    epochs = [line.epoch for line in group if line.epoch is not None]
    return Line(epochs[-1] if epochs else None, values, group[-1].stage)


def _in_blocks(lines: Sequence[Line]) -> list[Line]:
    size = math.ceil(len(lines) / BLOCKS)
    return [_join(lines[start : start + size]) for start in range(0, len(lines), size)]


# ---- appended runs ---------------------------------------------------------------------------------------------------------


def mark_segments(lines: Sequence[Line]) -> list[str]:
    """Find where the epoch count falls back: a resume of the same training, or another run appended to the file."""
    notes = []
    start = 0
    for index in range(1, len(lines)):
        line, before = lines[index], lines[index - 1]
        line.segment = before.segment
        if line.stage != before.stage or not _fell_back(line, before):
            continue
        where = f"row {index + 1}" + ("" if line.epoch is None else f" (epoch {line.epoch:g} again)")
        if _starts_anew(lines, start, index):
            line.segment += 1
            start = index
            notes.append(f"Another run starts at {where}.")
        else:
            line.resumed = True
            notes.append(f"The training was resumed at {where}.")
    return notes[:6] + ([f"{len(notes) - 6} further restarts."] if len(notes) > 6 else [])


def _fell_back(line: Line, before: Line) -> bool:
    if line.epoch is None or before.epoch is None:
        return line.part != before.part
    return line.epoch <= before.epoch


def _starts_anew(lines: Sequence[Line], start: int, index: int) -> bool:
    """Whether the loss after the fall-back is nearer to the run's first one than to the one just before."""
    for name in ("train_loss", "val_loss"):
        values = [lines[at].values.get(name) for at in (start, index - 1, index)]
        numbers = [value for value in values if isinstance(value, float) and math.isfinite(value)]
        if len(numbers) == 3:
            first, before, here = [math.log(value) for value in numbers] if min(numbers) > 0 else numbers
            return abs(here - first) < abs(here - before)
    return True
