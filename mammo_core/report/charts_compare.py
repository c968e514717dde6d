"""Runs and groups of runs side by side: mean curves with their members, and the dots behind every mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mammo_core.analysis.answers import metric_title
from mammo_core.analysis.variance import describe, mean_curve
from mammo_core.report.hover import hover
from mammo_core.report.line_names import NARROW, end_names, names_above
from mammo_core.report.panels import Panel, Series, value_range
from mammo_core.report.spec import Chart, Spec, at, by_series, category, layered, number, records, rows, tooltip
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


def seed_curves(frames: Frames, column: str, view: CurveView, name: str = "mean") -> Chart:
    """Every run thin, their mean bold, and mean ± SD (n-1) as a band wherever at least two runs have the epoch.

    ``frames`` maps run id to its history table.
    """
    return group_curves({name: frames}, column, view)


def group_curves(groups: Mapping[str, Frames], column: str, view: CurveView) -> Chart:
    """:func:`seed_curves` for several groups in one panel; each name carries its n."""
    tables = {name: mean_curve(list(frames.values()), column) for name, frames in groups.items()}
    tables = {name: table for name, table in tables.items() if len(table)}
    members = {name: [frame for frame in groups[name].values() if column in frame.columns] for name in tables}
    panel = Panel(
        name="curves",
        title=view.title,
        epochs=max([view.epochs_planned or 1, *(int(table["epoch"].max()) for table in tables.values())]),
        width=view.width,
        height=view.height,
        domain=value_range(_all_values(tables, members, column)),
    )
    colours = run_colours(list(tables))
    series = [
        Series(name, _name_with_n(name, table), colours[name], DASHES[index % len(DASHES)], shape="")
        for index, (name, table) in enumerate(tables.items())
    ]
    parts: list[Spec] = []
    for one in series:
        parts += _band(one, tables[one.column], panel)
        parts += [_member(one, frame, column, panel) for frame in members[one.column]] if view.members else []
    parts += [_mean(one, tables[one.column], panel) for one in series]  # above all members
    joined = _joined(tables)
    names = names_above(series) if view.width < NARROW else end_names(series, joined, panel)
    parts += [*names, hover(series, joined, panel)]
    return Chart(layered(parts, view.width, view.height, description=curves_finding(tables, view.title)))


def _all_values(tables: Frames, members: Mapping[str, Sequence[pd.DataFrame]], column: str) -> np.ndarray[Any, Any]:
    edges = [table["mean"] + sign * table["sd"].fillna(0.0) for table in tables.values() for sign in (-1, 1)]
    drawn = [frame[column] for frames in members.values() for frame in frames]
    return np.concatenate([np.asarray(values, dtype=np.float64) for values in (*edges, *drawn)] or [np.empty(0)])


def _name_with_n(name: str, table: pd.DataFrame) -> str:
    return f"{name}{' ± SD' if table['n'].max() > 1 else ''} ({count_text(table)})"


def _band(series: Series, table: pd.DataFrame, panel: Panel) -> list[Spec]:
    spread = table[table["n"] >= 2]
    if spread.empty:
        return []
    edges = pd.DataFrame(
        {"epoch": spread["epoch"], "value": spread["mean"] - spread["sd"], "high": spread["mean"] + spread["sd"]}
    )
    mark = {"type": "area", "color": series.colour, "opacity": 0.18, "clip": True}
    return [{"data": rows(edges), "mark": mark, "encoding": {"x": panel.x, "y": panel.y, "y2": {"field": "high"}}}]


def _member(series: Series, frame: pd.DataFrame, column: str, panel: Panel) -> Spec:
    data = rows(pd.DataFrame({"epoch": frame["epoch"], "value": frame[column]}))
    mark = {"type": "line", "style": "member", "color": series.colour, "clip": True}
    return {"data": data, "mark": mark, "encoding": {"x": panel.x, "y": panel.y}}


def _mean(series: Series, table: pd.DataFrame, panel: Panel) -> Spec:
    data = rows(pd.DataFrame({"epoch": table["epoch"], "value": table["mean"]}))
    mark = {"type": "line", "style": "mean", "color": series.colour, "strokeDash": list(series.dash), "clip": True}
    return {"data": data, "mark": mark, "encoding": {"x": panel.x, "y": panel.y}}


def _joined(tables: Frames) -> pd.DataFrame:
    """One row an epoch, one column a group: its mean."""
    if not tables:
        return pd.DataFrame({"epoch": []})
    columns = [table.set_index("epoch")["mean"].rename(name) for name, table in tables.items()]
    return pd.concat(columns, axis=1).sort_index().reset_index()


def count_text(table: pd.DataFrame) -> str:
    """``n = 3``, or ``n = 3 to 5`` where runs have different lengths."""
    least, most = int(table["n"].min()), int(table["n"].max())
    return f"n = {least}" if least == most else f"n = {least} to {most}"


def curves_finding(tables: Frames, title: str) -> str:
    """Where each mean curve ends, with its SD and n."""
    if not tables:
        return f"{title}: no values."
    ends = []
    for name, table in tables.items():
        last = table.iloc[-1]
        sd = "" if pd.isna(last["sd"]) else f" ± {last['sd']:.3f}"
        ends.append(f"{name} {last['mean']:.3f}{sd} at epoch {int(last['epoch'])} ({count_text(table)})")
    return f"{title}, mean over runs and SD (n-1): {'; '.join(ends)}."


# ---- dots -----------------------------------------------------------------------------------------------------------------


def metric_dots(groups: Sequence[Mapping[str, Any]], metrics: Sequence[str] = HEADLINE_METRICS, width: int = 300) -> Chart:
    """Every run as a ring, the mean as a diamond and its 95 % interval as a line; one panel a metric, one row a group.

    ``groups`` is the ``groups`` list of ``compare``. The interval is that over runs and patients where there is one, else the
    t interval over runs, which knows of training chance only; the description says which.
    """
    shown = [metric for metric in metrics if any(metric in group["metrics"] for group in groups)]
    panels = [_dot_panel(groups, metric, width) for metric in shown]
    resolve = {"scale": {"x": "independent", "color": "independent"}}
    return Chart({"vconcat": panels, "spacing": 8, "resolve": resolve, "description": dots_finding(groups, shown)})


def _dot_panel(groups: Sequence[Mapping[str, Any]], metric: str, width: int) -> Spec:
    found = {str(group["name"]): group["metrics"].get(metric, {"values": []}) for group in groups}
    title, order, colours = metric_title(metric), list(found), run_colours(list(found))
    dots = [{"group": n, "value": v} for n, cell in found.items() for v in cell["values"] if v is not None]
    means: list[dict[str, Any]] = [
        {
            "group": n,
            "value": cell["mean"],
            "low": (cell.get("films") or cell)["ci_low"],
            "high": (cell.get("films") or cell)["ci_high"],
            "text": describe(cell["values"]).text(),
        }
        for n, cell in found.items()
        if cell.get("mean") is not None
    ]
    ends = [dot["value"] for dot in dots] + [mean[end] for mean in means for end in ("low", "high") if mean[end] is not None]
    scale = {"domain": list(value_range(ends, least_span=0.02)), "nice": False, "zero": False}
    place: Spec = {
        "x": number("value", title=title, scale=scale),
        "y": _rows("group", order, width < NARROW),
        "color": by_series(order, [colours[name] for name in order], "group"),
        "tooltip": tooltip(("group", "Group", ""), ("value", title, ".4f")),
    }
    intervals = records(mean for mean in means if mean["low"] is not None)
    ring = {"type": "point", "style": "open-dot", "filled": False}
    row = 36 if width < NARROW else 30  # pixels
    parts: list[Spec] = [
        {
            "data": intervals,
            "mark": {"type": "rule", "style": "interval", "clip": True},
            "encoding": {**place, "x": number("low", title=title, scale=scale), "x2": {"field": "high"}},
        },
        {"data": records(dots), "mark": ring, "encoding": {**place, "yOffset": at(0.87 * row if width < NARROW else 4)}},
        {"data": records(means), "mark": {"type": "point", "shape": "diamond", "style": "mean-dot"}, "encoding": place},
        _row_words(means, "group", place["y"], width, width < NARROW),
    ]
    return layered(parts, width, max(1, len(order)) * row)


def _rows(field: str, order: Sequence[str], above: bool) -> Spec:
    """One row a name; the names stand left of the plot unless they stand above their rows."""
    axis = {"ticks": False, "domain": False, "grid": True, "minExtent": 0, "maxExtent": 260, "labelLimit": 250}
    return category(field, sort=list(order), title=None, axis=axis | ({"labels": False} if above else {}))


def _row_words(entries: Sequence[Mapping[str, Any]], field: str, y: Spec, width: int, above: bool) -> Spec:
    """The numbers of each row: right of the plot, or above the row behind its name."""
    mark = {"type": "text", "style": "label", "align": "left", "baseline": "middle"}
    if not above:
        return {
            "data": records(entries), "mark": mark | {"dx": 8},
            "encoding": {"x": at(width), "y": y, "text": category("text")},
        }  # fmt: skip
    named = [{**entry, "text": f"{entry[field]}  {entry['text']}"} for entry in entries]
    return {"data": records(named), "mark": mark | {"dy": -10}, "encoding": {"x": at(0), "y": y, "text": category("text")}}


def dots_finding(groups: Sequence[Mapping[str, Any]], metrics: Sequence[str]) -> str:
    """Mean, SD and n of every group in every metric."""
    sentences = []
    for metric in metrics:
        cells = [(group["name"], group["metrics"].get(metric, {"values": []})["values"]) for group in groups]
        sentences.append(f"{metric_title(metric)}: " + ", ".join(f"{name} {describe(values).text()}" for name, values in cells))
    whole = all((group["metrics"].get(metrics[0]) or {}).get("films") for group in groups) if metrics else False
    lines = "runs and patients" if whole else "runs and patients where predictions are at hand, else runs only"
    return ". ".join(sentences) + f". Lines: 95 % interval over {lines}."


# ---- differences ----------------------------------------------------------------------------------------------------------


def difference_chart(tests: Sequence[Mapping[str, Any]], width: int = 300) -> Chart:
    """Every difference as a dot with its 95 % interval, against a line at 0; one row a metric, or for several pairs one row a
    pair in the metric that decides.

    ``tests`` is the ``tests`` list of ``compare``; entries without an interval are left out. Intervals that leave out 0 are
    drawn filled, the others open, so that the finding does not hang on colour.
    """
    drawn = [test for test in tests if test["difference"] is not None and test["ci_low"] is not None]
    several = len({(test["a"], test["b"]) for test in drawn}) > 1
    if several:
        drawn = [test for test in drawn if test.get("family") != "other"]
    table: list[dict[str, Any]] = [
        {
            "row": f"{test['a']} - {test['b']}" if several else metric_title(test["metric"]),
            "value": test["difference"],
            "low": test["ci_low"],
            "high": test["ci_high"],
            "text": f"{test['difference']:+.3f} ({test['ci_low']:+.3f} to {test['ci_high']:+.3f})",
            "clear": not test["ci_low"] <= 0 <= test["ci_high"],
        }
        for test in drawn
    ]
    above = several or width < NARROW  # the names of pairs are long
    ends = [entry[key] for entry in table for key in ("low", "high")] + [0.0]
    scale = {"domain": list(value_range(ends, least_span=0.02)), "nice": False, "zero": False}
    title = "Difference"
    if drawn:
        title = f"Difference in {metric_title(drawn[0]['metric'])}" if several else f"{drawn[0]['a']} - {drawn[0]['b']}"
    place: Spec = {
        "x": number("value", title=title, scale=scale),
        "y": _rows("row", [str(entry["row"]) for entry in table], above),
        "tooltip": tooltip(("row", "Metric", ""), ("text", "Difference (95 %)", "")),
    }
    colour = run_colours(["difference"])["difference"]
    dot = {"type": "point", "style": "mean-dot", "color": colour}
    parts: list[Spec] = [
        {"data": records([{"zero": 0.0}]), "mark": {"type": "rule", "style": "guide"}, "encoding": {"x": number("zero")}},
        {
            "data": records(table),
            "mark": {"type": "rule", "style": "interval", "color": colour},
            "encoding": {**place, "x": number("low", title=title, scale=scale), "x2": {"field": "high"}},
        },
        {"data": records(entry for entry in table if entry["clear"]), "mark": dot, "encoding": place},
        {
            "data": records(e for e in table if not e["clear"]),
            "mark": {**dot, "style": "open-dot", "filled": False},
            "encoding": place,
        },
        _row_words(table, "row", place["y"], width, above),
    ]
    return Chart(layered(parts, width, max(1, len(table)) * (32 if above else 26), description=difference_finding(drawn)))


def difference_finding(tests: Sequence[Mapping[str, Any]]) -> str:
    """Every difference with its interval."""
    if not tests:
        return "No difference has an interval."
    cells = [
        f"{test['a']} - {test['b']} in {metric_title(test['metric'])} {test['difference']:+.3f} "
        f"({test['ci_low']:+.3f} to {test['ci_high']:+.3f})"
        for test in tests
    ]
    return f"Differences with 95 % intervals: {'; '.join(cells)}."
