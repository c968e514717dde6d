"""JSON histories: dict of lists, list of records, nested forms of both, one object a line, and several models in one file."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from mammo_core.runs.importers.known import known_of
from mammo_core.runs.importers.model import Row, Table
from mammo_core.runs.importers.reading import MAX_ROWS, cell_of
from mammo_core.runs.importers.words import read_name

MAX_LEVEL = 6
"""How deep a history may lie inside a document."""
CLASS_KEYS = {"val_recall": "val_recall_", "predicted_share": "predicted_share_"}
NUMBERED = re.compile(r"^(?:epoch|ep|e|round)?[ _-]?(\d{1,6})$", re.I)


def read_json_document(document: Any, any_names: bool = False) -> list[Table]:
    """Tables found in a JSON document, with what it says of the run beside them; empty where there are none.

    With ``any_names`` a list of records, or lists of equal length, is taken whatever its names: somebody else will say what they
    mean.
    """
    if isinstance(document, Mapping) and isinstance(document.get("log_history"), list):
        return [trainer_state(document)]
    tables = list(_search(document, "", 0))
    if not tables and any_names:
        tables = _unknown_names(document)
    known = known_of(document) if isinstance(document, Mapping) else None
    return [replace(table, known=table.known.joined(known)) if known else table for table in tables]


def _unknown_names(document: Any) -> list[Table]:
    if isinstance(document, list) and len(document) > 1 and all(isinstance(item, Mapping) for item in document):
        rows = [_flat(record) for record in document[:MAX_ROWS]]
        return [Table(rows, _names(rows), "JSON records", "")]
    columns = _list_columns(document) if isinstance(document, Mapping) else {}
    if len(columns) < 2 or len({len(values) for values in columns.values()}) > 1:
        return []
    rows = [_flat(dict(zip(columns, values, strict=True))) for values in zip(*columns.values(), strict=True)][:MAX_ROWS]
    return [Table(rows, _names(rows), "JSON lists", "")]


def _search(value: Any, label: str, level: int) -> Iterable[Table]:
    if level > MAX_LEVEL:
        return
    if isinstance(value, list):
        yield from _from_list(value, label, level)
    elif isinstance(value, Mapping):
        yield from _from_mapping(value, label, level)


def _from_list(value: Sequence[Any], label: str, level: int) -> Iterable[Table]:
    records = [item for item in value if isinstance(item, Mapping)]
    if not records or 2 * len(records) < len(value):
        return
    rows = [_flat(record) for record in records[:MAX_ROWS]]
    if _names_metrics(_names(rows)) and not any(_longest_list(record) > 1 for record in records):
        yield Table(rows, _names(rows), "JSON records", label)
        return
    for number, record in enumerate(records[:100], start=1):
        name = next(
            (str(record[key]) for key in ("name", "model", "run", "fold", "label") if record.get(key) is not None), str(number)
        )
        yield from _search(record, f"{label} {name}".strip(), level + 1)


def _from_mapping(value: Mapping[str, Any], label: str, level: int) -> Iterable[Table]:
    columns = _list_columns(value)
    if _names_metrics(list(columns)):
        yield _from_columns(columns, label)
        return
    numbered = _numbered_records(value)
    if numbered:
        yield Table(numbered, _names(numbered), "JSON records", label)
        return
    for key, child in list(value.items())[:200]:
        if isinstance(child, list | Mapping) and key not in ("config", "args", "hyperparameters"):
            generic = key.lower() in (
                "history",
                "metrics",
                "logs",
                "log",
                "epochs",
                "training_history",
                "train_history",
                "results",
            )
            yield from _search(child, label if generic else f"{label} {key}".strip(), level + 1)


def _list_columns(value: Mapping[str, Any], prefix: str = "", level: int = 0) -> dict[str, list[Any]]:
    """Every list of scalars in nested dicts, named by its path; ``{"0": 1.2, "1": 0.9}`` (pandas) counts as a list."""
    columns: dict[str, list[Any]] = {}
    for key, child in value.items():
        name = f"{prefix}{key}"
        if isinstance(child, Mapping):
            if (
                child
                and all(str(index).isdigit() for index in child)
                and not any(isinstance(v, Mapping | list) for v in child.values())
            ):
                columns[name] = [child[index] for index in sorted(child, key=int)]
            elif level < 2 and all(isinstance(item, list | Mapping) for item in child.values()):
                nested = _list_columns(child, f"{name}_", level + 1)
                # A level whose names are no sets or quantities is a level of models, not of metrics.
                if read_name(str(key)).role or read_name(str(key)).quantity in ("loss", "accuracy", "score", "recall"):
                    columns |= nested
        elif isinstance(child, list) and child and not any(isinstance(item, Mapping) for item in child):
            if any(isinstance(item, list) and len(item) != 1 for item in child[:5]):
                continue
            columns[name] = child
    return columns


def _from_columns(columns: Mapping[str, list[Any]], label: str) -> Table:
    """Align lists of unequal length: periodic validation is spread out, step-wise training averaged, the rest starts at row 1."""
    metric = {
        name: values
        for name, values in columns.items()
        if read_name(name).quantity in ("loss", "accuracy", "score", "balanced", "error")
    }
    lengths = Counter(len(values) for name, values in metric.items())
    train = Counter(len(values) for name, values in metric.items() if read_name(name).role in ("train", ""))
    val = Counter(len(values) for name, values in metric.items() if read_name(name).role in ("val", "test"))
    length = lengths.most_common(1)[0][0]
    if train and val:
        longest, shortest = train.most_common(1)[0][0], val.most_common(1)[0][0]
        length = longest if longest < 20 * shortest else shortest
    notes = []
    rows: list[Row] = [{} for _ in range(min(length, MAX_ROWS))]
    for name, values in columns.items():
        cells = [cell_of(value) for value in values]
        if not any(isinstance(cell, float) for cell in cells):
            continue
        placed, note = _placed(name, cells, length)
        if note:
            notes.append(note)
        for row, cell in zip(rows, placed, strict=False):
            row[name] = cell
    source = "Keras history" if {"loss", "val_loss"} <= columns.keys() else "JSON lists"
    return Table(rows, list(columns), source, label, notes=tuple(notes))


def _placed(name: str, cells: list[Any], length: int) -> tuple[list[Any], str]:
    count = len(cells)
    if count == length or count == 0:
        return cells, ""
    if count >= 3 * length and read_name(name).quantity in ("loss", "accuracy"):
        size = count / length
        blocks = [cells[int(index * size) : int((index + 1) * size)] for index in range(length)]
        return [
            _mean(block) for block in blocks
        ], f"{name} has {count} values for {length} rows and was averaged in equal blocks."
    if count == length + 1 and read_name(name).role in ("val", "test"):
        return cells[1:], f"{name} has one value more than there are epochs; the first, taken before training, was left out."
    if count > 1 and length >= 2 * count and abs(length / count - round(length / count)) < 0.2:
        every = round(length / count)
        spread = [None] * length
        for index, cell in enumerate(cells):
            spread[min((index + 1) * every - 1, length - 1)] = cell
        return spread, f"{name} has {count} values for {length} epochs: read as one every {every} epochs."
    kept = cells[:length]
    return kept, f"{name} has {count} values where others have {length}; it was aligned at the first epoch."


def _mean(block: Sequence[Any]) -> float | None:
    numbers = [value for value in block if isinstance(value, float)]
    return sum(numbers) / len(numbers) if numbers else None


def _flat(record: Mapping[str, Any], prefix: str = "", level: int = 0) -> Row:
    """A record without nesting: ``{"train": {"loss": 1}}`` gives ``train_loss``; class dicts keep our own prefixes."""
    row: Row = {}
    for key, value in record.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and level < 3:
            inner = CLASS_KEYS.get(str(key), f"{name}_")
            row |= _flat(value, inner, level + 1)
        elif not isinstance(value, list) or len(value) == 1:
            row[name] = cell_of(value)
    return row


def _longest_list(record: Mapping[str, Any]) -> int:
    columns = _list_columns(record)
    return max((len(values) for name, values in columns.items() if read_name(name).quantity in ("loss", "accuracy")), default=0)


def _numbered_records(value: Mapping[str, Any]) -> list[Row]:
    """``{"epoch_1": {...}, "epoch_2": {...}}`` as rows with their epoch."""
    matches = {key: NUMBERED.match(str(key)) for key, item in value.items() if isinstance(item, Mapping)}
    if len(matches) < 2 or not all(matches.values()):
        return []
    rows: list[Row] = []
    for key, match in matches.items():
        row = _flat(value[key])
        row.setdefault("epoch", float(match.group(1)) if match else None)
        rows.append(row)
    return rows if _names_metrics(_names(rows)) and all("fold" not in str(key).lower() for key in matches) else []


def _names(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def _names_metrics(names: Sequence[str]) -> bool:
    readings = [read_name(name) for name in names]
    return any(reading.quantity in ("loss", "accuracy", "error", "score") and not reading.summary for reading in readings)


def trainer_state(document: Mapping[str, Any]) -> Table:
    """Hugging Face ``trainer_state.json``: training and evaluation rows of ``log_history``, without the closing summary."""
    rows = [
        {name: cell_of(value) for name, value in record.items()}
        for record in document["log_history"][:MAX_ROWS]
        if isinstance(record, Mapping) and not _closes_the_run(record)
    ]
    known = known_of({"num_train_epochs": document.get("num_train_epochs")})
    return Table(rows, _names(rows), "Hugging Face trainer_state.json", known=known)


def _closes_the_run(record: Mapping[str, Any]) -> bool:
    """The summary after the last step: steps log ``loss``, only the summary logs ``train_loss``."""
    return "train_runtime" in record or ("train_loss" in record and not {"loss", "eval_loss"} & record.keys())
