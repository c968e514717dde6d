"""Several runs in one figure: a colour a run, validation solid, training dashed, names at the lines' ends."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from mammo_core.report.charts_history import live_selections, loss_range, lowest_epoch
from mammo_core.report.hover import HOVER, crosshair, hover_layer, told_values
from mammo_core.report.panels import (
    Panel,
    Series,
    drawn,
    end_names,
    foot_names,
    line_values,
    names_on_top,
    room_on_top,
    single_line,
    value_range,
)
from mammo_core.report.smoothing import smoothed
from mammo_core.report.spec import Chart, Spec, layered, number, records, tooltip
from mammo_core.report.theme import NEUTRAL, run_colours
from mammo_core.report.x_axis import (
    AxisKind,
    XAxis,
    epoch_seconds,
    history_axis,
    place_word,
    shown_epochs,
    total_seconds,
    why_no_time,
)

Frames = Mapping[str, pd.DataFrame]

MOST_RUNS = 8
"""As many runs as there are colours that can be told apart."""
LONGEST_NAME = 22
TRAINING_DASH = (4, 3)
NARROW_SHAPE = 1.1
"""Height of a narrow plot over its width."""
UNSMOOTHED = frozenset({"rate", "time"})


@dataclass(frozen=True)
class RunMetric:
    """What is compared: its word on a button, its axis, and its columns."""

    word: str
    title: str
    validation: str
    training: str = ""


RUN_METRICS: dict[str, RunMetric] = {
    "loss": RunMetric("Loss", "Loss", "val_loss", "train_loss"),
    "accuracy": RunMetric("Accuracy", "Accuracy", "val_acc", "train_acc"),
    "auc": RunMetric("Macro-AUC", "Validation macro-AUC", "val_auc_ovr"),
    "kappa": RunMetric("Kappa", "Validation kappa (quadratic)", "val_kappa_quadratic"),
    "f1": RunMetric("Macro-F1", "Validation macro-F1", "val_macro_f1"),
    "balanced": RunMetric("Balanced accuracy", "Validation balanced accuracy", "val_balanced_acc"),
    "score": RunMetric("Score", "Score", "val_score", "train_score"),
    "rate": RunMetric("Learning rate", "Learning rate", "lr"),
    "time": RunMetric("Time per epoch", "Seconds per epoch", "epoch_seconds"),
}
"""The metrics that runs can be drawn by, in the order of their buttons."""


@dataclass(frozen=True, kw_only=True)
class RunsView:
    """How the runs are drawn."""

    metric: str = "loss"
    planned: Mapping[str, int] | None = None
    """Planned epochs of each run; the longest is the end of the axis."""
    axis: AxisKind = "epoch"
    log_loss: bool = False
    smoothing: float = 0.0
    width: int = 560
    height: int = 320
    live: bool = False


def metrics_of(frames: Frames) -> list[str]:
    """The metrics of which at least one run has a value."""
    tables = [frame.assign(epoch_seconds=epoch_seconds(frame)) for frame in frames.values()]
    return [
        name
        for name, metric in RUN_METRICS.items()
        if any(drawn([Series(c, "", "") for c in (metric.validation, metric.training) if c], table) for table in tables)
    ]


def runs_without_time(frames: Frames) -> list[str]:
    """The runs for which elapsed time is not known in every epoch."""
    return [run_id for run_id, frame in frames.items() if why_no_time(frame) is not None]


def runs_chart(frames: Frames, view: RunsView) -> Chart:
    """One metric of up to 8 runs. ``frames`` maps run id to its history table.

    A diamond marks the epoch with the lowest validation loss of each run. Over elapsed time only where all runs have it.
    """
    metric = RUN_METRICS[view.metric]
    frames = {run_id: frames[run_id] for run_id in list(frames)[:MOST_RUNS] if len(frames[run_id])}
    tables, axis = _tables(frames, view)
    frames = _by_rows(frames) if why_rows(frames) and axis.field == "epoch" else frames
    names, colours = short_names(list(tables)), run_colours(list(tables))
    solid = {run: Series(metric.validation, names[run], colours[run], shape="") for run in tables}
    dashed = {run: Series(metric.training, names[run], colours[run], TRAINING_DASH, "") for run in tables if metric.training}
    ends, last, kinds = _names(tables, solid, dashed, view)
    panel = _panel(tables, axis, view)
    if panel.is_narrow:
        top = room_on_top([one.name for one, _ in [*ends, *kinds]], view.width)
        panel = replace(panel, top=top, height=round(view.width * NARROW_SHAPE + top))
    parts: list[Spec] = []
    for run, table in tables.items():
        for one in (dashed.get(run), solid[run]):
            if one is not None and drawn([one], table):
                parts += _curve(one, table, panel)
        parts += _best(solid[run], frames[run], table, panel)
    parts = parts or [single_line(Series("value", "", NEUTRAL), [], panel, "series")]
    parts[0]["name"] = panel.name
    if panel.is_narrow:
        parts += names_on_top([*ends, *kinds], view.width)
    else:
        parts += end_names([one for one, _ in ends], last, panel, len(kinds)) + foot_names(kinds, panel)
    joined, entries = _joined(tables, names, metric, axis)
    told = told_values(entries, joined, panel)
    if axis.field == "epoch":
        parts += [crosshair(told, panel), hover_layer(told, panel)] if view.live else [hover_layer(told, panel)]
    else:
        parts.append(_dots_to_touch(tables, names, metric, panel))
    spec = layered(parts, view.width, panel.height, description=runs_finding(frames, view))
    figure: Spec = {"vconcat": [spec], "bounds": "flush", "description": spec["description"]}
    if view.live:
        zoom, cross = live_selections([panel.name], axis.field)
        figure["params"] = [zoom, cross] if axis.field == "epoch" else [zoom]
    return Chart(figure)


def short_names(run_ids: Sequence[str]) -> dict[str, str]:
    """Run ids without the experiment that all of them share, cut in the middle where they are long."""
    shared = {run_id.partition("/")[0] for run_id in run_ids}
    texts = [run_id.partition("/")[2] if len(shared) == 1 else run_id for run_id in run_ids]
    stem = os.path.commonprefix(texts)
    stem = stem[: max(stem.rfind("_"), stem.rfind("/")) + 1] if len(texts) > 1 else ""
    return {
        run_id: _cut(text if len(text) <= LONGEST_NAME else text.removeprefix(stem) or text)
        for run_id, text in zip(run_ids, texts, strict=True)
    }


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_NAME else f"{text[: LONGEST_NAME // 2]}…{text[-LONGEST_NAME // 2 + 1 :]}"


def _tables(frames: Frames, view: RunsView) -> tuple[dict[str, pd.DataFrame], XAxis]:
    planned = view.planned or {}
    kind: AxisKind = "epoch" if view.axis == "epoch" or runs_without_time(frames) else "time"
    by_rows = kind == "epoch" and bool(why_rows(frames))
    frames = _by_rows(frames) if by_rows else frames
    longest = max((total_seconds(f, planned.get(r)) for r, f in frames.items()), default=0.0) if kind == "time" else 0.0
    tables, axes = {}, []
    for run, frame in frames.items():
        told = frame.assign(epoch_seconds=epoch_seconds(frame))
        tables[run], axis = history_axis(told, kind, planned.get(run), longest)
        axes.append(axis)
    if not axes:
        return tables, XAxis(0.5, 1.5)
    is_whole = all(axis.is_whole for axis in axes)
    low, high = min(axis.low for axis in axes), max(axis.high for axis in axes)
    title = ROWS_TITLE if by_rows else axes[0].title
    return tables, XAxis(low, high, title, axes[0].field, is_whole)


ROWS_TITLE = "Row of the history, from 1"


def why_rows(frames: Frames) -> str:
    """Why runs can only be drawn together over rows: their files count epochs from different numbers; empty where they do not."""
    counted: dict[str, list[str]] = {}
    for run_id, frame in frames.items():
        if len(frame):
            counted.setdefault(_counting(frame), []).append(run_id)
    if len(counted) < 2:
        return ""
    said = "; ".join(f"{', '.join(run_ids)} {how}" for how, run_ids in counted.items())
    return f"Drawn over rows, counted from 1, since the histories number their epochs differently: {said}."


def _counting(frame: pd.DataFrame) -> str:
    """From where a history counts its epochs, in words; a file that was cut off at its beginning counts as its others do."""
    if place_word(frame) == "row":
        return "restarts its numbers"
    return "counts from 0" if shown_epochs(frame)[0] == 0 else "counts from 1"


def _by_rows(frames: Frames) -> dict[str, pd.DataFrame]:
    return {run_id: frame.drop(columns="source_epoch", errors="ignore") for run_id, frame in frames.items()}


def _panel(tables: Frames, axis: XAxis, view: RunsView) -> Panel:
    metric = RUN_METRICS[view.metric]
    columns = [column for column in (metric.validation, metric.training) if column]
    values = np.concatenate(
        [table[c].to_numpy(dtype=np.float64) for table in tables.values() for c in columns if c in table.columns] or [np.empty(0)]
    )
    domain, is_log = loss_range(values, view.log_loss and view.metric == "loss")
    if view.metric in UNSMOOTHED:
        domain = value_range([0.0, *values[np.isfinite(values)]])
    return Panel(
        name="panel_0",
        title=metric.title,
        epochs=max(1, round(axis.high - axis.low)) if axis.is_whole else max(1, len(values)),
        width=view.width,
        height=view.height,
        domain=domain,
        axis=axis,
        axis_format=".2~e" if view.metric == "rate" else None,
        clip=view.live,
        log=is_log,
        smoothing=view.smoothing if view.metric not in UNSMOOTHED else 0.0,
    )


def _curve(one: Series, table: pd.DataFrame, panel: Panel) -> list[Spec]:
    raw = line_values(table, one.column, panel)
    means = smoothed([np.nan if y is None else y for _, y in raw], panel.smoothing) if panel.smoothing else []
    if not np.isfinite(means).any():
        return [single_line(one, raw, panel, "series")]
    mean = [(x, m) for (x, _), m in zip(raw, means, strict=True)]
    return [single_line(one, raw, panel, "member"), single_line(one, mean, panel, "mean")]


def _best(one: Series, frame: pd.DataFrame, table: pd.DataFrame, panel: Panel) -> list[Spec]:
    best = lowest_epoch(frame, "val_loss")
    if best is None or not drawn([one], table):
        return []
    shown = shown_epochs(frame)[np.flatnonzero(frame["epoch"].to_numpy() == best)[0]]
    row = table.loc[table["epoch"] == shown].iloc[0]
    data = records([{panel.x_axis.field: row[panel.x_axis.field], "value": row[one.column]}])
    mark = {"type": "point", "style": "dot", "shape": "diamond", "color": one.colour, "clip": panel.clip}
    return [{"data": data, "mark": mark, "encoding": {"x": panel.x, "y": panel.y}}]


Named = list[tuple[Series, str]]
"""Lines that are named, each with the style of its line."""


def _names(
    tables: Frames, solid: Mapping[str, Series], dashed: Mapping[str, Series], view: RunsView
) -> tuple[Named, pd.DataFrame, Named]:
    """The runs with their last values, and what solid, dashed and the diamond mean."""
    kinds: Named = []
    if any(drawn([one], tables[run]) for run, one in dashed.items()):
        kinds = [
            (Series("", "validation", NEUTRAL, shape=""), "series"),
            (Series("", "training", NEUTRAL, TRAINING_DASH, ""), "series"),
        ]
    kinds.append((Series("", "lowest validation loss", NEUTRAL, (0, 99), "diamond"), "series"))
    if view.smoothing and view.metric not in UNSMOOTHED:
        kinds.append((Series("", f"smoothed ({view.smoothing:g})", NEUTRAL, shape=""), "mean"))
    ends: Named = []
    last = {}
    for run in tables:
        one = next((s for s in (solid[run], dashed.get(run)) if s is not None and drawn([s], tables[run])), None)
        if one is not None:
            ends.append((Series(run, one.name, one.colour, shape=""), "series"))
            last[run] = [float(tables[run][one.column].dropna().iloc[-1])]
    return ends, pd.DataFrame(last), kinds


def _joined(
    tables: Frames, names: Mapping[str, str], metric: RunMetric, axis: XAxis
) -> tuple[pd.DataFrame, list[tuple[str, str]]]:
    """One row an epoch with the values of every run at it, for the tooltips."""
    parts, entries = [], []
    for index, (run, table) in enumerate(tables.items()):
        for column, word in ((metric.validation, ""), (metric.training, ", training")):
            if column and column in table.columns and table[column].notna().any():
                found = table.dropna(subset=["epoch"]).drop_duplicates(axis.field).set_index(axis.field)[column]
                parts.append(found.rename(f"{index}{column}"))
                entries.append((f"{index}{column}", f"{names[run]}{word}"))
    if not parts:
        return pd.DataFrame({"epoch": [], axis.field: []}), []
    joined = pd.concat(parts, axis=1).sort_index()
    return joined.rename_axis(axis.field).reset_index().assign(**({} if axis.field == "epoch" else {"epoch": np.nan})), entries


def _dots_to_touch(tables: Frames, names: Mapping[str, str], metric: RunMetric, panel: Panel) -> Spec:
    """Runs have no moments in common, so over time each point tells of itself."""
    rows = [
        {"run": names[run], "epoch": epoch, "time": time, "value": value}
        for run, table in tables.items()
        if metric.validation in table.columns
        for epoch, time, value in zip(table["epoch"], table["time"], table[metric.validation], strict=True)
    ]
    lines = tooltip(
        ("run", "Run", ""), ("epoch", "Epoch", ".6~g"), ("time", panel.x_axis.title, ".4~g"), ("value", metric.title, ".4~g")
    )
    mark = {"type": "point", "opacity": 0, "size": 60, "clip": True}
    encoding = {"x": number("time", scale=panel.x_scale), "y": panel.y, "tooltip": lines}
    return {"name": f"{HOVER}_{panel.name}", "data": records(rows), "mark": mark, "encoding": encoding}


def runs_finding(frames: Frames, view: RunsView) -> str:
    """Where each run is at its last epoch and, for the loss, where it was lowest; the figure's alternative text."""
    metric = RUN_METRICS[view.metric]
    found = []
    for run, frame in frames.items():
        table = frame.assign(epoch_seconds=epoch_seconds(frame))
        if metric.validation not in table.columns or not table[metric.validation].notna().any():
            found.append(f"{run} has no values")
            continue
        values = table[metric.validation].dropna()
        best = f", lowest {values.min():.3f}" if view.metric == "loss" else ""
        found.append(f"{run} {values.iloc[-1]:.4g} after {len(table)} epochs{best}")
    return f"{metric.title} of {len(frames)} runs: {'; '.join(found)}."
