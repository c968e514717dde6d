"""The gallery of a run: its telling films with their maps, made by a job and shown when it is there."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import streamlit as st
from PIL import Image

from mammo_core.errors import CorruptRunFile
from mammo_core.reading import read_json
from mammo_core.report.map_tables import gallery_counts, gallery_rows
from mammo_core.runs.run_dir import RunDir
from mammo_core.settings import Workspace
from mammo_core.workflows.map_records import part_title
from mammo_core.workflows.telling_films import gallery_folder
from pages.shared.figures import MIME, download_table
from pages.shared.frame import plain
from pages.shared.glossary import explain
from pages.shared.map_checks import Asked, choose_method, follow, is_under_way
from pages.shared.run_files import Stamp, stamp

MOST_FILMS = 8
SHOWN_WIDTH = 1400
"""Pixels; the page is less wide, and the browser draws it smaller."""


def show_gallery(workspace: Workspace, run: RunDir, on: str) -> None:
    """The gallery that there is, and the button that makes one."""
    has_predictions = run.predictions_file(on).exists()
    with st.container(horizontal=True, vertical_alignment="bottom"):
        asked = Asked(workspace, run, on, choose_method(run), "gallery")
        count = st.number_input("Films a class", 1, MOST_FILMS, 2, key="gallery_count", width=140, help=explain("true positive"))
        unable = not has_predictions or is_under_way(asked)
        if st.button("Make the gallery", type="primary", icon=":material/grid_view:", disabled=unable):
            asked.enqueue("Gallery", {"per_class": int(count)})
            st.rerun()
    if not has_predictions:
        st.info(
            f"There are no predictions on the {part_title(on).lower()} yet: evaluate the run there first.", icon=":material/info:"
        )
        return
    follow(asked, "The maps are being made.")
    folder = gallery_folder(workspace, run, on, asked.method)
    record = _record(folder)
    if record is None:
        st.info(
            "A gallery shows, for each class, the films that the run called rightly (true positives), missed (false negatives) "
            "and called wrongly (false positives) with most confidence, and what influenced their scores. It takes a second or "
            "two for each map.",
            icon=":material/info:",
        )
        return
    _show(folder, record)


def _record(folder: Path) -> dict[str, Any] | None:
    """The gallery's record; a broken one is told in words and counts as none."""
    try:
        record = read_json(folder / "gallery.json")
    except FileNotFoundError:
        return None
    except CorruptRunFile as error:
        st.error(plain(f"{error} Make the gallery again."), icon=":material/error:")
        return None
    is_whole = isinstance(record, dict) and isinstance(record.get("items"), list) and (folder / "gallery.png").exists()
    return record if is_whole else None


def _show(folder: Path, record: dict[str, Any]) -> None:
    items = record["items"]
    failed = [item for item in items if item.get("error")]
    counts = gallery_counts(items)
    st.markdown(plain(counts))
    for item in failed:
        st.warning(plain(f"{item.get('image')}, {item.get('class')}: {item['error']}"), icon=":material/warning:")
    sheet = folder / "gallery.png"
    try:
        st.image(_reduced(str(sheet), stamp(sheet)), alt=f"Films of each class beside their maps: {counts}")
    except OSError:
        st.error("The sheet is damaged and cannot be shown. Make the gallery again.", icon=":material/error:")
    st.caption(plain(f"{record.get('meaning', '')} {record.get('disclaimer', '')}. Reduced for display."))
    stem = f"{folder.parent.parent.name}_{folder.parent.name}_{folder.name}_gallery"
    with st.container(horizontal=True):
        for file_format in ("png", "pdf"):
            path = folder / f"gallery.{file_format}"
            if path.exists():
                st.download_button(
                    f"Download {file_format.upper()} (300 ppi)", path.read_bytes, file_name=f"{stem}.{file_format}",
                    mime=MIME[file_format], key=f"gallery_{file_format}", on_click="ignore",
                )  # fmt: skip
        download_table(gallery_rows(items), stem, "gallery_table", "List of films (CSV)")


@st.cache_data(max_entries=8, show_spinner=False)
def _reduced(path: str, version: Stamp) -> bytes:
    """The sheet as a PNG that Streamlit need not reduce at every run of the page; files keep every pixel."""
    with Image.open(path) as sheet:
        sheet.thumbnail((SHOWN_WIDTH, sheet.height))
        buffer = io.BytesIO()
        sheet.save(buffer, format="PNG")
    return buffer.getvalue()
