"""A run's best checkpoint judged on a part of its split, or on another data set."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from mammo_core.data.manifest import Dataset, load_dataset
from mammo_core.data.split_one_view import is_of_view, views_there
from mammo_core.errors import ConfigError, DataError, RunBusy
from mammo_core.runs.run_dir import RunDir
from mammo_core.runs.schema import LIVE_STATES, MetricsFile
from mammo_core.settings import Workspace
from mammo_core.storage import held
from mammo_core.training.checkpoint import load_checkpoint
from mammo_core.workflows.inference import predict_rows, run_rows
from mammo_core.workflows.predictions import keep_evaluation, metrics_of
from mammo_core.workflows.slots import LOCK_SECONDS


def evaluate_run(workspace: Workspace, run: RunDir, on: str, progress: Callable[[int, int], None]) -> MetricsFile:
    """Evaluate a run's best checkpoint on its ``val`` or ``test`` part, or on another data set of the same classes.

    Each look at the test part is counted in ``metrics/test_looks.json``: a test set that is looked at often is no longer one.

    Raises
    ------
    ConfigError, DataError
        The run has no test part; the data set has other classes, or no film of the one view that the run learnt from.
    CheckpointMismatch
        There is no usable best checkpoint.
    RunBusy
        The validation part is asked for while the run trains, or the run has trained meanwhile.
    """
    busy = RunBusy(
        f"{run.id} trains now and writes its validation results itself; expected one that has ended. Wait for it, or stop it."
    )
    if on == "val" and run.state() in LIVE_STATES:
        raise busy
    if on in ("val", "test"):
        rows, dataset = run_rows(workspace, run, on), load_dataset(workspace, run.config().dataset)
        if rows.empty:
            raise ConfigError(
                f"{run.id} has no {on} part: its split was made without one. Make a split with a {on} share, then train."
            )
        name = on
    else:
        dataset = load_dataset(workspace, on)
        rows = _rows_of_view(dataset, run.config().view).assign(split=on)
        name = f"dataset_{on}"
        if set(dataset.class_names) != set(run.config().class_names):
            raise DataError(
                f"The data set {on!r} is labelled {', '.join(dataset.class_names)}, but {run.id} tells apart "
                f"{', '.join(run.config().class_names)}. Choose a data set with the same classes."
            )
    table, epoch = predict_rows(workspace, run, dataset, rows, progress)
    metrics = metrics_of(run, name, table, epoch)
    if on == "test":
        run.count_test_look(len(rows))
    if on != "val":
        return keep_evaluation(run, name, table, metrics)
    with held(run.lock_file, LOCK_SECONDS, run.name, busy):  # whoever trains takes these files for its own
        if load_checkpoint(run.best_model).epoch != epoch:
            raise RunBusy(f"{run.id} was trained further while it was evaluated, and has newer results. Nothing was changed.")
        return keep_evaluation(run, name, table, metrics)


def _rows_of_view(dataset: Dataset, view: str | None) -> pd.DataFrame:
    """The films of a data set that a model of one view can judge; all of them where it learnt from all views."""
    manifest = dataset.manifest()
    if view is None:
        return manifest
    rows = manifest[is_of_view(manifest, view)].reset_index(drop=True)
    if rows.empty:
        raise DataError(
            f"The model learnt from films of the view {view} only, and the data set {dataset.name!r} has none; its films are of "
            f"the view {views_there(manifest)}. Choose another data set or run."
        )
    return rows
