"""One metric for everybody and for each group, as points with their intervals below each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mammo_core.analysis.subgroups import Subgroup
from mammo_core.report.panels import value_range
from mammo_core.report.spec import Chart, Spec, at, by_series, category, layered, number, records, tooltip
from mammo_core.report.theme import GOLD, NEUTRAL

ROW_HEIGHT = 28


def subgroup_chart(rows: Sequence[Subgroup], title: str, width: int = 320, unit: str = "films") -> Chart:
    """A forest plot of ``subgroups_of``: the first row is everybody, its value the dashed line through all rows.

    Parameters
    ----------
    title : str
        Name of the metric, for the axis.
    unit : str
        Plural of the unit of analysis.
    """
    data = [_row(row) for row in rows]
    shown = [row for row in data if row["value"] is not None]
    ends = [row[key] for row in shown for key in ("value", "low", "high") if row[key] is not None]
    scale = {"domain": list(value_range(ends, least_span=0.1)), "nice": False, "zero": False}
    order = [row["group"] for row in data]
    quiet = {"ticks": False, "domain": False, "grid": True, "minExtent": 0, "maxExtent": 160, "labelLimit": 150}
    y = category("group", sort=order, title=None, axis=quiet)
    kinds: Spec = by_series(["all", "group"], [NEUTRAL, GOLD], "kind")
    lines = tooltip(("group", "Group", ""), ("value", title, ".3f"), ("low", "95 % from", ".3f"), ("high", "to", ".3f"))
    x: Spec = number("value", title=title, scale=scale)
    place: Spec = {"x": x, "y": y, "color": kinds, "tooltip": lines}
    words = {"type": "text", "style": "label", "align": "left", "baseline": "middle", "dx": 10}
    # a hidden value takes the place of its point, on the left
    hidden = [row for row in data if row["value"] is None]
    parts: list[Spec] = []
    if shown and shown[0]["kind"] == "all":
        guide = {"type": "rule", "style": "guide", "color": NEUTRAL, "strokeDash": [4, 3]}
        parts.append({"data": records(shown[:1]), "mark": guide, "encoding": {"x": place["x"]}})
    parts += [
        {
            "data": records(row for row in shown if row["low"] is not None),
            "mark": {"type": "rule", "style": "interval", "clip": True},
            "encoding": {**place, "x": {**place["x"], "field": "low"}, "x2": {"field": "high"}},
        },
        {"data": records(shown), "mark": {"type": "point", "shape": "diamond", "style": "mean-dot"}, "encoding": place},
        {"data": records(data), "mark": words, "encoding": {"x": at(width), "y": y, "text": category("text")}},
        {"data": records(hidden), "mark": {**words, "dx": 4}, "encoding": {"x": at(0), "y": y, "text": category("why")}},
    ]
    return Chart(layered(parts, width, max(1, len(data)) * ROW_HEIGHT, description=subgroup_finding(rows, title)))


def _row(row: Subgroup) -> dict[str, Any]:
    value = row.value
    return {
        "group": row.name,
        "kind": "all" if row.name == "All" else "group",
        "value": value.value,
        "low": value.ci_low,
        "high": value.ci_high,
        "text": ", ".join(filter(None, (_number(row), f"n = {row.films}"))),
        "n": row.films,
        "patients": row.patients,
        "why": "hidden: too few" if value.method.startswith("hidden") else "undefined" if value.value is None else "",
    }


def _number(row: Subgroup) -> str:
    value = row.value
    if value.value is None:
        return ""
    interval = "" if value.ci_low is None or value.ci_high is None else f" ({value.ci_low:.2f} to {value.ci_high:.2f})"
    return f"{value.value:.3f}{interval}"


def subgroup_finding(rows: Sequence[Subgroup], title: str) -> str:
    """The lowest and the highest group beside everybody, and how many are hidden."""
    if not rows:
        return f"{title}: no cases."
    everybody, groups = rows[0], [row for row in rows[1:] if row.value.value is not None]
    text = f"{title}: {_number(everybody) or 'undefined'} for all {everybody.films}."
    if groups:
        low, high = (pick(groups, key=lambda row: row.value.value or 0.0) for pick in (min, max))
        text += (
            f" Lowest in {low.name}: {_number(low)}, n = {low.films}; highest in {high.name}: {_number(high)}, n = {high.films}."
        )
    hidden = len(rows) - 1 - len(groups)
    return text + (f" Hidden for {hidden} group(s) with too few cases." if hidden else "")
