"""Choosing groups of runs, and comparing them once for each state of their files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import streamlit as st

from mammo_core.analysis.compare import compare
from mammo_core.runs.listing import RunCard
from mammo_core.runs.run_dir import find_run
from mammo_core.settings import Workspace, open_workspace
from pages.shared.choice import choose
from pages.shared.frame import STATE_SIGNS, plain
from pages.shared.glossary import explain
from pages.shared.run_files import Stamp, stamp
from pages.shared.run_picker import pick_names

PARTS = {"val": "validation films", "test": "test films"}
GROUPINGS = {"experiments": "Experiments", "runs": "Single runs"}
MOST_GROUPS = 8
"""As many as there are colours; more lines and rows are no longer told apart."""
LONGEST_NAME = 28
"""Letters of a group's name in a figure."""
Groups = Mapping[str, Sequence[RunCard]]


def choose_groups(cards: Sequence[RunCard]) -> dict[str, list[RunCard]]:
    """Experiments as groups, whose runs can be left out visibly; or single runs, each a group of its own."""
    by = choose("Compare", GROUPINGS, "compare_by")
    groups = _experiments(cards) if by == "experiments" else _single_runs(cards)
    if len(groups) > MOST_GROUPS:
        st.warning(f"{len(groups)} groups are chosen; the first {MOST_GROUPS} are compared.", icon=":material/warning:")
    return dict(list(groups.items())[:MOST_GROUPS])


def _experiments(cards: Sequence[RunCard]) -> dict[str, list[RunCard]]:
    by_experiment: dict[str, dict[str, RunCard]] = {}
    for card in cards:
        by_experiment.setdefault(card.run.experiment, {})[card.run.name] = card
    finished = [name for name, runs in by_experiment.items() if any(card.state == "finished" for card in runs.values())]
    alike = _alike([next(iter(by_experiment[name].values())) for name in finished])
    first = [card.run.experiment for card in alike[:2]]
    chosen = pick_names("Groups (experiments)", list(by_experiment), "compare_group", first)
    return {name: _choose_runs(name, by_experiment[name]) for name in chosen}


def _single_runs(cards: Sequence[RunCard]) -> dict[str, list[RunCard]]:
    by_id = {card.id: card for card in cards}
    before = st.session_state.get("compare_group") or []
    finished = [card for card in cards if card.state == "finished" and (not before or card.run.experiment in before)]
    first = [card.id for card in _alike(finished)[:2]]
    return {run_id: [by_id[run_id]] for run_id in pick_names("Runs", list(by_id), "compare_run", first)}


def _alike(cards: Sequence[RunCard]) -> list[RunCard]:
    """What to begin with: runs of this app with the newest one's classes; imported ones only where there are no others."""
    own = [card for card in cards if not card.run.import_file.exists()] or list(cards)
    return [card for card in own if card.class_names == own[0].class_names]


def _choose_runs(name: str, runs: Mapping[str, RunCard]) -> list[RunCard]:
    words = {run: run if card.state == "finished" else f"{run} ({STATE_SIGNS[card.state]})" for run, card in runs.items()}
    kept = st.pills(
        f"Runs of {plain(name)} that count",
        list(runs),
        selection_mode="multi",
        default=list(runs),
        format_func=lambda run: plain(words[run]),
        key=f"compare_runs_{name}",
        persist_state="session",
        help=explain("run"),
    )
    if len(kept) < len(runs):
        left_out = ", ".join(run for run in runs if run not in kept)
        st.caption(f":material/visibility_off: Left out by you: {plain(left_out)}.")
    return [runs[run] for run in kept]


def comparison(workspace: Workspace, groups: Groups, on: str) -> dict[str, Any]:
    """The result of ``compare``, worked out anew only where a file of a run changed.

    Raises
    ------
    MammoError
        No group has a finished run.
    """
    files: list[Stamp] = []
    for run in (card.run for members in groups.values() for card in members):
        files += map(stamp, (run.summary_file, run.status_file, run.metrics_file(on), run.predictions_file(on), run.history_file))
    names = tuple((name, tuple(card.id for card in members)) for name, members in groups.items())
    return _compared(str(workspace.home), names, on, tuple(files))


@st.cache_data(max_entries=16, show_spinner="Comparing: patients are drawn anew 2000 times ...")
def _compared(home: str, groups: tuple[tuple[str, tuple[str, ...]], ...], on: str, version: tuple[Stamp, ...]) -> dict[str, Any]:
    workspace = open_workspace(home)
    return compare({name: [find_run(workspace, run_id) for run_id in runs] for name, runs in groups}, on)


def short_names(names: Iterable[str]) -> dict[str, str]:
    """Name -> what figures call it: long ones cut, so that they fit beside a plot, and still told apart."""
    shown: dict[str, str] = {}
    for name in names:
        short = name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"
        number = sum(other.startswith(short) for other in shown.values())
        shown[name] = f"{short} ({number + 1})" if number else short
    return shown


def figure_note(result: Mapping[str, Any]) -> str:
    """What a figure of this comparison keeps inside."""
    runs = ", ".join(run for group in result["groups"] for run in group["runs"])
    counts = ", ".join(f"{group['name']} n = {group['n']}" for group in result["groups"])
    return f"Runs {runs}; {counts}; {PARTS[result['on']]}; SD (n-1); not smoothed"
