"""Compare: is the difference between groups of runs real, or chance?"""

from typing import Any

import pandas as pd
import streamlit as st

from mammo_core.report.charts import CurveView, group_curves, metric_dots
from mammo_core.report.spec import Chart
from mammo_core.runs.listing import list_cards
from mammo_core.runs.schema import HEADLINE_METRICS
from pages.shared.choice import choose
from pages.shared.comparison import PARTS, Groups, choose_groups, comparison, figure_note, measured_on, short_names
from pages.shared.figures import download_figure, download_table, show_chart
from pages.shared.frame import current_workspace, errors_in_words, page_title, plain
from pages.shared.number_tables import difference_rows, effect_rows, group_rows
from pages.shared.run_files import run_history
from pages.shared.run_picker import nothing_yet

CURVES = {
    "val_loss": ("Loss", "Validation loss (nats)"),
    "val_auc_ovr": ("Macro-AUC", "Validation macro-AUC"),
    "val_kappa_quadratic": ("Kappa", "Validation kappa (quadratic)"),
    "val_balanced_acc": ("Balanced accuracy", "Validation balanced accuracy"),
    "val_acc": ("Accuracy", "Validation accuracy"),
    "train_loss": ("Training loss", "Training loss (nats)"),
}
"""Column of the history -> its button, and the axis of its figure."""
DOTS_WIDTH, CURVES_WIDTH = 380, 460

workspace = current_workspace()


def numbers(result: dict[str, Any]) -> None:
    groups = [group for group in result["groups"] if group["n"]]
    shown_as = short_names(group["name"] for group in groups)
    drawn = [{**group, "name": shown_as[group["name"]]} for group in groups]
    shown = [metric for metric in HEADLINE_METRICS if any(metric in group["metrics"] for group in groups)]
    table = group_rows(groups, shown)
    st.dataframe(table, hide_index=True, alt=f"Mean, SD and interval of each metric. {result['answer']}")
    download_table(table, f"compare_{result['on']}", "compare_table")
    st.subheader("Every run as a dot")

    def build(width: int) -> Chart:
        return metric_dots(drawn, shown, width)

    show_chart(build(DOTS_WIDTH), "compare_dots")
    download_figure(build, f"compare_{result['on']}_dots", table, figure_note(result), "compare_dots_file")


def curves(groups: Groups, result: dict[str, Any]) -> None:
    st.subheader("All seeds with their mean")
    column = st.segmented_control(
        "Curve",
        list(CURVES),
        format_func=lambda name: CURVES[name][0],
        default="val_loss",
        required=True,
        key="compare_curve",
        bind="query-params",
    )
    counted = {run for group in result["groups"] for run in group["runs"]}
    frames = {name: {card.id: run_history(card.run) for card in cards if card.id in counted} for name, cards in groups.items()}
    shown_as = short_names(group["name"] for group in result["groups"])
    planned = max((card.status.epochs for cards in groups.values() for card in cards if card.status), default=None)

    def build(width: int) -> Chart:
        return group_curves(
            {shown_as[name]: members for name, members in frames.items()},
            column,
            CurveView(title=CURVES[column][1], epochs_planned=planned, width=width),
        )

    show_chart(build(CURVES_WIDTH), "compare_curves")
    rows = [frame.assign(group=name, run=run) for name, members in frames.items() for run, frame in members.items()]
    table = pd.concat(rows)[["group", "run", "epoch", column]]
    download_figure(build, f"compare_{column}", table, figure_note(result), "compare_curves_file")


def show(groups: Groups, on: str) -> None:
    result = comparison(workspace, groups, on)
    st.markdown(f"### {plain(result['answer'])}")
    st.caption(plain(measured_on(result)))
    if result["warnings"]:
        listed = "\n".join(f"- {plain(warning)}" for warning in result["warnings"])
        st.warning(listed, title="Before you trust it", icon=":material/warning:")
    numbers(result)
    curves(groups, result)
    if result["config_differences"]:
        st.subheader("What differs in the settings")
        st.dataframe(difference_rows(result["config_differences"]), hide_index=True, alt="Settings that differ between groups")
    if result["tests"]:
        with st.expander("Tests", icon=":material/science:"):
            st.dataframe(effect_rows(result["tests"]), hide_index=True, alt="Differences between groups with their intervals")


page_title("Compare", "Is the difference real, or chance?")
cards = list_cards(workspace)
if not cards:
    nothing_yet(
        "There is no run yet; the seeds of one experiment, or two experiments, are compared here.", "pages/train.py", "Train"
    )
else:
    with errors_in_words():
        groups = choose_groups(cards)
        on = choose("Films", PARTS, "compare_on")
        if any(groups.values()):
            show(groups, on)
        else:
            st.info("Choose one experiment to see how much its seeds differ, or two to compare them.", icon=":material/info:")
