"""A small training for the scenarios of crash safety: its workspace, what must stay readable of it, and what its result is."""

from __future__ import annotations

import atexit
import functools
import hashlib
import json
import pickle
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mammo_core.data.cache import FilmCache, prepare_all
from mammo_core.data.manifest import load_dataset, relink
from mammo_core.errors import MammoError
from mammo_core.reading import read_json
from mammo_core.runs.run_dir import RunDir
from mammo_core.settings import Workspace, open_workspace
from mammo_core.training.checkpoint import load_checkpoint, load_tensors
from mammo_core.workflows.demo_data import make_demo_data
from mammo_core.workflows.launch import LaunchPlan, create_run, plan_runs

SETTINGS: Mapping[str, Any] = {
    "arch": "test_resnet",
    "weights": "none",
    "image_size": 64,
    "epochs": 3,
    "warmup_epochs": 0,
    "batch_size": 8,
    "lr": 1e-3,
    "early_stopping_patience": None,
    "threads": 1,
}
IMAGES = 64
HIDDEN = {"seconds", "images_per_second", "resumed"}
"""What differs between two runs of the same settings, because clocks and interruptions do."""


def small_workspace(folder: Path) -> Workspace:
    """A workspace with a few phantom films, imported, split and prepared: a copy of the one that this process made first."""
    workspace = open_workspace(shutil.copytree(_template(), folder / "runs"))
    relink(load_dataset(workspace, "demo"), workspace.home / "phantoms" / "demo")
    return workspace


@functools.cache
def _template() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="mammotrace_small_"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    workspace = open_workspace(folder / "runs")
    make_demo_data(workspace, images=IMAGES, progress=lambda done, total, message="": None)
    side = SETTINGS["image_size"]
    films = load_dataset(workspace, "demo").film_paths()
    prepare_all(FilmCache(workspace.cache), list(films.items()), (side, side))
    return workspace.home


def new_run(workspace: Workspace, experiment: str, **settings: Any) -> RunDir:
    plan = LaunchPlan(dataset="demo", splits=["demo"], experiment=experiment, settings={**SETTINGS, **settings}, seeds=[42])
    return create_run(workspace, plan_runs(workspace, plan)[0])


def train_here(home: str, folder: str) -> None:
    """To be started as a process of its own: the real training function; ends with its exit code."""
    from mammo_core.workflows.train_run import train

    raise SystemExit(train(Workspace(Path(home)), RunDir(Path(folder))))


# ---- the result ---------------------------------------------------------------------------------------------------------


def epochs_of(run: RunDir) -> list[dict[str, Any]]:
    """The history without what differs between two runs of the same settings."""
    return [record.model_dump(exclude=HIDDEN) for record in run.history()]


def digests(run: RunDir) -> dict[str, str]:
    """A hash of each part of a finished run's result; equal for two runs of the same settings, whatever befell them."""
    summary, metrics = run.summary(), run.metrics("val")
    parts: dict[str, bytes] = {
        "history": json.dumps(epochs_of(run)).encode(),
        "arrays": json.dumps({k: v.tolist() for k, v in _pickled(run.history_pickle).items()}).encode(),
        "val_predictions": run.predictions_file("val").read_bytes(),
        "embeddings": run.embeddings.read_bytes(),
        "metrics": json.dumps(metrics.to_json() if metrics else None).encode(),
        "summary": json.dumps([summary.best_epoch, summary.verdict, summary.epochs_run] if summary else None).encode(),
    }
    for name, path in (("best_model", run.best_model), ("final_model", run.final_model)):
        parts[name] = b"".join(tensor.numpy().tobytes() for tensor in load_checkpoint(path).weights.values())
    return {name: hashlib.sha256(content).hexdigest() for name, content in parts.items()}


def differing(run: RunDir, whole: Mapping[str, str]) -> list[str]:
    """The parts of a run's result that are not those of an uninterrupted one; the reason where they cannot be read."""
    try:
        found = digests(run)
    except (MammoError, OSError, ValueError) as error:
        return [f"its result cannot be read ({type(error).__name__}: {error})"]
    return [name for name, value in whole.items() if found[name] != value]


# ---- what must be readable at any moment ------------------------------------------------------------------------------------


def _pickled(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    with path.open("rb") as file:
        arrays: dict[str, np.ndarray[Any, Any]] = pickle.load(file)  # written by this test's own training
    return arrays


def _picture(path: Path) -> None:
    with Image.open(path) as image:
        image.load()


READERS: Mapping[str, Callable[[Path], object]] = {
    ".json": read_json,
    ".pt": load_tensors,
    ".pth": load_checkpoint,
    ".npy": lambda path: np.load(path, allow_pickle=False),
    ".pkl": _pickled,
    ".png": _picture,
}


def unreadable(run: RunDir) -> list[str]:
    """What of a run cannot be read, and where its files contradict each other, one sentence each; missing files are none."""
    problems = []
    for path in sorted(run.path.rglob("*")):
        reader = READERS.get(path.suffix)
        if path.name.startswith(".") or reader is None:
            continue
        try:
            reader(path)
        except (MammoError, OSError, ValueError, EOFError, pickle.UnpicklingError) as error:
            problems.append(f"{path.name} cannot be read: {type(error).__name__}: {error}")
    asked: tuple[Callable[[], object], ...] = (
        *(run.config, run.status, run.history, run.summary, run.notes, run.log_tail, run.split_info),
        *(lambda: run.metrics("val"), lambda: run.predictions("val")),
    )
    for ask in asked:
        try:
            ask()
        except MammoError as error:
            problems.append(str(error))
    return problems or _contradictions(run)


def committed(run: RunDir) -> list[dict[str, Any]]:
    """The epochs that ``resume.pt`` holds, as JSON."""
    try:
        history: list[dict[str, Any]] = load_tensors(run.resume_file)["history"]
    except FileNotFoundError:
        return []
    return history


def _contradictions(run: RunDir) -> list[str]:
    """The checkpoint comes first: JSON may be one epoch behind it, never ahead, and never of another course."""
    shown, kept = [record.to_json() for record in run.history()], committed(run)
    if not len(kept) - 1 <= len(shown) <= len(kept):
        return [f"train_history.json has {len(shown)} epochs and resume.pt {len(kept)}"]
    if shown != kept[: len(shown)]:
        return ["train_history.json and resume.pt tell different epochs"]
    if shown and not run.best_model.exists():
        return ["train_history.json is there and best_model.pth is not"]
    return []


def forgotten(before: list[dict[str, Any]], run: RunDir) -> list[str]:
    """Epochs that the history held before a kill and does not hold, or holds otherwise, after it."""
    after = epochs_of(run)
    return [f"epoch {epoch['epoch']} is lost" for number, epoch in enumerate(before) if after[number : number + 1] != [epoch]]
