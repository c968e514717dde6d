"""Choosing runs and models: by name, searchable, and kept in the page's URL."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from mammo_core.runs.listing import RunCard, list_cards
from mammo_core.settings import Workspace
from mammo_core.workflows.shelf import ShelfRow, shelf, shelf_of_runs
from pages.shared.frame import STATE_WORDS, plain

SEARCH = "Type to search"


def nothing_yet(sentence: str, page: str, label: str) -> None:
    """The empty state of a page: one sentence, and the button to what is missing."""
    st.info(sentence, icon=":material/info:")
    if st.button(label, type="primary", icon=":material/arrow_forward:"):
        st.switch_page(page)


def pickable_cards(workspace: Workspace, key: str) -> list[RunCard]:
    """All runs but archived ones; an archived run that the URL names is there all the same."""
    asked = set(st.query_params.get_all(key))
    return [card for card in list_cards(workspace, archived=True) if not card.notes.archived or card.id in asked]


def pick_runs(label: str, cards: Sequence[RunCard], key: str, first: RunCard | None = None) -> list[RunCard]:
    """Several runs; ``first`` where the URL names none."""
    by_id = {card.id: card for card in cards}
    return [by_id[run_id] for run_id in pick_names(label, list(by_id), key, [first.id] if first else [])]


def pick_names(label: str, options: Sequence[str], key: str, first: Sequence[str]) -> list[str]:
    """Several of the named things; ``first`` where the URL names none."""
    _begin_with(key, list(first), options)
    chosen = st.multiselect(label, options, key=key, bind="query-params", placeholder=SEARCH)
    return [name for name in chosen if name in options]


def pick_one(label: str, options: Sequence[str], key: str, help_text: str | None = None) -> str | None:
    """One of the named things, the first where the URL names none."""
    _begin_with(key, options[0] if options else None, options)
    chosen = st.selectbox(label, options, index=None, key=key, bind="query-params", placeholder=SEARCH, help=help_text)
    return chosen if chosen in options else None


def pick_model(label: str, cards: Sequence[RunCard], key: str, kept: Sequence[ShelfRow] = ()) -> ShelfRow | None:
    """A trained model: one that was kept, all seeds of an experiment together, or one run; with what it is in one line."""
    several = (row for row in shelf(cards) if len(row.runs) > 1)
    models = {row.name: row for row in (*kept, *several, *shelf_of_runs(cards))}
    asked = st.query_params.get(key)
    models |= {row.name: row for row in shelf(cards) if row.name == asked}  # a single run may be named by its experiment
    # a model that the URL names stays named: another in its place would be taken for it
    names = [*models] if asked is None or asked in models else [asked, *models]
    together = "An experiment stands for all its runs together: the mean of their probabilities."
    chosen = pick_one(label, names, key, together)
    if chosen is None:
        return None
    if chosen not in models:
        st.warning(plain(why_no_model(chosen, cards)), icon=":material/search_off:")
        return None
    st.caption(model_line(models[chosen]))
    return models[chosen]


def why_no_model(name: str, cards: Sequence[RunCard]) -> str:
    """Why there is no trained model of that name, and what to do."""
    card = next((card for card in cards if card.id == name), None)
    if card is not None and card.problem is not None:
        return f"{name} cannot be read: {card.problem}"
    if card is not None:
        state = STATE_WORDS[card.state].rpartition(": ")[2]
        status = card.status
        reached = f" at epoch {status.epoch} of {status.epochs}" if status is not None and status.epochs else ""
        return f"{name} has no results yet ({state}{reached}). Choose another, or finish its training."
    if any(card.run.experiment == name for card in cards):
        return f"{name} has no results yet (none of its runs has finished). Choose another, or finish its training."
    return f"There is no model named {name} here. Choose one from the list."


def model_line(row: ShelfRow) -> str:
    """Task, data and quality of a model in one line."""
    runs = "kept model" if row.kept else f"{len(row.runs)} runs together" if len(row.runs) > 1 else "one run"
    films = f"{row.train_films} training films" if row.train_films else "training films unknown"
    each = "each run by itself: " if len(row.runs) > 1 else ""
    return plain(
        f"{row.task} ({' / '.join(row.class_names)}) · data {row.dataset}, {films} · {runs} · {each}validation {row.quality}"
    )


def _begin_with(key: str, value: object, known: object) -> None:
    """Choose for the user only where nothing that still exists is chosen: the choice then stands in the URL."""
    asked = [name for name in st.query_params.get_all(key) if name in known]  # type: ignore[operator]
    if key not in st.session_state and not asked:
        st.session_state[key] = value


def run_line(card: RunCard) -> str:
    """What a run is, in one line for ``st.caption``: state, task, data, model, seed."""
    parts = [STATE_WORDS[card.state]]
    if card.problem is None:
        classes = " / ".join(card.class_names)
        parts += [
            f"{plain(card.task)} ({plain(classes)})",
            f"data {plain(card.dataset)}, split {plain(card.split)}",
            plain(card.arch),
        ]
        parts.append(f"seed {card.seed}" + (f", fold {card.fold}" if card.fold is not None else ""))
    return " · ".join(parts)
