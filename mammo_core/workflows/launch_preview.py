"""What a launch would make, before it makes anything: the runs by name, and the films and patients they would learn from."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mammo_core.data.splits import resolve_split
from mammo_core.errors import ConfigError
from mammo_core.settings import Workspace
from mammo_core.workflows.launch import LaunchPlan, PlannedRun, plan_runs

MAX_SEEDS = 50


@dataclass(frozen=True)
class PartCounts:
    """Films and patients of one class in one part."""

    split: str
    part: str
    class_name: str
    films: int
    patients: int


@dataclass(frozen=True)
class LaunchPreview:
    """What :func:`~mammo_core.workflows.launch.launch` would do with a plan."""

    runs: tuple[str, ...]
    """``<experiment>/<run>`` in the order in which they would train."""
    epochs: int
    counts: tuple[PartCounts, ...]
    """Training and validation of each split; with folds, of fold 1."""
    folds: int
    """Folds of the split with most of them; 0 without."""


def preview_launch(workspace: Workspace, plan: LaunchPlan) -> LaunchPreview:
    """Work out a launch without making it.

    Raises
    ------
    MammoError
        As :func:`~mammo_core.workflows.launch.plan_runs`.
    """
    planned = plan_runs(workspace, plan)
    first_of_split: dict[str, PlannedRun] = {}
    for item in planned:
        first_of_split.setdefault(item.config.split, item)
    return LaunchPreview(
        runs=tuple(f"{item.config.experiment}/{item.config.run_name}" for item in planned),
        epochs=planned[0].config.epochs,
        counts=tuple(count for item in first_of_split.values() for count in _counts(item)),
        folds=max((item.split.record.folds or 0) for item in planned),
    )


def _counts(planned: PlannedRun) -> list[PartCounts]:
    record = resolve_split(planned.split, planned.config.fold).record
    return [
        PartCounts(planned.config.split, part, name, number["films"], number["patients"])
        for part in ("train", "val")
        for name, number in record.class_counts.get(part, {}).items()
    ]


def parse_seeds(text: str) -> tuple[int, ...]:
    """``42, 43, 44`` as numbers.

    Raises
    ------
    ConfigError
        Something is no whole number, a seed stands twice, there is none, or there are more than 50.

    Examples
    --------
    >>> parse_seeds("42, 43 44")
    (42, 43, 44)
    """
    words = [word for word in re.split(r"[\s,;]+", text) if word]
    wrong = [word for word in words if not word.isascii() or not word.isdecimal()]
    if wrong or not words:
        raise ConfigError(f"The seeds are {text.strip()!r}; expected whole numbers such as 42, 43, 44.")
    seeds = tuple(int(word) for word in words)
    if len(set(seeds)) != len(seeds):
        raise ConfigError(f"The seeds {text.strip()!r} name one number twice; each training needs its own.")
    if len(seeds) > MAX_SEEDS:
        raise ConfigError(f"{len(seeds)} seeds were named; expected at most {MAX_SEEDS} for one start.")
    return seeds
