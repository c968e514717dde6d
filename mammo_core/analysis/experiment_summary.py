"""The summary of an experiment: what its seeds or folds say together."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mammo_core.analysis.finished import FinishedRun, differing_settings, finished_runs, split_hash
from mammo_core.analysis.out_of_fold import pooled_metrics
from mammo_core.analysis.variance import FEW_SEEDS, SD_DEFINITION, metric_names, metric_spread
from mammo_core.config import SCHEMA_VERSION
from mammo_core.runs.run_dir import RunDir, experiment_runs, is_readable
from mammo_core.settings import RESEARCH_ONLY, Workspace
from mammo_core.storage import lock_of, write_json

log = logging.getLogger("mammo_core.run")


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


def summarise_where_possible(workspace: Workspace, experiment: str) -> None:
    """The same at the end of a run, which stands whatever its neighbours' files or the disk refuse; the log then says it."""
    try:
        write_experiment_summary(workspace, experiment)
    except Exception:  # noqa: BLE001  whatever a neighbour's files hold, neither this run nor the queue may end of it
        log.exception("The summary of %s could not be written; the next run that ends there writes it", experiment)


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
        "metrics": {name: finished.value(name) for name in names},
    }


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
