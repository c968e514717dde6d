"""Queue: what runs, waits, and has ended, and why."""

import streamlit as st

from mammo_core.errors import MammoError
from mammo_core.runs import queue
from mammo_core.runs.listing import RunCard, list_cards
from mammo_core.runs.schema import Request
from mammo_core.workflows.launch import queue_run, resume_runs
from mammo_core.workflows.queue_view import EndedItem, QueueView, queue_view
from pages.shared.frame import STATE_WORDS, ago, current_workspace, errors_in_words, page_title, plain, rerun_when_changed
from pages.shared.glossary import explain
from pages.shared.housekeeping_panel import pick_run_to_keep
from pages.shared.job_progress import follow_request
from pages.shared.live_run import live_run

ENDED_SHOWN = 6
workspace = current_workspace()


def draw_running(card: RunCard) -> None:
    with st.container(border=True):
        left, right = st.columns([6, 1], vertical_alignment="top")
        with left:
            live_run(card.id)
        stopping = card.state == "stopping"
        if right.button("Stop", key=f"stop_{card.id}", icon=":material/stop_circle:", disabled=stopping, width="stretch"):
            card.run.ask_to_stop()
            st.toast(f"{plain(card.id)} finishes its batch, keeps everything up to its last whole epoch, and stops.")
            st.rerun()


def draw_waiting(request: Request, first: bool, last: bool) -> None:
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        note = f" · {plain(request.message)}" if request.message else ""
        st.markdown(f"{STATE_WORDS['queued']} · **{plain(request.title)}**{note}", width="stretch")
        if st.button("Up", key=f"up_{request.id}", icon=":material/arrow_upward:", disabled=first):
            move(request, -1)
        if st.button("Down", key=f"down_{request.id}", icon=":material/arrow_downward:", disabled=last):
            move(request, 1)
        if st.button("Cancel", key=f"cancel_{request.id}", icon=":material/cancel:"):
            with errors_in_words():
                queue.cancel(workspace, request.id)
                st.rerun()


def move(request: Request, places: int) -> None:
    with errors_in_words():
        queue.move(workspace, request.id, places)
        st.rerun()


def draw_ended(item: EndedItem) -> None:
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        state = "cancelled" if item.can_queue else item.state
        when = f" · {ago(item.ended_at)}" if item.ended_at else ""
        reason = f"  \n{plain(item.reason)}" if item.reason else ""
        st.markdown(f"{STATE_WORDS[state]} · **{plain(item.title)}**{when}{reason}", width="stretch")
        if item.card is None:
            return
        if item.can_resume and st.button("Resume", key=f"resume_{item.title}", icon=":material/play_arrow:"):
            again(item.card, is_new=False)
        if item.can_queue and st.button("Queue again", key=f"queue_{item.title}", icon=":material/replay:"):
            again(item.card, is_new=True)
        st.page_link("pages/history.py", label="History", icon=":material/show_chart:", query_params={"run": item.card.id})


def again(card: RunCard, *, is_new: bool) -> None:
    with errors_in_words():
        if is_new:
            queue_run(workspace, card.run, "train")
        else:
            resume_runs(workspace, [card.run])
        st.rerun()


def draw_pause(view: QueueView) -> None:
    """The button that holds trainings back, or lets them start again."""
    if view.paused:
        with st.container(border=True, horizontal=True, vertical_alignment="center"):
            words = "No further training starts; what runs goes on, and other work is not held up."
            st.markdown(f":material/pause_circle: **Paused.** {words}", width="stretch")
            if st.button("Go on", key="queue_go_on", type="primary", icon=":material/play_arrow:"):
                hold_back(False)
    elif (view.running or view.waiting) and st.button("Pause", key="queue_pause", icon=":material/pause:", help=explain("pause")):
        hold_back(True)


def hold_back(pause: bool) -> None:
    with errors_in_words():
        (queue.pause if pause else queue.go_on)(workspace)
        st.rerun()


def draw_queue() -> None:
    view = queue_view(workspace, list_cards(workspace))
    draw_pause(view)
    if not view.is_live and not view.ended and not view.paused:
        st.info("Nothing runs or waits. Start a training to see it here.", icon=":material/info:")
        if st.button("Start a training", type="primary", icon=":material/model_training:"):
            st.switch_page("pages/train.py")
        return
    st.subheader("Now")
    for card in view.running:
        draw_running(card)
    for request in (*view.starting, *view.jobs):
        follow_request(request)
    if not (view.running or view.starting or view.jobs):
        st.caption("Nothing is running.")
    if view.waiting:
        st.subheader(f"Waiting ({len(view.waiting)})")
    for index, request in enumerate(view.waiting):
        draw_waiting(request, index == 0, index == len(view.waiting) - 1)
    draw_all_ended(view)
    rerun_when_changed(view.signature, lambda: queue_view(workspace, list_cards(workspace)).signature, view.is_live)


def draw_all_ended(view: QueueView) -> None:
    if view.ended:
        st.subheader("Ended", help=explain("state"))
    for item in view.ended if st.session_state.get("queue_all") else view.ended[:ENDED_SHOWN]:
        draw_ended(item)
    if len(view.ended) > ENDED_SHOWN:
        st.toggle(f"Show all {len(view.ended)}", key="queue_all")


page_title("Queue", "What runs, what waits, and what has ended?")
chosen = st.segmented_control(
    "View", ["Queue", "Runs"], default="Queue", required=True, key="queue_view", bind="query-params", label_visibility="collapsed"
)
try:
    if chosen == "Runs":
        pick_run_to_keep(workspace)
    else:
        draw_queue()
except MammoError as error:
    st.error(plain(str(error)), icon=":material/error:")
