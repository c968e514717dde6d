"""ROC and precision-recall curves of one or several questions.

``roc_chart(curves, view)`` and ``precision_recall_chart(curves, view)`` take ``analysis.thresholds.RankingCurve``s, as
``ranking_of(table, class_names, ordinal, keys)`` makes them from a table of predictions, and a :class:`RankingView`:
``roc_chart(ranking_of(table, names, ordinal, ["dense"]), RankingView(width=240))``. Both raise ``UndefinedMetric`` where no
curve is defined; the description of each chart says what it shows in words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mammo_core.analysis.formulas import Floats
from mammo_core.analysis.thresholds import RankingCurve
from mammo_core.errors import UndefinedMetric
from mammo_core.report.spec import Chart, Spec, by_series, layered, number, records, tooltip
from mammo_core.report.theme import CLASS_COLOURS, DASHES, NEUTRAL
from mammo_core.runs.schema import MetricValue

MOST_POINTS = 400
"""More points than a figure can show; longer curves are thinned evenly to this."""
AXIS = {"values": [0, 0.2, 0.4, 0.6, 0.8, 1], "format": ".1f"}
UNIT = {"domain": [0, 1]}


@dataclass(frozen=True)
class Mark:
    """A threshold as a point on a curve: what it gives on the cases shown."""

    name: str
    """Beside the point: ``threshold 0.42``."""
    sensitivity: float
    specificity: float
    precision: float | None = None
    """Share of true positives among the positive calls, in the cases shown; ``None`` where nothing is called positive."""


@dataclass(frozen=True, kw_only=True)
class RankingView:
    """How ranking curves are drawn."""

    width: int = 300
    """Side of the square plot."""
    band: bool = True
    """Whether a single ROC curve has its 95 % band; several would hide each other."""
    marks: tuple[Mark, ...] = ()
    legend: str = ""
    """Title of the legend; says what the numbers are."""


def roc_chart(curves: Sequence[RankingCurve], view: RankingView | None = None) -> Chart:
    """ROC curves with their AUC, the line of chance, and for a single curve its 95 % band over resampled patients.

    Raises
    ------
    UndefinedMetric
        No curve is defined; says why.
    """
    view, shown = view or RankingView(), _defined(curves)
    names = [f"{curve.title}  {_number(curve.auc)}" for curve in shown]
    place = {
        "x": number("x", title="1 - specificity", scale=UNIT, axis=AXIS),
        "y": number("y", title="Sensitivity", scale=UNIT, axis=AXIS),
    }
    chance = {"type": "line", "style": "member", "color": NEUTRAL, "strokeDash": [2, 3]}
    parts: list[Spec] = [{"data": records([{"x": 0, "y": 0}, {"x": 1, "y": 1}]), "mark": chance, "encoding": place}]
    if len(shown) == 1 and view.band and len(shown[0].band_rates):
        parts.append(_band(shown[0], place))
    data = [
        _points(name, curve.false_positive_rate, curve.true_positive_rate, curve.thresholds)
        for name, curve in zip(names, shown, strict=True)
    ]
    parts.append(_lines(names, [row for rows in data for row in rows], place, view.legend or "AUC"))
    parts += _marks([{"x": 1 - mark.specificity, "y": mark.sensitivity, "name": mark.name} for mark in view.marks], place)
    return Chart(layered(parts, view.width, view.width, description=roc_finding(curves)))


def precision_recall_chart(curves: Sequence[RankingCurve], view: RankingView | None = None) -> Chart:
    """Precision-recall curves with their average precision; the dotted line of each is the share of positives.

    Raises
    ------
    UndefinedMetric
        No curve is defined; says why.
    """
    view, shown = view or RankingView(), _defined(curves)
    names = [f"{curve.title}  {_number(curve.average_precision)}" for curve in shown]
    place = {
        "x": number("x", title="Recall (sensitivity)", scale=UNIT, axis=AXIS),
        "y": number("y", title="Precision (predictive value)", scale=UNIT, axis=AXIS),
    }
    parts: list[Spec] = []
    for index, curve in enumerate(shown):
        line = {"type": "line", "style": "member", "color": _colour(index), "strokeDash": [2, 3]}
        ends = [{"x": end, "y": curve.prevalence} for end in (0, 1)]
        parts.append({"data": records(ends), "mark": line, "encoding": place})
    data = [_precision_points(name, curve) for name, curve in zip(names, shown, strict=True)]
    rows = [row for points in data for row in points]
    parts.append(_lines(names, rows, place, view.legend or "Average precision", step=True))
    marks = [{"x": mark.sensitivity, "y": mark.precision, "name": mark.name} for mark in view.marks if mark.precision is not None]
    parts += _marks(marks, place)
    return Chart(layered(parts, view.width, view.width, description=precision_recall_finding(curves)))


def _defined(curves: Sequence[RankingCurve]) -> list[RankingCurve]:
    shown = [curve for curve in curves if not curve.undefined]
    if not shown:
        why = "; ".join(dict.fromkeys(f"{curve.title}: {curve.undefined}" for curve in curves)) or "nothing was asked"
        raise UndefinedMetric(f"There is no curve ({why}). It takes cases of both kinds: evaluate on films of several classes.")
    return shown


def _colour(index: int) -> str:
    return CLASS_COLOURS[index % len(CLASS_COLOURS)]


def _number(value: MetricValue) -> str:
    return "undefined" if value.value is None else f"{value.value:.3f}"


def _points(name: str, x: Floats, y: Floats, thresholds: Floats) -> list[dict[str, Any]]:
    """At most ``MOST_POINTS`` points, ends included."""
    kept = np.unique(np.linspace(0, len(x) - 1, min(len(x), MOST_POINTS)).round().astype(int))
    return [{"curve": name, "x": float(x[i]), "y": float(y[i]), "rank": int(i), "threshold": float(thresholds[i])} for i in kept]


def _precision_points(name: str, curve: RankingCurve) -> list[dict[str, Any]]:
    """The points, drawn from recall 0 at the precision of the highest threshold, so that a curve of one positive is seen."""
    recall, precision = np.append(0.0, curve.recall), np.append(curve.precision[:1], curve.precision)
    return _points(name, recall, precision, curve.thresholds)


def _lines(names: list[str], data: list[dict[str, Any]], place: Spec, title: str, step: bool = False) -> Spec:
    # below the plot: the names of questions are too long for a corner
    legend = {
        "title": title,
        "orient": "bottom",
        "direction": "vertical",
        "symbolType": "stroke",
        "symbolSize": 250,
        "labelLimit": 300,
    }
    look = {
        "color": by_series(names, [_colour(index) for index in range(len(names))], "curve", legend=legend),
        "strokeDash": by_series(names, [list(DASHES[i % len(DASHES)]) for i in range(len(names))], "curve", legend=legend),
        "order": number("rank"),
        "tooltip": tooltip(
            ("curve", "Curve", ""),
            ("x", place["x"]["title"], ".3f"),
            ("y", place["y"]["title"], ".3f"),
            ("threshold", "Threshold", ".3f"),
        ),
    }
    line = {"type": "line", "style": "series", **({"interpolate": "step-before"} if step else {})}
    return {"data": records(data), "mark": line, "encoding": {**place, **look}}


def _band(curve: RankingCurve, place: Spec) -> Spec:
    rows = [
        {"x": float(rate), "y": float(low), "high": float(high)}
        for rate, low, high in zip(curve.band_rates, curve.band_low, curve.band_high, strict=True)
    ]
    mark = {"type": "area", "color": _colour(0), "opacity": 0.18}
    return {"data": records(rows), "mark": mark, "encoding": {**place, "y2": {"field": "high"}}}


def _marks(rows: list[dict[str, Any]], place: Spec) -> list[Spec]:
    if not rows:
        return []
    dot = {"type": "point", "style": "mean-dot", "shape": "diamond", "color": NEUTRAL}
    words = {"type": "text", "style": "label", "align": "left", "baseline": "top", "dx": 8, "dy": 4}
    for row in rows:
        row["left"] = row["x"] > 0.6  # its name would leave the plot on the right
    sides = [
        {
            "data": records(row for row in rows if row["left"] is left),
            "mark": {**words, "align": "right" if left else "left", "dx": -8 if left else 8},
            "encoding": {**place, "text": {"field": "name", "type": "nominal"}},
        }
        for left in (True, False)
        if any(row["left"] is left for row in rows)
    ]
    return [{"data": records(rows), "mark": dot, "encoding": place}, *sides]


# ---- findings -------------------------------------------------------------------------------------------------------------


def roc_finding(curves: Sequence[RankingCurve]) -> str:
    """AUC with its interval of every question, in words."""
    return "Area under the ROC curve (0.5 is chance): " + _sentences(curves, "auc")


def precision_recall_finding(curves: Sequence[RankingCurve]) -> str:
    """Average precision with its interval of every question, and what guessing gives."""
    return "Average precision (guessing gives the share of positives): " + _sentences(curves, "average_precision")


def _sentences(curves: Sequence[RankingCurve], metric: str) -> str:
    told = []
    for curve in curves:
        if curve.undefined:
            told.append(f"{curve.title} undefined, {curve.undefined}")
            continue
        value: MetricValue = getattr(curve, metric)
        interval = "" if value.ci_low is None or value.ci_high is None else f" ({value.ci_low:.3f} to {value.ci_high:.3f})"
        told.append(f"{curve.title} {_number(value)}{interval}, {curve.positives} of {curve.films} positive")
    return "; ".join(told) + "."
