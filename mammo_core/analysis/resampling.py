"""Runs x patients bootstrap: what a group's mean over runs would be with other patients and other training chance.

A group is resampled by itself, with draws that depend on its patients alone: two groups with the same patients get the same
draws, so that their difference is a paired one, and groups with other patients get independent draws.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mammo_core.analysis.bootstrap import Weights, bca_interval, jackknife, percentile_interval, replicate, stream_of, two_sided_p
from mammo_core.analysis.formulas import Floats
from mammo_core.analysis.groups import Group, Repetition
from mammo_core.analysis.metrics import class_aucs, headline_statistics, weighted_confusion
from mammo_core.analysis.predictions import Cases, aligned_with, cases_of

REPLICATES = 2000


@dataclass(frozen=True)
class Resampled:
    """The headline metrics of every pass over the films, on the films as they are and on resampled patients."""

    values: Mapping[str, Floats]
    """Metric -> shape ``(passes, 1 + replicates)``; column 0 is the films themselves. Over folds the mean of the folds."""
    labels: tuple[str, ...]
    """``seed 42`` of each row; rows of two groups with the same labels belong together."""
    cases: tuple[Cases, ...]
    """The predictions of each row, all in one film order; those of folds joined."""
    film_order: tuple[str, ...]
    """Image id of each film, in the order of ``cases``."""
    films: tuple[tuple[str, str], ...]
    """(film, true class), sorted: what must agree for a paired comparison."""
    left_out: Mapping[str, Floats]
    """Metric -> shape ``(patients,)``, with one patient left out; empty where there are several passes."""
    folds: int
    """Models that made one pass: 1, or the number of folds."""
    stream: int
    """Where the random draws start; equal for groups with the same patients."""

    @property
    def patients(self) -> int:
        return len(set(self.cases[0].patients))

    @property
    def passes(self) -> int:
        return len(self.cases)


def resample(group: Group, replicates: int | None = None) -> Resampled:
    """Resample the predictions of a group.

    Raises
    ------
    DataError
        As :meth:`Group.repetitions`; runs that judged other films than the first.
    """
    return resample_passes(group.repetitions(), group.class_names, replicates)


def resample_passes(passes: Sequence[Repetition], class_names: Sequence[str], replicates: int | None = None) -> Resampled:
    """:func:`resample` for passes at hand, for example those at one centre."""
    joined = [pd.concat(one.tables, ignore_index=True) for one in passes]
    first = joined[0]
    cases = [
        cases_of(aligned_with(first, table, one.label), class_names, False) for table, one in zip(joined, passes, strict=True)
    ]
    patients = cases[0].patients
    place = {film: index for index, film in enumerate(first["image_id"])}
    folds_of = [[np.array([place[film] for film in table["image_id"]], dtype=np.intp) for table in one.tables] for one in passes]
    models = [
        [(one.take(films), films) for films in folds] if len(folds) > 1 else [(one, slice(None))]
        for one, folds in zip(cases, folds_of, strict=True)
    ]

    def statistics(weights: Weights) -> dict[str, Floats]:
        found: dict[str, Floats] = {}
        for row, folds in enumerate(models):
            of_folds = [_headline(fold, _on(weights, films)) for fold, films in folds]
            found |= {f"{row}:{name}": np.mean([one[name] for one in of_folds], axis=0) for name in of_folds[0]}
        return found

    found = replicate(patients, statistics, REPLICATES if replicates is None else replicates)
    names = list(dict.fromkeys(key.partition(":")[2] for key in found))
    without_one = jackknife(patients, statistics) if len(cases) == 1 else {}
    return Resampled(
        values={name: np.stack([found[f"{row}:{name}"] for row in range(len(cases))]) for name in names},
        labels=tuple(one.label for one in passes),
        cases=tuple(cases),
        film_order=tuple(first["image_id"].astype(str)),
        films=tuple(sorted(zip(first["image_id"].astype(str), first["y_true"].astype(str), strict=True))),
        left_out={key.partition(":")[2]: values for key, values in without_one.items()},
        folds=len(passes[0].tables),
        stream=stream_of(patients),
    )


def _on(weights: Weights, films: npt.NDArray[np.intp] | slice) -> Weights:
    """The weights of some of the films; those of all of them are shared by all models, with what they have worked out."""
    return weights if isinstance(films, slice) else Weights(weights.counts, weights.patient_of[films])


def _headline(cases: Cases, weights: Weights) -> dict[str, Floats]:
    return headline_statistics(cases, weighted_confusion(cases, weights), class_aucs(cases, weights))


# ---- one group ------------------------------------------------------------------------------------------------------------


def group_interval(resampled: Resampled, metric: str) -> dict[str, Any]:
    """The mean over runs with its 95 % interval over runs and patients, and how much each of them contributes.

    Returns
    -------
    dict
        ``value, ci_low, ci_high, method``; ``sd_runs`` (over runs, on the same films) and ``sd_patients`` (of a run, over
        resampled patients), ``None`` where one run or one patient cannot say.
    """
    values = resampled.values[metric]
    point = float(values[:, 0].mean())
    if math.isnan(point):
        return {
            "value": None,
            "ci_low": None,
            "ci_high": None,
            "sd_runs": None,
            "sd_patients": None,
            "method": "undefined: a class is missing among these films",
        }
    interval = (
        percentile_interval(_mean_of_drawn_runs(values[:, 1:], _run_draws(resampled)))
        if len(values) > 1
        else bca_interval(values[0], resampled.left_out[metric])
    )
    defined = values[:, 1:][:, ~np.isnan(values[:, 1:]).any(axis=0)]
    return {
        "value": point,
        "ci_low": interval.low,
        "ci_high": interval.high,
        "sd_runs": float(values[:, 0].std(ddof=1)) if len(values) > 1 else None,
        "sd_patients": float(defined.std(axis=1, ddof=1).mean()) if defined.shape[1] > 1 else None,
        "method": f"{_mean_of(resampled)}; {_drawn(len(values))}; {interval.note}",
    }


def pooled_value(resampled: Resampled, metric: str) -> dict[str, Any]:
    """The metric of the joined out-of-fold predictions, the mean over seeds."""
    everyone = Weights(np.ones((1, len(resampled.film_order))), np.arange(len(resampled.film_order)))
    value = float(np.mean([_headline(cases, everyone)[metric][0] for cases in resampled.cases]))
    method = "out-of-fold predictions of all folds joined"
    if metric == "auc_ovr_macro":
        method += "; scores of different models are ranked together, which can cost some AUC"
    return {"value": None if math.isnan(value) else value, "method": method}


def _mean_of(resampled: Resampled) -> str:
    if resampled.folds > 1:
        return f"mean over {resampled.folds} folds" + (f" of {resampled.passes} seeds" if resampled.passes > 1 else "")
    return f"mean over {resampled.passes} runs" if resampled.passes > 1 else "one run"


def _drawn(passes: int) -> str:
    return "patients and runs drawn" if passes > 1 else "patients drawn; training chance is not in it"


# ---- two groups -----------------------------------------------------------------------------------------------------------


def difference(a: Resampled, b: Resampled, metric: str) -> dict[str, Any]:
    """Mean over the runs of A minus that of B, with its 95 % interval over patients and runs.

    On the same films a replicate draws the same patients for both. Where both have the same seeds it draws the same seeds too,
    else the runs of each group by themselves; with one run each, training chance is not in the interval. Drawing S runs shows
    only (S-1)/S of their variance, so their deviations from the group's mean are stretched by ``sqrt(S / (S-1))``. On other
    films the draws of the two are independent.

    Returns
    -------
    dict
        ``test`` ``bootstrap`` (same films) or ``independent``; ``metric, difference, ci_low, ci_high, p, paired``;
        ``patients_only``, the interval for exactly these trained models; ``n_a, n_b, films, patients, method``.
    """
    paired = a.films == b.films
    of_a, of_b = a.values[metric], b.values[metric]
    point = float(of_a[:, 0].mean() - of_b[:, 0].mean())
    found: dict[str, Any] = {
        "test": "bootstrap" if paired else "independent",
        "metric": metric,
        "n_a": len(of_a),
        "n_b": len(of_b),
        "patients": a.patients if paired else a.patients + b.patients,
        "films": len(a.films) if paired else len(a.films) + len(b.films),
        "paired": paired,
    }
    nothing = {"difference": None, "ci_low": None, "ci_high": None, "p": None, "patients_only": None}
    if math.isnan(point):
        return found | nothing | {"method": "undefined: a class is missing among these films"}
    fixed = of_a[:, 1:].mean(axis=0) - of_b[:, 1:].mean(axis=0)
    draws_a = _run_draws(a)
    draws_b = draws_a if paired and a.labels == b.labels else _run_draws(b, offset=1)
    drawn = _mean_of_drawn_runs(of_a[:, 1:], draws_a) - _mean_of_drawn_runs(of_b[:, 1:], draws_b)
    interval, narrow = percentile_interval(drawn), percentile_interval(fixed)
    return found | {
        "difference": point,
        "ci_low": interval.low,
        "ci_high": interval.high,
        "p": two_sided_p(drawn) if interval.low is not None else None,
        "patients_only": {"ci_low": narrow.low, "ci_high": narrow.high},
        "method": f"difference of means; {_how_drawn(a, b)}; {interval.note}",
    }


def _how_drawn(a: Resampled, b: Resampled) -> str:
    if a.films != b.films:
        return "different films, so patients and runs are drawn for each group by itself"
    if max(a.passes, b.passes) == 1:
        what = "one pass over the folds" if max(a.folds, b.folds) > 1 else "one run"
        return f"the same patients drawn for both groups; {what} each, so training chance is not in it"
    if a.labels == b.labels:
        return "the same patients and the same seeds drawn for both groups"
    return "the same patients drawn for both groups, runs within each"


def _run_draws(resampled: Resampled, offset: int = 0) -> Floats:
    """Which runs each replicate draws, as uniform numbers of shape ``(runs, replicates)``."""
    runs, replicates = next(iter(resampled.values.values())).shape
    return np.random.default_rng([resampled.stream, 1 + offset]).random((runs, replicates - 1))


def _mean_of_drawn_runs(values: Floats, draws: Floats) -> Floats:
    runs = len(values)
    mean = values.mean(axis=0)
    if runs == 1:
        return np.asarray(mean)
    drawn = np.take_along_axis(values, (draws * runs).astype(np.intp), axis=0).mean(axis=0)
    return np.asarray(mean + math.sqrt(runs / (runs - 1)) * (drawn - mean))
