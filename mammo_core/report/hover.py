"""What the pointer shows: all values of the epoch under it, and a thin line through all panels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import pandas as pd

from mammo_core.report.long_data import long_data
from mammo_core.report.spec import Spec, number, tooltip

if TYPE_CHECKING:
    from mammo_core.report.panels import Panel, Series

HOVER = "hover"
"""Names of the layers that only a screen needs (tooltips, crosshair) start so; figures leave them out."""
CROSSHAIR = "crosshair"
"""Name of the selection that holds the epoch under the pointer."""
FEW_ROWS = 100
"""More rows than this are written as a list a column."""
HOVER_PIXELS = 3
"""Tooltips stand at least this far apart: of a long history every second or third epoch has one."""


def hover(series: Sequence[Series], frame: pd.DataFrame, panel: Panel) -> Spec:
    """An invisible column at each epoch that shows all values of that epoch."""
    return hover_layer(told_values([(one.column, one.name) for one in series], frame, panel), panel)


@dataclass(frozen=True)
class Told:
    """Tooltips of a figure: columns of values, and what each field is called."""

    columns: dict[str, list[float | None]]
    lines: list[tuple[str, str, str]]
    """(field, title, d3 format)."""

    @cached_property
    def all_data(self) -> Spec:
        return self.data(*self.columns)

    @property
    def count(self) -> int:
        return len(next(iter(self.columns.values())))

    def data(self, *fields: str) -> Spec:
        """The ``data`` of some fields, and the ``transform`` that it needs."""
        chosen = {field: self.columns[field] for field in fields}
        if self.count > FEW_ROWS:
            return long_data(chosen)
        rows = [dict(zip(chosen, row, strict=True)) for row in zip(*chosen.values(), strict=True)]
        return {"data": {"values": rows}, "transform": []}


def told_values(entries: Sequence[tuple[str, str]], frame: pd.DataFrame, panel: Panel) -> Told:
    """The values of columns of the frame, given with their titles.

    Fields are numbered: a class name may hold dots or brackets, which Vega would read as paths.
    """
    axis = panel.x_axis
    every = max(1, math.ceil(len(frame) * HOVER_PIXELS / panel.width))
    chosen = frame[frame["epoch"].notna()].iloc[(len(frame) - 1) % every :: every] if len(frame) else frame
    lines = [("epoch", axis.title if axis.field == "epoch" else "Epoch", "d" if axis.is_whole else ".6~g")]
    columns = {"epoch": _json(chosen["epoch"])}
    if axis.field != "epoch":
        lines.append((axis.field, axis.title, ".4~g"))
        columns[axis.field] = _json(chosen[axis.field])
    for index, (column, title) in enumerate(entries):
        lines.append((f"v{index}", title, ".4~g"))
        columns[f"v{index}"] = _json(chosen[column])
    return Told(columns, lines)


def hover_layer(told: Told, panel: Panel) -> Spec:
    """The invisible columns of one panel; panels may share what they tell."""
    axis = panel.x_axis
    width = max(4.0, panel.width / max(panel.epochs if axis.field == "epoch" else told.count, 1))
    mark = {"type": "rule", "opacity": 0, "strokeWidth": width, "clip": True}
    encoding = {"x": number(axis.field, scale=panel.x_scale), "tooltip": tooltip(*told.lines)}
    return {"name": f"{HOVER}_{panel.name}", **told.all_data, "mark": mark, "encoding": encoding}


def crosshair(told: Told, panel: Panel) -> Spec:
    """A thin line at the epoch under the pointer, in this panel and in all others that share the selection."""
    field = panel.x_axis.field
    found = told.data(field)
    return {
        "name": f"{HOVER}_line_{panel.name}",
        "data": found["data"],
        "transform": [*found["transform"], {"filter": {"param": CROSSHAIR, "empty": False}}],
        "mark": {"type": "rule", "style": "guide", "clip": True},
        "encoding": {"x": number(field, scale=panel.x_scale)},
    }


def _json(values: pd.Series[float]) -> list[float | None]:
    """Numbers of a frame's column as JSON knows them."""
    return [None if value is None or not math.isfinite(value) else value for value in values.tolist()]
