"""Where the breast lies in a film: a mask on a reduced copy, with a check of whether it can be believed."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage
from skimage.filters import threshold_otsu

Pixels = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

REDUCED_SIDE = 256
"""Longest side of the reduced copy, pixels: one cell is then 0.4 % of the film, a fifth of the crop margin."""
SMOOTHING_SIGMA = 1.2
"""Cells. Enough for film grain; the skin line moves by less than a cell."""
LOG_OFFSET = 0.01
"""Added before the logarithm, in units of the display range; about the noise of an 8-bit background."""
OPENING_SHARE = 0.015
"""Strips thinner than twice this share of the longest side (bright film frames, thin markers) are no breast."""
AREA_RANGE = (0.05, 0.80)
"""Share of the film that a breast can cover."""
SIDE_SHARE = 0.02
"""A breast reaches into this outer share of the width on the chest-wall side."""
MAX_BACKGROUND_RATIO = 0.5
"""The median outside the mask must be below this multiple of the median inside; else there is no dark background."""
BRIGHT_LEVEL = 0.5
PERCENTILES = (0.5, 99.5)
PIXELS_AT_ONCE = 2**18
"""Pillow copies what it is given; a few rows at a time, the copy stays in the processor's cache."""
MAX_SAMPLES = 2**20
"""Percentiles are taken over at most this many pixels on a regular grid: 0.5 % of them are still 5,000."""


@dataclass(frozen=True, eq=False)
class Breast:
    """The breast's mask on the reduced copy.

    ``mask`` has shape (ceil(H / factor), ceil(W / factor)); cell (i, j) stands for ``factor`` x ``factor`` pixels of the film.
    Where no mask can be believed, ``mask`` is all true and ``problem`` says why.
    """

    mask: Mask
    factor: int
    problem: str | None


def reduced(pixels: Pixels) -> tuple[Pixels, int]:
    """The film averaged over blocks so that its longest side has at most ``REDUCED_SIDE`` cells, and the block's side."""
    factor = reduction_factor(pixels.shape)
    if factor == 1:
        return pixels, factor
    step = factor * max(1, PIXELS_AT_ONCE // (factor * pixels.shape[1]))
    strips = [Image.fromarray(pixels[top : top + step]).reduce(factor) for top in range(0, len(pixels), step)]
    return np.concatenate([np.asarray(strip) for strip in strips]), factor


def reduction_factor(shape: tuple[int, ...]) -> int:
    """Side of the blocks, in pixels, over which a film of this shape is averaged."""
    return max(1, math.ceil(max(shape) / REDUCED_SIDE))


def find_breast(pixels: Pixels) -> Breast:
    """:func:`find_breast_in` of a film's pixels, (H, W) float32 in [0, 1]."""
    return find_breast_in(*reduced(pixels))


def find_breast_in(small: Pixels, factor: int) -> Breast:
    """Find the breast in a film whose background is dark.

    Otsu's threshold is taken on the logarithm of the smoothed values: on the values themselves it parts dense from fatty
    tissue and cuts the skin line off. Then thin strips go, the largest component that reaches a side edge stays (markers
    and the other frame go), and its holes are filled.

    Parameters
    ----------
    small, factor : as :func:`reduced` gives them; values float32 in [0, 1]
    """
    smooth = ndimage.gaussian_filter(small, SMOOTHING_SIGMA)
    problem = "all its pixels have nearly the same value"
    if float(np.ptp(smooth)) > 1 / 255:
        logarithm = np.log(np.maximum(smooth, 0) + LOG_OFFSET)
        threshold = float(threshold_otsu(logarithm))  # type: ignore[no-untyped-call]
        mask = _largest_part(logarithm > threshold)
        found = _doubt(mask, smooth)
        if found is None:
            return Breast(mask, factor, None)
        problem = found
    return Breast(np.ones(small.shape, np.bool_), factor, problem)


def _largest_part(bright: Mask) -> Mask:
    """The largest component that reaches the left or right edge (else the largest at all), holes filled."""
    radius = max(1, round(OPENING_SHARE * max(bright.shape)))
    # The outside counts as dark, so that a bright frame along an edge is as thin as it looks.
    opened = ndimage.binary_opening(bright, iterations=radius)
    labels, count = ndimage.label(opened)
    if count == 0:
        return np.zeros_like(bright)
    areas = np.bincount(labels.ravel(), minlength=count + 1)
    areas[0] = 0
    edge = np.unique(np.concatenate([labels[:, 0], labels[:, -1]]))
    edge = edge[edge > 0]
    chosen = edge[areas[edge].argmax()] if edge.size else areas.argmax()
    filled: Mask = ndimage.binary_fill_holes(labels == chosen)
    return filled


def _doubt(mask: Mask, smooth: Pixels) -> str | None:
    """Why this mask is not believed, or ``None``."""
    share = float(mask.mean())
    if not AREA_RANGE[0] <= share <= AREA_RANGE[1]:
        low, high = AREA_RANGE
        return f"the brightest region covers {share:.0%} of the film where {low:.0%} to {high:.0%} was expected"
    rim = max(1, round(SIDE_SHARE * mask.shape[1]))
    if not (mask[:, :rim].any() or mask[:, -rim:].any()):
        return "the brightest region touches neither side edge"
    if np.median(smooth[~mask]) > MAX_BACKGROUND_RATIO * np.median(smooth[mask]):
        return "no dark background surrounds the brightest region"
    return None


def breast_percentiles(values: npt.NDArray[np.generic], breast: Breast) -> tuple[float, float]:
    """The 0.5 and 99.5 percentiles of ``values`` (H, W, any unit) inside the breast, over a regular grid of pixels."""
    height, width = values.shape
    step = max(1, math.ceil(math.sqrt(height * width / MAX_SAMPLES)))
    rows, columns = np.arange(0, height, step), np.arange(0, width, step)
    inside = breast.mask[np.ix_(rows // breast.factor, columns // breast.factor)]
    low, high = np.percentile(values[::step, ::step][inside].astype(np.float64), PERCENTILES)
    return float(low), float(high)


def has_bright_background(pixels: Pixels) -> bool:
    """Whether white stands for air.

    It does where the commonest value is bright both in the outer 5 % and in the whole film, and neither the two left nor
    the two right corners are dark: a breast is round, so both corners opposite the chest wall are air even where dense tissue
    fills the rest.
    """
    step = math.ceil(max(pixels.shape) / REDUCED_SIDE)
    small = pixels[::step, ::step]
    rim = max(1, round(0.05 * min(small.shape)))
    border = np.ones(small.shape, np.bool_)
    border[rim:-rim, rim:-rim] = False
    if not all(_commonest(values) > BRIGHT_LEVEL for values in (small[border], small.ravel())):
        return False
    ends = (slice(None, 2 * rim), slice(-2 * rim, None))
    return all(max(float(np.median(small[rows, columns])) for rows in ends) > BRIGHT_LEVEL for columns in ends)


def _commonest(values: Pixels) -> float:
    counts, edges = np.histogram(values, bins=16, range=(0.0, 1.0))
    return float(edges[counts.argmax()] + edges[1] / 2)


def chest_wall_side(breast: Breast) -> str:
    """``left`` or ``right``: the side at which the mask has more cells in the outer 5 % of the columns."""
    rim = max(1, round(0.05 * breast.mask.shape[1]))
    left, right = int(breast.mask[:, :rim].sum()), int(breast.mask[:, -rim:].sum())
    return "right" if right > left else "left"
