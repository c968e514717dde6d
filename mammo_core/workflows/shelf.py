"""The shelf of trained models: one row an experiment (its seeds or folds together), and one row a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from mammo_core.analysis.metrics import TITLES
from mammo_core.analysis.variance import describe, highest_of
from mammo_core.predict.model_record import REFERENCE_PREFIX, ModelRecord
from mammo_core.runs.listing import RunCard
from mammo_core.workflows.overview import value_text

SHELF_METRICS = ("auc_ovr_macro", "balanced_accuracy", "kappa_quadratic", "macro_f1")


@dataclass(frozen=True)
class ShelfRow:
    """A trained model: the finished runs of one experiment, or one of them."""

    name: str
    """The experiment, or ``<experiment>/<run>``."""
    task: str
    class_names: tuple[str, ...]
    dataset: str
    train_films: int | None
    val_films: int | None
    seeds: tuple[int, ...]
    folds: tuple[int, ...]
    epochs: str
    """``best 11, ran 14``; of several runs the range."""
    metrics: dict[str, str]
    """Validation metrics at the best epoch, in words: mean and SD over several runs, value and 95 % interval of one."""
    runs: tuple[str, ...]
    has_weights: bool
    """Whether every run still has its best checkpoint, so that it can predict."""
    verdicts: str = ""
    """How many of the runs have which verdict."""
    kept: bool = False
    """Whether it is a model of its own file, and not runs that may change."""

    @property
    def quality(self) -> str:
        """The first metric that is defined, with its name."""
        return next((f"{TITLES[name]} {text}" for name, text in self.metrics.items() if text != "undefined"), "not evaluated")


def shelf(cards: Sequence[RunCard]) -> list[ShelfRow]:
    """One row for each experiment that has a finished run, in the order of ``cards``."""
    by_experiment: dict[str, list[RunCard]] = {}
    for card in _finished(cards):
        by_experiment.setdefault(card.run.experiment, []).append(card)
    return [_row(name, members) for name, members in by_experiment.items()]


def shelf_of_runs(cards: Sequence[RunCard]) -> list[ShelfRow]:
    """One row for each finished run."""
    return [_row(card.id, [card]) for card in _finished(cards)]


def runs_alike(cards: Sequence[RunCard], run_id: str) -> tuple[str, ...]:
    """The run and those of its experiment that learnt the same films for the same classes and still have their weights.

    They differ in their seeds or settings, so that the mean of their answers or maps makes sense.
    """
    own = next((card for card in cards if card.id == run_id), None)
    if own is None or own.problem is not None:
        return (run_id,)
    same = [
        card.id
        for card in cards
        if card.problem is None
        and card.run.experiment == own.run.experiment
        and (card.task, card.class_names, card.dataset, card.split, card.fold)
        == (own.task, own.class_names, own.dataset, own.split, own.fold)
        and card.run.best_model.exists()
    ]
    return tuple(dict.fromkeys((run_id, *same)))


def _finished(cards: Sequence[RunCard]) -> list[RunCard]:
    return [card for card in cards if card.state == "finished" and card.summary is not None and card.problem is None]


def _row(name: str, cards: Sequence[RunCard]) -> ShelfRow:
    first = cards[0]
    counts = first.summary.counts if first.summary else {}
    return ShelfRow(
        name=name,
        task=first.task,
        class_names=first.class_names,
        dataset=first.dataset,
        train_films=_films(counts, "train"),
        val_films=_films(counts, "val"),
        seeds=tuple(sorted({card.seed for card in cards if card.seed is not None})),
        folds=tuple(sorted({card.fold for card in cards if card.fold is not None})),
        epochs=_epochs(cards),
        metrics={metric: metric_over_runs(cards, metric) for metric in SHELF_METRICS},
        runs=tuple(card.id for card in cards),
        has_weights=all(card.run.best_model.exists() for card in cards),
        verdicts=_verdicts(cards),
    )


def kept_row(name: str, record: ModelRecord) -> ShelfRow:
    """The row of a kept model; as a run it is named ``model:<name>``."""
    configs = [member.config for member in record.members]
    return ShelfRow(
        name=f"{name} (kept model)",  # no experiment can be called so
        task=record.task,
        class_names=record.class_names,
        dataset=record.dataset,
        train_films=record.train_films,
        val_films=record.val_films,
        seeds=tuple(sorted({int(config["seed"]) for config in configs if "seed" in config})),
        folds=tuple(sorted({int(config["fold"]) for config in configs if config.get("fold") is not None})),
        epochs=f"best {_range([member.epoch for member in record.members])}",
        metrics={metric: record.quality.get(metric, "undefined") for metric in SHELF_METRICS},
        runs=(f"{REFERENCE_PREFIX}{name}",),
        has_weights=True,
        kept=True,
    )


def _verdicts(cards: Sequence[RunCard]) -> str:
    counts = Counter((card.summary.verdict or "not judged").replace("_", " ").lower() for card in cards if card.summary)
    many = len(cards) > 1
    return ", ".join(f"{count} {verdict}" if many else verdict for verdict, count in counts.most_common())


def metric_over_runs(cards: Sequence[RunCard], metric: str) -> str:
    """``0.696 ± 0.032 (n = 3, SD n-1)`` over several runs, ``0.696 (0.641 to 0.748)`` for one."""
    found = [value for card in cards if (value := card.metric(metric)) is not None and value.value is not None]
    if not found:
        return "undefined"
    if len(cards) == 1:
        return value_text(found[0])
    return describe([value.value for value in found], highest_of(metric)).text()


def _films(counts: dict[str, dict[str, int]], part: str) -> int | None:
    return sum(counts[part].values()) if part in counts else None


def _epochs(cards: Sequence[RunCard]) -> str:
    best = [card.summary.best_epoch for card in cards if card.summary]
    ran = [card.summary.epochs_run for card in cards if card.summary]
    return f"best {_range(best)}, ran {_range(ran)}"


def _range(values: Sequence[int]) -> str:
    return f"{min(values)}" if min(values) == max(values) else f"{min(values)} to {max(values)}"
