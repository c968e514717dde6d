"""The experiments that changed last, one line each, with the verdicts of their runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pandas as pd
import streamlit as st

from mammo_core.errors import MammoError
from mammo_core.runs.listing import RunCard
from mammo_core.workflows.overview import experiment_rows
from pages.shared.frame import STATE_SIGNS, ago
from pages.shared.glossary import explain
from pages.shared.verdict import verdict_of

LATEST_EXPERIMENTS = 8


def latest_runs(cards: Sequence[RunCard]) -> None:
    """A table; selecting a row opens the experiment's first run in History."""
    rows = experiment_rows(cards, LATEST_EXPERIMENTS)
    table = pd.DataFrame(
        {
            "Experiment": [row.experiment for row in rows],
            "State": [STATE_SIGNS.get(row.state, row.state) for row in rows],
            "Verdict": [_verdicts([card for card in cards if card.run.experiment == row.experiment]) for row in rows],
            "Best epoch, validation": [row.metric or row.problem for row in rows],
            "Seeds": [row.seeds for row in rows],
            "Changed": [ago(row.changed_at) for row in rows],
        }
    )
    help_text = f"{explain('spread')} {explain('interval')}"
    chosen = st.dataframe(
        table,
        hide_index=True,
        column_config={"Best epoch, validation": st.column_config.TextColumn(width=270, help=help_text)},
        on_select="rerun",
        selection_mode="single-row",
        key="home_runs",
        alt=f"The {len(rows)} experiments changed last, the newest first",
    )
    st.caption("Select a row to open it in History.")
    if chosen.selection.rows:
        st.switch_page("pages/history.py", query_params={"run": rows[chosen.selection.rows[0]].first_run})


def _verdicts(cards: Sequence[RunCard]) -> str:
    """``healthy``, or where runs differ ``healthy (2 of 3), plateau (1 of 3)``; only runs that ended are judged here."""
    words: Counter[str] = Counter()
    for card in cards:
        try:
            found = verdict_of(card.run) if card.state == "finished" else None
        except MammoError:
            continue  # its problem stands in the table already
        if found is not None:
            words[str(found.verdict).replace("_", " ").lower()] += 1
    if words.total() == len(cards) and len(words) == 1:
        return next(iter(words))
    return ", ".join(f"{word} ({count} of {len(cards)})" for word, count in words.most_common())
