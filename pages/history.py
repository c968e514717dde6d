"""History: did it converge? The curves of one or more runs; they grow by themselves while a run trains."""

import pandas as pd
import streamlit as st

from mammo_core.report.charts import HistoryView, history_chart
from mammo_core.report.charts_history import lowest_epoch
from mammo_core.runs.listing import RunCard, list_cards
from mammo_core.runs.schema import LIVE_STATES, RESUMABLE_STATES
from mammo_core.workflows.queue_view import run_progress, seconds_left
from pages.shared.figures import PLOT_WIDTH, download_figure, show_zoomable_chart
from pages.shared.frame import POLL_SECONDS, current_workspace, errors_in_words, page_title, plain
from pages.shared.headline import headline
from pages.shared.housekeeping_panel import run_panel
from pages.shared.run_files import run_history, stamp
from pages.shared.run_picker import nothing_yet, pick_runs, pickable_cards, run_line

workspace = current_workspace()
WAITING_OR_LIVE = LIVE_STATES | {"queued"}


def view_of(card: RunCard, frame: pd.DataFrame, width: int, live: bool = False) -> HistoryView:
    planned = card.status.epochs if card.status else 0
    return HistoryView(
        title="" if live else card.id,
        epochs_planned=planned or None,
        best_epoch=lowest_epoch(frame, "val_loss"),
        class_names=card.class_names,
        width=width,
        live=live,
    )


def curves(run_id: str, polled: bool) -> None:
    """What moves while a run trains; drawn again every two seconds then, with the reader's zoom kept."""
    card = next((card for card in list_cards(workspace, archived=True) if card.id == run_id), None)
    if card is None or (polled and card.state not in WAITING_OR_LIVE):
        st.rerun()
    with errors_in_words():
        frame = run_history(card.run)
        left = seconds_left(card.status) if card.status else None
        st.markdown(f"**{plain(headline(card, frame, left))}**")
        if card.state in LIVE_STATES and card.status:
            st.progress(run_progress(card.status), plain(card.status.message) or None)
        if frame.empty:
            st.caption("The figure appears when the first epoch has ended.")
            return
        view = view_of(card, frame, PLOT_WIDTH, live=True)
        version = (stamp(card.run.history_file), view)
        show_zoomable_chart(lambda: history_chart(frame, view), f"history_chart_{card.id}", version)


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


def downloads(card: RunCard, frame: pd.DataFrame) -> None:
    def build(width: int) -> object:
        return history_chart(frame, view_of(card, frame, width))

    note = f"Run {card.id}; data {card.dataset}, split {card.split}; not smoothed"
    download_figure(build, f"{card.id}_history", frame, note, f"history_file_{card.id}")


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
        live = card.state in WAITING_OR_LIVE
        st.fragment(curves, run_every=POLL_SECONDS if live else None)(card.id, live)
        if len(frame):
            with place:
                downloads(card, frame)
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
