"""Metric formulas on confusion matrices and rankings, each written once for one matrix or a stack of thousands.

A confusion matrix has the true class in its rows and the predicted class in its columns, in scale order, and keeps the
classes that do not occur. Undefined is NaN here, ``None`` in files, never 0.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import numpy.typing as npt

from mammo_core.errors import UndefinedMetric

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.intp]
Penalty = Literal["none", "linear", "quadratic"]

Z_95 = 1.959963984540054
"""Two-sided 95 % point of the normal distribution."""


def ratio(part: Floats, whole: Floats) -> Floats:
    """``part / whole``, NaN where the whole is 0."""
    empty = np.full(np.broadcast(part, whole).shape, np.nan)
    return np.asarray(np.divide(part, whole, out=empty, where=whole > 0))


def confusion_matrix(labels: Labels, predicted: Labels, n_classes: int) -> Floats:
    """Counts of shape ``(n_classes, n_classes)`` as float64; equals ``sklearn.metrics.confusion_matrix(labels=range(K))``."""
    flat = np.bincount(labels * n_classes + predicted, minlength=n_classes**2)
    return flat.reshape(n_classes, n_classes).astype(np.float64)


def accuracy(confusion: Floats) -> Floats:
    """Share of cases on the diagonal, in [0, 1]; shape ``confusion.shape[:-2]``."""
    return ratio(np.trace(confusion, axis1=-2, axis2=-1), confusion.sum(axis=(-2, -1)))


def recalls(confusion: Floats) -> Floats:
    """Sensitivity of each class, shape ``(..., K)``, NaN for a class without cases."""
    return ratio(np.diagonal(confusion, axis1=-2, axis2=-1), confusion.sum(axis=-1))


def f1_scores(confusion: Floats) -> Floats:
    """``2 TP / (2 TP + FP + FN)`` of each class, shape ``(..., K)``, NaN where the class neither occurs nor is predicted."""
    return ratio(2 * np.diagonal(confusion, axis1=-2, axis2=-1), confusion.sum(axis=-1) + confusion.sum(axis=-2))


def balanced_accuracy(confusion: Floats, occurring: npt.NDArray[np.bool_]) -> Floats:
    """Unweighted mean recall of the ``occurring`` classes (boolean, length K); NaN in a matrix that lacks one of them.

    Equals ``sklearn.metrics.balanced_accuracy_score`` on the whole data. A bootstrap replicate that lost a class would
    otherwise average over fewer classes, which is another quantity.
    """
    return _mean_over_classes(recalls(confusion)[..., occurring])


def macro_f1(confusion: Floats, occurring: npt.NDArray[np.bool_]) -> Floats:
    """Unweighted mean F1 of the classes that occur or are predicted; NaN where one of the ``occurring`` classes is missing.

    Equals ``sklearn.metrics.f1_score(average="macro")``.
    """
    scores = f1_scores(confusion)
    counted = ~np.isnan(scores)
    mean = ratio(np.where(counted, scores, 0.0).sum(axis=-1), counted.sum(axis=-1).astype(np.float64))
    complete = (confusion.sum(axis=-1) > 0)[..., occurring].all(axis=-1)
    return np.where(complete, mean, np.nan)


def _mean_over_classes(values: Floats) -> Floats:
    if values.shape[-1] == 0:
        return np.full(values.shape[:-1], np.nan)
    return np.asarray(values.mean(axis=-1))


def weighted_kappa(confusion: Floats, penalty: Penalty = "quadratic") -> Floats:
    """Agreement corrected for chance, in [-1, 1]; NaN where all cases lie in one class of both.

    See :func:`quadratic_weighted_kappa`; ``penalty`` is ``none`` (Cohen's unweighted kappa), ``linear`` or ``quadratic``.
    """
    steps = np.arange(confusion.shape[-1])
    distance = np.abs(steps[:, None] - steps[None, :]).astype(np.float64)
    weights = {"none": (distance > 0).astype(np.float64), "linear": distance, "quadratic": distance**2}[penalty]
    by_chance = confusion.sum(axis=-1)[..., :, None] * confusion.sum(axis=-2)[..., None, :]  # counts squared
    worst = (weights * by_chance).sum(axis=(-2, -1))
    found = confusion.sum(axis=(-2, -1)) * (weights * confusion).sum(axis=(-2, -1))
    return 1 - ratio(found, worst)


def quadratic_weighted_kappa(confusion: Floats) -> float:
    """Agreement on an ordinal scale, corrected for chance, with squared-distance penalties.

    Takes the confusion matrix and not the labels, so a class that is absent from a small fold keeps its place on the scale
    (A and D stay three steps apart).

    Parameters
    ----------
    confusion : ndarray of shape (n_classes, n_classes), counts
        Rows are the true class, columns the predicted class, in scale order.

    Returns
    -------
    float in [-1, 1], unitless
        1 is full agreement, 0 is chance level.

    Raises
    ------
    UndefinedMetric
        No cases, or all true and predicted labels in one class: chance agreement is already 1.

    Source
    ------
    Cohen (1968), Psychological Bulletin 70(4):213-220, doi:10.1037/h0026256. Equals
    ``sklearn.metrics.cohen_kappa_score(..., weights="quadratic", labels=range(n_classes))``.

    Examples
    --------
    >>> quadratic_weighted_kappa(np.array([[2, 0], [0, 2]]))
    1.0
    """
    value = float(weighted_kappa(np.asarray(confusion, dtype=np.float64), "quadratic"))
    if math.isnan(value):
        raise UndefinedMetric("Quadratic kappa is undefined: no cases, or all of them in one class.")
    return value


def wilson_interval(successes: float, n: float, effective_n: float | None = None) -> tuple[float, float] | None:
    """95 % interval of a proportion, in [0, 1]; ``None`` without cases.

    ``effective_n`` takes the place of ``n`` in the width where the cases are not independent (films of one patient).

    Source
    ------
    Wilson (1927), JASA 22:209-212, doi:10.1080/01621459.1927.10502953. Equals
    ``statsmodels.stats.proportion.proportion_confint(method="wilson")``.
    """
    if n <= 0:
        return None
    share, size = successes / n, n if effective_n is None else effective_n
    centre = (share + Z_95**2 / (2 * size)) / (1 + Z_95**2 / size)
    half = Z_95 / (1 + Z_95**2 / size) * math.sqrt(share * (1 - share) / size + Z_95**2 / (4 * size**2))
    return max(0.0, centre - half), min(1.0, centre + half)
