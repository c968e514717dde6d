"""Groups of runs side by side: is the difference real, and may they be compared at all?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from mammo_core.analysis.metrics import LOWER_IS_BETTER, TITLES
from mammo_core.analysis.significance import compare_on_same_films, compare_values
from mammo_core.analysis.variance import (
    FEW_SEEDS,
    VARYING_SETTINGS,
    FinishedRun,
    describe,
    finished_runs,
    highest_of,
    mean_curve,
    metric_names,
    split_hash,
)
from mammo_core.errors import DataError, MammoError
from mammo_core.runs.history import history_frame
from mammo_core.runs.run_dir import RunDir
from mammo_core.runs.schema import HEADLINE_METRICS, MetricsFile, MetricValue
from mammo_core.settings import RESEARCH_ONLY

CURVES = (
    "train_loss",
    "val_loss",
    "train_acc",
    "val_acc",
    "val_balanced_acc",
    "val_kappa_quadratic",
    "val_macro_f1",
    "val_auc_ovr",
)


@dataclass(frozen=True)
class Member:
    """One finished run of a group, with its numbers on the films in question."""

    finished: FinishedRun
    metrics: Mapping[str, MetricValue]
    predictions: pd.DataFrame | None
    """``None`` where the run keeps none; then no paired test is possible."""


@dataclass(frozen=True)
class Group:
    """Runs that differ in seed or fold only, under one name."""

    name: str
    members: tuple[Member, ...]
    left_out: tuple[Mapping[str, str], ...]

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.members[0].finished.config.class_names if self.members else ()

    @property
    def task(self) -> str | None:
        return self.members[0].finished.config.task if self.members else None

    def values(self, metric: str) -> list[float | None]:
        return [found.value if (found := member.metrics.get(metric)) else None for member in self.members]


def compare(groups: Mapping[str, Sequence[RunDir]], on: str = "val") -> dict[str, Any]:
    """Everything the Compare page and ``compare --json`` show.

    Parameters
    ----------
    groups : mapping of name to runs
        Usually one experiment each; unfinished runs are left out and listed.
    on : {"val", "test"}
        Which films the numbers come from; test numbers exist only where the run was evaluated on the test split.

    Returns
    -------
    dict
        ``groups`` (``name, runs, n, metrics {m: mean, sd, ci_low, ci_high, values}`` and what they were measured on),
        ``tests``, ``warnings``, ``answer`` (one sentence), ``primary_metric``, ``curves``, ``config_differences``. The interval
        of a group is the 95 % t interval of the mean over its runs.

    Raises
    ------
    MammoError
        No group has a finished run.
    """
    loaded = [load_group(name, runs, on) for name, runs in groups.items()]
    usable = [group for group in loaded if group.members]
    if not usable:
        reasons = [entry["reason"] for group in loaded for entry in group.left_out]
        raise MammoError(
            f"There is nothing to compare yet ({reasons[0] if reasons else 'no runs were given'}); expected at least one "
            f"finished run with {on} metrics. Wait for a run to end, or evaluate it."
        )
    names = metric_names([member.metrics for group in usable for member in group.members])
    primary = primary_metric(usable[0])
    tests, obstacles = _tests(usable)
    return {
        "on": on,
        "primary_metric": primary,
        "answer": answer(usable, tests, primary),
        "groups": [_group_entry(group, names) for group in loaded],
        "tests": tests,
        "warnings": [*_warnings(loaded), *obstacles],
        "config_differences": config_differences(usable),
        "curves": {group.name: _curves(group) for group in usable},
        "notice": RESEARCH_ONLY,
    }


def load_group(name: str, runs: Sequence[RunDir], on: str) -> Group:
    """The finished runs of a group with their metrics on ``on``; the others under ``left_out`` with the reason."""
    kept, left_out = finished_runs(runs)
    members = []
    for finished in kept:
        try:
            finished.run.history()  # its curve is drawn: a run whose history is damaged is left out as a whole
            recorded = finished.run.metrics(on)
            if recorded is None and on != "val":
                left_out.append({"run": finished.run.id, "reason": f"not evaluated on {on} yet"})
                continue
            metrics = recorded.metrics if isinstance(recorded, MetricsFile) else finished.summary.metrics
            members.append(Member(finished, metrics, finished.run.predictions(on)))
        except MammoError as error:
            left_out.append({"run": finished.run.id, "reason": str(error)})
    return Group(name, tuple(members), tuple(left_out))


def primary_metric(group: Group) -> str:
    """The one metric the answer is about, fixed beforehand: quadratic kappa on an ordinal scale, else macro AUC."""
    return "kappa_quadratic" if group.members[0].finished.config.ordinal else "auc_ovr_macro"


def mean_curves(runs: Sequence[RunDir], column: str) -> pd.DataFrame:
    """``epoch, mean, sd, n`` of one history column over runs, joined on the integer epoch; ``sd`` is NaN where n < 2."""
    return mean_curve([history_frame(run.history()) for run in runs], column)


def _group_entry(group: Group, names: Sequence[str]) -> dict[str, Any]:
    metrics = {}
    for name in names:
        spread = describe(group.values(name), highest_of(name))
        metrics[name] = {
            "mean": spread.mean,
            "sd": spread.sd,
            "ci_low": spread.ci_low,
            "ci_high": spread.ci_high,
            "values": group.values(name),
            "n": spread.n,
        }
    runs = [member.finished for member in group.members]
    predictions = [member.predictions for member in group.members]
    return {
        "name": group.name,
        "runs": [finished.run.id for finished in runs],
        "n": len(runs),
        "metrics": metrics,
        "seeds": [finished.config.seed for finished in runs],
        "folds": [finished.config.fold for finished in runs],
        "best_epochs": [finished.summary.best_epoch for finished in runs],
        "films": [None if table is None else len(table) for table in predictions],
        "task": group.task,
        "class_names": list(group.class_names),
        "split_sha256": [split_hash(finished.run) for finished in runs],
        "left_out": [dict(entry) for entry in group.left_out],
    }


def _curves(group: Group) -> dict[str, list[dict[str, Any]]]:
    frames = [history_frame(member.finished.run.history()) for member in group.members]
    tables = {column: mean_curve(frames, column) for column in CURVES}
    return {column: _records(table) for column, table in tables.items() if len(table)}


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {"epoch": int(e), "mean": m, "sd": None if s != s else s, "n": int(n)} for e, m, s, n in table.itertuples(index=False)
    ]


# ---- may they be compared -------------------------------------------------------------------------------------------------


def _warnings(groups: Sequence[Group]) -> list[str]:
    usable = [group for group in groups if group.members]
    warnings = []
    for group in groups:
        if group.left_out:
            listed = "; ".join(f"{entry['run'].rpartition('/')[2]} ({entry['reason']})" for entry in group.left_out)
            warnings.append(f"{group.name}: {len(group.left_out)} run(s) left out: {listed}.")
        if 0 < len(group.members) < FEW_SEEDS:
            warnings.append(f"{group.name}: {len(group.members)} run(s), descriptive only; {FEW_SEEDS} or more judge the spread.")
        warnings += _best_epoch_warning(group)
    if len({group.task for group in usable}) > 1:
        warnings.append(f"The groups learnt different tasks ({', '.join(f'{g.name}: {g.task}' for g in usable)}).")
    if len({group.class_names for group in usable}) > 1:
        warnings.append("The groups have different classes, so their numbers do not mean the same.")
    hashes = [{split_hash(member.finished.run) for member in group.members} for group in usable]
    if any(other != hashes[0] for other in hashes[1:]):
        warnings.append("The groups used different splits: each number comes from its own films.")
    return warnings


def _best_epoch_warning(group: Group) -> list[str]:
    last = [member for member in group.members if member.finished.summary.best_epoch >= member.finished.summary.epochs_run]
    if not last:
        return []
    return [
        f"{group.name}: the best epoch is the last one in {len(last)} of {len(group.members)} runs; they may not have converged, "
        "and longer training could change the order."
    ]


def config_differences(groups: Sequence[Group]) -> list[dict[str, Any]]:
    """Settings whose values are not the same in all groups: ``{"setting", "values": {group: [...]}}``."""
    rows = {group.name: [member.finished.config.to_dict() for member in group.members] for group in groups}
    keys = [key for key in next(iter(rows.values()))[0] if key not in VARYING_SETTINGS]
    found = []
    for key in keys:
        values = {name: _distinct([row[key] for row in configs]) for name, configs in rows.items()}
        if any(value != next(iter(values.values())) for value in values.values()):
            found.append({"setting": key, "values": values})
    return found


def _distinct(values: Sequence[Any]) -> list[Any]:
    return [value for index, value in enumerate(values) if value not in values[:index]]


# ---- tests and the answer -------------------------------------------------------------------------------------------------


def _tests(groups: Sequence[Group]) -> tuple[list[dict[str, Any]], list[str]]:
    tests: list[dict[str, Any]] = []
    obstacles: list[str] = []
    for index, a in enumerate(groups):
        for b in groups[index + 1 :]:
            found, obstacle = _test_pair(a, b)
            tests += found
            obstacles += [obstacle] if obstacle else []
    return tests, obstacles


def _test_pair(a: Group, b: Group) -> tuple[list[dict[str, Any]], str | None]:
    if a.class_names != b.class_names:
        return [], f"{a.name} and {b.name} have different classes and are not tested against each other."
    names = {"a": a.name, "b": b.name}
    try:
        found = compare_on_same_films([m.predictions for m in a.members], [m.predictions for m in b.members], a.class_names)
        return [names | entry for entry in found], None
    except DataError as error:
        welch = [compare_values(metric, a.values(metric), b.values(metric)) for metric in HEADLINE_METRICS]
        reason = f"{a.name} and {b.name} were not measured on the same films, so no paired test is possible ({error})"
        return [names | entry for entry in welch if entry is not None], reason


def answer(groups: Sequence[Group], tests: Sequence[Mapping[str, Any]], metric: str) -> str:
    """Which group is ahead in the primary metric, by how much, and whether the runs can tell."""
    title = TITLES[metric]
    ranked = [(spread.mean, group) for group in groups if (spread := describe(group.values(metric))).mean is not None]
    ranked.sort(key=lambda pair: pair[0] or 0.0, reverse=metric not in LOWER_IS_BETTER)
    if not ranked:
        return f"{title} is undefined in every group."
    first, *others = [group for _, group in ranked]
    if not others:
        return f"{first.name}: {title} {describe(first.values(metric)).text()}."
    second = others[0]
    test = next((t for t in tests if t["metric"] == metric and {t["a"], t["b"]} == {first.name, second.name}), None)
    lead = abs((ranked[0][0] or 0.0) - (ranked[1][0] or 0.0))
    ahead = f"{first.name} is ahead of {second.name} in {title} by {lead:.3f}"
    if test is None or test["ci_low"] is None:
        return f"{ahead}; nothing here can tell whether that is more than chance."
    low, high = (test["ci_low"], test["ci_high"]) if test["a"] == first.name else (-test["ci_high"], -test["ci_low"])
    interval = f"95 % interval {low:.3f} to {high:.3f}"
    if low <= 0:
        return f"{ahead}, but these runs cannot tell them apart: {interval}."
    if not test["paired"]:
        return f"{ahead} ({interval}), but on different films: a description, not a test."
    if min(len(first.members), len(second.members)) < FEW_SEEDS:
        return f"{ahead} ({interval}); with fewer than {FEW_SEEDS} runs each, take it as a description."
    return f"{first.name} is better than {second.name} in {title} by {lead:.3f}: {interval}."
