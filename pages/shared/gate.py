"""The one gate of a lab server: ``app.py`` passes it before it knows any page, so no URL leads around it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import streamlit as st

from mammo_core.errors import MammoError
from mammo_core.runs.queue import name_who_asks
from mammo_core.settings import RESEARCH_ONLY
from mammo_core.workflows.lab_server import SIGN_IN_HELPS, LabServer, current_lab_server, email_of, is_lab_server, note_access
from pages.shared.frame import current_workspace, plain

TOLD = "access_told"
"""What the access log knows of this session, so that a rerun is no second line."""


def admit() -> None:
    """Go on only for a person who signed in and is on the list; on a desktop there is nothing to pass.

    Looked at in every run of a page: a name that is taken off the list is out at once, and a session ends after its hours.
    """
    if not is_lab_server():
        return
    claims = st.user.to_dict()
    try:
        lab = current_lab_server()
    except MammoError:
        _closed()
        st.stop()
    refusal = lab.refusal(claims, time.time())
    if refusal is None:
        _note("signed in", claims)
        name_who_asks(_who)
        _leave_button(claims)
        return
    if refusal in SIGN_IN_HELPS:
        _ask_to_sign_in(lab, refusal, claims)
    else:
        _note("turned away", claims)
        _turn_away(refusal, claims)
    st.stop()


def _who() -> str:
    return email_of(st.user.to_dict()) or ""


def _note(event: str, claims: Mapping[str, Any]) -> None:
    if st.session_state.get(TOLD) != event:
        st.session_state[TOLD] = event
        note_access(current_workspace(), event, claims)


def _leave_button(claims: Mapping[str, Any]) -> None:
    with st.sidebar:
        st.button("Sign out", icon=":material/logout:", on_click=st.logout, help=f"Signed in as {plain(email_of(claims) or '')}")


def _alone(title: str) -> None:
    """Every URL of the app leads here, and no list of pages is shown. The pages themselves are not even loaded."""
    names = sorted(path.stem for path in Path(__file__).parents[1].glob("*.py") if path.stem not in ("home", "__init__"))
    start = st.Page(_nothing, title=title, url_path="home", default=True)
    st.navigation([start, *(st.Page(_nothing, title=title, url_path=name) for name in names)], position="hidden")


def _nothing() -> None:
    """What stands at a URL before somebody has signed in."""


def _frame(page: str) -> None:
    _alone(page)
    st.title("MammoTrace")
    st.caption(f":material/science: **{RESEARCH_ONLY}.**")


def _closed() -> None:
    _frame("Closed")
    st.error("The settings of this server cannot be used, so nobody may come in. Ask the person who runs it.")


def _ask_to_sign_in(lab: LabServer, refusal: str, claims: Mapping[str, Any]) -> None:
    _frame("Sign in")
    if claims.get("is_logged_in") is True:
        st.info(refusal, icon=":material/schedule:")
    st.write("This server is for people whom its owner has put on a list.")
    for provider in lab.providers:
        words = "Sign in" if provider is None or len(lab.providers) == 1 else f"Sign in with {provider}"
        st.button(words, type="primary", icon=":material/login:", on_click=st.login, args=() if provider is None else (provider,))


def _turn_away(refusal: str, claims: Mapping[str, Any]) -> None:
    _frame("Not on the list")
    who = email_of(claims)
    st.error(refusal, icon=":material/block:")
    if who:
        st.text(f"You signed in as {who}.")
    st.button("Sign out", icon=":material/logout:", on_click=st.logout)
