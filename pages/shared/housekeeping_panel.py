"""Notes, tags, archive and trash for runs, and the space that everything takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import streamlit as st

from mammo_core.runs.listing import RunCard, list_cards
from mammo_core.settings import Workspace
from mammo_core.workflows.clear_cache import clear_cache
from mammo_core.workflows.housekeeping import (
    MAX_NOTE_LENGTH,
    MAX_TAGS,
    annotate,
    archive,
    disk_use,
    empty_trash,
    list_trash,
    move_to_trash,
    put_back,
)
from mammo_core.workflows.model_shelf import put_back_model, trashed_models
from mammo_core.workflows.overview import metric_text, plural
from pages.shared.frame import STATE_SIGNS, errors_in_words, plain, size_text
from pages.shared.glossary import explain

FOLDER_WORDS = {
    "experiments": "Runs",
    "models": "Kept models",
    "imported": "Histories of other tools",
    "datasets": "Data sets (tables, no films)",
    "splits": "Splits",
    "cache": "Prepared films and thumbnails (cache)",
    "queue": "Queue",
    "reports": "Reports",
    "trash": "Trash",
    "phantoms": "Demo films",
}


# ---- runs ----------------------------------------------------------------------------------------------------------


def pick_run_to_keep(workspace: Workspace) -> None:
    """All runs in a table, archived ones too; the one that is selected can be annotated, archived or deleted."""
    cards = list_cards(workspace, archived=True)
    if not cards:
        st.info("There are no runs yet.", icon=":material/info:")
        return
    table = pd.DataFrame(
        {
            "Run": [card.id for card in cards],
            "State": [STATE_SIGNS[card.state] for card in cards],
            "Best epoch, validation": [card.problem or metric_text([card]) for card in cards],
            "Tags": [", ".join(card.notes.tags) for card in cards],
            "Notes": [card.notes.text for card in cards],
            "Archived": [card.notes.archived for card in cards],
        }
    )
    st.caption("Select a run to write notes, archive or delete it. Click a heading to sort.")
    chosen = st.dataframe(
        table, hide_index=True, on_select="rerun", selection_mode="single-row", key="keep_runs", alt=f"All {len(cards)} runs"
    )
    for row in chosen.selection.rows:
        if row < len(cards):
            st.subheader(plain(cards[row].id))
            run_panel(workspace, cards[row])


def run_panel(workspace: Workspace, card: RunCard) -> None:
    """Notes and tags of one run, and the buttons that hide or delete it."""
    known = sorted({tag for other in list_cards(workspace, archived=True) for tag in other.notes.tags} | set(card.notes.tags))
    with st.form(f"notes_{card.id}", border=False):
        text = st.text_area("Notes", card.notes.text, max_chars=MAX_NOTE_LENGTH, placeholder="What was tried, and why")
        tags = st.multiselect(
            "Tags", known, default=card.notes.tags, accept_new_options=True, max_selections=MAX_TAGS, help=explain("tags")
        )
        saved = st.form_submit_button("Save notes", icon=":material/save:")
    if saved:
        with errors_in_words():
            annotate(card.run, text, [str(tag) for tag in tags])
            st.rerun()
    with st.container(horizontal=True):
        label = "Show again" if card.notes.archived else "Archive"
        if st.button(label, key=f"archive_{card.id}", icon=":material/archive:", help=explain("archive")):
            with errors_in_words():
                archive(card.run, not card.notes.archived)
                st.rerun()
        if st.button("Delete", key=f"delete_{card.id}", icon=":material/delete:", help=explain("trash")):
            _ask_to_delete(workspace, card)


@st.dialog("Delete this run?", icon=":material/delete:")
def _ask_to_delete(workspace: Workspace, card: RunCard) -> None:
    st.markdown(f"**{plain(card.id)}** goes to the trash with its history, checkpoints and notes.")
    st.caption("It can be put back from there (Home, Keep house) until the trash is emptied. Films and splits are not touched.")
    if st.button("Move to trash", type="primary", key="delete_for_sure"):
        with errors_in_words():
            move_to_trash(workspace, card.run)
            st.rerun()


# ---- the whole workspace ----------------------------------------------------------------------------------------------


def keep_house(workspace: Workspace) -> None:
    """An expander with disk use, trash and cache; measured only while it is open, since that walks every folder."""
    panel = st.expander("Keep house", icon=":material/cleaning_services:", on_change="rerun", key="keep_house")
    if not panel.open:
        return
    with panel:
        use, trash = disk_use(workspace), list_trash(workspace)
        left, right = st.columns(2)
        with left:
            _show_disk_use(use.by_folder, use.free)
            _cache_button(workspace)
        with right:
            _show_trash(workspace, trash)


def _show_disk_use(by_folder: dict[str, int], free: int) -> None:
    st.markdown(f"**Disk use** · {size_text(sum(by_folder.values()))} used, {size_text(free)} free")
    rows = sorted(by_folder.items(), key=lambda item: item[1], reverse=True)
    table = pd.DataFrame(
        {"What": [FOLDER_WORDS.get(name, name) for name, _ in rows], "Size": [size_text(size) for _, size in rows]}
    )
    st.dataframe(table, hide_index=True, alt="Disk use by kind of content, largest first")


def _cache_button(workspace: Workspace) -> None:
    if st.button("Clear the cache", icon=":material/mop:", help=explain("cache"), key="clear_cache"):
        with errors_in_words():
            st.toast(f"{size_text(clear_cache(workspace))} freed. Films are prepared again when a training needs them.")


def _show_trash(workspace: Workspace, trash: list[Path]) -> None:
    models = trashed_models(workspace)
    kinds = [(len(trash), "deleted run"), (len(models), "deleted model")]
    held = " and ".join(plural(count, noun) for count, noun in kinds if count)
    st.markdown(f"**Trash** · {held or 'empty'}", help=explain("trash"))
    for folder in trash:
        _trashed(workspace, folder, _trash_words(folder), put_back)
    for file in models:
        _trashed(workspace, file, f"model {file.stem}, deleted {_moment(file.parent.name)}", put_back_model)
    if held and st.button("Empty the trash", key="empty_trash", icon=":material/delete_forever:"):
        _ask_to_empty(workspace, held)


def _trashed(workspace: Workspace, place: Path, words: str, restore: Callable[[Workspace, Path], object]) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(plain(words), width="stretch")
        if st.button("Put back", key=f"put_back_{place.relative_to(workspace.trash)}", icon=":material/undo:"):
            with errors_in_words():
                restore(workspace, place)
                st.rerun()


@st.dialog("Empty the trash?", icon=":material/delete_forever:")
def _ask_to_empty(workspace: Workspace, held: str) -> None:
    st.markdown(f"**{held}** will be erased for good, with weights and histories. This cannot be undone.")
    st.caption("Runs that are not in the trash, films and splits are kept.")
    if st.button("Erase for good", type="primary", key="erase_for_sure"):
        with errors_in_words():
            empty_trash(workspace)
            st.rerun()


def _trash_words(folder: Path) -> str:
    """``density/seed_42, deleted 21 Nov 14:03`` from the folder's place, ``<when>/<experiment>/<run>``."""
    return f"{folder.parent.name}/{folder.name}, deleted {_moment(folder.parents[1].name)}"


def _moment(name: str) -> str:
    try:
        return time.strftime("%d %b %H:%M", time.strptime(name.rstrip("_"), "%Y%m%d-%H%M%S"))
    except ValueError:
        return name
