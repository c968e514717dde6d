"""Broken training and too little evidence in histories of other tools: no class counts, any scale, parts missing."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mammo_core.analysis.diagnosis.curves import Curves
from mammo_core.analysis.diagnosis.finding import Finding, Severity, Value
from mammo_core.analysis.diagnosis.foreign_shape import FEW_ROWS, rise_after_best
from mammo_core.analysis.diagnosis.measures import Array, defined, first_of, last_of
from mammo_core.analysis.diagnosis.rules_fit import accuracy_loss, drop_of


def diverged(curves: Curves) -> Iterator[Finding]:
    """DIVERGED: losses that are not finite at the end, explode against their start, or have an absurd level."""
    rows = curves.everything
    broken = [index for index, record in enumerate(rows) if record.non_finite]
    if broken:
        stayed = broken[-1] == len(rows) - 1 or len(broken) >= max(3, 0.2 * len(rows))
        yield _non_finite(curves, broken, "DIVERGED" if stayed else "NON_FINITE_EPOCH")
        if stayed:
            return
    if not curves.size:
        return
    limits = curves.context.thresholds
    last = curves.size - 1
    for name, y, other in (("training", curves.lt, curves.lv), ("validation", curves.lv, curves.lt)):
        start, end = first_of(y), last_of(y)
        factor = limits.diverged_factor if name == "training" else 5 * limits.diverged_factor
        helpless = not last_of(other) < 0.9 * first_of(other)
        if start > 0 and curves.size >= 3 and end > factor * start and helpless:
            evidence: dict[str, Value] = {"kind": "explosion", "which": name, "start": start, "end": end}
            yield curves.found("DIVERGED", "critical", (0, last), evidence, {"factor": factor})
            return
        if end > limits.absurd_loss and _accuracy_stands_still(curves) and _restless(y):
            evidence = {"kind": "level", "which": name, "end": end, "accuracy": last_of(curves.av)}
            yield curves.found("DIVERGED", "critical", (0, last), evidence, {"loss_above": limits.absurd_loss})
            return


def _non_finite(curves: Curves, broken: list[int], finding_id: str) -> Finding:
    record = curves.everything[broken[0]]
    extra = record.model_extra or {}
    epoch = extra.get("source_epoch")
    row = record.epoch
    evidence: dict[str, Value] = {"kind": "non_finite", "what": str(extra.get("non_finite_in") or "loss"), "rows": len(broken)}
    severity: Severity = "critical" if finding_id == "DIVERGED" else "warning"
    epochs = (float(row if epoch is None else epoch),) * 2
    return Finding(
        finding_id, severity, (row, row), epochs, evidence, {"rows_at_least": 3}, "high" if len(broken) > 1 else "medium"
    )


def _accuracy_stands_still(curves: Curves) -> bool:
    """Accuracies are there and gained nothing; without one of training, its loss must not have fallen either."""
    known, train = defined(curves.av), defined(curves.at)
    if len(known) < 2 or float(known.max() - known[0]) >= 0.05:
        return False
    return float(train.max() - train[0]) < 0.05 if len(train) else not last_of(curves.lt) < 0.9 * first_of(curves.lt)


def _restless(y: Array) -> bool:
    """Whether the loss of the later half varies by a third or more: losses summed over batches may be large, but move evenly."""
    half = defined(y)[len(defined(y)) // 2 :]
    return len(half) >= 2 and half.min() > 0 and bool(half.max() >= 1.3 * half.min())


def collapse(curves: Curves) -> Iterator[Finding]:
    """COLLAPSE: the same accuracy in nearly every epoch, so one class for everything; or a sudden fall to a constant one."""
    limits = curves.context.thresholds
    accuracy = defined(curves.quality)
    measure: dict[str, Value] = {} if np.isfinite(curves.av).any() else {"measure": curves.context.score_name or "score"}
    cases = curves.n
    if len(accuracy) < FEW_ROWS or (cases is not None and cases <= limits.few_cases):
        return
    constant = float(np.median(accuracy[1:]))
    step = 1.5 / cases if cases else 1e-6
    same = float(np.mean(np.abs(accuracy[1:] - constant) <= step))
    exactly = float(np.mean(np.abs(accuracy - constant) <= 1e-6))
    last = curves.size - 1
    stuck = _train_is_stuck(curves, constant)
    # On many cases one class for everything may still let a case or two change sides.
    nearly = (
        float(np.abs(accuracy - constant).max()) <= limits.constant_within and stuck and drop_of(curves) < limits.healthy_drop
    )
    if same >= 0.999 and exactly >= 0.6 or exactly >= limits.constant_share and stuck or nearly:
        # A high accuracy that stands still is a large class, or a task that was solved at once: then the loss fell.
        if constant < 0.9 or (stuck and drop_of(curves) < 0.5):
            evidence: dict[str, Value] = {
                "accuracy": constant,
                "share_of_epochs": 1.0 if nearly else max(exactly, same),
                "constant": True,
                "exactly": exactly,
                **measure,
            }
            yield curves.found("COLLAPSE", "critical", (0, last), evidence, {"share_of_epochs_at_least": limits.constant_share})
        return
    end = accuracy[-3:]
    fell = float(accuracy.max() - end.max())
    forgot = (
        last_of(curves.train_guide) > 1.5 * float(np.nanmin(curves.train_guide))
        if np.isfinite(curves.train_guide).any()
        else False
    )
    if len(accuracy) >= 6 and np.ptp(end) <= step and fell >= 0.3 and forgot:
        evidence = {"before": float(accuracy.max()), "after": float(end[-1]), "late_only": True, "accuracy": float(end[-1])}
        evidence |= measure
        yield curves.found("COLLAPSE", "error", (last - 2, last), evidence, {"fall_at_least": 0.3})


def _train_is_stuck(curves: Curves, constant: float) -> bool:
    """Training stays at that accuracy too (or, without training accuracy, its loss hardly moved)."""
    train = defined(curves.at)
    if len(train) >= 2:
        return abs(float(np.median(train[-3:])) - constant) <= 0.1 and float(np.ptp(train[len(train) // 2 :])) <= 0.02
    return last_of(curves.train_guide) > 0.9 * first_of(curves.train_guide)


def relapse(curves: Curves) -> Iterator[Finding]:
    """DIVERGED: the training loss is back where it began, and validation rose with it. Overfitting would have lowered it."""
    limits = curves.context.thresholds
    start, end = first_of(curves.lt), last_of(curves.lt)
    if curves.size < FEW_ROWS or not curves.has_val_loss or not start > 0:
        return
    low = float(np.nanmin(curves.lt))
    rise = rise_after_best(curves)
    lost = end >= limits.relapse * start and end >= (1 + limits.rise_severe) * low
    kept = accuracy_loss(curves) < 0.05
    if lost and not kept and rise.relative >= limits.rise_severe and rise.share >= 2.5 * limits.rise_of_descent:
        evidence: dict[str, Value] = {"kind": "relapse", "start": start, "low": low, "end": end, "rise": rise.relative}
        yield curves.found("DIVERGED", "critical", (curves.b, curves.size - 1), evidence, {"share_of_start": limits.relapse})


def too_little(curves: Curves) -> Iterator[Finding]:
    """TOO_LITTLE: too few rows, no validation, or a validation set of a few cases."""
    limits = curves.context.thresholds
    rows = curves.size
    if rows == 0:
        return
    reasons: dict[str, Value] = {}
    if not np.isfinite(curves.guide).any():
        reasons["reason"] = "no_validation"
    elif rows < FEW_ROWS and not (rows == FEW_ROWS - 1 and _all_fall(curves)):
        reasons["reason"] = "rows"
    elif curves.n is not None and curves.n <= limits.few_cases:
        reasons = {"reason": "cases", "cases": curves.n, "estimated": curves.context.n is None}
    if reasons:
        thresholds: dict[str, Value] = {"rows_at_least": FEW_ROWS, "cases_above": limits.few_cases}
        yield curves.found("TOO_LITTLE", "info", (0, rows - 1), {"rows": rows, **reasons}, thresholds)


def _all_fall(curves: Curves) -> bool:
    """Both losses fall in every row, and by more than a trifle."""
    both = [defined(y) for y in (curves.train_guide, curves.guide)]
    return all(len(y) == curves.size and bool((np.diff(y) < 0).all()) and y[-1] < 0.97 * y[0] for y in both)
