"""History: did it converge? The curves of one or more runs; they grow by themselves while a run trains."""

import streamlit as st

from mammo_core.runs.schema import LIVE_STATES
from pages.shared.foreign_history import open_foreign_history
from pages.shared.frame import current_workspace, page_title
from pages.shared.history_look import choose_look
from pages.shared.history_run import show_run
from pages.shared.history_together import show_together
from pages.shared.run_picker import nothing_yet, pick_runs, pickable_cards

workspace = current_workspace()
page_title("History", "Did it converge?")
cards = pickable_cards(workspace, "run")
if not cards:
    nothing_yet("There is no run yet; its curves appear here from the first epoch on.", "pages/train.py", "Start a training")
else:
    newest = next((card for card in cards if card.state in LIVE_STATES), cards[0])
    chosen = pick_runs("Runs", cards, "run", newest)
    if chosen:
        look = choose_look(several=len(chosen) > 1)
        if look.is_together:
            show_together(chosen, look)
        else:
            for card in chosen:
                show_run(workspace, card, look)
    else:
        st.info("Choose one or more runs above.", icon=":material/info:")
open_foreign_history(workspace, is_open=bool(st.query_params.get("open")) or not cards)
