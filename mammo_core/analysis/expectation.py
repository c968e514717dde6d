"""What a handful of runs lead one to expect: of one more run, of a difference worth looking for, and how many runs it takes."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from mammo_core.analysis.variance import FEW_SEEDS, describe

POWER = 0.8
LEVEL = 0.05
MOST_RUNS = 200


@dataclass(frozen=True)
class Expectation:
    """Whether one more run is what the others lead one to expect."""

    inside: bool | None
    """``None`` where fewer than two runs give no interval."""
    low: float | None
    high: float | None
    """95 % prediction interval for one new run of the same kind."""
    n: int
    text: str


def expected(values: Sequence[float | None], new: float, highest: float = math.inf) -> Expectation:
    """Judge a new run against the 95 % prediction interval ``mean ± t(0.975, n-1) s sqrt(1 + 1/n)`` of the others.

    Mean ± 2 SD is no such interval: with three runs a new one of the same kind lies outside it in 22 % of cases.

    Parameters
    ----------
    values : sequence of float
        The metric of the other runs; the new one must not be among them.
    new : float
        The metric of the run in question.

    Examples
    --------
    >>> expected([0.676, 0.679], 0.733).inside
    False
    """
    spread = describe(values, highest)
    if spread.prediction_low is None or spread.prediction_high is None:
        return Expectation(None, None, None, spread.n, f"{spread.n} run(s) lead one to expect nothing; two or more are needed.")
    low, high = spread.prediction_low, spread.prediction_high
    inside = low <= new <= high
    words = (
        f"{spread.n} runs lead one to expect a new one between {low:.3f} and {high:.3f} (95 % prediction interval); "
        f"{new:.3f} lies {'inside' if inside else 'outside'}."
    )
    if spread.n < FEW_SEEDS:
        words += f" With fewer than {FEW_SEEDS} runs the interval is too wide, and too unsure, to call a run an outlier."
    return Expectation(inside, low, high, spread.n, words)


def smallest_visible_difference(sd: float, n_a: int, n_b: int) -> float | None:
    """The true difference of two means that a t test at 5 % finds in 80 % of cases; ``None`` with fewer than two runs in a group.

    Source
    ------
    ``statsmodels.stats.power.TTestIndPower.solve_power``; equal SD in both groups is assumed.
    """
    if min(n_a, n_b) < 2:
        return None
    return sd * _standardised(n_a, n_b)


@functools.lru_cache(maxsize=256)
def _standardised(n_a: int, n_b: int) -> float:
    from statsmodels.stats.power import TTestIndPower

    return float(TTestIndPower().solve_power(nobs1=n_a, ratio=n_b / n_a, alpha=LEVEL, power=POWER))


def runs_for_half_width(sd: float, half_width: float) -> int | None:
    """The least number of runs whose 95 % t interval of the mean is at most ``± half_width``; ``None`` above 200."""
    from scipy.special import stdtrit

    counts = range(2, MOST_RUNS + 1)
    return next((n for n in counts if float(stdtrit(n - 1, 0.975)) * sd / math.sqrt(n) <= half_width), None)


def sd_interval(sd: float, n: int) -> tuple[float, float] | None:
    """95 % interval of a sample SD over ``n`` runs, ``s sqrt((n-1) / chi2)``; ``None`` with fewer than two.

    Examples
    --------
    >>> [round(end, 3) for end in sd_interval(0.0321, 3)]
    [0.017, 0.202]
    """
    if n < 2:
        return None
    from scipy.special import chdtri

    high_point, low_point = float(chdtri(n - 1, 0.025)), float(chdtri(n - 1, 0.975))
    return sd * math.sqrt((n - 1) / high_point), sd * math.sqrt((n - 1) / low_point)
