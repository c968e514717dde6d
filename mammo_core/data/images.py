"""Films that come as PNG, JPEG, TIFF or PGM: exports and public sets. Everything is read through Pillow but PGM."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL
from PIL import Image, ImageOps

from mammo_core.data.breast import PIXELS_AT_ONCE, Pixels, breast_percentiles, find_breast, has_bright_background
from mammo_core.data.film import Film, FilmFacts, Notes, Refusal
from mammo_core.data.foreign_file import open_picture, refuse_by_header
from mammo_core.data.pgm import read_pgm

MAX_COLOUR_PIXELS = 64 * 10**6
MAX_GREY_PIXELS = 100 * 10**6
"""Budgets held against the header before anything is decoded."""
GREY_MODES = {"L": 8, "I;16": 16, "I;16L": 16, "I;16B": 16, "I": 32, "F": 32}
"""Pillow's modes of one value a pixel, and their bits."""
ORIENTATION = 274
TIFF_PHOTOMETRIC = 262
WHITE_IS_ZERO = 0


@dataclass(frozen=True, eq=False)
class Raster:
    """Values as stored, (H, W), any number type; ``top`` is the largest value of 8-bit pictures, else ``None``."""

    values: npt.NDArray[Any]
    bits: int
    top: float | None
    decoder: str
    photometric: str | None = None
    white_is_zero: bool = False


def read_image(path: Path, kind: str) -> Film:
    """Read a picture file whose content is of this kind into display values.

    8-bit pictures are shown as stored. Deeper ones hold raw values often enough (12 bits in 16), so the 0.5 and 99.5
    percentiles inside the breast become black and white. A bright background is turned over, with a warning, because these
    formats cannot state the polarity of a film.

    Raises
    ------
    Refusal
        The file is damaged, too large, or no single picture.
    """
    notes = Notes()
    raster = _read_graymap(path) if kind == "PGM" else _read_with_pillow(path, kind, notes)
    pixels, inverted = _dark_background(raster, notes)
    pixels, window = _stretch(pixels, raster, notes)
    if float(np.ptp(pixels)) == 0:
        notes.warnings.append("All pixels of this film have the same value; it shows nothing.")
    height, width = pixels.shape
    facts = FilmFacts(
        kind=kind,
        height=height,
        width=width,
        bits=raster.bits,
        window=window,
        inverted=inverted,
        decoder=raster.decoder,
        photometric=raster.photometric,
        warnings=tuple(notes.warnings),
        steps=(f"Read as {kind} ({raster.bits} bits, {height} x {width} pixels) by {raster.decoder}.", *notes.steps),
    )
    return Film(pixels, facts)


def _read_graymap(path: Path) -> Raster:
    values, largest = read_pgm(path, MAX_GREY_PIXELS)
    bits = largest.bit_length()
    return Raster(values, bits, float(largest) if bits <= 8 else None, f"NumPy {np.__version__}")


def _read_with_pillow(path: Path, kind: str, notes: Notes) -> Raster:
    with open_picture(path, kind) as image:
        refuse_by_header(image, MAX_GREY_PIXELS if image.mode in GREY_MODES else MAX_COLOUR_PIXELS, "film")
        if image.mode == "1":
            raise Refusal("it has one bit a pixel, so it is a mask and no film. Choose the film itself.")
        return _grey(image, notes)


def _grey(image: Image.Image, notes: Notes) -> Raster:
    if image.getexif().get(ORIENTATION, 1) != 1:
        notes.steps.append("Turned as the file's orientation mark says.")
    image.load()  # which turns a TIFF already
    ImageOps.exif_transpose(image, in_place=True)  # else it is copied where nothing is to be turned, too
    decoder = f"Pillow {PIL.__version__}"
    if image.mode not in GREY_MODES:
        return Raster(_luminance(image, notes), 8, 255.0, decoder, image.mode)
    bits = GREY_MODES[image.mode]
    white_is_zero = image.format == "TIFF" and getattr(image, "tag_v2", {}).get(TIFF_PHOTOMETRIC) == WHITE_IS_ZERO
    # Pillow turns 8-bit pictures of that kind over itself, but not deeper ones.
    photometric = "WhiteIsZero" if white_is_zero else None
    return Raster(np.asarray(image), bits, 255.0 if bits == 8 else None, decoder, photometric, white_is_zero and bits > 8)


def _luminance(image: Image.Image, notes: Notes) -> npt.NDArray[Any]:
    """One grey value (uint8) for each pixel of a picture with colour, palette or transparency."""
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        notes.steps.append("Transparency was dropped.")
    rgb = np.asarray(image.convert("RGB"))
    if np.array_equal(rgb[:, :, 0], rgb[:, :, 1]) and np.array_equal(rgb[:, :, 0], rgb[:, :, 2]):
        notes.steps.append("Stored as colour with three equal channels; one of them was taken.")
        return rgb[:, :, 0]
    notes.warnings.append(
        "This is a colour picture, which no mammogram is: it may be a photograph. Its luminance (ITU-R 601-2) was taken."
    )
    return np.asarray(image.convert("RGB").convert("L"))


def _dark_background(raster: Raster, notes: Notes) -> tuple[Pixels, bool]:
    """Values scaled to [0, 1], turned over where white stands for air; and whether they were."""
    if raster.values.dtype.kind == "f" and not np.isfinite(raster.values).all():
        raise Refusal("some of its values are not finite numbers. Export it again.")
    low, high = (0.0, raster.top) if raster.top else (float(raster.values.min()), float(raster.values.max()))
    pixels = _scaled(raster.values, low, high)
    if raster.white_is_zero:
        notes.steps.append("The file says that 0 stands for white: the values were turned over.")
        return np.subtract(1, pixels, out=pixels), True
    if has_bright_background(pixels):
        notes.warnings.append("The background was bright, so the film was turned over to make air dark. Check that it is right.")
        return np.subtract(1, pixels, out=pixels), True
    return pixels, False


def _scaled(values: npt.NDArray[Any], low: float, high: float) -> Pixels:
    """``(values - low) / (high - low)``, worked out with 64 bits a few rows at a time: of a large film they would take 800 MB."""
    pixels = np.empty(values.shape, np.float32)
    step = max(1, PIXELS_AT_ONCE // values.shape[1])
    for top in range(0, len(values), step):
        pixels[top : top + step] = (values[top : top + step] - np.float64(low)) / ((high - low) or 1)
    return pixels


def _stretch(pixels: Pixels, raster: Raster, notes: Notes) -> tuple[Pixels, str]:
    if raster.top is not None:
        return pixels, "as stored"
    breast = find_breast(pixels)
    low, high = breast_percentiles(pixels, breast)
    where = "inside the breast" if breast.problem is None else "of the whole film"
    notes.steps.append(f"The file holds no window: the 0.5 and 99.5 percentiles {where} became black and white.")
    np.subtract(pixels, np.float32(low), out=pixels)
    np.divide(pixels, np.float32((high - low) or 1), out=pixels)
    return np.clip(pixels, 0, 1, out=pixels), "0.5-99.5 percentile"
