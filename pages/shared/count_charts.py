"""Bars of film counts: by class and centre, by class and split part. The same numbers stand in the table beside them."""

from __future__ import annotations

from collections.abc import Mapping

import altair as alt
import pandas as pd
import streamlit as st

from mammo_core.report.tables import without_formulas
from mammo_core.report.theme import TRAINING

Counts = Mapping[str, Mapping[str, int]]
BAR_HEIGHT = 30
FRAME_HEIGHT = 120
"""Axis, title and legend, which Streamlit counts into the height."""


def count_table(counts: Counts) -> pd.DataFrame:
    """Outer keys as rows, inner keys as columns, with sums at both ends; 0 where there is none."""
    table = pd.DataFrame.from_dict({row: dict(values) for row, values in counts.items()}, orient="index")
    table = table.reindex(list(counts)).fillna(0).astype(int)
    table["All"] = table.sum(axis=1)
    return pd.concat([table, table.sum().to_frame("All").T])


def stacked_bars(counts: Counts, row: str, part: str, colours: Mapping[str, str] | None = None, unit: str = "Films") -> alt.Chart:
    """One bar for each outer key, stacked by inner key.

    Parameters
    ----------
    row, part : what the outer and the inner keys are, for the axis and the legend
    colours : inner key -> colour; the theme's colours where ``None``
    unit : what is counted
    """
    cells = [{row: outer, part: inner, unit: count} for outer, values in counts.items() for inner, count in values.items()]
    parts = list(dict.fromkeys(cell[part] for cell in cells))
    scale = alt.Scale(domain=parts, range=[colours.get(name, TRAINING) for name in parts]) if colours else alt.Scale(domain=parts)
    frame = pd.DataFrame(cells).assign(order=lambda table: table[part].map(parts.index))
    return (
        alt.Chart(frame)
        .mark_bar(height={"band": 0.7})
        .encode(
            y=alt.Y(f"{row}:N", sort=list(counts), title=None, axis=alt.Axis(labelLimit=140, labelOverlap=False)),
            x=alt.X(f"{unit}:Q", title=unit, axis=alt.Axis(tickMinStep=1)),
            color=alt.Color(f"{part}:N", scale=scale, sort=parts, legend=alt.Legend(title=part, orient="bottom")),
            order=alt.Order("order:Q"),
            tooltip=[row, part, unit],
        )
        .properties(height=BAR_HEIGHT * max(2, len(counts)) + FRAME_HEIGHT)
    )


def bars_and_table(
    counts: Counts,
    row: str,
    part: str,
    colours: Mapping[str, str] | None = None,
    *,
    unit: str = "Films",
    finding: str = "",
) -> None:
    """The bars, and below them the same counts as a table. ``finding`` is what the chart shows, for readers who cannot see it."""
    what = f"{unit} by {row.lower()} and {part.lower()}"
    st.altair_chart(stacked_bars(counts, row, part, colours, unit), alt=finding or what)
    st.dataframe(without_formulas(count_table(counts)), alt=f"{what}, as numbers")


def counts_sentence(counts: Counts, what: str) -> str:
    """``Films by class: A 12, B 40``: the finding of a chart in words."""
    return f"{what}: " + ", ".join(f"{name} {sum(values.values())}" for name, values in counts.items())
