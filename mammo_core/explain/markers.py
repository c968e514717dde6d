"""What is written on a film beside the breast: view markers, plates, lines of text. A score must not rest on it."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mammo_core.data.breast import Breast, Mask

Values = npt.NDArray[np.float32]

MARKER_MARGIN = 0.02
"""Nearer to the breast than this share of the longest side, brightness is skin or scatter."""
MARKER_CONTRAST = 0.08
"""Grey level above the background from which a region is bright, of the display range."""
MARKER_NOISES = 6.0
"""And by how many SD of the background."""
MARKER_AREA = (4, 0.04)
"""Smallest region in cells of the reduced film, largest as a share of it: noise below, paddles and frames above."""
MARKER_GAP = 0.015
"""Parts closer than this share of the longest side are letters of one text."""
MARKER_LENGTH = 0.5
"""A region longer than this share of a side is a frame or an edge."""


def marker_regions(small: Values, breast: Breast) -> tuple[Mask, int]:
    """Bright, small things apart from the breast: view markers, plates, lines of text.

    Parameters
    ----------
    small : the reduced film, float32 in [0, 1], dark background, shape of ``breast.mask``
    breast : of this film, found

    Returns
    -------
    Mask on the reduced copy, shape of ``breast.mask``, and how many regions it holds.
    """
    side = max(small.shape)
    widened = ndimage.binary_dilation(breast.mask, iterations=math.ceil(MARKER_MARGIN * side))
    air = small[~widened]
    if air.size == 0:
        return np.zeros_like(breast.mask), 0
    level = float(np.median(air))
    spread = 1.4826 * float(np.median(np.abs(air - level)))
    bright = (small > level + max(MARKER_CONTRAST, MARKER_NOISES * spread)) & ~breast.mask
    bright = _without_frames(bright)  # before letters are joined, else a label near the film's edge joins its frame
    gap = max(1, round(MARKER_GAP * side))
    joined = ndimage.binary_closing(np.pad(bright, gap), iterations=gap)[gap:-gap, gap:-gap] & ~breast.mask
    labels, count = ndimage.label(joined, structure=np.ones((3, 3)))
    markers, found = np.zeros_like(breast.mask), 0
    near = np.unique(labels[widened])
    for number, box in enumerate(ndimage.find_objects(labels, count), start=1):
        region = labels[box] == number
        if number in near or not MARKER_AREA[0] <= region.sum() <= MARKER_AREA[1] * small.size:
            continue
        markers[box] |= ndimage.binary_fill_holes(region)
        found += 1
    return markers, found


def _without_frames(bright: Mask) -> Mask:
    """Without what is longer than half of a side: bright edges and frames."""
    labels, count = ndimage.label(bright, structure=np.ones((3, 3)))
    kept = bright.copy()
    for number, box in enumerate(ndimage.find_objects(labels, count), start=1):
        sides = [part.stop - part.start for part in box]
        if any(part > MARKER_LENGTH * whole for part, whole in zip(sides, bright.shape, strict=True)):
            kept[box] &= labels[box] != number
    return kept
