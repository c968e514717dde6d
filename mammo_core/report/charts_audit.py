"""Figures of an audit: which metadata tell the class, and how classes lie over centres, vendors or years."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mammo_core.report.spec import Chart, Spec, by_series, category, layered, number, records, tooltip
from mammo_core.report.theme import NEUTRAL, TRAINING, VALIDATION, class_colours

ROW_HEIGHT = 24
MAX_ROWS = 12


def shortcut_chart(test: Mapping[str, Any], width: int = 420) -> Chart:
    """The AUC of all metadata together and of each column alone, with the line from which a shortcut is called.

    Parameters
    ----------
    test : the part ``shortcut`` of an ``audit.json`` whose test could be made
    """
    everything = {"title": "all together", "auc": test["auc"], "ci_low": test["ci_low"], "ci_high": test["ci_high"]}
    entries = [everything, *list(test["columns"])[:MAX_ROWS]]
    limit = test["threshold"]
    data = [{**entry, "kind": "above" if entry["auc"] > limit else "below"} for entry in entries]
    order = [entry["title"] for entry in entries]
    low = min(0.4, *(entry["ci_low"] for entry in entries))
    scale = {"domain": [low, 1.0], "nice": False, "zero": False}
    x = number("auc", title="Macro AUC across patients", scale=scale)
    y = category("title", sort=order, title=None, axis={"minExtent": 0, "maxExtent": 200, "labelLimit": 190, "ticks": False})
    colour = by_series(["above", "below"], [VALIDATION, TRAINING], "kind")
    lines = tooltip(
        ("title", "Metadata", ""), ("auc", "Macro AUC", ".3f"), ("ci_low", "95 % from", ".3f"), ("ci_high", "to", ".3f")
    )
    rule = {"type": "rule", "style": "guide", "color": NEUTRAL, "strokeDash": [4, 3]}
    parts: list[Spec] = [
        {"data": records([{"auc": limit}]), "mark": rule, "encoding": {"x": x}},
        {
            "data": records(data),
            "mark": {"type": "rule", "style": "interval", "clip": True},
            "encoding": {"x": {**x, "field": "ci_low"}, "x2": {"field": "ci_high"}, "y": y, "color": colour},
        },
        {
            "data": records(data),
            "mark": {"type": "point", "shape": "diamond", "style": "mean-dot"},
            "encoding": {"x": x, "y": y, "color": colour, "tooltip": lines},
        },
    ]
    finding = f"{test['sentence']} Dashed line: {limit:.2f}."
    return Chart(layered(parts, width, ROW_HEIGHT * len(data), description=finding))


def count_chart(counts: Mapping[str, int], what: str, width: int = 420) -> Chart:
    """Films with each value (class, image size), one bar a value, the first :data:`MAX_ROWS` of them.

    Parameters
    ----------
    counts : value -> films, in the order to be shown
    what : what the values are: ``Class``
    """
    shown = list(counts.items())[:MAX_ROWS]
    rest = sum(counts.values()) - sum(films for _, films in shown)
    data = [{"value": value, "films": films} for value, films in [*shown, *([("others", rest)] if rest else [])]]
    spec: Spec = {
        "data": records(data),
        "width": width,
        "height": ROW_HEIGHT * max(1, len(data)),
        "mark": {"type": "bar", "height": {"band": 0.7}, "color": TRAINING},
        "encoding": {
            "x": number("films", title="Films", axis={"tickMinStep": 1}),
            "y": category(
                "value",
                sort=[row["value"] for row in data],
                title=None,
                axis={"minExtent": 0, "maxExtent": 240, "labelLimit": 230, "ticks": False},
            ),
            "tooltip": tooltip(("value", what, ""), ("films", "Films", "d")),
        },
        "description": f"Films by {what.lower()}: " + ", ".join(f"{row['value']} {row['films']}" for row in data) + ".",
    }
    return Chart(spec)


def composition_chart(counts: Mapping[str, Mapping[str, int]], title: str, class_names: Sequence[str], width: int = 420) -> Chart:
    """Share of each class among the films with each value (centre, vendor, year), one bar a value.

    Parameters
    ----------
    counts : class -> value -> films; values beyond the first :data:`MAX_ROWS` are joined
    """
    counts = _with_others(counts)
    values = list(dict.fromkeys(value for row in counts.values() for value in row))
    data: list[dict[str, Any]] = [
        {"value": value, "class": name, "films": counts.get(name, {}).get(value, 0), "order": place}
        for value in values
        for place, name in enumerate(class_names)
    ]
    totals = {value: sum(counts.get(name, {}).get(value, 0) for name in class_names) for value in values}
    colours = class_colours(class_names)
    spec: Spec = {
        "data": records({**row, "label": f"{row['value']} (n = {totals[row['value']]})"} for row in data),
        "width": width,
        "height": ROW_HEIGHT * max(1, len(values)),
        "mark": {"type": "bar", "height": {"band": 0.7}},
        "encoding": {
            "x": number("films", stack="normalize", title="Share of films", axis={"format": "%"}),
            "y": category(
                "label",
                sort=[f"{value} (n = {totals[value]})" for value in values],
                title=None,
                axis={"minExtent": 0, "maxExtent": 240, "labelLimit": 230, "ticks": False},
            ),
            "color": category(
                "class",
                scale={"domain": list(class_names), "range": [colours[name] for name in class_names]},
                legend={"title": "Class", "orient": "bottom"},
            ),
            "order": {"field": "order", "type": "quantitative"},
            "tooltip": tooltip(("value", title, ""), ("class", "Class", ""), ("films", "Films", "d")),
        },
        "description": _composition_finding(counts, title, class_names, totals),
    }
    return Chart(spec)


def _with_others(counts: Mapping[str, Mapping[str, int]]) -> Mapping[str, Mapping[str, int]]:
    """The same films with few enough values: those that would not be shown are counted together."""
    values = list(dict.fromkeys(value for row in counts.values() for value in row))
    shown, rest = values[:MAX_ROWS], values[MAX_ROWS:]
    if not rest:
        return counts
    return {
        name: {value: row.get(value, 0) for value in shown} | {f"{len(rest)} others": sum(row.get(value, 0) for value in rest)}
        for name, row in counts.items()
    }


def _composition_finding(
    counts: Mapping[str, Mapping[str, int]], title: str, class_names: Sequence[str], totals: Mapping[str, int]
) -> str:
    """Where the last class is rarest and commonest."""
    last = class_names[-1]
    shares = {value: counts.get(last, {}).get(value, 0) / films for value, films in totals.items() if films}
    if not shares:
        return f"{title}: no films."
    low, high = min(shares, key=lambda value: shares[value]), max(shares, key=lambda value: shares[value])
    return f"Share of class {last} by {title.lower()}: from {shares[low]:.0%} ({low}) to {shares[high]:.0%} ({high})."
