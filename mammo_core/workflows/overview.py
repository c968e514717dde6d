"""Where the user stands on the path from films to results, what ran last, and what is wrong with the installation."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from mammo_core.data.manifest import Dataset
from mammo_core.data.splits import SplitRecord
from mammo_core.runs import queue
from mammo_core.runs.listing import RunCard
from mammo_core.runs.schema import MetricValue, Request
from mammo_core.settings import Workspace

LOW_DISK_BYTES = 5 * 2**30
"""Below this a training of usual size can fill the disk: checkpoints and prepared films take a few GB."""

STATE_ORDER = ("running", "stopping", "queued", "interrupted", "failed", "stopped", "finished")
STATE_WORDS = {"queued": "waiting"}
RUN_METRICS = (
    ("auc_ovr_macro", "macro-AUC"),
    ("balanced_accuracy", "balanced accuracy"),
    ("accuracy", "accuracy"),
)
"""The metrics by which a run is shown in one number; the first that is defined."""


@dataclass(frozen=True)
class Step:
    """One step of the path: what there is of it, in words."""

    name: str
    done: bool
    text: str


def path_steps(datasets: Sequence[Dataset], splits: Sequence[SplitRecord], cards: Sequence[RunCard]) -> list[Step]:
    """Films, Split, Train, Understand, each with its state; the first one that is not done is what to do next."""
    films = sum(dataset.record.counts.films for dataset in datasets)
    patients = sum(dataset.record.counts.patients for dataset in datasets)
    sets = f" in {len(datasets)} data sets" if len(datasets) > 1 else ""
    states: Counter[str] = Counter(card.state for card in cards)
    told = ", ".join(f"{states[state]} {STATE_WORDS.get(state, state)}" for state in STATE_ORDER if states[state])
    finished = states["finished"]
    return [
        Step("Films", bool(datasets), f"{films} films, {patients} patients{sets}" if datasets else "not yet"),
        Step("Split", bool(splits), plural(len(splits), "split") if splits else "not yet"),
        Step("Train", bool(cards), told or "not yet"),
        Step("Understand", bool(finished), f"{plural(finished, 'finished run')} to look at" if finished else "not yet"),
    ]


def plural(count: int, noun: str) -> str:
    """``1 split``, ``3 splits``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


# ---- the latest runs --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ExperimentRow:
    """One experiment in one line."""

    experiment: str
    state: str
    """``finished``, or several states with their numbers."""
    metric: str
    """``macro-AUC 0.842 ± 0.021 (n = 3, SD n-1)``, or for one run its value with the 95 % interval; empty before an end."""
    seeds: str
    task: str
    changed_at: float
    first_run: str
    problem: str


def experiment_rows(cards: Sequence[RunCard], limit: int | None = None) -> list[ExperimentRow]:
    """One row an experiment, the last changed first."""
    by_experiment: dict[str, list[RunCard]] = {}
    for card in cards:
        by_experiment.setdefault(card.run.experiment, []).append(card)
    rows = [_experiment_row(name, members) for name, members in by_experiment.items()]
    return sorted(rows, key=lambda row: row.changed_at, reverse=True)[:limit]


def _experiment_row(name: str, cards: Sequence[RunCard]) -> ExperimentRow:
    states = Counter(STATE_WORDS.get(card.state, card.state) for card in cards)
    order = [STATE_WORDS.get(state, state) for state in STATE_ORDER]
    counted = ", ".join(f"{states[state]} {state}" for state in order if states[state])
    seeds = sorted({card.seed for card in cards if card.seed is not None})
    return ExperimentRow(
        experiment=name,
        state=next(iter(states)) if len(cards) == 1 else counted,
        metric=metric_text(cards),
        seeds=", ".join(map(str, seeds)),
        task=cards[0].task,
        changed_at=max(card.changed_at for card in cards),
        first_run=cards[0].id,
        problem=next((card.problem for card in cards if card.problem), ""),
    )


def metric_text(cards: Sequence[RunCard]) -> str:
    """The validation result of some runs in a few words: mean and SD of several, value and 95 % interval of one."""
    for name, title in RUN_METRICS:
        found = [metric for card in cards if (metric := card.metric(name)) is not None and metric.value is not None]
        if len(found) == 1:
            return f"{title} {value_text(found[0])}"
        if found:
            from mammo_core.analysis.variance import describe  # scipy: a workspace without runs need not wait for it

            return f"{title} {describe([metric.value for metric in found], highest=1.0).text()}"
    return ""


def value_text(metric: MetricValue) -> str:
    """``0.842 (0.761 to 0.905)``; without an interval the value alone; ``undefined`` without a value."""
    if metric.value is None:
        return "undefined"
    if metric.ci_low is None or metric.ci_high is None:
        return f"{metric.value:.3f}"
    return f"{metric.value:.3f} ({metric.ci_low:.3f} to {metric.ci_high:.3f})"


# ---- the demo ---------------------------------------------------------------------------------------------------------


def latest_demo(workspace: Workspace) -> Request | None:
    """The newest request for demo films, whatever became of it."""
    return queue.latest_request(workspace, "demo")


# ---- what is wrong ----------------------------------------------------------------------------------------------------


def interrupted_runs(workspace: Workspace, cards: Sequence[RunCard]) -> list[RunCard]:
    """Runs whose process died and that nobody has asked to resume yet."""
    asked = {
        request.arguments.get("run") for request in queue.list_requests(workspace) if request.state in ("waiting", "running")
    }
    return [card for card in cards if card.state == "interrupted" and card.problem is None and card.id not in asked]


def free_bytes(workspace: Workspace) -> int:
    return shutil.disk_usage(workspace.home).free
