"""What every page has around it: the workspace, the title, errors in words, and the foot of the sidebar."""

from __future__ import annotations

import contextlib
import functools
import shutil
import time
from collections.abc import Callable, Iterator

import numpy as np
import streamlit as st
from PIL import Image
from streamlit.runtime.pages_manager import PagesManager

from mammo_core.errors import MammoError
from mammo_core.report.plain_text import plain as plain
from mammo_core.runs.listing import RunCard, list_cards
from mammo_core.runs.schema import FINAL_STATES, LIVE_STATES
from mammo_core.settings import RESEARCH_ONLY, Workspace, open_workspace
from mammo_core.workflows.overview import LOW_DISK_BYTES
from mammo_core.workflows.queue_view import seconds_left

POLL_SECONDS = 2
FOOT_SECONDS = 5

STATE_WORDS = {
    "queued": ":material/schedule: waiting",
    "running": ":material/play_circle: running",
    "stopping": ":material/hourglass_bottom: stopping",
    "stopped": ":material/stop_circle: stopped",
    "interrupted": ":material/warning: interrupted",
    "failed": ":material/error: failed",
    "finished": ":material/check_circle: finished",
    "cancelled": ":material/cancel: cancelled",
}
"""State -> icon and word, for text; never a colour alone."""

STATE_SIGNS = {
    "queued": "… waiting",
    "running": "▶ running",
    "stopping": "▶ stopping",
    "stopped": "■ stopped",
    "interrupted": "⚠ interrupted",
    "failed": "✕ failed",
    "finished": "✓ finished",
    "cancelled": "– cancelled",
}
"""The same for table cells, which show no icons."""


def current_workspace() -> Workspace:
    """The workspace of the app; every page begins with it."""
    _run_through_app()
    return open_workspace()


def _run_through_app() -> None:
    """Hand over to ``app.py`` where Streamlit runs a page by itself.

    A folder named ``pages`` beside the app makes Streamlit run the page of the first URL without ``app.py``, so without
    navigation and supervisor, until somebody has opened the front page. ``st.navigation`` ends that; this does it for a
    server whose first visitor comes by a page's own URL.
    """
    if PagesManager.uses_pages_directory:
        PagesManager.uses_pages_directory = False
        st.rerun()


@functools.cache
def page_icon() -> Image.Image:
    """The icon of the browser tab, drawn here: a falling curve on training blue, 64 x 64 pixels.

    Not a Material icon: Streamlit lets the browser fetch that from a server of Google, and nothing may leave the machine.
    """
    icon = np.full((64, 64, 3), (0, 114, 178), dtype=np.uint8)
    columns = np.arange(8, 56)
    heights = 12 + 40 * (1 - np.exp(-(columns - 8) / 14))
    rows = np.arange(64)[:, None]
    icon[:, 8:56][np.abs(rows - heights[None, :]) <= 3.5] = 255
    return Image.fromarray(icon)


def page_title(title: str, question: str) -> None:
    st.title(title)
    st.caption(question)


@contextlib.contextmanager
def errors_in_words() -> Iterator[None]:
    """Show what went wrong on purpose as one sentence; anything else crashes and is logged."""
    try:
        yield
    except MammoError as error:
        st.error(plain(str(error)), icon=":material/error:")


def rerun_when_changed(drawn: object, read: Callable[[], object], live: bool) -> None:
    """Look every two seconds, while something is ``live``, and run the page anew once ``read`` no longer returns what was drawn.

    ``drawn`` comes from before the drawing: what changes while the page is drawn must be noticed too.
    """

    def look() -> None:
        if read() != drawn:
            st.rerun()

    st.fragment(look, run_every=POLL_SECONDS if live else None)()


def research_only() -> None:
    st.caption(f":material/science: **{RESEARCH_ONLY}.**")


def duration(seconds: float | None) -> str:
    """``about 40 s``, ``about 12 min``, ``about 3 h``; empty where unknown."""
    if seconds is None:
        return ""
    if seconds < 90:
        return f"about {max(1, round(seconds))} s"
    return f"about {round(seconds / 60)} min" if seconds < 5400 else f"about {seconds / 3600:.1f} h"


def ago(moment: float) -> str:
    """``3 min ago``; empty for an unknown moment."""
    if not moment:
        return ""
    return f"{duration(max(1.0, time.time() - moment)).removeprefix('about ')} ago"


def size_text(size: float) -> str:
    if size >= 2**30:
        return f"{size / 2**30:.1f} GB"
    return f"{size / 2**20:.0f} MB" if size >= 2**20 or not size else "below 1 MB"


def device_name() -> str:
    """The device that training will use, found out without loading torch."""
    import importlib.util
    import platform
    from pathlib import Path

    if Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi"):
        return "CUDA"
    if platform.system() == "Darwin" and platform.machine() == "arm64" and importlib.util.find_spec("torch"):
        return "Apple MPS"
    return "CPU"


def sidebar_foot() -> None:
    """Workspace, free disk, device, and what runs now; tells once when a training ends."""
    with st.sidebar:
        _foot()


@st.fragment(run_every=FOOT_SECONDS)
def _foot() -> None:
    workspace = current_workspace()
    cards = list_cards(workspace)
    running = [card for card in cards if card.state in LIVE_STATES]
    _tell_what_ended(cards)
    for card in running:
        st.page_link("pages/history.py", label=plain(card.id), icon=":material/play_circle:", query_params={"run": card.id})
        st.caption(_running_line(card))
    if not running:
        st.caption("Nothing is training.")
    free = shutil.disk_usage(workspace.home).free
    low = " - low!" if free < LOW_DISK_BYTES else ""
    st.caption(
        f"Workspace: {plain(workspace.home.name)}  \n{size_text(free)} free{low} · {device_name()}",
        help=plain(str(workspace.home)),
    )


def _running_line(card: RunCard) -> str:
    status = card.status
    if status is None:
        return "starting"
    seconds = seconds_left(status)
    left = f", {duration(seconds)} left" if seconds is not None else ""
    return f"epoch {min(status.epoch + 1, status.epochs)} of {status.epochs}{left}"


def _tell_what_ended(cards: list[RunCard]) -> None:
    before: dict[str, str] = st.session_state.setdefault("states_seen", {})
    for card in cards:
        if before.get(card.id) in LIVE_STATES | {"queued"} and card.state in FINAL_STATES:
            st.toast(f"{plain(card.id)} is {card.state}.", icon=":material/notifications:", duration="long")
    st.session_state["states_seen"] = {card.id: card.state for card in cards}
