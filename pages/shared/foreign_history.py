"""Opening histories of other tools: files, a folder or a path; what was understood is shown before anything is kept."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import streamlit as st

from mammo_core.errors import MammoError
from mammo_core.report.tables import without_formulas
from mammo_core.settings import Workspace
from mammo_core.storage import check_name
from mammo_core.workflows.foreign_preview import (
    MEANINGS,
    Preview,
    file_word,
    lay_out_files,
    lay_out_folder,
    preview_history,
)
from mammo_core.workflows.leftovers import OPENED
from pages.shared.choice import choose
from pages.shared.frame import errors_in_words, plain
from pages.shared.name_field import ask_name
from pages.shared.verdict import verdict_line

MAX_MB = 64
SOURCES = {"files": "Files", "folder": "A whole folder", "path": "A path on this machine"}
Files = tuple[tuple[str, bytes], ...]


def open_foreign_history(workspace: Workspace, *, is_open: bool) -> None:
    """The form; what is no history is refused with the reason, and nothing is kept of it."""
    with st.expander("Open a history of another tool", icon=":material/file_open:", expanded=is_open):
        st.caption(
            "Keras, Lightning, Ultralytics, Hugging Face, fastai, timm, nnU-Net, TensorBoard, a results folder, or any table "
            "with a row an epoch. It is charted and judged like a run of this app."
        )
        source = choose("From", SOURCES, "foreign_source")
        if source == "path":
            _from_path(workspace)
        else:
            _from_uploads(workspace, source == "folder")


def _from_path(workspace: Workspace) -> None:
    text = st.text_input("File or folder", key="foreign_path", placeholder="/data/runs/results_1 or metrics.csv").strip()
    if not text:
        return
    path = Path(text).expanduser()
    mapping = st.session_state.get("foreign_mapping_of", {}).get(text, {})
    found = preview_history(path, mapping)
    _show(found, text)
    name = found.histories[0].label if len(found.histories) == 1 else path.stem
    _keep(workspace, [(path, mapping)] if found.histories else [], file_word(name))


def _from_uploads(workspace: Workspace, is_folder: bool) -> None:
    if is_folder:
        uploads = st.file_uploader("Folder", accept_multiple_files="directory", max_upload_size=MAX_MB, key="foreign_folder")
    else:
        uploads = st.file_uploader("Training logs", accept_multiple_files=True, max_upload_size=MAX_MB, key="foreign_file")
    files: Files = tuple((file.name, file.getvalue()) for file in uploads)
    if not files:
        return
    mappings: Mapping[str, Mapping[str, str]] = st.session_state.get("foreign_mapping_of", {})
    with tempfile.TemporaryDirectory(prefix=OPENED, dir=workspace.home) as folder, errors_in_words():
        paths = [lay_out_folder(Path(folder), files)] if is_folder else lay_out_files(Path(folder), files)
        good = []
        for number, path in enumerate(paths):
            key = _key(files if is_folder else files[number : number + 1])
            mapping = mappings.get(key, {})
            found = _preview(path, mapping, key)
            _show(found, key)
            good += [(path, mapping)] if found.histories else []
        _keep(workspace, good, file_word(paths[0].stem))


def _key(files: Sequence[tuple[str, bytes]]) -> str:
    """What tells one upload from the next."""
    content = hashlib.sha256()
    for name, data in files:
        content.update(name.encode() + b"\0" + hashlib.sha256(data).digest())
    return content.hexdigest()


@st.cache_data(max_entries=64, show_spinner="Reading ...")
def _preview(_path: Path, mapping: Mapping[str, str], key: str) -> Preview:
    return preview_history(_path, mapping)


def _show(found: Preview, key: str) -> None:
    """What was understood: tool and rows, column by column, in sentences, and the verdict; and its correction."""
    with st.container(border=True):
        if found.problem:
            st.error(plain(found.problem), icon=":material/error:")
        else:
            st.markdown(f":material/description: **{plain(found.name)}** · {plain(found.summary)}")
        for history, diagnosis in zip(found.histories[:12], found.judged, strict=False):
            verdict_line(f"{history.label}, {len(history.records)} rows", diagnosis, "")
        if len(found.histories) > 12:
            st.caption(f"and {len(found.histories) - 12} more")
        facts = dict.fromkeys(fact for history in found.histories for fact in history.facts)
        if facts:
            st.markdown("\n".join(f"- {plain(fact)}" for fact in list(facts)[:10]))
        if found.columns:
            _correct(found, key)


def _correct(found: Preview, key: str) -> None:
    """Each quantity with the column that it was read from, as select boxes; a change is read anew at once."""
    reading = dict(found.reading or {})
    words = [{"meaning": MEANINGS.get(ours, ours), "column in the file": " + ".join(theirs)} for ours, theirs in reading.items()]
    st.dataframe(without_formulas(pd.DataFrame(words)), hide_index=True, width=560, alt="Which column was read as what")
    with st.expander("Correct the columns", icon=":material/edit:", expanded=bool(found.problem)):
        st.caption("Choose a column where the reading above is wrong or something is missing.")
        chosen: dict[str, str] = {}
        places = st.columns(3)
        for index, (ours, label) in enumerate(MEANINGS.items()):
            column = places[index % 3].selectbox(
                label, list(found.columns), index=None, key=f"foreign_{key}_{ours}", placeholder=_as_read(reading.get(ours))
            )
            if column in found.columns:
                chosen[ours] = str(column)
    mappings = st.session_state.setdefault("foreign_mapping_of", {})
    if mappings.get(key, {}) != chosen:
        mappings[key] = chosen
        st.rerun()


def _as_read(columns: tuple[str, ...] | None) -> str:
    return f"as read: {' + '.join(columns)}" if columns else "not in the file"


def _keep(workspace: Workspace, good: Sequence[tuple[Path, Mapping[str, str]]], proposed: str) -> None:
    """A name, and the button that makes runs of what was read; several files become runs of one experiment."""
    if not good:
        return
    name = ask_name("Name", proposed, lambda text: workspace.imported / check_name(text), key="foreign_name")
    if name is not None and st.button("Open history", type="primary", icon=":material/show_chart:"):
        from mammo_core.runs.importers import import_history

        try:
            runs = [run for path, mapping in good for run in import_history(workspace, path, name, mapping)]
        except MammoError as error:
            st.error(plain(str(error)), icon=":material/error:")
            return
        st.session_state.pop("foreign_mapping_of", None)
        st.switch_page("pages/history.py", query_params={"run": [run.id for run in runs[:8]]})
