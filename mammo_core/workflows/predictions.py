"""A run's predictions as a table, and the metrics that come from it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from mammo_core.analysis.metrics import evaluate_predictions
from mammo_core.errors import CorruptRunFile
from mammo_core.runs.run_dir import RunDir
from mammo_core.runs.schema import MetricsFile
from mammo_core.storage import sha256_of, write_json, write_table, writing

REPLICATES = 2000
"""Of the bootstrap behind every interval of a metrics file."""


def prediction_table(rows: pd.DataFrame, probabilities: npt.NDArray[np.float64], class_names: Sequence[str]) -> pd.DataFrame:
    """``image_id, patient_id, center, y_true, y_pred, prob_<class>...`` in the order of ``rows``.

    Parameters
    ----------
    probabilities : ndarray of shape (n, K), float64
        Rows sum to 1.
    """
    names = np.array(class_names)
    table = pd.DataFrame({column: rows[column].to_numpy() for column in ("image_id", "patient_id", "center")})
    table["y_true"] = rows["label"].to_numpy()
    table["y_pred"] = names[probabilities.argmax(1)]
    for index, name in enumerate(class_names):
        table[f"prob_{name}"] = probabilities[:, index]
    return table


def write_evaluation(run: RunDir, on: str, table: pd.DataFrame, epoch: int, bootstrap: int = REPLICATES) -> MetricsFile:
    """Write ``<on>_predictions.csv`` and ``metrics/<on>_metrics.json`` of a run at ``epoch``; ``bootstrap`` 0: no intervals."""
    return keep_evaluation(run, on, table, metrics_of(run, on, table, epoch, bootstrap))


def keep_evaluation(run: RunDir, on: str, table: pd.DataFrame, metrics: MetricsFile) -> MetricsFile:
    """The same with metrics that :func:`metrics_of` has worked out."""
    with writing(run.metrics_file(on).parent.name):
        run.metrics_file(on).parent.mkdir(exist_ok=True)
    write_table(run.predictions_file(on), table)
    write_json(run.metrics_file(on), metrics.to_json())
    return metrics


def forget_evaluations(run: RunDir, epoch: int) -> None:
    """Remove what a checkpoint of another epoch said of test films and other data sets, before one of ``epoch`` takes its place:
    it would stand beside a model that never said so. Looks at the test part stay counted."""
    for path in run.metrics_file("val").parent.glob("*_metrics.json"):
        on = path.name.removesuffix("_metrics.json")
        try:
            earlier = None if on == "val" else run.metrics(on)
        except CorruptRunFile:  # every reader says so
            continue
        if earlier is not None and earlier.epoch != epoch:
            with writing(path.name):
                path.unlink(missing_ok=True)
                run.predictions_file(on).unlink(missing_ok=True)


def add_intervals(run: RunDir, on: str) -> None:
    """Work out the intervals of metrics that were written without them, from the predictions beside them."""
    table, metrics = run.predictions(on), run.metrics(on)
    if table is not None and metrics is not None:
        write_json(run.metrics_file(on), metrics_of(run, on, table, metrics.epoch).to_json())


def metrics_of(run: RunDir, on: str, table: pd.DataFrame, epoch: int, bootstrap: int = REPLICATES) -> MetricsFile:
    """The metrics of a prediction table with their intervals; writes nothing."""
    config = run.config()
    return evaluate_predictions(
        table,
        config.class_names,
        config.ordinal,
        epoch=epoch,
        split_sha256=sha256_of(run.split_table),
        bootstrap=bootstrap,
        on=on,
        validation=None if on == "val" else run.predictions("val"),  # thresholds are never chosen on the films they judge
    )
