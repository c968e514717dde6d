"""What a model gets right, for whom: confusion matrix, ROC curves, and how films spread over splits, classes and centres."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import altair as alt
import numpy as np
import pandas as pd

from mammo_core.analysis.bootstrap import Weights
from mammo_core.analysis.formulas import roc_points
from mammo_core.analysis.predictions import cases_of
from mammo_core.errors import UndefinedMetric
from mammo_core.report.panels import layered
from mammo_core.report.theme import DASHES, NEUTRAL, SEQUENTIAL, SPLIT_COLOURS, class_colours

DARK_CELL = 0.55
"""Row share from which a cell of the confusion matrix is dark enough for white text (contrast above 4.5 on both sides)."""

MOST_ROC_POINTS = 400
"""More points than a figure can show; longer curves are thinned evenly to this."""


def confusion_chart(matrix: Sequence[Sequence[int]], class_names: Sequence[str], width: int = 260) -> alt.LayerChart:
    """Counts and row shares of a confusion matrix; the shade is the row share, so that rare classes are as visible as common.

    Parameters
    ----------
    matrix : K rows of K counts
        Rows are the true class, columns the predicted class.
    width : int
        Side of the square.
    """
    counts = np.asarray(matrix, dtype=np.int64)
    totals = counts.sum(axis=1)
    rows = [
        {
            "true": class_names[i],
            "predicted": class_names[j],
            "films": int(counts[i, j]),
            "share": float(counts[i, j] / totals[i]) if totals[i] else None,
            "percent": f"{counts[i, j] / totals[i]:.0%}" if totals[i] else "no films",
        }
        for i in range(len(class_names))
        for j in range(len(class_names))
    ]
    order = list(class_names)
    x = alt.X(
        "predicted:N", sort=order, title="Predicted", axis=alt.Axis(labelAngle=0, ticks=False, domain=False, orient="bottom")
    )
    y_axis = alt.Axis(ticks=False, domain=False, minExtent=0, maxExtent=200)
    base = alt.Chart(pd.DataFrame(rows)).encode(x=x, y=alt.Y("true:N", sort=order, title="True", axis=y_axis))
    shade = alt.Color("share:Q", scale=alt.Scale(domain=[0, 1], range=list(SEQUENTIAL)), legend=None)
    tooltip = [alt.Tooltip("true:N", title="True"), alt.Tooltip("predicted:N", title="Predicted")]
    tooltip += [alt.Tooltip("films:Q", title="Films"), alt.Tooltip("share:Q", title="Share of the row", format=".1%")]
    ink = alt.condition(f"datum.share >= {DARK_CELL}", alt.value("#FFFFFF"), alt.value("#111111"))
    side = width / max(1, len(class_names))
    layers: list[alt.Chart | alt.LayerChart] = [
        base.mark_rect(stroke="#FFFFFF", strokeWidth=1).encode(color=shade, tooltip=tooltip),
        base.mark_text(style="count", baseline="middle", dy=-min(side * 0.09, 7)).encode(text=alt.Text("films:Q"), color=ink),
        base.mark_text(style="share", baseline="middle", dy=min(side * 0.18, 12)).encode(text=alt.Text("percent:N"), color=ink),
    ]
    return layered(layers, width=width, height=width, description=confusion_finding(counts, class_names))


def confusion_finding(counts: np.ndarray[tuple[int, ...], np.dtype[np.int64]], class_names: Sequence[str]) -> str:
    """Accuracy and the most common mistake, in words."""
    n = int(counts.sum())
    if n == 0:
        return "The confusion matrix holds no films."
    wrong = counts - np.diag(np.diag(counts))
    text = f"{int(np.trace(counts))} of {n} films are classified correctly ({np.trace(counts) / n:.1%})."
    if wrong.any():
        i, j = np.unravel_index(int(wrong.argmax()), wrong.shape)
        text += f" The most common mistake is {class_names[int(i)]} called {class_names[int(j)]}: {int(wrong[i, j])} films."
    return text


def roc_chart(table: pd.DataFrame, class_names: Sequence[str], width: int = 300) -> alt.LayerChart:
    """One-vs-rest ROC curve of each class that can be ranked, with its AUC, from a table of predictions."""
    cases = cases_of(table, class_names, ordinal=False)
    everyone = Weights(np.ones((1, len(cases.labels))), np.arange(len(cases.labels)))
    curves, names, findings = [], {}, []
    for k, name in enumerate(class_names):
        scores, positive = cases.probabilities[:, k], cases.labels == k
        try:
            false_rate, true_rate = roc_points(scores, positive)
        except UndefinedMetric:
            continue
        auc = float(everyone.auc(scores, positive)[0])
        names[f"{name}  {auc:.3f}"] = name
        findings.append(f"{name} {auc:.3f}")
        kept = _thinned(len(false_rate))
        curves.append(pd.DataFrame({"fpr": false_rate[kept], "tpr": true_rate[kept], "curve": f"{name}  {auc:.3f}"}))
    if not curves:
        raise UndefinedMetric("There is no ROC curve: all films are of one class. Evaluate on films of at least two classes.")
    colours = class_colours(class_names)
    domain = list(names)
    legend = alt.Legend(title="AUC, class against the rest", orient="bottom-right", symbolType="stroke", symbolSize=250, offset=6)
    colour = alt.Color("curve:N", scale=alt.Scale(domain=domain, range=[colours[names[d]] for d in domain]), legend=legend)
    dashes = [list(DASHES[class_names.index(names[d]) % len(DASHES)]) for d in domain]
    dash = alt.StrokeDash("curve:N", scale=alt.Scale(domain=domain, range=dashes), legend=legend)
    axis = alt.Axis(values=[0, 0.2, 0.4, 0.6, 0.8, 1], format=".1f")
    x = alt.X("fpr:Q", title="1 - specificity", scale=alt.Scale(domain=[0, 1]), axis=axis)
    y = alt.Y("tpr:Q", title="Sensitivity", scale=alt.Scale(domain=[0, 1]), axis=axis)
    chance = alt.Chart(pd.DataFrame({"fpr": [0.0, 1.0], "tpr": [0.0, 1.0]})).mark_line(
        color=NEUTRAL, strokeDash=[2, 3], style="member"
    )
    lines = (
        alt.Chart(pd.concat(curves))
        .mark_line(style="series")
        .encode(x=x, y=y, color=colour, strokeDash=dash, order=alt.Order("fpr:Q"))
    )
    description = f"AUC of each class against the rest on {len(cases.labels)} films: {', '.join(findings)}."
    return layered([chance.encode(x=x, y=y), lines], width=width, height=width, description=description)


def _thinned(n: int) -> list[int]:
    """Indices of at most ``MOST_ROC_POINTS`` of ``n`` points, ends included."""
    return [int(i) for i in np.unique(np.linspace(0, n - 1, min(n, MOST_ROC_POINTS)).round())]


# ---- how many films of what -----------------------------------------------------------------------------------------------


def counts_chart(counts: Mapping[str, Mapping[str, int]], what: str = "Class", width: int = 420) -> alt.LayerChart:
    """Films of each class (or centre) in each split, as stacked bars with their numbers.

    Parameters
    ----------
    counts : mapping of split to {class or centre: films}
        As in ``split.json`` and ``summary.json``; bars come in the order of the first split.
    what : str
        What a bar is, for the axis.
    """
    splits = [split for split in (*SPLIT_COLOURS, *counts) if split in counts]
    splits = list(dict.fromkeys(splits))
    bars = list(dict.fromkeys(str(name) for split in counts.values() for name in split))
    table = {bar: {split: int(counts[split].get(bar, 0)) for split in splits} for bar in bars}
    colours = {split: SPLIT_COLOURS.get(split, NEUTRAL) for split in splits}
    return _stacked_bars(table, colours, what, width)


def class_center_chart(manifest: pd.DataFrame, class_names: Sequence[str], width: int = 420) -> alt.LayerChart:
    """Films of each centre by class, as stacked bars with their numbers; ``manifest`` has ``center`` and ``label``."""
    grouped = manifest.groupby(["center", "label"], sort=True).size()
    centers = sorted(manifest["center"].astype(str).unique())
    table = {center: {name: int(grouped.get((center, name), 0)) for name in class_names} for center in centers}
    return _stacked_bars(table, class_colours(class_names), "Centre", width)


def _stacked_bars(table: Mapping[str, Mapping[str, int]], colours: Mapping[str, str], what: str, width: int) -> alt.LayerChart:
    parts = list(colours)
    rows = [
        {"bar": bar, "part": part, "order": index, "films": cells.get(part, 0)}
        for bar, cells in table.items()
        for index, part in enumerate(parts)
    ]
    totals = [{"bar": bar, "films": sum(cells.values()), "text": numbers(cells, parts)} for bar, cells in table.items()]
    order = list(table)
    y = alt.Y("bar:N", sort=order, title=what, axis=alt.Axis(ticks=False, domain=False, minExtent=0, maxExtent=160))
    x = alt.X("sum(films):Q", title="Films", axis=alt.Axis(tickMinStep=1, format="d", grid=True), stack="zero")
    legend = alt.Legend(title=None, orient="top", symbolType="square", offset=6, values=parts)
    colour = alt.Color(
        "part:N", scale=alt.Scale(domain=parts, range=[colours[part] for part in parts]), sort=parts, legend=legend
    )
    tooltip = [alt.Tooltip("bar:N", title=what), alt.Tooltip("part:N", title="Part"), alt.Tooltip("films:Q", title="Films")]
    bars = alt.Chart(pd.DataFrame(rows)).mark_bar(size=16, stroke="#FFFFFF", strokeWidth=0.6)
    bars = bars.encode(x=x, y=y, color=colour, order=alt.Order("order:Q"), tooltip=tooltip)
    names = alt.Chart(pd.DataFrame(totals)).mark_text(style="label", align="left", baseline="middle", dx=6)
    names = names.encode(x=alt.X("films:Q"), y=y, text=alt.Text("text:N"))
    findings = "; ".join(f"{what.lower()} {bar}: {', '.join(f'{p} {c.get(p, 0)}' for p in parts)}" for bar, c in table.items())
    return layered(
        [bars, names], width=width, height=max(1, len(order)) * 26, description=f"Films by {what.lower()}. {findings}."
    )


def numbers(cells: Mapping[str, int], parts: Sequence[str]) -> str:
    """``120 / 30 / 38``: the numbers beside a bar, since a narrow part has no room for its own."""
    return " / ".join(f"{cells.get(part, 0):,}" for part in parts)
