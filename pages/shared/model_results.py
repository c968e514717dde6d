"""What a model (one run, or the mean of several) says on a part of its split: predictions and metrics, read once."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import streamlit as st

from mammo_core.analysis.metrics import ensemble_predictions, evaluate_predictions
from mammo_core.errors import MammoError
from mammo_core.runs.run_dir import RunDir, find_run
from mammo_core.runs.schema import MetricsFile
from mammo_core.settings import Workspace
from pages.shared.run_files import Stamp, stamp


def runs_of(workspace: Workspace, run_ids: tuple[str, ...]) -> list[RunDir]:
    return [find_run(workspace, run_id) for run_id in run_ids]


def missing_on(runs: list[RunDir], on: str) -> list[RunDir]:
    """The runs that have not been evaluated on that part yet, or whose files of it are broken."""
    return [run for run in runs if not _is_there(run, on)]


def _is_there(run: RunDir, on: str) -> bool:
    try:
        return run.metrics(on) is not None and run.predictions_file(on).exists()
    except MammoError:
        return False


def results(runs: list[RunDir], on: str) -> tuple[pd.DataFrame, MetricsFile]:
    """The predictions and metrics of one run as it left them, or of the mean of several runs' probabilities.

    Raises
    ------
    MammoError
        A file is broken, or the runs were evaluated on different films.
    """
    files = tuple(stamp(path) for run in runs for path in (run.predictions_file(on), run.metrics_file(on), run.config_file))
    return _results(tuple(str(run.path) for run in runs), on, files)


@st.cache_data(max_entries=16, show_spinner="Computing metrics and their intervals ...")
def _results(paths: tuple[str, ...], on: str, version: tuple[Stamp, ...]) -> tuple[pd.DataFrame, MetricsFile]:
    runs = [RunDir(Path(path)) for path in paths]
    tables = [table for run in runs if (table := run.predictions(on)) is not None]
    if len(tables) < len(runs):
        raise MammoError(
            f"{len(runs) - len(tables)} run(s) have no predictions on the {on} films; expected all. Evaluate them first."
        )
    recorded = runs[0].metrics(on)
    if len(runs) == 1 and recorded is not None:
        return tables[0], recorded
    config = runs[0].config()
    joined = ensemble_predictions(tables)
    return joined, evaluate_predictions(joined, config.class_names, config.ordinal, epoch=0, split_sha256=None)
