"""The one panel that every curve figure is made of: lines over epochs with markers, dashes and names at their right end."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mammo_core.report.event_names import ROW_HEIGHT, Band, Event, Ground
from mammo_core.report.hover import HOVER, Told, hover, hover_layer
from mammo_core.report.line_names import (
    LABEL_GAP,
    LETTER,
    NARROW,
    end_names,
    foot_names,
    names_above,
    names_on_top,
    rows_on_top,
    spread_apart,
)
from mammo_core.report.long_data import long_data
from mammo_core.report.smoothing import smoothed
from mammo_core.report.spec import Spec, by_series, layered, number
from mammo_core.report.theme import DASHES, NEUTRAL, SHAPES
from mammo_core.report.x_axis import IS_BREAK, XAxis, epochs_axis

__all__ = [
    "HOVER",
    "NARROW",
    "ROW_HEIGHT",
    "Band",
    "Event",
    "Panel",
    "Series",
    "class_series",
    "drawn",
    "end_names",
    "foot_names",
    "hover",
    "line_panel",
    "names_above",
    "names_on_top",
    "room_on_top",
    "spread_apart",
    "value_range",
]

MANY_POINTS = 60
"""More values than this are drawn without markers, which would hide the line; lone values between gaps keep theirs."""


@dataclass(frozen=True)
class Series:
    """One line: a column of the history, its name in the figure and how it is drawn."""

    column: str
    name: str
    colour: str
    dash: tuple[int, ...] = (1, 0)
    shape: str = "circle"
    """Of the markers; no marker where empty."""


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
    axis: XAxis | None = None
    """What runs along the figure instead of the epochs."""
    axis_format: str | None = None
    """A d3 format; Vega's own choice of digits where ``None``."""
    ticks: tuple[float, ...] = ()
    """Places of the y axis' numbers; Vega's own choice where empty."""
    show_epochs: bool = True
    """Whether this panel carries the epoch axis' numbers and title."""
    bands: tuple[Band, ...] = ()
    """From edge to edge, in units of the axis."""
    events: tuple[Event, ...] = ()
    name_events: bool = False
    """Whether bands and events are named here (in one panel of a figure), in rows above the highest value."""
    clip: bool = False
    """Whether marks end at the plot's edge; needed where the reader can zoom."""
    log: bool = False
    """Whether the y axis is logarithmic; ``domain`` is above 0 then."""
    smoothing: float = 0.0
    """Weight of the past in the running mean that is drawn over the raw lines; 0 draws none."""
    top: float = 0.0
    """Height at the top that is kept free for the lines' names, pixels; 0 where they stand beside the plot."""

    @property
    def is_narrow(self) -> bool:
        return self.width < NARROW

    @property
    def x_axis(self) -> XAxis:
        return self.axis or epochs_axis(self.epochs)

    @property
    def ground(self) -> Ground:
        return Ground(
            self.x_axis, self.width, self.height, self.bands, self.events, self.name_events, self.clip, self.top, self.is_narrow
        )

    @property
    def event_rows(self) -> list[int]:
        """The row of each event's name, from the top, such that names do not overlap."""
        return self.ground.event_rows

    @property
    def headroom(self) -> float:
        """Height that the rows of names take, pixels."""
        return self.ground.headroom

    def y_pixel(self, value: float) -> float:
        """Where a value lies, from the top."""
        low, high = self.domain
        if self.log:
            low, high, value = math.log(low), math.log(high), math.log(max(value, low))
        return self.headroom + (self.height - self.headroom) * (high - value) / (high - low)

    @property
    def x_scale(self) -> Spec:
        return self.x_axis.scale

    @property
    def x(self) -> Spec:
        return self.x_axis.channel(self.width, self.show_epochs)

    @property
    def y(self) -> Spec:
        ticks = self.ticks or (log_ticks(self.domain, max(4, self.height // 40)) if self.log else ())
        # Vega thins out explicit values beyond the count
        axis: Spec = {"tickCount": len(ticks) or max(4, self.height // 40)}
        # of a logarithmic axis Vega leaves out labels between the powers of ten
        axis |= {"labelExpr": "format(datum.value, '.6~g')" if self.log else "datum.value === 0 ? '0' : datum.label"}
        axis |= {"format": self.axis_format} if self.axis_format and not self.log else {}
        axis |= {"values": list(ticks)} if ticks else {}
        scale: Spec = {"domain": list(self.domain), "nice": False}
        scale |= {"type": "log"} if self.log else {"zero": False}
        if self.headroom:
            scale["range"] = [self.height, self.headroom]
        return number("value", title=self.title_lines, scale=scale, axis=axis)

    @property
    def title_lines(self) -> str | list[str]:
        """The title; what stands in brackets on a line of its own where the panel is lower than the title is long."""
        words, bracket, rest = self.title.partition(" (")
        if self.is_narrow and bracket and LETTER * len(self.title) > self.height:
            return [words, f"({rest}"]
        return self.title


STEPS = ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 3.0, 5.0, 7.0))
"""Numbers of a logarithmic axis between powers of ten, from coarse to fine."""


def log_ticks(domain: tuple[float, float], least: int = 4) -> tuple[float, ...]:
    """Numbers for a logarithmic axis: round ones, and at least ``least`` of them however little the axis spans."""
    low, high = domain
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in STEPS:
        found = [step * 10.0**power for power in powers for step in steps if low <= step * 10.0**power <= high]
        if len(found) >= least:
            every = max(1, round(len(found) / (3 * least)))
            return tuple(float(f"{value:.6g}") for value in found[::every])
    # less than about a factor of two: even steps, as on a linear axis
    rough = (high - low) / (least + 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = max(step * power for step in (1, 2, 5) if step * power <= rough * (1 + 1e-9))
    first, last = math.ceil(low / step), math.floor(high / step)
    return tuple(float(f"{index * step:.6g}") for index in range(first, last + 1))


def class_series(columns: Mapping[str, str], colours: Mapping[str, str]) -> list[Series]:
    """One series a class: ``columns`` maps class name to column."""
    return [
        Series(column, name, colours[name], DASHES[index % len(DASHES)], SHAPES[index % len(SHAPES)])
        for index, (name, column) in enumerate(columns.items())
    ]


def drawn(series: Sequence[Series], frame: pd.DataFrame) -> list[Series]:
    """The series that have at least one value."""
    return [one for one in series if one.column in frame.columns and frame[one.column].notna().any()]


def room_on_top(names: Sequence[str], width: float) -> float:
    """``Panel.top`` for a plot of this width: room for the lines' names where it is narrow, 0 where it is wide or names one."""
    return LABEL_GAP * rows_on_top(names, width) + 3.0 if width < NARROW and len(names) > 1 else 0.0


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


def line_panel(frame: pd.DataFrame, series: Sequence[Series], panel: Panel, told: Told | None = None) -> Spec:
    """Lines with markers, their names at the right end, bands and events behind them; smoothed lines over raw ones.

    Parameters
    ----------
    frame : DataFrame
        As ``history_frame`` gives it: the axis' column and one column a series; NaN breaks a line.
    told
        What the tooltips tell; the values of this panel where ``None``.
    """
    shown = drawn(series, frame)
    values = {one.column: line_values(frame, one.column, panel) for one in shown}
    thick = _smoothed_lines(shown, values, panel)
    parts = [*panel.ground.parts(), *_lines(shown, values, panel, "member" if thick else "series"), *thick]
    if len(shown) > 1 or thick:  # the axis already names a single line
        parts += (
            names_on_top([(one, "series") for one in shown], panel.width)
            if panel.top
            else end_names(shown, frame, panel, 2 if thick else 0)
        )
    return layered([*parts, hover_layer(told, panel) if told else hover(shown, frame, panel)], panel.width, panel.height)


Values = Sequence[tuple[float, float | None]]


def line_values(frame: pd.DataFrame, column: str, panel: Panel) -> Values:
    """(x, value) of a line; ``None`` breaks it.

    A quantity that is recorded in at most half of the rows (validation every few epochs) is joined across the others. A value
    that is missing among many is a gap, as are rows whose loss was not finite and the rows between two runs of one file.
    """
    xs = frame[panel.x_axis.field].to_numpy(dtype=np.float64)
    ys = frame[column].to_numpy(dtype=np.float64)
    is_there = np.isfinite(ys) & (ys > 0) if panel.log else np.isfinite(ys)
    places = np.flatnonzero(is_there)
    keep = np.ones(len(ys), dtype=bool)
    span = int(places[-1] - places[0]) if len(places) else 0
    if span > 2 and 2 * len(places) <= span + 2:
        keep = is_there | _flagged(frame, "non_finite") | _flagged(frame, IS_BREAK)
    pairs = zip(xs[keep].tolist(), ys[keep].tolist(), is_there[keep].tolist(), strict=True)
    return [(x, y if there else None) for x, y, there in pairs]


def _flagged(frame: pd.DataFrame, column: str) -> np.ndarray[Any, Any]:
    if column not in frame.columns:
        return np.zeros(len(frame), dtype=bool)
    return (frame[column] == True).to_numpy(dtype=bool)  # noqa: E712


def _lines(shown: Sequence[Series], values: Mapping[str, Values], panel: Panel, style: str) -> list[Spec]:
    """The raw lines, and markers where they do not crowd the plot."""
    field, names = panel.x_axis.field, [one.name for one in shown]
    place = {"x": panel.x, "y": panel.y, "color": by_series(names, [one.colour for one in shown])}
    dash = by_series(names, [list(one.dash) for one in shown])
    shape = by_series(names, [one.shape or "circle" for one in shown])
    dots = {one.name: _with_marker(values[one.column], has_markers=bool(one.shape) and style == "series") for one in shown}
    points = {
        "data": _named_rows(dots, field),
        "mark": {"type": "point", "style": "dot", "clip": panel.clip},
        "encoding": {**place, "shape": shape},
    }
    if any(len(values[one.column]) > MANY_POINTS for one in shown):
        lines = [single_line(one, values[one.column], panel, style) for one in shown]
        lines[0]["name"] = panel.name
        return [*lines, points]
    line = {
        "name": panel.name,
        "data": _named_rows({one.name: values[one.column] for one in shown}, field),
        "mark": {"type": "line", "style": style, "clip": panel.clip},
        "encoding": {**place, "strokeDash": dash},
    }
    return [line, points]


def _named_rows(values: Mapping[str, Values], field: str) -> Spec:
    return {"values": [{field: x, "value": y, "series": name} for name, pairs in values.items() for x, y in pairs]}


def single_line(one: Series, values: Values, panel: Panel, style: str) -> Spec:
    """A layer of its own, which needs no row to name its series."""
    field = panel.x_axis.field
    mark = {"type": "line", "style": style, "color": one.colour, "strokeDash": list(one.dash), "clip": panel.clip}
    data = long_data({field: [x for x, _ in values], "value": [y for _, y in values]})
    return {**data, "mark": mark, "encoding": {"x": panel.x, "y": panel.y}}


def _with_marker(values: Values, has_markers: bool) -> Values:
    """The points that get a marker: all of a short line, and of a long one those with nothing on either side."""
    if has_markers and len(values) <= MANY_POINTS:
        return values
    known = np.array([False, *(y is not None for _, y in values), False])
    alone = np.flatnonzero(known[1:-1] & ~known[:-2] & ~known[2:])
    return [values[index] for index in alone.tolist()]


def _smoothed_lines(shown: Sequence[Series], values: Mapping[str, Values], panel: Panel) -> list[Spec]:
    layers = []
    for one in shown if panel.smoothing else ():
        raw = values[one.column]
        means = smoothed([math.nan if y is None else y for _, y in raw], panel.smoothing)
        if any(math.isfinite(mean) for mean in means):
            layers.append(single_line(one, [(x, mean) for (x, _), mean in zip(raw, means, strict=True)], panel, "mean"))
    return [*layers, *_smoothing_legend(panel)] if layers else []


def _smoothing_legend(panel: Panel) -> list[Spec]:
    """Which of the two lines is the mean."""
    thin, thick = Series("", "raw", NEUTRAL, shape=""), Series("", f"smoothed ({panel.smoothing:g})", NEUTRAL, shape="")
    return foot_names([(thin, "member"), (thick, "mean")], panel)
