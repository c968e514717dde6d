"""The runs behind a mean on one narrow figure for paper: every metric a row, every run a ring, mean and SD beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mammo_core.analysis.metrics import TITLES
from mammo_core.analysis.variance import Spread, describe
from mammo_core.report.panels import value_range
from mammo_core.report.spec import Chart, Spec, at, by_series, category, layered, number, records
from mammo_core.report.theme import run_colours

Values = Mapping[str, Sequence[float | None]]
"""Metric -> one value a run."""

SHORT_TITLES = {"auc_ovr_macro": "AUC (macro)", "dense_auc": "AUC (dense)", "malignant_auc": "AUC (malignant)"}
ROW, GAP = 15, 9
"""Height of a group's row and of the space between metrics."""


def short_title(metric: str) -> str:
    return SHORT_TITLES.get(metric) or TITLES.get(metric, metric)


def seed_dots(groups: Mapping[str, Values], metrics: Sequence[str], width: int = 200) -> Chart:
    """Every run as a ring, the mean as a diamond, mean ± SD (n-1) as a line and as numbers.

    Parameters
    ----------
    groups : mapping of name to {metric: one value a run}
        Runs that differ in seed or fold only; the names stand in a legend where there are several.
    """
    shown = [metric for metric in metrics if any(describe(values.get(metric, ())).n for values in groups.values())]
    spreads = {(metric, name): describe(values.get(metric, ())) for metric in shown for name, values in groups.items()}
    order, colours = list(groups), run_colours(list(groups))
    rings = [
        {"metric": short_title(metric), "group": name, "value": value}
        for (metric, name), spread in spreads.items()
        for value in spread.values
    ]
    means = [
        {
            "metric": short_title(metric),
            "group": name,
            "value": spread.mean,
            "low": min(_sd_ends(spread), default=None),
            "high": max(_sd_ends(spread), default=None),
            "text": f"{spread.mean:.3f}" + ("" if spread.sd is None else f" ± {spread.sd:.3f}"),
        }
        for (metric, name), spread in spreads.items()
        if spread.mean is not None
    ]
    ends = [end for spread in spreads.values() for end in (*spread.values, *_sd_ends(spread))]
    scale = {"domain": list(value_range(ends, least_span=0.05)), "nice": False, "zero": False}
    parts = _layers(rings, means, _place(shown, colours, scale, width), width)
    height = max(1, len(shown)) * (len(order) * ROW + GAP)
    return Chart(layered(parts, width, height, description=dots_finding(groups, shown)))


def _sd_ends(spread: Spread) -> tuple[float, ...]:
    if spread.mean is None or spread.sd is None:
        return ()
    return spread.mean - spread.sd, spread.mean + spread.sd


def _place(metrics: Sequence[str], colours: Mapping[str, str], scale: Spec, width: int) -> Spec:
    order = list(colours)
    quiet = {"ticks": False, "domain": False, "grid": False, "minExtent": 0, "maxExtent": 160}
    legend = (
        {"title": None, "orient": "top", "columns": 1, "symbolType": "diamond", "labelLimit": 220} if len(order) > 1 else None
    )
    titles = [short_title(metric) for metric in metrics]
    x_axis = {"grid": True, "tickCount": max(2, width // 40), "labelOverlap": "greedy"}
    place = {
        "x": number("value", title="Value at each run's best epoch", scale=scale, axis=x_axis),
        "y": category("metric", sort=titles, title=None, axis=quiet),
        "color": by_series(order, [colours[name] for name in order], "group", legend=legend),
    }
    if len(order) > 1:
        place["yOffset"] = category("group", sort=list(order))
    return place


def _layers(rings: list[Spec], means: list[Spec], place: Spec, width: int) -> list[Spec]:
    bars = [row for row in means if row["low"] is not None]
    words = {"type": "text", "style": "label", "align": "left", "baseline": "middle", "dx": 6, "clip": False}
    offset = {"yOffset": place["yOffset"]} if "yOffset" in place else {}
    low = {**place["x"], "field": "low"}
    return [
        {
            "data": records(bars),
            "mark": {"type": "rule", "style": "interval"},
            "encoding": {**place, "x": low, "x2": {"field": "high"}},
        },
        {"data": records(rings), "mark": {"type": "point", "style": "open-dot", "filled": False}, "encoding": place},
        {"data": records(means), "mark": {"type": "point", "shape": "diamond", "style": "mean-dot"}, "encoding": place},
        {
            "data": records(means),
            "mark": words,
            "encoding": {"x": at(width), "y": place["y"], **offset, "text": category("text")},
        },
    ]


def dots_finding(groups: Mapping[str, Values], metrics: Sequence[str]) -> str:
    """Mean, SD and n of every group in every metric."""
    sentences = [
        f"{short_title(metric)}: "
        + ", ".join(
            (f"{name} " if len(groups) > 1 else "") + describe(values.get(metric, ())).text() for name, values in groups.items()
        )
        for metric in metrics
    ]
    return ". ".join(sentences) + "."
