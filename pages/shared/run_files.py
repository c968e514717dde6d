"""The files of a run as pages read them: parsed once, and again only when a file's time or size changed."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import streamlit as st

from mammo_core.runs.history import history_frame
from mammo_core.runs.run_dir import RunDir

Stamp = tuple[int, int] | None


def stamp(path: Path) -> Stamp:
    """What tells one version of a file from the next; ``None`` where there is no file."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_size


def run_history(run: RunDir) -> pd.DataFrame:
    """The run's history, one row an epoch.

    Raises
    ------
    CorruptRunFile
        The history is not readable.
    """
    return _history(str(run.path), stamp(run.history_file))


@st.cache_data(max_entries=128, show_spinner=False)
def _history(path: str, version: Stamp) -> pd.DataFrame:
    return history_frame(RunDir(Path(path)).history())
