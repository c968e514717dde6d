"""What a file or a neighbouring one says of the run itself: planned epochs, patience, class names, validation counts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from mammo_core.runs.importers.model import Known

PLANNED = ("planned_epochs", "max_epochs", "num_epochs", "n_epochs", "total_epochs", "epochs", "num_train_epochs", "EPOCHS")
PATIENCE = ("patience", "early_stopping_patience", "early_stop_patience", "es_patience")
CLASSES = ("class_names", "classes", "labels", "categories")
N_CLASSES = ("num_classes", "n_classes", "nb_classes")
WARMUP = ("warmup_epochs", "warmup", "warmup_epoch")
SMOOTHING = ("label_smoothing", "smoothing")
SEEDS = ("seed", "random_seed", "random_state")
METRICS = {
    "accuracy": ("accuracy", "acc", "val_acc", "val_accuracy", "best_val_acc", "final_accuracy"),
    "balanced_accuracy": ("balanced_accuracy", "bal_acc", "val_balanced_acc", "balanced_acc"),
    "kappa_quadratic": ("kappa_quadratic", "quadratic_kappa", "qwk", "kappa", "val_kappa", "kappa_q"),
    "macro_f1": ("macro_f1", "f1_macro", "macro-f1", "val_macro_f1", "macro_f1_score"),
    "auc_ovr_macro": ("auc_ovr_macro", "auc_ovr", "auc_macro", "macro_auc", "roc_auc_ovr", "val_auc", "auc"),
}
"""This app's metric -> what other tools call it in a summary or metrics file."""
NESTED = ("config", "args", "hyperparameters", "hparams", "params", "settings", "training", "train", "early_stopping", "metadata")
NESTED_METRICS = ("metrics", "val_metrics", "validation", "final_metrics", "best_metrics", "results", "val")


def known_of(document: Mapping[str, Any]) -> Known:
    """Facts under their usual names, at the top or one level down; anything of a wrong kind is ignored."""
    known = Known(
        planned_epochs=_whole(document, PLANNED, 1, 100_000),
        class_names=_names(document),
        n_classes=_whole(document, N_CLASSES, 2, 100_000),
        patience=_whole(document, PATIENCE, 1, 10_000),
        warmup_epochs=_number(document, WARMUP, 0, 10_000),
        label_smoothing=_number(document, SMOOTHING, 0, 0.99),
        seed=_whole(document, SEEDS, 0, 2**63),
        metrics=_metrics(document),
    )
    for key in NESTED:
        child = document.get(key)
        if isinstance(child, Mapping) and child is not document:
            known = known.joined(known_of(child))
    return known.joined(_from_metrics(document))


def _metrics(document: Mapping[str, Any]) -> dict[str, float]:
    """Metrics of a ``summary.json`` or ``val_metrics.json``, as numbers or as ``{"value": number}``; out of range is left out."""
    places = [document, *(child for key in NESTED_METRICS if isinstance(child := document.get(key), Mapping))]
    found: dict[str, float] = {}
    for place in places:
        lowered = {str(key).lower(): value for key, value in place.items()}
        for metric, names in METRICS.items():
            values = (lowered[name] for name in names if name in lowered)
            numbers = (value.get("value") if isinstance(value, Mapping) else value for value in values)
            sound = [float(n) for n in numbers if isinstance(n, int | float) and not isinstance(n, bool) and -1 <= n <= 1]
            if sound:
                found.setdefault(metric, sound[0])
    return found


def _number(document: Mapping[str, Any], names: tuple[str, ...], low: float, high: float) -> float | None:
    for name in names:
        value = document.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and low <= value <= high:
            return float(value)
    return None


def _whole(document: Mapping[str, Any], names: tuple[str, ...], low: int, high: int) -> int | None:
    value = _number(document, names, low, high)
    return int(value) if value is not None and value == int(value) else None


def _names(document: Mapping[str, Any]) -> tuple[str, ...]:
    for name in CLASSES:
        value = document.get(name)
        values = list(value.values()) if isinstance(value, Mapping) else value
        if isinstance(values, list) and 2 <= len(values) <= 1000 and all(isinstance(item, str) for item in values):
            return tuple(item[:60] for item in values) if len(set(values)) == len(values) else ()
    return ()


def _from_metrics(document: Mapping[str, Any]) -> Known:
    """Validation counts out of a ``val_metrics.json`` (rows of the confusion matrix are true classes)."""
    matrix = document.get("confusion_matrix")
    names = _names(document)
    n_val = _whole(document, ("n", "n_val", "val_size", "n_validation"), 1, 10**9)
    try:
        totals = [int(sum(row)) for row in matrix] if isinstance(matrix, list) else []
    except (TypeError, ValueError, OverflowError):
        totals = []
    if totals and not names:
        names = tuple(str(index) for index in range(len(totals)))
    if totals and len(totals) == len(names) and sum(totals) > 0:
        return Known(class_names=names, n_val=sum(totals), val_counts=dict(zip(names, totals, strict=True)))
    return Known(n_val=n_val)
