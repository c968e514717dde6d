"""Bytes of an untrusted file to text, JSON or cells, within limits. Every refusal is one sentence."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

from mammo_core.errors import DataError
from mammo_core.runs.importers.model import Cell

MAX_TEXT_BYTES = 64 * 2**20
MAX_ROWS = 500_000
MAX_DEPTH = 60
"""Deepest nesting of a JSON file; real histories stay below ten."""

MISSING = frozenset({"", "na", "n/a", "#na#", "#n/a", "none", "null", "nil", "-", "--", "---", "—", "?", "."})
NOT_FINITE = {"nan": math.nan, "inf": math.inf, "infinity": math.inf}
WRAPPED = re.compile(
    r"^(?:<?tf\.)?(?:tensor|array|float|numpy|np\.float\d*|numpy\.float\d*)\(\s*\[?\s*([-+]?[\w.+-]+)\s*\]?\s*(?:,.*)?\)?>?$",
    re.I,
)
BRACKETED = re.compile(r"^[\[(]\s*([-+]?[\d.]+(?:e[-+]?\d+)?)\s*[\])]$", re.I)
DECIMAL_COMMA = re.compile(r"^[-+]?\d+,\d+(?:e[-+]?\d+)?$", re.I)
CLOCK = re.compile(r"^(?:(\d+):)?(\d{1,2}):(\d{2}(?:\.\d+)?)$")


def refuse(path: Path, found: str, advice: str = "Name the file that the training tool wrote for each epoch.") -> DataError:
    """The one way in which a file is turned down: its name, what was found, what was expected."""
    return DataError(f"{path.name} {found}; expected a training history (a loss or accuracy for each epoch). {advice}")


def read_text(path: Path) -> str:
    """The whole file as text without a byte-order mark.

    Raises
    ------
    DataError
        Larger than 64 MB, empty, or not text.
    """
    size = path.stat().st_size
    if size > MAX_TEXT_BYTES:
        raise refuse(path, f"holds {size / 2**20:.0f} MB, more than the {MAX_TEXT_BYTES // 2**20} MB that are read")
    raw = path.read_bytes()
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return _checked(path, raw.decode("utf-16", errors="replace"))
    if b"\x00" in raw:
        raise refuse(path, "is a binary file (it holds NUL bytes)")
    try:
        return _checked(path, raw.decode("utf-8-sig"))
    except UnicodeDecodeError:
        return _checked(path, raw.decode("latin-1"))


def _checked(path: Path, text: str) -> str:
    sample = text[:20_000]
    if not sample.strip():
        raise refuse(path, "is empty")
    odd = sum(1 for character in sample if ord(character) < 32 and character not in "\t\n\r\f\x1b\b")
    if odd > 0.02 * len(sample):
        raise refuse(path, "is a binary file")
    return text


def parse_json(text: str) -> Any:
    """JSON as plain values. ``NaN`` and overflowing numbers become non-finite floats, integers become floats.

    Raises
    ------
    ValueError
        Not JSON, or nested too deeply: the text says which.
    """
    try:
        # Every number becomes a float: a 5,000-digit integer then is infinity instead of an error or a stalled process.
        value = json.loads(text, parse_int=float)
    except RecursionError as error:
        raise ValueError("it nests too deeply") from error
    if _depth(value) > MAX_DEPTH:
        raise ValueError("it nests too deeply")
    return value


def _depth(value: Any) -> int:
    level, layer = 0, [value]
    while layer and level <= MAX_DEPTH:
        layer = [
            child
            for item in layer
            if isinstance(item, dict | list)
            for child in (item.values() if isinstance(item, dict) else item)
        ]
        level += 1
    return level


def parse_cell(text: str) -> Cell:
    """One cell of a table: number, nothing, or the text itself."""
    quick = _number(text)
    if quick is not None:
        return quick
    text = text.strip().strip("'\"").strip()
    lower = text.lower()
    if lower in MISSING:
        return None
    if lower.lstrip("+-") in NOT_FINITE:
        return NOT_FINITE[lower.lstrip("+-")]
    plain = _number(text.removesuffix("%").strip())
    if plain is not None:
        return plain
    if DECIMAL_COMMA.match(text):
        return float(text.replace(",", "."))
    wrapped = WRAPPED.match(text) or BRACKETED.match(text)
    if wrapped:
        return parse_cell(wrapped.group(1))
    return text


def _number(text: str) -> float | None:
    if not text or text[0] not in "+-.0123456789" or "_" in text:
        return None
    try:
        return float(text)
    except ValueError:
        return None


def cell_of(value: Any) -> Cell:
    """A JSON value as a cell; what is no scalar becomes nothing."""
    if isinstance(value, bool):
        return float(value)
    if isinstance(value, int | float):
        return _float(value)
    if isinstance(value, str):
        return parse_cell(value[:200])
    if isinstance(value, list) and len(value) == 1:
        return cell_of(value[0])
    return None


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


def as_seconds(cell: Cell) -> float | None:
    """``12.5``, ``00:12`` or ``1:02:03`` as seconds."""
    if isinstance(cell, float):
        return cell if math.isfinite(cell) else None
    match = CLOCK.match(cell.strip()) if isinstance(cell, str) else None
    if match is None:
        return None
    hours, minutes, seconds = match.groups()
    return int(hours or 0) * 3600 + int(minutes) * 60 + float(seconds)
