"""Evaluate, view Calibration: do the probabilities mean what they say, and would a temperature help?"""

from __future__ import annotations

import math

import pandas as pd
import streamlit as st

from mammo_core.analysis.calibration import SCHEME, SHARED_TRUTH, Calibration, Reliability, Temperature
from mammo_core.analysis.levels import PLURALS
from mammo_core.report.charts_calibration import ReliabilityView, finding, reliability_chart
from mammo_core.report.spec import Chart
from mammo_core.workflows.shelf import ShelfRow
from pages.shared.evaluation_view import name_of, note_of
from pages.shared.figures import download_figure, download_table, show_chart
from pages.shared.frame import plain
from pages.shared.glossary import explain
from pages.shared.model_results import Results

PLOT_WIDTH = 280
RANKING_CASES = 1000
"""Below this many cases models should not be ranked by their calibration error."""


def calibration(model: ShelfRow, results: Results) -> None:
    """The finding in words, the reliability diagram, and what a temperature from the validation films changes."""
    found, temperature = results.calibration(), results.temperature()
    is_useful = temperature is not None and not temperature.at_limit
    after = results.calibration_after(temperature) if temperature is not None and is_useful else None
    words = {curve.key: f"Probability of {curve.title}" for curve in found.curves}
    left, right = st.columns([2, 1], vertical_alignment="bottom")
    with left:
        key = st.selectbox(
            "Probability", list(words), format_func=words.__getitem__, key="evaluate_probability", bind="query-params"
        )
    with right:
        scaled = st.toggle(
            "After temperature scaling", key="evaluate_scaled", bind="query-params", disabled=after is None,
            help=explain("temperature"),
        )  # fmt: skip
    curve = found.curve(key)
    other = after.curve(key) if scaled and after is not None else None
    st.markdown(plain(finding(curve, other)))
    if found.films < RANKING_CASES:
        st.caption(f"With fewer than {RANKING_CASES} cases, do not rank models by this error. {SCHEME}.")
    chart_column, numbers_column = st.columns(2)
    with chart_column:
        _diagram(model, results, curve, other)
    with numbers_column:
        _temperature_words(temperature, results)
    table = calibration_rows(found, after, curve, after.curve(key) if after is not None else None)
    st.dataframe(table, hide_index=True, alt="Calibration before and after temperature scaling")
    download_table(table, f"{name_of(model, results)}_calibration", "evaluate_calibration_table")


def _diagram(model: ShelfRow, results: Results, curve: Reliability, other: Reliability | None) -> None:
    def build(width: int) -> Chart:
        return reliability_chart(curve, ReliabilityView(width=width, after=other, unit=PLURALS[results.level]))

    st.subheader("Reliability", help=explain("reliability"))
    show_chart(build(PLOT_WIDTH), "evaluate_reliability")
    download_figure(
        build, f"{name_of(model, results)}_reliability", bin_rows(curve), note_of(model, results), "evaluate_reliability_file"
    )
    st.caption(
        f"Grey: where a perfectly calibrated model would lie, if {SHARED_TRUTH}. Bars: 95 % Wilson intervals, n = patients of "
        "the bin."
    )


def _temperature_words(temperature: Temperature | None, results: Results) -> None:
    st.subheader("Temperature", help=explain("temperature"))
    if temperature is None:
        st.info("There are no predictions on validation films to fit a temperature on.", icon=":material/info:")
        return
    st.markdown(
        f"**{temperature.value:.2f}**, {temperature.words}. Fitted on {temperature.films} validation "
        f"{PLURALS[results.level]} of {temperature.patients} patients."
    )
    if temperature.at_limit:
        st.caption("It is not applied.")
    elif results.on == "val":
        st.caption("Shown on the films it was fitted on, so what it changes looks better than it is; the test films tell.")


def calibration_rows(
    found: Calibration, after: Calibration | None, curve: Reliability, curve_after: Reliability | None
) -> pd.DataFrame:
    """The numbers as they are, after temperature scaling, and what a perfectly calibrated model would show."""
    rows = [
        ("Calibration error", curve.error, curve_after and curve_after.error, (curve.null_low, curve.null_high)),
        ("Calibration error, mean of the classes", found.classwise_error, after and after.classwise_error, found.classwise_null),
        ("Brier score (0 to 2)", found.brier, after and after.brier, None),
        ("Brier skill against class shares", found.brier_skill, after and after.brier_skill, None),
        ("Log loss (nats)", found.log_loss, after and after.log_loss, None),
        ("Log-loss skill against class shares", found.log_loss_skill, after and after.log_loss_skill, None),
    ]
    return pd.DataFrame(
        {
            "": [row[0] for row in rows],
            "As it is": [_number(row[1]) for row in rows],
            "After scaling": ["" if row[2] is None else _number(row[2]) for row in rows],
            "If perfect (95 %)": ["" if row[3] is None else f"{row[3][0]:.3f} to {row[3][1]:.3f}" for row in rows],
        }
    )


def _number(value: float) -> str:
    return "undefined" if math.isnan(value) else f"{value:.3f}"


def bin_rows(curve: Reliability) -> pd.DataFrame:
    """The bins of a reliability diagram, for the CSV."""
    return pd.DataFrame([vars(one) for one in curve.bins])
