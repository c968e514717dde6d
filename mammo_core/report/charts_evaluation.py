"""What a model gets right, for whom: confusion matrix, ROC curves, and how films spread over splits, classes and centres."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mammo_core.analysis.predictions import cases_of
from mammo_core.analysis.questions import Question, answers_of
from mammo_core.analysis.thresholds import curve_of
from mammo_core.errors import UndefinedMetric
from mammo_core.report import charts_ranking
from mammo_core.report.spec import Chart, Spec, by_series, category, layered, number, records, tooltip
from mammo_core.report.theme import NEUTRAL, SEQUENTIAL, SPLIT_COLOURS, class_colours

DARK_CELL = 0.71
"""Row share from which a cell of the confusion matrix takes white text: black and white both keep 4.5:1 there."""


def confusion_chart(matrix: Sequence[Sequence[int]], class_names: Sequence[str], width: int = 260) -> Chart:
    """Counts and row shares of a confusion matrix; the shade is the row share, so that rare classes are as visible as common.

    Parameters
    ----------
    matrix : K rows of K counts
        Rows are the true class, columns the predicted class.
    width : int
        Side of the square.
    """
    counts = np.asarray(matrix, dtype=np.int64)
    data, order, side = records(_cells(counts, class_names)), list(class_names), width / max(1, len(class_names))
    x = category("predicted", sort=order, title="Predicted", axis={"labelAngle": 0, "ticks": False, "domain": False})
    wide = {"ticks": False, "domain": False, "minExtent": 0, "maxExtent": 200}
    place = {"x": x, "y": category("true", sort=order, title="True", axis=wide)}
    shade = number("share", scale={"domain": [0, 1], "range": list(SEQUENTIAL)}, legend=None)
    ink = {"condition": {"test": f"datum.share >= {DARK_CELL}", "value": "#FFFFFF"}, "value": "#000000"}
    lines = tooltip(
        ("true", "True", ""), ("predicted", "Predicted", ""), ("films", "Films", "d"), ("share", "Share of the row", ".1%")
    )

    def text(style: str, offset: float, field: Spec) -> Spec:
        mark = {"type": "text", "style": style, "baseline": "middle", "dy": offset}
        return {"data": data, "mark": mark, "encoding": {**place, "text": field, "color": ink}}

    box = {"type": "rect", "stroke": "#FFFFFF", "strokeWidth": 1}
    parts = [
        {"data": data, "mark": box, "encoding": {**place, "color": shade, "tooltip": lines}},
        text("count", -min(side * 0.09, 7), number("films")),
        text("share", min(side * 0.18, 12), category("percent")),
    ]
    return Chart(layered(parts, width, width, description=confusion_finding(counts, class_names)))


def _cells(counts: npt.NDArray[np.int64], class_names: Sequence[str]) -> list[dict[str, Any]]:
    totals = counts.sum(axis=1)
    return [
        {
            "true": true,
            "predicted": predicted,
            "films": int(counts[i, j]),
            "share": float(counts[i, j] / totals[i]) if totals[i] else None,
            "percent": f"{counts[i, j] / totals[i]:.0%}" if totals[i] else "no films",
        }
        for i, true in enumerate(class_names)
        for j, predicted in enumerate(class_names)
    ]


def confusion_finding(counts: npt.NDArray[np.int64], class_names: Sequence[str]) -> str:
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


def roc_chart(table: pd.DataFrame, class_names: Sequence[str], width: int = 300) -> Chart:
    """One-vs-rest ROC curve of each class that can be ranked, with its AUC, from a table of predictions.

    ``charts_ranking.roc_chart`` draws any question, with bands and marks.

    Raises
    ------
    UndefinedMetric, DataError
        All films are of one class; the table is not one of predictions.
    """
    cases = cases_of(table, class_names, ordinal=False)
    asked = [Question(f"class:{name}", name, (name,), tuple(n for n in class_names if n != name)) for name in class_names]
    curves = [curve_of(question, answers_of(cases, question), bootstrap=0) for question in asked]
    shown = [curve for curve in curves if not curve.undefined]
    if not shown:
        raise UndefinedMetric("There is no ROC curve: all films are of one class. Evaluate on films of at least two classes.")
    chart = charts_ranking.roc_chart(shown, charts_ranking.RankingView(width=width, legend="AUC, class against the rest"))
    finding = ", ".join(f"{curve.title} {curve.auc.value:.3f}" for curve in shown)
    return chart.with_properties(description=f"AUC of each class against the rest on {len(cases.labels)} films: {finding}.")


# ---- how many films of what -----------------------------------------------------------------------------------------------


def counts_chart(counts: Mapping[str, Mapping[str, int]], what: str = "Class", width: int = 420) -> Chart:
    """Films of each class (or centre) in each split, as stacked bars with their numbers.

    Parameters
    ----------
    counts : mapping of split to {class or centre: films}
        As in ``split.json`` and ``summary.json``; bars come in the order in which they are first named.
    what : str
        What a bar is, for the axis.
    """
    splits = list(dict.fromkeys(split for split in (*SPLIT_COLOURS, *counts) if split in counts))
    bars = list(dict.fromkeys(str(name) for split in counts.values() for name in split))
    table = {bar: {split: int(counts[split].get(bar, 0)) for split in splits} for bar in bars}
    return _stacked_bars(table, {split: SPLIT_COLOURS.get(split, NEUTRAL) for split in splits}, what, width)


def class_center_chart(manifest: pd.DataFrame, class_names: Sequence[str], width: int = 420) -> Chart:
    """Films of each centre by class, as stacked bars with their numbers; ``manifest`` has ``center`` and ``label``."""
    grouped = manifest.groupby(["center", "label"], sort=True).size().to_dict()
    table = {
        center: {name: int(grouped.get((center, name), 0)) for name in class_names}
        for center in sorted(manifest["center"].astype(str).unique())
    }
    return _stacked_bars(table, class_colours(class_names), "Centre", width)


def _stacked_bars(table: Mapping[str, Mapping[str, int]], colours: Mapping[str, str], what: str, width: int) -> Chart:
    parts = list(colours)
    cells = [
        {"bar": bar, "part": part, "order": index, "films": found.get(part, 0)}
        for bar, found in table.items()
        for index, part in enumerate(parts)
    ]
    totals = [{"bar": bar, "films": sum(found.values()), "text": numbers(found, parts)} for bar, found in table.items()]
    quiet = {"ticks": False, "domain": False, "minExtent": 0, "maxExtent": 160}
    y = category("bar", sort=list(table), title=what, axis=quiet)
    x = number("films", title="Films", aggregate="sum", stack="zero", axis={"tickMinStep": 1, "format": "d", "grid": True})
    legend = {"title": None, "orient": "top", "symbolType": "square", "offset": 6, "values": parts}
    look = {
        "color": by_series(parts, [colours[part] for part in parts], "part", sort=parts, legend=legend),
        "order": number("order"),
        "tooltip": tooltip(("bar", what, ""), ("part", "Part", ""), ("films", "Films", "d")),
    }
    bar = {"type": "bar", "size": 16, "stroke": "#FFFFFF", "strokeWidth": 0.6}
    words = {"type": "text", "style": "label", "align": "left", "baseline": "middle", "dx": 6}
    layers = [
        {"data": records(cells), "mark": bar, "encoding": {"x": x, "y": y, **look}},
        {"data": records(totals), "mark": words, "encoding": {"x": number("films"), "y": y, "text": category("text")}},
    ]
    findings = "; ".join(f"{what.lower()} {bar}: {', '.join(f'{p} {c.get(p, 0)}' for p in parts)}" for bar, c in table.items())
    description = f"Films by {what.lower()}. {findings}."
    return Chart(layered(layers, width, max(1, len(table)) * 26, description=description))


def numbers(cells: Mapping[str, int], parts: Sequence[str]) -> str:
    """``120 / 30 / 38``: the numbers beside a bar, since a narrow part has no room for its own."""
    return " / ".join(f"{cells.get(part, 0):,}" for part in parts)
