"""Evaluate, view Threshold: what follows from calling a case positive from a certain score on?"""

from __future__ import annotations

import math
from dataclasses import replace

import pandas as pd
import streamlit as st

from mammo_core.analysis.levels import PLURALS
from mammo_core.analysis.operating_points import RULES, YOUDEN, OperatingPoint, apply_threshold, edge_words, threshold_of
from mammo_core.analysis.predictions import cases_of
from mammo_core.analysis.questions import Answers, Question, answers_of, questions_of
from mammo_core.report.charts_ranking import Mark, RankingView, roc_chart
from mammo_core.report.spec import Chart
from mammo_core.runs.schema import MetricValue
from mammo_core.workflows.overview import value_text
from mammo_core.workflows.shelf import ShelfRow
from pages.shared.evaluation_ranking import pick_question, points
from pages.shared.evaluation_view import PART_WORDS, name_of, note_of
from pages.shared.figures import download_figure, download_table, show_chart
from pages.shared.frame import plain
from pages.shared.glossary import explain
from pages.shared.model_results import Results

BY_HAND = "by_hand"
PLOT_WIDTH = 260
RULE_WORDS = {YOUDEN: "Best sum", "sensitivity_90": "Sensitivity 90 %", "sensitivity_80": "Sensitivity 80 %"} | {
    "specificity_90": "Specificity 90 %", "specificity_80": "Specificity 80 %", "fixed_50": "0.5", BY_HAND: "By hand"
}  # fmt: skip


def threshold(model: ShelfRow, results: Results) -> None:
    """Choose a question, a threshold and a prevalence; see what they give."""
    key = pick_question(results, "evaluate_question_threshold")
    question = next(q for q in questions_of(results.class_names, results.ordinal) if q.key == key)
    answers = answers_of(cases_of(results.units().table, results.class_names, results.ordinal), question)
    positives = int(answers.positive.sum())
    if not 0 < positives < len(answers.positive):
        (curve,) = results.ranking((key,))
        st.info(
            f"There is nothing to divide: {plain(curve.undefined)} among these {PLURALS[results.level]}.", icon=":material/info:"
        )
        return
    validation = results.validation()
    chooser = None
    if validation is not None:
        chooser = answers_of(cases_of(validation, results.class_names, results.ordinal), question)
    value = _pick_threshold(chooser, results)
    prevalence = _pick_prevalence(positives / len(answers.positive), key)
    if value is None:
        return
    point = replace(apply_threshold(answers, value, prevalence), kappa=results.kappas(question, (value,))[0])
    _numbers(point, question, PLURALS[results.level])
    left, right = st.columns(2)
    with left:
        _curve(model, results, key, point)
    with right:
        _counts(point, question, results)
    _all_rules(model, results, (question, answers, chooser), prevalence)


def _pick_threshold(chooser: Answers | None, results: Results) -> float | None:
    rule = st.segmented_control(
        "Threshold for", list(RULE_WORDS), format_func=RULE_WORDS.__getitem__, default=YOUDEN, required=True,
        key="evaluate_rule", bind="query-params", help=explain("threshold"),
    )  # fmt: skip
    if rule == BY_HAND:
        value = st.slider(
            "Called positive from this score on", 0.0, 1.0, 0.5, 0.01, key="evaluate_threshold", bind="query-params"
        )
        return float(value)
    found = threshold_of(rule, chooser) if chooser is not None else (0.5 if rule == "fixed_50" else None)
    if found is None:
        st.info(
            "The validation films cannot choose a threshold: one of the two answers does not occur there.", icon=":material/info:"
        )
        return None
    number = f"{found:.3f}" if math.isfinite(found) else "above every score"
    if rule == "fixed_50":
        st.caption("Threshold 0.5: not chosen on any films.")
    elif results.on == "val":
        st.caption(f"Threshold {number}: {RULES[rule]}. Chosen on the films shown, so the numbers below are optimistic.")
    else:
        st.caption(
            f"Threshold {number}: {RULES[rule]} on the validation films, then applied to the {PART_WORDS[results.on]} films."
        )
    return found


def _pick_prevalence(share: float, key: str) -> float:
    percent = st.number_input(
        "Prevalence for the predictive values (%)", 0.01, 99.99, value=None, step=0.5, format="%.2f", width=330,
        key=f"evaluate_prevalence_{key}", bind="query-params", placeholder=f"{100 * share:.1f} as here",
        help=explain("prevalence"),
    )  # fmt: skip
    return share if percent is None else float(percent) / 100


def _numbers(point: OperatingPoint, question: Question, units: str) -> None:
    shown = (
        ("Sensitivity", point.sensitivity, "sensitivity"),
        ("Specificity", point.specificity, "specificity"),
        ("PPV", point.ppv, "predictive value"),
        ("NPV", point.npv, "predictive value"),
        ("Kappa (yes or no)", point.kappa, "kappa"),
    )
    for column, (title, value, word) in zip(st.columns(len(shown)), shown, strict=True):
        column.metric(title, "undefined" if value.value is None else f"{value.value:.3f}", help=explain(word))
        column.caption(plain(_interval(value)))
    st.caption(
        f"Positive means {plain(question.positive_words)}. Predictive values are computed for a prevalence of "
        f"{point.prevalence:.1%} from sensitivity and specificity; other people give other values. {edge_words(point, units)}"
    )


def _interval(value: MetricValue) -> str:
    if value.value is None:
        return value.method.removeprefix("undefined: ")
    return "" if value.ci_low is None or value.ci_high is None else f"{value.ci_low:.3f} to {value.ci_high:.3f}"


def _curve(model: ShelfRow, results: Results, key: str, point: OperatingPoint) -> None:
    curves = results.ranking((key,))
    name = f"threshold {point.threshold:.2f}" if math.isfinite(point.threshold) else "nothing called positive"
    mark = Mark(name, point.sensitivity.value or 0.0, point.specificity.value or 0.0, point.precision)

    def build(width: int) -> Chart:
        return roc_chart(curves, RankingView(width=width, marks=(mark,)))

    st.subheader("ROC", help=explain("auc"))
    show_chart(build(PLOT_WIDTH), "evaluate_threshold_roc")
    stem = f"{name_of(model, results)}_threshold"
    download_figure(build, stem, points(list(curves)), note_of(model, results), "evaluate_threshold_file")


def _counts(point: OperatingPoint, question: Question, results: Results) -> None:
    st.subheader(f"{PLURALS[results.level].capitalize()} at this threshold")
    yes, no = question.positive_words, " or ".join(question.negative)
    table = pd.DataFrame(
        {
            "": [f"Truly {yes}", f"Truly {no}"],
            "Called positive": [point.true_positives, point.false_positives],
            "Called negative": [point.false_negatives, point.true_negatives],
        }
    )
    st.dataframe(table, hide_index=True, alt=f"Two by two table: {point.true_positives} true positives, {point.false_positives} "
                 f"false positives, {point.false_negatives} false negatives, {point.true_negatives} true negatives")  # fmt: skip
    called = point.true_positives + point.false_positives
    if point.precision is not None:
        st.caption(
            f"Of {called} called positive here, {point.true_positives} are truly positive ({point.precision:.1%}), at their own "
            "prevalence."
        )


def _all_rules(model: ShelfRow, results: Results, asked: tuple[Question, Answers, Answers | None], prevalence: float) -> None:
    question, answers, chooser = asked
    if chooser is None:
        st.info("There are no predictions on validation films, so no threshold can be chosen there.", icon=":material/info:")
        return
    st.subheader("Every rule")
    chosen = {title: found for rule, title in RULES.items() if (found := threshold_of(rule, chooser)) is not None}
    rows = []
    for (title, found), kappa in zip(chosen.items(), results.kappas(question, tuple(chosen.values())), strict=True):
        point = apply_threshold(answers, found, prevalence)
        rows.append(
            {
                "Threshold for": title,
                "Threshold": f"{found:.3f}" if math.isfinite(found) else "above every score",
                "Sensitivity": value_text(point.sensitivity),
                "Specificity": value_text(point.specificity),
                "PPV": value_text(point.ppv),
                "NPV": value_text(point.npv),
                "Kappa": value_text(kappa),
            }
        )
    table = pd.DataFrame(rows)
    st.dataframe(table, hide_index=True, alt="Sensitivity, specificity and predictive values for each rule")
    download_table(table, f"{name_of(model, results)}_thresholds", "evaluate_threshold_table")
