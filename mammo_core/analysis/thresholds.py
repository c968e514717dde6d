"""How well a model ranks cases for a yes-or-no question: exact ROC and precision-recall curves, AUC and average precision.

Points are exact (every threshold that occurs); only a drawing thins them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from mammo_core.analysis.bootstrap import Weights, jackknife, replicate
from mammo_core.analysis.estimates import estimate
from mammo_core.analysis.formulas import Floats, ratio
from mammo_core.analysis.predictions import cases_of
from mammo_core.analysis.questions import Answers, Question, answers_of, questions_of
from mammo_core.runs.schema import MetricValue

REPLICATES = 2000
BAND_POINTS = 101
"""False positive rates at which the band of a ROC curve is computed."""


@dataclass(frozen=True, eq=False)
class RankingCurve:
    """ROC and precision-recall curve of one question. Arrays are empty where ``undefined`` says why there is no curve."""

    question: Question
    films: int
    """Cases that the question is about: films, or breasts, exams, patients at those levels."""
    positives: int
    patients: int
    positive_patients: int
    """Patients with at least one positive case."""
    auc: MetricValue
    average_precision: MetricValue
    false_positive_rate: Floats
    """From 0 to 1, one for each threshold; starts with the point (0, 0) at threshold infinity."""
    true_positive_rate: Floats
    thresholds: Floats
    """A case is called positive from this score on; falling, the first is infinity."""
    precision: Floats
    """One for each threshold but infinity, thresholds falling; equals ``precision_recall_curve`` turned round, without its
    made-up last point."""
    recall: Floats
    band_rates: Floats
    """False positive rates of the band; empty without a bootstrap."""
    band_low: Floats
    band_high: Floats
    """Middle 95 % of the sensitivities over resampled patients, rate by rate."""
    undefined: str = ""

    @property
    def title(self) -> str:
        return self.question.title

    @property
    def prevalence(self) -> float:
        """Share of positives among the cases, in [0, 1]; NaN without cases."""
        return self.positives / self.films if self.films else math.nan


def ranking_of(
    table: pd.DataFrame,
    class_names: Sequence[str],
    ordinal: bool,
    keys: Sequence[str] | None = None,
    *,
    bootstrap: int = REPLICATES,
) -> tuple[RankingCurve, ...]:
    """The curves of a table of predictions, one for each question of ``questions_of`` (or those whose key is in ``keys``).

    Parameters
    ----------
    table : DataFrame
        As ``RunDir.predictions`` or ``levels.at_level`` give it.
    keys : sequence of str, optional
        Keys of questions, such as ``["dense"]``; all where left out. Unknown ones are passed over.
    bootstrap : int
        Replicates of patients for the intervals and the band; 0 leaves them out.

    Raises
    ------
    DataError
        As ``cases_of``.
    """
    cases = cases_of(table, class_names, ordinal)
    asked = [question for question in questions_of(class_names, ordinal) if keys is None or question.key in keys]
    return tuple(curve_of(question, answers_of(cases, question), bootstrap, cases.patients) for question in asked)


def curve_of(
    question: Question, answers: Answers, bootstrap: int = REPLICATES, patients: Sequence[str] | None = None
) -> RankingCurve:
    """The curve of one question; with a reason in ``undefined`` where only one kind of answer occurs.

    ``patients`` are those that a replicate draws from, where the question leaves some of them out (malignant among lesions): the
    number of lesions is then as much chance as it was, and the interval is the same as that of the metrics file.
    """
    n, positives = len(answers.positive), int(answers.positive.sum())
    counts = {
        "films": n,
        "positives": positives,
        "patients": len(set(answers.patients)),
        "positive_patients": len({p for p, yes in zip(answers.patients, answers.positive, strict=True) if yes}),
    }
    if not 0 < positives < n:
        missing = question.positive if positives == 0 else question.negative
        return _no_curve(question, counts, f"no cases of {' or '.join(missing)}")
    thresholds, hits, alarms = operating_counts(answers.scores, answers.positive)
    auc, precision_mean, band = _with_intervals(answers, answers.patients if patients is None else patients, bootstrap)
    return RankingCurve(
        question=question,
        auc=auc,
        average_precision=precision_mean,
        false_positive_rate=alarms / (n - positives),
        true_positive_rate=hits / positives,
        thresholds=thresholds,
        precision=hits[1:] / (hits + alarms)[1:],
        recall=hits[1:] / positives,
        band_rates=band[0],
        band_low=band[1],
        band_high=band[2],
        films=counts["films"],
        positives=counts["positives"],
        patients=counts["patients"],
        positive_patients=counts["positive_patients"],
    )


def _no_curve(question: Question, counts: dict[str, int], why: str) -> RankingCurve:
    nothing, undefined = np.empty(0), MetricValue(value=None, method=f"undefined: {why}")
    return RankingCurve(
        question=question, auc=undefined, average_precision=undefined, false_positive_rate=nothing, true_positive_rate=nothing,
        thresholds=nothing, precision=nothing, recall=nothing, band_rates=nothing, band_low=nothing, band_high=nothing,
        undefined=why, films=counts["films"], positives=counts["positives"], patients=counts["patients"],
        positive_patients=counts["positive_patients"],
    )  # fmt: skip


def operating_counts(scores: Floats, positive: npt.NDArray[np.bool_]) -> tuple[Floats, Floats, Floats]:
    """Thresholds (falling, infinity first), true positives and false positives at each, where ``score >= threshold`` is a yes.

    Equals ``sklearn.metrics.roc_curve(drop_intermediate=False)`` in counts.
    """
    order = np.argsort(-scores, kind="stable")
    last_of_tie = np.append(np.diff(scores[order]) != 0, True) if len(order) else np.empty(0, dtype=bool)
    hits = np.cumsum(positive[order])[last_of_tie].astype(np.float64)
    alarms = np.cumsum(~positive[order])[last_of_tie].astype(np.float64)
    start = np.zeros(1)
    return (
        np.concatenate([[math.inf], scores[order][last_of_tie]]),
        np.concatenate([start, hits]),
        np.concatenate([start, alarms]),
    )


# ---- intervals ------------------------------------------------------------------------------------------------------------


def _with_intervals(
    answers: Answers, everyone: Sequence[str], bootstrap: int
) -> tuple[MetricValue, MetricValue, tuple[Floats, Floats, Floats]]:
    """AUC, average precision and the band of the ROC curve."""
    patients = sorted(set(everyone))
    column = {patient: place for place, patient in enumerate(patients)}
    patient_of = np.array([column[patient] for patient in answers.patients], dtype=np.intp)

    def statistics(drawn: Weights) -> dict[str, Floats]:
        weights = Weights(drawn.counts, patient_of)
        hits, alarms = weighted_counts(weights, answers)
        rates = _sensitivity_at(hits, alarms)
        return {"auc": weights.auc(answers.scores, answers.positive), "ap": average_precision(hits, alarms), "rates": rates}

    found = replicate(patients, statistics, bootstrap)
    nothing = np.empty(0)
    band = (nothing, nothing, nothing)
    rates = found["rates"][1:]
    rates = rates[~np.isnan(rates).any(axis=1)]
    if len(rates) > 1:
        low, high = np.percentile(rates, [2.5, 97.5], axis=0)
        band = (np.linspace(0, 1, BAND_POINTS), low, high)
    left_out = jackknife(patients, statistics) if bootstrap else {}
    auc = estimate(found["auc"], left_out.get("auc"))
    return auc, estimate(found["ap"], left_out.get("ap"), "average precision, without interpolation"), band


def weighted_counts(weights: Weights, answers: Answers) -> tuple[Floats, Floats]:
    """Weighted true and false positives of each replicate at each threshold, thresholds falling; shape ``(b, thresholds)``."""
    order = np.argsort(-answers.scores, kind="stable")
    ordered = answers.scores[order]
    ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
    drawn = weights.counts[:, weights.patient_of[order]]
    is_positive = answers.positive[order]
    return np.cumsum(drawn * is_positive, axis=1)[:, ends], np.cumsum(drawn * ~is_positive, axis=1)[:, ends]


def average_precision(hits: Floats, alarms: Floats) -> Floats:
    """Mean precision over the positives, shape ``(b,)``; NaN without positives.

    Takes cumulated counts of shape ``(b, thresholds)``. Equals ``sklearn.metrics.average_precision_score(sample_weight=...)``.
    """
    called = hits + alarms
    precision = np.divide(hits, called, out=np.zeros_like(hits), where=called > 0)
    gained = np.diff(hits, axis=1, prepend=0.0)
    return ratio((precision * gained).sum(axis=1), hits[:, -1])


def _sensitivity_at(hits: Floats, alarms: Floats) -> Floats:
    """Sensitivity at ``BAND_POINTS`` false positive rates, shape ``(b, BAND_POINTS)``; NaN where a replicate has one class."""
    grid = np.linspace(0, 1, BAND_POINTS)
    found = np.full((len(hits), BAND_POINTS), np.nan)
    rows = np.flatnonzero((hits[:, -1] > 0) & (alarms[:, -1] > 0))
    start = np.zeros((len(rows), 1))
    shares = (np.hstack([start, counts[rows] / counts[rows, -1:]]) for counts in (alarms, hits))
    for row, false_yes, true_yes in zip(rows, *shares, strict=True):
        found[row] = np.interp(grid, false_yes, true_yes)
    return found
