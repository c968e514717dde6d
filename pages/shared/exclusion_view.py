"""Taking films out of a data set with a reason, and back in."""

from __future__ import annotations

import streamlit as st

from mammo_core.data.exclusions import MAX_REASON, exclude, read_exclusions, take_back
from mammo_core.data.manifest import Dataset
from mammo_core.workflows.overview import plural
from pages.shared.frame import errors_in_words, plain

REASONS = ("Duplicate of another film", "Wrong label", "No usable picture", "Text on the film")
KEEPS = (
    "The film stays where it is. Splits made from now on leave it out and repeat the reason; runs that are done do not change."
)


def ask_reason(key: str, first: str = REASONS[0]) -> str:
    """Why a film is left out: one of the usual reasons, or own words."""
    told = f"Choose or type at most {MAX_REASON} characters, no names. {KEEPS}"
    chosen = st.selectbox("Reason", list(REASONS), REASONS.index(first), key=key, help=told, accept_new_options=True)
    return (chosen or "").strip()


def exclude_button(dataset: Dataset, image_id: str, reason: str, label: str, key: str) -> None:
    """Leave the film out, or take it back where it is out."""
    out = set(read_exclusions(dataset)["image_id"])
    if image_id in out:
        if st.button("Take back", icon=":material/undo:", key=f"{key}_back"):
            take_back(dataset, [image_id])
            st.rerun()
    elif st.button(label, icon=":material/do_not_disturb_on:", key=key, disabled=not reason):
        with errors_in_words():
            exclude(dataset, [image_id], reason)
            st.rerun()


def show_exclusions(dataset: Dataset) -> None:
    """All films that are out, with the way back; nothing where none is."""
    table = read_exclusions(dataset)
    if table.empty:
        return
    with st.expander(f"{plural(len(table), 'film')} left out", icon=":material/do_not_disturb_on:"):
        shown = table.set_axis(["Film", "Reason", "Since"], axis=1)
        chosen = st.dataframe(
            shown, hide_index=True, on_select="rerun", selection_mode="multi-row", key=f"films_out_{dataset.name}",
            alt=f"{len(table)} films that are left out, with reason and date",
        )  # fmt: skip
        picked = [row for row in chosen.selection.rows if row < len(table)]
        if st.button("Take the selected films back", icon=":material/undo:", disabled=not picked, key="films_take_back"):
            take_back(dataset, table["image_id"].iloc[picked].tolist())
            st.toast(plain(f"{plural(len(picked), 'film')} taken back."), icon=":material/undo:")
            st.rerun()
