"""Several runs in one figure on History, with the verdict of each in one line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
import streamlit as st

from mammo_core.errors import MammoError
from mammo_core.report.charts_runs import MOST_RUNS, RUN_METRICS, RunsView, metrics_of, runs_chart, runs_without_time, why_rows
from mammo_core.report.spec import Chart
from mammo_core.runs.listing import RunCard, list_cards
from pages.shared.choice import choose
from pages.shared.figures import PLOT_WIDTH, download_figure, show_zoomable_chart
from pages.shared.frame import POLL_SECONDS, STATE_WORDS, current_workspace, plain
from pages.shared.history_look import Look
from pages.shared.history_run import is_followed
from pages.shared.run_files import run_history
from pages.shared.verdict import verdict_line, verdict_of

Frames = Mapping[str, pd.DataFrame]


def show_together(cards: Sequence[RunCard], look: Look) -> None:
    """One metric of the first eight runs, and a line for each."""
    if len(cards) > MOST_RUNS:
        st.info(
            f"{len(cards)} runs are chosen; the first {MOST_RUNS} are drawn, since more colours cannot be told apart. Take some "
            "out above, or see whole experiments as mean curves on Compare.",
            icon=":material/info:",
        )
    drawn = list(cards[:MOST_RUNS])
    frames = _frames(drawn)
    names = metrics_of(frames)
    if not names:
        st.info("None of these runs has finished an epoch yet; their curves appear here.", icon=":material/info:")
        return
    metric = choose("Metric", {name: RUN_METRICS[name].word for name in names}, "history_metric")
    metric = metric if metric in names else names[0]
    seen = tuple((card.id, card.state) for card in drawn)
    every = POLL_SECONDS if any(map(is_followed, drawn)) else None
    st.fragment(_what_moves, run_every=every)(seen, look, metric)
    table = pd.concat([frame.assign(run=run_id) for run_id, frame in frames.items()])
    download_figure(
        lambda width: _figure(drawn, frames, look, metric, width, on_screen=False),
        f"runs_{metric}",
        table[["run", *(column for column in table.columns if column != "run")]].dropna(axis="columns", how="all"),
        f"Runs {', '.join(frames)}; not smoothed",
        "history_together_file",
    )


def _frames(cards: Sequence[RunCard]) -> dict[str, pd.DataFrame]:
    """The histories that can be read; what is wrong with the others stands in their line."""
    frames = {}
    for card in cards:
        try:
            frame = run_history(card.run)
        except MammoError:
            continue
        if len(frame):
            frames[card.id] = frame
    return frames


def _figure(cards: Sequence[RunCard], frames: Frames, look: Look, metric: str, width: int, *, on_screen: bool) -> Chart:
    planned = {card.id: card.status.epochs for card in cards if card.status and card.status.epochs}
    view = RunsView(
        metric=metric,
        planned=planned,
        axis=look.axis,
        log_loss=look.log_loss,
        smoothing=look.smoothing if on_screen else 0.0,
        width=width,
        live=on_screen,
    )
    return runs_chart(frames, view)


def _what_moves(seen: tuple[tuple[str, str], ...], look: Look, metric: str) -> None:
    """The figure and the lines; the page is drawn anew once the state of a run is no longer as ``seen``."""
    by_id = {card.id: card for card in list_cards(current_workspace(), archived=True)}
    cards = [by_id[run_id] for run_id, _ in seen if run_id in by_id]
    if tuple((card.id, card.state) for card in cards) != seen:
        st.rerun()
    frames = _frames(cards)
    missing = runs_without_time(frames) if look.axis == "time" else []
    if missing:
        st.caption(f":material/info: Drawn over epochs: {plain(', '.join(missing))} recorded no time for every epoch.")
    rows = why_rows(frames) if look.axis == "epoch" or missing else ""
    if rows:
        st.caption(f":material/info: {plain(rows)}")
    chart = _figure(cards, frames, look, metric, PLOT_WIDTH, on_screen=True)
    show_zoomable_chart(chart, f"history_together_{'epoch' if missing else look.axis}")
    for card in cards:
        _line(card)


def _line(card: RunCard) -> None:
    try:
        verdict_line(card.id, verdict_of(card.run), f"{STATE_WORDS[card.state].partition(' ')[2]}, no epoch has ended yet")
    except MammoError as error:
        st.markdown(f":material/error: **{plain(card.id)}** · {plain(str(error))}")
