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
import pandas as pd

from mammo_core.analysis.bootstrap import Weights, bca_interval, jackknife, percentile_interval, replicate, stream_of, two_sided_p
from mammo_core.analysis.formulas import Floats
from mammo_core.analysis.groups import Group
from mammo_core.analysis.metrics import class_aucs, headline_statistics, weighted_confusion
from mammo_core.analysis.predictions import Cases, aligned_with, cases_of

REPLICATES = 2000


@dataclass(frozen=True)
class Resampled:
    """The headline metrics of every run on the films as they are and on resampled patients."""

    values: Mapping[str, Floats]
    """Metric -> shape ``(runs, 1 + replicates)``; column 0 is the films themselves."""
    seeds: tuple[int, ...]
    """Training seed of each row."""
    cases: tuple[Cases, ...]
    """The predictions of each row, all in one film order."""
    film_order: tuple[str, ...]
    """Image id of each film, in the order of ``cases``."""
    films: tuple[tuple[str, str], ...]
    """(film, true class), sorted: what must agree for a paired comparison."""
    left_out: Mapping[str, Floats]
    """Metric -> shape ``(patients,)``, with one patient left out; empty where there are several runs."""
    stream: int
    """Where the random draws start; equal for groups with the same patients."""

    @property
    def patients(self) -> int:
        return len(set(self.cases[0].patients))


def resample(group: Group, replicates: int | None = None) -> Resampled:
    """Resample the predictions of a group; a repetition over folds counts as one run.

    Raises
    ------
    DataError
        As :meth:`Group.repetitions`; runs that judged other films than the first.
    """
    repetitions = group.repetitions()
    return resample_tables([table for _, table in repetitions], [seed for seed, _ in repetitions], group.class_names, replicates)


def resample_tables(
    tables: Sequence[pd.DataFrame], seeds: Sequence[int], class_names: Sequence[str], replicates: int | None = None
) -> Resampled:
    """:func:`resample` for prediction tables at hand, one a run."""
    first = tables[0]
    cases = [cases_of(aligned_with(first, table, f"run {n}"), class_names, False) for n, table in enumerate(tables, start=1)]

    def statistics(weights: Weights) -> dict[str, Floats]:
        return {f"{row}:{name}": values for row, one in enumerate(cases) for name, values in _headline(one, weights).items()}

    found = replicate(cases[0].patients, statistics, REPLICATES if replicates is None else replicates)
    names = list(dict.fromkeys(key.partition(":")[2] for key in found))
    without_one = jackknife(cases[0].patients, statistics) if len(cases) == 1 else {}
    return Resampled(
        values={name: np.stack([found[f"{row}:{name}"] for row in range(len(cases))]) for name in names},
        seeds=tuple(seeds),
        cases=tuple(cases),
        film_order=tuple(first["image_id"].astype(str)),
        films=tuple(sorted(zip(first["image_id"].astype(str), first["y_true"].astype(str), strict=True))),
        left_out={key.partition(":")[2]: values for key, values in without_one.items()},
        stream=stream_of(cases[0].patients),
    )


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
        "method": f"mean over {len(values)} run(s); {_drawn(len(values))}; {interval.note}",
    }


def _drawn(runs: int) -> str:
    return "patients drawn, runs drawn" if runs > 1 else "patients drawn; one run, so training chance is not in it"


# ---- two groups -----------------------------------------------------------------------------------------------------------


def difference(a: Resampled, b: Resampled, metric: str) -> dict[str, Any]:
    """Mean over the runs of A minus that of B, with its 95 % interval over patients and runs.

    On the same films a replicate draws the same patients for both. Where both have the same seeds it draws the same seeds too,
    else the runs of each group by themselves. Drawing S runs shows only (S-1)/S of their variance, so their deviations from
    the group's mean are stretched by ``sqrt(S / (S-1))``. On other films the draws of the two are independent.

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
    draws_b = draws_a if paired and a.seeds == b.seeds else _run_draws(b, offset=1)
    drawn = _mean_of_drawn_runs(of_a[:, 1:], draws_a) - _mean_of_drawn_runs(of_b[:, 1:], draws_b)
    interval, narrow = percentile_interval(drawn), percentile_interval(fixed)
    return found | {
        "difference": point,
        "ci_low": interval.low,
        "ci_high": interval.high,
        "p": two_sided_p(drawn) if interval.low is not None else None,
        "patients_only": {"ci_low": narrow.low, "ci_high": narrow.high},
        "method": f"difference of means over runs; {_how_drawn(paired, a.seeds == b.seeds)}; {interval.note}",
    }


def _how_drawn(paired: bool, same_seeds: bool) -> str:
    if not paired:
        return "different films, so patients and runs are drawn for each group by itself"
    if same_seeds:
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
