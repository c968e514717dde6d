"""Tests of one difference that are not a bootstrap: McNemar, Nadeau and Bengio, Welch, and how often A beats B.

Each returns plain values with the name of the test in ``test`` and how it was made in ``method``; ``None`` where the data cannot
carry it, never an invented p.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr, stdtrit

Booleans = npt.NDArray[np.bool_]
Values = Sequence[float | None]

SUPERIOR = 0.75
"""P(A > B) from which one set-up is called better, if the interval also lies above one half (Bouthillier et al. 2021)."""

DRAWS = 2000


def mcnemar(right_a: Booleans, right_b: Booleans) -> dict[str, Any]:
    """Exact McNemar test of two models' accuracy on the same films, each counted as independent.

    Returns
    -------
    dict
        ``difference`` (accuracy of a minus b), its interval and exact ``p``; ``only_a`` and ``only_b``, the films that only one
        of them got right. ``p`` is ``None`` without any such film.

    Source
    ------
    McNemar (1947), Psychometrika 12:153-157, doi:10.1007/BF02295996; p from
    ``statsmodels.stats.contingency_tables.mcnemar(exact=True)``. Interval: the Wald interval of paired proportions,
    ``sqrt(b + c - (b - c)^2 / n) / n``.
    """
    from statsmodels.stats.contingency_tables import mcnemar as exact_test  # slow to import, and only needed here

    n = len(right_a)
    only_a, only_b = int((right_a & ~right_b).sum()), int((~right_a & right_b).sum())
    difference = (only_a - only_b) / n
    error = math.sqrt(only_a + only_b - (only_a - only_b) ** 2 / n) / n
    both, neither = int((right_a & right_b).sum()), int((~right_a & ~right_b).sum())
    p = float(exact_test([[both, only_a], [only_b, neither]], exact=True).pvalue) if only_a + only_b else None
    half = 1.959963984540054 * error
    return {
        "test": "mcnemar",
        "difference": difference,
        "ci_low": difference - half if error else None,
        "ci_high": difference + half if error else None,
        "p": p,
        "only_a": only_a,
        "only_b": only_b,
        "method": f"exact McNemar test: {only_a} films right in A only, {only_b} in B only",
    }


def cochran_q(right: Sequence[Booleans]) -> float | None:
    """p of Cochran's Q for the accuracies of three or more models on the same films; ``None`` where all agree on every film.

    Source
    ------
    ``statsmodels.stats.contingency_tables.cochrans_q``.
    """
    from statsmodels.stats.contingency_tables import cochrans_q

    table = np.column_stack(right).astype(int)
    if (table.min(axis=1) == table.max(axis=1)).all():
        return None
    return float(cochrans_q(table).pvalue)


def corrected_t(differences: Sequence[float], test_to_train: float) -> dict[str, Any] | None:
    """Nadeau and Bengio's t test of fold-wise differences; ``None`` with fewer than two, or where all of them are equal.

    Folds share most of their training films, so the plain t test finds differences that are not there. The variance is
    stretched from ``1/J`` to ``1/J + n_test/n_train``.

    Parameters
    ----------
    differences : sequence of float, length J
        A minus B in one metric, on each fold.
    test_to_train : float
        Films that a fold is judged on, over films it learns from; ``1 / (k - 1)`` for k equal folds.

    Source
    ------
    Nadeau and Bengio (2003), Machine Learning 52:239-281, doi:10.1023/A:1024068626366.
    """
    values = np.asarray(differences, dtype=np.float64)
    count = len(values)
    if count < 2 or np.ptp(values) < 1e-12:
        return None
    mean, error = float(values.mean()), math.sqrt((1 / count + test_to_train) * float(values.var(ddof=1)))
    half = float(stdtrit(count - 1, 0.975)) * error
    return {
        "test": "nadeau_bengio",
        "difference": mean,
        "ci_low": mean - half,
        "ci_high": mean + half,
        "p": float(2 * stdtr(count - 1, -abs(mean) / error)),
        "df": count - 1,
        "method": f"fold by fold, t with the variance stretched for shared training films (Nadeau and Bengio), df = {count - 1}",
    }


def welch(a: Values, b: Values) -> dict[str, Any] | None:
    """Welch's t interval and test over runs; ``None`` where a group has fewer than two values or both are constant.

    It asks whether training chance explains the difference; the choice of films is not in it.

    Source
    ------
    Welch (1947), Biometrika 34:28-35, doi:10.1093/biomet/34.1-2.28. Equals ``scipy.stats.ttest_ind(equal_var=False)``.
    """
    first, second = _defined(a), _defined(b)
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
        "test": "welch",
        "difference": difference,
        "ci_low": difference - half,
        "ci_high": difference + half,
        "p": float(2 * stdtr(df, -abs(difference) / error)),
        "df": df,
        "method": f"Welch t over runs, df = {df:.1f}; training chance only, not the choice of films",
    }


def probability_of_superiority(a: Values, b: Values, *, lower_is_better: bool = False, seed: int = 0) -> dict[str, Any] | None:
    """P(A > B): the share of pairs of runs in which A's is the better one, ties half; ``None`` without two runs in each.

    Returns
    -------
    dict
        ``value`` in [0, 1]; ``ci_low, ci_high``, the 95 % percentile interval from runs drawn anew in each group; ``better``,
        ``"a"`` or ``"b"`` where the value is at least 0.75 and the interval on the same side of one half, else ``None``.

    Source
    ------
    Bouthillier et al. (2021), Accounting for variance in machine learning benchmarks, arXiv:2103.03098.
    """
    first, second = _defined(a), _defined(b)
    if min(len(first), len(second)) < 2:
        return None
    if lower_is_better:
        first, second = -first, -second
    wins = (first[:, None] > second[None, :]) + 0.5 * (first[:, None] == second[None, :])
    generator = np.random.default_rng(seed)
    of_a, of_b = (_times_drawn(generator.integers(0, count, size=(DRAWS, count))) for count in wins.shape)
    drawn = ((of_a @ wins) * of_b).sum(axis=1) / wins.size
    value, (low, high) = float(wins.mean()), np.percentile(drawn, [2.5, 97.5])
    better = "a" if value >= SUPERIOR and low > 0.5 else "b" if value <= 1 - SUPERIOR and high < 0.5 else None
    return {"value": value, "ci_low": float(low), "ci_high": float(high), "better": better}


def _times_drawn(drawn: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """``(draws, count)``: how often each of ``count`` runs is in each draw of as many."""
    draws, count = drawn.shape
    places = drawn + count * np.arange(draws)[:, None]
    return np.bincount(places.ravel(), minlength=draws * count).reshape(draws, count)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """p-values adjusted for their number by Holm's method; ``None`` stays ``None`` and is not counted.

    Source
    ------
    Holm (1979), Scandinavian Journal of Statistics 6:65-70; ``statsmodels.stats.multitest.multipletests(method="holm")``.
    """
    known = [p for p in p_values if p is not None]
    if len(known) < 2:
        return list(p_values)
    from statsmodels.stats.multitest import multipletests

    adjusted = iter(multipletests(known, method="holm")[1].tolist())
    return [None if p is None else float(next(adjusted)) for p in p_values]


def _defined(values: Values) -> npt.NDArray[np.float64]:
    return np.array([value for value in values if value is not None and not math.isnan(value)], dtype=np.float64)
