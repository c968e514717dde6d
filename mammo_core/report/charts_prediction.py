"""One film's probabilities as a figure: the mean over the runs as a bar, every run as a dot."""

from __future__ import annotations

from collections.abc import Mapping

import altair as alt
import pandas as pd

from mammo_core.report.panels import layered
from mammo_core.report.theme import NEUTRAL, TRAINING


def probability_chart(
    probabilities: Mapping[str, float], per_run: Mapping[str, Mapping[str, float]], width: int = 300
) -> alt.LayerChart:
    """Probability of each class, classes in their order from top to bottom.

    Parameters
    ----------
    probabilities : mapping of class name to mean probability, in [0, 1]
    per_run : mapping of run id to the same for that run
    """
    order = list(probabilities)
    bars = pd.DataFrame([{"class": name, "p": value, "text": f"{value:.2f}"} for name, value in probabilities.items()])
    dots = pd.DataFrame([{"class": name, "p": row[name], "run": run} for run, row in per_run.items() for name in order])
    winner = max(order, key=lambda name: probabilities[name])
    x = alt.X("p:Q", title="Probability", scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(format=".1f", grid=True, tickCount=5))
    y = alt.Y("class:N", sort=order, title=None, axis=alt.Axis(ticks=False, domain=False, minExtent=0, maxExtent=120))
    colour = alt.condition(alt.datum["class"] == winner, alt.value(TRAINING), alt.value(NEUTRAL))
    layers: list[alt.Chart | alt.LayerChart] = [alt.Chart(bars).mark_bar(size=14, opacity=0.75).encode(x=x, y=y, color=colour)]
    if len(per_run) > 1:
        tooltip = [alt.Tooltip("run:N", title="Run"), alt.Tooltip("p:Q", title="Probability", format=".3f")]
        dot = alt.Chart(dots).mark_point(style="open-dot", filled=True, opacity=0.9, stroke="#FFFFFF", color="#111111", size=45)
        layers.append(dot.encode(x=x, y=y, tooltip=tooltip))
    words = alt.Chart(bars).mark_text(style="label", align="left", baseline="middle", dx=8)
    layers.append(words.encode(x=alt.value(width), y=y, text=alt.Text("text:N")))
    return layered(layers, width=width, height=len(order) * 30, description=probability_finding(probabilities, per_run))


def probability_finding(probabilities: Mapping[str, float], per_run: Mapping[str, Mapping[str, float]]) -> str:
    """The same in words."""
    listed = ", ".join(f"{name} {value:.2f}" for name, value in probabilities.items())
    if len(per_run) < 2:
        return f"Probabilities: {listed}."
    ranges = [(min(row[name] for row in per_run.values()), max(row[name] for row in per_run.values())) for name in probabilities]
    spread = ", ".join(f"{name} {low:.2f} to {high:.2f}" for name, (low, high) in zip(probabilities, ranges, strict=True))
    return f"Mean probabilities over {len(per_run)} runs: {listed}. Between the runs: {spread}."
