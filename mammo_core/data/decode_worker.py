"""The child process that reads films for :mod:`mammo_core.data.sandbox`: ``python -m mammo_core.data.decode_worker``.

It takes one job after another from standard input and answers on standard output. A message is a length (8 bytes, big-endian),
a JSON header, and the bytes of the arrays that the header names. Nothing is pickled: a hostile film that took over this
process could otherwise run code in the parent.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import signal
import struct
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Message = tuple[dict[str, Any], dict[str, Array]]

ARRAY_TYPES = frozenset({"|u1", "|b1", "<f4"})
MAX_HEADER_BYTES = 2**20
MAX_ARRAY_BYTES = 2**30
THUMBNAIL_SIDE = 256
HASHED_ROWS = 64
"""At once, so that what is between stays in the processor's cache."""
LAST_RESORT_SECONDS = 5
"""This long after the parent should have ended a job that takes too long, the process ends itself: its parent is gone."""


def write_message(stream: BinaryIO, header: Mapping[str, Any], arrays: Mapping[str, Array] | None = None) -> None:
    """Write one message and flush."""
    named = {name: np.ascontiguousarray(array) for name, array in (arrays or {}).items()}
    described = {name: [array.dtype.str, list(array.shape)] for name, array in named.items()}
    text = json.dumps({**header, "arrays": described}).encode("ascii")
    stream.write(struct.pack(">Q", len(text)) + text)
    for array in named.values():
        stream.write(array.data.cast("B"))
    stream.flush()


def read_message(stream: BinaryIO) -> Message:
    """Read one message.

    Raises
    ------
    EOFError
        The other side has closed the stream.
    ValueError, KeyError, TypeError
        What came is no message.
    """
    (length,) = struct.unpack(">Q", _read_exactly(stream, 8).tobytes())
    if length > MAX_HEADER_BYTES:
        raise ValueError("header too long")
    header = json.loads(_read_exactly(stream, length).tobytes())
    arrays = {}
    for name, (kind, shape) in header.pop("arrays").items():
        size = math.prod(shape)
        if kind not in ARRAY_TYPES or min(shape, default=0) <= 0 or size * np.dtype(kind).itemsize > MAX_ARRAY_BYTES:
            raise ValueError("array not allowed")
        data = _read_exactly(stream, size * np.dtype(kind).itemsize)
        arrays[name] = data.view(kind).reshape(shape)
    return header, arrays


def _read_exactly(stream: BinaryIO, count: int) -> npt.NDArray[np.uint8]:
    data = np.empty(count, np.uint8)  # not a bytearray: that would be filled with zeros first
    view, filled = data.data, 0
    while filled < count:
        got = stream.readinto(view[filled:])  # type: ignore[attr-defined]
        if not got:
            raise EOFError("the other process closed the stream")
        filled += got
    return data


def main() -> None:
    """Answer jobs until standard input closes. Arguments: memory limit in bytes, seconds for one job."""
    memory_bytes, seconds = int(sys.argv[1]), float(sys.argv[2])
    answers = os.fdopen(os.dup(1), "wb")
    jobs = os.fdopen(os.dup(0), "rb")
    _send_to_nowhere(0, 1)  # C libraries print; the protocol has descriptors of its own
    _limit_resources(memory_bytes)
    from mammo_core.data import masks, preprocess, reader  # noqa: F401  imported under the limits, before the first job's clock runs

    write_message(answers, {"ready": os.getpid()})
    _send_to_nowhere(2)
    while True:
        try:
            job, _ = read_message(jobs)
        except EOFError:
            return
        _set_last_resort(seconds + LAST_RESORT_SECONDS)
        header, arrays = _answer(job)
        _set_last_resort(0)
        write_message(answers, header, arrays)
        del arrays  # else this film would take memory while the next one is read


def _send_to_nowhere(*descriptors: int) -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in descriptors:
        os.dup2(nowhere, descriptor)
    os.close(nowhere)


def _limit_resources(memory_bytes: int) -> None:
    """No more memory than this, and no core dump: that would hold the film. Windows has no such limits."""
    if sys.platform == "win32":
        return
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":  # macOS refuses an address-space limit
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))


def _set_last_resort(seconds: float) -> None:
    """A timer whose default action kills, even inside native code that never returns; 0 turns it off."""
    if sys.platform != "win32":
        signal.setitimer(signal.ITIMER_REAL, seconds)


def _answer(job: Mapping[str, Any]) -> Message:
    from mammo_core.data.foreign_file import TOO_MUCH_MEMORY
    from mammo_core.errors import MammoError

    path = Path(job["path"])
    try:
        return _do(job["kind"], path, job["canvas"])
    except MammoError as error:
        return {"error": str(error)}, {}
    except MemoryError:
        return {"error": f"{path.name} cannot be used: {TOO_MUCH_MEMORY}"}, {}


def _do(kind: str, path: Path, canvas: list[int] | None) -> Message:
    from mammo_core.data.masks import read_mask
    from mammo_core.data.preprocess import prepare
    from mammo_core.data.reader import read_film

    if kind == "mask":
        return {}, {"mask": read_mask(path).pixels}
    film = read_film(path)
    if kind == "film":
        return {"facts": asdict(film.facts)}, {"pixels": film.pixels}
    if kind == "prepare":
        if canvas is None:
            raise ValueError("a job of kind 'prepare' needs a canvas")
        made = prepare(film, (canvas[0], canvas[1]))
        told = {"geometry": asdict(made.geometry), "warnings": made.warnings, "steps": made.steps}
        return told, {"pixels": made.pixels, "breast_mask": made.breast_mask}
    summary = {"facts": asdict(film.facts), "pixel_sha256": pixel_sha256(film.pixels)}
    return summary, {"thumbnail": thumbnail(film.pixels)}


def thumbnail(pixels: npt.NDArray[np.float32], side: int = THUMBNAIL_SIDE) -> npt.NDArray[np.uint8]:
    """A copy (uint8) whose longest side has at most ``side`` pixels; areas are averaged."""
    from PIL import Image

    height, width = pixels.shape
    scale = min(1.0, side / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX))
    levels: npt.NDArray[np.uint8] = np.rint(small * 255).astype(np.uint8)
    return levels


def pixel_sha256(pixels: npt.NDArray[np.float32]) -> str:
    """SHA-256 of display values at 16 bits, with the shape: equal for the same picture in another file format or compression."""
    digest = hashlib.sha256(json.dumps(pixels.shape).encode())
    scaled = np.empty((min(HASHED_ROWS, len(pixels)), pixels.shape[1]), np.float32)
    stored = np.empty(scaled.shape, "<u2")
    for top in range(0, len(pixels), HASHED_ROWS):
        rows = pixels[top : top + HASHED_ROWS]
        levels, count = scaled[: len(rows)], len(rows)
        np.multiply(rows, np.float32(65535), out=levels)
        np.rint(levels, out=levels)
        np.copyto(stored[:count], levels, casting="unsafe")
        digest.update(stored[:count].data)
    return digest.hexdigest()


if __name__ == "__main__":
    main()
