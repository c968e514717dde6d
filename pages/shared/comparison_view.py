"""What the Compare page shows of a comparison: numbers, differences, curves, centres, settings and one run against the rest."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from mammo_core.analysis.answers import metric_title
from mammo_core.analysis.expectation import expected
from mammo_core.analysis.variance import highest_of
from mammo_core.report import comparison_tables as tables
from mammo_core.report.charts import CurveView, group_curves, metric_dots
from mammo_core.report.charts_compare import difference_chart
from mammo_core.report.spec import Chart
from pages.shared.choice import choose
from pages.shared.comparison import PARTS, Groups, figure_note, short_names
from pages.shared.figures import download_figure, download_table, show_chart
from pages.shared.frame import plain
from pages.shared.glossary import explain
from pages.shared.run_files import run_history

Result = dict[str, Any]

CURVES = {
    "val_loss": ("Loss", "Validation loss (nats)"),
    "val_auc_ovr": ("Macro-AUC", "Validation macro-AUC"),
    "val_kappa_quadratic": ("Kappa", "Validation kappa (quadratic)"),
    "val_balanced_acc": ("Balanced accuracy", "Validation balanced accuracy"),
    "val_acc": ("Accuracy", "Validation accuracy"),
    "train_loss": ("Training loss", "Training loss (nats)"),
}
"""Column of the history -> its button, and the axis of its figure."""

DOTS_WIDTH, CURVES_WIDTH, DIFFERENCES_WIDTH = 380, 460, 360
HOW = st.column_config.TextColumn("How", width="small", help="How this number was made. Point at a cell to read all of it.")


def numbers(result: Result) -> None:
    """The table of means, and every run as a dot."""
    table = tables.group_table(result)
    text = st.column_config.TextColumn
    columns = {
        "Metric": text(width=165),
        "Group": text(width=135),
        "Mean": text(width=58),
        "SD (n-1)": text(width=66, help="Sample standard deviation over the runs, denominator n-1."),
        "n": st.column_config.NumberColumn(width=36),
        "95 % mean of runs": text("95 % mean", width=112, help=explain("t interval")),
        "95 % runs and patients": text("95 % with patients", width=122, help=explain("runs and patients")),
        "Folds joined": text(width=88, help=explain("out-of-fold")),
        "95 % one new run": text("95 % new run", width=112, help=explain("prediction interval")),
        "Runs": None,
        "How": None,
    }
    st.dataframe(table, hide_index=True, column_config=columns, alt=f"Mean, SD and intervals of each metric. {result['answer']}")
    download_table(table, f"compare_{result['on']}", "compare_table")
    st.subheader("Every run as a dot")
    groups = [group for group in result["groups"] if group["n"]]
    shown_as = short_names(group["name"] for group in groups)
    drawn = [{**group, "name": shown_as[group["name"]]} for group in groups]

    def build(width: int) -> Chart:
        return metric_dots(drawn, tables.shown_metrics(result), width)

    show_chart(build(DOTS_WIDTH), "compare_dots")
    download_figure(build, f"compare_{result['on']}_dots", table, figure_note(result), "compare_dots_file")


def differences(result: Result) -> None:
    """Effects with their intervals, and the tests in a drawer."""
    if not result["tests"]:
        return
    st.subheader("How large is the difference?")
    table = tables.difference_table(result)
    names = short_names(group["name"] for group in result["groups"])
    drawn = [{**test, "a": names[test["a"]], "b": names[test["b"]]} for test in result["tests"]]

    def build(width: int) -> Chart:
        return difference_chart(drawn, width)

    show_chart(build(DIFFERENCES_WIDTH), "compare_differences")
    download_figure(build, f"compare_{result['on']}_differences", table, figure_note(result), "compare_differences_file")
    with st.expander("Tests", icon=":material/science:"):
        st.caption(
            f"{metric_title(result['primary_metric'])} was fixed beforehand as the metric that decides; its p is corrected for "
            "the number of pairs (Holm). Everything else is exploration: with so many looks, some p fall below 0.05 by chance."
        )
        st.dataframe(table, hide_index=True, column_config={"How": HOW}, alt="Differences between groups with their intervals")
        further = tables.further_table(result)
        if len(further):
            st.caption("Other tests of the same runs, each with what it leaves out:")
            st.dataframe(further, hide_index=True, column_config={"How": HOW}, alt="Further tests between groups")
            download_table(pd.concat([table, further]), f"compare_{result['on']}_tests", "compare_tests")


def curves(groups: Groups, result: Result) -> None:
    """The mean of each group with SD band, every member visible."""
    st.subheader("All runs with their mean")
    column = choose("Curve", {name: words[0] for name, words in CURVES.items()}, "compare_curve")
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


def centres(result: Result) -> None:
    """Centre by centre, and the gap between a mixed and a held-out split."""
    if not result["centres"] and not result["split_gaps"]:
        return
    st.subheader("Centre by centre")
    for gap in result["split_gaps"]:
        found = gap["gap"]
        held = ", ".join(gap["centers"]) or "not recorded"
        st.markdown(
            plain(
                f"{metric_title(gap['metric'])} of {gap['mixed']} (centres mixed) minus {gap['held_out']} (held out: {held}): "
                f"{tables.signed(found['difference'])} ({tables.interval(found['ci_low'], found['ci_high'], plus=True)})."
            )
        )
        for warning in gap["warnings"]:
            st.warning(plain(warning), icon=":material/warning:")
    if result["centres"]:
        primary = result["primary_metric"]
        metric = primary if any(primary in row["metrics"] for row in result["centres"]) else "accuracy"
        table = tables.centre_table(result, metric)
        st.dataframe(table, hide_index=True, alt=f"{metric_title(metric)} at each centre with its interval")
        download_table(table, f"compare_{result['on']}_centres", "compare_centres")


def one_run_against_the_rest(result: Result) -> None:
    """Is this run within what the others lead one to expect?"""
    groups = {group["name"]: group for group in result["groups"] if group["n"] > 1 and group["kind"] == "seeds"}
    if not groups:
        return
    st.subheader("Is one run what the others lead one to expect?")
    left, right, third = st.columns(3)
    name = left.selectbox("Expected from", list(groups), key="compare_expect_from", persist_state="session")
    group = groups[name]
    everyone = {run: (other, index) for other in result["groups"] for index, run in enumerate(other["runs"])}
    run = right.selectbox("Run to judge", list(everyone), key="compare_expect_run", persist_state="session")
    metrics = [m for m in tables.shown_metrics(result) if m in group["metrics"]]
    metric = third.selectbox("Metric", metrics, format_func=metric_title, key="compare_expect_metric", persist_state="session")
    other, index = everyone[run]
    value = other["metrics"].get(metric, {"values": [None] * (index + 1)})["values"][index]
    if value is None:
        st.info(f"{plain(run)} has no {metric_title(metric)}.", icon=":material/info:")
        return
    rest = [v for r, v in zip(group["runs"], group["metrics"][metric]["values"], strict=True) if r != run]
    found = expected(rest, value, highest_of(metric))
    icon = ":material/help:" if found.inside is None else ":material/check_circle:" if found.inside else ":material/warning:"
    words = found.text if run not in group["runs"] else f"{found.text} ({run} itself is left out of the expectation.)"
    if other["class_names"] != group["class_names"] or (run not in group["runs"] and other["films"] != group["films"]):
        words += " It was judged on other films or classes, so this is a rough look only."
    st.info(plain(words), icon=icon)


def sources(result: Result) -> None:
    """Which data and split each number comes from, what differs in the settings, and what so many runs can show."""
    st.subheader("Where the numbers come from")
    st.dataframe(tables.source_table(result), hide_index=True, alt="Data set, split, films and runs of each group")
    st.caption(f"Measured on the {PARTS[result['on']]}, at each run's best epoch (lowest validation loss).")
    if result["config_differences"]:
        st.subheader("What differs in the settings")
        st.dataframe(tables.setting_table(result), hide_index=True, alt="Settings that differ between groups")
    if result["visibility"]:
        st.subheader("What so many runs can show")
        st.markdown("\n".join(f"- {plain(entry['text'])}" for entry in result["visibility"]))
