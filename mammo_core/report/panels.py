"""The one panel that every curve figure is made of: lines over epochs with markers, dashes and names at their right end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mammo_core.report.spec import Spec, at, by_series, category, layered, number, records, rows, tooltip
from mammo_core.report.theme import DASHES, NEUTRAL, SHAPES

LABEL_GAP = 13
"""Least distance between two names at the right end, pixels."""

SWATCH = 14
"""Length of the piece of line before a name, pixels."""

ROW_HEIGHT = 15
"""Height of a row of names of bands and events, pixels."""

HOVER = "hover"
"""Names of the invisible layers that carry tooltips start so; figures leave them out."""


@dataclass(frozen=True)
class Series:
    """One line: a column of the history, its name in the figure and how it is drawn."""

    column: str
    name: str
    colour: str
    dash: tuple[int, ...] = (1, 0)
    shape: str = "circle"
    """Of the markers; no marker where empty."""


@dataclass(frozen=True)
class Band:
    """A shaded stretch of epochs (a phase), both ends inclusive."""

    first: int
    last: int
    name: str


@dataclass(frozen=True)
class Event:
    """A vertical line at an epoch with a word beside it."""

    epoch: int
    name: str
    dotted: bool = False


@dataclass(frozen=True, kw_only=True)
class Panel:
    """How a panel is laid out."""

    name: str
    """Unique within the figure."""
    title: str
    epochs: int
    """The x axis runs from 1 to this, however many epochs there are yet."""
    width: int
    height: int
    domain: tuple[float, float]
    axis_format: str | None = None
    """A d3 format; Vega's own choice of digits where ``None``."""
    ticks: tuple[float, ...] = ()
    """Places of the y axis' numbers; Vega's own choice where empty."""
    show_epochs: bool = True
    """Whether this panel carries the epoch axis' numbers and title."""
    bands: tuple[Band, ...] = ()
    events: tuple[Event, ...] = ()
    name_events: bool = False
    """Whether bands and events are named here (in one panel of a figure), in rows above the highest value."""
    clip: bool = False
    """Whether marks end at the plot's edge; needed where the reader can zoom."""

    @property
    def event_rows(self) -> list[int]:
        """The row of each event's name, from the top, such that names do not overlap."""
        ends: list[float] = []
        found = []
        for event in self.events:
            left, right = self._extent(event)
            row = next((index for index, end in enumerate(ends) if end < left), len(ends))
            ends[row : row + 1] = [right]
            found.append(row + bool(self.bands))
        return found

    def _extent(self, event: Event) -> tuple[float, float]:
        place = self.width * (event.epoch - 0.5) / self.epochs
        length = 7.0 * len(event.name) + 8
        return (place - length, place) if self.is_late(event) else (place, place + length)

    def is_late(self, event: Event) -> bool:
        """Whether the event's name stands left of its line, since there is no room to the right."""
        return event.epoch > 0.65 * self.epochs

    @property
    def headroom(self) -> float:
        """Height that the rows of names take, pixels."""
        if not self.name_events:
            return 0.0
        return ROW_HEIGHT * (max(self.event_rows, default=-1 + bool(self.bands)) + 1)

    @property
    def y_domain(self) -> tuple[float, float]:
        """``domain`` with the headroom added at its upper end."""
        low, high = self.domain
        return low, low + (high - low) * self.height / max(1.0, self.height - self.headroom)

    @property
    def x_scale(self) -> Spec:
        """From half an epoch before the first to half an epoch after the last planned one, so that no marker is cut."""
        return {"domain": [0.5, self.epochs + 0.5], "nice": False, "zero": False}

    @property
    def x(self) -> Spec:
        axis = {
            "format": "d",
            "tickMinStep": 1,
            "tickCount": min(self.epochs, max(2, self.width // 36)),
            "labels": self.show_epochs,
            "grid": False,
        }
        return number("epoch", title="Epoch" if self.show_epochs else None, scale=self.x_scale, axis=axis)

    @property
    def y(self) -> Spec:
        # Vega thins out explicit values beyond the count
        axis: Spec = {"tickCount": len(self.ticks) or max(4, self.height // 40)}
        axis |= {"labelExpr": "datum.value === 0 ? '0' : datum.label"}
        axis |= {"format": self.axis_format} if self.axis_format else {}
        axis |= {"values": list(self.ticks)} if self.ticks else {}
        return number("value", title=self.title, scale={"domain": list(self.y_domain), "nice": False, "zero": False}, axis=axis)


def class_series(columns: Mapping[str, str], colours: Mapping[str, str]) -> list[Series]:
    """One series a class: ``columns`` maps class name to column."""
    return [
        Series(column, name, colours[name], DASHES[index % len(DASHES)], SHAPES[index % len(SHAPES)])
        for index, (name, column) in enumerate(columns.items())
    ]


def drawn(series: Sequence[Series], frame: pd.DataFrame) -> list[Series]:
    """The series that have at least one value."""
    return [one for one in series if one.column in frame.columns and frame[one.column].notna().any()]


def value_range(values: Sequence[float] | np.ndarray[Any, Any], least_span: float = 0.0) -> tuple[float, float]:
    """A y domain that holds all values with a little air; (0, 1) where there are none."""
    finite = np.asarray(values, dtype=np.float64)
    finite = finite[np.isfinite(finite)]
    if finite.size == 0:
        return 0.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    half = 0.56 * max(high - low, least_span, abs(high) * 1e-3, 1e-12)
    middle = (low + high) / 2
    return middle - half, middle + half


def line_panel(frame: pd.DataFrame, series: Sequence[Series], panel: Panel) -> Spec:
    """Lines with markers, their names at the right end, bands and events behind them.

    Parameters
    ----------
    frame : DataFrame
        As ``history_frame`` gives it: ``epoch`` and one column a series; NaN breaks a line.
    """
    shown = drawn(series, frame)
    names = [one.name for one in shown]
    values = records(
        {"epoch": epoch, "value": value, "series": one.name}
        for one in shown
        for epoch, value in zip(frame["epoch"].tolist(), frame[one.column].tolist(), strict=True)
    )
    place = {"x": panel.x, "y": panel.y, "color": by_series(names, [one.colour for one in shown])}
    dash = by_series(names, [list(one.dash) for one in shown])
    shape = by_series(names, [one.shape for one in shown])
    parts = [
        *background(panel),
        {
            "name": panel.name,
            "data": values,
            "mark": {"type": "line", "style": "series", "clip": panel.clip},
            "encoding": {**place, "strokeDash": dash},
        },
        {
            "data": values,
            "mark": {"type": "point", "style": "dot", "clip": panel.clip},
            "encoding": {**place, "shape": shape},
        },
        *(end_names(shown, frame, panel) if len(shown) > 1 else []),  # the axis already names a single line
        hover(shown, frame, panel),
    ]
    return layered(parts, panel.width, panel.height)


def background(panel: Panel) -> list[Spec]:
    """Bands, then vertical lines; named in the panel that is asked to."""
    parts = _bands(panel) if panel.bands else []
    for event, row in zip(panel.events, panel.event_rows, strict=True):
        parts += _event(event, row, panel)
    return parts


def _bands(panel: Panel) -> list[Spec]:
    data = records(
        {
            "from": max(band.first - 0.5, 0.5),
            "to": min(band.last + 0.5, panel.epochs + 0.5),
            "name": band.name,
            "shade": 0.13 if index % 2 else 0.05,
        }
        for index, band in enumerate(panel.bands)
    )
    x = number("from", scale=panel.x_scale)
    opacity = number("shade", scale=None)
    mark = {"type": "rect", "color": NEUTRAL, "clip": panel.clip}
    parts: list[Spec] = [{"data": data, "mark": mark, "encoding": {"x": x, "x2": {"field": "to"}, "opacity": opacity}}]
    if panel.name_events:
        words = {"type": "text", "style": "note", "align": "left", "baseline": "middle", "dx": 4, "clip": panel.clip}
        parts.append({"data": data, "mark": words, "encoding": {"x": x, "y": at(ROW_HEIGHT / 2), "text": category("name")}})
    return parts


def _event(event: Event, row: int, panel: Panel) -> list[Spec]:
    data = records([{"epoch": event.epoch, "name": event.name}])
    x = number("epoch", scale=panel.x_scale)
    top = row * ROW_HEIGHT if panel.name_events else 0
    rule = {"type": "rule", "style": "guide", "strokeDash": [1, 3] if event.dotted else [4, 3], "clip": panel.clip}
    parts: list[Spec] = [{"data": data, "mark": rule, "encoding": {"x": x, "y": at(top), "y2": at(panel.height)}}]
    if panel.name_events:
        side = {"align": "right", "dx": -4} if panel.is_late(event) else {"align": "left", "dx": 4}
        words = {"type": "text", "style": "note", "baseline": "middle", "clip": panel.clip, **side}
        encoding = {"x": x, "y": at(top + ROW_HEIGHT / 2), "text": category("name")}
        parts.append({"data": data, "mark": words, "encoding": encoding})
    return parts


def end_names(series: Sequence[Series], frame: pd.DataFrame, panel: Panel) -> list[Spec]:
    """The series' names right of the plot, at the height of their last value, moved apart where they would overlap.

    Each has a piece of its line before it and is written in ink, since a line's colour need not be readable as text. Their
    place does not depend on the last epoch, so a running chart grows under fixed names.
    """
    low, high = panel.y_domain
    last = [float(frame[one.column].dropna().iloc[-1]) for one in series]
    wanted = [panel.height * (high - value) / (high - low) for value in last]
    places = spread_apart(wanted, LABEL_GAP, panel.height)
    return [part for one, place in zip(series, places, strict=True) for part in _end_name(one, place, panel.width)]


def _end_name(series: Series, place: float, edge: float) -> list[Spec]:
    start, end = edge + 5, edge + 5 + SWATCH
    data, look = records([{"name": series.name}]), {"color": series.colour, "clip": False}
    line = {"type": "rule", "style": "series", "strokeDash": list(series.dash), **look}
    words = {"type": "text", "style": "label", "align": "left", "baseline": "middle", "dx": 4, "clip": False}
    parts: list[Spec] = [{"data": data, "mark": line, "encoding": {"x": at(start), "x2": at(end), "y": at(place)}}]
    if series.shape:
        point = {"type": "point", "style": "dot", "shape": series.shape, **look}
        parts.append({"data": data, "mark": point, "encoding": {"x": at((start + end) / 2), "y": at(place)}})
    parts.append({"data": data, "mark": words, "encoding": {"x": at(end), "y": at(place), "text": category("name")}})
    return parts


def spread_apart(wanted: Sequence[float], gap: float, height: float) -> list[float]:
    """Places as near to ``wanted`` as they can be with ``gap`` between them, in [0, height] while they fit.

    Neighbours that would overlap share the shift: they are pooled around their common mean (pool adjacent violators).
    """
    order = sorted(range(len(wanted)), key=lambda index: wanted[index])
    room = gap * (len(wanted) - 1)
    # with the gaps taken out, "far enough apart" becomes "in order"
    pools: list[tuple[float, int]] = []
    for rank, index in enumerate(order):
        pools.append((wanted[index] - rank * gap, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            mean, count = pools.pop()
            before, members = pools.pop()
            pools.append(((mean * count + before * members) / (count + members), count + members))
    flat = [min(max(mean, 0.0), max(0.0, height - room)) for mean, count in pools for _ in range(count)]
    places = [0.0] * len(wanted)
    for rank, index in enumerate(order):
        places[index] = flat[rank] + rank * gap
    return places


def hover(series: Sequence[Series], frame: pd.DataFrame, panel: Panel) -> Spec:
    """An invisible column at each epoch that shows all values of that epoch.

    Fields are numbered: a class name may hold dots or brackets, which Vega would read as paths.
    """
    fields = {one.column: f"v{index}" for index, one in enumerate(series)}
    table = frame[["epoch", *fields]].rename(columns=fields)
    lines = [("epoch", "Epoch", "d"), *((fields[one.column], one.name, ".4~g") for one in series)]
    mark = {"type": "rule", "opacity": 0, "strokeWidth": max(4.0, panel.width / max(panel.epochs, 1)), "clip": True}
    encoding = {"x": number("epoch", scale=panel.x_scale), "tooltip": tooltip(*lines)}
    return {"name": f"{HOVER}_{panel.name}", "data": rows(table), "mark": mark, "encoding": encoding}
