"""Single classes, the size of the validation set, and what the choice of the best epoch rests on."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from mammo_core.analysis.diagnosis.curves import Curves
from mammo_core.analysis.diagnosis.finding import Finding, Severity, Value
from mammo_core.analysis.diagnosis.measures import Array, wilson

FEW_CASES, SOME_CASES = 10, 30
"""A recall on fewer than 10 cases cannot be judged; below 30 its interval matters more than its value."""
SEESAW = 4.0
CRITERION_GAIN = 0.02
TOO_WIDE = 0.05
LEAK_ACCURACY, LEAK_CASES = 0.995, 100


def classes(curves: Curves) -> Iterator[Finding]:
    """CLASS_ZERO, CLASS_WEAK and CLASS_UNJUDGEABLE."""
    if curves.k is None or not len(curves.class_names):
        return
    for index, name in enumerate(curves.class_names):
        count, recall = float(curves.counts[index]), curves.recalls[:, index]
        yield from _one_class(curves, name, count, recall)


def _one_class(curves: Curves, name: str, count: float, recall: Array) -> Iterator[Finding]:
    b = curves.b
    if not math.isfinite(recall[b]):
        return
    evidence: dict[str, Value] = {"class": name, "recall": float(recall[b]), "cases": count}
    if count > 0:
        evidence["ci_low"], evidence["ci_high"] = wilson(float(recall[b]), count)
    if count < SOME_CASES:
        judged: dict[str, Value] = {"unjudgeable_below": FEW_CASES, "interval_below": SOME_CASES}
        yield curves.found("CLASS_UNJUDGEABLE", "info", (b, b), evidence | {"few": count < FEW_CASES}, judged)
    if b > 0 and recall[b] == 0 and recall[b - 1] == 0:
        yield curves.found("CLASS_ZERO", "error", (b - 1, b), evidence, {"epochs": 2})
    elif recall[b] < 0.5 / (curves.k or 2) and (not math.isfinite(count) or count >= FEW_CASES):
        weak: dict[str, Value] = {"recall_below": 0.5 / (curves.k or 2), "cases_at_least": FEW_CASES}
        yield curves.found("CLASS_WEAK", "warning", (b, b), evidence, weak)


def seesaw(curves: Curves) -> Iterator[Finding]:
    """CLASS_SEESAW: a recall that jumps by more than four of its largest possible sampling errors from epoch 3 on."""
    recalls, counts = curves.recalls, curves.counts
    if curves.size < 3 or not recalls.size or not np.isfinite(counts).any():
        return
    errors = np.abs(np.diff(recalls, axis=0))[1:] * 2 * np.sqrt(counts)
    if not np.isfinite(errors).any():
        return
    row, index = np.unravel_index(int(np.nanargmax(errors)), errors.shape)
    size = float(errors[row, index])
    if size > SEESAW:
        at = int(row) + 2
        evidence: dict[str, Value] = {
            "class": curves.class_names[int(index)],
            "before": float(recalls[at - 1, index]),
            "after": float(recalls[at, index]),
            "jump_in_se": size,
        }  # fmt: skip
        yield curves.found("CLASS_SEESAW", "info", (at - 1, at), evidence, {"jump_in_se_above": SEESAW})


def criterion_mismatch(curves: Curves) -> Iterator[Finding]:
    """CRITERION_MISMATCH: another epoch is clearly better by balanced accuracy or kappa than the one of the lowest loss."""
    for name, values in (("balanced accuracy", curves.balanced), ("quadratic kappa", curves.column("val_kappa_quadratic"))):
        if not len(values) or not np.isfinite(values).any() or not math.isfinite(values[curves.b]):
            continue
        top = int(np.nanargmax(values))
        gain = float(values[top] - values[curves.b])
        if top != curves.b and gain > CRITERION_GAIN:
            evidence: dict[str, Value] = {
                "measure": name, "gain": gain, "best_by_loss": curves.epoch(curves.b), "best_by_measure": curves.epoch(top),
            }  # fmt: skip
            yield curves.found(
                "CRITERION_MISMATCH", "info", (min(top, curves.b), max(top, curves.b)), evidence, {"gain_above": CRITERION_GAIN}
            )
            return


def validation_size(curves: Curves) -> Iterator[Finding]:
    """VAL_TOO_SMALL: the interval of the accuracy is wider than +-0.05."""
    accuracy = float(curves.av[curves.b]) if curves.size else math.nan
    if not curves.n or not 0 <= accuracy <= 1:
        return
    low, high = wilson(accuracy, curves.n)
    if (high - low) / 2 > TOO_WIDE:
        evidence: dict[str, Value] = {
            "half_width": (high - low) / 2,
            "accuracy": accuracy,
            "cases": curves.n,
            "estimated": curves.context.n is None,
        }
        yield curves.found("VAL_TOO_SMALL", "info", (curves.b, curves.b), evidence, {"half_width_above": TOO_WIDE})


def leak(curves: Curves) -> Iterator[Finding]:
    """DATA_LEAK_SUSPECT: too good to be true, or better on validation than on training in the same mode."""
    accuracy = float(curves.av[curves.b]) if curves.size else math.nan
    if not curves.n or not math.isfinite(accuracy):
        return
    evaluated = (curves.records[curves.b].model_extra or {}).get("train_acc_eval")
    better = isinstance(evaluated, float) and accuracy > evaluated + 3 * (curves.accuracy_error or 0.0)
    if (accuracy >= LEAK_ACCURACY and curves.n >= LEAK_CASES) or better:
        evidence: dict[str, Value] = {"accuracy": accuracy, "cases": curves.n, "train_accuracy": evaluated if better else None}
        severity: Severity = "warning" if curves.context.own_run else "info"
        yield curves.found(
            "DATA_LEAK_SUSPECT",
            severity,
            (curves.b, curves.b),
            evidence,
            {"accuracy_at_least": LEAK_ACCURACY, "cases_at_least": LEAK_CASES},
        )


def short_run(curves: Curves) -> Iterator[Finding]:
    """SHORT_RUN: too few epochs for the noise rules."""
    limit = curves.context.thresholds.short_run
    if 0 < curves.size < limit:
        yield curves.found("SHORT_RUN", "info", (0, curves.size - 1), {"rows": curves.size}, {"rows_below": limit})
