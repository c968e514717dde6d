"""History: did it converge? The curves of one or more runs; they grow by themselves while a run trains."""

import pandas as pd
import streamlit as st

from mammo_core.report.charts import HistoryView, history_chart
from mammo_core.report.charts_history import lowest_epoch
from mammo_core.report.spec import Chart
from mammo_core.runs.listing import RunCard, list_cards
from mammo_core.runs.schema import LIVE_STATES, RESUMABLE_STATES
from mammo_core.workflows.queue_view import run_progress, seconds_left
from pages.shared.figures import PLOT_WIDTH, download_figure, show_zoomable_chart
from pages.shared.foreign_history import open_foreign_history
from pages.shared.frame import POLL_SECONDS, current_workspace, errors_in_words, page_title, plain
from pages.shared.headline import headline
from pages.shared.housekeeping_panel import run_panel
from pages.shared.run_files import run_history
from pages.shared.run_picker import nothing_yet, pick_runs, pickable_cards, run_line
from pages.shared.verdict import findings, phase_bands, verdict_of

workspace = current_workspace()


def history_figure(card: RunCard, frame: pd.DataFrame, width: int, *, zoom: bool) -> Chart:
    view = HistoryView(
        title="" if zoom else card.id,
        epochs_planned=(card.status.epochs if card.status else 0) or None,
        best_epoch=lowest_epoch(frame, "val_loss"),
        class_names=card.class_names,
        width=width,
        bands=phase_bands(verdict_of(card.run)),
        live=zoom,
    )
    return history_chart(frame, view)


def what_moves(run_id: str, seen: tuple[str, bool]) -> None:
    """Words and curves, drawn again every two seconds while a run trains, with the reader's zoom kept.

    ``seen`` is the state, and whether there was an epoch, when the page was drawn: the page is drawn anew once they change.
    """
    card = next((card for card in list_cards(workspace, archived=True) if card.id == run_id), None)
    if card is None:
        st.rerun()
    with errors_in_words():
        frame = run_history(card.run)
        if (card.state, frame.empty) != seen:
            st.rerun()
        verdict = verdict_of(card.run)
        words(card, frame, verdict.headline if verdict else "")
        if frame.empty:
            st.caption("The figure appears when the first epoch has ended.")
        else:
            show_zoomable_chart(history_figure(card, frame, PLOT_WIDTH, zoom=True), f"history_chart_{card.id}")
        if verdict:
            findings(verdict)


def words(card: RunCard, frame: pd.DataFrame, verdict: str) -> None:
    """The first line: the verdict, or the facts where there is none yet."""
    facts = headline(card, frame, seconds_left(card.status) if card.status else None)
    st.markdown(f"**{plain(verdict or facts)}**")
    if card.state in LIVE_STATES and card.status:
        st.progress(run_progress(card.status), plain(card.status.message) or None)
    if verdict:
        st.caption(plain(facts))


def buttons(card: RunCard) -> None:
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


def show_run(card: RunCard) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader(plain(card.id), width="stretch")
        buttons(card)
        place = st.container(width="content")
    st.caption(run_line(card))
    if card.problem:
        st.error(plain(card.problem), icon=":material/error:")
    with errors_in_words():
        frame = run_history(card.run)
        live = card.state in LIVE_STATES or card.state == "queued"
        st.fragment(what_moves, run_every=POLL_SECONDS if live else None)(card.id, (card.state, frame.empty))
        if len(frame):
            note = f"Run {card.id}; data {card.dataset}, split {card.split}; not smoothed"
            with place:
                download_figure(
                    lambda width: history_figure(card, frame, width, zoom=False),
                    f"{card.id}_history",
                    frame,
                    note,
                    f"history_file_{card.id}",
                )
            with st.expander("All numbers, epoch by epoch", icon=":material/table:"):
                table = frame.dropna(axis="columns", how="all")
                st.dataframe(table, hide_index=True, alt=f"History of {card.id}: {len(table)} epochs")
    with st.expander("Notes, tags, archive, delete", icon=":material/edit_note:"):
        run_panel(workspace, card)


page_title("History", "Did it converge?")
cards = pickable_cards(workspace, "run")
if not cards:
    nothing_yet("There is no run yet; its curves appear here from the first epoch on.", "pages/train.py", "Start a training")
else:
    newest = next((card for card in cards if card.state in LIVE_STATES), cards[0])
    chosen = pick_runs("Runs", cards, "run", newest)
    if not chosen:
        st.info("Choose one or more runs above.", icon=":material/info:")
    for card in chosen:
        show_run(card)
open_foreign_history(workspace, is_open=bool(st.query_params.get("open")) or not cards)
