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
from mammo_core.data.breast import Mask
from mammo_core.data.film import Film
from mammo_core.data.preprocess import Box
from mammo_core.errors import DataError
from mammo_core.runs.schema import MetricValue

Values = npt.NDArray[np.float32]

LEAST_PATIENTS = 10
"""Below it there is no interval: three patients can be drawn in ten ways only."""
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


def breast_on_film(film: Film) -> tuple[Mask, bool]:
    """The breast on the film's own pixels, (H, W), and whether it was found; else the whole film stands for it."""
    breast = film.breast
    rows, columns = (np.arange(side) // breast.factor for side in film.pixels.shape)
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

    A mean to which fewer than ``LEAST_PATIENTS`` patients contribute comes without an interval; ``method`` says so. Columns that
    are differences of two others give a paired comparison.
    """
    arrays = {name: np.asarray(values, dtype=np.float64) for name, values in columns.items()}
    found: dict[str, MetricValue] = {}
    for name, values in replicate(patients, _means_of(arrays)).items():
        known = len({patient for patient, value in zip(patients, arrays[name], strict=True) if not np.isnan(value)})
        few = known < LEAST_PATIENTS
        told = f"{how}; no interval: {known} patients, where at least {LEAST_PATIENTS} are needed" if few else how
        found[name] = estimate(values[:1] if few else values, how=told, undefined="undefined: no film has a value")
    return found


def _means_of(columns: Mapping[str, Floats]) -> Statistics:
    def statistics(weights: Weights) -> dict[str, Floats]:
        found = {}
        for name, values in columns.items():
            known = ~np.isnan(values)
            found[name] = ratio(weights.total(np.where(known, values, 0.0)), weights.total(known.astype(np.float64)))
        return found

    return statistics
