"""Scalars of TensorBoard event files, read straight from the record and protobuf wire formats: no TensorFlow, no protobuf.

Layout of a record: length (uint64), checksum of the length, payload, checksum of the payload. A payload is an ``Event``:
field 2 step, field 5 summary; a summary repeats field 1 ``Value``: 1 tag, 2 simple_value, 8 tensor (TensorFlow 2).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from mammo_core.runs.importers.model import Row, Table
from mammo_core.runs.importers.reading import refuse
from mammo_core.runs.importers.words import read_name

NAME_PART = ".tfevents."
MAX_EVENT_BYTES = 512 * 2**20
MAX_SCALARS = 2_000_000
LARGEST_PAYLOAD = 64 * 2**20
"""Images and graphs live in the same records; beyond this a length field is taken for damage."""

Scalar = tuple[str, int, float]


def is_event_file(path: Path) -> bool:
    return NAME_PART in path.name or path.suffix == ".tfevents"


def read_event_files(paths: list[tuple[str, Path]], label: str) -> list[Table]:
    """One table from the event files of one run; ``paths`` pairs the sub-folder (``train``, ``validation``, ``.``) with the file.

    Raises
    ------
    DataError
        A file is too large or is not an event file.
    """
    rows: dict[int, Row] = {}
    names: dict[str, None] = {"step": None}
    cut = False
    for folder, path in paths:
        role = read_name(folder).role if folder not in ("", ".") else ""
        for tag, step, value in _scalars(path):
            name = tag if read_name(tag).role or not role else f"{role}_{tag}"
            name = name.replace("epoch_loss", "loss").replace("epoch_acc", "acc")
            names[name] = None
            rows.setdefault(step, {"step": float(step)})[name] = value
        cut = cut or _is_cut(path)
    notes = ("The event file ends in the middle of a record; the rest of it is whole.",) if cut else ()
    ordered = [rows[step] for step in sorted(rows)]
    return [Table(ordered, list(names), "TensorBoard event file", label, notes=notes)] if ordered else []


def _scalars(path: Path) -> Iterator[Scalar]:
    count = 0
    for payload in _records(path):
        step, summaries = 0, []
        for number, value in _fields(payload):
            if number == 2 and isinstance(value, int):
                step = value
            elif number == 5 and isinstance(value, bytes):
                summaries.append(value)
        for summary in summaries:
            for number, value in _fields(summary):
                if number == 1 and isinstance(value, bytes) and (scalar := _value(value)):
                    count += 1
                    if count > MAX_SCALARS:
                        raise refuse(path, f"holds more than {MAX_SCALARS} scalars")
                    yield scalar[0], step, scalar[1]


def _records(path: Path) -> Iterator[bytes]:
    size = path.stat().st_size
    if size > MAX_EVENT_BYTES:
        raise refuse(path, f"holds {size / 2**20:.0f} MB, more than the {MAX_EVENT_BYTES // 2**20} MB that are read")
    with path.open("rb") as file:
        first = True
        while len(head := file.read(12)) == 12:
            (length,) = struct.unpack("<Q", head[:8])
            if length > min(LARGEST_PAYLOAD, size):
                if first:
                    raise refuse(path, "is not a TensorBoard event file")
                return
            payload = file.read(length + 4)
            if len(payload) < length + 4:
                return
            first = False
            yield payload[:length]


def _is_cut(path: Path) -> bool:
    read = sum(len(payload) + 16 for payload in _records(path))
    return read != path.stat().st_size


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Number and raw value of each field of a protobuf message; stops where the bytes make no sense."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield number, value
            continue
        if kind == 2:
            length, at = _varint(data, at)
        else:
            length = {1: 8, 5: 4}.get(kind, -1)
        if length < 0 or at + length > len(data):
            return
        yield number, data[at : at + length]
        at += length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 70:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            break
    return value, at


def _value(data: bytes) -> tuple[str, float] | None:
    tag, number = "", None
    for field, value in _fields(data):
        if field == 1 and isinstance(value, bytes):
            tag = value.decode("utf-8", errors="replace")[:200]
        elif field == 2 and isinstance(value, bytes) and len(value) == 4:
            number = float(struct.unpack("<f", value)[0])
        elif field == 8 and isinstance(value, bytes):
            number = _tensor(value)
    return (tag, number) if tag and number is not None else None


def _tensor(data: bytes) -> float | None:
    """A scalar tensor: field 1 type (1 float, 2 double), 4 content, 5 float values, 6 double values."""
    fields = dict(_fields(data))
    form = {1: "<f", 2: "<d"}.get(fields.get(1, 0))  # type: ignore[arg-type]
    if form is None:
        return None
    for number in (4, 5, 6):
        content = fields.get(number)
        if isinstance(content, bytes) and len(content) == struct.calcsize(form):
            return float(struct.unpack(form, content)[0])
    return None
