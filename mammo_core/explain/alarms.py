"""Signs that a score rests on something other than tissue: how much of a map lies where no evidence can be.

Outside the breast, at the film's border, on markers and text, and in oblique views on the pectoral muscle. The limits are rules
of thumb, not validated thresholds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from mammo_core.data.breast import Breast, Mask
from mammo_core.data.film import Film
from mammo_core.data.preprocess import PreparedFilm
from mammo_core.explain.gradcam import CamMap
from mammo_core.explain.markers import marker_regions
from mammo_core.explain.pectoral import pectoral_region

Values = npt.NDArray[np.float32]

MAX_OUTSIDE_BREAST = 0.20
BORDER_SHARE = 0.05
"""Width of the border, as a share of the side."""
MAX_BORDER_RATIO = 1.5
"""Of the map's share on the border and the border's share of the film's area: at most 1 for an even map."""
MAX_ON_MARKERS = 0.05
MAX_PECTORAL_RATIO = 2.0
"""Of the map's share on the muscle and the muscle's share of the breast: 1 is what an even map has."""
LEAST_ON_PECTORAL = 0.10
"""Below this share of the map, one coarse cell across the muscle's edge is enough to double it."""


@dataclass(frozen=True, eq=False)
class FilmRegions:
    """Where on a film evidence cannot be; the same for every map of the film. Masks on the reduced copy."""

    breast: Breast
    markers: Mask | None
    """``None`` where the breast was not found: a marker is what lies apart from it."""
    marker_count: int
    pectoral: Mask | None
    """``None`` where the view is not MLO, or no edge of a muscle convinces."""


def film_regions(film: Film) -> FilmRegions:
    """Breast, markers and muscle of a film, on its reduced copy."""
    small, breast = film.small, film.breast
    if breast.problem is not None:
        return FilmRegions(breast, None, 0, None)
    markers, count = marker_regions(small, breast)
    return FilmRegions(breast, markers, count, pectoral_region(small, breast, film.facts.view))


@dataclass(frozen=True)
class MapAlarms:
    """Shares of the map's sum, in [0, 1]. ``None`` where the map is empty, or for the reason stated."""

    outside_breast: float | None
    """In cells that hold no part of the breast: what a coarse cell beside the skin spreads outside it does not count.
    ``None`` where the breast was not found."""
    on_border: float | None
    """In the outer 5 % of the part of the canvas that holds film."""
    on_markers: float | None = None
    """On markers and text beside the breast. ``None`` where the breast was not found."""
    on_pectoral: float | None = None
    """On the pectoral muscle. ``None`` where the view is not MLO, or no edge of a muscle convinces."""
    pectoral_area: float | None = None
    """The muscle's share of the breast; ``None`` likewise."""
    border_area: float | None = None
    """The border's share of the film's area; ``None`` where the map is empty."""

    @property
    def sentences(self) -> tuple[str, ...]:
        """Whole sentences for the user; empty where nothing is alarming."""
        found = [
            f"{_more_than(share, limit)} of the map {where}, where at most {limit:.0%} is expected: the score may rest on "
            "something other than tissue."
            for share, limit, where in (
                (self.outside_breast, MAX_OUTSIDE_BREAST, "lies outside the breast"),
                (self.on_markers, MAX_ON_MARKERS, "lies on a marker or text outside the breast"),
            )
            if share is not None and share > limit
        ]
        if self._is_on_border:
            found.append(
                f"{self.on_border:.0%} of the map lies in the outer {BORDER_SHARE:.0%} of each side of the film, which makes up "
                f"{self.border_area:.0%} of its area: the score may rest on something other than tissue."
            )
        if self._is_on_pectoral:
            found.append(
                f"{self.on_pectoral:.0%} of the map lies on the pectoral muscle, which makes up {self.pectoral_area:.0%} of the "
                "breast: the score may rest on the muscle and not on the breast's tissue."
            )
        return tuple(found)

    @property
    def _is_on_border(self) -> bool:
        share, area = self.on_border, self.border_area
        return share is not None and area is not None and share > MAX_BORDER_RATIO * area

    @property
    def _is_on_pectoral(self) -> bool:
        share, area = self.on_pectoral, self.pectoral_area
        return share is not None and area is not None and share > max(LEAST_ON_PECTORAL, MAX_PECTORAL_RATIO * area)

    @property
    def checked(self) -> str:
        """What was looked at and what could not be, in one or two sentences; empty for an empty map."""
        named = {
            "outside the breast": self.outside_breast,
            "at the film's border": self.on_border,
            "on markers and text": self.on_markers,
            "on the pectoral muscle": self.on_pectoral,
        }
        known = [f"{where} {share:.0%}" for where, share in named.items() if share is not None]
        if not known:
            return ""
        # The muscle is shown in some views only, so that nothing is missing where it was not looked for.
        missing = [where for where, share in named.items() if share is None and where != "on the pectoral muscle"]
        told = f" Not checked {' or '.join(missing)}: the breast was not found." if missing else ""
        return f"Shares of the map: {', '.join(known)}.{told}"


def _more_than(share: float, limit: float) -> str:
    """The share in whole percent, which must not read like the limit that it exceeds."""
    return f"{share:.0%}" if round(share, 2) > limit else f"A little more than {limit:.0%}"


def alarms(cam: CamMap, prepared: PreparedFilm, on_film: Values, regions: FilmRegions) -> MapAlarms:
    """How much of a map lies where no evidence can be.

    Parameters
    ----------
    cam : the map on ``prepared``, the model's input
    on_film : float32 ndarray of shape (H, W), the same map on the film
    regions : of that film
    """
    total = float(cam.values.sum(dtype=np.float64))
    if total == 0:
        return MapAlarms(None, None)
    small = _sampled(on_film, regions.breast)
    pectoral, border = regions.pectoral, _border(prepared)
    return MapAlarms(
        outside_breast=_outside_breast(cam, prepared),
        on_border=float(cam.values[border].sum(dtype=np.float64)) / total,
        on_markers=None if regions.markers is None else _share(small, regions.markers),
        on_pectoral=None if pectoral is None else _share(small, pectoral),
        pectoral_area=None if pectoral is None else float(pectoral.sum() / regions.breast.mask.sum()),
        border_area=float(border.sum() / _film_on_canvas(prepared).sum()),
    )


def mean_alarms(found: Sequence[MapAlarms]) -> MapAlarms:
    """The mean of each share over the maps of several runs that know it."""
    means: dict[str, float | None] = {}
    for field in fields(MapAlarms):
        known = [value for one in found if (value := getattr(one, field.name)) is not None]
        means[field.name] = float(np.mean(known)) if known else None
    return MapAlarms(**means)


def _outside_breast(cam: CamMap, prepared: PreparedFilm) -> float | None:
    if np.array_equal(prepared.breast_mask, _film_on_canvas(prepared)):
        return None  # no breast was found
    outside = cam.grid[~_holds_any(prepared.breast_mask, cam.cells)]
    return float(outside.sum(dtype=np.float64) / cam.grid.sum(dtype=np.float64))


def _film_on_canvas(prepared: PreparedFilm) -> Mask:
    top, left, height, width = prepared.geometry.placed
    film = np.zeros(prepared.geometry.canvas, np.bool_)
    film[top : top + height, left : left + width] = True
    return film


def _border(prepared: PreparedFilm) -> Mask:
    top, left, height, width = prepared.geometry.placed
    rows, columns = max(1, round(BORDER_SHARE * height)), max(1, round(BORDER_SHARE * width))
    border = _film_on_canvas(prepared)
    border[top + rows : top + height - rows, left + columns : left + width - columns] = False
    return border


def _holds_any(mask: Mask, cells: tuple[int, int]) -> Mask:
    """Which cells of a grid over ``mask`` hold a true pixel, ``cells`` bool."""
    rows, columns = (np.arange(side) * count // side for side, count in zip(mask.shape, cells, strict=True))
    found = np.zeros(cells, np.bool_)
    true_rows, true_columns = np.nonzero(mask)
    found[rows[true_rows], columns[true_columns]] = True
    return found


def _sampled(on_film: Values, breast: Breast) -> Values:
    """The map in the middle of each cell of the reduced film; it is smooth, so that no average is needed."""
    places = (
        np.minimum(np.arange(count) * breast.factor + breast.factor // 2, side - 1)
        for count, side in zip(breast.mask.shape, on_film.shape, strict=True)
    )
    return on_film[np.ix_(*places)]


def _share(small: Values, region: Mask) -> float | None:
    total = float(small.sum(dtype=np.float64))
    return float(small[region].sum(dtype=np.float64)) / total if total > 0 else None
