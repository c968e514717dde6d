"""Films and maps as the bytes that the viewer in the browser draws from: every film pixel at its real depth, nothing reduced.

::

    offset  0  8 bytes   magic, MTVIEW01
            8  uint32    height, pixels
           12  uint32    width, pixels
           16  uint32    bytes of one value: 1 or 2
           20  32 bytes  SHA-256 of shape, depth and values
           52  12 bytes  zero
           64  values, rows from the top, little-endian

The values are not compressed. The browser is on the same machine: the 24 MB of a film of 4700 x 2600 pixels come over in a
tenth of a second, while to pack them as PNG or with deflate takes one to two seconds for half the size. The hash stands at
the front because Streamlit names large files by three samples of their content, the first of which then differs for any two
films.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from mammo_core.errors import DataError

MAGIC = b"MTVIEW01"
HEADER = struct.Struct("<8sIII32s12x")
"""Its 64 bytes keep the values behind it aligned."""
MAP_SIDE = 512
"""Cells of a map along the film's longer side. The grid of a model has 7 to 64, so nothing of it is lost."""
ROWS_AT_ONCE = 128
"""Rows that are converted together, so that the copies in between stay in the processor's cache."""


@dataclass(frozen=True, eq=False)
class ViewerImage:
    """A picture ready for the viewer."""

    payload: bytes
    height: int
    width: int
    top: int
    """Stored value that stands for 1.0: 255 or 65535."""
    sha256: str
    """Of shape, depth and values: two pictures with the same hash are drawn alike."""


def encode_film(pixels: npt.NDArray[np.float32]) -> ViewerImage:
    """A film at full resolution: one byte a pixel where that keeps every value, else two.

    Parameters
    ----------
    pixels : (H, W) float32 in [0, 1]

    Raises
    ------
    DataError
        Not a picture with two axes.
    """
    _check(pixels)
    return _encode(_scaled(pixels, 255, np.uint8) if _is_8_bits(pixels) else _scaled(pixels, 65535, np.uint16))


def encode_map(values: npt.NDArray[np.float32]) -> ViewerImage:
    """A map that lies on a film, on at most ``MAP_SIDE`` cells a side (areas averaged); the viewer enlarges it bilinearly.

    Parameters
    ----------
    values : (H, W) float32 in [0, 1], on the film's pixels or on fewer cells that cover the same area

    Raises
    ------
    DataError
        Not a picture with two axes.
    """
    _check(values)
    longest = max(values.shape)
    if longest > MAP_SIDE:
        height, width = (max(1, round(side * MAP_SIDE / longest)) for side in values.shape)
        # Every fourth pixel is plenty below the averages of five or more, and four times as fast.
        step = max(1, longest // (2 * MAP_SIDE))
        picture = Image.fromarray(np.ascontiguousarray(values[step // 2 :: step, step // 2 :: step], dtype=np.float32))
        values = np.asarray(picture.resize((width, height), Image.Resampling.BOX))
    return _encode(_scaled(values, 255, np.uint8))


def decode(payload: bytes) -> npt.NDArray[Any]:
    """The values in a payload, ``(H, W)`` uint8 or uint16: what the browser draws.

    Raises
    ------
    DataError
        Not such a payload.
    """
    if len(payload) < HEADER.size or payload[: len(MAGIC)] != MAGIC:
        raise DataError("The picture for the viewer has no valid header; expected one made by encode_film. Open the film again.")
    _, height, width, size, _ = HEADER.unpack_from(payload)
    return np.frombuffer(payload, np.dtype(f"<u{size}"), offset=HEADER.size).reshape(height, width)


def _check(pixels: npt.NDArray[Any]) -> None:
    if pixels.ndim != 2 or 0 in pixels.shape:
        raise DataError(f"The picture for the viewer has the shape {pixels.shape}; expected rows and columns. Open another film.")


def _is_8_bits(pixels: npt.NDArray[np.float32]) -> bool:
    """Whether every value is a whole number of 255ths. A few rows are asked first: most films fail there."""
    for rows in (pixels[:: max(1, len(pixels) // 16)], pixels):
        for top in range(0, len(rows), ROWS_AT_ONCE):
            levels = rows[top : top + ROWS_AT_ONCE] * np.float32(255)
            if np.abs(levels - np.rint(levels)).max() > 1e-3:
                return False
    return True


def _scaled(pixels: npt.NDArray[np.float32], top: int, kind: type[np.unsignedinteger[Any]]) -> npt.NDArray[Any]:
    """Values in [0, 1] as whole numbers from 0 to ``top``, rounded; what lies outside is cut off, what is no number is 0."""
    scaled = np.empty(pixels.shape, np.dtype(kind).newbyteorder("<"))
    for first in range(0, len(pixels), ROWS_AT_ONCE):
        rows = np.fmin(np.fmax(pixels[first : first + ROWS_AT_ONCE], np.float32(0)), np.float32(1))
        rows *= np.float32(top)
        scaled[first : first + ROWS_AT_ONCE] = np.rint(rows, out=rows)
    return scaled


def _encode(values: npt.NDArray[Any]) -> ViewerImage:
    height, width = values.shape
    size = values.dtype.itemsize
    data = values.tobytes()
    digest = hashlib.sha256(struct.pack("<III", height, width, size))
    digest.update(data)
    payload = b"".join((HEADER.pack(MAGIC, height, width, size, digest.digest()), data))
    return ViewerImage(payload, height, width, 255 if size == 1 else 65535, digest.hexdigest())
