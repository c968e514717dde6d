"""The gallery of a run: its telling films with their maps, made by a job and shown when it is there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import streamlit as st

from mammo_core.errors import CorruptRunFile
from mammo_core.explain.methods import METHOD_TITLES
from mammo_core.runs.queue import enqueue, list_requests
from mammo_core.runs.run_dir import RunDir
from mammo_core.settings import Workspace
from mammo_core.storage import read_json
from mammo_core.workflows.overview import plural
from mammo_core.workflows.telling_films import safe_name
from pages.shared.frame import plain
from pages.shared.job_progress import OPEN_STATES, follow_job

MOST_FILMS = 8


def show_gallery(workspace: Workspace, run: RunDir, on: str) -> None:
    """The gallery that there is, and the button that makes one."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        method = st.selectbox(
            "Method", list(METHOD_TITLES), format_func=METHOD_TITLES.__getitem__, key="gallery_method", width=220
        )
        count = st.number_input("Films a class", 1, MOST_FILMS, 2, key="gallery_count", width=140)
        asked = st.button("Make the gallery", type="primary", icon=":material/grid_view:")
    if asked:
        arguments = {"run": run.id, "on": on, "per_class": int(count), "method": method}
        enqueue(workspace, "gallery", arguments, f"Gallery of {run.id}")
        st.rerun()
    request = max(
        (item for item in list_requests(workspace) if item.kind == "gallery" and item.arguments.get("run") == run.id),
        key=lambda item: item.created_at,
        default=None,
    )
    if request is not None and request.state in OPEN_STATES:
        follow_job(request, "The maps are being made. You can leave this page.")
    elif request is not None and request.state == "failed":
        st.error(plain(request.message), icon=":material/error:")
    folder = gallery_folder(workspace, run, on, method)
    record = _record(folder)
    if record is None:
        st.info(
            "A gallery shows, for each class, the films that the run called rightly and wrongly with most confidence, and what "
            "influenced their scores.",
            icon=":material/info:",
        )
        return
    _show(folder, record)


def gallery_folder(workspace: Workspace, run: RunDir, on: str, method: str) -> Path:
    """Where the job writes; the job's own function would load torch."""
    return workspace.reports / "gradcam" / safe_name(run.experiment) / safe_name(run.name) / safe_name(f"{on}_{method}")


def _record(folder: Path) -> dict[str, Any] | None:
    try:
        record = read_json(folder / "gallery.json")
    except (FileNotFoundError, CorruptRunFile):
        return None
    return record if isinstance(record, dict) and (folder / "gallery.png").exists() else None


def _show(folder: Path, record: dict[str, Any]) -> None:
    items = record.get("items", [])
    failed = [item for item in items if item.get("error")]
    alarming = sum(bool(item.get("map") and item["map"].get("alarms")) for item in items)
    st.markdown(f"**{plural(len(items) - len(failed), 'map')}, {alarming} of them with an alarm.**")
    picture = (folder / "gallery.png").read_bytes()
    st.image(picture, alt=f"Films of each class beside their maps: {len(items) - len(failed)} maps, {alarming} with an alarm")
    st.caption(plain(f"{record.get('meaning', '')} {record.get('disclaimer', '')}. Reduced for display."))
    st.download_button("Download PNG", picture, file_name=f"{folder.parent.name}_{folder.name}_gallery.png", on_click="ignore")
    for item in failed:
        st.warning(plain(f"{item.get('image')}, {item.get('class')}: {item['error']}"), icon=":material/warning:")
