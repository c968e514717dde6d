"""Whether probabilities mean what they say: reliability, calibration error with its null band, skill, and temperature scaling.

A calibration error is never 0 in a finite sample, so every one stands beside what a perfectly calibrated model with the same
probabilities and patients would show.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from mammo_core.analysis.formulas import Floats, wilson_interval
from mammo_core.analysis.predictions import Cases, cases_of
from mammo_core.analysis.questions import answers_of, questions_of
from mammo_core.analysis.temperature import Temperature, apply_temperature, fit_temperature

__all__ = ["Calibration", "Reliability", "Temperature", "apply_temperature", "calibration_of", "fit_temperature"]

BINS = 15
NULL_REPLICATES = 500
NULL_SEED = 0
HISTOGRAM_CELLS = 20
SCHEME = f"{BINS} bins with equally many cases"
SHARED_TRUTH = "films of a patient with the same true class count as one truth"
"""What the null band assumes of films that are not independent."""
CALLED = "called"
"""Key of the reliability of the called class: is the model right as often as it is sure?"""


@dataclass(frozen=True)
class Bin:
    """Cases of similar probability, and how often the answer was yes among them."""

    mean_probability: float
    observed: float
    """Share of yes, in [0, 1]."""
    low: float
    high: float
    """95 % Wilson interval of ``observed``, n = patients."""
    null_low: float
    null_high: float
    """Middle 95 % of ``observed`` for a perfectly calibrated model."""
    films: int
    patients: int


@dataclass(frozen=True)
class Reliability:
    """How one kind of probability agrees with what was observed."""

    key: str
    """``called``, ``class:<name>`` or the key of a question."""
    title: str
    """What the probability is of: ``the called class``, ``C or D``."""
    bins: tuple[Bin, ...]
    histogram: tuple[int, ...]
    """Cases in ``HISTOGRAM_CELLS`` cells of equal width from 0 to 1."""
    films: int
    patients: int
    error: float
    """Expected calibration error: mean distance between probability and share observed, weighted by cases; NaN without cases."""
    null_low: float
    null_mean: float
    null_high: float
    """What a perfectly calibrated model of this n would show: mean and middle 95 %."""

    @property
    def above_null(self) -> bool:
        """Whether the error is larger than chance explains."""
        return self.error > self.null_high


@dataclass(frozen=True)
class Calibration:
    """Everything about the probabilities of one table of predictions. Numbers are NaN where undefined."""

    films: int
    patients: int
    curves: tuple[Reliability, ...]
    """The called class first, then the questions of the class list."""
    classwise_error: float
    """Mean of the expected calibration errors of all classes."""
    classwise_null: tuple[float, float]
    """Middle 95 % of it for a perfectly calibrated model."""
    brier: float
    """Mean of the summed squared errors of all classes, 0 to 2."""
    brier_skill: float
    """1 - brier / brier of always quoting the class shares: 1 is perfect, 0 no better than the shares."""
    log_loss: float
    """Nats."""
    log_loss_skill: float
    scheme: str = SCHEME

    def curve(self, key: str) -> Reliability:
        """The curve of that key (``KeyError`` where there is none)."""
        for curve in self.curves:
            if curve.key == key:
                return curve
        raise KeyError(key)

    @property
    def called(self) -> Reliability:
        return self.curves[0]


def calibration_of(
    table: pd.DataFrame, class_names: Sequence[str], ordinal: bool = False, *, replicates: int = NULL_REPLICATES
) -> Calibration:
    """The calibration of a table of predictions.

    Parameters
    ----------
    table : DataFrame
        As ``RunDir.predictions`` or ``levels.at_level`` give it.
    replicates : int
        Simulated perfectly calibrated models for the null bands, at least 1; same seed, same bands.

    Raises
    ------
    DataError
        As ``cases_of``.
    """
    cases = cases_of(table, class_names, ordinal)
    null = _perfect_labels(cases, replicates)
    curves = [called_reliability(cases, null)]
    for question in questions_of(class_names, ordinal):
        if len(question.positive) + len(question.negative) < len(class_names):
            continue  # its probability is conditional on a truth that nobody knows
        answers = answers_of(cases, question)
        yes = np.isin(null, [cases.class_names.index(name) for name in question.positive])
        curves.append(
            reliability(question.key, question.positive_words, answers.scores, answers.positive, _Null(cases.patients, yes))
        )
    errors, simulated = _classwise(cases, null)
    brier, log_loss = brier_score(cases), cross_entropy(cases)
    shares = np.bincount(cases.labels, minlength=len(class_names)) / len(cases.labels)
    return Calibration(
        films=len(cases.labels),
        patients=len(set(cases.patients)),
        curves=tuple(curves),
        classwise_error=float(errors),
        classwise_null=_middle(simulated),
        brier=brier,
        brier_skill=_skill(brier, 1 - float((shares**2).sum())),
        log_loss=log_loss,
        log_loss_skill=_skill(log_loss, float(-(shares[shares > 0] * np.log(shares[shares > 0])).sum())),
    )


def calibration_errors(cases: Cases, replicates: int = NULL_REPLICATES) -> dict[str, tuple[float, float, float]]:
    """``ece`` (called class) and ``ece_classwise``: the error, and the middle 95 % of it for a perfectly calibrated model."""
    null = _perfect_labels(cases, replicates)
    called, (classwise, simulated) = called_reliability(cases, null), _classwise(cases, null)
    return {
        "ece": (called.error, called.null_low, called.null_high),
        "ece_classwise": (classwise, *_middle(simulated)),
    }


def brier_score(cases: Cases) -> float:
    """Equals ``sklearn.metrics.brier_score_loss(scale_by_half=False)``, 0 to 2."""
    truth = np.eye(len(cases.class_names))[cases.labels]
    return float(((cases.probabilities - truth) ** 2).sum(axis=1).mean())


def cross_entropy(cases: Cases) -> float:
    """Mean log loss, nats; a certain mistake costs 36 and not infinity."""
    of_truth = cases.probabilities[np.arange(len(cases.labels)), cases.labels]
    return float(-np.log(np.clip(of_truth, np.finfo(np.float64).eps, 1.0)).mean())


def _skill(loss: float, of_shares: float) -> float:
    """1 - loss / loss of quoting the class shares; NaN where all cases are of one class."""
    return 1 - loss / of_shares if of_shares > 0 else math.nan


# ---- one reliability curve ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Null:
    """The cases' patients, and simulated answers of a perfectly calibrated model, shape ``(replicates, n)``."""

    patients: tuple[str, ...]
    answers: npt.NDArray[np.bool_]


def called_reliability(cases: Cases, null: npt.NDArray[np.intp]) -> Reliability:
    """Is the model right as often as it is sure? Probability of the called class against being right."""
    rows = np.arange(len(cases.labels))
    sure = cases.probabilities[rows, cases.predicted]
    right = cases.labels == cases.predicted
    return reliability(CALLED, "the called class", sure, right, _Null(cases.patients, null == cases.predicted))


def reliability(key: str, title: str, scores: Floats, yes: npt.NDArray[np.bool_], null: _Null) -> Reliability:
    """Probabilities against answers in bins of equally many cases, with the null band."""
    order, starts = equal_mass_bins(scores)
    sizes = np.diff(np.append(starts, len(scores)))
    means = np.add.reduceat(scores[order], starts) / sizes
    observed = np.add.reduceat(yes[order].astype(np.float64), starts) / sizes
    simulated = np.add.reduceat(null.answers[:, order].astype(np.float64), starts, axis=1) / sizes
    errors = (np.abs(simulated - means) * sizes).sum(axis=1) / len(scores)
    low, high = np.percentile(simulated, [2.5, 97.5], axis=0)
    names = np.asarray(null.patients, dtype=object)[order]
    bins = []
    for place, (start, size) in enumerate(zip(starts, sizes, strict=True)):
        patients = len(set(names[start : start + size]))
        wilson = wilson_interval(float(observed[place] * size), float(size), patients)
        ends = wilson or (math.nan, math.nan)
        band = float(low[place]), float(high[place])
        bins.append(Bin(float(means[place]), float(observed[place]), *ends, *band, int(size), patients))
    cells = np.clip((scores * HISTOGRAM_CELLS).astype(int), 0, HISTOGRAM_CELLS - 1)
    null_low, null_high = _middle(errors)
    return Reliability(
        key=key,
        title=title,
        bins=tuple(bins),
        histogram=tuple(np.bincount(cells, minlength=HISTOGRAM_CELLS).tolist()),
        films=len(scores),
        patients=len(set(null.patients)),
        error=float((np.abs(observed - means) * sizes).sum() / len(scores)),
        null_low=null_low,
        null_mean=float(errors.mean()),
        null_high=null_high,
    )


def equal_mass_bins(scores: Floats, bins: int = BINS) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Order of the cases by score, and where in it each bin begins: bins of equal size, but ties stay together.

    Fewer bins than asked where there are fewer cases or many ties. Equals the bins of
    ``sklearn.calibration.calibration_curve(strategy="quantile")`` where no scores tie and the bins divide the cases.
    """
    order = np.argsort(scores, kind="stable")
    ordered = scores[order]
    n, parts = len(scores), min(bins, len(scores))
    wanted = np.round(np.arange(parts) * n / parts).astype(np.intp)
    return order, np.unique(np.searchsorted(ordered, ordered[wanted], side="left")).astype(np.intp)


def _classwise(cases: Cases, null: npt.NDArray[np.intp]) -> tuple[float, Floats]:
    """Mean over classes of the calibration error, of the data and of each simulated model."""
    found, simulated = [], []
    for k in range(len(cases.class_names)):
        scores = cases.probabilities[:, k]
        order, starts = equal_mass_bins(scores)
        expected = np.add.reduceat(scores[order], starts)
        truth = np.add.reduceat((cases.labels == k)[order].astype(np.float64), starts)
        drawn = np.add.reduceat((null == k)[:, order].astype(np.float64), starts, axis=1)
        found.append(np.abs(truth - expected).sum() / len(scores))
        simulated.append(np.abs(drawn - expected).sum(axis=1) / len(scores))
    return float(np.mean(found)), np.asarray(np.mean(simulated, axis=0), dtype=np.float64)


def _perfect_labels(cases: Cases, replicates: int) -> npt.NDArray[np.intp]:
    """Labels drawn from the probabilities themselves, shape ``(replicates, n)``.

    One random number for all films of a patient that have the same true class: they have much the same truth, so they carry
    less than as many strangers. Films of hers with different true classes, such as those of a breast with a cancer and of one
    without, are drawn apart. With one film a patient this is the plain draw.
    """
    units = [f"{patient}\x1f{label}" for patient, label in zip(cases.patients, cases.labels, strict=True)]
    names, unit_of = np.unique(np.asarray(units, dtype=object).astype(str), return_inverse=True)
    drawn = np.random.default_rng(NULL_SEED).random((replicates, len(names)))[:, unit_of]
    passed = np.zeros(drawn.shape, dtype=np.intp)
    upper = np.cumsum(cases.probabilities, axis=1)
    for k in range(len(cases.class_names) - 1):
        passed += drawn >= upper[:, k] / upper[:, -1]
    return passed


def _middle(values: Floats) -> tuple[float, float]:
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)
