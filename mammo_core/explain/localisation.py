"""Does a map point at the lesion? Five measures against a true outline, beside three maps that know nothing of the lesion.

Everything is measured on the film as it was read. A breast is small and lesions lie near its middle, so that a map that merely
lights up the breast's centre scores well: no measure means anything without those of the baselines. Beside it, an alarm for maps
that point at the marker.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mammo_core.analysis.bootstrap import Statistics, Weights, replicate
from mammo_core.analysis.estimates import estimate
from mammo_core.analysis.formulas import Floats, ratio
from mammo_core.data.breast import Breast, Mask, find_breast, reduced
from mammo_core.data.film import Film
from mammo_core.data.preprocess import Box, PreparedFilm
from mammo_core.errors import DataError
from mammo_core.explain.gradcam import CamMap, to_film
from mammo_core.runs.schema import MetricValue

Values = npt.NDArray[np.float32]

MAP = "map"
BASELINES = {
    "breast": "The whole breast, evenly",
    "centre": "Centre of the breast (a point)",
    "gaussian": "Gaussian around the centre of the breast",
}
"""Maps that need no model. The Gaussian has the breast's own spread: the SD of the rows and of the columns of its pixels."""
MEASURES = {
    "pointing": "Pointing game: the highest point lies in the lesion or within one cell of it",
    "iou_half": "IoU of the lesion and the map from half its maximum",
    "iou_matched": "IoU of the lesion and as many of the highest pixels as it has",
    "energy": "Share of the map inside the lesion",
    "auprc": "Area under the precision-recall curve of the pixels",
}

MAX_ON_MARKERS = 0.05
"""Share of a map on markers above which it is alarming: a rule of thumb, not a validated threshold."""
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


@dataclass(frozen=True)
class Localisation:
    """How well one map singles out the lesion, each in [0, 1]; a map without a positive value has 0 everywhere."""

    pointing: float
    """1 hit, 0 miss; where several pixels share the maximum, the share of them that hit."""
    iou_half: float
    iou_matched: float
    energy: float
    auprc: float


@dataclass(frozen=True)
class LocalisedFilm:
    """One film with a lesion: the measures of its map and of the baselines."""

    image_id: str
    patient_id: str
    class_name: str
    """The class whose map it is."""
    area_pixels: int
    """Of the lesion, pixels of the film."""
    area_mm2: float | None
    """``None`` where the file states no pixel spacing."""
    empty: bool
    """Whether the map shows nothing; it then counts as a miss."""
    breast_found: bool
    """Whether the baselines rest on a breast outline, or on the whole film."""
    scores: Mapping[str, Localisation]
    """``map`` and each of ``BASELINES``."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def mask_of_boxes(boxes: Sequence[Box], shape: tuple[int, int]) -> Mask:
    """The union of boxes (top, left, height, width; pixels of the film) as a mask of ``shape``.

    Raises
    ------
    DataError
        There is no box, or one is empty or leaves the film.
    """
    mask = np.zeros(shape, np.bool_)
    for top, left, height, width in boxes:
        if min(top, left) < 0 or min(height, width) < 1 or top + height > shape[0] or left + width > shape[1]:
            raise DataError(
                f"The lesion box (top {top}, left {left}, height {height}, width {width}) does not lie on a film of {shape[0]} x "
                f"{shape[1]} pixels; expected boxes inside it. Correct the boxes."
            )
        mask[top : top + height, left : left + width] = True
    return _usable(mask, shape)


def _usable(lesion: Mask, shape: tuple[int, ...]) -> Mask:
    if lesion.shape != shape:
        raise DataError(
            f"The lesion outline has {' x '.join(map(str, lesion.shape))} pixels and its film {' x '.join(map(str, shape))}; "
            "expected the same. Export the outline on the film's own pixels."
        )
    if not lesion.any():
        raise DataError("The lesion outline marks no pixel; expected at least one. Leave it out where there is no lesion.")
    return lesion


def localise(map_: Values, lesion: Mask, cell: tuple[float, float]) -> Localisation:
    """Measure one map against the lesion.

    Pixels with equal values are treated alike: where a measure needs some of them, it takes their share.

    Parameters
    ----------
    map_ : float ndarray of shape (H, W), not negative
    lesion : bool ndarray of shape (H, W)
    cell : height and width of one cell of the class activation map, pixels; the tolerance of the pointing game

    Raises
    ------
    DataError
        The lesion is empty or of another shape.

    Source
    ------
    Pointing game: Zhang et al. (2018), doi:10.1007/s11263-017-1059-x; energy: Wang et al. (2020), Score-CAM,
    doi:10.1109/CVPRW50498.2020.00020; ``auprc`` equals ``sklearn.metrics.average_precision_score`` over the pixels.
    """
    _usable(lesion, map_.shape)
    high = float(map_.max())
    if high <= 0:
        return Localisation(0.0, 0.0, 0.0, 0.0, 0.0)
    at_peak, strong = map_ == high, map_ >= np.float32(0.5 * high)
    return Localisation(
        pointing=float(_within(lesion, cell)[at_peak].mean()),
        iou_half=float((strong & lesion).sum() / (strong | lesion).sum()),
        iou_matched=_matched_iou(map_, lesion),
        energy=float(map_[lesion].sum(dtype=np.float64) / map_.sum(dtype=np.float64)),
        auprc=_average_precision(map_, lesion),
    )


def _within(lesion: Mask, cell: tuple[float, float]) -> Mask:
    """The lesion widened by one cell in each direction."""
    reach = [max(0, round(side)) for side in cell]
    lines = (np.flatnonzero(lesion.any(axis=1)), np.flatnonzero(lesion.any(axis=0)))
    window = tuple(slice(max(0, int(line[0]) - by), int(line[-1]) + by + 1) for line, by in zip(lines, reach, strict=True))
    widened = np.zeros_like(lesion)
    # Two passes of a line each: a filter over the cell's whole area would take minutes on a large film.
    part = ndimage.maximum_filter1d(lesion[window].view(np.uint8), 2 * reach[0] + 1, axis=0, mode="constant")
    widened[window] = ndimage.maximum_filter1d(part, 2 * reach[1] + 1, axis=1, mode="constant").astype(np.bool_)
    return widened


def _matched_iou(map_: Values, lesion: Mask) -> float:
    """With the highest pixels, as many as the lesion has; pixels at 0 are never among them."""
    area = int(lesion.sum())
    taken = min(area, int((map_ > 0).sum()))
    limit = np.partition(map_, map_.size - taken, axis=None)[map_.size - taken]
    above, tied = map_ > limit, map_ == limit
    shared = float((above & lesion).sum()) + (taken - float(above.sum())) * float((tied & lesion).sum()) / float(tied.sum())
    return shared / (taken + area - shared)


def _average_precision(map_: Values, lesion: Mask) -> float:
    # Precision is needed at the lesion's own values only, which are few; the rest is counted, not ranked.
    levels, counts = np.unique(map_[lesion], return_counts=True)
    called = map_.size - np.searchsorted(np.sort(map_, axis=None), levels, side="left")
    found = np.cumsum(counts[::-1])[::-1]
    return float((counts * (found / called)).sum() / counts.sum())


# ---- baselines ---------------------------------------------------------------------------------------------------------------


def breast_on_film(pixels: Values) -> tuple[Mask, bool]:
    """The breast on the film's own pixels, (H, W), and whether it was found; else the whole film stands for it."""
    breast = find_breast(pixels)
    rows, columns = (np.arange(side) // breast.factor for side in pixels.shape)
    return breast.mask[np.ix_(rows, columns)], breast.problem is None


def baseline_map(name: str, breast: Mask) -> Values:
    """One of ``BASELINES`` on a film with this breast, (H, W) in [0, 1]."""
    if name == "breast":
        return breast.astype(np.float32)
    along = [breast.sum(axis=axis, dtype=np.float64) for axis in (1, 0)]
    places = [np.arange(len(counts), dtype=np.float64) for counts in along]
    centre = [float(np.average(place, weights=counts)) for place, counts in zip(places, along, strict=True)]
    if name == "centre":
        point = np.zeros(breast.shape, np.float32)
        point[round(centre[0]), round(centre[1])] = 1
        return point
    falls = []
    for place, counts, middle in zip(places, along, centre, strict=True):
        spread = max(1.0, math.sqrt(float(np.average((place - middle) ** 2, weights=counts))))
        falls.append(np.exp(-(((place - middle) / spread) ** 2) / 2).astype(np.float32))
    return np.outer(falls[0], falls[1])


def localise_all(map_: Values, lesion: Mask, breast: Mask, cell: tuple[float, float]) -> dict[str, Localisation]:
    """The measures of a map and of each baseline on the same film; raises as :func:`localise`."""
    found = {MAP: localise(map_, lesion, cell)}
    return found | {name: localise(baseline_map(name, breast), lesion, cell) for name in BASELINES}


# ---- over films --------------------------------------------------------------------------------------------------------------


def mean_estimates(
    patients: Sequence[str], columns: Mapping[str, Floats], how: str = "mean over films"
) -> dict[str, MetricValue]:
    """Means of columns (one value a film, NaN left out) with 95 % intervals from resampled patients.

    Columns that are differences of two others give a paired comparison.
    """
    statistics = _means_of({name: np.asarray(values, dtype=np.float64) for name, values in columns.items()})
    how, undefined = "mean over films", "undefined: no film has a value"
    return {name: estimate(values, how=how, undefined=undefined) for name, values in replicate(patients, statistics).items()}


def _means_of(columns: Mapping[str, Floats]) -> Statistics:
    def statistics(weights: Weights) -> dict[str, Floats]:
        found = {}
        for name, values in columns.items():
            known = ~np.isnan(values)
            found[name] = ratio(weights.total(np.where(known, values, 0.0)), weights.total(known.astype(np.float64)))
        return found

    return statistics


# ---- markers -----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MarkerAlarm:
    """How much of a map lies on markers and text beside the breast."""

    share: float | None
    """Of the map on the film, in [0, 1]; ``None`` where the breast was not found or the map shows nothing on the film."""
    regions: int
    """Markers and lines of text found."""

    @property
    def sentences(self) -> tuple[str, ...]:
        """Whole sentences for the user; empty where nothing is alarming."""
        if self.share is None or self.share <= MAX_ON_MARKERS:
            return ()
        return (
            f"{self.share:.0%} of the map lies on a marker or text outside the breast, where at most {MAX_ON_MARKERS:.0%} is "
            "expected: the score may rest on the label.",
        )


def marker_alarm(cam: CamMap, prepared: PreparedFilm, film: Film) -> MarkerAlarm:
    """How much of a map lies on what is written on the film.

    Parameters
    ----------
    cam : the map on ``prepared``
    prepared, film : the model's input and the film that it was made from
    """
    breast = find_breast(film.pixels)
    if breast.problem is not None:
        return MarkerAlarm(None, 0)
    markers, regions = marker_regions(film.pixels, breast)
    on_film, _ = reduced(to_film(cam, prepared.geometry))
    total = float(on_film.sum(dtype=np.float64))
    return MarkerAlarm(float(on_film[markers].sum(dtype=np.float64)) / total if total > 0 else None, regions)


def marker_regions(pixels: Values, breast: Breast) -> tuple[Mask, int]:
    """Bright, small things apart from the breast: view markers, plates, lines of text.

    Parameters
    ----------
    pixels : (H, W) float32 in [0, 1], dark background
    breast : of this film, found

    Returns
    -------
    Mask on the reduced copy, shape of ``breast.mask``, and how many regions it holds.
    """
    small, _ = reduced(pixels)
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
