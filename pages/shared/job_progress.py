"""A light job (import, evaluation, report, demo films) followed while it works."""

from __future__ import annotations

import streamlit as st

from mammo_core.runs import queue
from mammo_core.runs.schema import Request
from mammo_core.workflows.queue_view import job_progress
from pages.shared.frame import POLL_SECONDS, STATE_WORDS, current_workspace, errors_in_words, plain

OPEN_STATES = ("waiting", "running")
STOP_HELP = "Ends this work; nothing half-made is used. Of a folder of predictions the films done so far are kept."


def follow_job(request: Request, sentence: str) -> None:
    """Show ``sentence``, the progress of ``request`` and its Stop button; run the page anew once when it has ended."""

    def look() -> None:
        now = queue.find_request(current_workspace(), request.id)
        if now is None or now.state not in OPEN_STATES:
            st.rerun()
        with st.container(border=True):
            st.markdown(f":material/hourglass_top: {sentence}")
            _draw_job(now)

    live = request.state in OPEN_STATES
    st.fragment(look, run_every=POLL_SECONDS if live else None)()


def follow_request(request: Request) -> None:
    """One light job on the Queue page, which itself notices when it ends."""

    def look() -> None:
        now = queue.find_request(current_workspace(), request.id)
        if now is not None:
            _draw_job(now)

    with st.container(border=True):
        st.markdown(f"{STATE_WORDS['running']} · **{plain(request.title)}**")
        st.fragment(look, run_every=POLL_SECONDS)()


def _draw_job(request: Request) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        _draw_progress(request)
        if request.kind not in queue.TRAINING_KINDS:  # those are stopped where their run is shown
            _draw_stop(request)


def _draw_progress(request: Request) -> None:
    """The bar with items done of items in all, or what is known before that."""
    share = job_progress(request)
    if request.state == "waiting":
        st.progress(0.0, text="Waiting for its turn")
    elif request.asked_to_stop is not None:
        st.progress(share or 0.0, text="Stopping")
    elif share is None:
        st.progress(0.0, text=plain(request.message) or "Starting")
    else:
        st.progress(share, text=f"{plain(request.message) or 'Working'}: {request.done} of {request.total}")


def _draw_stop(request: Request) -> None:
    waits = request.state == "waiting"
    label, icon = ("Cancel", ":material/cancel:") if waits else ("Stop", ":material/stop_circle:")
    asked = request.asked_to_stop is not None
    if st.button(label, key=f"end_{request.id}", icon=icon, disabled=asked, help=STOP_HELP):
        with errors_in_words():
            queue.stop(current_workspace(), request.id)
            st.rerun()
