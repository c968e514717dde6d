"""The doctor on the home page: what was looked at, what was found, and what to do; and cleaning up after killed programs."""

from __future__ import annotations

import streamlit as st

from mammo_core.runs.queue import enqueue, latest_request
from mammo_core.runs.schema import Request
from mammo_core.settings import Workspace
from mammo_core.workflows.doctor import quick_checks
from mammo_core.workflows.doctor_check import Check
from mammo_core.workflows.leftovers import clean
from pages.shared.frame import ago, errors_in_words, plain, size_text
from pages.shared.glossary import explain
from pages.shared.job_progress import OPEN_STATES, follow_job

SIGNS = {"good": ":material/check_circle:", "note": ":material/info:", "broken": ":material/error:"}
WORDS = {"good": "good", "note": "worth knowing", "broken": "broken"}
TITLE = "Check decoders, PyTorch and weights"


def doctor_panel(workspace: Workspace) -> None:
    """An expander whose checks run only while it is open; those that take seconds run as a job, on a click."""
    panel = st.expander("Doctor", icon=":material/stethoscope:", on_change="rerun", key="doctor")
    if not panel.open:
        return
    with panel:
        head, foot = st.container(), st.container()
        asked = latest_request(workspace, "doctor")
        checks, thorough = quick_checks(workspace), _checks_of(asked)
        with foot:
            _thorough(workspace, asked, bool(thorough))
            if any(check.name == "leftovers" and check.state != "good" for check in checks) and _clean_up(workspace):
                checks = quick_checks(workspace)
        with head:
            _headline(checks + thorough, complete=bool(thorough))
            _draw(checks + thorough)


def _checks_of(request: Request | None) -> list[Check]:
    """What the last thorough look found; nothing where its file holds no checks."""
    found = request.result.get("checks") if request is not None and request.state == "done" else None
    try:
        return [Check(**check) for check in found or ()]
    except TypeError:
        return []


def _headline(checks: list[Check], *, complete: bool) -> None:
    broken = sum(check.state == "broken" for check in checks)
    if broken:
        st.error(f"{broken} of {len(checks)} checks found something broken.", icon=SIGNS["broken"])
    elif complete:
        st.success(f"Nothing is broken: {len(checks)} checks.", icon=SIGNS["good"])
    else:
        st.info("Nothing is broken so far. Decoders, PyTorch and weights have not been checked.", icon=SIGNS["note"])


def _draw(checks: list[Check]) -> None:
    """What is broken, then what is worth knowing, each with what to do; then what is good, a line each."""
    for state in ("broken", "note"):
        for check in checks:
            if check.state == state:
                st.markdown(f"{_line(check)}  \n:material/arrow_forward: {plain(check.todo)}")
    st.markdown("  \n".join(_line(check) for check in checks if check.state == "good"))


def _line(check: Check) -> str:
    return f"{SIGNS[check.state]} **{plain(check.title)}** · {WORDS[check.state]}: {plain(check.found)}"


def _thorough(workspace: Workspace, asked: Request | None, known: bool) -> None:
    if asked is not None and asked.state in OPEN_STATES:
        follow_job(asked, "Decoders, PyTorch and weights are being checked. You can leave this page.")
        return
    if asked is not None and asked.state == "failed":
        st.error(f"The last check did not come to an end: {plain(asked.message)}", icon=SIGNS["broken"])
    with st.container(horizontal=True, vertical_alignment="center"):
        label = "Check them again" if known else TITLE
        if st.button(label, icon=":material/stethoscope:", help=explain("doctor"), key="doctor_thorough"):
            enqueue(workspace, "doctor", {}, TITLE)
            st.rerun()
        if known and asked is not None:
            st.caption(f"Decoders, PyTorch and weights: checked {ago(asked.finished_at or 0)}")


def _clean_up(workspace: Workspace) -> bool:
    """The button, and in its place what was done; whether it was pressed."""
    place = st.empty()
    if not place.button("Clean up", icon=":material/mop:", help=explain("leftovers"), key="doctor_clean"):
        return False
    with place.container(), errors_in_words():
        cleaning = clean(workspace)
        freed = f" {size_text(cleaning.freed)} are free again." if cleaning.freed else ""
        st.success(plain(" ".join(cleaning.done) or "There was nothing left to clean up.") + freed, icon=SIGNS["good"])
        for problem in cleaning.problems:
            st.error(plain(problem), icon=SIGNS["broken"])
    return True
