"""The pectoral muscle in an oblique film: the bright triangle in the upper corner at the chest wall, or nothing where unsure.

Its edge is nearly straight. Each line from the upper edge of the breast to the chest wall is judged by the step in brightness
along it, and the best one is believed only where the step is there along most of its length and the triangle behind it is bright
all over.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mammo_core.data.breast import Breast, Mask, chest_wall_side

Values = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.float64]

VIEW = "MLO"
SMOOTHING_SHARE = 0.008
"""SD of the smoothing, as a share of the film's longest side: strands of gland fade, the muscle's edge stays."""
STEP_SHARE = 0.016
"""How far on each side of a line its brightness is taken, likewise."""
TOP_RANGE = (0.15, 1.0)
"""Where the line meets the top of the breast, as a share of the breast's width."""
BOTTOM_RANGE = (0.25, 1.0)
"""Where it meets the chest wall, as a share of the breast's height."""
ANGLES = (12.0, 50.0)
"""Between the line and the chest wall, degrees."""
CANDIDATES, POINTS = 40, 40
"""Lines to try along each of the two edges, and places along each line."""
SKIN_SHARE = 0.03
"""Nearer to the skin than this share of the film's longest side, brightness falls towards the air and says nothing."""
LEAST_ON_BREAST = 0.5
"""Share of a line's places that have breast on both sides; the others say nothing."""
LARGEST_STEP = 0.25
"""A step counts up to here, of the breast's brightness range: a few bright strands must not outweigh the rest of a line."""
LEAST_STEP = 0.05
"""Mean step along a line that is believed."""
STEP_SEEN, SEEN_SHARE = 0.02, 0.8
"""At this share of the places the inner side is brighter, by at least this step."""
LEAST_AREA = 0.02
"""Of the breast; a smaller triangle is below the resolution of a map."""
DARK_SHARE = 0.1
"""At most this part of the triangle is darker than what lies beyond the line."""


@dataclass(frozen=True, eq=False)
class _Lines:
    """Candidates in cells of the reduced film, chest wall left: from (0, top) to (bottom, 0), counted from the corner."""

    top: Numbers
    bottom: Numbers


def pectoral_region(small: Values, breast: Breast, view: str | None) -> Mask | None:
    """The muscle on the reduced film, or ``None`` where the view is another, the breast was not found, or no line convinces.

    Parameters
    ----------
    small : float32 ndarray, the reduced film, shape of ``breast.mask``
    view : ``FilmFacts.view``
    """
    if view != VIEW or breast.problem is not None:
        return None
    flipped = chest_wall_side(breast) == "right"
    values, mask = (small[:, ::-1], breast.mask[:, ::-1]) if flipped else (small, breast.mask)
    corner = _corner(mask)
    if corner is None:
        return None
    side = max(small.shape)
    low, high = np.percentile(values[mask], (1, 99))
    smooth = ndimage.gaussian_filter((values - low) / max(float(high - low), 1e-6), SMOOTHING_SHARE * side)
    lines = _candidates(mask, corner)
    away_from_skin = ndimage.binary_erosion(mask, iterations=max(1, round(SKIN_SHARE * side)), border_value=1)
    steps = _steps(smooth, away_from_skin, corner, lines, STEP_SHARE * side)
    found = _best(lines, steps)
    if found is None:
        return None
    region = _triangle(mask, corner, found)
    if not _is_bright_all_over(smooth, mask, region, corner, found):
        return None
    return np.ascontiguousarray(region[:, ::-1]) if flipped else region


def _corner(mask: Mask) -> tuple[int, int] | None:
    """Row and column of the upper corner at the chest wall: where the breast begins in the columns at the edge."""
    columns = np.flatnonzero(mask.any(axis=0))
    left = int(columns[0])
    rows = np.flatnonzero(mask[:, left : left + max(1, mask.shape[1] // 50)].any(axis=1))
    return (int(rows[0]), left) if rows.size else None


def _candidates(mask: Mask, corner: tuple[int, int]) -> _Lines:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    height, width = rows[-1] + 1 - corner[0], columns[-1] + 1 - corner[1]
    top, bottom = np.meshgrid(
        np.linspace(*TOP_RANGE, CANDIDATES) * width, np.linspace(*BOTTOM_RANGE, CANDIDATES) * height, indexing="ij"
    )
    angle = np.degrees(np.arctan2(top, bottom))
    kept = (angle >= ANGLES[0]) & (angle <= ANGLES[1])
    return _Lines(top[kept], bottom[kept])


def _steps(smooth: Values, mask: Mask, corner: tuple[int, int], lines: _Lines, distance: float) -> Numbers:
    """Brightness towards the corner minus beyond, (lines, POINTS); NaN where one of the sides is not on the breast."""
    along = np.linspace(0.03, 0.97, POINTS)
    rows = corner[0] + lines.bottom[:, None] * along
    columns = corner[1] + lines.top[:, None] * (1 - along)
    length = np.hypot(lines.top, lines.bottom)
    down, right = (lines.top / length * distance)[:, None], (lines.bottom / length * distance)[:, None]
    inner, outer = ((rows - down, columns - right), (rows + down, columns + right))
    step: Numbers = _at(smooth, inner) - _at(smooth, outer)
    on_breast = (_at(mask, inner) > 0) & (_at(mask, outer) > 0)
    return np.where(on_breast, step, np.nan)


def _at(values: Values | Mask, places: tuple[Numbers, Numbers]) -> Numbers:
    """The nearest value, 0 beyond the film."""
    rows, columns = (np.rint(place).astype(np.intp) for place in places)
    inside = (rows >= 0) & (rows < values.shape[0]) & (columns >= 0) & (columns < values.shape[1])
    found = np.zeros(rows.shape)
    found[inside] = values[rows[inside], columns[inside]]
    return found


def _best(lines: _Lines, steps: Numbers) -> tuple[float, float] | None:
    known = ~np.isnan(steps)
    counts = known.sum(axis=1)
    usable = counts >= LEAST_ON_BREAST * POINTS
    total = np.where(known, np.clip(steps, -LARGEST_STEP, LARGEST_STEP), 0).sum(axis=1)
    if not usable.any():
        return None
    # The sum and not the mean: a line that is seen along its whole length goes before one that leaves the breast.
    best = int(np.where(usable, total, -np.inf).argmax())
    seen = (steps[best][known[best]] >= STEP_SEEN).mean()
    believed = total[best] >= LEAST_STEP * counts[best] and seen >= SEEN_SHARE
    return (float(lines.top[best]), float(lines.bottom[best])) if believed else None


def _triangle(mask: Mask, corner: tuple[int, int], line: tuple[float, float], shift: float = 0.0) -> Mask:
    """The breast on the corner's side of the line, or of one ``shift`` cells farther out."""
    rows, columns = np.ogrid[: mask.shape[0], : mask.shape[1]]
    top, bottom = line
    beyond = (rows - corner[0]) / bottom + (columns - corner[1]) / top - 1
    inside: Mask = mask & (beyond * top * bottom / math.hypot(top, bottom) <= shift)
    return inside


def _is_bright_all_over(smooth: Values, mask: Mask, region: Mask, corner: tuple[int, int], line: tuple[float, float]) -> bool:
    if region.sum() < LEAST_AREA * mask.sum():
        return False
    beyond = _triangle(mask, corner, line, 2 * STEP_SHARE * max(mask.shape)) & ~region
    if not beyond.any():
        return False
    return bool((smooth[region] < np.median(smooth[beyond])).mean() <= DARK_SHARE)
