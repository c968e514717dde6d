"""The one panel that every curve figure is made of: lines over epochs with markers, dashes and names at their right end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from mammo_core.report.theme import DASHES, NEUTRAL, SHAPES

LABEL_GAP = 13
"""Least distance between two names at the right end, pixels."""

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
        rows = []
        for event in self.events:
            left, right = self._extent(event)
            row = next((index for index, end in enumerate(ends) if end < left), len(ends))
            ends[row : row + 1] = [right]
            rows.append(row + bool(self.bands))
        return rows

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
        return low, low + (high - low) * self.height / (self.height - self.headroom)


def class_series(columns: Mapping[str, str], colours: Mapping[str, str]) -> list[Series]:
    """One series a class: ``columns`` maps class name to column."""
    return [
        Series(column, name, colours[name], DASHES[index % len(DASHES)], SHAPES[index % len(SHAPES)])
        for index, (name, column) in enumerate(columns.items())
    ]


def drawn(series: Sequence[Series], frame: pd.DataFrame) -> list[Series]:
    """The series that have at least one value."""
    return [one for one in series if one.column in frame.columns and frame[one.column].notna().any()]


def value_range(frame: pd.DataFrame, columns: Sequence[str], least_span: float = 0.0) -> tuple[float, float]:
    """A y domain that holds all values of the columns with a little air; (0, 1) where there are none."""
    present = [column for column in columns if column in frame.columns]
    values = frame[present].to_numpy(dtype=np.float64) if present else np.empty(0)
    values = values[np.isfinite(values)]
    if values.size == 0:
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    span = max(high - low, least_span, abs(high) * 1e-3, 1e-12)
    middle = (low + high) / 2
    return middle - 0.56 * span, middle + 0.56 * span


def line_panel(frame: pd.DataFrame, series: Sequence[Series], panel: Panel) -> alt.LayerChart:
    """Lines with markers, their names at the right end, bands and events behind them.

    Parameters
    ----------
    frame : DataFrame
        As ``history_frame`` gives it: ``epoch`` and one column a series; NaN breaks a line.
    """
    shown = drawn(series, frame)
    names = [one.name for one in shown]
    long = pd.concat(
        [pd.DataFrame({"epoch": frame["epoch"], "value": frame[one.column], "series": one.name}) for one in shown]
        or [pd.DataFrame({"epoch": [], "value": [], "series": []})]
    )
    x = alt.X("epoch:Q", title="Epoch" if panel.show_epochs else None, scale=epoch_scale(panel.epochs), axis=epoch_axis(panel))
    y = alt.Y(
        "value:Q",
        title=panel.title,
        scale=alt.Scale(domain=list(panel.y_domain), nice=False, zero=False),
        axis=alt.Axis(
            tickCount=len(panel.ticks) or max(4, panel.height // 40),  # Vega thins out values beyond the count
            values=list(panel.ticks) or alt.Undefined,
            format=panel.axis_format or alt.Undefined,
            labelExpr="datum.value === 0 ? '0' : datum.label",
        ),
    )
    colour = alt.Color("series:N", scale=alt.Scale(domain=names, range=[one.colour for one in shown]), legend=None)
    dash = alt.StrokeDash("series:N", scale=alt.Scale(domain=names, range=[list(one.dash) for one in shown]), legend=None)
    shape = alt.Shape("series:N", scale=alt.Scale(domain=names, range=[one.shape for one in shown]), legend=None)
    base = alt.Chart(long).encode(x=x, y=y, color=colour)
    layers = [
        *background_layers(panel),
        base.mark_line(style="series", clip=panel.clip).encode(strokeDash=dash).properties(name=panel.name),
        base.mark_point(style="dot", clip=panel.clip).encode(shape=shape),
        *(end_names(shown, frame, panel) if len(shown) > 1 else []),  # the axis already names a single line
        hover_layer(frame, shown, panel),
    ]
    return layered(layers, width=panel.width, height=panel.height)


def layered(charts: Sequence[alt.Chart | alt.LayerChart], **properties: Any) -> alt.LayerChart:
    """Charts on top of each other, first one lowest."""
    chart: alt.LayerChart = alt.LayerChart(layer=list(charts), **properties)
    return chart


def epoch_scale(epochs: int) -> alt.Scale:
    """From half an epoch before the first to half an epoch after the last planned one, so that no marker is cut."""
    return alt.Scale(domain=[0.5, epochs + 0.5], nice=False, zero=False)


def epoch_axis(panel: Panel) -> alt.Axis:
    return alt.Axis(
        format="d", tickMinStep=1, tickCount=min(panel.epochs, max(2, panel.width // 36)), labels=panel.show_epochs, grid=False
    )


def background_layers(panel: Panel) -> list[alt.Chart]:
    """Bands, then vertical lines; named in the panel that is asked to."""
    layers = _band_layers(panel) if panel.bands else []
    for event, row in zip(panel.events, panel.event_rows, strict=True):
        layers += _event_layers(event, row, panel)
    return layers


def _band_layers(panel: Panel) -> list[alt.Chart]:
    edges = [(max(band.first - 0.5, 0.5), min(band.last + 0.5, panel.epochs + 0.5)) for band in panel.bands]
    table = pd.DataFrame(
        {"from": [e[0] for e in edges], "to": [e[1] for e in edges], "name": [band.name for band in panel.bands]}
    )
    table["odd"] = table.index % 2
    base = alt.Chart(table).encode(x=alt.X("from:Q", scale=epoch_scale(panel.epochs)))
    opacity = alt.Opacity("odd:Q", scale=alt.Scale(domain=[0, 1], range=[0.05, 0.13]), legend=None)
    layers = [base.mark_rect(color=NEUTRAL, clip=panel.clip).encode(x2=alt.X2("to:Q"), opacity=opacity)]
    if panel.name_events:
        names = base.mark_text(style="note", align="left", baseline="middle", dx=4, clip=panel.clip)
        layers.append(names.encode(text=alt.Text("name:N"), y=alt.value(ROW_HEIGHT / 2)))
    return layers


def _event_layers(event: Event, row: int, panel: Panel) -> list[alt.Chart]:
    base = alt.Chart(pd.DataFrame([{"epoch": event.epoch, "name": event.name}]))
    x = alt.X("epoch:Q", scale=epoch_scale(panel.epochs))
    top = row * ROW_HEIGHT if panel.name_events else 0
    rule = base.mark_rule(style="guide", strokeDash=[1, 3] if event.dotted else [4, 3], clip=panel.clip)
    layers = [rule.encode(x=x, y=alt.value(top), y2=alt.value(panel.height))]
    if panel.name_events:
        late = panel.is_late(event)
        side: dict[str, Any] = {"align": "right", "dx": -4} if late else {"align": "left", "dx": 4}
        name = base.mark_text(style="note", baseline="middle", clip=panel.clip, **side)
        layers.append(name.encode(x=x, y=alt.value(top + ROW_HEIGHT / 2), text=alt.Text("name:N")))
    return layers


def end_names(series: Sequence[Series], frame: pd.DataFrame, panel: Panel) -> list[alt.Chart]:
    """The series' names right of the plot, at the height of their last value, moved apart where they would overlap.

    Their place does not depend on the last epoch, so a running chart grows under fixed names.
    """
    low, high = panel.y_domain
    last = [float(frame[one.column].dropna().iloc[-1]) for one in series]
    wanted = [panel.height * (high - value) / (high - low) for value in last]
    return [
        alt.Chart(pd.DataFrame([{"name": one.name}]))
        .mark_text(align="left", baseline="middle", dx=8, style="name", color=one.colour, clip=False)
        .encode(x=alt.value(panel.width), y=alt.value(place), text=alt.Text("name:N"))
        for one, place in zip(series, spread_apart(wanted, LABEL_GAP, panel.height), strict=True)
    ]


def spread_apart(wanted: Sequence[float], gap: float, height: float) -> list[float]:
    """Places as near to ``wanted`` as they can be with ``gap`` between them, in [0, height] while they fit.

    Neighbours that would overlap share the shift: they are pooled around their common mean (pool adjacent violators).
    """
    order = sorted(range(len(wanted)), key=lambda index: wanted[index])
    room = gap * (len(wanted) - 1)
    # with the gaps taken out, "far enough apart" becomes "in order"
    pools: list[list[float]] = []
    for rank, index in enumerate(order):
        pools.append([wanted[index] - rank * gap, 1])
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            mean, count = pools.pop()
            before, members = pools.pop()
            pools.append([(mean * count + before * members) / (count + members), count + members])
    flat = [min(max(mean, 0.0), max(0.0, height - room)) for mean, count in pools for _ in range(int(count))]
    places = [0.0] * len(wanted)
    for rank, index in enumerate(order):
        places[index] = flat[rank] + rank * gap
    return places


def hover_layer(frame: pd.DataFrame, series: Sequence[Series], panel: Panel) -> alt.Chart:
    """An invisible column at each epoch that shows all values of that epoch."""
    columns = [one.column for one in series]
    table = frame[["epoch", *columns]].rename(columns={one.column: one.name for one in series})
    tooltip = [alt.Tooltip("epoch:Q", title="Epoch", format="d")]
    tooltip += [alt.Tooltip(f"{escaped(one.name)}:Q", title=one.name, format=".4~g") for one in series]
    x = alt.X("epoch:Q", scale=epoch_scale(panel.epochs))
    thickness = max(4.0, panel.width / max(panel.epochs, 1))
    base = alt.Chart(table, name=f"{HOVER}_{panel.name}").mark_rule(opacity=0, strokeWidth=thickness, clip=True)
    chart: alt.Chart = base.encode(x=x, tooltip=tooltip)
    return chart


def escaped(name: str) -> str:
    """A column name as Vega-Lite's shorthand takes it: its own signs in class names must not be read as syntax."""
    return "".join(f"\\{sign}" if sign in ".[]:\\'\"" else sign for sign in name)
