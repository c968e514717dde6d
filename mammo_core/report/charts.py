"""All charts of the app under one name; each is an Altair specification without a look, see ``theme.themed``."""

from __future__ import annotations

from mammo_core.report.charts_compare import CurveView, group_curves, metric_dots, seed_curves
from mammo_core.report.charts_evaluation import class_center_chart, confusion_chart, counts_chart, roc_chart
from mammo_core.report.charts_history import HistoryView, history_chart, loss_chart, recall_chart, train_figure
from mammo_core.report.panels import Band, Event

__all__ = [
    "Band",
    "CurveView",
    "Event",
    "HistoryView",
    "class_center_chart",
    "confusion_chart",
    "counts_chart",
    "group_curves",
    "history_chart",
    "loss_chart",
    "metric_dots",
    "recall_chart",
    "roc_chart",
    "seed_curves",
    "train_figure",
]
