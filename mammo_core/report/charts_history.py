"""The training history as figures: loss, accuracy, learning rate, per-class recall and time over epochs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd

from mammo_core.report.event_names import Band, Event, joined_events
from mammo_core.report.history_events import broken_events, resume_events
from mammo_core.report.hover import CROSSHAIR, HOVER, Told, crosshair, told_values
from mammo_core.report.line_names import LABEL_GAP, flowing_places
from mammo_core.report.panels import ROW_HEIGHT, Panel, Series, class_series, drawn, line_panel, room_on_top, value_range
from mammo_core.report.spec import Chart, Spec, at, category, records
from mammo_core.report.theme import NEUTRAL, TRAINING, VALIDATION, class_colours
from mammo_core.report.x_axis import IS_BREAK, AxisKind, Floats, XAxis, epoch_seconds, history_axis, place_word, shown_epochs
from mammo_core.runs.history import RECALL_PREFIX, place_words

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
SCORE = (
    Series("train_score", "training", TRAINING),
    Series("val_score", "validation", VALIDATION, (4, 2), "square"),
)
"""What stands in the accuracy's place in histories of other tools that record another measure of quality."""
LEARNING_RATE = (Series("lr", "learning rate", NEUTRAL),)
EPOCH_TIME = (Series("epoch_seconds", "time per epoch", NEUTRAL),)

PanelName = Literal["loss", "accuracy", "rate", "recall", "time"]
PANELS: dict[PanelName, str] = {
    "loss": "Loss",
    "accuracy": "Accuracy",
    "rate": "Learning rate",
    "recall": "Recall by class",
    "time": "Time per epoch",
}
"""The panels of the history figure from top to bottom, in words."""

LOSS_TITLE, ACCURACY_TITLE, RATE, RECALL, TIME = "Loss (nats)", "Accuracy", "Learning rate", "Recall by class", "Seconds"
MOST_CLASSES = 8
"""Of more classes the names would not fit beside the panel."""
FIFTHS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)

PAGE_HEIGHT = 560
"""Points: a little less than 200 mm, so that a figure and its caption fit on a page."""
LEAST_HEIGHT = 28
"""Of the curves of a panel, however many panels there are."""
SPACING, TIGHT = 14, 10
"""Between panels, pixels; tight where the height is limited."""
AXIS_DEPTH, TITLE_HEIGHT = 42, 24
"""What numbers and title of the epoch axis, and the title of the figure, take at most."""

ZOOM = "zoom"
"""Name of the selection that keeps a reader's zoom while the chart is redrawn."""


@dataclass(frozen=True, kw_only=True)
class HistoryView:
    """What to show around the curves of one run. Bands, events and the best epoch are given by the frame's ``epoch``."""

    title: str = ""
    epochs_planned: int | None = None
    """End of the epoch axis; the epochs there are where ``None``."""
    best_epoch: int | None = None
    class_names: tuple[str, ...] = ()
    """Classes of the recall panel, in label order; no panel without them."""
    score_name: str = ""
    """What ``train_score`` and ``val_score`` measure, in a history without accuracy."""
    width: int = 640
    """Of the plot, without the y axis (46) and the names at the right."""
    bands: tuple[Band, ...] = ()
    events: tuple[Event, ...] = ()
    comparable_loss: bool = True
    """Whether to draw ``train_loss_eval`` too."""
    axis: AxisKind = "epoch"
    """``time`` draws over elapsed time where every epoch has one."""
    log_loss: bool = False
    smoothing: float = 0.0
    """Weight of the past in a running mean over the raw lines; never in exported figures."""
    panels: tuple[PanelName, ...] = tuple(PANELS)
    loss_unit: str = "nats"
    """Empty where the loss of another tool may be of any kind."""
    most_height: int | None = None
    """Height that the whole figure may have; panels become lower to keep it. For a page of paper ``PAGE_HEIGHT``."""
    live: bool = False
    """Whether the reader can zoom along the epochs; give ``st.altair_chart`` a ``key`` and ``on_select="rerun"``."""


@dataclass(frozen=True)
class _Wanted:
    """One panel before it is laid out."""

    series: Sequence[Series]
    title: str
    height: int
    is_curve: bool = False
    """Whether it shows what was learnt, and not how: only such curves are smoothed."""


def history_chart(frame: pd.DataFrame, view: HistoryView | None = None) -> Chart:
    """Loss over accuracy over learning rate over per-class recall over time per epoch, aligned on one axis.

    Panels without any value are left out, but for the loss.

    Parameters
    ----------
    frame : DataFrame
        As ``history_frame`` gives it.
    """
    view = view or HistoryView()
    frame = frame.assign(epoch_seconds=epoch_seconds(frame))
    quality = ACCURACY if drawn(ACCURACY, frame) or not drawn(SCORE, frame) else SCORE
    panels: dict[PanelName, _Wanted] = {
        "loss": _Wanted((*LOSS, COMPARABLE_LOSS) if view.comparable_loss else LOSS, _loss_title(view), 190, True),
        "accuracy": _Wanted(quality, ACCURACY_TITLE if quality is ACCURACY else view.score_name or "Score", 150, True),
        "rate": _Wanted(LEARNING_RATE, RATE, 70),
        "recall": _Wanted(*_recalls(frame, view.class_names), 150, True),
        "time": _Wanted(EPOCH_TIME, TIME, 60),
    }
    chosen = [panels[name] for name in PANELS if name in view.panels and drawn(panels[name].series, frame)]
    return _stack(frame, chosen or [panels["loss"]], view, history_finding(frame, view))


def _loss_title(view: HistoryView) -> str:
    return f"Loss ({view.loss_unit})" if view.loss_unit else "Loss"


def train_figure(frame: pd.DataFrame, view: HistoryView | None = None) -> Chart:
    """The standard figure of a run: losses above, accuracies below; training blue, validation orange."""
    view = view or HistoryView(width=420)
    panels = [_Wanted(LOSS, _loss_title(view), 150, True), _Wanted(ACCURACY, ACCURACY_TITLE, 150, True)]
    return _stack(frame, panels, view, history_finding(frame, view))


def loss_chart(frame: pd.DataFrame, view: HistoryView | None = None) -> Chart:
    """Training and validation loss: ``loss_curve.png``."""
    view = view or HistoryView(width=420, best_epoch=lowest_epoch(frame, "val_loss"))
    return _stack(frame, [_Wanted(LOSS, _loss_title(view), 240, True)], view, history_finding(frame, view))


def recall_chart(frame: pd.DataFrame, class_names: Sequence[str], view: HistoryView | None = None) -> Chart:
    """Recall of each class on the validation films: ``recall_curve.png``."""
    view = view or HistoryView(width=420, best_epoch=lowest_epoch(frame, "val_loss"))
    wanted = _Wanted(_recall_series(class_names), RECALL, 240, True)
    return _stack(frame, [wanted], view, recall_finding(frame, class_names))


def _recalls(frame: pd.DataFrame, class_names: Sequence[str]) -> tuple[list[Series], str]:
    """The series and the title of the recall panel; of many classes those with the lowest recall at the end."""
    series = drawn(_recall_series(class_names), frame)
    if len(series) <= MOST_CLASSES:
        return series, RECALL
    ends = {one.column: float(frame[one.column].dropna().iloc[-1]) for one in series}
    lowest = sorted(ends, key=lambda column: ends[column])[:MOST_CLASSES]
    return [one for one in series if one.column in lowest], f"{RECALL} ({MOST_CLASSES} lowest of {len(series)})"


def _recall_series(class_names: Sequence[str]) -> list[Series]:
    return class_series({name: f"{RECALL_PREFIX}{name}" for name in class_names}, class_colours(class_names))


@dataclass(frozen=True)
class _Ground:
    """What all panels of a figure share, in units of its axis."""

    table: pd.DataFrame
    axis: XAxis
    bands: tuple[Band, ...]
    events: tuple[Event, ...]


def _stack(frame: pd.DataFrame, wanted: Sequence[_Wanted], view: HistoryView, description: str) -> Chart:
    ground = _ground(frame, view)
    wanted = _lowered(ground, wanted, view)
    panels = [_panel(ground, one, view, (index, len(wanted))) for index, one in enumerate(wanted)]
    told = _everything(panels[0], wanted, ground.table)
    charts = [line_panel(ground.table, one.series, panel, told) for one, panel in zip(wanted, panels, strict=True)]
    charts[-1]["layer"] += _key(panels[0].ground.key, panels[-1])
    spec: Spec = {"vconcat": charts, "spacing": SPACING, "bounds": "flush", "description": description}
    if view.most_height:
        spec["spacing"] = TIGHT
    spec["resolve"] = {"scale": dict.fromkeys(("color", "shape", "strokeDash", "opacity"), "independent")}
    if view.title:
        spec["title"] = view.title
    if view.live:
        for chart, panel in zip(charts, panels, strict=True):
            chart["layer"].insert(-1, crosshair(told, panel))
        spec["params"] = live_selections([panel.name for panel in panels], ground.axis.field)
    return Chart(spec)


KEY_LEFT = -30.0
"""The key begins under the numbers of the y axis."""


def _key_places(key: Sequence[str], width: float) -> list[tuple[float, int]]:
    return flowing_places(key, width - KEY_LEFT, 10)


def _key(key: Sequence[str], panel: Panel) -> list[Spec]:
    """What the numbers at the top stand for, below the epoch axis."""
    words = {"type": "text", "style": "note", "baseline": "middle", "align": "left", "clip": False}
    return [
        {
            "data": records([{"name": text}]),
            "mark": words,
            "encoding": {
                "x": at(KEY_LEFT + left),
                "y": at(panel.height + AXIS_DEPTH + LABEL_GAP * row),
                "text": category("name"),
            },
        }
        for text, (left, row) in zip(key, _key_places(key, panel.width), strict=True)
    ]


def _lowered(ground: _Ground, wanted: Sequence[_Wanted], view: HistoryView) -> Sequence[_Wanted]:
    """The panels with heights such that the figure keeps ``view.most_height``."""
    if not view.most_height:
        return wanted
    panels = [_panel(ground, one, view, (index, len(wanted))) for index, one in enumerate(wanted)]
    key = panels[0].ground.key
    around = AXIS_DEPTH + TIGHT * (len(wanted) - 1) + (TITLE_HEIGHT if view.title else 0) + 8
    around += LABEL_GAP * (max((row for _, row in _key_places(key, view.width)), default=-1) + 1)
    names = sum(panel.headroom for panel in panels)
    share = (view.most_height - around - names) / sum(panel.height - panel.headroom for panel in panels)
    if share >= 1:
        return wanted
    heights = [max(LEAST_HEIGHT, math.floor(share * (panel.height - panel.headroom))) for panel in panels]
    return [
        replace(one, height=round(height + min(panel.headroom - panel.top, 2 * ROW_HEIGHT)))
        for one, panel, height in zip(wanted, panels, heights, strict=True)
    ]


def live_selections(names: Sequence[str], field: str) -> list[Spec]:
    """One zoom over the line layers called ``names``, and one crosshair over their hover layers."""
    under_pointer = {"type": "point", "fields": [field], "on": "pointerover", "clear": "pointerout"}
    return [
        {"name": ZOOM, "select": {"type": "interval", "encodings": ["x"]}, "bind": "scales", "views": list(names)},
        {"name": CROSSHAIR, "select": under_pointer, "views": [f"{HOVER}_{name}" for name in names]},
    ]


def _ground(frame: pd.DataFrame, view: HistoryView) -> _Ground:
    """The frame with its x values; bands from edge to edge and events joined, both moved from epochs to those values."""
    table, axis = history_axis(frame, view.axis, view.epochs_planned)
    rows = table[table[IS_BREAK] == False] if IS_BREAK in table.columns else table  # noqa: E712
    place = _placing(frame["epoch"].to_numpy(dtype=np.float64), rows[axis.field].to_numpy(dtype=np.float64))
    best = () if view.best_epoch is None else (Event(view.best_epoch, f"best {_place_text(frame, view.best_epoch)}"),)
    events = joined_events((*best, *resume_events(frame), *broken_events(frame), *view.events))
    return _Ground(
        table,
        axis,
        tuple(Band(place(band.first - 0.5), place(band.last + 0.5), band.name) for band in view.bands),
        tuple(replace(event, epoch=place(event.epoch)) for event in events),
    )


def _placing(epochs: Floats, xs: Floats) -> Callable[[float], float]:
    """From an epoch, or a place between two, to the axis; beyond the ends with the step found there."""
    if not len(epochs) or np.array_equal(epochs, xs):
        return lambda epoch: epoch
    first, last = (xs[1] - xs[0], xs[-1] - xs[-2]) if len(xs) > 1 else (1.0, 1.0)
    keys = np.concatenate([[epochs[0] - 1], epochs, [epochs[-1] + 1]])
    places = np.concatenate([[xs[0] - first], xs, [xs[-1] + last]])
    return lambda epoch: float(np.interp(epoch, keys, places))


def _place_text(frame: pd.DataFrame, epoch: float) -> str:
    """``epoch 5``; of an imported file ``epoch 4 (row 5)`` where it numbers otherwise, ``row 81`` where they are no places."""
    if place_word(frame) == "row":
        return f"row {epoch:g}"
    places = np.flatnonzero(frame["epoch"].to_numpy() == epoch)
    return place_words(float(shown_epochs(frame)[places[0]]) if len(places) else epoch, int(epoch))


def _panel(ground: _Ground, wanted: _Wanted, view: HistoryView, place: tuple[int, int]) -> Panel:
    """``place`` is the panel's number from the top, and how many there are."""
    axis, title, index = ground.axis, wanted.title, place[0]
    domain, is_log = _domain(ground.table, wanted, view)
    panel = Panel(
        name=f"panel_{index}",
        title=title,
        epochs=max(1, round(axis.high - axis.low)) if axis.is_whole else max(1, len(ground.table)),
        width=view.width,
        height=wanted.height,
        domain=domain,
        axis=axis,
        axis_format=".2~e" if title == RATE or not 1e-3 <= max(map(abs, domain)) < 1e5 else None,
        ticks=FIFTHS if title.startswith(RECALL) else (),
        show_epochs=index == place[1] - 1,
        bands=ground.bands,
        events=ground.events,
        name_events=index == 0,
        clip=view.live,
        log=is_log,
        smoothing=view.smoothing if wanted.is_curve else 0.0,
        top=room_on_top([one.name for one in drawn(wanted.series, ground.table)], view.width),
    )
    # neither the lines' names nor more than two rows of others must press the curves together
    more = panel.top + max(0.0, panel.headroom - panel.top - 2 * ROW_HEIGHT)
    return replace(panel, height=round(wanted.height + more))


def _everything(panel: Panel, wanted: Sequence[_Wanted], table: pd.DataFrame) -> Told:
    """What every panel's tooltip lists: the values of all panels at that epoch."""
    entries = []
    for one in wanted:
        name = f"{one.title.partition(' (')[0]}, " if one.is_curve and len(wanted) > 1 else ""
        entries += [
            (series.column, f"{name}{series.name}" if one.is_curve else series.name.capitalize())
            for series in drawn(one.series, table)
        ]
    return told_values(entries, table, panel)


def _domain(frame: pd.DataFrame, wanted: _Wanted, view: HistoryView) -> tuple[tuple[float, float], bool]:
    """The y domain, and whether it is logarithmic."""
    columns = [one.column for one in drawn(wanted.series, frame)]
    values = frame[columns].to_numpy(dtype=np.float64).ravel()
    title = wanted.title
    if title == _loss_title(view):
        return loss_range(values, view.log_loss)
    if title in (RATE, TIME):
        return value_range([0.0, *values[np.isfinite(values)]]), False
    if title.startswith(RECALL):
        return (-0.03, 1.03), False  # all of the range: a class at 0 must be seen as such
    low, high = value_range(values, 0.1)
    return (low, min(high, 1.03) if title == ACCURACY_TITLE else high), False


def loss_range(values: Floats, log: bool) -> tuple[tuple[float, float], bool]:
    """The y domain of losses, and whether it is logarithmic: asked for, and at least one of them above 0."""
    if log and (values > 0).any():
        low, high = value_range(np.log(values[values > 0]), 0.1)
        return (math.exp(low), math.exp(high)), True
    return value_range(values, 0.1), False


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
        sentences.append(f"Validation loss was lowest, {row['val_loss']:.3f}, at {_place_text(frame, best)}{accuracy}.")
        sentences.append(f"It ended at {frame['val_loss'].dropna().iloc[-1]:.3f}.")
    return " ".join(sentences)


def recall_finding(frame: pd.DataFrame, class_names: Sequence[str]) -> str:
    columns = {name: f"{RECALL_PREFIX}{name}" for name in class_names}
    ends = {name: frame[c].dropna().iloc[-1] for name, c in columns.items() if c in frame.columns and frame[c].notna().any()}
    if not ends:
        return "No recall was recorded."
    listed = ", ".join(f"{name} {value:.3f}" for name, value in ends.items())
    return f"Recall on the validation films after the last epoch: {listed}."
