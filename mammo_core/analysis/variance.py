"""How much runs of one experiment differ: mean, SD (n-1), intervals, and the summary of its seeds or folds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mammo_core.analysis.metrics import LOWER_IS_BETTER
from mammo_core.config import SCHEMA_VERSION, TrainConfig
from mammo_core.errors import MammoError
from mammo_core.runs.history import best_epoch, epoch_word
from mammo_core.runs.run_dir import RunDir, experiment_runs, is_readable
from mammo_core.runs.schema import HEADLINE_METRICS, EpochRecord, MetricValue
from mammo_core.settings import RESEARCH_ONLY, Workspace
from mammo_core.storage import lock_of, read_json, read_text_table, sha256_of, write_json

FEW_SEEDS = 5
"""Below this many runs no interval or test across runs carries a decision: descriptive only."""

SD_DEFINITION = "SD (n-1): sample standard deviation over the runs"


@dataclass(frozen=True)
class Spread:
    """What a handful of values of one metric say. ``None`` where one value cannot say it."""

    values: tuple[float, ...]
    n: int
    mean: float | None
    sd: float | None
    """Sample standard deviation, denominator n-1."""
    ci_low: float | None
    ci_high: float | None
    """95 % t interval of the mean."""
    prediction_low: float | None
    prediction_high: float | None
    """95 % interval for the value of one new run of the same kind."""
    population_sd: float | None
    """Denominator n; only to reproduce tables that were made so."""

    def text(self, digits: int = 3) -> str:
        """``0.696 ± 0.032 (n = 3, SD n-1)``."""
        if self.mean is None:
            return "undefined"
        if self.sd is None:
            return f"{self.mean:.{digits}f} (n = 1, no SD)"
        return f"{self.mean:.{digits}f} ± {self.sd:.{digits}f} (n = {self.n}, SD n-1)"

    def to_json(self) -> dict[str, Any]:
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}


def describe(values: Sequence[float | None], highest: float = math.inf, shared: float = 0.0, lowest: float = -math.inf) -> Spread:
    """Mean, SD and intervals of the defined values (``None`` and NaN are left out and not counted).

    Parameters
    ----------
    highest, lowest : float
        Cap the ends of the intervals: a t interval knows nothing of a metric that ends at 1.
    shared : float
        For folds, films judged over films learnt from: folds share training films, so the variance of their mean is
        ``s^2 (1/n + shared)``. 0 for seeds.

    Source
    ------
    Interval of the mean: ``mean ± t(0.975, n-1) s / sqrt(n)``; for one new value: ``mean ± t(0.975, n-1) s sqrt(1 + 1/n)``
    (Student; both assume values that scatter about normally). Folds: Nadeau and Bengio (2003), doi:10.1023/A:1024068626366.

    Examples
    --------
    >>> describe([0.676, 0.733, 0.679]).text()
    '0.696 ± 0.032 (n = 3, SD n-1)'
    """
    defined = tuple(float(value) for value in values if value is not None and not math.isnan(value))
    n = len(defined)
    if n < 2:
        return Spread(defined, n, defined[0] if n else None, *(None,) * 6)
    from scipy.special import stdtrit  # a third of a second that pages without a spread need not wait for

    mean, sd = float(np.mean(defined)), float(np.std(defined, ddof=1))
    t = float(stdtrit(n - 1, 0.975))
    half_mean, half_new = t * sd * math.sqrt(1 / n + shared), t * sd * math.sqrt(1 + 1 / n)
    return Spread(
        values=defined,
        n=n,
        mean=mean,
        sd=sd,
        ci_low=max(lowest, mean - half_mean),
        ci_high=min(highest, mean + half_mean),
        prediction_low=max(lowest, mean - half_new),
        prediction_high=min(highest, mean + half_new),
        population_sd=float(np.std(defined)),
    )


def mean_curve(frames: Sequence[pd.DataFrame], column: str) -> pd.DataFrame:
    """Mean and SD of one history column over runs, joined on the integer epoch.

    Returns
    -------
    DataFrame
        ``epoch`` (int), ``mean``, ``sd`` (n-1, NaN where n < 2), ``n`` (int): epochs with at least one value, ascending.
    """
    parts = [frame[["epoch", column]].dropna() for frame in frames if column in frame.columns]
    if not any(len(part) for part in parts):
        return pd.DataFrame({"epoch": [], "mean": [], "sd": [], "n": []}).astype({"epoch": int, "n": int})
    grouped = pd.concat(parts).astype({"epoch": int, column: float}).groupby("epoch")[column]
    table = pd.DataFrame({"mean": grouped.mean(), "sd": grouped.std(ddof=1), "n": grouped.size()})
    return table.reset_index()


# ---- the runs of one experiment -------------------------------------------------------------------------------------------


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


def summarise_experiment(runs: Sequence[RunDir]) -> dict[str, Any]:
    """The content of ``seeds_summary.json`` (or ``cv_summary.json`` where the runs are folds).

    All numbers of a run are those of its best epoch, from its ``summary.json``. ``kind`` is ``seeds``, ``folds`` or
    ``seeds and folds``; runs that did not finish are listed under ``left_out`` with the reason.
    """
    kept, left_out = finished_runs(runs)
    names = metric_names([finished.metrics for finished in kept])
    folds = {finished.config.fold for finished in kept} - {None}
    seeds = {finished.seed for finished in kept} - {None}
    return {
        "schema_version": SCHEMA_VERSION,
        "experiment": kept[0].run.experiment if kept else (runs[0].experiment if runs else None),
        "task": kept[0].config.task if kept else None,
        "class_names": list(kept[0].config.class_names) if kept else [],
        "kind": ("seeds and folds" if len(seeds) > 1 else "folds") if folds else "seeds",
        "n": len(kept),
        "imported": any(finished.imported for finished in kept),
        "seeds": sorted(seed for seed in seeds if seed is not None),
        "folds": sorted(fold for fold in folds if fold is not None),
        "runs": [_run_entry(finished, names) for finished in kept],
        "left_out": left_out,
        "metrics": {name: metric_spread(kept, name).to_json() for name in names},
        "sd_definition": SD_DEFINITION,
        "warnings": experiment_warnings(kept, bool(folds)),
        "split_sha256": sorted({value for finished in kept if (value := split_hash(finished.run)) is not None}),
        "notice": RESEARCH_ONLY,
    }


def write_experiment_summary(workspace: Workspace, experiment: str) -> list[Path]:
    """Write ``seeds_summary.json`` and, for runs that are folds, ``cv_summary.json`` beside the runs; returns what was written.

    ``cv_summary.json`` also holds, under ``pooled``, what :func:`mammo_core.analysis.out_of_fold.pooled_metrics` finds for each
    seed. Unreadable runs are left out with their reason; an experiment without a finished run gets no file.
    """
    from mammo_core.analysis.out_of_fold import pooled_metrics  # it is built on groups of runs, which are built on this module

    folder = workspace.experiment(experiment)
    with lock_of(folder / ".summary.lock"):  # on a cluster two runs of one experiment can end in the same moment
        parts: dict[str, list[RunDir]] = {"seeds_summary.json": [], "cv_summary.json": []}
        for run in experiment_runs(workspace, experiment):
            has_fold = is_readable(run) and run.config().fold is not None
            parts["cv_summary.json" if has_fold else "seeds_summary.json"].append(run)
        written = []
        for name, runs in parts.items():
            summary = summarise_experiment(runs)
            if summary["n"] and name == "cv_summary.json":
                summary["pooled"] = pooled_metrics(experiment, runs)
            if summary["n"]:
                write_json(folder / name, summary)
                written.append(folder / name)
    return written


def _run_entry(finished: FinishedRun, names: Sequence[str]) -> dict[str, Any]:
    return {
        "run": finished.run.name,
        "seed": finished.seed,
        "fold": finished.config.fold,
        "best_epoch": finished.best_epoch,
        "best_epoch_words": finished.best_text.removeprefix("epoch "),
        "epochs_run": finished.epochs_run,
        "stop_reason": finished.stop_reason,
        "val_loss": finished.val_loss,
        "metrics": {name: _value(finished, name) for name in names},
    }


def _value(finished: FinishedRun, name: str) -> float | None:
    metric = finished.metrics.get(name)
    return metric.value if metric else None


def metric_names(tables: Sequence[Mapping[str, object]]) -> list[str]:
    """The metrics that any of the tables has: headline ones first, then as they come."""
    found = dict.fromkeys(name for table in tables for name in table)
    return [name for name in HEADLINE_METRICS if name in found] + [name for name in found if name not in HEADLINE_METRICS]


def highest_of(metric: str) -> float:
    """The largest value a metric can take."""
    return math.inf if is_lower_better(metric) else 1.0


def lowest_of(metric: str) -> float:
    """The smallest value a metric can take."""
    return -math.inf if metric.endswith("_skill") else -1.0 if "kappa" in metric else 0.0


def metric_spread(
    kept: Sequence[FinishedRun], metric: str, on: str = "val", values: Sequence[float | None] | None = None
) -> Spread:
    """Mean, SD and intervals of one metric over runs, the same wherever it is shown.

    Folds get Nadeau and Bengio's variance for the training films that they share; ends are capped at what the metric can take.

    Parameters
    ----------
    on : {"val", "test"}
        Which films judged the runs.
    values : sequence of float, optional
        One a run, where they are not the summary's own (validation, at the best epoch).
    """
    found = [_value(finished, metric) for finished in kept] if values is None else values
    shared = judged_to_learnt(kept, on) if any(finished.config.fold is not None for finished in kept) else 0.0
    return describe(found, highest_of(metric), shared or 0.0, lowest_of(metric))


def judged_to_learnt(kept: Sequence[FinishedRun], on: str = "val") -> float | None:
    """Films that a run is judged on over films that it learns from, the mean over runs; ``None`` where not recorded."""
    sizes = [finished.part_sizes for finished in kept]
    ratios = [parts.get(on, 0) / parts["train"] for parts in sizes if parts.get("train")]
    return sum(ratios) / len(ratios) if ratios else None


def is_lower_better(metric: str) -> bool:
    """Whether a smaller value of the metric is the better one."""
    return metric in LOWER_IS_BETTER or metric == "val_loss"


def experiment_warnings(kept: Sequence[FinishedRun], has_folds: bool) -> list[str]:
    """Sentences on what limits a summary of these runs."""
    warnings = []
    if 0 < len(kept) < FEW_SEEDS:
        warnings.append(f"{len(kept)} run(s): descriptive only, {FEW_SEEDS} or more are needed to judge the spread.")
    differing = differing_settings([finished.config for finished in kept if not finished.imported])
    if differing:
        warnings.append(f"The runs differ in more than seed and fold: {', '.join(differing)}.")
    if has_folds:
        warnings.append("Folds share most of their training films, so the SD between them understates the uncertainty.")
    elif len({split_hash(finished.run) for finished in kept}) > 1:
        warnings.append("The runs used different splits, so their spread mixes training chance with the choice of films.")
    return warnings


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
