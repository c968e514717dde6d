"""Fetching a public set that anyone may download, as a job of the queue."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from mammo_core.data.fetch import DOWNLOADS
from mammo_core.runs.queue import enqueue
from mammo_core.settings import Workspace
from pages.shared.frame import plain


def fetch_form(workspace: Workspace) -> str | None:
    """Draw the form; returns the id of the request once Fetch was pressed."""
    with st.expander("No films at hand? Fetch a public set", icon=":material/cloud_download:"):
        name = st.selectbox("Public set", list(DOWNLOADS), format_func=lambda name: DOWNLOADS[name].title, key="films_fetch")
        chosen = DOWNLOADS[name]
        st.caption(f"{plain(chosen.size)}. {plain(chosen.terms)} From {chosen.page}. Your films stay here: nothing is sent.")
        folder = st.text_input(
            "Folder for it",
            str(workspace.home / "fetched"),
            key="films_fetch_folder",
            help="The set gets a folder of its own there.",
        ).strip()
        if not st.button("Fetch", icon=":material/cloud_download:", disabled=not folder):
            return None
    out = str(Path(folder).expanduser().absolute())
    return enqueue(workspace, "fetch", {"name": name, "out": out}, f"Fetch {name}").id
