"""The runs that count: those that finished, with their configuration and what came of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from mammo_core.config import TrainConfig
from mammo_core.errors import MammoError
from mammo_core.reading import read_json, read_text_table
from mammo_core.runs.history import best_epoch, epoch_word
from mammo_core.runs.run_dir import RunDir
from mammo_core.runs.schema import EpochRecord, MetricValue
from mammo_core.storage import sha256_of


@dataclass(frozen=True)
class FinishedRun:
    """A run that can be counted: its configuration and what came of it. All numbers are those of its best epoch."""

    run: RunDir
    config: TrainConfig
    best_epoch: int
    epochs_run: int
    metrics: Mapping[str, MetricValue]
    """On the validation films."""
    val_loss: float | None
    stop_reason: str | None
    imported: bool = False
    seed: int | None = None
    """``None`` where another tool trained the run and does not name its seed."""
    best_words: str = ""
    """The best epoch as pages name it, where another tool numbers its epochs otherwise; else empty."""

    @property
    def best_text(self) -> str:
        """``epoch 4``, or ``epoch 3 (row 4)`` of an imported history."""
        return self.best_words or f"epoch {self.best_epoch}"

    def value(self, metric: str) -> float | None:
        """One of ``metrics``; ``None`` where it was not measured or is undefined."""
        found = self.metrics.get(metric)
        return found.value if found else None

    @cached_property
    def part_sizes(self) -> Mapping[str, int]:
        """Films of train, val and test in the run's own split; empty where it is not there. Read once, for all metrics."""
        try:
            parts = read_text_table(self.run.split_table)["split"].value_counts()
        except (FileNotFoundError, KeyError, MammoError):
            return {}
        return {str(part): int(films) for part, films in parts.items()}


def finished_runs(runs: Sequence[RunDir]) -> tuple[list[FinishedRun], list[dict[str, str]]]:
    """Split runs into those that finished and those left out, each with its reason (``{"run", "reason"}``).

    A second run with the seed, fold and settings of an earlier one repeats it digit for digit; it would shrink the SD without
    adding anything, so only the first counts. Of runs that another tool trained the settings are not known, so all count.
    """
    kept: list[FinishedRun] = []
    left_out: list[dict[str, str]] = []
    for run in runs:
        try:
            finished = _finished(run)
        except MammoError as error:
            left_out.append({"run": run.id, "reason": str(error)})
            continue
        twin = next((other for other in kept if _is_repeated(other, finished)), None)
        if twin is not None:
            left_out.append({"run": run.id, "reason": f"same seed, fold and settings as {twin.run.name}, so it adds nothing"})
        else:
            kept.append(finished)
    return kept, left_out


def _is_repeated(one: FinishedRun, other: FinishedRun) -> bool:
    if one.imported or other.imported:
        return False
    return one.config == other.config and one.run.experiment == other.run.experiment


def _finished(run: RunDir) -> FinishedRun:
    state = run.state()
    if state != "finished":
        status = run.status()
        progress = f" at epoch {status.epoch} of {status.epochs}" if status else ""
        raise MammoError(f"{state}{progress}, not finished")
    if run.import_file.exists():
        return _imported(run)
    summary = run.summary()
    if summary is None:
        raise MammoError("finished, but its summary.json is missing")
    best, count = summary.best_epoch, summary.epochs_run
    config = run.config()
    return FinishedRun(run, config, best, count, summary.metrics, summary.val_loss, summary.stop_reason, seed=config.seed)


IMPORTED_METRICS = {
    "accuracy": "val_acc",
    "balanced_accuracy": "val_balanced_acc",
    "kappa_quadratic": "val_kappa_quadratic",
    "macro_f1": "val_macro_f1",
    "auc_ovr_macro": "val_auc_ovr",
    "val_loss": "val_loss",
}
"""Metric -> where the history of another tool may hold it."""


def _imported(run: RunDir) -> FinishedRun:
    """A run of another tool: the numbers of its own evaluation where its folder held one, else those of its history."""
    records = run.history()
    best = best_epoch(records) or _most_accurate(records)
    if best is None:
        raise MammoError("imported, but its history holds neither a validation loss nor a validation accuracy")
    record = read_json(run.import_file)  # a damaged one leaves the run out: nobody knows whose numbers these are
    known = record.get("known") if isinstance(record, dict) else None
    stated = known if isinstance(known, dict) else {}
    found, words = _stated_metrics(stated.get("metrics")), epoch_word(best)
    how = (
        "as the other tool's own evaluation says, at an epoch that it does not name; no interval, since there are no predictions"
    )
    if not found:
        found = {name: value for name, column in IMPORTED_METRICS.items() if (value := getattr(best, column)) is not None}
        how = f"as the other tool recorded it at {words}; no interval, since there are no predictions"
    metrics = {name: MetricValue(value=value, method=how) for name, value in found.items()}
    if best.val_loss is not None:
        metrics["val_loss"] = MetricValue(value=best.val_loss, method=f"lowest of the history, {words}")
    counted = (best.epoch, len(records), metrics, best.val_loss, None)
    seed = stated.get("seed")
    seed = seed if isinstance(seed, int) else None
    return FinishedRun(run, run.config(), *counted, imported=True, seed=seed, best_words=words)


def _stated_metrics(metrics: object) -> dict[str, float]:
    if not isinstance(metrics, dict):
        return {}
    return {name: float(value) for name, value in metrics.items() if name in IMPORTED_METRICS and isinstance(value, int | float)}


def _most_accurate(records: Sequence[EpochRecord]) -> EpochRecord | None:
    judged = [record for record in records if record.val_acc is not None]
    return max(judged, key=lambda record: (record.val_acc, -record.epoch)) if judged else None


VARYING_SETTINGS = frozenset({"seed", "fold", "experiment", "device", "num_workers", "threads"})
"""Settings in which runs of one experiment may differ: what is varied, and what does not change the result."""


def differing_settings(configs: Sequence[TrainConfig]) -> list[str]:
    """Names of the settings, other than seed, fold and machine, in which the configurations differ."""
    rows = [config.to_dict() for config in configs]
    if not rows:
        return []
    return [key for key in rows[0] if key not in VARYING_SETTINGS and any(row[key] != rows[0][key] for row in rows)]


def split_hash(run: RunDir) -> str | None:
    """SHA-256 of the run's own ``split.csv``: what was really used, whatever other files say."""
    return sha256_of(run.split_table) if run.split_table.exists() else None
