"""The figures of a report pack: each with its caption, its source and the numbers behind it, drawn only when asked for."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mammo_core.analysis.calibration import Reliability
from mammo_core.analysis.thresholds import RankingCurve, ranking_of
from mammo_core.errors import MammoError
from mammo_core.report.captions import (
    calibration_caption,
    comparison_caption,
    confusion_caption,
    curves_caption,
    dots_caption,
    roc_caption,
    source_note,
    train_caption,
)
from mammo_core.report.charts_calibration import ReliabilityView, reliability_chart
from mammo_core.report.charts_compare import CurveView, group_curves, seed_curves
from mammo_core.report.charts_evaluation import confusion_chart
from mammo_core.report.charts_history import HistoryView, history_chart, lowest_epoch, train_figure
from mammo_core.report.charts_ranking import RankingView, roc_chart
from mammo_core.report.charts_seeds import seed_dots
from mammo_core.report.run_facts import PARTS, RunFacts
from mammo_core.report.spec import Chart
from mammo_core.runs.history import history_frame
from mammo_core.runs.run_dir import RunDir
from mammo_core.runs.schema import HEADLINE_METRICS

CURVES = {"val_loss": "Validation loss", "val_acc": "Validation accuracy"}
LONGEST_NAME, LONGEST_END = 24, 12
"""Letters of an experiment's name in a figure of one column: above the plot, and at the end of a line."""


@dataclass(frozen=True)
class Figure:
    """A figure that can be drawn for any width of its plot."""

    build: Callable[[int], Chart]
    caption: str
    note: str
    """Runs, code version and notice, kept inside the file."""
    data: pd.DataFrame
    """The numbers behind it, without ids of films or patients."""


# ---- of one run -----------------------------------------------------------------------------------------------------------


def train_figure_of(facts: RunFacts) -> Figure:
    """Losses above, accuracies below."""
    run, frame = facts.run, history_frame(facts.run.history())
    if frame.empty:
        raise MammoError(f"{run.id} has no finished epoch yet, so there is no training figure.")
    view = HistoryView(best_epoch=lowest_epoch(frame, "val_loss"), epochs_planned=facts.planned_epochs)
    wanted = ["epoch", "train_loss", "train_acc", "val_loss", "val_acc", "lr"]
    if facts.is_imported:
        score = str(facts.import_record.get("score_name") or "")
        view = dataclasses.replace(view, panels=("loss", "accuracy"), score_name=score, loss_unit="", comparable_loss=False)
        wanted[1:1] = ["source_epoch"]
        wanted += ["train_score", "val_score"]
    columns = [name for name in wanted if name in frame.columns and frame[name].notna().any()]

    def build(width: int) -> Chart:
        # of another tool's history only the panels that it has are drawn
        draw = history_chart if facts.is_imported else train_figure
        return draw(frame, dataclasses.replace(view, width=width))

    return Figure(build, train_caption(facts, frame), source_note(facts), frame[columns])


def confusion_figure(facts: RunFacts, on: str) -> Figure:
    metrics = facts.metrics(on)
    if metrics is None:
        raise MammoError(f"{facts.run.id} has no {PARTS[on]} metrics, so there is no confusion matrix.")
    counts, names = metrics.confusion_matrix, metrics.class_names
    data = pd.DataFrame(counts, columns=[f"called {name}" for name in names])
    data.insert(0, "true class", names)

    def build(width: int) -> Chart:
        return confusion_chart(counts, names, width)

    return Figure(build, confusion_caption(facts.run, metrics, PARTS[on]), source_note(facts), data)


def roc_figure(facts: RunFacts, on: str) -> Figure:
    """The question that matters most and each class against the rest."""
    table, config = _predictions(facts, on), facts.config
    curves = [
        dataclasses.replace(curve, auc=facts.recorded_auc(on, curve.question, curve.auc))
        for index, curve in enumerate(ranking_of(table, config.class_names, config.ordinal))
        if index == 0 or len(curve.question.positive) == 1 == len(config.class_names) - len(curve.question.negative)
    ]

    def build(width: int) -> Chart:
        return roc_chart(curves, RankingView(width=width))

    return Figure(build, roc_caption(facts, on, curves), source_note(facts), _roc_data(curves))


def _roc_data(curves: Sequence[RankingCurve]) -> pd.DataFrame:
    columns = ("question", "threshold", "false_positive_rate", "sensitivity")
    parts = [
        pd.DataFrame(
            {
                "question": curve.title,
                "threshold": np.where(np.isfinite(curve.thresholds), curve.thresholds, np.nan),
                "false_positive_rate": curve.false_positive_rate,
                "sensitivity": curve.true_positive_rate,
            }
        )
        for curve in curves
        if not curve.undefined
    ]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def calibration_figure(facts: RunFacts, on: str) -> Figure:
    """Reliability of the called class; on test films also after the temperature that the validation films gave."""
    _predictions(facts, on)
    curve = facts.calibration[on].called
    after = facts.scaled_calibration.called if on == "test" and facts.scaled_calibration else None

    def build(width: int) -> Chart:
        return reliability_chart(curve, ReliabilityView(width=width, after=after))

    data = pd.concat([_bins(curve, "as it is"), *([_bins(after, "after temperature scaling")] if after else [])])
    return Figure(build, calibration_caption(facts, on, curve, after), source_note(facts), data)


def _bins(curve: Reliability, name: str) -> pd.DataFrame:
    return pd.DataFrame([{"probabilities": name} | vars(found) for found in curve.bins])


def _predictions(facts: RunFacts, on: str) -> pd.DataFrame:
    if on not in facts.predictions:
        raise MammoError(f"{facts.run.id} has no {PARTS[on]} predictions; evaluate the run to get its curves.")
    return facts.predictions[on]


# ---- of several runs ------------------------------------------------------------------------------------------------------


def seeds_curves_figure(runs: Sequence[RunDir], column: str) -> Figure:
    """Every run of an experiment thin, their mean bold with an SD band."""
    frames, view = {run.id: history_frame(run.history()) for run in runs}, _view(runs, column)

    def build(width: int) -> Chart:
        return seed_curves(frames, column, CurveView(width=width, height=150, **view))  # type: ignore[arg-type]

    data = _curve_data({"": frames}, column).drop(columns="group")
    return Figure(build, curves_caption(str(view["title"]), runs), _notes(runs), data)


def seeds_dots_figure(runs: Sequence[RunDir], values: Mapping[str, Sequence[float | None]]) -> Figure:
    """The headline metrics of every run of an experiment, with mean and SD."""
    shown = [metric for metric in HEADLINE_METRICS if metric in values]

    def build(width: int) -> Chart:
        return seed_dots({runs[0].experiment: values}, shown, width)

    data = pd.DataFrame({"run": [run.id for run in runs], **{metric: values[metric] for metric in shown}})
    return Figure(build, dots_caption(runs), _notes(runs), data)


def comparison_curves_figure(groups: Mapping[str, Sequence[RunDir]], column: str) -> Figure:
    """Mean curves of several experiments with their runs."""
    frames = {name: {run.id: history_frame(run.history()) for run in runs} for name, runs in groups.items()}
    every = [run for runs in groups.values() for run in runs]
    view, names = _view(every, column), short_names(list(groups), LONGEST_END)

    def build(width: int) -> Chart:
        shown = {names[name]: members for name, members in frames.items()}
        return group_curves(shown, column, CurveView(width=width, height=180, **view))  # type: ignore[arg-type]

    caption = f"{view['title']} of several experiments: each run thin, mean bold. {comparison_caption(groups)}{_told(names)}"
    return Figure(build, caption, _notes(every), _curve_data(frames, column))


def comparison_dots_figure(
    groups: Mapping[str, Sequence[RunDir]], values: Mapping[str, Mapping[str, list[float | None]]]
) -> Figure:
    """The headline metrics of several experiments side by side."""
    names = short_names(list(groups))
    shown = [metric for metric in HEADLINE_METRICS if any(metric in found for found in values.values())]

    def build(width: int) -> Chart:
        return seed_dots({names[name]: found for name, found in values.items()}, shown, width)

    parts = [
        pd.DataFrame(
            {
                "experiment": name,
                "run": [run.id for run in groups[name]],
                **{metric: found[metric] for metric in shown if metric in found},
            }
        )
        for name, found in values.items()
    ]
    caption = (
        "Validation metrics at each run's best epoch: every run a ring, mean a diamond, mean ± SD a line. "
        f"{comparison_caption(groups)}{_told(names)} Experiments on different films or splits are not comparable by eye."
    )
    every = [run for runs in groups.values() for run in runs]
    return Figure(build, caption, _notes(every), pd.concat(parts, ignore_index=True))


def _told(names: Mapping[str, str]) -> str:
    """Which short name stands for which experiment; nothing where none was cut."""
    cut = [f"{short} is {name}" for name, short in names.items() if short != name]
    return f" In the figure {', '.join(cut)}." if cut else ""


def short_names(names: Sequence[str], longest: int = LONGEST_NAME) -> dict[str, str]:
    """Name -> what a narrow figure calls it: long ones cut in the middle, and still told apart."""
    shown: dict[str, str] = {}
    for name in names:
        half = (longest - 1) // 2
        short = name if len(name) <= longest else f"{name[:half]}…{name[-half:]}"
        number = sum(other == short or other.startswith(f"{short} (") for other in shown.values())
        shown[name] = f"{short} ({number + 1})" if number else short
    return shown


def _view(runs: Sequence[RunDir], column: str) -> dict[str, object]:
    """Title and end of the axis; the loss of another tool may have any unit."""
    has_unit = column == "val_loss" and not any(RunFacts(run).is_imported for run in runs)
    title = f"{CURVES[column]} (nats)" if has_unit else CURVES[column]
    return {"title": title, "epochs_planned": max(run.config().epochs for run in runs)}


def _curve_data(groups: Mapping[str, Mapping[str, pd.DataFrame]], column: str) -> pd.DataFrame:
    parts = [
        frame[["epoch", column]].assign(group=name, run=run)
        for name, frames in groups.items()
        for run, frame in frames.items()
        if column in frame.columns
    ]
    if not parts:
        raise MammoError(f"None of the runs has recorded {CURVES[column].lower()}, so there is no figure of it.")
    return pd.concat(parts, ignore_index=True)[["group", "run", "epoch", column]]


def _notes(runs: Sequence[RunDir]) -> str:
    return "; ".join(source_note(RunFacts(run)) for run in runs)
