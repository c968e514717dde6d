"""A finished run with a small model and the films of its validation part, made in a moment."""

from __future__ import annotations

from make_models import ARCH, write_drawn_dataset, write_model
from make_runs import write_run
from mammo_core.runs.run_dir import RunDir
from mammo_core.settings import Workspace

CLASSES = ("A", "B", "C")


def finished_run(workspace: Workspace, name: str = "density/seed_42", seed: int = 42, films: int = 0) -> RunDir:
    """A run whose checkpoint answers; with ``films`` of its validation films on disk as the data set ``phantoms``."""
    run = write_run(workspace.experiments / name, seed=seed, class_names=CLASSES, epochs=3, replicates=10, patients=20)
    write_model(run, run.config().replace(arch=ARCH, image_size=(96, 96)), seed)
    if films:
        table = run.predictions("val").head(films)
        write_drawn_dataset(workspace, dict(zip(table["image_id"], table["y_true"], strict=True)), CLASSES, "phantoms")
    return run
