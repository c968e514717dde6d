"""Kept models on the Models page: what each is, using it, taking its file along, taking over one from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import streamlit as st

from mammo_core.analysis.metrics import TITLES
from mammo_core.predict.model_record import SUFFIX, model_path, read_card
from mammo_core.runs.queue import enqueue, list_requests
from mammo_core.settings import Workspace
from mammo_core.workflows.model_shelf import MAX_DESCRIPTION, KeptModel, record_words, remove_model
from mammo_core.workflows.shelf import ShelfRow, kept_row
from mammo_core.workflows.uploads import Upload, stage
from pages.shared.choice import choose
from pages.shared.frame import errors_in_words, plain
from pages.shared.job_progress import OPEN_STATES, follow_job
from pages.shared.name_field import ask_name

KINDS = ("keep_model", "import_model")
MAX_UPLOAD_MB = 200
SOURCES = {"upload": "Upload", "path": "A path on this computer"}


def show_kept(workspace: Workspace, models: Sequence[KeptModel]) -> None:
    """The list, and the selected model in words."""
    for model in models:
        if model.record is None:
            st.warning(plain(f"{model.name}: {model.problem}"), icon=":material/warning:")
    usable = [model for model in models if model.record is not None]
    if not usable:
        st.info(
            "A kept model is a frozen copy of trained runs in one file, with everything that its scores need: it stays as it is "
            "when runs change, and travels to other machines. Select trained runs below and keep them, or import a file.",
            icon=":material/inventory_2:",
        )
        return
    chosen = st.dataframe(
        kept_table(usable), hide_index=True, on_select="rerun", selection_mode="single-row", key="kept_table",
        alt=f"{len(usable)} kept models with task, data and validation quality",
    )  # fmt: skip
    rows = [row for row in chosen.selection.rows if row < len(usable)]
    if rows:
        _show_one(workspace, usable[rows[0]])


def kept_table(models: Sequence[KeptModel]) -> pd.DataFrame:
    """One row a model that can be read."""
    rows = []
    for model in models:
        record = model.record
        if record is None:
            continue
        metric = next(((TITLES[name], text) for name, text in record.quality.items() if text != "undefined"), None)
        rows.append(
            {
                "Name": model.name,
                "Tells": f"{record.task} ({' / '.join(record.class_names)})",
                "Data": record.dataset + (" (synthetic)" if record.synthetic else ""),
                "Films": f"{record.train_films or '?'} + {record.val_films or '?'}",
                "Networks": len(record.members),
                "On validation films": f"{metric[0]} {metric[1].partition(' (n')[0]}" if metric else "not evaluated",
                "Made": record.made_at,
                "Size": f"{model.megabytes:.0f} MB",
                "Model id": record.model_id,
            }
        )
    return pd.DataFrame(rows)


def _show_one(workspace: Workspace, model: KeptModel) -> None:
    record = model.record
    if record is None:
        return
    with st.container(border=True):
        st.subheader(plain(model.name))
        if record.description:
            st.markdown(plain(record.description))
        st.markdown("\n".join(f"- {plain(sentence)}" for sentence in record_words(record)))
        with st.container(horizontal=True):
            if st.button("Predict with it", type="primary", icon=":material/biotech:", key="kept_predict"):
                st.switch_page("pages/predict.py", query_params={"predict_model": kept_row(model.name, record).name})
            st.download_button(
                "Download the file", model.path.read_bytes, file_name=model.path.name, mime="application/octet-stream",
                on_click="ignore", icon=":material/download:", key="kept_download",
            )  # fmt: skip
            with st.popover("Remove", icon=":material/delete:"):
                st.markdown(
                    "The file moves to the trash, from which it can be put back (Home, Keep house); runs are not touched."
                )
                if st.button("Move to trash", key="kept_remove"):
                    with errors_in_words():
                        remove_model(workspace, model.name)
                        st.rerun()
        with st.expander("Model card", icon=":material/badge:"), errors_in_words():
            card = read_card(model.path)
            st.download_button("Download the card", card, file_name=f"{model.name}_card.md", on_click="ignore", key="kept_card")
            st.code(card, language="markdown", wrap_lines=True, height=400)


def keep_runs(workspace: Workspace, row: ShelfRow) -> None:
    """A form that freezes trained runs under a name."""
    with st.expander("Keep it as a model under a name", icon=":material/inventory_2:"):
        if not row.has_weights:
            st.info("Weights of its runs are missing, so it cannot be kept.", icon=":material/info:")
            return
        name = ask_name("Name", row.name.replace("/", "_"), lambda text: model_path(workspace, text), key="keep_name")
        description = st.text_area("What people should know of it", max_chars=MAX_DESCRIPTION, key="keep_description")
        if st.button("Keep", type="primary", disabled=name is None, icon=":material/inventory_2:"):
            arguments = {"runs": list(row.runs), "name": name, "description": description}
            enqueue(workspace, "keep_model", arguments, f"Keep {row.name} as model {name}")
            st.rerun()


def import_file(workspace: Workspace) -> None:
    """A form that takes over a model file from another machine."""
    with st.expander("Import a model file", icon=":material/upload_file:"):
        st.caption(
            f"A {SUFFIX} file that MammoTrace exported. All of it is checked, and nothing in it can run; whether its numbers are "
            "honest, only its sender knows."
        )
        source = choose("From", SOURCES, "model_source")
        if source == "upload":
            file = st.file_uploader("Model file", [SUFFIX.removeprefix(".")], max_upload_size=MAX_UPLOAD_MB, key="model_file")
            base, path = (Path(file.name).stem, None) if file is not None else ("", None)
        else:
            text = st.text_input("File", placeholder=f"/media/usb/density{SUFFIX}", key="model_path").strip()
            path = Path(text).expanduser() if text else None
            file, base = None, path.stem if path is not None else ""
            if path is not None and not path.is_file():
                st.error("There is no such file; expected a model file on this computer. Check how it is written.")
                path = None
        name = ask_name("Name", base or "model", lambda text: model_path(workspace, text), key="import_model_name")
        if st.button("Check and import", type="primary", disabled=name is None or (file is None and path is None)):
            arguments = {"source": str(path), "name": name}
            if file is not None:
                upload = Upload(file.name, file.getvalue())
                arguments |= {"source": str(stage(workspace, upload)), "shown": upload.shown_name}
            enqueue(workspace, "import_model", arguments, f"Import the model {name}")
            st.rerun()


def follow_model_jobs(workspace: Workspace) -> None:
    """The latest keeping or importing, while it works and where it failed."""
    requests = [request for request in list_requests(workspace) if request.kind in KINDS]
    request = max(requests, key=lambda item: item.created_at, default=None)
    if request is not None and request.state in OPEN_STATES:
        follow_job(request, plain(request.title))
    elif request is not None and request.state == "failed":
        st.error(plain(request.message), icon=":material/error:")
