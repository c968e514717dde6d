"""Evaluate, view Ranking: does the model give higher scores where the answer is yes?"""

from __future__ import annotations

import pandas as pd
import streamlit as st

from mammo_core.analysis.levels import PLURALS
from mammo_core.analysis.questions import questions_of
from mammo_core.analysis.thresholds import RankingCurve
from mammo_core.report.charts_ranking import RankingView, precision_recall_chart, roc_chart
from mammo_core.report.spec import Chart
from mammo_core.workflows.overview import value_text
from mammo_core.workflows.shelf import ShelfRow
from pages.shared.evaluation_view import name_of, note_of
from pages.shared.figures import download_figure, download_table, show_chart
from pages.shared.frame import plain
from pages.shared.glossary import explain
from pages.shared.model_results import Results

ALL = "all"
PLOT_WIDTH = 280


def pick_question(results: Results, key: str, with_all: bool = False) -> str:
    """A yes-or-no question of the class list, kept in the URL; ``all`` where that is offered and nothing was chosen."""
    titles = {question.key: question.title for question in questions_of(results.class_names, results.ordinal)}
    words = ({ALL: "All questions"} if with_all else {}) | titles
    return str(
        st.selectbox(
            "Question", list(words), format_func=words.__getitem__, key=key, bind="query-params", help=explain("question")
        )
    )


def ranking(model: ShelfRow, results: Results) -> None:
    """ROC and precision-recall side by side, and their numbers below."""
    chosen = pick_question(results, "evaluate_question", with_all=True)
    curves = results.ranking() if chosen == ALL else results.ranking((chosen,))
    defined = [curve for curve in curves if not curve.undefined]
    for curve in curves:
        if curve.undefined:
            st.info(
                f"{plain(curve.title)}: no curve, since there are {plain(curve.undefined)} among these {PLURALS[results.level]}.",
                icon=":material/info:",
            )
    if not defined:
        return
    charts = (
        ("ROC", "roc", roc_chart, "auc"),
        ("Precision and recall", "precision_recall", precision_recall_chart, "average precision"),
    )
    for column, (title, stem, draw, word) in zip(st.columns(2), charts, strict=True):
        with column:
            st.subheader(title, help=explain(word))

            def build(width: int, draw=draw) -> Chart:  # type: ignore[no-untyped-def]
                return draw(defined, RankingView(width=width))

            show_chart(build(PLOT_WIDTH), f"evaluate_{stem}")
            download_figure(
                build, f"{name_of(model, results)}_{stem}", points(defined), note_of(model, results), f"evaluate_{stem}_file"
            )
    st.caption("Ranking says nothing about whether the probabilities are right: see Calibration.")
    table = ranking_rows(curves)
    st.dataframe(table, hide_index=True, alt="Area under the ROC curve and average precision of each question")
    download_table(table, f"{name_of(model, results)}_ranking", "evaluate_ranking_table")


def ranking_rows(curves: tuple[RankingCurve, ...]) -> pd.DataFrame:
    """One row a question."""
    return pd.DataFrame(
        {
            "Question": [curve.title for curve in curves],
            "AUC (95 % interval)": [value_text(curve.auc) for curve in curves],
            "Average precision (95 % interval)": [value_text(curve.average_precision) for curve in curves],
            "Positive": [curve.positives for curve in curves],
            "Of": [curve.films for curve in curves],
            "Positive patients": [curve.positive_patients for curve in curves],
        }
    )


def points(curves: list[RankingCurve]) -> pd.DataFrame:
    """Every threshold of every curve, exact, for the CSV."""
    return pd.concat(
        [
            pd.DataFrame(
                {
                    "question": curve.title,
                    "threshold": curve.thresholds,
                    "sensitivity": curve.true_positive_rate,
                    "specificity": 1 - curve.false_positive_rate,
                    "precision": [None, *curve.precision],
                }
            )
            for curve in curves
        ]
    )
