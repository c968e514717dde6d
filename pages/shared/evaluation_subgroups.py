"""Evaluate, view Subgroups: is it as good for everybody?"""

from __future__ import annotations

import pandas as pd
import streamlit as st

from mammo_core.analysis.levels import PLURALS
from mammo_core.analysis.subgroups import LEAST_CASES, WARNING, Subgroup, subgroup_columns, subgroup_metrics
from mammo_core.report.charts_subgroups import subgroup_chart
from mammo_core.report.spec import Chart
from mammo_core.runs.schema import MetricValue
from mammo_core.workflows.overview import value_text
from mammo_core.workflows.shelf import ShelfRow
from pages.shared.evaluation_view import name_of, note_of
from pages.shared.figures import download_figure, download_table, show_chart
from pages.shared.frame import plain
from pages.shared.glossary import explain
from pages.shared.model_results import Results

PLOT_WIDTH = 320
COLUMN_WORDS = {"center": "Centre", "vendor": "Vendor", "view": "View", "laterality": "Side"}


def subgroups(model: ShelfRow, results: Results) -> None:
    """One metric by the values of one column."""
    columns = subgroup_columns(results.units().table)
    usable = [name for name, why in columns.items() if not why]
    if not usable:
        reasons = "; ".join(f"{_word(name)} is {why}" for name, why in columns.items()) or "nothing else is known of these films"
        st.info(f"There is nothing to divide these {PLURALS[results.level]} by: {plain(reasons)}.", icon=":material/info:")
        return
    metrics = subgroup_metrics(results.class_names, results.ordinal)
    left, right = st.columns(2)
    with left:
        column = st.selectbox("By", usable, format_func=_word, key="evaluate_by", bind="query-params", help=explain("subgroup"))
    with right:
        titles = {key: metric.title for key, metric in metrics.items()}
        metric = st.selectbox(
            "Metric", list(titles), format_func=titles.__getitem__, key="evaluate_by_metric", bind="query-params"
        )
    rows, unit = results.subgroups(column, metric), PLURALS[results.level]

    def build(width: int) -> Chart:
        return subgroup_chart(rows, titles[metric], width, unit)

    table = subgroup_rows(rows, results.class_names, unit)
    show_chart(build(PLOT_WIDTH), "evaluate_subgroups")
    stem = f"{name_of(model, results)}_by_{column}"
    download_figure(build, stem, table, note_of(model, results), "evaluate_subgroups_file")
    st.caption(f"{WARNING} A metric is hidden where a class that it needs has fewer than {LEAST_CASES} {unit}.")
    st.dataframe(table, hide_index=True, alt=f"{titles[metric]} by {_word(column)} with counts")
    download_table(table, stem, "evaluate_subgroups_table")
    left_out = [f"{_word(name)} ({why})" for name, why in columns.items() if why]
    if left_out:
        st.caption(f"Cannot divide: {plain(', '.join(left_out))}.")


def _word(column: str) -> str:
    return COLUMN_WORDS.get(column, column.replace("_", " ").capitalize())


def subgroup_rows(rows: list[Subgroup], class_names: tuple[str, ...], unit: str) -> pd.DataFrame:
    """One row a group: how many of what, and the metric or why it is hidden."""
    return pd.DataFrame(
        [
            {
                "Group": row.name,
                unit.capitalize(): row.films,
                "Patients": row.patients,
                **{name: row.per_class[name] for name in class_names},
                "Value (95 % interval)": _value(row.value),
            }
            for row in rows
        ]
    )


def _value(value: MetricValue) -> str:
    """The value with its interval, or why one of the two is missing."""
    if value.value is None:
        return value.method or "undefined"
    return value_text(value) if value.ci_low is not None else f"{value_text(value)} ({value.method})"
