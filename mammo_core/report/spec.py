"""Vega-Lite specifications as plain dictionaries, and the few words from which the charts here are built.

Not through Altair's classes: they copy and check the whole tree at every step, which took 1.3 s of CPU time for the history
figure where this takes a hundredth of that, and a live page draws it at every epoch. What comes out is the same JSON.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

Spec = dict[str, Any]

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
VEGALITE_VERSION = "6.4"
"""The version that exported figures are drawn with."""


class Config(dict[str, Any]):
    """A Vega-Lite config whose entries can be set as attributes: ``chart.config.background = "transparent"``."""

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value


@dataclass(frozen=True)
class Chart:
    """One figure for screen and paper. ``st.altair_chart`` and ``st.vega_lite_chart(chart.to_dict())`` both show it."""

    spec: Spec

    def to_dict(self) -> Spec:
        """The specification as JSON values."""
        return {"$schema": SCHEMA, **self.spec, **({"config": dict(self.config)} if "config" in self.spec else {})}

    @property
    def config(self) -> Config:
        """The look that ``theme.themed`` put on; empty before."""
        found = self.spec.get("config")
        return found if isinstance(found, Config) else Config()

    @property
    def description(self) -> str:
        """The figure's finding in words; give it as the alternative text."""
        return str(self.spec.get("description", ""))

    def with_properties(self, **properties: Any) -> Chart:
        """A copy with top-level properties such as ``config`` or ``title`` replaced."""
        return replace(self, spec={**self.spec, **properties})


def rows(table: pd.DataFrame) -> Spec:
    """Inline data: one dict a row, undefined numbers as ``None``."""
    columns = {str(name): [plain(value) for value in table[name].tolist()] for name in table.columns}
    return {"values": [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]}


def records(entries: Iterable[Mapping[str, Any]]) -> Spec:
    """Inline data from dicts."""
    return {"values": [{key: plain(value) for key, value in entry.items()} for entry in entries]}


def plain(value: Any) -> Any:
    """A value as JSON knows it; NaN and infinity become ``None``."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or value is pd.NA or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return value


def number(field: str, **options: Any) -> Spec:
    """A quantitative channel."""
    return {"field": field, "type": "quantitative", **options}


def category(field: str, **options: Any) -> Spec:
    """A nominal channel."""
    return {"field": field, "type": "nominal", **options}


def at(pixels: float) -> Spec:
    """A channel at a fixed place or value."""
    return {"value": pixels}


def tooltip(*fields: tuple[str, str, str]) -> list[Spec]:
    """Tooltip lines from (field, title, d3 format); text where the format is empty."""
    return [
        {"field": field, "title": title, **({"type": "quantitative", "format": form} if form else {"type": "nominal"})}
        for field, title, form in fields
    ]


def by_series(names: Sequence[str], values: Sequence[Any], field: str = "series", **options: Any) -> Spec:
    """A channel that gives each named series its own value, in order; without a legend unless ``options`` say otherwise."""
    return {"legend": None, **category(field), "scale": {"domain": list(names), "range": list(values)}, **options}


def layered(parts: Sequence[Spec], width: float, height: float, **properties: Any) -> Spec:
    """Marks on top of each other, the first one lowest."""
    return {"width": width, "height": height, "layer": list(parts), **properties}
