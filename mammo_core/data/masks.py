"""Lesion outlines that come as pictures of the film's own size: whatever is not background is lesion.

A mask is no film: nothing is windowed, stretched or turned over. Public sets write it in many ways, and all of these mean the
same here: 1 bit a pixel, 8 bits with 0 and 1 or 0 and 255, 16 bits, a palette, colours.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
from PIL import Image, ImageOps
from pydicom.pixels.utils import pixel_array

from mammo_core.data.dicom import DEFLATED, MAX_PIXELS, ParserFault
from mammo_core.data.film import Refusal
from mammo_core.data.foreign_file import kind_of_file, open_picture, refusals_name, refuse_by_header
from mammo_core.data.images import GREY_MODES, MAX_COLOUR_PIXELS, MAX_GREY_PIXELS
from mammo_core.data.pgm import read_pgm

Pixels = npt.NDArray[np.bool_]

ONE_VALUE = frozenset({"1", "P", *GREY_MODES})
"""Pillow's modes with one value a pixel."""
LOSSY_LIMIT = 0.5
"""Share of the maximum from which a JPEG pixel is lesion: compression leaves faint values around every edge."""
BLACK = (0, 0, 0)


@dataclass(frozen=True, eq=False)
class LesionMask:
    """A lesion outline as it was read."""

    pixels: Pixels
    """(H, W), true in the lesion; may be empty."""


def read_mask(path: Path) -> LesionMask:
    """Read a lesion outline in this process; what comes from outside is read through a ``DecodePool``.

    Lesion is every pixel whose stored value is not 0. Three formats need more to be said: of a palette picture, background is
    what the palette shows black, or index 0 where it shows nothing black or everything; of a colour picture, what is black or
    wholly transparent; of a JPEG, what is below half of the maximum. Nothing is turned over: an outline that is dark on bright
    ground marks the ground.

    Raises
    ------
    FilmUnreadable
        The file is missing, damaged, too large, or no single picture; the text names it by its last part only.
    """
    with refusals_name(path, " as a lesion outline"):
        kind = kind_of_file(path, "outline", "an outline as PNG, TIFF, PGM, DICOM or JPEG")
        if kind == "DICOM":
            return LesionMask(_read_dicom(path))
        return LesionMask(read_pgm(path, MAX_GREY_PIXELS)[0] != 0 if kind == "PGM" else _read_picture(path, kind))


# ---- pictures ----------------------------------------------------------------------------------------------------------------


def _read_picture(path: Path, kind: str) -> Pixels:
    with open_picture(path, kind) as image:
        refuse_by_header(image, MAX_GREY_PIXELS if image.mode in ONE_VALUE else MAX_COLOUR_PIXELS, "outline")
        image.load()
        return _lesion(ImageOps.exif_transpose(image), kind == "JPEG")


def _lesion(image: Image.Image, lossy: bool) -> Pixels:
    if lossy:
        grey = np.asarray(image.convert("L"))
        return np.asarray(grey > LOSSY_LIMIT * int(grey.max()), dtype=np.bool_)
    if image.mode == "P":
        return _not_background(np.asarray(image), image.getpalette("RGB") or [])
    if image.mode in ONE_VALUE:
        values = np.asarray(image)
        if not np.isfinite(values).all():
            raise Refusal("some of its values are not finite numbers. Export it again.")
        return np.asarray(values != 0, dtype=np.bool_)
    coloured = np.asarray(image.convert("RGBA"))
    return coloured[:, :, :3].any(axis=2) & (coloured[:, :, 3] > 0)


def _not_background(indices: npt.NDArray[Any], palette: list[int]) -> Pixels:
    """Where the index is none of the background's; palettes of label pictures may show index 0 in a colour, or nothing at all."""
    used = np.unique(indices).tolist()
    black = [index for index in used if tuple(palette[3 * index : 3 * index + 3]) in (BLACK, ())]
    background = black if 0 < len(black) < len(used) else [0]
    return ~np.isin(indices, background)


# ---- DICOM -------------------------------------------------------------------------------------------------------------------


def _read_dicom(path: Path) -> Pixels:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's warnings quote tag values, which can name the patient
        try:
            with path.open("rb") as file:
                if DEFLATED.encode() in file.read(2**16):  # reading would inflate all of it before any tag can be asked
                    raise Refusal("its transfer syntax Deflated Explicit VR can hide huge content. Convert it first.")
            dataset = pydicom.dcmread(path, force=True)
            _refuse_dicom(dataset)
            values = pixel_array(dataset)
        except ParserFault as error:
            raise Refusal(f"the DICOM file is damaged ({type(error).__name__}). Export or copy it again.") from error
    return np.asarray(values.reshape(*values.shape[:2], -1).any(axis=2), dtype=np.bool_)


def _refuse_dicom(dataset: pydicom.Dataset) -> None:
    if "PixelData" not in dataset:
        raise Refusal("it holds no picture of pixels. Choose the outline itself.")
    rows, columns, frames = (int(dataset.get(name) or 0) for name in ("Rows", "Columns", "NumberOfFrames"))
    if not 0 < rows * columns <= MAX_PIXELS:
        raise Refusal(f"its header states {rows} x {columns} pixels; expected 1 to {MAX_PIXELS // 10**6} million.")
    if frames > 1:
        raise Refusal(f"it holds {frames} pictures, and one outline a file is expected. Save the outline alone.")
