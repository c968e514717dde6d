"""Metrics as tables for the screen: one number with its interval, classes one below the other."""

from __future__ import annotations

from collections.abc import Mapping
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
