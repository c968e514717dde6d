"""What the command line does beyond one library call: whole experiments in the foreground, groups by name, words for results."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mammo_core.data.manifest import load_dataset
from mammo_core.data.splits import SplitPlan, save_split, split_dataset
from mammo_core.errors import MammoError, RunBusy, RunNotFound
from mammo_core.report.comparison_tables import number
from mammo_core.runs.run_dir import RunDir, experiment_runs, find_run
from mammo_core.runs.schema import MetricsFile
from mammo_core.settings import Workspace
from mammo_core.workflows.exit_codes import STOPPED
from mammo_core.workflows.launch import LaunchPlan, create_run, plan_runs
from mammo_core.workflows.slots import slots_of

if TYPE_CHECKING:  # torch takes seconds to import, and most commands need none
    from mammo_core.training.ranks import Ranks

log = logging.getLogger(__name__)


def train_dir(workspace: Workspace, folder: Path) -> int:
    """Start or continue the run in ``folder``; returns the job's exit code."""
    from mammo_core.workflows.train_run import train

    return train(workspace, find_run(workspace, str(folder)))


def train_experiment(workspace: Workspace, plan: LaunchPlan, cv_folds: int | None = None) -> int:
    """Create every run of ``plan`` and train them one after another; returns the first exit code that is not 0.

    ``cv_folds`` adds a k-fold split of the data set, made here unless it exists.

    Raises
    ------
    RunBusy
        The training slot is taken; nothing was created.
    """
    from mammo_core.training.ranks import join_ranks

    with join_ranks(str(plan.settings.get("device", "auto"))) as ranks:
        runs = _created(workspace, plan, cv_folds, ranks)
        return train_in_turn(workspace, runs, ranks)


def train_in_turn(workspace: Workspace, runs: Sequence[RunDir], ranks: Ranks | None = None) -> int:
    """Train runs one after another until one is stopped; returns the first exit code that is not 0."""
    from mammo_core.workflows.train_run import train

    codes = []
    for place, run in enumerate(runs, start=1):
        log.info("Run %d of %d: %s", place, len(runs), run.id)
        codes.append(train(workspace, run, ranks))
        if codes[-1] == STOPPED:
            break
    return next((code for code in codes if code), 0)


def _created(workspace: Workspace, plan: LaunchPlan, cv_folds: int | None, ranks: Ranks) -> list[RunDir]:
    """The runs of ``plan``, created by the first process of a launch; the others hear of them, or of what went wrong."""
    if not ranks.first:
        made, failed = ranks.tell(([""], ""))
        if failed:
            raise MammoError(failed)
        return [RunDir(Path(path)) for path in made]
    try:
        slots = slots_of(workspace)
        if slots.taken == slots.count:
            raise RunBusy("Other trainings hold all training slots of this machine. Wait for one to end, or stop it.")
        runs = create_runs(workspace, plan, cv_folds)
    except MammoError as error:
        ranks.tell(([""], str(error)))
        raise
    ranks.tell(([str(run.path) for run in runs], ""))
    return runs


def create_runs(workspace: Workspace, plan: LaunchPlan, cv_folds: int | None = None) -> list[RunDir]:
    """Every run of ``plan`` (splits x folds x seeds), created and in the state ``queued``, but in no queue yet."""
    plan = replace(plan, splits=[*plan.splits, *fold_split(workspace, plan, cv_folds)])
    return [create_run(workspace, planned, plan.override_reason) for planned in plan_runs(workspace, plan)]


def fold_split(workspace: Workspace, plan: LaunchPlan, folds: int | None) -> list[str]:
    """The name of the k-fold split that ``--cv-folds`` asks for, made here unless it exists; empty where none is asked for."""
    if folds is None:
        return []
    name = f"{plan.experiment}_{folds}folds"
    if not workspace.split(name).exists():
        dataset = load_dataset(workspace, plan.dataset)
        save_split(workspace, name, split_dataset(dataset, SplitPlan(scheme="kfold", folds=folds)))
    return [name]


def groups_of(workspace: Workspace, names: Sequence[str]) -> dict[str, list[RunDir]]:
    """Experiments by name, and single runs as groups of one.

    Raises
    ------
    RunNotFound
        A name is neither.
    """
    groups: dict[str, list[RunDir]] = {}
    for name in names:
        if "/" in name.strip("/") or Path(name).is_dir():
            run = find_run(workspace, name)
            groups[run.id] = [run]
        else:
            groups[name] = experiment_runs(workspace, name)
    if not groups:
        raise RunNotFound("No experiment or run was named; expected at least one.")
    return groups


def comparison_lines(result: Mapping[str, Any]) -> list[str]:
    """The result of ``compare`` in lines for a terminal."""
    lines = [str(result["answer"])]
    for group in result["groups"]:
        lines.append(f"{group['name']}: n = {group['n']} runs")
        for metric, found in group["metrics"].items():
            spread = "" if found["sd"] is None else f" ± {number(found['sd'])} (SD n-1)"
            lines.append(f"  {metric}: {number(found['mean'])}{spread}{_intervals(found)}")
    return [*lines, *(f"Warning: {warning}" for warning in result["warnings"])]


def _intervals(found: Mapping[str, Any]) -> str:
    """The t interval over runs, and the one over runs and patients where there is one."""
    parts = [("mean of runs", found), ("runs and patients", found["films"] or {"ci_low": None, "ci_high": None})]
    shown = [f"{what} {number(p['ci_low'])} to {number(p['ci_high'])}" for what, p in parts if p["ci_low"] is not None]
    return f", 95 %: {'; '.join(shown)}" if shown else ""


def metric_rows(metrics: MetricsFile) -> list[tuple[str, str, str, str]]:
    """Metric, value, 95 % interval and method, for a terminal table."""
    rows = []
    for name, found in metrics.metrics.items():
        interval = "" if found.ci_low is None else f"{number(found.ci_low)} to {number(found.ci_high)}"
        rows.append((name, number(found.value), interval, found.method))
    return rows
