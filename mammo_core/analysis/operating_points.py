"""What a threshold does: chosen on validation cases by a stated rule, then applied, unchanged, to the cases shown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mammo_core.analysis.bootstrap import Weights, jackknife, replicate
from mammo_core.analysis.estimates import estimate
from mammo_core.analysis.formulas import Z_95, Floats, weighted_kappa, wilson_interval
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

NO_KAPPA = "undefined: all true and called answers are one kind"

Yes = npt.NDArray[np.bool_]


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
    """Of the yes-or-no calls, unweighted, at the share of positives in these cases; its interval is in :func:`kappas`."""
    precision: float | None
    """Share of true positives among the positive calls in these cases, at their own prevalence."""


def rule_words(rule: str) -> str:
    """A rule as one chooses it for new films, with the films that the threshold comes from; the fixed one comes from none."""
    return RULES[rule] if rule == FIXED else f"{RULES[rule]} on validation films"


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
    n_yes, n_no = patients_among(answers.patients, truth), patients_among(answers.patients, ~truth)
    share = float(truth.mean()) if len(truth) else math.nan
    stated = share if prevalence is None else prevalence
    sensitivity = proportion(answers.patients, called, truth, "no positive cases")
    specificity = proportion(answers.patients, ~called, ~truth, "no negative cases")
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


def edge_words(point: OperatingPoint, units: str = "cases") -> str:
    """Why a predictive value of 1 proves little: one wrong call was not seen, which is not the same as never. Else nothing.

    ``units`` is the plural of the unit of analysis.
    """
    negatives = point.false_positives + point.true_negatives
    positives = point.true_positives + point.false_negatives
    told = []
    if point.ppv.value == 1 and point.false_positives == 0:
        told.append(f"PPV 1.000: no false positive among {negatives} {units}, so this rests on the interval.")
    if point.npv.value == 1 and point.false_negatives == 0:
        told.append(f"NPV 1.000: no positive missed among {positives} {units}, so this rests on the interval.")
    return " ".join(told)


def patients_among(patients: Sequence[str], among: Yes) -> int:
    """How many people the cases that count belong to."""
    return len({patient for patient, counted in zip(patients, among, strict=True) if counted})


def proportion(patients: Sequence[str], success: Yes, among: Yes, why: str) -> MetricValue:
    """Share of successes with its 95 % Wilson interval, n = patients: the one interval of a share of cases, wherever it stands.

    Resampling shows nothing where every case is a success; this has an interval there too.

    Parameters
    ----------
    success, among : bool arrays of shape (n_cases,)
        What is counted, and the cases that could have been.
    why : str
        Why there is no share where there are no such cases.
    """
    part, whole = int((success & among).sum()), int(among.sum())
    n = patients_among(patients, among)
    interval = wilson_interval(part, whole, n)
    if interval is None:
        return MetricValue(value=None, method=f"undefined: {why}")
    method = f"{part} of {whole}; 95 % interval: Wilson, n = {n} patients"
    if n < whole:
        method += f" and not {whole} cases, since those of a patient are not independent"
    return MetricValue(value=part / whole, ci_low=interval[0], ci_high=interval[1], method=method)


def kappas(answers: Answers, thresholds: Sequence[float], bootstrap: int = 2000) -> list[MetricValue]:
    """Unweighted kappa of the calls at each threshold, with its interval from resampled patients; as the metrics file has it."""

    def of(weights: Weights) -> dict[str, Floats]:
        return {str(i): kappa_of_calls(answers.scores >= t, answers.positive, weights) for i, t in enumerate(thresholds)}

    found = replicate(answers.patients, of, bootstrap)
    left_out = jackknife(answers.patients, of) if bootstrap else {}
    return [
        estimate(found[name], left_out.get(name), "unweighted, at the share of positives in these cases", NO_KAPPA)
        for name in found
    ]


def kappa_of_calls(called: Yes, truth: Yes, weights: Weights) -> Floats:
    """Unweighted kappa of yes-or-no calls in each replicate, shape ``(b,)``."""
    cells = np.stack([~truth & ~called, ~truth & called, truth & ~called, truth & called], axis=1)
    return weighted_kappa(weights.total(cells.astype(np.float64)).reshape(-1, 2, 2), "none")


def _kappa(cells: Sequence[int]) -> MetricValue:
    hits, alarms, missed, cleared = cells
    value = float(weighted_kappa(np.array([[cleared, alarms], [missed, hits]], dtype=np.float64), "none"))
    if math.isnan(value):
        return MetricValue(value=None, method=NO_KAPPA)
    return MetricValue(value=value, method="unweighted, at the share of positives in these cases")


# ---- predictive values at a stated prevalence -----------------------------------------------------------------------------

Successes = tuple[int, int, int]
"""Successes, cases, and patients (the n of the interval)."""


def predictive_values(positives: Successes, negatives: Successes, prevalence: float) -> tuple[MetricValue, MetricValue]:
    """PPV and NPV at a prevalence, from sensitivity and specificity alone.

    ``PPV = se p / (se p + (1 - sp)(1 - p))`` and ``NPV = sp (1 - p) / (sp (1 - p) + (1 - se) p)``; intervals on the logit scale.
    A sensitivity or specificity of 0 or 1, and only such a one, gets half a case more of either kind, so that its logit exists:
    more would draw the middle of the interval towards one half and away from the value. The prevalence counts as known exactly.

    Source
    ------
    Mercaldo, Lau and Zhou (2007), Statistics in Medicine 26:2170-2183, doi:10.1002/sim.2677 (standard logit interval).
    """
    if not positives[1] or not negatives[1] or not 0 < prevalence < 1:
        why = (
            "a prevalence of 0 or 1 leaves nothing to predict" if positives[1] and negatives[1] else "one kind of case is missing"
        )
        return MetricValue(value=None, method=f"undefined: {why}"), MetricValue(value=None, method=f"undefined: {why}")
    se, sp = positives[0] / positives[1], negatives[0] / negatives[1]
    odds = prevalence / (1 - prevalence)
    near_se, n_se = _off_the_edge(positives)
    near_sp, n_sp = _off_the_edge(negatives)
    how = f"at a prevalence of {prevalence:.1%}; 95 % interval: logit, delta method (Mercaldo 2007), n = patients"
    ppv = _predictive(se * prevalence, (1 - sp) * (1 - prevalence), "nothing is called positive")
    npv = _predictive(sp * (1 - prevalence), (1 - se) * prevalence, "nothing is called negative")
    # standard errors of log((1 - sp) / se) and log((1 - se) / sp)
    error_ppv = math.sqrt((1 - near_se) / near_se / n_se + near_sp / (1 - near_sp) / n_sp)
    error_npv = math.sqrt(near_se / (1 - near_se) / n_se + (1 - near_sp) / near_sp / n_sp)
    return (
        _with_interval(ppv, math.log(near_se * odds / (1 - near_sp)), error_ppv, how),
        _with_interval(npv, math.log(near_sp / ((1 - near_se) * odds)), error_npv, how),
    )


def _off_the_edge(counts: Successes) -> tuple[float, float]:
    """The proportion and its n; one that is 0 or 1 with half a success and half a failure more."""
    successes, cases, patients = counts
    if 0 < successes < cases:
        return successes / cases, patients
    return (successes / cases * patients + 0.5) / (patients + 1), patients + 1


def _predictive(right: float, wrong: float, why: str) -> MetricValue:
    if right + wrong == 0:
        return MetricValue(value=None, method=f"undefined: {why}")
    return MetricValue(value=right / (right + wrong))


def _with_interval(value: MetricValue, centre: float, error: float, how: str) -> MetricValue:
    if value.value is None:
        return value
    low, high = (1 / (1 + math.exp(-(centre + side * Z_95 * error))) for side in (-1, 1))
    return MetricValue(value=value.value, ci_low=min(low, value.value), ci_high=max(high, value.value), method=how)
