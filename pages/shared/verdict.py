"""The verdict on a run in words, with what led to it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from mammo_core.report.event_names import Band
from mammo_core.runs.run_dir import RunDir
from mammo_core.workflows.overview import plural
from pages.shared.frame import plain
from pages.shared.run_files import Stamp, stamp

if TYPE_CHECKING:
    from mammo_core.analysis.diagnosis import Diagnosis

ICONS = {
    "critical": ":material/error:",
    "error": ":material/error:",
    "warning": ":material/warning:",
    "info": ":material/info:",
    "ok": ":material/check_circle:",
}
GRAVE = ("critical", "error", "warning")
VERDICT_ICONS = {
    "HEALTHY": ":material/check_circle:",
    "INCONCLUSIVE": ":material/help:",
    "OVERFIT_MILD": ":material/warning:",
    "PLATEAU": ":material/warning:",
    "TOO_FEW_EPOCHS": ":material/warning:",
    "UNDERFIT": ":material/warning:",
}
"""The others are faults."""


def verdict_of(run: RunDir) -> Diagnosis | None:
    """The verdict as the run's files stand now; ``None`` before the first epoch.

    Raises
    ------
    CorruptRunFile
        The history is not readable.
    """
    files = (run.history_file, run.config_file, run.status_file, run.metrics_file("val"), run.summary_file)
    return _verdict(str(run.path), tuple(map(stamp, files)))


@st.cache_data(max_entries=128, show_spinner=False)
def _verdict(path: str, version: tuple[Stamp, ...]) -> Diagnosis | None:
    from mammo_core.analysis.diagnosis import context_of_run, diagnose

    run = RunDir(Path(path))
    history = run.history()
    return diagnose(history, context_of_run(run)) if history else None


def phase_bands(diagnosis: Diagnosis | None) -> tuple[Band, ...]:
    """The phases of the training, for the figure."""
    phases = diagnosis.phases if diagnosis else ()
    return tuple(Band(phase.rows[0], phase.rows[1], phase.label) for phase in phases)


def findings(diagnosis: Diagnosis) -> None:
    """What was found, with its evidence, and what to do; grave things first."""
    from mammo_core.analysis.diagnosis.text import merged

    grave = [finding for finding in diagnosis.findings if finding.severity in GRAVE]
    others = [finding for finding in diagnosis.findings if finding.severity not in GRAVE]
    for title, found, is_open in (("to look at", grave, True), ("to know", others, False)):
        if found:
            with st.expander(f"{plural(len(found), 'finding')} {title}", icon=":material/rule:", expanded=is_open):
                for line in merged([finding.to_json() for finding in found]):
                    what, todo = plain(line["text"]), plain(line["advice"])
                    st.markdown(f"{ICONS[line['severity']]} {what}  \n:material/arrow_forward: {todo}")
    _numbers(diagnosis)
    _early_stopping(diagnosis)


def _numbers(diagnosis: Diagnosis) -> None:
    from mammo_core.report.verdict_tables import finding_rows, how_sure

    table = finding_rows(diagnosis)
    if len(table):
        with st.expander("The numbers behind the verdict", icon=":material/calculate:"):
            st.caption(
                f"{how_sure(diagnosis)} The limits are house rules, chosen and tested on known cases; they are no standard. "
                "All rules read the raw values, never smoothed ones."
            )
            st.dataframe(table, hide_index=True, alt=f"Findings with their evidence and limits: {len(table)} rows")


def _early_stopping(diagnosis: Diagnosis) -> None:
    from mammo_core.report.verdict_tables import stopping_rows

    table = stopping_rows(diagnosis)
    if len(table):
        with st.expander("Would early stopping have helped?", icon=":material/timer_off:"):
            st.markdown(plain(diagnosis.early_stopping["text"]))
            st.dataframe(table, hide_index=True, width="content", alt="Early stopping replayed with several patiences")


def verdict_line(name: str, diagnosis: Diagnosis | None, otherwise: str) -> None:
    """One run's verdict in one line; ``otherwise`` where there is none yet."""
    icon = VERDICT_ICONS.get(diagnosis.verdict, ":material/error:") if diagnosis else ":material/schedule:"
    st.markdown(f"{icon} **{plain(name)}** · {plain(diagnosis.headline if diagnosis else otherwise)}")
