"""Metrics of yes-or-no questions for the metrics file: dense against non-dense, malignant against the rest, every cut of a scale.

Thresholds are chosen on validation films and applied unchanged; each number says where its threshold comes from.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from mammo_core.analysis.bootstrap import Weights
from mammo_core.analysis.formulas import Floats
from mammo_core.analysis.operating_points import FIXED, YOUDEN, kappa_of_calls, proportion, threshold_of
from mammo_core.analysis.predictions import Cases
from mammo_core.analysis.questions import Answers, Question, answers_of, questions_of
from mammo_core.analysis.thresholds import average_precision, weighted_counts
from mammo_core.runs.schema import MetricValue

Source = Literal["these", "validation", "nobody"]
"""Which films chose the thresholds: those that are judged, validation films, or none."""

BINARY_TITLES = {
    "dense_auc": "AUC (upper half of the classes)",
    "dense_sensitivity": "Sensitivity, upper half (0.5)",
    "dense_specificity": "Specificity, upper half (0.5)",
    "dense_kappa": "Kappa, upper half (0.5)",
    "dense_sensitivity_youden": "Sensitivity, upper half (threshold of the best sum)",
    "dense_specificity_youden": "Specificity, upper half (threshold of the best sum)",
    "dense_kappa_youden": "Kappa, upper half (threshold of the best sum)",
    **{f"auc_cut_{place}": f"AUC (class {place + 1} of the scale or above)" for place in range(1, 7)},
    "malignant_auc": "AUC (Malignant vs rest)",
    "malignant_ap": "Average precision (Malignant vs rest)",
    "malignant_sensitivity_at_specificity_80": "Sensitivity for Malignant (threshold for specificity 80 %)",
    "malignant_sensitivity_at_specificity_90": "Sensitivity for Malignant (threshold for specificity 90 %)",
    "malignant_specificity_at_sensitivity_90": "Specificity for Malignant (threshold for sensitivity 90 %)",
    "abnormal_auc": "AUC (abnormal vs normal)",
    "malignant_vs_benign_auc": "AUC (Malignant vs Benign, among lesions)",
}
"""What a reader sees for each metric name."""

RULE_OF = {
    **{f"dense_{rate}": FIXED for rate in ("sensitivity", "specificity", "kappa")},
    **{f"dense_{rate}_youden": YOUDEN for rate in ("sensitivity", "specificity", "kappa")},
    "malignant_sensitivity_at_specificity_80": "specificity_80",
    "malignant_sensitivity_at_specificity_90": "specificity_90",
    "malignant_specificity_at_sensitivity_90": "sensitivity_90",
}
"""Metric -> rule by which its threshold was chosen; the part before the first underscore is the question."""

RATE_OF = {name: next(word for word in name.split("_") if word in ("sensitivity", "specificity", "kappa")) for name in RULE_OF}


@dataclass(frozen=True)
class Thresholds:
    """A threshold for each metric of ``RULE_OF``, ``None`` where the films that should choose it are of one kind."""

    values: Mapping[str, float | None]
    source: Source

    def words(self, name: str) -> str:
        """Where a metric's threshold comes from."""
        value = self.values.get(name)
        if RULE_OF[name] == FIXED:
            return "threshold 0.5"
        shown = "none" if value is None else f"{value:.3f}" if math.isfinite(value) else "above every score"
        where = "chosen on the validation films" if self.source == "validation" else "chosen on these films, so optimistic"
        return f"threshold {shown}, {where}"

    def missing(self, name: str) -> str:
        """Why a metric of ``RULE_OF`` has no threshold; empty where it has one."""
        if name not in RULE_OF or self.values.get(name) is not None:
            return ""
        if self.source == "nobody":
            return "no validation films chose the threshold"
        return "films of one of the two kinds are missing where the threshold was chosen"


def choose_thresholds(cases: Cases, validation: Cases | None, itself: bool = True) -> Thresholds:
    """Thresholds from the validation cases; without them from ``cases`` themselves, or with ``itself`` false from nobody."""
    source = cases if validation is None else validation
    questions = {question.key: question for question in questions_of(source.class_names, source.ordinal)}
    asked = {name: rule for name, rule in RULE_OF.items() if name.split("_")[0] in questions}
    if validation is None and not itself:
        return Thresholds({name: 0.5 if rule == FIXED else None for name, rule in asked.items()}, "nobody")
    values = {name: threshold_of(rule, answers_of(source, questions[name.split("_")[0]])) for name, rule in asked.items()}
    return Thresholds(values, "these" if validation is None else "validation")


def binary_statistics(cases: Cases, weights: Weights, thresholds: Thresholds) -> dict[str, Floats]:
    """AUCs, average precision and kappas of the yes-or-no questions in every replicate, shape ``(b,)``; NaN where undefined."""
    questions = {question.key: question for question in questions_of(cases.class_names, cases.ordinal)}
    found = _cut_aucs(cases, weights) if cases.ordinal else _lesion_aucs(cases, weights, questions)
    for name, threshold in thresholds.values.items():
        if RATE_OF[name] != "kappa":
            continue
        answers = answers_of(cases, questions[name.split("_")[0]])
        found[name] = (
            np.full(len(weights.counts), np.nan)
            if threshold is None
            else kappa_of_calls(answers.scores >= threshold, answers.positive, weights)
        )
    return found


def binary_proportions(cases: Cases, thresholds: Thresholds) -> dict[str, MetricValue]:
    """Sensitivities and specificities at the thresholds, with Wilson intervals."""
    questions = {question.key: question for question in questions_of(cases.class_names, cases.ordinal)}
    found = {}
    for name, threshold in thresholds.values.items():
        if RATE_OF[name] == "kappa":
            continue
        if threshold is None:
            found[name] = MetricValue(value=None, method=f"undefined: {thresholds.missing(name)}")
            continue
        answers = answers_of(cases, questions[name.split("_")[0]])
        called, truth = answers.scores >= threshold, answers.positive
        is_hits = RATE_OF[name] == "sensitivity"
        rate = proportion(
            answers.patients,
            called if is_hits else ~called,
            truth if is_hits else ~truth,
            f"no {'positive' if is_hits else 'negative'} cases",
        )
        how = binary_definition(name, cases, thresholds)
        found[name] = rate if rate.value is None else rate.model_copy(update={"method": f"{how}; {rate.method}"})
    return found


def _cut_aucs(cases: Cases, weights: Weights) -> dict[str, Floats]:
    k = len(cases.class_names)
    found = {}
    for place in range(1, k):
        found[f"auc_cut_{place}"] = weights.auc(cases.probabilities[:, place:].sum(axis=1), cases.labels >= place)
    middle = k - len(cases.upper_half)
    return {"dense_auc": found[f"auc_cut_{middle}"], **found} if k > 1 else {}


def _lesion_aucs(cases: Cases, weights: Weights, questions: Mapping[str, Question]) -> dict[str, Floats]:
    found = {}
    if "malignant" in questions:
        answers = answers_of(cases, questions["malignant"])
        found["malignant_auc"] = weights.auc(answers.scores, answers.positive)
        found["malignant_ap"] = average_precision(*weighted_counts(weights, answers))
    if "abnormal" in questions:
        found["abnormal_auc"] = _auc(answers_of(cases, questions["abnormal"]), weights, np.ones(len(cases.labels), dtype=bool))
    if "malignant_vs_benign" in questions:
        question = questions["malignant_vs_benign"]
        lesions = np.isin(cases.labels, [cases.class_names.index(n) for n in (*question.positive, *question.negative)])
        found["malignant_vs_benign_auc"] = _auc(answers_of(cases, question), weights, lesions)
    return found


def _auc(answers: Answers, weights: Weights, asked: npt.NDArray[np.bool_]) -> Floats:
    if not asked.any():
        return np.full(len(weights.counts), np.nan)
    return Weights(weights.counts, weights.patient_of[asked]).auc(answers.scores, answers.positive)


def binary_definition(name: str, cases: Cases, thresholds: Thresholds) -> str:
    """What a metric of this module means for these classes."""
    if name in RULE_OF:
        positive = " or ".join(cases.upper_half) if name.startswith("dense") else "Malignant"
        return f"{positive} against the rest; {thresholds.words(name)}"
    if name.startswith("auc_cut_"):
        place = int(name.removeprefix("auc_cut_"))
        return f"{' or '.join(cases.class_names[place:])} against the rest"
    return {
        "dense_auc": f"{' or '.join(cases.upper_half)} against the rest",
        "malignant_auc": "Malignant against the rest",
        "malignant_ap": "Malignant against the rest; guessing gives the share of malignant films",
        "abnormal_auc": "every other class against Normal",
        "malignant_vs_benign_auc": "films of both classes only",
    }.get(name, "")
