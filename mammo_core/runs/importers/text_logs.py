"""Logs written for people: nnU-Net (versions 1 and 2), Keras progress lines, and ``Epoch 3 | train loss 0.41 | val acc 0.82``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from mammo_core.runs.importers.model import Known, Row, Table
from mammo_core.runs.importers.reading import MAX_ROWS, parse_cell
from mammo_core.runs.importers.words import read_name

STAMP = re.compile(r"^[\[(]?\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d:\d\d[.,]?\d*[\])]?\s*[:|-]?\s*")
LEVEL = re.compile(r"^(?:[\w.]+\s*[:|-]\s*)?\[?(?:INFO|DEBUG|WARNING|ERROR)\]?\s*[:|-]?\s*", re.I)
ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
NUMBER = r"[-+]?(?:\d+\.?\d*(?:e[-+]?\d+)?|\.\d+(?:e[-+]?\d+)?|nan|inf)\b"
EPOCH = re.compile(r"\bep(?:ochs?)?\b\s*[.:=#\[(]*\s*(\d+)(?:\s*(?:/|of|\|)\s*(\d+))?", re.I)
PAIR = re.compile(rf"([A-Za-z][A-Za-z0-9_@./ ()-]{{0,39}}?)\s*[:=]\s*\[?\s*({NUMBER})\s*(%?)", re.I)
BARE = re.compile(
    rf"(?<![\w.])((?:(?:train(?:ing)?|val(?:id(?:ation)?)?|test|eval)[ _-])?[A-Za-z][\w@/]*)\s+({NUMBER})(?![\w:/])\s*(%?)", re.I
)
"""``train_loss 1.98  val acc 0.36``: a name and its number with nothing but blanks between."""
NNUNET_NAMES = {
    "train_loss": "train_loss",
    "val_loss": "val_loss",
    "current_learning_rate": "lr",
    "lr_is_now_(scheduled)": "lr",
    "lr": "lr",
    "epoch_time": "seconds",
    "this_epoch_took": "seconds",
}
NNUNET = re.compile(
    rf"^(train[_ ]loss|val(?:idation)?[_ ]loss|current learning rate|lr is now \(scheduled\)|lr|epoch time|this epoch took)"
    rf"\s*:?\s*({NUMBER})",
    re.I,
)
DICE = re.compile(r"^(?:pseudo dice|average global foreground dice)[^\[]*\[(.*)\]", re.I)
MIN_ROWS = 2


def read_log(text: str) -> list[Table]:
    """The history that a text log tells; empty where it has not at least two epochs with a loss or accuracy."""
    lines = [_clean(line) for line in text.splitlines()[: 20 * MAX_ROWS]]
    nnunet = sum(bool(DICE.match(line)) for line in lines) >= 1 or any("nnunet" in line.lower() for line in lines[:50])
    rows, planned = (_nnunet_rows(lines), None) if nnunet else _pair_rows(lines)
    if len(rows) < (1 if nnunet else MIN_ROWS):
        return []
    names = list(dict.fromkeys(name for row in rows for name in row))
    return [Table(rows, names, "nnU-Net log" if nnunet else "text log", known=Known(planned_epochs=planned))]


def _clean(line: str) -> str:
    # A progress bar overwrites itself with \r or \b; what stood there last is what counts.
    line = ESCAPES.sub("", line.replace("\x08", "")).split("\r")[-1].strip()
    return LEVEL.sub("", STAMP.sub("", line)).strip()


def _nnunet_rows(lines: Sequence[str]) -> list[Row]:
    """Blocks that start at ``Epoch 12`` / ``epoch:  12``; the mean over classes of the pseudo Dice is the score."""
    rows: list[Row] = []
    for line in lines:
        epoch = re.match(r"^epoch\s*:?\s*(\d+)\s*$", line, re.I)
        if epoch:
            rows.append({"epoch": float(epoch.group(1))})
        elif rows:
            rows[-1] |= _nnunet_values(line)
    return [row for row in rows if "train_loss" in row or "val_loss" in row]


def _nnunet_values(line: str) -> Row:
    value = NNUNET.match(line)
    if value:
        name = value.group(1).lower().replace(" ", "_").replace("validation", "val")
        return {NNUNET_NAMES[name]: parse_cell(value.group(2))}
    dice = DICE.match(line)
    if dice is None:
        return {}
    inner = re.sub(r"(?:np\.)?float\d+\(", "", dice.group(1))
    numbers = [float(number) for number in re.findall(r"\d+\.?\d*(?:e-?\d+)?", inner)]
    return {"val_dice": sum(numbers) / len(numbers)} if numbers else {}


def _pair_rows(lines: Sequence[str]) -> tuple[list[Row], int | None]:
    """Every ``name: number`` after an epoch heading belongs to that epoch; of a repeated name the last value counts."""
    rows: list[Row] = []
    planned: int | None = None
    for line in lines:
        heading = EPOCH.search(line)
        if heading:
            number = float(heading.group(1))
            if not rows or rows[-1].get("epoch") != number:
                rows.append({"epoch": number})
            if heading.group(2):
                planned = int(heading.group(2)) if len(heading.group(2)) < 7 else planned
            line = line[heading.end() :]
        if rows:
            rows[-1] |= dict(_pairs(line))
        if len(rows) > MAX_ROWS:
            break
    return [row for row in rows if len(row) > 1], planned


def _pairs(line: str) -> Iterator[tuple[str, float | str | None]]:
    prefix = ""
    for name, number, percent in PAIR.findall(line) or BARE.findall(line):
        name = name.strip(" -|,.()[]")
        reading = read_name(name)
        prefix = reading.role or prefix
        if reading.quantity not in ("loss", "accuracy", "score", "lr", "balanced", "error") or reading.summary:
            continue
        # "Train - loss: 0.4, acc: 0.8 | Val - loss: 0.5": the set is said once for all that follows on its line.
        spoken = re.search(r"\b(train|val|valid|validation|test)\w*\b[^:=]*$", line[: line.find(name)], re.I)
        role = "" if reading.role or not spoken else read_name(spoken.group(1)).role
        yield (f"{role}_{name}" if role else name), parse_cell(number + percent)
