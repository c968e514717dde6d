"""Names of lines: at their right ends, at the foot, or above a plot that is too narrow to have them beside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from mammo_core.report.spec import Spec, at, category, records

if TYPE_CHECKING:
    from mammo_core.report.panels import Panel, Series

LABEL_GAP = 13
"""Least distance between two names, pixels."""
SWATCH = 14
"""Length of the piece of line before a name, pixels."""
NARROW = 260
"""Below this width of a plot (a single column) names stand above what they name; beside it they would leave no plot."""
LETTER = 6.4
"""Generous width of a letter of a name, pixels."""


def foot_names(series: Sequence[tuple[Series, str]], panel: Panel) -> list[Spec]:
    """Names at the foot of the others, for kinds of lines; each with the style of its line. ``end_names`` leaves them room."""
    foot = panel.height - LABEL_GAP / 2
    last = len(series) - 1
    places = [foot - LABEL_GAP * (last - index) for index in range(len(series))]
    return [
        part for (one, style), place in zip(series, places, strict=True) for part in _end_name(one, place, panel.width, style)
    ]


def end_names(series: Sequence[Series], frame: pd.DataFrame, panel: Panel, at_foot: int = 0) -> list[Spec]:
    """The series' names right of the plot, at the height of their last value, moved apart where they would overlap.

    Each has a piece of its line before it and is written in ink, since a line's colour need not be readable as text. Their
    place does not depend on the last epoch, so a running chart grows under fixed names. ``at_foot`` lines stay free below.
    """
    wanted = [panel.y_pixel(float(frame[one.column].dropna().iloc[-1])) for one in series]
    room = panel.height - (at_foot + 0.5) * LABEL_GAP if at_foot else panel.height
    places = spread_apart(wanted, LABEL_GAP, room)
    return [part for one, place in zip(series, places, strict=True) for part in _end_name(one, place, panel.width)]


def names_above(series: Sequence[Series]) -> list[Spec]:
    """The series' names in rows above the plot, one a row, for plots that are too narrow to have them beside."""
    return [part for row, one in enumerate(reversed(series)) for part in _end_name(one, -LABEL_GAP * (row + 0.7), -5)]


def flowing_places(names: Sequence[str], width: float, extra: float = SWATCH + 16) -> list[tuple[float, int]]:
    """Where names begin that stand in rows like words of a text: (left, row); ``extra`` is what each takes beside letters."""
    places, left, row = [], 0.0, 0
    for name in names:
        length = LETTER * len(name) + extra
        if left and left + length > width + 12:  # the gap behind the last name of a row may hang over
            left, row = 0.0, row + 1
        places.append((left, row))
        left += length
    return places


def rows_on_top(names: Sequence[str], width: float) -> int:
    """How many rows :func:`names_on_top` needs."""
    return max((row for _, row in flowing_places(names, width)), default=-1) + 1


def names_on_top(series: Sequence[tuple[Series, str]], width: float) -> list[Spec]:
    """Names with the style of their line in rows at the top of the panel, which keeps that room free (``Panel.top``)."""
    places = flowing_places([one.name for one, _ in series], width)
    return [
        part
        for (one, style), (left, row) in zip(series, places, strict=True)
        for part in _end_name(one, LABEL_GAP * (row + 0.5), left - 5, style)
    ]


def _end_name(series: Series, place: float, edge: float, style: str = "series") -> list[Spec]:
    start, end = edge + 5, edge + 5 + SWATCH
    data, look = records([{"name": series.name}]), {"color": series.colour, "clip": False}
    line = {"type": "rule", "style": style, "strokeDash": list(series.dash), **look}
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
