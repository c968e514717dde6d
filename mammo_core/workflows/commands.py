"""What the command line does beyond one library call: whole experiments in the foreground, groups by name, words for results."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mammo_core.config import load_preset, parse_overrides
from mammo_core.data.manifest import load_dataset
from mammo_core.data.splits import SplitPlan, save_split, split_dataset
from mammo_core.errors import RunBusy, RunNotFound
from mammo_core.report.tables import number_text
from mammo_core.runs.run_dir import RunDir, experiment_runs, find_run
from mammo_core.settings import Workspace
from mammo_core.storage import is_locked
from mammo_core.workflows.launch import LaunchPlan, create_run, plan_runs

log = logging.getLogger(__name__)


def train_dir(workspace: Workspace, folder: Path) -> int:
    """Start or continue the run in ``folder``; returns the job's exit code."""
    from mammo_core.workflows.train_run import train

    return train(workspace, find_run(workspace, str(folder)))


def train_experiment(
    workspace: Workspace,
    *,
    dataset: str,
    splits: Sequence[str],
    preset: str,
    overrides: Sequence[str],
    seeds: Sequence[int],
    experiment: str | None = None,
    cv_folds: int | None = None,
    override_reason: str | None = None,
) -> int:
    """Create every run that is asked for and train them one after another; returns the first exit code that is not 0.

    Raises
    ------
    RunBusy
        The training slot is taken; nothing was created.
    """
    from mammo_core.workflows.train_run import train

    if is_locked(workspace.slot_lock):
        raise RunBusy("Another training holds this machine's training slot. Wait for it to end, or stop it.")
    chosen = load_preset(preset)
    name = experiment or f"{dataset}_{chosen.name}"
    plan = LaunchPlan(
        dataset=dataset,
        splits=[*splits, *_fold_split(workspace, dataset, name, cv_folds)],
        experiment=name,
        settings={**chosen.settings, **parse_overrides(overrides)},
        seeds=seeds,
        override_reason=override_reason,
    )
    runs = [create_run(workspace, planned, override_reason) for planned in plan_runs(workspace, plan)]
    codes = []
    for number, run in enumerate(runs, start=1):
        log.info("Run %d of %d: %s", number, len(runs), run.id)
        codes.append(train(workspace, run))
        if codes[-1] == 130:
            break
    return next((code for code in codes if code), 0)


def _fold_split(workspace: Workspace, dataset: str, experiment: str, folds: int | None) -> list[str]:
    if folds is None:
        return []
    name = f"{experiment}_{folds}folds"
    if not workspace.split(name).exists():
        save_split(workspace, name, split_dataset(load_dataset(workspace, dataset), SplitPlan(scheme="kfold", folds=folds)))
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
            spread = "" if found["sd"] is None else f" ± {number_text(found['sd'])} (SD n-1)"
            interval = "" if found["ci_low"] is None else f", 95 % {number_text(found['ci_low'])} to {number_text(found['ci_high'])}"
            lines.append(f"  {metric}: {number_text(found['mean'])}{spread}{interval}")
    return [*lines, *(f"Warning: {warning}" for warning in result["warnings"])]
