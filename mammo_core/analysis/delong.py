"""The area under the ROC curve of one or two models with its standard error, films of a patient taken together.

Every positive film wins against a share of the negatives and every negative against a share of the positives; how much these
shares scatter gives the variance of the area. Summing them by patient first keeps that true where a patient has several films.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from mammo_core.analysis.formulas import Z_95, Floats
from mammo_core.errors import UndefinedMetric

Booleans = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class AucDifference:
    """Area of model A minus area of model B on the same films; ``se`` and ``p`` are ``None`` where the variance is 0."""

    auc_a: float
    auc_b: float
    difference: float
    se: float | None
    ci_low: float | None
    ci_high: float | None
    p: float | None


def compare_aucs(positive: Booleans, scores_a: Floats, scores_b: Floats, patients: Sequence[str]) -> AucDifference:
    """DeLong's test of two correlated areas, clustered by patient.

    Parameters
    ----------
    positive : ndarray of shape (n,), bool
    scores_a, scores_b : ndarray of shape (n,), float
        Any scores; only their order within a model counts.
    patients : sequence of str, length n
        With one film a patient the result is DeLong's.

    Raises
    ------
    UndefinedMetric
        Only positives or only negatives.

    Source
    ------
    DeLong, DeLong and Clarke-Pearson (1988), Biometrics 44:837-845, doi:10.2307/2531595; for clustered data Obuchowski (1997),
    Biometrics 53:567-578, doi:10.2307/2533958.
    """
    won_a, lost_a = placements(positive, scores_a)
    won_b, lost_b = placements(positive, scores_b)
    auc_a, auc_b = float(won_a.mean()), float(won_b.mean())
    variance = _clustered_variance(won_a - won_b, lost_a - lost_b, positive, patients)
    difference = auc_a - auc_b
    if not variance > 1e-18:
        return AucDifference(auc_a, auc_b, difference, None, None, None, None)
    se = math.sqrt(variance)
    p = float(2 * ndtr(-abs(difference) / se))
    return AucDifference(auc_a, auc_b, difference, se, difference - Z_95 * se, difference + Z_95 * se, p)


def placements(positive: Booleans, scores: Floats) -> tuple[Floats, Floats]:
    """For each positive the share of negatives below it, for each negative the share of positives above it; ties count half.

    Both have the area under the ROC curve as their mean. By midranks, so that it takes ``n log n`` steps.

    Source
    ------
    Sun and Xu (2014), IEEE Signal Processing Letters 21:1389-1393, doi:10.1109/LSP.2014.2337313.
    """
    if positive.all() or not positive.any():
        raise UndefinedMetric("The area under the ROC curve needs films of the class and films of the others.")
    high, low = scores[positive], scores[~positive]
    everything = midranks(scores)
    won = (everything[positive] - midranks(high)) / len(low)
    lost = 1 - (everything[~positive] - midranks(low)) / len(high)
    return won, lost


def midranks(values: Floats) -> Floats:
    """Ranks from 1, equal values sharing the mean of theirs; equals ``scipy.stats.rankdata``."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[inverse])


def _clustered_variance(won: Floats, lost: Floats, positive: Booleans, patients: Sequence[str]) -> float:
    names, patient_of = np.unique(np.asarray(patients, dtype=object).astype(str), return_inverse=True)
    m, n, size = len(won), len(lost), len(names)
    centred_won = np.bincount(patient_of[positive], won - won.mean(), minlength=size)
    centred_lost = np.bincount(patient_of[~positive], lost - lost.mean(), minlength=size)
    with_positive = len(np.unique(patient_of[positive]))
    with_negative = len(np.unique(patient_of[~positive]))
    if min(with_positive, with_negative) < 2:
        return math.nan
    s10 = with_positive / ((with_positive - 1) * m) * float(centred_won @ centred_won)
    s01 = with_negative / ((with_negative - 1) * n) * float(centred_lost @ centred_lost)
    s11 = size / (size - 1) * float(centred_won @ centred_lost)
    return s10 / m + s01 / n + 2 * s11 / (m * n)
