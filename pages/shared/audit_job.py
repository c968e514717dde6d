"""Starting the audit of a data set, and following it while it works."""

from __future__ import annotations

import streamlit as st

from mammo_core.data.manifest import Dataset
from mammo_core.runs.queue import enqueue, latest_request
from mammo_core.settings import Workspace
from pages.shared.frame import plain
from pages.shared.job_progress import OPEN_STATES, follow_job


def audit_button(workspace: Workspace, dataset: Dataset, label: str, *, primary: bool = False, key: str = "films_audit") -> None:
    """The button that asks for an audit; its progress while one is at work; the sentence of the last one that failed."""
    request = latest_request(workspace, "audit", dataset=dataset.name)
    if request is not None and request.state in OPEN_STATES:
        follow_job(request, f"{plain(request.title)}. You can leave this page.")
        return
    if request is not None and request.state == "failed":
        st.error(f"The last audit ended: {plain(request.message)}", icon=":material/error:")
    if st.button(label, type="primary" if primary else "secondary", icon=":material/fact_check:", key=key):
        enqueue(workspace, "audit", {"dataset": dataset.name}, f"Audit {dataset.name}")
        st.rerun()
