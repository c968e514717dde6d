"""How much runs of one experiment differ: mean, SD (n-1) and intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from mammo_core.analysis.finished import FinishedRun
from mammo_core.analysis.metrics import LOWER_IS_BETTER
from mammo_core.runs.schema import HEADLINE_METRICS

FEW_SEEDS = 5
"""Below this many runs no interval or test across runs carries a decision: descriptive only."""

SD_DEFINITION = "SD (n-1): sample standard deviation over the runs"


@dataclass(frozen=True)
class Spread:
    """What a handful of values of one metric say. ``None`` where one value cannot say it."""

    values: tuple[float, ...]
    n: int
    mean: float | None
    sd: float | None
    """Sample standard deviation, denominator n-1."""
    ci_low: float | None
    ci_high: float | None
    """95 % t interval of the mean."""
    prediction_low: float | None
    prediction_high: float | None
    """95 % interval for the value of one new run of the same kind."""
    population_sd: float | None
    """Denominator n; only to reproduce tables that were made so."""

    def text(self, digits: int = 3) -> str:
        """``0.696 ± 0.032 (n = 3, SD n-1)``."""
        if self.mean is None:
            return "undefined"
        if self.sd is None:
            return f"{self.mean:.{digits}f} (n = 1, no SD)"
        return f"{self.mean:.{digits}f} ± {self.sd:.{digits}f} (n = {self.n}, SD n-1)"

    def to_json(self) -> dict[str, Any]:
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}


def describe(values: Sequence[float | None], highest: float = math.inf, shared: float = 0.0, lowest: float = -math.inf) -> Spread:
    """Mean, SD and intervals of the defined values (``None`` and NaN are left out and not counted).

    Parameters
    ----------
    highest, lowest : float
        Cap the ends of the intervals: a t interval knows nothing of a metric that ends at 1.
    shared : float
        For folds, films judged over films learnt from: folds share training films, so the variance of their mean is
        ``s^2 (1/n + shared)``. 0 for seeds.

    Source
    ------
    Interval of the mean: ``mean ± t(0.975, n-1) s / sqrt(n)``; for one new value: ``mean ± t(0.975, n-1) s sqrt(1 + 1/n)``
    (Student; both assume values that scatter about normally). Folds: Nadeau and Bengio (2003), doi:10.1023/A:1024068626366.

    Examples
    --------
    >>> describe([0.676, 0.733, 0.679]).text()
    '0.696 ± 0.032 (n = 3, SD n-1)'
    """
    defined = tuple(float(value) for value in values if value is not None and not math.isnan(value))
    n = len(defined)
    if n < 2:
        return Spread(defined, n, defined[0] if n else None, *(None,) * 6)
    from scipy.special import stdtrit  # a third of a second that pages without a spread need not wait for

    mean, sd = float(np.mean(defined)), float(np.std(defined, ddof=1))
    t = float(stdtrit(n - 1, 0.975))
    half_mean, half_new = t * sd * math.sqrt(1 / n + shared), t * sd * math.sqrt(1 + 1 / n)
    return Spread(
        values=defined,
        n=n,
        mean=mean,
        sd=sd,
        ci_low=max(lowest, mean - half_mean),
        ci_high=min(highest, mean + half_mean),
        prediction_low=max(lowest, mean - half_new),
        prediction_high=min(highest, mean + half_new),
        population_sd=float(np.std(defined)),
    )


def mean_curve(frames: Sequence[pd.DataFrame], column: str) -> pd.DataFrame:
    """Mean and SD of one history column over runs, joined on the integer epoch.

    Returns
    -------
    DataFrame
        ``epoch`` (int), ``mean``, ``sd`` (n-1, NaN where n < 2), ``n`` (int): epochs with at least one value, ascending.
    """
    parts = [frame[["epoch", column]].dropna() for frame in frames if column in frame.columns]
    if not any(len(part) for part in parts):
        return pd.DataFrame({"epoch": [], "mean": [], "sd": [], "n": []}).astype({"epoch": int, "n": int})
    grouped = pd.concat(parts).astype({"epoch": int, column: float}).groupby("epoch")[column]
    table = pd.DataFrame({"mean": grouped.mean(), "sd": grouped.std(ddof=1), "n": grouped.size()})
    return table.reset_index()


# ---- one metric over runs -----------------------------------------------------------------------------------------------


def metric_names(tables: Sequence[Mapping[str, object]]) -> list[str]:
    """The metrics that any of the tables has: headline ones first, then as they come."""
    found = dict.fromkeys(name for table in tables for name in table)
    return [name for name in HEADLINE_METRICS if name in found] + [name for name in found if name not in HEADLINE_METRICS]


def highest_of(metric: str) -> float:
    """The largest value a metric can take."""
    return math.inf if is_lower_better(metric) else 1.0


def lowest_of(metric: str) -> float:
    """The smallest value a metric can take."""
    return -math.inf if metric.endswith("_skill") else -1.0 if "kappa" in metric else 0.0


def metric_spread(
    kept: Sequence[FinishedRun], metric: str, on: str = "val", values: Sequence[float | None] | None = None
) -> Spread:
    """Mean, SD and intervals of one metric over runs, the same wherever it is shown.

    Folds get Nadeau and Bengio's variance for the training films that they share; ends are capped at what the metric can take.

    Parameters
    ----------
    on : {"val", "test"}
        Which films judged the runs.
    values : sequence of float, optional
        One a run, where they are not the summary's own (validation, at the best epoch).
    """
    found = [finished.value(metric) for finished in kept] if values is None else values
    shared = judged_to_learnt(kept, on) if any(finished.config.fold is not None for finished in kept) else 0.0
    return describe(found, highest_of(metric), shared or 0.0, lowest_of(metric))


def judged_to_learnt(kept: Sequence[FinishedRun], on: str = "val") -> float | None:
    """Films that a run is judged on over films that it learns from, the mean over runs; ``None`` where not recorded."""
    sizes = [finished.part_sizes for finished in kept]
    ratios = [parts.get(on, 0) / parts["train"] for parts in sizes if parts.get("train")]
    return sum(ratios) / len(ratios) if ratios else None


def is_lower_better(metric: str) -> bool:
    """Whether a smaller value of the metric is the better one."""
    return metric in LOWER_IS_BETTER or metric == "val_loss"
