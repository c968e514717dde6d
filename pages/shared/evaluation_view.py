"""The results of a model on one part of its split, drawn: the headline, confusion matrix and ROC, and the worst mistakes."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from mammo_core.analysis.metrics import TITLES
from mammo_core.analysis.mistakes import worst_mistakes
from mammo_core.errors import UndefinedMetric
from mammo_core.report.charts import confusion_chart, roc_chart
from mammo_core.report.spec import Chart
from mammo_core.runs.run_dir import RunDir
from mammo_core.runs.schema import MetricsFile
from mammo_core.workflows.overview import plural, value_text
from mammo_core.workflows.shelf import ShelfRow
from pages.shared.figures import download_figure, show_chart
from pages.shared.frame import plain
from pages.shared.glossary import explain

PARTS = {"val": "Validation films", "test": "Test films"}
SHOWN_MISTAKES = 20
CHART_WIDTH = 250


def headline(model: ShelfRow, metrics: MetricsFile, runs: Sequence[RunDir], on: str) -> None:
    name = "kappa_quadratic" if runs[0].config().ordinal else "auc_ovr_macro"
    value = metrics.metrics.get(name)
    words = "undefined" if value is None else value_text(value)
    st.markdown(f"### {TITLES[name]} {plain(words)} on {metrics.n} {PARTS[on].lower()} of {metrics.patients} patients")
    parts = ["Mean of the probabilities of " + plural(len(runs), "run") if len(runs) > 1 else f"Best epoch {metrics.epoch}"]
    if on == "test":
        looks = [len(run.test_looks()) for run in runs]
        parts.append(f"test films looked at {plural(max(looks, default=0), 'time')}" + (" by each run" if len(runs) > 1 else ""))
    st.caption(f"{' · '.join(parts)}. 95 % intervals come from drawing patients anew.", help=explain("interval"))


def charts(model: ShelfRow, table: pd.DataFrame, metrics: MetricsFile, on: str) -> None:
    note, stem = f"Model {', '.join(model.runs)}; {PARTS[on].lower()}; n = {metrics.n}", f"{model.name}_{on}"
    left, right = st.columns(2)

    def confusion(width: int) -> Chart:
        return confusion_chart(metrics.confusion_matrix, metrics.class_names, width)

    with left:
        st.subheader("Confusion matrix")
        show_chart(confusion(CHART_WIDTH), "evaluate_confusion")
        data = pd.DataFrame(metrics.confusion_matrix, columns=metrics.class_names).assign(true=metrics.class_names)
        download_figure(confusion, f"{stem}_confusion", data, note, "evaluate_confusion_file")
    with right:
        st.subheader("ROC")
        try:
            show_chart(roc_chart(table, metrics.class_names, CHART_WIDTH), "evaluate_roc")
        except UndefinedMetric as undefined:
            st.info(plain(str(undefined)), icon=":material/info:")
            return
        download_figure(
            lambda width: roc_chart(table, metrics.class_names, width),
            f"{stem}_roc",
            table.drop(columns="patient_id"),
            note,
            "evaluate_roc_file",
        )


def mistakes(model: ShelfRow, table: pd.DataFrame, metrics: MetricsFile, ordinal: bool) -> None:
    st.subheader("Worst mistakes")
    wrong = worst_mistakes(table, metrics.class_names, ordinal, SHOWN_MISTAKES)
    if wrong.empty:
        st.success("No film is called wrongly.", icon=":material/check_circle:")
        return
    shown = wrong[["image_id", "center", "y_true", "y_pred", "confidence", "prob_true"]].set_axis(
        ["Film", "Centre", "True", "Called", "Probability of the call", "Probability of the truth"], axis=1
    )
    percent = {
        name: st.column_config.NumberColumn(format="%.2f") for name in ("Probability of the call", "Probability of the truth")
    }
    st.dataframe(shown, hide_index=True, column_config=percent, alt=f"The {len(shown)} worst of the wrongly called films")
    st.page_link(
        "pages/gradcam.py", label="See what influenced these scores", icon=":material/center_focus_strong:",
        query_params={"gradcam_run": model.runs[0]},
    )  # fmt: skip
