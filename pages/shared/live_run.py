"""One training run while it works: how far it is, when it will end, its validation loss and its last words."""

from __future__ import annotations

import streamlit as st

from mammo_core.runs.history import history_frame
from mammo_core.runs.listing import RunCard, list_cards
from mammo_core.runs.schema import Status
from mammo_core.workflows.queue_view import finish_clock, run_progress, seconds_left
from pages.shared.frame import POLL_SECONDS, STATE_WORDS, current_workspace, duration, errors_in_words, plain
from pages.shared.glossary import explain

LOG_LINES = 12


def live_run(run_id: str) -> None:
    """Follow the run every two seconds; the page itself notices when it ends."""

    def look() -> None:
        card = next((card for card in list_cards(current_workspace()) if card.id == run_id), None)
        if card is not None:
            _draw(card)

    st.fragment(look, run_every=POLL_SECONDS)()


def _draw(card: RunCard) -> None:
    status = card.status or Status(state="running")
    st.markdown(f"{STATE_WORDS[card.state]} · **{plain(card.id)}**")
    if status.alarm:
        st.warning(plain(status.alarm), icon=":material/warning:")
    words, chart = st.columns([3, 2])
    with words:
        st.progress(run_progress(status), text=f"Epoch {min(status.epoch + 1, max(1, status.epochs))} of {status.epochs}")
        st.caption(_time_words(status), help=explain("eta"))
    with chart, errors_in_words():
        frame = history_frame(card.run.history())
        losses = frame["val_loss"].dropna().tolist() if "val_loss" in frame.columns else []
        if losses:
            st.metric("Validation loss", f"{losses[-1]:.3f}", chart_data=losses, help=explain("validation loss"))
    with st.expander("Last lines of the log", icon=":material/notes:"):
        st.code("\n".join(card.run.log_tail(LOG_LINES)) or "The log is still empty.", language=None, wrap_lines=True)


def _time_words(status: Status) -> str:
    left = seconds_left(status)
    if left is not None:
        return f"{duration(left).capitalize()} left, done around {finish_clock(left)}"
    return plain(status.message) or "The time left is known after two epochs."
