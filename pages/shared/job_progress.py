"""A light job (import, evaluation, report, demo films) followed while it works."""

from __future__ import annotations

import streamlit as st

from mammo_core.runs.queue import find_request
from mammo_core.runs.schema import Request
from mammo_core.workflows.queue_view import job_progress
from pages.shared.frame import POLL_SECONDS, STATE_WORDS, current_workspace, plain

OPEN_STATES = ("waiting", "running")


def follow_job(request: Request, sentence: str) -> None:
    """Show ``sentence`` and the progress of ``request``; run the page anew once when it has ended."""

    def look() -> None:
        now = find_request(current_workspace(), request.id)
        if now is None or now.state not in OPEN_STATES:
            st.rerun()
        with st.container(border=True):
            st.markdown(f":material/hourglass_top: {sentence}")
            draw_job_progress(now)

    live = request.state in OPEN_STATES
    st.fragment(look, run_every=POLL_SECONDS if live else None)()


def follow_request(request: Request) -> None:
    """One light job on the Queue page, which itself notices when it ends."""

    def look() -> None:
        now = find_request(current_workspace(), request.id)
        if now is not None:
            draw_job_progress(now)

    with st.container(border=True):
        st.markdown(f"{STATE_WORDS['running']} · **{plain(request.title)}**")
        st.fragment(look, run_every=POLL_SECONDS)()


def draw_job_progress(request: Request) -> None:
    """The bar with items done of items in all, or what is known before that."""
    share = job_progress(request)
    if request.state == "waiting":
        st.progress(0.0, text="Waiting for its turn")
    elif share is None:
        st.progress(0.0, text=plain(request.message) or "Starting")
    else:
        st.progress(share, text=f"{plain(request.message) or 'Working'}: {request.done} of {request.total}")
