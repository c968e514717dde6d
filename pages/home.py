"""Home: where am I, and what comes next?"""

import streamlit as st

from mammo_core.data.manifest import list_datasets
from mammo_core.data.splits import list_splits
from mammo_core.runs.listing import RunCard, list_cards
from mammo_core.runs.queue import enqueue
from mammo_core.runs.schema import LIVE_STATES
from mammo_core.workflows.doctor_installation import missing_decoders
from mammo_core.workflows.launch import resume_runs
from mammo_core.workflows.overview import (
    LOW_DISK_BYTES,
    free_bytes,
    interrupted_runs,
    latest_demo,
    path_steps,
)
from pages.shared.doctor_panel import doctor_panel
from pages.shared.frame import (
    current_workspace,
    errors_in_words,
    page_title,
    plain,
    rerun_when_changed,
    size_text,
)
from pages.shared.glossary import explain
from pages.shared.housekeeping_panel import keep_house
from pages.shared.job_progress import follow_job
from pages.shared.latest_runs import latest_runs

STEPS = {
    "Films": ("pages/films.py", "Import films", "See films", ":material/photo_library:"),
    "Split": ("pages/splits.py", "Make a split", "See splits", ":material/call_split:"),
    "Train": ("pages/train.py", "Start a training", "Train more", ":material/model_training:"),
    "Understand": ("pages/history.py", "Open History", "Open History", ":material/show_chart:"),
}

workspace = current_workspace()
datasets, broken_sets = list_datasets(workspace)
splits, broken_splits = list_splits(workspace)
cards = list_cards(workspace)
demo = latest_demo(workspace)
demo_ready = demo is not None and demo.state == "done" and demo.result.get("dataset") in {item.name for item in datasets}
demo_ready = demo_ready and not any(card.dataset == demo.result["dataset"] for card in cards)
demo_runs = demo is not None and demo.state in ("waiting", "running")


def first_visit() -> None:
    """What the app is, and the two ways in."""
    st.markdown(
        "MammoTrace trains classifiers on mammography films on this computer, tells in words whether a training can be trusted, "
        "and shows what a model looked at. Nothing leaves this machine."
    )
    if demo is not None and demo.state == "failed":
        st.error(f"The demo films could not be made: {plain(demo.message)}", icon=":material/error:")
    with st.container(horizontal=True):
        if st.button("Try it with demo films", type="primary", icon=":material/play_arrow:", help=explain("synthetic")):
            enqueue(workspace, "demo", {}, "Make demo films")
            st.rerun()
        if st.button("Bring my films", icon=":material/folder_open:"):
            st.switch_page("pages/films.py")
        if st.button("Open a history of another tool", icon=":material/file_open:"):
            st.switch_page("pages/history.py", query_params={"open": "history"})


def demo_is_ready() -> None:
    made = demo.result
    counts = next(item.record.counts for item in datasets if item.name == made["dataset"])
    words = f"{counts.films} synthetic films of {counts.patients} patients, split by patient"
    st.success(f"The demo films are ready: {words}.", icon=":material/check_circle:")
    if st.button("Train on the demo films", type="primary", icon=":material/model_training:"):
        st.switch_page("pages/train.py", query_params={"train_data": made["dataset"], "train_split": made["split"]})


def what_is_wrong() -> None:
    """Only what is seen at once, each with what to do; the doctor below looks at everything."""
    if free_bytes(workspace) < LOW_DISK_BYTES:
        st.warning(f"Only {size_text(free_bytes(workspace))} of disk space are left. Keep house below, or free some elsewhere.")
    missing = missing_decoders()
    if missing:
        st.warning(f"Compressed DICOM films may be unreadable: install {', '.join(missing)} (or set the app up again).")
    for name, problem in {**broken_sets, **broken_splits}.items():
        st.warning(f"{plain(name)}: {plain(problem)}")
    dead = interrupted_runs(workspace, cards)
    if dead:
        with st.container(horizontal=True, vertical_alignment="center", border=True):
            names = ", ".join(card.id for card in dead[:3]) + (f" and {len(dead) - 3} more" if len(dead) > 3 else "")
            st.markdown(
                f":material/warning: Interrupted: {plain(names)}. Nothing is lost up to the last whole epoch.", width="stretch"
            )
            if st.button("Resume", icon=":material/play_arrow:"):
                with errors_in_words():
                    resume_runs(workspace, [card.run for card in dead])
                    st.switch_page("pages/queue.py")


def states(cards: list[RunCard]) -> list[tuple[str, str]]:
    return [(card.id, card.state) for card in cards]


def path_cards() -> None:
    steps = path_steps(datasets, splits, cards)
    first_open = next((index for index, step in enumerate(steps) if not step.done), len(steps) - 1)
    elsewhere = demo_ready or demo_runs or not (datasets or cards)
    for index, (column, step) in enumerate(zip(st.columns(4, border=True), steps, strict=True)):
        page, verb, again, icon = STEPS[step.name]
        with column:
            st.markdown(f"{icon} **{index + 1}. {step.name}**")
            st.caption(f"{':material/check: ' if step.done else ''}{step.text}")
            is_next = index == first_open and not elsewhere
            reachable = step.done or index <= first_open
            if st.button(
                again if step.done else verb,
                key=f"home_{step.name}",
                type="primary" if is_next else "secondary",
                disabled=not reachable,
            ):
                st.switch_page(page)


page_title("MammoTrace", "Where am I, and what comes next?")
what_is_wrong()
if demo_runs:
    follow_job(demo, "The demo films are being made. You can leave this page.")
elif demo_ready:
    demo_is_ready()
elif not datasets and not cards:
    first_visit()
path_cards()
if cards:
    st.subheader("Latest runs")
    latest_runs(cards)
keep_house(workspace)
doctor_panel(workspace)
live = any(card.state in LIVE_STATES or card.state == "queued" for card in cards)
rerun_when_changed(states(cards), lambda: states(list_cards(workspace)), live)
