"""What influenced a score on one film, over all runs of a predictor: their maps on the film, joined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mammo_core.data.film import Film
from mammo_core.data.preprocess import PreparedFilm
from mammo_core.explain.alarms import MapAlarms, alarms, film_regions, mean_alarms
from mammo_core.explain.gradcam import CamMap, cell_pixels, explain, to_film
from mammo_core.explain.targets import find_target
from mammo_core.predict.members import Member


@dataclass(frozen=True, eq=False)
class Explanation:
    """What influenced the score for one class or question on one film, over all runs."""

    map: npt.NDArray[np.float32]
    """``(H, W)`` in [0, 1] on the film as it was read: the mean of the runs' relative maps."""
    cams: tuple[CamMap, ...]
    """One for each run, on its canvas."""
    alarms: MapAlarms
    """Mean over the runs."""
    statement: str
    cell_mm: tuple[float, float] | None
    """Height and width of one cell of the first run's map in the breast; ``None`` where the file states no spacing."""

    checks: tuple[str, ...] = ()
    """What the checks of such maps have shown, whole sentences; whoever shows or saves the map adds them."""

    @property
    def empty(self) -> bool:
        return all(cam.empty for cam in self.cams)

    @property
    def class_name(self) -> str:
        """Name of the class or question that was explained."""
        return self.cams[0].class_name


def explain_film(
    members: Sequence[Member], prepared: Mapping[tuple[int, int], PreparedFilm], film: Film, target_name: str, method: str
) -> Explanation:
    """The joint map of ``members``; one thread at a time may use the models.

    Parameters
    ----------
    prepared : canvas (height, width) -> the film on it, for the canvas of every member
    target_name : a class, or the name or key of another target, see :func:`mammo_core.explain.targets.targets_of`

    Raises
    ------
    ConfigError
        Unknown class, question or method, or an architecture without a layer to take such a map from.
    """
    first = members[0].checkpoint
    target = find_target(target_name, first.class_names, first.config.ordinal)
    regions = film_regions(film)
    cams, maps, found = [], [], []
    for member in members:
        view = prepared[member.checkpoint.config.image_size]
        cam = explain(member.model, member.checkpoint.normalisation, view.pixels, target, method)
        on_film = to_film(cam, view.geometry)
        cams.append(cam)
        maps.append(on_film)
        found.append(alarms(cam, view, on_film, regions))
    spacing = film.facts.pixel_spacing_mm
    rows, columns = cell_pixels(cams[0], prepared[first.config.image_size].geometry)
    cell_mm = (rows * spacing[0], columns * spacing[1]) if spacing else None
    return Explanation(
        map=maps[0] if len(maps) == 1 else np.mean(maps, axis=0, dtype=np.float32),
        cams=tuple(cams),
        alarms=mean_alarms(found),
        statement=_statement(
            cams, f"{cell_mm[0]:.0f} x {cell_mm[1]:.0f} mm" if cell_mm else f"{rows:.0f} x {columns:.0f} pixels"
        ),
        cell_mm=cell_mm,
    )


def _statement(cams: Sequence[CamMap], cell_size: str) -> str:
    shown = [cam for cam in cams if not cam.empty]
    if not shown:
        return cams[0].statement
    without = f"; to {len(cams) - len(shown)} of them there is no positive evidence" if len(shown) < len(cams) else ""
    joint = f" Mean of {len(cams)} runs{without}." if len(cams) > 1 else ""
    return f"{shown[0].statement} A cell covers about {cell_size} of the film.{joint}"
