"""Asking for the embeddings of a data set, and following the work."""

from __future__ import annotations

import streamlit as st

from mammo_core.config import TrainConfig
from mammo_core.data.embeddings import list_embeddings
from mammo_core.data.manifest import Dataset
from mammo_core.errors import MammoError
from mammo_core.runs.queue import enqueue, latest_request
from mammo_core.settings import Workspace
from pages.shared.frame import plain
from pages.shared.job_progress import OPEN_STATES, follow_job
from pages.shared.settings_form import ARCHITECTURES


def embed_form(workspace: Workspace, dataset: Dataset, image_size: tuple[int, int]) -> None:
    """The form, or the progress of the work that was asked for; made embeddings then stand in the settings."""
    request = latest_request(workspace, "embed", dataset=dataset.name)
    if request is not None and request.state in OPEN_STATES:
        follow_job(request, f"{plain(request.title)}. You can leave this page.")
        return
    if request is not None and request.state == "failed":
        st.error(f"The last embedding ended: {plain(request.message)}", icon=":material/error:")
    made = list_embeddings(workspace, dataset.name)
    st.caption(
        "A network that is ready looks at every film once; a training can join what it sees to what it learns itself "
        f"(setting *Embeddings*). Made so far: {plain(', '.join(made)) or 'none'}."
    )
    with st.container(horizontal=True, vertical_alignment="bottom"):
        arch = st.selectbox("Network", ARCHITECTURES, key="embed_arch", accept_new_options=True, width=260)
        size = st.text_input("Image size, pixels", _shown(image_size), key=f"embed_size_{_shown(image_size)}", width=160)
        asked = st.button("Make embeddings", icon=":material/grain:", key="embed_start", disabled=not arch)
    if not asked:
        return
    try:
        parts = [int(part) if part.strip().isdecimal() else part for part in size.lower().split("x")]
        TrainConfig.from_dict({"image_size": parts[0] if len(parts) == 1 else parts}, source="the form")
    except MammoError as error:
        st.error(plain(str(error)), icon=":material/error:")
        return
    arguments = {"dataset": dataset.name, "arch": arch, "image_size": parts * 2 if len(parts) == 1 else parts}
    enqueue(workspace, "embed", arguments, f"Embed {dataset.name} with {arch}")
    st.rerun()


def _shown(size: tuple[int, int]) -> str:
    return str(size[0]) if size[0] == size[1] else f"{size[0]} x {size[1]}"
