"""The whole path on phantom films made by code: data, split, three seeds, test, comparison and report pack.

The films are synthetic and say so everywhere. The demo exists to show how the app works and that every part of it is real; what
its models learn says nothing about people.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mammo_core.analysis.compare import compare
from mammo_core.analysis.intensity_baseline import intensity_baseline, intensity_features
from mammo_core.analysis.metrics import evaluate_predictions
from mammo_core.analysis.predictions import ensemble_predictions
from mammo_core.config import DEFAULT_SEEDS
from mammo_core.data.splits import load_split
from mammo_core.errors import MammoError
from mammo_core.presets import load_preset
from mammo_core.runs.run_dir import RunDir
from mammo_core.settings import Workspace
from mammo_core.workflows.demo_data import DEMO_IMAGES, DEMO_NAME, Progress, make_demo_data

Bar = Callable[[str], Progress]


@dataclass(frozen=True)
class DemoSize:
    """How many films and epochs a demo uses."""

    images: int
    overrides: dict[str, Any]


FAST = DemoSize(images=DEMO_IMAGES, overrides={})
FULL = DemoSize(images=1200, overrides={"epochs": 15, "image_size": 192})


def run_demo(workspace: Workspace, *, fast: bool, say: Callable[[str], None], progress: Bar) -> dict[str, Any]:
    """Run the whole path and return what came of it (also printed line by line through ``say``).

    Raises
    ------
    MammoError
        A step failed; what was made before it stays in the workspace.
    """
    from mammo_core.workflows.evaluation import evaluate_run
    from mammo_core.workflows.pack import make_pack

    size, timer = (FAST, Timer(say)) if fast else (FULL, Timer(say))
    name = DEMO_NAME if fast else f"{DEMO_NAME}_full"
    with timer("data and split"):
        dataset, split = make_demo_data(workspace, images=size.images, name=name, progress=progress("Demo films"))
        say(f"Split: {load_split(workspace, split).record.proof.text}")
    with timer("three seeds"):
        runs = _train(workspace, name, size)
    for run in runs:
        summary = run.summary()
        if summary and summary.diagnosis:
            say(f"{run.id}: {summary.diagnosis['headline']}")
    with timer("test and comparison"):
        for run in runs:
            evaluate_run(workspace, run, "test", progress("Test films"))
        result = _judge(workspace, runs, say)
    with timer("report pack"):
        pack = make_pack(workspace, [run.id for run in runs], progress=progress("Report pack"))
        say(f"Report pack: {pack.zip_path}")
    result |= {"runs": [run.id for run in runs], "report_pack": str(pack.zip_path), "seconds": timer.seconds}
    say(f"Done in {sum(timer.seconds.values()):.0f} s.")
    return result


def _train(workspace: Workspace, name: str, size: DemoSize) -> list[RunDir]:
    from mammo_core.workflows.launch import LaunchPlan, create_run, plan_runs
    from mammo_core.workflows.train_run import train

    settings = {**load_preset("demo").settings, **size.overrides}
    plan = LaunchPlan(dataset=name, splits=[name], experiment=name, settings=settings, seeds=DEFAULT_SEEDS)
    runs = [create_run(workspace, planned) for planned in plan_runs(workspace, plan)]
    for run in runs:
        code = train(workspace, run)
        if code:
            status = run.status()
            raise MammoError(f"The demo stopped at {run.id} (exit code {code}): {status.message if status else 'no status'}")
    return runs


def _judge(workspace: Workspace, runs: Sequence[RunDir], say: Callable[[str], None]) -> dict[str, Any]:
    """Ensemble on the test films with its interval, the grey-value baseline beside it, and the seeds' spread."""
    config = runs[0].config()
    tables = [table for run in runs if (table := run.predictions("test")) is not None]
    metrics = evaluate_predictions(ensemble_predictions(tables), config.class_names, config.ordinal, epoch=0, split_sha256=None)
    auc = metrics.metrics["auc_ovr_macro"]
    baseline = grey_value_baseline(workspace, runs[0])
    seeds = compare({config.experiment: list(runs)}, "test")
    say(
        f"Test, mean of {len(runs)} seeds' probabilities: macro-AUC {auc.value:.3f} (95 % {auc.ci_low:.3f} to {auc.ci_high:.3f}, "
        f"{metrics.patients} patients). Logistic regression on four grey-value numbers: {baseline:.3f}."
    )
    say(seeds["answer"])
    return {
        "ensemble_auc": auc.to_json(),
        "intensity_baseline_auc": baseline,
        "test_films": metrics.n,
        "test_patients": metrics.patients,
        "comparison": seeds,
    }


def grey_value_baseline(workspace: Workspace, run: RunDir) -> float:
    """Test macro-AUC of a logistic regression on mean, SD, 10th and 90th percentile of the prepared films' breast pixels."""
    from mammo_core.workflows.film_readers import reading_films
    from mammo_core.workflows.films import prepare_split

    config = run.config()
    with reading_films(workspace):
        films = prepare_split(workspace, run, config, lambda done, total: None, ("train", "test"))
        table: pd.DataFrame = films.table
        pixels = (films.load(image_id) for image_id in table["image_id"])
        features = np.stack([intensity_features(film[film > 0]) for film in pixels])
    labels = [config.class_names.index(label) for label in table["label"]]
    return intensity_baseline(features, labels, table["patient_id"].tolist(), table["split"].tolist())


class Timer:
    """Measures named steps and says each when it ends."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        started = time.monotonic()
        yield
        self.seconds[step] = round(time.monotonic() - started, 1)
        self._say(f"-- {step}: {self.seconds[step]:.0f} s")
