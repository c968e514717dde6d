"""Portable graymaps, plain (P2) and binary (P5), of 8 to 16 bits.

Pillow reads them too, but values that are not of 8 or 16 bits in a Python loop: a 12-bit film takes it about ten seconds.
"""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mammo_core.data.film import Refusal

HEADER = re.compile(rb"(P[25])" + 3 * rb"(?:\s|#[^\r\n]*[\r\n])+(\d{1,6})" + rb"\s")
"""Magic, width, height, largest value; comments (``# CREATOR: GIMP``) may stand between any two; one blank, then the values."""
MAX_HEADER = 2**16


def read_pgm(path: Path, max_pixels: int) -> tuple[npt.NDArray[np.integer[Any]], int]:
    """Values (H, W) and the largest value that the header allows.

    Raises
    ------
    Refusal
        The header is not one of a graymap, states more than ``max_pixels`` pixels, or values are missing.
    """
    data = path.read_bytes()
    header = HEADER.match(data[:MAX_HEADER])
    if header is None:
        raise Refusal("its graymap header is damaged: expected P2 or P5, width, height and largest value. Export it again.")
    width, height, largest = (int(header[group]) for group in (2, 3, 4))
    if not 0 < width * height <= max_pixels or not 0 < largest < 2**16:
        raise Refusal(
            f"its header states {height} x {width} pixels up to {largest}; expected at most {max_pixels // 10**6} million "
            "pixels up to 65535. It is damaged or no mammogram."
        )
    body = data[header.end() :]
    values = _binary(body, width * height, largest) if header[1] == b"P5" else _plain(body, width * height)
    if values.size < width * height:
        raise Refusal(f"the file is cut short: {values.size} of {width * height} pixels are there. Copy it again.")
    return np.minimum(values, largest).reshape(height, width), largest


def _binary(body: bytes, count: int, largest: int) -> npt.NDArray[np.integer[Any]]:
    kind = np.dtype(np.uint8 if largest < 256 else ">u2")
    return np.frombuffer(body, kind, count=min(count, len(body) // kind.itemsize)).astype(np.uint16)


def _plain(body: bytes, count: int) -> npt.NDArray[np.integer[Any]]:
    text = re.sub(rb"#[^\r\n]*", b"", body).decode("latin-1")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # NumPy only deprecates what it cannot parse
        try:
            values = np.fromstring(text, np.int64, sep=" ")[:count]
        except (ValueError, DeprecationWarning) as error:
            raise Refusal("its values are not whole numbers, or some are missing. Export it again.") from error
    if values.size and values.min() < 0:
        raise Refusal("its values are negative. Export it again.")
    return values
