"""One run on History: its verdict, its figure, which grows by itself while it trains, and what led to the verdict."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from mammo_core.report.charts import HistoryView, history_chart
from mammo_core.report.charts_history import PAGE_HEIGHT, lowest_epoch
from mammo_core.report.history_events import ending_events, rate_events
from mammo_core.report.spec import Chart
from mammo_core.report.verdict_tables import how_sure
from mammo_core.report.x_axis import why_no_time
from mammo_core.runs.listing import RunCard, list_cards
from mammo_core.runs.schema import LIVE_STATES, RESUMABLE_STATES
from mammo_core.settings import Workspace
from mammo_core.workflows.queue_view import run_progress, seconds_left
from pages.shared.figures import PLOT_WIDTH, download_figure, show_zoomable_chart
from pages.shared.frame import POLL_SECONDS, current_workspace, errors_in_words, plain
from pages.shared.headline import headline
from pages.shared.history_look import Look
from pages.shared.housekeeping_panel import run_panel
from pages.shared.run_files import run_history
from pages.shared.run_picker import run_line
from pages.shared.verdict import findings, phase_bands, verdict_of


def is_followed(card: RunCard) -> bool:
    """Whether its figure can still grow."""
    return card.state in LIVE_STATES or card.state == "queued"


def history_figure(card: RunCard, frame: pd.DataFrame, look: Look, width: int, *, on_screen: bool) -> Chart:
    """The figure as chosen; what is exported is never smoothed."""
    record = card.run.import_record()
    stop_reason = card.status.stop_reason if card.status else None
    ending = () if record else ending_events(frame, card.state, stop_reason)
    view = HistoryView(
        title="" if on_screen else card.id,
        epochs_planned=(card.status.epochs if card.status else 0) or None,
        best_epoch=lowest_epoch(frame, "val_loss"),
        class_names=card.class_names,
        score_name=str(record.get("score_name") or ""),
        width=width,
        bands=phase_bands(verdict_of(card.run)),
        events=(*rate_events(frame), *ending),
        axis=look.axis,
        log_loss=look.log_loss,
        smoothing=look.smoothing if on_screen else 0.0,
        panels=look.panels,
        loss_unit="" if record else "nats",
        most_height=None if on_screen else PAGE_HEIGHT,
        live=on_screen,
    )
    return history_chart(frame, view)


def show_run(workspace: Workspace, card: RunCard, look: Look) -> None:
    """Name, state and buttons; below them what moves; then downloads, numbers and housekeeping."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader(plain(card.id), width="stretch")
        _buttons(workspace, card)
        place = st.container(width="content")
    record = card.run.import_record()
    st.caption(plain(f"Imported from {record.get('file')} ({record.get('source')})") if record else run_line(card))
    if card.problem:
        st.error(plain(card.problem), icon=":material/error:")
    with errors_in_words():
        frame = run_history(card.run)
        every = POLL_SECONDS if is_followed(card) else None
        st.fragment(_what_moves, run_every=every)(card.id, (card.state, frame.empty), look)
        if len(frame):
            with place:
                _downloads(card, frame, look)
            with st.expander("All numbers, epoch by epoch", icon=":material/table:"):
                table = frame.dropna(axis="columns", how="all")
                st.dataframe(table, hide_index=True, alt=f"History of {card.id}: {len(table)} epochs")
    _how_it_was_read(card)
    with st.expander("Notes, tags, archive, delete", icon=":material/edit_note:"):
        run_panel(workspace, card)


def _what_moves(run_id: str, seen: tuple[str, bool], look: Look) -> None:
    """Words and curves, drawn again every two seconds while a run trains, with the reader's zoom kept.

    ``seen`` is the state, and whether there was an epoch, when the page was drawn: the page is drawn anew once they change.
    """
    card = next((card for card in list_cards(current_workspace(), archived=True) if card.id == run_id), None)
    if card is None:
        st.rerun()
    with errors_in_words():
        frame = run_history(card.run)
        if (card.state, frame.empty) != seen:
            st.rerun()
        verdict = verdict_of(card.run)
        _words(card, frame, verdict.headline if verdict else "", how_sure(verdict) if verdict else "")
        if frame.empty:
            st.caption("The figure appears when the first epoch has ended.")
            return
        reason = why_no_time(frame) if look.axis == "time" else None
        if reason:
            st.caption(f":material/info: Drawn over epochs: {reason}")
        chart = history_figure(card, frame, look, PLOT_WIDTH, on_screen=True)
        show_zoomable_chart(chart, f"history_chart_{card.id}_{'epoch' if reason else look.axis}")
        if verdict:
            findings(verdict)


def _words(card: RunCard, frame: pd.DataFrame, verdict: str, sure: str) -> None:
    """The first line: the verdict, or the facts where there is none yet."""
    facts = headline(card, frame, seconds_left(card.status) if card.status else None)
    st.markdown(f"**{plain(verdict or facts)}**")
    if card.state in LIVE_STATES and card.status:
        st.progress(run_progress(card.status), plain(card.status.message) or None)
    if verdict:
        st.caption(f"{plain(facts)} {sure}")


def _buttons(workspace: Workspace, card: RunCard) -> None:
    """Stop and Resume stand outside what is redrawn, so that a click is never lost."""
    if card.state in LIVE_STATES:
        if st.button("Stop", key=f"stop_{card.id}", icon=":material/stop_circle:", disabled=card.state == "stopping"):
            card.run.ask_to_stop()
            st.rerun()
    elif card.state in RESUMABLE_STATES and st.button("Resume", key=f"resume_{card.id}", icon=":material/play_arrow:"):
        from mammo_core.workflows.launch import resume_runs

        with errors_in_words():
            resume_runs(workspace, [card.run])
            st.rerun()


def _downloads(card: RunCard, frame: pd.DataFrame, look: Look) -> None:
    source = f"data {card.dataset}, split {card.split}" if card.dataset else "history of another tool"
    download_figure(
        lambda width: history_figure(card, frame, look, width, on_screen=False),
        f"{card.id}_history",
        frame,
        f"Run {card.id}; {source}; not smoothed",
        f"history_file_{card.id}",
    )


def _how_it_was_read(card: RunCard) -> None:
    record = card.run.import_record()
    if record:
        with st.expander("How the file was read", icon=":material/description:"):
            facts = record.get("facts")
            listed = [f"- {plain(str(fact))}" for fact in facts] if isinstance(facts, list) else []
            st.markdown("\n".join(listed) or "All columns were recognised by their names.")
