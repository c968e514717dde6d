"""Measures of one curve: slope, noise, jumps, levels; and what the steps of an accuracy tell of the number of cases."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
MAD_TO_SD = 1.4826
"""SD of a normal variable over its median absolute deviation."""
MAX_SLOPE_POINTS = 250
"""Longer curves are thinned before the quadratic slope estimate."""
MAX_N = 5000
"""Largest validation set whose size is read off the steps of its accuracy."""
MAX_VALUES = 40
"""Distinct accuracies that are enough for that."""
TAIL = 0.4
"""Share of the rows left out at the start when the noise of the later ones is measured."""


def theil_sen(y: Array) -> float:
    """Median of the slopes of all pairs, per row; 0 for fewer than two values. Undefined values are skipped.

    Source: Sen (1968), doi:10.1080/01621459.1968.10480934; equals ``scipy.stats.theilslopes(y)[0]``.
    """
    x = np.flatnonzero(np.isfinite(y))
    if len(x) > MAX_SLOPE_POINTS:
        x = x[np.linspace(0, len(x) - 1, MAX_SLOPE_POINTS).astype(int)]
    if len(x) < 2:
        return 0.0
    first, second = np.triu_indices(len(x), k=1)
    return float(np.median((y[x[second]] - y[x[first]]) / (x[second] - x[first])))


def noise_of(y: Array) -> float:
    """SD of the row-to-row noise from second differences, which cancel a linear trend; 0 for fewer than five values.

    1.4826 median|d2| / sqrt(6): the second difference of white noise has variance 6 sigma^2.
    """
    y = y[np.isfinite(y)]
    return float(MAD_TO_SD * np.median(np.abs(np.diff(y, 2))) / math.sqrt(6)) if len(y) >= 5 else 0.0


def wilson(share: float, n: float, z: float = 1.959964) -> tuple[float, float]:
    """Wilson interval of a proportion; unlike Wald's it holds near 0 and 1.

    Equals ``statsmodels.stats.proportion.proportion_confint(share * n, n, method="wilson")``.
    """
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(max(0.0, share * (1 - share)) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return min(1.0, max(0.0, centre - half)), min(1.0, centre + half)


def defined(y: Array) -> Array:
    return y[np.isfinite(y)]


def last_of(y: Array, count: int = 3) -> float:
    """Median of the last defined values."""
    tail = defined(y)[-count:]
    return float(np.median(tail)) if len(tail) else math.nan


def settled(y: Array) -> float:
    """The level at the end: the last value of a short curve, the median of three of a long one."""
    return last_of(y, 3 if len(y) >= 8 else 1)


def first_of(y: Array) -> float:
    known = defined(y)
    return float(known[0]) if len(known) else math.nan


def tail_of(y: Array) -> Array:
    return y[max(2, int(TAIL * len(y))) :]


def typical_jump(y: Array) -> float:
    """Ninth decile of the distance of a row from the middle of its neighbours: spikes count, a slope does not."""
    y = defined(y)
    if len(y) < 3:
        return 0.0
    return float(np.percentile(np.abs(y[1:-1] - (y[:-2] + y[2:]) / 2), 90))


def late_share(y: Array) -> float:
    """Share of the whole fall that the last quarter of the rows brought; negative where it rose."""
    y = defined(y)
    if len(y) < 3:
        return 0.0
    quarter = max(2, math.ceil(len(y) / 4))
    block = max(2, quarter // 2)
    fall = float(y[0] - y.min())
    if fall <= 0 or len(y) <= quarter:
        return 0.0
    before = y[max(0, len(y) - quarter - block) : len(y) - quarter]
    return float(np.median(before) - np.median(y[-block:])) / fall


def cases_behind(accuracy: Array) -> int | None:
    """The smallest number of cases whose fractions all these accuracies are, if that cannot be chance; else ``None``.

    37 cases give only multiples of 1/37. Chance hits are excluded by asking that as many distinct values as were seen would
    fall that near to multiples with a probability below 1 % over all sizes tried.
    """
    values = np.unique(accuracy[np.isfinite(accuracy)])
    values = values[(values > 0) & (values < 1)]
    if len(values) < 2:
        return None
    values = values[np.linspace(0, len(values) - 1, min(len(values), MAX_VALUES)).astype(int)]
    decimals = max(len(f"{value:.7f}".rstrip("0").partition(".")[2]) for value in values)
    precision = max(0.5 * 10.0**-decimals, 2e-7)
    sizes = np.arange(1, MAX_N + 1, dtype=np.float64)
    off = np.abs(values[:, None] * sizes - np.round(values[:, None] * sizes)).max(axis=0)
    tolerance = np.minimum(precision * sizes * 1.01, 0.5)
    chance = np.cumsum((2 * tolerance) ** len(values))
    hits = np.flatnonzero((off <= tolerance) & (chance < 0.01))
    return int(sizes[hits[0]]) if len(hits) else None


def toy_size(train: Array, val: Array) -> int | None:
    """The number of validation cases where both accuracies take nothing but halves, thirds, quarters or fifths."""
    train, val = train[np.isfinite(train)], val[np.isfinite(val)]
    if len(val) < 4 or len(np.unique(train)) < 2 or not len(train):
        return None
    sizes = [next((m for m in range(1, 6) if np.abs(y * m - np.round(y * m)).max() < 1e-5), None) for y in (train, val)]
    return max(2, sizes[1]) if sizes[0] is not None and sizes[1] is not None and max(sizes[0], sizes[1]) > 1 else None
