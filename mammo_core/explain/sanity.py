"""Do the maps depend on what the model has learnt? Randomise its weights from the head down, and compare; compare across seeds.

A map that stays the same when the weights are replaced by noise shows the film and not the model.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from scipy.stats import spearmanr
from skimage.metrics import structural_similarity
from torch import nn

from mammo_core.errors import DataError
from mammo_core.explain.gradcam import explain
from mammo_core.explain.localisation import mean_estimates
from mammo_core.explain.randomise import cascade
from mammo_core.runs.schema import MetricValue
from mammo_core.training.models import Normalisation, normalise, to_float

Grid = npt.NDArray[np.float32]
Tick = Callable[[], None]

PIXELS_A_CELL = 8
"""Maps are compared at this many pixels a cell: the 11-pixel window of SSIM then covers more than a cell, at any canvas."""
PARTNERS = 10
"""Each film's map is compared with those of this many other films."""
LEAST_FILMS = 20
"""Below it no verdict is given."""
STATISTICS_FILMS = 16
"""Films on which batch normalisation is measured again."""


@dataclass(frozen=True, eq=False)
class StudiedFilm:
    """A prepared film and the class whose map is studied."""

    image_id: str
    patient_id: str
    pixels: npt.NDArray[np.uint8]
    """(h, w), ``PreparedFilm.pixels``."""
    class_index: int
    class_name: str


@dataclass(frozen=True)
class Verdict:
    """Whether a test was passed, and why; ``passed`` is ``None`` where it could not be decided."""

    passed: bool | None
    words: str

    def to_json(self) -> dict[str, Any]:
        return {"passed": self.passed, "words": self.words}


# ---- comparing maps ----------------------------------------------------------------------------------------------------------


def ssim(one: Grid, other: Grid) -> float:
    """Structural similarity of two maps, -1 to 1.

    Parameters
    ----------
    one, other : float32 ndarrays of one shape (rows, columns), in [0, 1]: ``CamMap.grid``, which holds no negative values

    Source
    ------
    Wang et al. (2004), doi:10.1109/TIP.2003.819861, with its Gaussian window; ``skimage.metrics.structural_similarity`` of the
    maps at ``PIXELS_A_CELL`` pixels a cell.
    """
    first, second = _enlarged(one), _enlarged(other)
    return float(
        structural_similarity(  # type: ignore[no-untyped-call]
            first, second, data_range=1.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
    )


def _enlarged(grid: Grid) -> npt.NDArray[np.float64]:
    """Bilinear with the cell centres kept in place. At least two cells a side, so that the window fits."""
    rows, columns = (max(2, side) * PIXELS_A_CELL for side in grid.shape)
    picture = Image.fromarray(np.ascontiguousarray(grid, np.float32)).resize((columns, rows), Image.Resampling.BILINEAR)
    return np.asarray(picture, dtype=np.float64)


def rank_correlation(one: Grid, other: Grid) -> float:
    """Spearman's correlation over the cells, -1 to 1; NaN where one map is the same everywhere."""
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return float("nan")
    return float(spearmanr(one.ravel(), other.ravel()).statistic)


def maps_of(
    model: nn.Module, normalisation: Normalisation, films: Sequence[StudiedFilm], method: str, tick: Tick | None = None
) -> list[Grid | None]:
    """The map of each film on its own grid; ``None`` where it is empty or the model's numbers are not finite."""
    grids: list[Grid | None] = []
    for film in films:
        try:
            cam = explain(model, normalisation, film.pixels, film.class_index, method, film.class_name)
            grids.append(None if cam.empty else cam.grid)
        except DataError:
            grids.append(None)
        if tick is not None:
            tick()
    return grids


def _to_other_films(one: Sequence[Grid], other: Sequence[Grid]) -> npt.NDArray[np.float64]:
    """For each map of ``one`` the mean SSIM with the maps of the next ``PARTNERS`` films in ``other``, shape (films,)."""
    n, partners = len(one), range(1, min(PARTNERS, len(one) - 1) + 1)
    return np.array([np.mean([ssim(one[i], other[(i + step) % n]) for step in partners]) for i in range(n)])


# ---- randomisation -----------------------------------------------------------------------------------------------------------


def randomisation_test(
    model: nn.Module,
    normalisation: Normalisation,
    films: Sequence[StudiedFilm],
    method: str = "gradcam",
    seed: int = 0,
    tick: Tick | None = None,
) -> dict[str, Any]:
    """Compare the maps with those of ever more randomised copies of the model.

    Passed when the mean SSIM of a film's map before and after the randomisation of all weights is below the mean SSIM between
    the maps of different films, and the interval of the difference does not reach 0. Films whose map is empty from the start are
    left out; maps that become empty are compared as maps of zeros (SSIM) or left out (Spearman), and counted.

    Returns
    -------
    dict
        ``n, patients, left_out, stages`` (list of ``stage, ssim, spearman, empty``), ``different_films`` (SSIM), ``difference``
        (different films minus fully randomised; positive is good), ``passed, words``. Metrics as ``value, ci_low, ci_high,
        method``.

    Raises
    ------
    DataError
        Fewer than two films have a map.

    Source
    ------
    Adebayo et al. (2018), arXiv:1810.03292; the criterion: Arun et al. (2021), doi:10.1148/ryai.2021200267.
    """
    before = maps_of(model, normalisation, films, method, tick)
    kept = [(film, grid) for film, grid in zip(films, before, strict=True) if grid is not None]
    if len(kept) < 2:
        raise DataError(
            f"{len(kept)} of {len(films)} films have a map that shows anything; expected at least two to compare. Choose another "
            "method or run."
        )
    studied, originals = [film for film, _ in kept], [grid for _, grid in kept]
    batch = _batch_of(studied[:STATISTICS_FILMS], normalisation, next(model.parameters()).device)
    rows, last, empty = [], np.zeros(len(kept)), 0
    patients = [film.patient_id for film in studied]
    for stage, changed in cascade(model, seed, batch):
        after = maps_of(changed, normalisation, studied, method, tick)
        grids = [np.zeros_like(one) if other is None else other for one, other in zip(originals, after, strict=True)]
        last = np.array([ssim(one, other) for one, other in zip(originals, grids, strict=True)])
        ranks = np.array([rank_correlation(one, other) for one, other in zip(originals, grids, strict=True)])
        empty = sum(grid is None for grid in after)
        rows.append({"stage": stage, **_dumped(mean_estimates(patients, {"ssim": last, "spearman": ranks})), "empty": empty})
    others = _to_other_films(originals, originals)
    ends = mean_estimates(patients, {"different_films": others, "difference": others - last, "randomised": last})
    verdict = _randomisation_verdict(len(kept), ends, empty)
    return {
        "n": len(kept),
        "patients": len(set(patients)),
        "left_out": len(films) - len(kept),
        "stages": rows,
        "different_films": ends["different_films"].model_dump(),
        "difference": ends["difference"].model_dump(),
        **verdict.to_json(),
    }


def _batch_of(films: Sequence[StudiedFilm], normalisation: Normalisation, device: torch.device) -> torch.Tensor:
    return normalise(to_float(torch.from_numpy(np.stack([film.pixels for film in films])[:, None]), device), normalisation)


def _dumped(metrics: Mapping[str, MetricValue]) -> dict[str, Any]:
    return {name: metric.model_dump() for name, metric in metrics.items()}


def _why(difference: MetricValue) -> str:
    if difference.ci_low is not None:
        return ", since its interval reaches 0"
    return f" ({difference.method.rpartition('; ')[2]})"


def _could_be_chance(difference: MetricValue) -> bool:
    return difference.ci_low is None or difference.ci_low <= 0


def _randomisation_verdict(n: int, ends: Mapping[str, MetricValue], empty: int) -> Verdict:
    randomised, different = ends["randomised"].value or 0.0, ends["different_films"].value or 0.0
    found = (
        f"With all weights randomised the maps of the same film have a mean SSIM of {randomised:.2f}; maps of different films "
        f"have {different:.2f} (n = {n})."
    )
    if n < LEAST_FILMS:
        return Verdict(None, f"Not decided: {n} films with a map, where at least {LEAST_FILMS} are needed. {found}")
    if 2 * empty >= n:
        return Verdict(None, f"Not decided: {empty} of {n} maps are empty after the randomisation. {found}")
    if randomised >= different:
        return Verdict(False, f"Failed: the maps depend on the film more than on what the model has learnt. {found}")
    if _could_be_chance(ends["difference"]):
        return Verdict(None, f"Not decided: the difference could be chance{_why(ends['difference'])}. {found}")
    return Verdict(True, f"Passed: without the learnt weights the maps are lost. {found}")


# ---- repeatability -----------------------------------------------------------------------------------------------------------


def repeatability(maps: Mapping[str, Sequence[Grid | None]], films: Sequence[StudiedFilm]) -> dict[str, Any]:
    """Do runs that differ by their seed alone give a film the same map?

    Passed when the mean SSIM of two runs' maps of one film is above that of their maps of different films, and the interval of
    the difference does not reach 0. Films that have no map in one of the runs are left out.

    Parameters
    ----------
    maps : the maps of the films, in their order, by run (two or more), for the same class of each film

    Returns
    -------
    dict
        ``runs, n, patients, left_out, ssim, spearman, different_films, difference`` (same minus different), ``passed, words``.

    Raises
    ------
    DataError
        Fewer than two runs, or fewer than two films with a map of equal size in each of them.
    """
    runs = list(maps)
    kept, shown = _shared(maps, films)
    if len(runs) < 2 or len(kept) < 2:
        raise DataError(
            f"{len(kept)} films have a map in each of {len(runs)} runs; expected at least two films and two runs of one model at "
            "different seeds. Train the model with another seed, or choose another method."
        )
    pairs = list(itertools.combinations(runs, 2))
    same = np.mean([[ssim(a, b) for a, b in zip(shown[one], shown[two], strict=True)] for one, two in pairs], axis=0)
    ranks = np.array(
        [[rank_correlation(a, b) for a, b in zip(shown[one], shown[two], strict=True)] for one, two in pairs], dtype=np.float64
    )
    others = np.mean([_to_other_films(shown[one], shown[two]) for one, two in pairs], axis=0)
    patients = [film.patient_id for film in kept]
    columns = {"ssim": same, "spearman": ranks.mean(axis=0), "different_films": others, "difference": same - others}
    found = mean_estimates(patients, columns)
    verdict = _repeatability_verdict(len(kept), len(runs), found)
    return {
        "runs": runs,
        "n": len(kept),
        "patients": len(set(patients)),
        "left_out": len(films) - len(kept),
        **_dumped(found),
        **verdict.to_json(),
    }


def _shared(
    maps: Mapping[str, Sequence[Grid | None]], films: Sequence[StudiedFilm]
) -> tuple[list[StudiedFilm], dict[str, list[Grid]]]:
    """The films that have a map of one size in every run, and these maps."""
    kept: list[StudiedFilm] = []
    shown: dict[str, list[Grid]] = {run: [] for run in maps}
    for film, grids in zip(films, zip(*maps.values(), strict=True), strict=True):
        present = [grid for grid in grids if grid is not None]
        if len(present) == len(maps) and len({grid.shape for grid in present}) == 1:
            kept.append(film)
            for run, grid in zip(maps, present, strict=True):
                shown[run].append(grid)
    return kept, shown


def _repeatability_verdict(n: int, runs: int, found: Mapping[str, MetricValue]) -> Verdict:
    same, different = found["ssim"].value or 0.0, found["different_films"].value or 0.0
    told = (
        f"Maps of one film by {runs} runs have a mean SSIM of {same:.2f}; their maps of different films have {different:.2f} "
        f"(n = {n})."
    )
    if n < LEAST_FILMS:
        return Verdict(None, f"Not decided: {n} films with a map in each run, where at least {LEAST_FILMS} are needed. {told}")
    if same <= different:
        return Verdict(False, f"Failed: another seed gives another map. {told}")
    if _could_be_chance(found["difference"]):
        return Verdict(None, f"Not decided: the difference could be chance{_why(found['difference'])}. {told}")
    return Verdict(True, f"Passed: runs that differ by their seed alone agree on the map. {told}")
