"""What a run leaves when it ends: its summary and its two standard figures, made from the files beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mammo_core.config import TrainConfig
from mammo_core.report.charts import loss_chart, recall_chart
from mammo_core.report.figures import export
from mammo_core.runs.history import best_epoch, history_frame
from mammo_core.runs.run_dir import RunDir
from mammo_core.runs.schema import EpochRecord, Summary
from mammo_core.storage import write_atomic, write_json
from mammo_core.workflows.diagnose import diagnose_run
from mammo_core.workflows.environment import git_state


def write_summary(
    run: RunDir,
    config: TrainConfig,
    history: Sequence[EpochRecord],
    counts: Mapping[str, Mapping[str, int]],
    outcome: Mapping[str, Any],
) -> Summary:
    """Write ``summary.json`` of a run that ends: settings, counts, all validation metrics at the best epoch, and the verdict.

    ``outcome`` holds ``stop_reason`` and whatever else is to be kept.
    """
    diagnosis = diagnose_run(run, ended=True)
    best = best_epoch(history)
    metrics = run.metrics("val")
    summary = Summary(
        experiment=run.experiment,
        run=run.name,
        seed=config.seed,
        fold=config.fold,
        git_commit=git_state()["git_commit"],
        hyperparameters=config.to_dict(),
        counts={part: dict(by_class) for part, by_class in counts.items()},
        best_epoch=best.epoch if best else 0,
        epochs_run=len(history),
        metrics=metrics.metrics if metrics else {},
        val_loss=best.val_loss if best else None,
        seconds=sum(record.seconds or 0.0 for record in history),
        verdict=diagnosis.verdict,
        diagnosis=diagnosis.to_json(),
        **outcome,
    )
    write_json(run.summary_file, summary.to_json())
    return summary


def write_figures(run: RunDir, config: TrainConfig, history: Sequence[EpochRecord]) -> None:
    """Write ``loss_curve.png`` and ``recall_curve.png``."""
    frame = history_frame(history)
    for path, chart in ((run.loss_curve, loss_chart(frame)), (run.recall_curve, recall_chart(frame, config.class_names))):
        picture = export(chart, "png")
        write_atomic(path, lambda file, picture=picture: file.write(picture))  # type: ignore[misc]
