"""From a film to the model's input, and back from a map on that input to the film.

This is the only way from a film to pixels that a model sees: training, prediction and Grad-CAM all call :func:`prepare`.
A change of what it computes raises ``PREPROCESSING_VERSION``, which stands in every checkpoint and every cache key.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from mammo_core.data.breast import Breast, Mask, Pixels, breast_percentiles, chest_wall_side
from mammo_core.data.film import Film, FilmFacts
from mammo_core.errors import ConfigError

PREPROCESSING_VERSION: int = 1
MARGIN_SHARE = 0.02
"""The crop is wider than the breast by this share of the film's longest side, on each side."""
KEPT_SHARE = 0.01
"""Outside the breast widened by this share of the film's longest side, everything is set to black."""
CANVAS_SIDES = (8, 8192)
"""Allowed sides of the model's input, pixels."""

BOX, BILINEAR = Image.Resampling.BOX, Image.Resampling.BILINEAR
Box = tuple[int, int, int, int]
"""top, left, height, width."""


@dataclass(frozen=True)
class Geometry:
    """Where the film's pixels went; enough to bring any map on the canvas back. ``dataclasses.asdict`` of it is JSON-able.

    Coordinates are continuous: pixel (i, j) covers [i, i + 1) x [j, j + 1).
    """

    original_shape: tuple[int, int]
    """Height and width of the film, pixels."""
    crop: Box
    """The part that was used, in pixels of the film."""
    flipped: bool
    """Whether it was mirrored so that the chest wall is on the left."""
    scale: float
    """Canvas pixels for each pixel of the film."""
    canvas: tuple[int, int]
    placed: Box
    """Where that part lies on the canvas; the rest is black."""

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Geometry:
        """The inverse of ``dataclasses.asdict``, also after JSON has made lists of the tuples."""
        pairs = {name: tuple(raw[name]) for name in ("original_shape", "crop", "canvas", "placed")}
        return cls(flipped=bool(raw["flipped"]), scale=float(raw["scale"]), **pairs)

    def to_canvas(self, row: float, column: float) -> tuple[float, float]:
        """Where a point of the film lies on the canvas; beyond the canvas where the point was cropped away."""
        top, left, height, width = self.crop
        placed_top, placed_left, placed_height, placed_width = self.placed
        across = (column - left) / width
        across = 1 - across if self.flipped else across
        return placed_top + (row - top) / height * placed_height, placed_left + across * placed_width

    def to_film(self, row: float, column: float) -> tuple[float, float]:
        """Where a point of the canvas lies on the film; the inverse of :meth:`to_canvas`."""
        top, left, height, width = self.crop
        placed_top, placed_left, placed_height, placed_width = self.placed
        across = (column - placed_left) / placed_width
        across = 1 - across if self.flipped else across
        return top + (row - placed_top) / placed_height * height, left + across * width


@dataclass(frozen=True, eq=False)
class PreparedFilm:
    """The model's input for one film.

    ``pixels`` (h, w) uint8; ``breast_mask`` (h, w) bool, true on the breast (all of the film where no breast was found).
    ``warnings`` and ``steps`` tell the whole way from the file: those of reading first.
    """

    pixels: npt.NDArray[np.uint8]
    breast_mask: Mask
    geometry: Geometry
    warnings: tuple[str, ...]
    steps: tuple[str, ...]


def check_canvas(canvas: tuple[int, int]) -> None:
    """Raise ``ConfigError`` unless this height and width can be a model's input."""
    if len(canvas) != 2 or not all(CANVAS_SIDES[0] <= side <= CANVAS_SIDES[1] for side in canvas):
        raise ConfigError(
            f"The image size {list(canvas)} cannot be used: expected a height and a width of {CANVAS_SIDES[0]} to "
            f"{CANVAS_SIDES[1]} pixels."
        )


def prepare(film: Film, canvas: tuple[int, int]) -> PreparedFilm:
    """Find the breast, crop, turn its chest wall to the left, blacken the rest, scale, resize with the aspect kept, and pad.

    The same film and canvas always give the same pixels.

    Parameters
    ----------
    film : Film
    canvas : height and width of the model's input, pixels

    Raises
    ------
    ConfigError
        A side of the canvas is out of range.
    """
    check_canvas(canvas)
    breast = film.breast
    warnings, steps = list(film.facts.warnings), list(film.facts.steps)
    if breast.problem is not None:
        warnings.append(f"The breast was not found ({breast.problem}), so the whole film is used. Check the film.")
    flipped = _is_to_flip(breast, film.facts, warnings)
    geometry = _geometry(breast, film.pixels.shape, canvas, flipped)
    low, high = breast_percentiles(film.pixels, breast)
    values = np.clip((_resized(film.pixels, geometry) - low) / ((high - low) or 1), 0, 1)
    values[~_on_canvas(_widened(breast), breast.factor, geometry)] = 0
    pixels = _padded(np.rint(values * 255).astype(np.uint8), geometry)
    mask = _padded(_on_canvas(breast.mask, breast.factor, geometry), geometry)
    steps += _told(breast, geometry, (low, high))
    return PreparedFilm(pixels, mask, geometry, tuple(warnings), tuple(steps))


def to_original(map_: npt.NDArray[np.floating[Any]], geometry: Geometry) -> Pixels:
    """Bring a map on the canvas back onto the film: bilinear, mirrored back, 0 where the film was cropped away.

    Parameters
    ----------
    map_ : (h, w) float, the canvas

    Returns
    -------
    (H, W) float32, the film
    """
    top, left, height, width = geometry.placed
    part = np.ascontiguousarray(map_[top : top + height, left : left + width], dtype=np.float32)
    if geometry.flipped:
        part = np.ascontiguousarray(part[:, ::-1])
    top, left, height, width = geometry.crop
    film = np.zeros(geometry.original_shape, np.float32)
    film[top : top + height, left : left + width] = np.asarray(Image.fromarray(part).resize((width, height), BILINEAR))
    return film


def _is_to_flip(breast: Breast, facts: FilmFacts, warnings: list[str]) -> bool:
    """Whether the chest wall is on the right. The picture decides; where it cannot, the tags do."""
    expected, source = _stated_side(facts)
    if breast.problem is not None:
        if expected is None:
            warnings.append("The side of the chest wall is unknown, so the film was not mirrored.")
        return expected == "right"
    seen = chest_wall_side(breast)
    if expected is not None and expected != seen:
        warnings.append(
            f"The chest wall is at the {seen} edge, but {source} says {expected}: the film may be mirrored or its side wrong. "
            "The picture was followed."
        )
    return seen == "right"


def _stated_side(facts: FilmFacts) -> tuple[str | None, str]:
    """Where the tags put the chest wall. Rows that run anteriorly begin at it (PS3.3 C.7.6.1.1.1)."""
    row_direction = (facts.patient_orientation or "").split("\\")[0].upper()
    if row_direction in ("A", "P") and "\\" in (facts.patient_orientation or ""):
        return ("left" if row_direction == "A" else "right"), f"the patient orientation {facts.patient_orientation}"
    if facts.laterality in ("L", "R"):
        return ("left" if facts.laterality == "L" else "right"), f"the laterality {facts.laterality}, hung as usual,"
    return None, ""


def _geometry(breast: Breast, shape: tuple[int, ...], canvas: tuple[int, int], flipped: bool) -> Geometry:
    height, width = shape
    margin = round(MARGIN_SHARE * max(height, width)) if breast.problem is None else 0
    rows, columns = (np.flatnonzero(breast.mask.any(axis=axis)) * breast.factor for axis in (1, 0))
    top, left = max(0, int(rows[0]) - margin), max(0, int(columns[0]) - margin)
    bottom = min(height, int(rows[-1]) + breast.factor + margin)
    right = min(width, int(columns[-1]) + breast.factor + margin)
    crop = (top, left, bottom - top, right - left)
    scale = min(canvas[0] / crop[2], canvas[1] / crop[3])
    placed = (0, 0, min(canvas[0], max(1, round(crop[2] * scale))), min(canvas[1], max(1, round(crop[3] * scale))))
    return Geometry((height, width), crop, flipped, scale, canvas, placed)


def _resized(pixels: Pixels, geometry: Geometry) -> Pixels:
    """The crop at its size on the canvas, mirrored if need be. Shrinking averages areas, so that it does not alias."""
    top, left, height, width = geometry.crop
    part = Image.fromarray(np.ascontiguousarray(pixels[top : top + height, left : left + width]))
    method = BOX if geometry.scale < 1 else BILINEAR
    small = np.asarray(part.resize((geometry.placed[3], geometry.placed[2]), method))
    return small[:, ::-1] if geometry.flipped else small


def _on_canvas(mask: Mask, factor: int, geometry: Geometry) -> Mask:
    """A mask of the reduced copy at the crop's size on the canvas: bilinear, cut at one half."""
    top, left, height, width = (edge / factor for edge in geometry.crop)
    rows, columns = mask.shape
    box = (left, top, min(left + width, columns), min(top + height, rows))
    size = (geometry.placed[3], geometry.placed[2])
    values = np.asarray(Image.fromarray(mask.astype(np.float32)).resize(size, BILINEAR, box=box))
    found: Mask = values >= 0.5
    return found[:, ::-1] if geometry.flipped else found


def _widened(breast: Breast) -> Mask:
    radius = max(1, math.ceil(KEPT_SHARE * max(breast.mask.shape)))
    widened: Mask = ndimage.binary_dilation(breast.mask, iterations=radius)
    return widened


def _padded(part: npt.NDArray[Any], geometry: Geometry) -> npt.NDArray[Any]:
    whole = np.zeros(geometry.canvas, part.dtype)
    top, left, height, width = geometry.placed
    whole[top : top + height, left : left + width] = part
    return whole


def _told(breast: Breast, geometry: Geometry, levels: tuple[float, float]) -> list[str]:
    """What was done, as sentences."""
    top, left, height, width = geometry.crop
    steps = []
    if breast.problem is None:
        steps.append(f"The breast was found ({breast.mask.mean():.0%} of the film); everything outside it was set to black.")
        steps.append(
            f"Cropped to the breast and a margin of 2 %: rows {top} to {top + height}, columns {left} to {left + width}."
        )
    if geometry.flipped:
        steps.append("Mirrored so that the chest wall is on the left.")
    steps.append(f"The 0.5 and 99.5 percentiles of the breast ({levels[0]:.3f} and {levels[1]:.3f}) became black and white.")
    steps.append(
        f"Resized by {geometry.scale:.3f} to {geometry.placed[2]} x {geometry.placed[3]} pixels with its aspect kept, and padded "
        f"with black to {geometry.canvas[0]} x {geometry.canvas[1]}."
    )
    return steps
