"""The training history as figures: loss, accuracy, learning rate and per-class recall over epochs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mammo_core.report.panels import Band, Event, Panel, Series, class_series, drawn, line_panel, value_range
from mammo_core.report.spec import Chart, Spec
from mammo_core.report.theme import NEUTRAL, TRAINING, VALIDATION, class_colours
from mammo_core.runs.history import RECALL_PREFIX

LOSS = (
    Series("train_loss", "training", TRAINING),
    Series("val_loss", "validation", VALIDATION, (4, 2), "square"),
)
COMPARABLE_LOSS = Series("train_loss_eval", "training (evaluated)", TRAINING, (2, 2), "diamond")
"""Training films judged like validation films: the curve that may be compared with the validation loss."""
ACCURACY = (
    Series("train_acc", "training", TRAINING),
    Series("val_acc", "validation", VALIDATION, (4, 2), "square"),
)
LEARNING_RATE = (Series("lr", "learning rate", NEUTRAL),)

RECALL, RATE = "Recall by class", "Learning rate"
FIFTHS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)

ZOOM = "zoom"
"""Name of the selection that keeps a reader's zoom while the chart is redrawn."""


@dataclass(frozen=True, kw_only=True)
class HistoryView:
    """What to show around the curves of one run."""

    title: str = ""
    epochs_planned: int | None = None
    """End of the epoch axis; the epochs there are where ``None``."""
    best_epoch: int | None = None
    class_names: tuple[str, ...] = ()
    """Classes of the recall panel, in label order; no panel without them."""
    width: int = 640
    """Of the plot, without the y axis (46) and the names at the right."""
    bands: tuple[Band, ...] = ()
    events: tuple[Event, ...] = ()
    comparable_loss: bool = True
    """Whether to draw ``train_loss_eval`` too."""
    live: bool = False
    """Whether the reader can zoom along the epochs; give ``st.altair_chart`` a ``key`` and ``on_select="rerun"``."""


def history_chart(frame: pd.DataFrame, view: HistoryView | None = None) -> Chart:
    """Loss over accuracy over learning rate over per-class recall, aligned on one epoch axis.

    Parameters
    ----------
    frame : DataFrame
        As ``history_frame`` gives it.
    """
    view = view or HistoryView()
    loss = (*LOSS, COMPARABLE_LOSS) if view.comparable_loss else LOSS
    recall = _recall_series(view.class_names)
    wanted: list[tuple[Sequence[Series], str, int]] = [(loss, "Loss (nats)", 190), (ACCURACY, "Accuracy", 150)]
    wanted.append((LEARNING_RATE, RATE, 70))
    if drawn(recall, frame):
        wanted.append((recall, RECALL, 150))
    return _stack(frame, wanted, view, history_finding(frame, view))


def train_figure(frame: pd.DataFrame, view: HistoryView | None = None) -> Chart:
    """The standard figure of a run: losses above, accuracies below; training blue, validation orange."""
    view = view or HistoryView(width=420)
    panels: list[tuple[Sequence[Series], str, int]] = [(LOSS, "Loss (nats)", 150), (ACCURACY, "Accuracy", 150)]
    return _stack(frame, panels, view, history_finding(frame, view))


def loss_chart(frame: pd.DataFrame, view: HistoryView | None = None) -> Chart:
    """Training and validation loss: ``loss_curve.png``."""
    view = view or HistoryView(width=420, best_epoch=lowest_epoch(frame, "val_loss"))
    return _stack(frame, [(LOSS, "Loss (nats)", 240)], view, history_finding(frame, view))


def recall_chart(frame: pd.DataFrame, class_names: Sequence[str], view: HistoryView | None = None) -> Chart:
    """Recall of each class on the validation films: ``recall_curve.png``."""
    view = view or HistoryView(width=420, best_epoch=lowest_epoch(frame, "val_loss"))
    return _stack(frame, [(_recall_series(class_names), RECALL, 240)], view, recall_finding(frame, class_names))


def _recall_series(class_names: Sequence[str]) -> list[Series]:
    return class_series({name: f"{RECALL_PREFIX}{name}" for name in class_names}, class_colours(class_names))


def _stack(
    frame: pd.DataFrame, wanted: Sequence[tuple[Sequence[Series], str, int]], view: HistoryView, description: str
) -> Chart:
    epochs = max(view.epochs_planned or 1, int(frame["epoch"].max()) if len(frame) else 1)
    best = () if view.best_epoch is None else (Event(view.best_epoch, f"best epoch {view.best_epoch}"),)
    resumed = (Event(epoch, "resumed", dotted=True) for epoch in _resumed_epochs(frame))
    events = tuple(sorted((*best, *resumed, *view.events), key=lambda event: event.epoch))
    charts, names = [], [f"panel_{index}" for index in range(len(wanted))]
    for index, (series, title, height) in enumerate(wanted):
        panel = Panel(
            name=names[index],
            title=title,
            epochs=epochs,
            width=view.width,
            height=height,
            domain=_domain(frame, series, title),
            axis_format=".2~e" if title == RATE else None,
            ticks=FIFTHS if title == RECALL else (),
            show_epochs=index == len(wanted) - 1,
            bands=view.bands,
            events=events,
            name_events=index == 0,
            clip=view.live,
        )
        charts.append(line_panel(frame, series, panel))
    spec: Spec = {"vconcat": charts, "spacing": 14, "bounds": "flush", "description": description}
    spec["resolve"] = {"scale": dict.fromkeys(("color", "shape", "strokeDash", "opacity"), "independent")}
    if view.title:
        spec["title"] = view.title
    if view.live:
        # one selection over all panels, so that they zoom together
        spec["params"] = [{"name": ZOOM, "select": {"type": "interval", "encodings": ["x"]}, "bind": "scales", "views": names}]
    return Chart(spec)


def _resumed_epochs(frame: pd.DataFrame) -> list[int]:
    if "resumed" not in frame.columns:
        return []
    return [int(epoch) for epoch, resumed in zip(frame["epoch"], frame["resumed"], strict=True) if resumed == True]  # noqa: E712


def _domain(frame: pd.DataFrame, series: Sequence[Series], title: str) -> tuple[float, float]:
    columns = [one.column for one in drawn(series, frame)]
    low, high = value_range(frame[columns].to_numpy(dtype=np.float64).ravel(), 0.0 if title == RATE else 0.1)
    if title == RECALL:
        return -0.03, 1.03  # all of the range: a class at 0 must be seen as such
    return (low, min(high, 1.03)) if title == "Accuracy" else (min(low, 0.0) if title == RATE else low, high)


# ---- what the figure says, in words ---------------------------------------------------------------------------------------


def lowest_epoch(frame: pd.DataFrame, column: str) -> int | None:
    """The first epoch with the smallest value of a column."""
    if column not in frame.columns or not frame[column].notna().any():
        return None
    return int(frame["epoch"].to_numpy()[int(np.nanargmin(frame[column].to_numpy(dtype=np.float64)))])


def history_finding(frame: pd.DataFrame, view: HistoryView) -> str:
    """One or two sentences with the numbers a reader would take from the curves; the figure's alternative text."""
    if frame.empty:
        return "No epoch has ended yet."
    planned = f" of {view.epochs_planned} planned" if view.epochs_planned else ""
    sentences = [f"{len(frame)} epochs{planned}."]
    if frame["train_loss"].notna().any():
        values = frame["train_loss"].dropna()
        sentences.append(f"Training loss went from {values.iloc[0]:.3f} to {values.iloc[-1]:.3f}.")
    best = lowest_epoch(frame, "val_loss")
    if best is not None:
        row = frame.loc[frame["epoch"] == best].iloc[0]
        accuracy = f", with accuracy {row['val_acc']:.3f}" if pd.notna(row["val_acc"]) else ""
        sentences.append(f"Validation loss was lowest, {row['val_loss']:.3f}, at epoch {best}{accuracy}.")
        sentences.append(f"It ended at {frame['val_loss'].dropna().iloc[-1]:.3f}.")
    return " ".join(sentences)


def recall_finding(frame: pd.DataFrame, class_names: Sequence[str]) -> str:
    columns = {name: f"{RECALL_PREFIX}{name}" for name in class_names}
    ends = {name: frame[c].dropna().iloc[-1] for name, c in columns.items() if c in frame.columns and frame[c].notna().any()}
    if not ends:
        return "No recall was recorded."
    listed = ", ".join(f"{name} {value:.3f}" for name, value in ends.items())
    return f"Recall on the validation films after the last epoch: {listed}."
