"""Do the maps rank the pixels by what they matter to the model? Remove pixels in the map's order, and see how the score falls.

ROAD (remove and debias) fills removed pixels with their neighbours' values, so that the holes do not give the class away.
``pytorch_grad_cam.metrics.road.ROADCombined`` is the definition followed here. It is not called, for four reasons. Where a map
has tied values (the zeros of a Grad-CAM map) its percentiles remove every pixel. Its direct sparse solver works on the CPU
alone, a percentile at a time, and takes a minute a map at 512 pixels. It draws its noise from torch's global generator. It runs
the whole film anew for each percentile. On a map without ties both agree.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from pytorch_grad_cam.utils.model_targets import ClassifierOutputSoftmaxTarget
from scipy import ndimage
from torch import nn

from mammo_core.errors import DataError
from mammo_core.explain.gradcam import explain
from mammo_core.explain.localisation import MAP, mean_estimates
from mammo_core.explain.sanity import StudiedFilm, Verdict
from mammo_core.runs.schema import MetricValue
from mammo_core.training.models import Normalisation, normalise, to_float

Values = npt.NDArray[np.float32]
Ranks = npt.NDArray[np.float64]

PERCENTILES = (10, 20, 30, 40, 50, 60, 70, 80, 90)
BASELINES = {
    "random": "Random cells",
    "edges": "Strength of the film's edges",
    "brightness": "Brightness of the film",
}
"""Maps that need no model, all at the resolution of the model's map."""
NOISE = 0.01
"""SD of the noise on filled pixels, in units of the model's input; ROAD's own."""
LEAST_FILMS = 50
FORWARD_PIXELS = 1_600_000
"""Of the films in one forward pass: six at 512 x 512 pixels."""
CYCLES = 3
"""Each leaves about a third of the error."""
STEPS = (0.7, 1.4)
"""Of the smoother; two of different length damp more of the fine errors than two of one."""
COARSEST_SIDE = 8
COARSEST_STEPS = tuple(1 / (0.695 - 0.645 * math.cos(math.pi * (number + 0.5) / 8)) for number in range(8))
"""Chebyshev's, which damp everything from 0.05 to 1.34; the operator's largest eigenvalue is 4/3."""
ALL_FOUR = 0.999


# ---- filling removed pixels --------------------------------------------------------------------------------------------------


def fill(film: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
    """Each removed pixel becomes the weighted mean of its neighbours, all of them at once.

    Solved by multigrid, to about 0.003 of the exact solution (the noise that ROAD adds is larger); the direct sparse solver of
    the library takes sixteen times as long at 256 pixels.

    Parameters
    ----------
    film : float32 Tensor of shape (h, w), in [0, 1]
    kept : bool Tensor of shape (B, h, w); at least one true in each

    Returns
    -------
    float32 Tensor of shape (B, h, w)

    Source
    ------
    Rong et al. (2022), arXiv:2202.00449, noisy linear imputation without the noise; multigrid: Briggs, Henson and McCormick,
    A Multigrid Tutorial (2000), doi:10.1137/1.9780898719505.
    """
    return _fill(film.expand(kept.shape)[:, None], kept[:, None].to(film.dtype))[:, 0]


def _fill(values: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
    """``values`` and ``kept`` (1 or 0) are (B, 1, h, w). The first guess is the solution on a film of half the size."""
    guess = values * kept
    if min(values.shape[-2:]) > COARSEST_SIDE:
        share = _halved(kept)
        coarse = _fill(_halved(guess) / share.clamp_min(1e-6), (share > 0).to(kept.dtype))
        guess = torch.where(kept > 0, values, _doubled(coarse, values.shape))
    for _ in range(CYCLES):
        guess = _cycle(guess, torch.zeros_like(guess), 1 - kept)
    return guess


def _cycle(values: torch.Tensor, wanted: torch.Tensor, free: torch.Tensor) -> torch.Tensor:
    """One V-cycle towards ``values - mean of neighbours = wanted`` on the free pixels."""
    whole = _neighbours(torch.ones_like(values[:1]))  # less than 1 along the border
    if min(values.shape[-2:]) <= COARSEST_SIDE:
        return _smoothed(values, wanted, free, whole, COARSEST_STEPS)
    values = _smoothed(values, wanted, free, whole, STEPS)
    coarse_free = (_halved(free) > ALL_FOUR).to(free.dtype)
    # The same stencil on pixels of twice the side stands for four times as much curvature.
    coarse_wanted = 4 * _halved(_misfit(values, wanted, free, whole)) * coarse_free
    correction = _cycle(torch.zeros_like(coarse_free), coarse_wanted, coarse_free)
    return _smoothed(values + _doubled(correction, values.shape) * free, wanted, free, whole, STEPS)


def _smoothed(
    values: torch.Tensor, wanted: torch.Tensor, free: torch.Tensor, whole: torch.Tensor, steps: Sequence[float]
) -> torch.Tensor:
    for step in steps:
        values = values + step * _misfit(values, wanted, free, whole)
    return values


def _misfit(values: torch.Tensor, wanted: torch.Tensor, free: torch.Tensor, whole: torch.Tensor) -> torch.Tensor:
    return (wanted - whole * values + _neighbours(values)) * free


def _neighbours(values: torch.Tensor) -> torch.Tensor:
    """ROAD's weighted sum of the eight neighbours, 1/6 beside and 1/12 across, 0 beyond the border: (1 2 1) along both axes
    without the middle."""
    down = 2 * values
    down[..., 1:, :] += values[..., :-1, :]
    down[..., :-1, :] += values[..., 1:, :]
    both = 2 * down
    both[..., 1:] += down[..., :-1]
    both[..., :-1] += down[..., 1:]
    return (both - 4 * values) / 12


def _halved(values: torch.Tensor) -> torch.Tensor:
    return nn.functional.avg_pool2d(values, 2, ceil_mode=True, count_include_pad=False)


def _doubled(values: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    doubled = nn.functional.interpolate(values, scale_factor=2, mode="bilinear", align_corners=False)
    return doubled[..., : shape[-2], : shape[-1]]


# ---- maps as orders of pixels ------------------------------------------------------------------------------------------------


def pixel_order(map_: Values, ties: Values) -> Ranks:
    """The rank of each pixel, 0 for the least relevant, (h, w); equal values are ordered by ``ties``.

    Without that order a percentile of a map whose half is 0 would remove everything or nothing.
    """
    order = np.lexsort((ties.ravel(), map_.ravel()))
    ranks = np.empty(map_.size, dtype=np.float64)
    ranks[order] = np.arange(map_.size)
    return ranks.reshape(map_.shape)


def baseline_maps(pixels: npt.NDArray[np.uint8], cells: tuple[int, int], seed: int) -> dict[str, Values]:
    """The maps of ``BASELINES`` for a prepared film, (h, w) each, averaged over as many cells as the model's map has."""
    values = pixels.astype(np.float32) / 255
    edges = np.hypot(ndimage.sobel(values, axis=0), ndimage.sobel(values, axis=1))
    noise = np.random.default_rng(seed).random(cells, dtype=np.float32)
    return {
        "random": _resized(noise, values.shape),
        "edges": _resized(_resized(edges, cells), values.shape),
        "brightness": _resized(_resized(values, cells), values.shape),
    }


def _resized(values: npt.NDArray[Any], shape: tuple[int, ...]) -> Values:
    """Averages areas where it shrinks, bilinear where it enlarges."""
    method = Image.Resampling.BOX if shape[0] < values.shape[0] else Image.Resampling.BILINEAR
    picture = Image.fromarray(np.ascontiguousarray(values, np.float32))
    return np.asarray(picture.resize((shape[1], shape[0]), method), dtype=np.float32)


# ---- ROAD --------------------------------------------------------------------------------------------------------------------


def road(model: nn.Module, normalisation: Normalisation, film: StudiedFilm, ranks: Ranks, seed: int = 0) -> float:
    """ROADCombined of one order of pixels: (score after removing the least relevant - after removing the most relevant) / 2.

    Mean over ``PERCENTILES``; the score is the probability of the film's class. From -0.5 to 0.5; 0 is chance.

    Parameters
    ----------
    ranks : (h, w), without ties, see :func:`pixel_order`
    seed : of the noise; the same for all maps of one film, so that they differ by their order alone
    """
    device = next(model.parameters()).device
    keeps = [order < np.percentile(order, percentile) for order in (ranks.max() - ranks, ranks) for percentile in PERCENTILES]
    kept = torch.from_numpy(np.stack(keeps)).to(device)
    grey = to_float(torch.from_numpy(np.ascontiguousarray(film.pixels)), device)
    noise = torch.randn((1, 3, *film.pixels.shape), generator=torch.Generator().manual_seed(seed)).to(device) * NOISE
    target = ClassifierOutputSoftmaxTarget(film.class_index)
    scores: list[float] = []
    with torch.inference_mode():
        for part in torch.split(kept, max(1, FORWARD_PIXELS // film.pixels.size)):
            batch = normalise(fill(grey, part)[:, None], normalisation)
            scores += [float(target(logits)) for logits in model(batch + noise * ~part[:, None])]
    least, most = np.split(np.array(scores), 2)
    return float(least.mean() - most.mean()) / 2


def faithfulness_test(
    model: nn.Module,
    normalisation: Normalisation,
    films: Sequence[StudiedFilm],
    method: str = "gradcam",
    seed: int = 0,
    tick: Callable[[], None] | None = None,
) -> dict[str, Any]:
    """ROAD of the maps and of maps that need no model, on the same films.

    Passed when the mean gain over each of the baselines has an interval above 0, failed when one of the gains is not positive;
    else it could be chance, and nothing is decided. An empty map ranks nothing; it is ordered as
    the random map and counted. The model is left as it is, but for being in eval mode.

    Returns
    -------
    dict
        ``n, patients, empty, scores {map|baseline: metric}, gains {baseline: metric}`` (map minus baseline), ``films`` (one dict
        each: ``image_id`` and the score of each map), ``passed, words``.

    Raises
    ------
    DataError
        There is no film, or a map is not finite.
    """
    if not films:
        raise DataError("There is no film to test the maps on; expected at least one. Choose a part that has predictions.")
    model.eval()
    rows: list[dict[str, Any]] = []
    empty = 0
    for number, film in enumerate(films):
        cam = explain(model, normalisation, film.pixels, film.class_index, method, film.class_name)
        empty += cam.empty
        own_seed = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
        others = baseline_maps(film.pixels, cam.cells, own_seed)
        orders = {name: pixel_order(map_, others["random"]) for name, map_ in {MAP: cam.values, **others}.items()}
        scores = {name: road(model, normalisation, film, ranks, own_seed) for name, ranks in orders.items()}
        rows.append({"image_id": film.image_id, **scores})
        if tick is not None:
            tick()
    patients = [film.patient_id for film in films]
    return _summary(rows, patients, empty)


def _summary(rows: list[dict[str, Any]], patients: Sequence[str], empty: int) -> dict[str, Any]:
    columns = {name: np.array([row[name] for row in rows], dtype=np.float64) for name in (MAP, *BASELINES)}
    scores = mean_estimates(patients, columns)
    gains = mean_estimates(patients, {name: columns[MAP] - columns[name] for name in BASELINES})
    return {
        "n": len(rows),
        "patients": len(set(patients)),
        "empty": empty,
        "scores": {name: metric.model_dump() for name, metric in scores.items()},
        "gains": {name: metric.model_dump() for name, metric in gains.items()},
        "films": rows,
        **_verdict(len(rows), scores, gains, empty).to_json(),
    }


def _verdict(n: int, scores: Mapping[str, MetricValue], gains: Mapping[str, MetricValue], empty: int) -> Verdict:
    told = ", ".join(f"{BASELINES[name].lower()} {scores[name].value:.3f}" for name in BASELINES)
    found = f"ROAD of the maps is {scores[MAP].value:.3f} (0 is chance), of maps that need no model: {told} (n = {n})."
    found += f" {empty} maps are empty and rank nothing." if empty else ""
    not_better = [BASELINES[name].lower() for name, gain in gains.items() if gain.value is None or gain.value <= 0]
    unsure = [name for name, gain in gains.items() if gain.ci_low is None or gain.ci_low <= 0]
    if n < LEAST_FILMS:
        return Verdict(None, f"Not decided: {n} films, where at least {LEAST_FILMS} are needed. {found}")
    if not_better:
        return Verdict(False, f"Failed: the maps rank pixels no better than {' and '.join(not_better)}. {found}")
    if unsure:
        return Verdict(None, f"Not decided: {_why_unsure(gains, unsure)}. {found}")
    return Verdict(True, f"Passed: the maps rank pixels by what they matter to the model. {found}")


def _why_unsure(gains: Mapping[str, MetricValue], unsure: Sequence[str]) -> str:
    names = " and ".join(BASELINES[name].lower() for name in unsure)
    reasons = {gains[name].method.rpartition("; ")[2] for name in unsure if gains[name].ci_low is None}
    why = f" ({' and '.join(sorted(reasons))})" if reasons else ", since its interval reaches 0"
    return f"the difference to {names} could be chance{why}"
