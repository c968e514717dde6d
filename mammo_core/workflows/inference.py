"""A run's best checkpoint applied to rows of a data set: decode, prepare, predict."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from mammo_core.data.manifest import Dataset, load_dataset
from mammo_core.reading import read_text_table
from mammo_core.runs.run_dir import RunDir
from mammo_core.settings import Workspace
from mammo_core.training.batches import BatchLoader
from mammo_core.training.checkpoint import load_checkpoint
from mammo_core.training.inference import infer
from mammo_core.training.models import choose_device
from mammo_core.workflows.film_readers import reading_films
from mammo_core.workflows.films import prepare_rows
from mammo_core.workflows.predictions import prediction_table


def run_rows(workspace: Workspace, run: RunDir, part: str) -> pd.DataFrame:
    """The manifest rows of one part of the run's own split, with ``split``; empty where the split has no such part."""
    split = read_text_table(run.split_table)
    manifest = load_dataset(workspace, run.config().dataset).manifest()
    chosen = split.loc[split["split"] == part, ["image_id", "split"]]
    return chosen.merge(manifest, on="image_id", how="inner")


def predict_rows(
    workspace: Workspace, run: RunDir, dataset: Dataset, rows: pd.DataFrame, progress: Callable[[int, int], None]
) -> tuple[pd.DataFrame, int]:
    """The prediction table of ``rows`` and the epoch of the checkpoint that made it."""
    checkpoint = load_checkpoint(run.best_model)
    part, device = str(rows["split"].iloc[0]), choose_device("auto")
    with reading_films(workspace):
        prepared = prepare_rows(workspace, dataset, rows, checkpoint.config, progress)
        loader = BatchLoader(prepared.part(part), checkpoint.config.batch_size * 2)
        answer = infer(checkpoint.build_model().to(device), loader, checkpoint.normalisation, device)
    return prediction_table(prepared.rows(part), answer.probabilities, checkpoint.class_names), checkpoint.epoch
