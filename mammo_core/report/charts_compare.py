"""Runs and groups of runs side by side: mean curves with their members, and the dots behind every mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import pandas as pd

from mammo_core.analysis.metrics import TITLES
from mammo_core.analysis.variance import describe, mean_curve
from mammo_core.report.panels import (
    Panel,
    Series,
    background_layers,
    end_names,
    epoch_axis,
    epoch_scale,
    hover_layer,
    layered,
    value_range,
)
from mammo_core.report.theme import DASHES, run_colours
from mammo_core.runs.schema import HEADLINE_METRICS

Frames = Mapping[str, pd.DataFrame]


@dataclass(frozen=True, kw_only=True)
class CurveView:
    """How mean curves are drawn."""

    title: str
    """Of the y axis."""
    epochs_planned: int | None = None
    width: int = 480
    height: int = 260
    members: bool = True
    """Whether each run is drawn as a thin line."""


def seed_curves(frames: Frames, column: str, view: CurveView, name: str = "mean") -> alt.LayerChart:
    """Every run thin, their mean bold, and mean ± SD (n-1) as a band wherever at least two runs have the epoch.

    ``frames`` maps run id to its history table.
    """
    return group_curves({name: frames}, column, view)


def group_curves(groups: Mapping[str, Frames], column: str, view: CurveView) -> alt.LayerChart:
    """:func:`seed_curves` for several groups in one panel; each name carries its n."""
    tables = {name: mean_curve(list(frames.values()), column) for name, frames in groups.items()}
    tables = {name: table for name, table in tables.items() if len(table)}
    colours = run_colours(list(tables))
    bounds = pd.concat(
        [*(_edges(table) for table in tables.values()), *_member_values(groups, column)] or [pd.DataFrame({"v": []})]
    )
    epochs = max([view.epochs_planned or 1, *(int(table["epoch"].max()) for table in tables.values())])
    panel = Panel(
        name="curves",
        title=view.title,
        epochs=epochs,
        width=view.width,
        height=view.height,
        domain=value_range(bounds, ["v"]),
    )
    series = [
        Series(
            name,
            f"{name}{' ± SD' if table['n'].max() > 1 else ''} ({count_text(table)})",
            colours[name],
            DASHES[index % len(DASHES)],
        )
        for index, (name, table) in enumerate(tables.items())
    ]
    layers: list[alt.Chart | alt.LayerChart] = list(background_layers(panel))
    for one in series:
        layers += _group_layers(one, tables[one.column], groups[one.column] if view.members else {}, (column, panel))
    joined = _joined(tables)
    layers += end_names(series, joined, panel)
    layers.append(hover_layer(joined, series, panel))
    return layered(layers, width=view.width, height=view.height, description=curves_finding(tables, view.title))


def _group_layers(
    series: Series, table: pd.DataFrame, frames: Frames, where: tuple[str, Panel]
) -> list[alt.Chart | alt.LayerChart]:
    column, panel = where
    axis = epoch_axis(panel)
    x = alt.X("epoch:Q", title="Epoch", scale=epoch_scale(panel.epochs), axis=axis)
    scale = alt.Scale(domain=list(panel.y_domain), nice=False, zero=False)
    y = alt.Y("mean:Q", title=panel.title, scale=scale)
    spread = table[table["n"] >= 2].assign(low=lambda t: t["mean"] - t["sd"], high=lambda t: t["mean"] + t["sd"])
    layers: list[alt.Chart | alt.LayerChart] = []
    if len(spread):
        band = alt.Chart(spread).mark_area(color=series.colour, opacity=0.18, clip=True)
        layers.append(band.encode(x=x, y=alt.Y("low:Q", title=panel.title, scale=scale), y2=alt.Y2("high:Q")))
    for frame in frames.values():
        if column in frame.columns:
            member = alt.Chart(pd.DataFrame({"epoch": frame["epoch"], "mean": frame[column]}))
            layers.append(member.mark_line(color=series.colour, style="member", clip=True).encode(x=x, y=y))
    mean = alt.Chart(table).mark_line(color=series.colour, style="mean", strokeDash=list(series.dash)).encode(x=x, y=y)
    return [*layers, mean]


def _edges(table: pd.DataFrame) -> pd.DataFrame:
    sd = table["sd"].fillna(0.0)
    return pd.DataFrame({"v": pd.concat([table["mean"] - sd, table["mean"] + sd])})


def _member_values(groups: Mapping[str, Frames], column: str) -> list[pd.DataFrame]:
    frames = [frame for members in groups.values() for frame in members.values() if column in frame.columns]
    return [pd.DataFrame({"v": frame[column].to_numpy()}) for frame in frames]


def _joined(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """One row an epoch, one column a group: its mean."""
    if not tables:
        return pd.DataFrame({"epoch": []})
    columns = [table.set_index("epoch")["mean"].rename(name) for name, table in tables.items()]
    return pd.concat(columns, axis=1).sort_index().reset_index()


def count_text(table: pd.DataFrame) -> str:
    """``n = 3``, or ``n = 3 to 5`` where runs have different lengths."""
    least, most = int(table["n"].min()), int(table["n"].max())
    return f"n = {least}" if least == most else f"n = {least} to {most}"


def curves_finding(tables: Mapping[str, pd.DataFrame], title: str) -> str:
    if not tables:
        return f"{title}: no values."
    ends = []
    for name, table in tables.items():
        last = table.iloc[-1]
        sd = "" if pd.isna(last["sd"]) else f" ± {last['sd']:.3f}"
        ends.append(f"{name} {last['mean']:.3f}{sd} at epoch {int(last['epoch'])} ({count_text(table)})")
    return f"{title}, mean over runs and SD (n-1): {'; '.join(ends)}."


# ---- dots -----------------------------------------------------------------------------------------------------------------


def metric_dots(
    groups: Sequence[Mapping[str, Any]], metrics: Sequence[str] = HEADLINE_METRICS, width: int = 300
) -> alt.VConcatChart:
    """Every run as a dot, the mean as a diamond and its 95 % t interval as a line; one panel a metric, one row a group.

    ``groups`` is the ``groups`` list of ``compare``.
    """
    shown = [metric for metric in metrics if any(metric in group["metrics"] for group in groups)]
    panels = [_dot_panel(groups, metric, width) for metric in shown]
    chart = alt.VConcatChart(vconcat=panels, spacing=8, description=dots_finding(groups, shown))
    independent: alt.VConcatChart = chart.resolve_scale(x="independent")
    return independent


def _dot_panel(groups: Sequence[Mapping[str, Any]], metric: str, width: int) -> alt.LayerChart:
    found = {str(group["name"]): group["metrics"].get(metric, {"values": []}) for group in groups}
    order = list(found)
    colours = run_colours(order)
    dots = pd.DataFrame([{"group": n, "value": v} for n, cell in found.items() for v in cell["values"] if v is not None])
    means = pd.DataFrame(
        [
            {
                "group": n,
                "value": cell["mean"],
                "low": cell["ci_low"],
                "high": cell["ci_high"],
                "text": describe(cell["values"]).text(),
            }
            for n, cell in found.items()
            if cell.get("mean") is not None
        ],
        columns=["group", "value", "low", "high", "text"],
    )
    ends = pd.DataFrame({"v": pd.concat([dots.get("value", pd.Series(dtype=float)), means["low"], means["high"]]).astype(float)})
    low, high = value_range(ends, ["v"], least_span=0.02)
    scale = alt.Scale(domain=[low, high], nice=False, zero=False)
    x = alt.X("value:Q", title=TITLES.get(metric, metric), scale=scale)
    y = alt.Y("group:N", sort=order, title=None, axis=alt.Axis(ticks=False, domain=False, grid=True, minExtent=0, maxExtent=160))
    colour = alt.Color("group:N", scale=alt.Scale(domain=order, range=[colours[n] for n in order]), legend=None)
    tooltip = [alt.Tooltip("group:N", title="Group"), alt.Tooltip("value:Q", title=TITLES.get(metric, metric), format=".4f")]
    interval = alt.Chart(means.dropna(subset=["low"])).mark_rule(style="interval", clip=True)
    words = alt.Chart(means).mark_text(style="label", align="left", baseline="middle", dx=8)
    layers: list[alt.Chart | alt.LayerChart] = [
        interval.encode(x=alt.X("low:Q", scale=scale), x2=alt.X2("high:Q"), y=y, color=colour),
        alt.Chart(dots)
        .mark_point(style="open-dot", filled=False)
        .encode(x=x, y=y, yOffset=alt.value(4), color=colour, tooltip=tooltip),
        alt.Chart(means).mark_point(shape="diamond", style="mean-dot").encode(x=x, y=y, color=colour, tooltip=tooltip),
        words.encode(x=alt.value(width), y=y, text=alt.Text("text:N")),
    ]
    return layered(layers, width=width, height=max(1, len(order)) * 30)


def dots_finding(groups: Sequence[Mapping[str, Any]], metrics: Sequence[str]) -> str:
    sentences = []
    for metric in metrics:
        cells = [(group["name"], group["metrics"].get(metric, {"values": []})["values"]) for group in groups]
        sentences.append(
            f"{TITLES.get(metric, metric)}: " + ", ".join(f"{name} {describe(values).text()}" for name, values in cells)
        )
    return ". ".join(sentences) + "."
