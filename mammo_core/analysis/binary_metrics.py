"""Metrics of yes-or-no questions for the metrics file: dense against non-dense, malignant against the rest, every cut of a scale.

Thresholds are chosen on validation films and applied unchanged; each number says where its threshold comes from.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mammo_core.analysis import formulas
from mammo_core.analysis.bootstrap import Weights
from mammo_core.analysis.formulas import Floats
from mammo_core.analysis.operating_points import FIXED, YOUDEN, threshold_of
from mammo_core.analysis.predictions import Cases
from mammo_core.analysis.questions import Answers, Question, answers_of, questions_of
from mammo_core.analysis.thresholds import average_precision, weighted_counts

BINARY_TITLES = {
    "dense_auc": "AUC (upper half of the classes)",
    "dense_sensitivity": "Sensitivity, upper half (0.5)",
    "dense_specificity": "Specificity, upper half (0.5)",
    "dense_kappa": "Kappa, upper half (0.5)",
    "dense_sensitivity_youden": "Sensitivity, upper half (validation threshold)",
    "dense_specificity_youden": "Specificity, upper half (validation threshold)",
    "dense_kappa_youden": "Kappa, upper half (validation threshold)",
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
    on_validation: bool
    """Whether validation films chose them, and not the films that are judged."""

    def words(self, name: str) -> str:
        """Where a metric's threshold comes from."""
        value = self.values.get(name)
        if RULE_OF[name] == FIXED:
            return "threshold 0.5"
        shown = "none" if value is None else f"{value:.3f}" if math.isfinite(value) else "above every score"
        source = "chosen on the validation films" if self.on_validation else "chosen on these films themselves, so optimistic"
        return f"threshold {shown}, {source}"


def choose_thresholds(cases: Cases, validation: Cases | None) -> Thresholds:
    """Thresholds from the validation cases, or from ``cases`` themselves where there are none."""
    source = cases if validation is None else validation
    questions = {question.key: question for question in questions_of(source.class_names, source.ordinal)}
    values = {
        name: threshold_of(rule, answers_of(source, questions[key]))
        for name, rule in RULE_OF.items()
        if (key := name.split("_")[0]) in questions
    }
    return Thresholds(values, validation is not None)


def binary_statistics(cases: Cases, weights: Weights, thresholds: Thresholds) -> dict[str, Floats]:
    """Every metric of a yes-or-no question of every replicate, shape ``(b,)`` each; NaN where undefined."""
    questions = {question.key: question for question in questions_of(cases.class_names, cases.ordinal)}
    found = _cut_aucs(cases, weights) if cases.ordinal else _lesion_aucs(cases, weights, questions)
    for name, threshold in thresholds.values.items():
        answers = answers_of(cases, questions[name.split("_")[0]])
        called = answers.scores >= (math.nan if threshold is None else threshold)
        rate = _rate(RATE_OF[name], called, answers.positive, weights)
        found[name] = np.full(len(rate), np.nan) if threshold is None else rate
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


def _rate(rate: str, called: npt.NDArray[np.bool_], truth: npt.NDArray[np.bool_], weights: Weights) -> Floats:
    cells = np.stack([~truth & ~called, ~truth & called, truth & ~called, truth & called], axis=1)
    confusion = weights.total(cells.astype(np.float64)).reshape(-1, 2, 2)
    if rate == "kappa":
        return formulas.weighted_kappa(confusion, "none")
    return formulas.recalls(confusion)[:, 1 if rate == "sensitivity" else 0]


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
