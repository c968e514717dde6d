"""Phantom films as a data set with a split, for a first look at the app and for tests: synthetic, and they say so everywhere."""

from __future__ import annotations

from collections.abc import Callable

from mammo_core.data.adapters import ImportChoices, understand
from mammo_core.data.manifest import load_dataset
from mammo_core.data.phantom import write_phantoms
from mammo_core.data.splits import SplitPlan, save_split, split_dataset
from mammo_core.settings import Workspace

DEMO_NAME = "demo"
DEMO_SEED = 1
DEMO_IMAGES = 400
DEMO_RATIOS = (0.60, 0.15, 0.25)
"""A larger test part than usual: with few patients its interval would be too wide to say anything."""

Progress = Callable[..., None]


def make_demo_data(
    workspace: Workspace, *, images: int = DEMO_IMAGES, seed: int = DEMO_SEED, name: str = DEMO_NAME, progress: Progress
) -> tuple[str, str]:
    """Make, import and split a phantom data set; returns the names of data set and split. What is there already is kept."""
    if not workspace.dataset(name).exists():
        films = workspace.home / "phantoms" / name
        if not (films / "phantom.csv").exists():
            write_phantoms(films, images, seed, "png", lambda done, total: progress(done, total, "Making synthetic films"))
        plan = understand(films, ImportChoices(task="density"))
        from mammo_core.workflows.ingest import import_dataset  # starts decoder processes: only where there is something to read

        import_dataset(workspace, plan, name, progress)
    if not workspace.split(name).exists():
        save_split(workspace, name, split_dataset(load_dataset(workspace, name), SplitPlan(ratios=DEMO_RATIOS)))
    return name, name
