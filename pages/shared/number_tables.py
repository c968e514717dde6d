"""Metrics as tables for the screen: one number with its interval, groups side by side, classes one below the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from mammo_core.analysis.metrics import TITLES
from mammo_core.runs.schema import MetricsFile, MetricValue
from mammo_core.workflows.overview import value_text

CLASS_COLUMNS = {
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "ppv": "Predictive value",
    "auc": "AUC, class against rest",
    "f1": "F1",
}


def metric_rows(metrics: Mapping[str, MetricValue]) -> pd.DataFrame:
    """Every metric with its interval and how it was made."""
    return pd.DataFrame(
        {
            "Metric": [TITLES.get(name, name) for name in metrics],
            "Value (95 % interval)": [value_text(value) for value in metrics.values()],
            "How": [value.method for value in metrics.values()],
        }
    )


def class_rows(metrics: MetricsFile, units: str = "films") -> pd.DataFrame:
    """One row a class: films (or other ``units``), patients, and its numbers with their intervals."""
    rows = []
    for name in metrics.class_names:
        values = metrics.per_class.get(name, {})
        row: dict[str, Any] = {"Class": name, units.capitalize(): values.get("n"), "Patients": values.get("patients")}
        for key, title in CLASS_COLUMNS.items():
            value = values.get(key)
            row[title] = value_text(value) if isinstance(value, MetricValue) else "undefined"
        rows.append(row)
    return pd.DataFrame(rows)


def group_rows(groups: Sequence[Mapping[str, Any]], metrics: Sequence[str]) -> pd.DataFrame:
    """The groups of ``compare``: mean, SD (n-1), n and 95 % t interval of each metric."""
    rows = []
    for metric in metrics:
        for group in groups:
            found = group["metrics"].get(metric)
            if found is None:
                continue
            interval = "" if found["ci_low"] is None else f"{found['ci_low']:.3f} to {found['ci_high']:.3f}"
            rows.append(
                {
                    "Metric": TITLES.get(metric, metric),
                    "Group": group["name"],
                    "Mean": number(found["mean"]),
                    "SD (n-1)": number(found["sd"]),
                    "n": found["n"],
                    "95 % interval of the mean": interval,
                    "Runs": ", ".join(number(value) for value in found["values"]),
                }
            )
    return pd.DataFrame(rows)


def effect_rows(tests: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """The tests of ``compare``: effect and interval first, p last."""
    return pd.DataFrame(
        [
            {
                "Metric": TITLES.get(test["metric"], test["metric"]),
                "Difference": f"{test['a']} - {test['b']}",
                "Effect": number(test["difference"]),
                "95 % interval": "" if test["ci_low"] is None else f"{test['ci_low']:.3f} to {test['ci_high']:.3f}",
                "p": "" if test["p"] is None else f"{test['p']:.3f}",
                "How": test["method"],
            }
            for test in tests
        ]
    )


def difference_rows(differences: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Settings that are not the same in all groups."""
    return pd.DataFrame(
        [
            {"Setting": entry["setting"]} | {name: ", ".join(map(str, values)) for name, values in entry["values"].items()}
            for entry in differences
        ]
    )


def number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"
