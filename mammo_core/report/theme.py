"""Colours, fonts and sizes of every chart, for the light and dark screen, for paper and for slides.

A chart holds marks and data; how it looks is a Vega-Lite config that :func:`themed` puts on top, so one chart serves all four.
The theme is explicit because Streamlit's own is applied in the browser only and would not reach an exported figure.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from mammo_core.report.spec import Chart, Config

StyleName = Literal["light", "dark", "paper", "slide"]

TRAINING = "#0072B2"
VALIDATION = "#D55E00"
NEUTRAL = "#7A7A7A"
"""Between black and white: readable on both backgrounds."""

GREEN, PINK, SKY, GOLD, VIOLET = "#117733", "#CC79A7", "#3B9AD9", "#A67C00", "#7D4FC0"

RUN_COLOURS = (TRAINING, VALIDATION, GREEN, PINK, NEUTRAL, SKY, GOLD, VIOLET)
"""Okabe and Ito's hues, those too light for a line darkened until they keep 3:1 against white as well as the dark background."""

CLASS_COLOURS = (GREEN, PINK, SKY, GOLD, NEUTRAL, VIOLET, VALIDATION, TRAINING)
"""Classes come in other hues than training and validation, so that one colour means one thing in a figure."""

SPLIT_COLOURS = {"train": TRAINING, "val": VALIDATION, "test": GREEN}
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down")
DASHES: tuple[tuple[int, ...], ...] = ((1, 0), (4, 2), (2, 2), (8, 2, 2, 2), (4, 4), (10, 4))

SEQUENTIAL = ("#F7FBFF", "#C6DBEF", "#6BAED6", "#2171B5", "#08306B")
"""One hue from light to dark: order survives grey-scale print."""

FONT = "Arial, Helvetica, Liberation Sans, sans-serif"


@dataclass(frozen=True)
class Style:
    """What differs between the places where a chart is shown."""

    background: str
    ink: str
    muted: str
    grid: str
    font_size: float
    """Of axis labels; points on paper, pixels on screen. Titles are one larger."""
    line_width: float
    point_size: float
    """Area of a point mark."""


STYLES: dict[StyleName, Style] = {
    "light": Style("#FFFFFF", "#1F2328", "#57606A", "#E3E6EA", 12, 2.0, 40),
    "dark": Style("#0E1117", "#F0F2F6", "#A9B1BC", "#2C313A", 12, 2.0, 40),
    "paper": Style("#FFFFFF", "#000000", "#444444", "#E6E6E6", 7.5, 1.25, 14),
    "slide": Style("#FFFFFF", "#1F2328", "#57606A", "#E3E6EA", 15, 2.5, 60),
}


def themed(chart: Chart, style: StyleName = "light") -> Chart:
    """The chart with one of the four looks; on a page show it with ``theme=None``."""
    return chart.with_properties(config=Config(theme_config(style)))


def theme_config(style: StyleName) -> dict[str, Any]:
    """The Vega-Lite config of a look."""
    s = STYLES[style]
    small, large, thin = s.font_size, s.font_size + 1, s.line_width / 2
    y_axis = round(3.4 * small)  # the same in every panel, so that plots stand exactly below each other
    return {
        "background": s.background,
        "font": FONT,
        "view": {"stroke": None},
        "padding": 4,
        "axis": {
            "labelFontSize": small,
            "titleFontSize": small,
            "titleFontWeight": "normal",
            "labelColor": s.ink,
            "titleColor": s.ink,
            "domainColor": s.muted,
            "tickColor": s.muted,
            "gridColor": s.grid,
            "tickSize": 4,
            "titlePadding": 6,
            "labelOverlap": "greedy",
            "domainWidth": thin,
            "tickWidth": thin,
            "gridWidth": thin,
        },
        "axisX": {"grid": False},
        "axisY": {"minExtent": y_axis, "maxExtent": y_axis},
        "title": {
            "fontSize": large,
            "fontWeight": "bold",
            "color": s.ink,
            "subtitleColor": s.muted,
            "subtitleFontSize": small,
            "anchor": "start",
            "frame": "group",
            "offset": 8,
        },
        "header": {"labelFontSize": small, "titleFontSize": small, "labelColor": s.ink, "titleColor": s.ink},
        "legend": {
            "labelFontSize": small,
            "titleFontSize": small,
            "labelColor": s.ink,
            "titleColor": s.ink,
            "titleFontWeight": "normal",
            "symbolSize": s.point_size * 2.5,
            "symbolStrokeWidth": s.line_width,
        },
        "text": {"color": s.ink, "font": FONT},
        "rule": {"color": s.muted},
        "point": {"filled": True, "opacity": 1},
        "style": _mark_styles(s),
    }


def _mark_styles(s: Style) -> dict[str, Any]:
    """Named styles for every mark, so that no chart fixes a size itself. Sizes beside a mark's type would win over these."""
    return {
        "label": {"fontSize": s.font_size},
        "note": {"fontSize": s.font_size - 0.5, "color": s.muted},
        "count": {"fontSize": s.font_size + 2, "fontWeight": "bold"},
        "share": {"fontSize": s.font_size - 0.5},
        "series": {"strokeWidth": s.line_width},
        "member": {"strokeWidth": s.line_width * 0.5, "opacity": 0.6},
        "mean": {"strokeWidth": s.line_width * 1.5},
        "dot": {"size": s.point_size},
        "open-dot": {"size": s.point_size * 1.3, "strokeWidth": s.line_width * 0.7},
        "mean-dot": {"size": s.point_size * 2.4},
        "guide": {"strokeWidth": s.line_width / 2},
        "interval": {"strokeWidth": s.line_width},
    }


def run_colour(run_id: str) -> str:
    """The colour of a run, from its id alone: the same on every page and in every figure, whatever else is shown."""
    return RUN_COLOURS[zlib.crc32(run_id.encode("utf-8")) % len(RUN_COLOURS)]


def run_colours(run_ids: Sequence[str]) -> dict[str, str]:
    """Colours for runs shown together: each keeps its own unless an earlier one has it, then it takes the next free one."""
    chosen: dict[str, str] = {}
    for run_id in run_ids:
        start = RUN_COLOURS.index(run_colour(run_id))
        wheel = RUN_COLOURS[start:] + RUN_COLOURS[:start]
        free = [colour for colour in wheel if colour not in chosen.values()]
        chosen[run_id] = (free or wheel)[0]
    return chosen


def class_colours(class_names: Sequence[str]) -> dict[str, str]:
    """The colour of each class, by its place in the class list."""
    return {name: CLASS_COLOURS[index % len(CLASS_COLOURS)] for index, name in enumerate(class_names)}
