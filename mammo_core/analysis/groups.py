"""Groups of runs that are compared: which runs count, their numbers at the best epoch, and what they were measured on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import pandas as pd

from mammo_core.analysis.variance import FinishedRun, finished_runs, highest_of, split_hash
from mammo_core.errors import DataError, MammoError
from mammo_core.runs.history import history_frame
from mammo_core.runs.run_dir import RunDir
from mammo_core.runs.schema import HEADLINE_METRICS, MetricsFile, MetricValue
from mammo_core.storage import read_text_table

Kind = Literal["seeds", "folds", "seeds and folds"]


@dataclass(frozen=True)
class Member:
    """One finished run of a group, with its numbers on the films in question."""

    finished: FinishedRun
    metrics: Mapping[str, MetricValue]
    predictions: pd.DataFrame | None
    """``None`` where the run keeps none; then nothing can be resampled."""
    history: pd.DataFrame

    @property
    def run(self) -> RunDir:
        return self.finished.run

    @property
    def seed(self) -> int:
        return self.finished.config.seed

    @property
    def fold(self) -> int | None:
        return self.finished.config.fold


@dataclass(frozen=True)
class Group:
    """Runs that differ in seed or fold only, under one name."""

    name: str
    members: tuple[Member, ...]
    left_out: tuple[Mapping[str, str], ...]
    on: str = "val"

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.members[0].finished.config.class_names if self.members else ()

    @property
    def task(self) -> str | None:
        return self.members[0].finished.config.task if self.members else None

    @property
    def kind(self) -> Kind:
        if all(member.fold is None for member in self.members):
            return "seeds"
        return "seeds and folds" if len({member.seed for member in self.members}) > 1 else "folds"

    @property
    def has_folds(self) -> bool:
        return self.kind != "seeds"

    def values(self, metric: str) -> list[float | None]:
        return [found.value if (found := member.metrics.get(metric)) else None for member in self.members]

    @property
    def is_imported(self) -> bool:
        """Whether another tool trained any of the runs, so that neither settings nor films are known here."""
        return any(member.finished.imported for member in self.members)

    @cached_property
    def split_hashes(self) -> tuple[str | None, ...]:
        return tuple(split_hash(member.run) for member in self.members)

    @cached_property
    def split_record(self) -> Mapping[str, Any]:
        """``split.json`` of the first run that has one."""
        return next((record for member in self.members if (record := member.run.split_info())), {})

    @cached_property
    def test_to_train(self) -> float | None:
        """Films that a run is judged on over films that it learns from, the mean over folds; ``None`` where not recorded."""
        ratios = []
        for member in self.members:
            try:
                parts = read_text_table(member.run.split_table)["split"].value_counts()
            except (FileNotFoundError, KeyError):
                continue
            if parts.get("train", 0):
                ratios.append(float(parts.get("val", 0) / parts["train"]))
        return sum(ratios) / len(ratios) if ratios else None

    def repetitions(self) -> list[tuple[int, pd.DataFrame]]:
        """(seed, predictions) of each complete pass over the films: a run; for folds, all folds of a seed joined, so that every
        film is judged once by a model that never saw its patient.

        Raises
        ------
        DataError
            A run keeps no predictions, a fold is missing, or a film is judged by two folds.
        """
        tables: dict[tuple[int, int], list[pd.DataFrame]] = {}
        for number, member in enumerate(self.members):
            if member.predictions is None:
                raise DataError(f"{member.run.id} keeps no predictions; expected {self.on}_predictions.csv. Evaluate it again.")
            key = (member.seed, -1) if member.fold is not None and self.on == "val" else (member.seed, number)
            tables.setdefault(key, []).append(member.predictions)
        joined = [(seed, pd.concat(parts, ignore_index=True)) for (seed, _), parts in tables.items()]
        for seed, table in joined:
            if table["image_id"].duplicated().any():
                raise DataError(f"{self.name}: two folds of seed {seed} judge the same film; expected each film in one fold.")
        sizes = {seed: len(table) for seed, table in joined}
        if len(set(sizes.values())) > 1 and self.has_folds:
            raise DataError(f"{self.name}: the seeds have {' and '.join(map(str, sizes.values()))} films; a fold is missing.")
        return joined


def load_group(name: str, runs: Sequence[RunDir], on: str) -> Group:
    """The finished runs of a group with their metrics on ``on``; the others under ``left_out`` with the reason."""
    kept, left_out = finished_runs(runs)
    members = []
    for finished in kept:
        try:
            history = history_frame(finished.run.history())  # drawn: a run whose history is damaged is left out as a whole
            recorded = finished.run.metrics(on)
            if recorded is None and on != "val":
                left_out.append({"run": finished.run.id, "reason": f"not evaluated on {on} yet"})
                continue
            metrics = recorded.metrics if isinstance(recorded, MetricsFile) else finished.metrics
            members.append(Member(finished, metrics, finished.run.predictions(on), history))
        except MammoError as error:
            left_out.append({"run": finished.run.id, "reason": str(error)})
    return Group(name, tuple(members), tuple(left_out), on)


def primary_metric(groups: Sequence[Group]) -> str:
    """The one metric the answer is about, fixed beforehand: quadratic kappa on an ordinal scale, else macro AUC.

    Histories of other tools often record neither; then accuracy, then the validation loss, whichever all groups have.
    """
    first = groups[0].members[0].finished.config
    wanted = "kappa_quadratic" if first.ordinal else "auc_ovr_macro"
    candidates = [wanted, "auc_ovr_macro", "kappa_quadratic", "balanced_accuracy", "accuracy", "val_loss"]
    return next((name for name in candidates if all(_has(group, name) for group in groups)), wanted)


def _has(group: Group, metric: str) -> bool:
    return any(value is not None for value in group.values(metric))


def shared_metrics(groups: Sequence[Group]) -> list[str]:
    """Headline metrics that every group has, in their order; the validation loss where there is none."""
    found = [name for name in HEADLINE_METRICS if all(_has(group, name) for group in groups)]
    return found or [name for name in ("val_loss",) if all(_has(group, name) for group in groups)]


__all__ = ["Group", "Kind", "Member", "highest_of", "load_group", "primary_metric", "shared_metrics"]
