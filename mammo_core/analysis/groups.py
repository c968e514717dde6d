"""Groups of runs that are compared: which runs count, their numbers at the best epoch, and what they were measured on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import pandas as pd

from mammo_core.analysis.finished import FinishedRun, finished_runs, split_hash
from mammo_core.analysis.variance import Spread, judged_to_learnt, metric_spread
from mammo_core.errors import DataError, MammoError
from mammo_core.runs.history import history_frame
from mammo_core.runs.run_dir import RunDir
from mammo_core.runs.schema import HEADLINE_METRICS, MetricsFile, MetricValue

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
    def judged_to_learnt(self) -> float | None:
        """Films that a run is judged on over films that it learns from, the mean over runs; ``None`` where not recorded."""
        return judged_to_learnt([member.finished for member in self.members], self.on)

    def spread(self, metric: str) -> Spread:
        """Mean, SD (n-1) and t intervals of a metric over the runs, for folds widened by what they share."""
        return metric_spread([member.finished for member in self.members], metric, self.on, self.values(metric))

    def repetitions(self) -> list[Repetition]:
        """Every complete pass over the films: a run; for folds on validation films all folds of a seed, so that every film is
        judged once by a model that never saw its patient.

        Raises
        ------
        DataError
            A run keeps no predictions, folds and whole trainings are mixed, a fold is missing, or two folds judge one film.
        """
        for member in self.members:
            if member.predictions is None:
                raise DataError(f"{member.run.id} keeps no predictions; expected {self.on}_predictions.csv. Evaluate it again.")
        if not self.has_folds or self.on != "val":
            return [Repetition(member.seed, member.fold, (_table(member),)) for member in self.members]
        if any(member.fold is None for member in self.members):
            raise DataError(f"{self.name} mixes folds with whole trainings; expected one kind. Leave one of them out.")
        seeds = dict.fromkeys(member.seed for member in self.members)
        return [self._pass(seed, [member for member in self.members if member.seed == seed]) for seed in seeds]

    def _pass(self, seed: int, members: Sequence[Member]) -> Repetition:
        planned = self.split_record.get("folds") or max(member.fold or 0 for member in self.members)
        missing = sorted(set(range(1, int(planned) + 1)) - {member.fold for member in members})
        if missing:
            raise DataError(f"{self.name}: fold {', '.join(map(str, missing))} of {planned} is missing for seed {seed}.")
        tables = tuple(_table(member) for member in members)
        if pd.concat(tables)["image_id"].duplicated().any():
            raise DataError(f"{self.name}: two folds of seed {seed} judge the same film; expected each film in one fold.")
        return Repetition(seed, None, tables)


@dataclass(frozen=True)
class Repetition:
    """One pass over the films of a group: the predictions of a run, or of all folds of a seed."""

    seed: int
    fold: int | None
    """Of a fold that is judged by itself, on test films."""
    tables: tuple[pd.DataFrame, ...]
    """One a model; together they hold every film once."""

    @property
    def label(self) -> str:
        """``seed 42`` or ``seed 42, fold 1``."""
        return f"seed {self.seed}" + (f", fold {self.fold}" if self.fold is not None else "")


def _table(member: Member) -> pd.DataFrame:
    if member.predictions is None:
        raise DataError(f"{member.run.id} keeps no predictions.")
    return member.predictions


def load_group(name: str, runs: Sequence[RunDir], on: str) -> Group:
    """The finished runs of a group with their metrics on ``on``, by seed and fold; the others under ``left_out`` with the reason.

    A run whose predictions are those of an earlier one, film by film, is a copy, whatever its folder; it would shrink the SD.
    """
    kept, left_out = finished_runs(runs)
    members: list[Member] = []
    for finished in sorted(kept, key=lambda finished: (finished.config.seed, finished.config.fold or 0)):
        try:
            history = history_frame(finished.run.history())  # drawn: a run whose history is damaged is left out as a whole
            recorded = finished.run.metrics(on)
            if recorded is None and on != "val":
                left_out.append({"run": finished.run.id, "reason": f"not evaluated on {on} yet"})
                continue
            metrics = recorded.metrics if isinstance(recorded, MetricsFile) else finished.metrics
            member = Member(finished, metrics, finished.run.predictions(on), history)
        except MammoError as error:
            left_out.append({"run": finished.run.id, "reason": str(error)})
            continue
        twin = next((other for other in members if same_predictions(member, other)), None)
        if twin is None:
            members.append(member)
        else:
            left_out.append({"run": finished.run.id, "reason": f"a copy: its predictions are those of {twin.run.id}"})
    return Group(name, tuple(members), tuple(left_out), on)


def same_predictions(one: Member, other: Member) -> bool:
    """Whether two runs keep the very same predictions, digit for digit."""
    if one.predictions is None or other.predictions is None:
        return False
    return one.predictions.equals(other.predictions)


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
