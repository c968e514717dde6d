"""Films that the audit flagged by themselves: blank, inverted, without a breast, with text; thumbnails, and leaving them out."""

from __future__ import annotations

import streamlit as st

from mammo_core.data.manifest import Dataset
from mammo_core.settings import Workspace
from mammo_core.workflows.ingest import thumbnail_path
from mammo_core.workflows.overview import plural
from pages.shared.audit_job import audit_button
from pages.shared.exclusion_view import REASONS, ask_reason, exclude_button, show_exclusions
from pages.shared.frame import plain

FLAGS = {
    "blank": ("Blank", "All pixels are nearly the same.", REASONS[2]),
    "bright": ("Bright background", "Black and white seem to be exchanged.", REASONS[2]),
    "burned_in": ("Text by header", "The header says that text is burned into the picture.", REASONS[3]),
    "no_breast": ("No breast found", "The whole film is used as it is.", REASONS[2]),
    "marks": (
        "Marks beside the breast",
        "Side markers, plates or text. A model never sees what lies outside the breast.",
        REASONS[3],
    ),
}
FILMS_A_PAGE, FILMS_A_ROW = 12, 6


def show_flagged(workspace: Workspace, dataset: Dataset) -> None:
    """One kind of flag at a time, a page of thumbnails."""
    flags = dataset.audit().get("flags")
    if flags is None:
        st.info("Films are looked at one by one by the full audit.", icon=":material/fact_check:")
        audit_button(workspace, dataset, "Audit these films", primary=True)
        return
    there = {name: flags[name] for name in FLAGS if (flags.get(name) or {}).get("films")}
    if not there:
        st.success("No film is blank, inverted, without a breast or marked.", icon=":material/check_circle:")
        show_exclusions(dataset)
        return
    name = st.segmented_control(
        "Flag", list(there), default=next(iter(there)), required=True, label_visibility="collapsed",
        key=f"films_flag_{dataset.name}",
        format_func=lambda flag: f"{FLAGS[flag][0]} ({there[flag]['films']})",
    )  # fmt: skip
    st.caption(FLAGS[name][1])
    images = there[name]["image_ids"]
    pages = max(1, -(-len(images) // FILMS_A_PAGE))
    page = st.pagination(pages, key=f"films_flagged_{dataset.name}_{name}") if pages > 1 else 1
    reason = ask_reason(f"films_flag_reason_{name}", FLAGS[name][2])
    shown = images[(page - 1) * FILMS_A_PAGE : page * FILMS_A_PAGE]
    for start in range(0, len(shown), FILMS_A_ROW):
        for column, image in zip(st.columns(FILMS_A_ROW), shown[start : start + FILMS_A_ROW], strict=False):
            with column:
                _one(workspace, dataset, image, reason)
    if there[name]["films"] > len(images):
        st.caption(f"The first {plural(len(images), 'film')} of {there[name]['films']}.")
    show_exclusions(dataset)


def _one(workspace: Workspace, dataset: Dataset, image: str, reason: str) -> None:
    try:
        picture = thumbnail_path(workspace, dataset.name, image).read_bytes()
    except FileNotFoundError:
        st.caption(f":material/hide_image: no preview  \n{plain(image)}")
    else:
        st.image(picture, alt=f"Film {image}, reduced for display")
    exclude_button(dataset, image, reason, "Leave out", f"films_flag_out_{image}")
