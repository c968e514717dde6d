"""From settings to run directories: what a launch would make, and making it.

A launch fixes everything before epoch 1: the resolved configuration and a copy of the split lie in each run directory when it
appears. Nothing is overwritten: a second launch of the same experiment and seed makes ``seed_42_2``.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mammo_core.config import DEFAULT_SEEDS, TrainConfig
from mammo_core.data.embeddings import EmbeddingRecord, check_embeddings, find_embeddings
from mammo_core.data.manifest import Dataset, load_dataset
from mammo_core.data.split_files import check_trainable, leaks_in
from mammo_core.data.split_one_view import normal_view, of_one_view
from mammo_core.data.split_review import as_of_today, proof_today
from mammo_core.data.splits import Split, load_split, resolve_split, write_split
from mammo_core.errors import ConfigError, SplitError
from mammo_core.runs.queue import enqueue_once
from mammo_core.runs.run_dir import RunDir, find_run
from mammo_core.runs.schema import RESUMABLE_STATES, Request, Status
from mammo_core.settings import Workspace
from mammo_core.storage import check_name, write_json, write_yaml, writing

MAX_RUN_COPIES = 1000


@dataclass(frozen=True, kw_only=True)
class LaunchPlan:
    """What the user asked for; :func:`plan_runs` turns it into one configuration a run."""

    dataset: str
    splits: Sequence[str]
    experiment: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings of a preset, changed by the user."""
    seeds: Sequence[int] = DEFAULT_SEEDS
    override_reason: str | None = None
    """Why a split that leaks is trained on all the same; repeated in every report."""


@dataclass(frozen=True)
class PlannedRun:
    """One run to be: its configuration and the split it uses."""

    config: TrainConfig
    split: Split
    """With the proof of today where that shows a leak; for a run on one view, with the films of that view only."""
    embeddings: EmbeddingRecord | None = None


def plan_runs(workspace: Workspace, plan: LaunchPlan) -> list[PlannedRun]:
    """The runs that ``plan`` asks for: splits x seeds x folds.

    Raises
    ------
    MammoError
        Anything that would make a run fail before its first epoch, in words.
    """
    dataset = load_dataset(workspace, plan.dataset)
    if not plan.seeds or len(set(plan.seeds)) != len(plan.seeds):
        raise ConfigError(f"The seeds are {list(plan.seeds)}; expected at least one and each once, for example 42,43,44.")
    if not plan.splits:
        raise ConfigError("No split was named; expected at least one, made on the Splits page or with 'split'.")
    runs = []
    common = _config(dataset, plan, {})
    for name in plan.splits:
        saved = load_split(workspace, name)
        _check_belongs(dataset, saved, name)
        split = as_of_today(saved, dataset)
        if common.view:
            split = of_one_view(split, dataset, common.view)
        check_trainable(split, plan.override_reason)
        embeddings = _embeddings_for(workspace, common, split)
        experiment = check_name(plan.experiment if len(plan.splits) == 1 else f"{plan.experiment}_{name}", "experiment name")
        for fold in _folds(split):
            for seed in plan.seeds:
                config = _config(dataset, plan, {"split": name, "experiment": experiment, "seed": seed, "fold": fold})
                runs.append(PlannedRun(config, split, embeddings))
    return runs


def _embeddings_for(workspace: Workspace, config: TrainConfig, split: Split) -> EmbeddingRecord | None:
    if config.embeddings is None:
        return None
    folder = find_embeddings(workspace, config.embeddings)
    return check_embeddings(folder, config.dataset, config.image_size, split.table["image_id"].astype(str).tolist())


def _config(dataset: Dataset, plan: LaunchPlan, identity: Mapping[str, Any]) -> TrainConfig:
    fixed = {
        "dataset": dataset.name,
        "task": dataset.task,
        "class_names": list(dataset.class_names),
        "ordinal": dataset.ordinal,
        **identity,
    }
    wanted_task = plan.settings.get("task")
    if wanted_task not in (None, dataset.task):
        raise ConfigError(
            f"The preset is for the task {wanted_task!r}, but the data set {dataset.name!r} is labelled for {dataset.task!r}. "
            "Choose a preset or a data set of the same task."
        )
    config = TrainConfig.from_dict({**plan.settings, **fixed}, source="the launch")
    return config if config.view is None else config.replace(view=normal_view(config.view))


def _folds(split: Split) -> list[int | None]:
    return [None] if split.record.folds is None else list(range(1, split.record.folds + 1))


def _check_belongs(dataset: Dataset, split: Split, name: str) -> None:
    unknown = proof_today(split, dataset).films_unknown
    if unknown:
        raise SplitError(
            f"The split {name!r} names {unknown} film(s) that the data set {dataset.name!r} does not hold; expected a split "
            "made from this data set. Make a new split."
        )


def create_run(workspace: Workspace, planned: PlannedRun, override_reason: str | None = None) -> RunDir:
    """Make the run directory with ``config.yaml``, its own resolved split and the state ``queued``.

    ``override_reason`` stands in the run's split only where that leaks: no report shall speak of a leak that is none.
    """
    config = planned.config
    experiment = workspace.experiment(config.experiment)
    with writing(experiment.name):
        experiment.mkdir(parents=True, exist_ok=True)
    if not (experiment / "experiment.json").exists():
        record = {"name": config.experiment, "task": config.task, "dataset": config.dataset, "split": config.split}
        write_json(experiment / "experiment.json", {**record, "created_at": time.time()})
    run = _new_folder(experiment, config.run_name)
    own = resolve_split(planned.split, config.fold)
    reason = ((override_reason or "").strip() or own.record.override_reason) if leaks_in(planned.split) else None
    write_split(run.path, Split(own.table, own.record.model_copy(update={"override_reason": reason})))
    if planned.embeddings is not None:
        write_json(run.embeddings_file, planned.embeddings.model_dump(mode="json"))
    now = time.time()
    write_json(
        run.status_file, Status(state="queued", epochs=config.epochs, created_at=now, message="Waiting for its turn").to_json()
    )
    write_yaml(run.config_file, config.to_dict())  # last: a run is listed once its config.yaml exists
    return run


def _new_folder(experiment: Path, name: str) -> RunDir:
    for copy in range(1, MAX_RUN_COPIES):
        folder = experiment / (name if copy == 1 else f"{name}_{copy}")
        with writing(folder.name):
            try:
                folder.mkdir()
            except FileExistsError:
                continue
        return RunDir(folder)
    raise ConfigError(
        f"The experiment {experiment.name!r} already holds {MAX_RUN_COPIES} runs {name}; choose another experiment name."
    )


def launch(workspace: Workspace, plan: LaunchPlan) -> list[RunDir]:
    """Create every run of ``plan`` and queue it; returns them in the order in which they will train."""
    planned = plan_runs(workspace, plan)
    if plan.settings.get("init_from"):
        find_run(workspace, str(plan.settings["init_from"]))
    runs = [create_run(workspace, item, plan.override_reason) for item in planned]
    for run in runs:
        queue_run(workspace, run, "train")
    return runs


def queue_run(workspace: Workspace, run: RunDir, kind: str) -> Request:
    """Queue the training (``train``) or the continuation (``resume``) of a run; once, however often it is asked for."""
    status = run.status()  # of a run that was just stopped the request goes on for a moment, and is not what is asked for now
    since = (status.heartbeat_at if status else None) or 0.0
    return enqueue_once(workspace, kind, {"run": run.id}, f"{'Resume' if kind == 'resume' else 'Train'} {run.id}", since)


def resume_runs(workspace: Workspace, runs: Iterable[RunDir]) -> list[Request]:
    """Queue the continuation of interrupted, stopped or failed runs.

    Raises
    ------
    ConfigError
        A run is finished, waits or is running.
    """
    chosen = list(runs)
    for run in chosen:
        check_resumable(run)
    return [queue_run(workspace, run, "resume") for run in chosen]


def check_resumable(run: RunDir) -> None:
    """Raise :class:`ConfigError` unless the run is interrupted, stopped or failed."""
    state = run.state()
    if state not in RESUMABLE_STATES:
        raise ConfigError(
            f"{run.id} is {state}; only an interrupted, stopped or failed run can be resumed. "
            "To train a finished one longer, start a new run with 'init_from' set to it."
        )
