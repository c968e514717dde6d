"""One film's scores as a figure: the mean over the runs as a bar, every run as a dot."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean

from mammo_core.analysis.backing import score_text
from mammo_core.report.spec import Chart, Spec, at, category, layered, number, records, tooltip
from mammo_core.report.theme import NEUTRAL, TRAINING

ROUNDING = 1e-6
"""Farther from the mean of the runs, a score is scaled."""


def probability_chart(probabilities: Mapping[str, float], per_run: Mapping[str, Mapping[str, float]], width: int = 300) -> Chart:
    """Score of each class, classes in their order from top to bottom.

    Parameters
    ----------
    probabilities : mapping of class name to mean score, in [0, 1]
    per_run : mapping of run id to the same for that run, before any temperature
    """
    order = list(probabilities)
    winner = max(order, key=lambda name: probabilities[name])
    bars = records(
        {"class": name, "p": value, "text": score_text(value), "colour": TRAINING if name == winner else NEUTRAL}
        for name, value in probabilities.items()
    )
    dots = records({"class": name, "p": row[name], "run": run} for run, row in per_run.items() for name in order)
    place = {
        "x": number("p", title="Score", scale={"domain": [0, 1]}, axis={"format": ".1f", "grid": True, "tickCount": 5}),
        "y": category(
            "class",
            sort=order,
            title=None,
            axis={"ticks": False, "domain": False, "labelPadding": 10, "minExtent": 0, "maxExtent": 120},
        ),
    }
    bar = {"type": "bar", "size": 14, "opacity": 0.75}
    parts: list[Spec] = [{"data": bars, "mark": bar, "encoding": {**place, "color": category("colour", scale=None)}}]
    if len(per_run) > 1:
        dot = {
            "type": "point",
            "style": "open-dot",
            "filled": True,
            "opacity": 0.9,
            "stroke": "#FFFFFF",
            "color": "#111111",
            "size": 45,
        }
        lines = tooltip(("run", "Run", ""), ("p", "Score", ".3f"))
        parts.append({"data": dots, "mark": dot, "encoding": {**place, "tooltip": lines}})
    words = {"type": "text", "style": "label", "align": "left", "baseline": "middle", "dx": 8}
    parts.append({"data": bars, "mark": words, "encoding": {"x": at(width), "y": place["y"], "text": category("text")}})
    return Chart(layered(parts, width, len(order) * 30, description=probability_finding(probabilities, per_run)))


def probability_finding(probabilities: Mapping[str, float], per_run: Mapping[str, Mapping[str, float]]) -> str:
    """The same in words."""
    listed = ", ".join(f"{name} {score_text(value)}" for name, value in probabilities.items())
    if len(per_run) < 2:
        return f"Scores: {listed}."
    of_runs = {name: [row[name] for row in per_run.values()] for name in probabilities}
    spread = ", ".join(f"{name} {score_text(min(row))} to {score_text(max(row))}" for name, row in of_runs.items())
    is_scaled = any(abs(fmean(row) - probabilities[name]) > ROUNDING for name, row in of_runs.items())
    before = ", before temperature scaling" if is_scaled else ""
    return f"Mean scores over {len(per_run)} runs: {listed}. Between the runs{before}: {spread}."
