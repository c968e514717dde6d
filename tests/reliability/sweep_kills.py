"""R13: a sweep of seeds and folds whose jobs are killed at random and submitted again, against one that nobody disturbed.

Each job is what every launcher starts: ``train(workspace, run)`` in a process of its own. Both sweeps have the same name in two
workspaces that read the same films, so their summaries must be the same to the byte.
"""

from __future__ import annotations

import shutil
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from make_films import drawn_film
from mammo_core.data.adapters import ImportChoices, understand
from mammo_core.data.splits import SplitPlan, save_split, split_dataset
from mammo_core.runs.run_dir import RunDir
from mammo_core.settings import Workspace, open_workspace
from mammo_core.workflows.commands import create_runs
from mammo_core.workflows.exit_codes import DONE
from mammo_core.workflows.ingest import import_dataset
from mammo_core.workflows.launch import LaunchPlan
from reliability.findings import Finding
from reliability.one_job import train_beside_others
from several_processes import start

SETTINGS = {
    "arch": "test_resnet",
    "weights": "none",
    "image_size": 64,
    "epochs": 2,
    "warmup_epochs": 0,
    "batch_size": 8,
    "lr": 1e-3,
    "early_stopping_patience": None,
    "device": "cpu",
    "threads": 1,
}
DATASET, EXPERIMENT = "drawn", "sweep"
PATIENCE_SECONDS = 300.0
"""For one job, on a machine with much else to do."""


@dataclass(frozen=True)
class Size:
    """How much is swept, and how often that is done anew."""

    seeds: tuple[int, ...]
    folds: int
    films: int
    rounds: int
    at_once: int
    """Jobs at work at the same time in the disturbed sweep, each with a training slot of its own as on a cluster."""
    kills: int
    """At most so many for one job; then it is let through."""
    with_plain_seeds: bool
    """Whether the seeds are also trained on a split without folds, which makes ``seeds_summary.json``."""
    epochs: int


QUICK = Size(seeds=(42, 43), folds=2, films=64, rounds=1, at_once=1, kills=2, with_plain_seeds=False, epochs=2)
FULL = Size(seeds=(42, 43, 44), folds=3, films=120, rounds=10, at_once=2, kills=3, with_plain_seeds=True, epochs=3)


def check(full: bool, seed: int, folder: Path) -> list[Finding]:
    """Train one sweep in peace and one (in full size ten) under random kills, and compare what they leave."""
    size = FULL if full else QUICK
    first = _data(folder, size)
    peace = _copy(first, folder / "peace")
    quiet = _Sweep(peace, _runs(peace, size))
    quiet.run(at_once=1)
    seconds = statistics.median(quiet.seconds)
    tally, differing, problems, jobs = Counter[str](), [], [f"undisturbed: {problem}" for problem in quiet.problems], 0
    for number in range(size.rounds):
        home = _copy(first, folder / f"kills_{number}")
        sweep = _Sweep(home, _runs(home, size), np.random.default_rng([seed, number]), size.kills, seconds)
        sweep.run(size.at_once)
        jobs += len(sweep.runs)
        tally += sweep.tally
        problems += [f"round {number}, seed {seed}: {problem}" for problem in sweep.problems]
        differing += [f"round {number}, seed {seed}: {name} differs" for name in _differing(peace, home)]
        shutil.rmtree(home.home)
    kills = sum(tally.values())
    moments = ", ".join(f"{count} {moment}" for moment, count in sorted(tally.items()))
    what, found = "jobs of a sweep killed at random and submitted again", f"{jobs} jobs done, {kills} kills ({moments})"
    whole = Finding("R13", what, found, not problems and kills >= jobs // 2, tuple(problems))
    what, found = "its summaries, histories and predictions against an undisturbed sweep", f"{len(differing)} files differ"
    return [whole, Finding("R13", what, found, not differing, tuple(differing))]


def _data(folder: Path, size: Size) -> Workspace:
    """A workspace with a data set of small drawn films, one a patient, and a split of it."""
    films = folder / "films"
    films.mkdir(parents=True)
    rows = []
    for number in range(size.films):
        picture = drawn_film((80, 64), reach=0.3 + 0.1 * (number % 4), seed=number)
        Image.fromarray((picture * 65535).round().astype(np.uint16)).save(films / f"{number}.png")
        rows.append({"file": f"{number}.png", "patient": f"p{number}", "label": "ABCD"[number % 4]})
    pd.DataFrame(rows).to_csv(films / "films.csv", index=False)
    workspace = open_workspace(folder / "data")
    dataset = import_dataset(workspace, understand(films, ImportChoices(task="density")), DATASET, readers=1)
    save_split(workspace, DATASET, split_dataset(dataset, SplitPlan()))
    return workspace


def _copy(first: Workspace, home: Path) -> Workspace:
    """The same data set and splits in a workspace of its own; the films are read where they are."""
    for part in (first.datasets, first.splits, first.cache):
        if part.is_dir():
            shutil.copytree(part, home / part.name)
    return open_workspace(home)


def _runs(home: Workspace, size: Size) -> list[RunDir]:
    plan = LaunchPlan(
        dataset=DATASET,
        splits=[DATASET] if size.with_plain_seeds else [],
        experiment=EXPERIMENT,
        settings={**SETTINGS, "epochs": size.epochs},
        seeds=size.seeds,
    )
    return create_runs(home, plan, size.folds)


@dataclass
class _Job:
    """A job at work, and when it is to be killed: so long after so many epochs; never where ``epochs`` is ``None``."""

    run: RunDir
    process: BaseProcess
    epochs: int | None
    delay: float
    started: float = field(default_factory=time.monotonic)
    reached: float | None = None

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    def is_due(self) -> bool:
        if self.epochs is None:
            return False
        if self.reached is None and len(self.run.history()) >= self.epochs:
            self.reached = time.monotonic()
        return self.reached is not None and time.monotonic() > self.reached + self.delay


@dataclass
class _Sweep:
    """The jobs of one sweep, submitted until each of them is done."""

    home: Workspace
    runs: Sequence[RunDir]
    rng: np.random.Generator | None = None
    """``None`` disturbs nobody."""
    kills: int = 0
    usual_seconds: float = 0.0
    seconds: list[float] = field(default_factory=list)
    tally: Counter[str] = field(default_factory=Counter)
    """When jobs were killed."""
    problems: list[str] = field(default_factory=list)

    def run(self, at_once: int) -> None:
        waiting = list(self.runs)
        lives = {run.id: 0 if self.rng is None else int(self.rng.integers(1, self.kills + 1)) for run in self.runs}
        working: list[_Job] = []
        try:
            while waiting or working:
                while waiting and len(working) < at_once:
                    run = waiting.pop(0 if self.rng is None else int(self.rng.integers(len(waiting))))
                    working.append(self._start(run, lives[run.id] > 0))
                time.sleep(0.01)
                for job in list(working):
                    if job.process.is_alive() and job.is_due():
                        self.tally[_moment(job.run)] += 1
                        lives[job.run.id] -= 1
                        job.process.kill()
                        job.process.join()
                    if not job.process.is_alive():
                        working.remove(job)
                        self._ended(job, waiting)
                    elif job.seconds > PATIENCE_SECONDS:
                        self.problems.append(f"{job.run.id} did not end within {PATIENCE_SECONDS:.0f} s")
                        return
        finally:
            for job in working:
                job.process.kill()
                job.process.join()

    def _start(self, run: RunDir, doomed: bool) -> _Job:
        process = start(self.home.home, train_beside_others, self.home, run).process
        if self.rng is None or not doomed:
            return _Job(run, process, None, 0.0)
        epochs = run.config().epochs
        # A share of the job's usual time: the next epoch may end meanwhile, and after the last one the job itself.
        delay = float(self.rng.uniform(0, self.usual_seconds / (epochs + 1)))
        return _Job(run, process, int(self.rng.integers(epochs + 1)), delay)

    def _ended(self, job: _Job, waiting: list[RunDir]) -> None:
        job.process.join()
        code, run = job.process.exitcode, job.run
        if code == DONE:
            self.seconds.append(job.seconds)
            if run.state() != "finished":
                self.problems.append(f"{run.id} says done, but its state is {run.state()}")
        elif code is not None and code < 0:
            waiting.append(run)
        else:
            status = run.status()
            self.problems.append(f"{run.id} ended with code {code}: {status.message if status else 'no status'}")


def _moment(run: RunDir) -> str:
    """How far a job is that is about to be killed."""
    done, planned = len(run.history()), run.config().epochs
    return "before the first epoch" if not done else "between epochs" if done < planned else "after the last epoch"


def _differing(one: Workspace, other: Workspace) -> list[str]:
    """Files of the two sweeps that ought to be the same and are not, and summaries that are missing."""
    found = []
    for experiment in sorted(path for path in one.experiments.iterdir() if path.is_dir()):
        twin = other.experiments / experiment.name
        files = sorted(path.relative_to(experiment) for path in experiment.glob("*_summary.json"))
        files += sorted(path.relative_to(experiment) for path in experiment.glob("*/*_predictions.csv"))
        files += sorted(path.relative_to(experiment) for path in experiment.glob("*/metrics/val_metrics.json"))
        if not any(file.name.endswith("_summary.json") for file in files):
            found.append(f"{experiment.name}: no summary")
        for file in files:
            if not (twin / file).is_file() or (experiment / file).read_bytes() != (twin / file).read_bytes():
                found.append(f"{experiment.name}/{file.as_posix()}")
        for folder in sorted(path for path in experiment.iterdir() if path.is_dir()):
            if _numbers(RunDir(folder)) != _numbers(RunDir(twin / folder.name)):
                found.append(f"{experiment.name}/{folder.name}/train_history.json")
    return found


def _numbers(run: RunDir) -> list[dict[str, object]]:
    """The history without what a clock says, and without the mark of a resume."""
    return [record.model_dump(exclude={"seconds", "images_per_second", "resumed"}) for record in run.history()]
