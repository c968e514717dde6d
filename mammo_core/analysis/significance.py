"""Tests between two groups of runs, with the effect and its interval first and the p-value last.

On the same films: patients are resampled together for both groups, runs within each group. On different films: Welch's
interval over the runs, which is only a description.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import stdtr, stdtrit

from mammo_core.analysis.bootstrap import Weights, percentile_interval, replicate, two_sided_p
from mammo_core.analysis.formulas import Floats
from mammo_core.analysis.metrics import class_aucs, headline_statistics, weighted_confusion
from mammo_core.analysis.predictions import Cases, aligned_with, cases_of
from mammo_core.errors import DataError
from mammo_core.runs.schema import HEADLINE_METRICS

REPLICATES = 2000
SEED = 0

Tables = Sequence[pd.DataFrame | None]


def compare_on_same_films(a: Tables, b: Tables, class_names: Sequence[str]) -> list[dict[str, Any]]:
    """The difference of the groups' mean over runs, for each headline metric, by a paired bootstrap.

    A replicate draws patients once for all runs, and runs with replacement within each group. Drawing runs shows only
    (S-1)/S of their variance, so their deviations from the group's mean are stretched by ``sqrt(S / (S-1))``. With one run in
    a group the interval speaks of that trained model and not of its settings.

    Returns
    -------
    list of dict
        ``metric, difference`` (a minus b), ``ci_low, ci_high, p`` (patients and runs), ``patients_only`` (the same, for exactly
        these trained models), ``n_a, n_b, patients, films, paired, method``.

    Raises
    ------
    DataError
        A run without predictions, or predictions on other films.
    """
    cases_a, cases_b = _cases_on_same_films(a, b, class_names)
    everything = [*cases_a, *cases_b]

    def statistics(weights: Weights) -> dict[str, Floats]:
        return {
            f"{index}:{metric}": values
            for index, cases in enumerate(everything)
            for metric, values in _headline(cases, weights).items()
        }

    found = replicate(everything[0].patients, statistics, REPLICATES, SEED)
    patients = len(set(everything[0].patients))
    sizes = {"n_a": len(a), "n_b": len(b), "patients": patients, "films": len(everything[0].labels), "paired": True}
    results = []
    for metric in HEADLINE_METRICS:
        of_a = np.stack([found[f"{index}:{metric}"] for index in range(len(a))])
        of_b = np.stack([found[f"{len(a) + index}:{metric}"] for index in range(len(b))])
        results.append({"metric": metric, **_difference(of_a, of_b), **sizes})
    return results


def _cases_on_same_films(a: Tables, b: Tables, class_names: Sequence[str]) -> tuple[list[Cases], list[Cases]]:
    tables = [table for table in (*a, *b) if table is not None]
    if len(tables) < len(a) + len(b):
        raise DataError("A run keeps no predictions; expected a table for each. Evaluate the runs again.")
    first = tables[0]
    cases = [
        cases_of(aligned_with(first, table, f"run {number}"), class_names, False) for number, table in enumerate(tables, start=1)
    ]
    return cases[: len(a)], cases[len(a) :]


def _headline(cases: Cases, weights: Weights) -> dict[str, Floats]:
    return headline_statistics(cases, weighted_confusion(cases, weights), class_aucs(cases, weights))


def _difference(of_a: Floats, of_b: Floats) -> dict[str, Any]:
    """``of_a`` and ``of_b``: shape ``(runs, 1 + replicates)``, element 0 of each row on the data themselves."""
    point = float(of_a[:, 0].mean() - of_b[:, 0].mean())
    if math.isnan(point):
        return {"difference": None, "ci_low": None, "ci_high": None, "p": None, "patients_only": None, "method": "undefined"}
    fixed = of_a[:, 1:].mean(axis=0) - of_b[:, 1:].mean(axis=0)
    generator = np.random.default_rng(SEED)
    drawn = _mean_of_drawn_runs(of_a[:, 1:], generator) - _mean_of_drawn_runs(of_b[:, 1:], generator)
    interval, narrow = percentile_interval(drawn), percentile_interval(fixed)
    return {
        "difference": point,
        "ci_low": interval.low,
        "ci_high": interval.high,
        "p": two_sided_p(drawn) if interval.low is not None else None,
        "patients_only": {"ci_low": narrow.low, "ci_high": narrow.high},
        "method": f"difference of means over runs; patients drawn for all runs together, runs within each group; {interval.note}",
    }


def _mean_of_drawn_runs(values: Floats, generator: np.random.Generator) -> Floats:
    runs, replicates = values.shape
    mean = values.mean(axis=0)
    if runs == 1:
        return np.asarray(mean)
    drawn = np.take_along_axis(values, generator.integers(0, runs, size=(runs, replicates)), axis=0).mean(axis=0)
    return np.asarray(mean + math.sqrt(runs / (runs - 1)) * (drawn - mean))


def compare_values(metric: str, a: Sequence[float | None], b: Sequence[float | None]) -> dict[str, Any] | None:
    """Welch's t interval and test of one metric over runs; ``None`` where a group has fewer than two values or both are constant.

    Source
    ------
    Welch (1947), Biometrika 34:28-35, doi:10.1093/biomet/34.1-2.28. Equals ``scipy.stats.ttest_ind(equal_var=False)``.
    """
    first, second = (np.array([v for v in values if v is not None and not math.isnan(v)]) for values in (a, b))
    if min(len(first), len(second)) < 2:
        return None
    shares = [float(values.var(ddof=1)) / len(values) for values in (first, second)]
    error = math.sqrt(sum(shares))
    if error == 0:
        return None
    df = sum(shares) ** 2 / sum(share**2 / (len(values) - 1) for share, values in zip(shares, (first, second), strict=True))
    difference = float(first.mean() - second.mean())
    half = float(stdtrit(df, 0.975)) * error
    return {
        "metric": metric,
        "difference": difference,
        "ci_low": difference - half,
        "ci_high": difference + half,
        "p": float(2 * stdtr(df, -abs(difference) / error)),
        "df": df,
        "n_a": len(first),
        "n_b": len(second),
        "paired": False,
        "method": f"Welch t over runs, df = {df:.1f}; different films, descriptive only",
    }
