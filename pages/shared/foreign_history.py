"""Opening the training history of another tool: one file, a name, and it stands among the runs."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import streamlit as st

from mammo_core.settings import Workspace
from mammo_core.storage import check_name
from pages.shared.frame import errors_in_words
from pages.shared.name_field import ask_name

MAX_MB = 64


def open_foreign_history(workspace: Workspace, *, is_open: bool) -> None:
    """The form; a file that is no history is refused with the reason, and nothing is kept of it."""
    with st.expander("Open a history of another tool", icon=":material/file_open:", expanded=is_open):
        st.caption(
            "Keras, Lightning, Ultralytics, Hugging Face, fastai, timm, nnU-Net, TensorBoard, or any table with a row an epoch. "
            "It is charted and judged like a run of this app."
        )
        file = st.file_uploader("Training log", max_upload_size=MAX_MB, key="foreign_file")
        if file is None:
            return
        name = ask_name("Name", _proposed(file.name), lambda text: workspace.imported / check_name(text), key="foreign_name")
        if name is not None and st.button("Open history", type="primary", icon=":material/show_chart:"):
            with errors_in_words():
                run_id = _take_over(workspace, file.name, file.getvalue(), name)
                st.switch_page("pages/history.py", query_params={"run": run_id})


def _proposed(file_name: str) -> str:
    return re.sub(r"[^A-Za-z0-9-]+", "_", Path(file_name).stem).strip("_-")[:60] or "history"


def _take_over(workspace: Workspace, file_name: str, content: bytes, name: str) -> str:
    """Import the file under ``name``; returns the first run. The uploaded name serves only to tell the format."""
    from mammo_core.runs.importers import import_history

    with tempfile.TemporaryDirectory(dir=workspace.home) as folder:
        stem = _proposed(file_name)
        path = Path(folder) / stem / f"{stem}{re.sub(r'[^A-Za-z0-9.]', '', Path(file_name).suffix)[:12]}"
        path.parent.mkdir()  # a file that names no model is named after its folder
        path.write_bytes(content)
        return import_history(workspace, path, name)[0].id
