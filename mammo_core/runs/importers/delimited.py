"""CSV, TSV, semicolon, pipe, blank-separated and Markdown tables, with the oddities that hand-written loggers leave in them."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from mammo_core.runs.importers.model import PART, ROW, Row, Table
from mammo_core.runs.importers.reading import MAX_ROWS, parse_cell, refuse
from mammo_core.runs.importers.words import read_name

SEPARATORS = (",", ";", "\t", "|")
CONFLICT = re.compile(r"^(<{7}|={7}$|>{7}|\|{7})")
RULE = re.compile(r"^[\s|+:=-]+$")
MAX_COLUMNS = 1000
HEADER_WITHIN = 60
"""A header further down than this many lines is not looked for."""


def read_delimited(path: Path, text: str, any_names: bool = False) -> list[Table]:
    """Tables of a text file whose header names at least one known quantity; empty where there is none.

    Several tables come from one file where a different header stands mid-file (Markdown pages, logs of two runs). With
    ``any_names`` a table whose columns all have unknown names is taken too: somebody else will say what they mean.
    """
    notes: list[str] = []
    lines = _clean(text, notes)
    tables: list[Table] = []
    index = 0
    while index < len(lines):
        separator = _header_separator(lines[index])
        if separator is None or (not tables and index > HEADER_WITHIN and separator != "|"):
            index += 1
            continue
        start, label = index, f"table {len(tables) + 1}" if tables else ""
        table, index = _table(path, lines, index, separator)
        if table.rows and not _is_prose(table, separator):
            tables.append(replace(table, label=_heading(lines, start) or label, notes=(*notes, *table.notes)))
    return tables or (_unknown_names(path, lines) if any_names else [])


def _unknown_names(path: Path, lines: Sequence[str]) -> list[Table]:
    """The first line of names that has a line of as many cells below it, at least half of them numbers."""
    for index, (line, below) in enumerate(pairwise(lines[: HEADER_WITHIN + 1])):
        for separator in SEPARATORS:
            names, cells = _cells(line.lstrip("# "), separator), _cells(below, separator)
            numbers = sum(isinstance(parse_cell(cell), float) for cell in cells)
            is_header = len(names) >= 2 and not any(isinstance(parse_cell(name), float) for name in names)
            if is_header and len(names) == len(cells) and 2 * numbers >= len(cells):
                return [_table(path, lines, index, separator)[0]]
    return []


def _clean(text: str, notes: list[str]) -> list[str]:
    kept = []
    conflicts = 0
    for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        conflicts += bool(CONFLICT.match(line))
        kept.append(line)
    if conflicts:
        notes.append("Marks of an unresolved merge (<<<<<<<) were skipped; both sides are kept.")
    return kept


def _cells(line: str, separator: str) -> list[str]:
    if separator == " ":
        return line.split()
    if separator == "|":
        return [cell.strip(" *`") for cell in line.strip().strip("|").split("|")]
    try:
        return next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])
    except csv.Error:
        return line.split(separator)


def _header_separator(line: str) -> str | None:
    """The separator under which this line is a header: at least two names, one of them a known metric, no numbers."""
    line = line.lstrip("# ")
    best: tuple[int, str] | None = None
    for separator in (*SEPARATORS, " "):
        cells = _cells(line, separator)
        if _is_header(cells, separator) and (best is None or len(cells) > best[0] and separator != " "):
            best = (len(cells), separator)
    return best[1] if best else None


def _is_header(cells: Sequence[str], separator: str) -> bool:
    if not 2 <= len(cells) <= MAX_COLUMNS or any(isinstance(parse_cell(cell), float) for cell in cells):
        return False
    if any(len(cell) > 60 or len(cell.split()) > 6 or ":" in cell.strip() or "=" in cell for cell in cells):
        return False
    quantities = [read_name(cell).quantity for cell in cells]
    known = set(quantities) - {""}
    if separator == " " and 2 * sum(quantity != "" for quantity in quantities) <= len(cells):
        return False  # prose that happens to speak of loss or accuracy
    return bool(known & {"loss", "accuracy", "error", "balanced", "score"}) or ("epoch" in known and _has_roles(cells))


def _has_roles(cells: Sequence[str]) -> bool:
    return any(read_name(cell).role for cell in cells)


def _table(path: Path, lines: Sequence[str], start: int, separator: str) -> tuple[Table, int]:
    header = [cell.strip().lstrip("# ") for cell in _cells(lines[start].lstrip("# "), separator)]
    names = _unique(header)
    rows: list[Row] = []
    part = 0.0
    short = skipped = 0
    index = start
    for index in range(start + 1, len(lines) + 1):
        cells = _cells(lines[index], separator) if index < len(lines) else []
        kind = _kind(lines[index], cells, header, separator) if index < len(lines) else "end"
        if kind == "end":
            break
        part += kind == "header"
        skipped += kind == "blank"
        if kind == "row":
            short += len(cells) != len(header)
            rows.append({**_row(names, cells), PART: part, ROW: float(index - start - skipped)})
        if len(rows) > MAX_ROWS:
            raise refuse(path, f"holds more than {MAX_ROWS} rows")
    notes = []
    if part:
        notes.append(f"The header is repeated {part:g} time(s) mid-file.")
    if short:
        notes.append(f"{short} row(s) have more or fewer cells than the header; missing cells are undefined.")
    return Table(rows, [name for name in names if name], _format(names), notes=tuple(notes)), index


def _kind(line: str, cells: Sequence[str], header: Sequence[str], separator: str) -> str:
    """What a line below a header is: ``row``, ``header`` (repeated), ``blank`` (not counted), ``other`` (counted) or ``end``."""
    if not line.strip():
        return "end" if separator == "|" else "blank"
    if CONFLICT.match(line):
        return "other"
    if separator == " " and len(cells) != len(header):
        return "end"
    is_row = any(isinstance(parse_cell(cell), float) for cell in cells)
    if is_row and not line.lstrip().startswith("#"):
        return "end" if separator == "|" and "|" not in line else "row"
    if [cell.strip().lstrip("# ") for cell in cells] == header:
        return "header"
    if (RULE.match(line) and len(cells) == len(header)) or line.lstrip().startswith("#"):
        return "blank"
    return "end" if _header_separator(line) == separator or (separator == "|" and "|" not in line) else "other"


def _row(names: Sequence[str], cells: Sequence[str]) -> Row:
    return {name: parse_cell(cell) for name, cell in zip(names, cells, strict=False) if name}


def _unique(header: Sequence[str]) -> list[str]:
    """Column names; a second one of the same name gets a number, an empty one (a pandas index) stays empty."""
    counts: Counter[str] = Counter()
    names = []
    for name in header:
        counts[name] += 1
        names.append(name if counts[name] == 1 or not name else f"{name} ({counts[name]})")
    return names


def _is_prose(table: Table, separator: str) -> bool:
    """Lines of a text that happen to follow something like a header: few cells are numbers."""
    cells = [cell for row in table.rows for name, cell in row.items() if not name.startswith("#") and cell is not None]
    numbers = sum(isinstance(cell, float) for cell in cells)
    return numbers < 0.5 * len(cells) and (separator == " " or numbers < 0.1 * len(cells))


def _heading(lines: Sequence[str], start: int) -> str:
    """The Markdown heading above a table, with nothing but blank lines between."""
    above = next((line.strip() for line in reversed(lines[max(0, start - 4) : start]) if line.strip()), "")
    return above.lstrip("# ")[:60] if above.startswith("#") and "|" in lines[start] else ""


def _format(names: Sequence[str]) -> str:
    """The tool whose fixed set of columns this is."""
    known = set(names)
    if any(name.startswith("metrics/") for name in known) and any(name.startswith(("train/", "val/")) for name in known):
        return "Ultralytics results.csv"
    if {"epoch", "train_loss", "eval_loss"} <= known and any(name.startswith("eval_") for name in known - {"eval_loss"}):
        return "timm summary.csv"
    if {"epoch", "train_loss", "valid_loss", "time"} <= known:
        return "fastai CSVLogger"
    if {"epoch", "step"} <= known and any("loss" in name for name in known):
        return "Lightning CSVLogger"
    if {"loss", "val_loss"} <= known and "train_loss" not in known:
        return "Keras CSVLogger"
    return "table"
