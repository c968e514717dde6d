"""R3: a training that was killed and resumed has the bits of one that was not, with everything on that draws random numbers or
keeps a state of its own; worker processes, other users of random numbers and the way of starting it change nothing.

``tests/test_engine.py`` proves the same of the engine alone, and ``kills`` of the app's child and the commands ``train`` and
``resume``; here it is whole runs, from films to predictions.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import random
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mammo_core.reading import read_yaml
from mammo_core.runs.run_dir import RunDir
from mammo_core.settings import Workspace
from mammo_core.storage import write_yaml
from mammo_core.workflows.exit_codes import DONE
from reliability.findings import Finding
from reliability.small_runs import committed, differing, digests, new_run, small_workspace, train_here
from reliability.traps import train_until
from several_processes import start

PATIENCE_SECONDS = 1800.0
EPOCHS_QUICK, EPOCHS_FULL = 2, 3

RECIPES: Mapping[str, Mapping[str, Any]] = {
    "average of weights, balanced sampler, mixup, dropout, strong augmentation, batches in parts": {
        "ema_decay": 0.9,
        "sampler": "balanced",
        "class_weights": "none",
        "mixup": 0.3,
        "dropout": 0.4,
        "augment": "strong",
        "micro_batch": 3,
    },
    "ordinal loss, label smoothing, slower backbone, early stopping": {
        "loss": "ordinal",
        "backbone_lr_factor": 0.1,
        "early_stopping_patience": 3,
        "dropout": 0.3,
    },
    "cross-entropy, light augmentation": {"label_smoothing": 0.1, "augment": "light"},
}
WORKERS = ((0, 0), (0, 2), (2, 0), (2, 2))
"""Worker processes before and after the kill; they live as long as the training."""


@dataclass
class Cells:
    workspace: Workspace
    folder: Path
    count: int = 0
    problems: list[str] = field(default_factory=list)

    def train(self, run: RunDir, what: str) -> None:
        code = self._start(run, train_here)
        if code != DONE:
            self.problems.append(f"{what}: ended with exit code {code}")

    def kill_after(self, run: RunDir, epochs: int, what: str) -> None:
        """Kill a training as it is about to show its epoch of this number."""
        code = self._start(run, train_until, epochs - 1, 0.0, "os.rename train_history.json")
        if code != -signal.SIGKILL or len(committed(run)) != epochs:
            self.problems.append(f"{what}: was to be killed after epoch {epochs}, ended with {code} after {len(committed(run))}")

    def _start(self, run: RunDir, work: Callable[..., None], *arguments: Any) -> int | None:
        """In a process that may have worker processes of its own only where the run asks for them, since those take long."""
        given = (str(self.workspace.home), str(run.path), *arguments)
        if run.config().num_workers == 0:
            return start(self.folder, work, *given).wait(PATIENCE_SECONDS)[0]
        process = multiprocessing.get_context("spawn").Process(target=work, args=given)
        process.start()
        process.join(PATIENCE_SECONDS)
        return process.exitcode

    def compare(self, run: RunDir, whole: Mapping[str, str], what: str) -> None:
        self.count += 1
        self.problems += [f"{what}: its {part} is another one" for part in differing(run, whole)]


def check(full: bool, seed: int, folder: Path) -> list[Finding]:
    cells = Cells(small_workspace(folder), folder)
    recipes, last = (list(RECIPES.items()), EPOCHS_FULL) if full else (list(RECIPES.items())[:2], EPOCHS_QUICK)
    for name, recipe in recipes:
        recipe = {**recipe, "epochs": last}
        with _noise(seed):
            whole = new_run(cells.workspace, "whole", **recipe)
            cells.train(whole, name)
            expected = digests(whole)
            for epochs in range(1, last):
                for workers in WORKERS if full else WORKERS[:1]:
                    _cell(cells, f"{name}, killed after epoch {epochs}, {workers} workers", recipe, (epochs, workers), expected)
    return [
        Finding(
            "R3",
            "killed and resumed is bit-identical to uninterrupted, with every recipe, whatever the workers and whoever draws",
            f"{cells.count} cells, {len(cells.problems)} problems",
            cells.count > 0 and not cells.problems,
            tuple(cells.problems),
        )
    ]


def _cell(
    cells: Cells, what: str, recipe: Mapping[str, Any], cut: tuple[int, tuple[int, int]], expected: Mapping[str, str]
) -> None:
    epochs, (before, after) = cut
    run = new_run(cells.workspace, "cut", **recipe, num_workers=before)
    cells.kill_after(run, epochs, what)
    write_yaml(run.config_file, {**read_yaml(run.config_file), "num_workers": after})
    cells.train(run, what)
    cells.compare(run, expected, what)


@contextlib.contextmanager
def _noise(seed: int) -> Iterator[None]:
    """Draw from every global generator of this process all the time, as the pages of an app do."""
    over = threading.Event()

    def draw() -> None:
        random.seed(seed)
        while not over.wait(0.005):
            torch.rand(3)
            np.random.rand(3)
            random.random()

    thread = threading.Thread(target=draw)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
