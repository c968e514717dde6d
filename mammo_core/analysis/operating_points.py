"""What a threshold does: chosen on validation cases by a stated rule, then applied, unchanged, to the cases shown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mammo_core.analysis.formulas import Z_95, weighted_kappa, wilson_interval
from mammo_core.analysis.questions import Answers
from mammo_core.analysis.thresholds import operating_counts
from mammo_core.runs.schema import MetricValue

FIXED = "fixed_50"
YOUDEN = "youden"
RULES = {
    FIXED: "0.5, not chosen",
    YOUDEN: "largest sensitivity + specificity",
    "sensitivity_90": "sensitivity at least 90 %",
    "sensitivity_80": "sensitivity at least 80 %",
    "specificity_90": "specificity at least 90 %",
    "specificity_80": "specificity at least 80 %",
}
"""Rules by which a threshold is chosen, and what the reader sees."""

ROUNDING = 1e-9


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold and everything that follows from it on the cases shown."""

    threshold: float
    """A case is called positive from this score on."""
    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int
    sensitivity: MetricValue
    specificity: MetricValue
    prevalence: float
    """For which the predictive values hold, in [0, 1]."""
    ppv: MetricValue
    npv: MetricValue
    kappa: MetricValue
    """Of the yes-or-no calls, unweighted, at the share of positives in these cases."""
    precision: float | None
    """Share of true positives among the positive calls in these cases, at their own prevalence."""


def threshold_of(rule: str, answers: Answers) -> float | None:
    """The threshold that a rule of ``RULES`` chooses on these (validation) cases; ``None`` where they have one kind only.

    Among thresholds that keep the promised sensitivity the highest, so the one with the best specificity; among those that keep
    the promised specificity the lowest. Infinity where no case may be called positive to keep it.
    """
    if rule == FIXED:
        return 0.5
    positives = int(answers.positive.sum())
    if not 0 < positives < len(answers.positive):
        return None
    thresholds, hits, alarms = operating_counts(answers.scores, answers.positive)
    sensitivity, specificity = hits / positives, 1 - alarms / (len(answers.positive) - positives)
    if rule == YOUDEN:
        return float(thresholds[int(np.argmax(sensitivity + specificity))])
    kind, percent = rule.rsplit("_", 1)
    least = int(percent) / 100 - ROUNDING
    if kind == "sensitivity":
        return float(thresholds[int(np.argmax(sensitivity >= least))])
    return float(thresholds[int(np.flatnonzero(specificity >= least)[-1])])


def apply_threshold(answers: Answers, threshold: float, prevalence: float | None = None) -> OperatingPoint:
    """What the threshold gives on these cases.

    Parameters
    ----------
    prevalence : float in (0, 1), optional
        Share of positives among the people for whom the predictive values are wanted; that of these cases where left out.
    """
    called, truth = answers.scores >= threshold, answers.positive
    cells = [int((a & b).sum()) for a, b in ((called, truth), (called, ~truth), (~called, truth), (~called, ~truth))]
    hits, alarms, missed, cleared = cells
    n_yes, n_no = _patients(answers, truth), _patients(answers, ~truth)
    share = float(truth.mean()) if len(truth) else math.nan
    stated = share if prevalence is None else prevalence
    sensitivity = _proportion(hits, hits + missed, n_yes, "no positive cases")
    specificity = _proportion(cleared, cleared + alarms, n_no, "no negative cases")
    ppv, npv = predictive_values((hits, hits + missed, n_yes), (cleared, cleared + alarms, n_no), stated)
    return OperatingPoint(
        threshold=threshold,
        true_positives=hits,
        false_positives=alarms,
        false_negatives=missed,
        true_negatives=cleared,
        sensitivity=sensitivity,
        specificity=specificity,
        prevalence=stated,
        ppv=ppv,
        npv=npv,
        kappa=_kappa(cells),
        precision=hits / (hits + alarms) if hits + alarms else None,
    )


def _patients(answers: Answers, among: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> int:
    return len({patient for patient, counted in zip(answers.patients, among, strict=True) if counted})


def _proportion(part: int, whole: int, patients: int, why: str) -> MetricValue:
    interval = wilson_interval(part, whole, patients)
    if interval is None:
        return MetricValue(value=None, method=f"undefined: {why}")
    method = f"{part} of {whole}; 95 % interval: Wilson, n = {patients} patients"
    return MetricValue(value=part / whole, ci_low=interval[0], ci_high=interval[1], method=method)


def _kappa(cells: Sequence[int]) -> MetricValue:
    hits, alarms, missed, cleared = cells
    value = float(weighted_kappa(np.array([[cleared, alarms], [missed, hits]], dtype=np.float64), "none"))
    if math.isnan(value):
        return MetricValue(value=None, method="undefined: all true and called answers are one kind")
    return MetricValue(value=value, method="unweighted, at the share of positives in these cases")


# ---- predictive values at a stated prevalence -----------------------------------------------------------------------------

Successes = tuple[int, int, int]
"""Successes, cases, and patients (the n of the interval)."""


def predictive_values(positives: Successes, negatives: Successes, prevalence: float) -> tuple[MetricValue, MetricValue]:
    """PPV and NPV at a prevalence, from sensitivity and specificity alone.

    ``PPV = se p / (se p + (1 - sp)(1 - p))`` and ``NPV = sp (1 - p) / (sp (1 - p) + (1 - se) p)``; intervals on the logit scale
    with two cases added to each kind, so that they exist at 0 and 1 too. The prevalence counts as known exactly.

    Source
    ------
    Mercaldo, Lau and Zhou (2007), Statistics in Medicine 26:2170-2183, doi:10.1002/sim.2677 (adjusted logit interval).
    """
    if not positives[1] or not negatives[1] or not 0 < prevalence < 1:
        why = (
            "a prevalence of 0 or 1 leaves nothing to predict" if positives[1] and negatives[1] else "one kind of case is missing"
        )
        return MetricValue(value=None, method=f"undefined: {why}"), MetricValue(value=None, method=f"undefined: {why}")
    se, sp = positives[0] / positives[1], negatives[0] / negatives[1]
    odds = prevalence / (1 - prevalence)
    near_se, n_se = _adjusted(positives)
    near_sp, n_sp = _adjusted(negatives)
    how = f"at a prevalence of {prevalence:.1%}; 95 % interval: adjusted logit (Mercaldo 2007), n = patients"
    ppv = _predictive(se * prevalence, (1 - sp) * (1 - prevalence), "nothing is called positive")
    npv = _predictive(sp * (1 - prevalence), (1 - se) * prevalence, "nothing is called negative")
    # standard errors of log((1 - sp) / se) and log((1 - se) / sp)
    error_ppv = math.sqrt((1 - near_se) / near_se / n_se + near_sp / (1 - near_sp) / n_sp)
    error_npv = math.sqrt(near_se / (1 - near_se) / n_se + (1 - near_sp) / near_sp / n_sp)
    return (
        _with_interval(ppv, math.log(near_se * odds / (1 - near_sp)), error_ppv, how),
        _with_interval(npv, math.log(near_sp / ((1 - near_se) * odds)), error_npv, how),
    )


def _adjusted(counts: Successes) -> tuple[float, float]:
    """The proportion drawn a little towards one half, and its n: z² / 2 successes and failures more (Agresti and Coull)."""
    successes, cases, patients = counts
    n = patients + Z_95**2
    return (successes / cases * patients + Z_95**2 / 2) / n, n


def _predictive(right: float, wrong: float, why: str) -> MetricValue:
    if right + wrong == 0:
        return MetricValue(value=None, method=f"undefined: {why}")
    return MetricValue(value=right / (right + wrong))


def _with_interval(value: MetricValue, centre: float, error: float, how: str) -> MetricValue:
    if value.value is None:
        return value
    low, high = (1 / (1 + math.exp(-(centre + side * Z_95 * error))) for side in (-1, 1))
    return MetricValue(value=value.value, ci_low=min(low, value.value), ci_high=max(high, value.value), method=how)
