"""Reliability diagrams: how often the answer was yes where the model gave which probability.

``reliability_chart(curve, view)`` takes one ``analysis.calibration.Reliability``, such as
``calibration_of(table, class_names, ordinal).called`` or ``.curve("dense")``, and a :class:`ReliabilityView` whose ``after`` is
the same curve after temperature scaling. Its description says in words whether the error is larger than chance explains.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mammo_core.analysis.calibration import HISTOGRAM_CELLS, Reliability
from mammo_core.report.spec import Chart, Spec, by_series, layered, number, records, tooltip
from mammo_core.report.theme import GOLD, NEUTRAL, PINK

AXIS = {"values": [0, 0.2, 0.4, 0.6, 0.8, 1], "format": ".1f"}
UNIT = {"domain": [0, 1]}
COUNTS_HEIGHT = 60
BEFORE, AFTER = "as it is", "after temperature scaling"
LOOKS = {BEFORE: (GOLD, "circle"), AFTER: (PINK, "diamond")}
"""Hues that stand out from a white and from a dark background alike; a dark green keeps 3:1 there but is lost as a thin bar."""


@dataclass(frozen=True, kw_only=True)
class ReliabilityView:
    """How a reliability diagram is drawn."""

    width: int = 300
    """Side of the square plot; the counts below are ``COUNTS_HEIGHT`` high."""
    after: Reliability | None = None
    """The same probabilities after temperature scaling, drawn beside them; the null band stays that of the first."""
    unit: str = "films"


def reliability_chart(curve: Reliability, view: ReliabilityView | None = None) -> Chart:
    """Share observed against mean probability with 95 % bars, the null band, the diagonal, and the number of cases below."""
    view = view or ReliabilityView()
    x = number("x", title=f"Probability of {curve.title}", scale=UNIT, axis=AXIS)
    place = {"x": {**x, "axis": {**AXIS, "labels": False, "title": None}}}
    place["y"] = number("y", title="Share observed", scale=UNIT, axis=AXIS)
    curves = {BEFORE: curve} if view.after is None else {BEFORE: curve, AFTER: view.after}
    diagonal = {"type": "line", "style": "member", "color": NEUTRAL, "strokeDash": [2, 3]}
    band = [{"x": b.mean_probability, "y": b.null_low, "high": b.null_high} for b in curve.bins]
    upper: list[Spec] = [
        {
            "data": records(band),
            "mark": {"type": "area", "color": NEUTRAL, "opacity": 0.22},
            "encoding": {**place, "y2": {"field": "high"}},
        },
        {"data": records([{"x": 0, "y": 0}, {"x": 1, "y": 1}]), "mark": diagonal, "encoding": place},
        *_bars(curves, place),
        _dots(curves, place, view.unit),
    ]
    panels = [
        layered(upper, view.width, view.width),
        layered([_counts(curves, x, view.unit)], view.width, COUNTS_HEIGHT),
    ]
    return Chart(
        {"vconcat": panels, "spacing": 6, "resolve": {"scale": {"color": "shared"}}, "description": finding(curve, view.after)}
    )


def _rows(curves: dict[str, Reliability]) -> list[dict[str, Any]]:
    return [
        {"series": name, "x": b.mean_probability, "y": b.observed, "low": b.low, "high": b.high}
        | {"n": b.films, "patients": b.patients}
        for name, curve in curves.items()
        for b in curve.bins
    ]


def _look(curves: dict[str, Reliability]) -> Spec:
    names = list(curves)
    legend = {"title": None, "orient": "top"} if len(names) > 1 else None
    return {
        "color": by_series(names, [LOOKS[name][0] for name in names], legend=legend),
        "shape": by_series(names, [LOOKS[name][1] for name in names], legend=legend),
    }


def _bars(curves: dict[str, Reliability], place: Spec) -> list[Spec]:
    """The 95 % bars; of the first curve only where there are two, since they would hide each other."""
    name, curve = next(iter(curves.items()))
    mark = {"type": "rule", "style": "interval", "color": LOOKS[name][0], "clip": True}
    encoding = {**place, "y": {**place["y"], "field": "low"}, "y2": {"field": "high"}}
    return [{"data": records(_rows({name: curve})), "mark": mark, "encoding": encoding}]


def _dots(curves: dict[str, Reliability], place: Spec, unit: str) -> Spec:
    lines = tooltip(
        ("series", "Probabilities", ""),
        ("x", "Mean probability", ".3f"),
        ("y", "Share observed", ".3f"),
        ("low", "95 % from", ".3f"),
        ("high", "to", ".3f"),
        ("n", unit.capitalize(), "d"),
        ("patients", "Patients", "d"),
    )
    mark = {"type": "point", "style": "dot", "clip": True}
    return {"data": records(_rows(curves)), "mark": mark, "encoding": {**place, **_look(curves), "tooltip": lines}}


def _counts(curves: dict[str, Reliability], x: Spec, unit: str) -> Spec:
    """How many cases have which probability: bars for the first curve, a stepped line for the second."""
    name, curve = next(iter(curves.items()))
    cells = [
        {"x": place / HISTOGRAM_CELLS, "x2": (place + 1) / HISTOGRAM_CELLS, "y": count}
        for place, count in enumerate(curve.histogram)
    ]
    y = number("y", title=unit.capitalize(), axis={"tickCount": 3, "format": "d"})
    lines = tooltip(("x", "Probability from", ".2f"), ("x2", "to", ".2f"), ("y", unit.capitalize(), "d"))
    bar = {"type": "bar", "color": LOOKS[name][0], "opacity": 0.75, "binSpacing": 1}
    encoding = {"x": x, "x2": {"field": "x2"}, "y": y, "y2": {"datum": 0}, "tooltip": lines}
    bars = {"data": records(cells), "mark": bar, "encoding": encoding}
    if len(curves) == 1:
        return bars
    after = curves[AFTER].histogram
    steps = [{"x": place / HISTOGRAM_CELLS, "y": count} for place, count in enumerate([*after, after[-1]])]
    line = {"type": "line", "style": "series", "color": LOOKS[AFTER][0], "interpolate": "step-after"}
    return {"layer": [bars, {"data": records(steps), "mark": line, "encoding": {"x": x, "y": y}}]}


def finding(curve: Reliability, after: Reliability | None = None) -> str:
    """The calibration error beside what chance explains, in words."""
    band = f"{curve.null_low:.3f} to {curve.null_high:.3f}"
    verdict = "larger than chance explains" if curve.above_null else "no larger than chance explains"
    text = (
        f"Probability of {curve.title}: expected calibration error {curve.error:.3f} "
        f"on {curve.films} cases of {curve.patients} patients, "
        f"{verdict} (a perfectly calibrated model would show {band})."
    )
    if after is not None:
        text += f" After temperature scaling {after.error:.3f}."
    return text
