"""Training that broke: divergence, one class for everything, and losses worse than guessing."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from mammo_core.analysis.diagnosis.curves import Curves
from mammo_core.analysis.diagnosis.finding import Finding


def diverged(curves: Curves) -> Iterator[Finding]:
    """DIVERGED: a non-finite loss or gradient, or a training loss far above its start and above guessing."""
    for row, record in enumerate(curves.records):
        gradient = (record.model_extra or {}).get("grad_norm")
        broken = [name for name in ("train_loss", "val_loss") if not _finite(getattr(record, name))]
        if record.non_finite or broken or not _finite(gradient):
            named = str((record.model_extra or {}).get("non_finite_in") or " ".join(broken) or "loss")
            evidence = {"kind": "non_finite", "what": named, "step": (record.model_extra or {}).get("step")}
            yield curves.found("DIVERGED", "critical", (row, curves.size - 1), evidence)
            return
    if curves.k is None or not math.isfinite(first := _first(curves)):
        return
    limit = max(curves.context.thresholds.diverged_factor * first, 1.5 * math.log(curves.k))
    above = np.flatnonzero(curves.lt[1:] > limit) + 1
    if len(above):
        row = int(above[0])
        evidence = {"kind": "explosion", "train_loss": float(curves.lt[row]), "start": first, "ln_k": math.log(curves.k)}
        yield curves.found("DIVERGED", "critical", (row, curves.size - 1), evidence, {"train_loss_above": limit})


def _finite(value: object) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


def _first(curves: Curves) -> float:
    return float(curves.lt[0]) if curves.size else math.nan


def hot_start(curves: Curves) -> Iterator[Finding]:
    """HOT_START: the mean training loss of epoch 1 lies above guessing."""
    limit = curves.context.thresholds.hot_start
    blurred = bool(curves.context.mixup) or bool(curves.context.label_smoothing)
    if curves.k is None or blurred or curves.context.other_loss or not math.isfinite(first := _first(curves)):
        return
    ratio = first / math.log(curves.k)
    if ratio > limit:
        evidence = {"train_loss": first, "classes": curves.k, "ratio": ratio}
        yield curves.found("HOT_START", "warning", (0, 0), evidence, {"ratio_above": limit})


def collapse(curves: Curves) -> Iterator[Finding]:
    """COLLAPSE: one class for nearly everything at the best or the last row; critical at the best, else an error."""
    at_best = _one_class(curves, curves.b)
    at_end = _one_class(curves, curves.size - 1)
    evidence = at_best or at_end
    if evidence is None:
        return
    late_only = at_best is None
    row = curves.size - 1 if late_only else curves.b
    evidence["late_only"] = late_only
    limits = curves.context.thresholds
    thresholds = {"share_at_least": limits.collapse_share, "balanced_below": 1 / (curves.k or 1) + limits.collapse_margin}
    yield curves.found("COLLAPSE", "error" if late_only else "critical", (row, row), dict(evidence), thresholds)


def _one_class(curves: Curves, row: int) -> dict[str, float | str | bool] | None:
    limit = curves.context.thresholds.collapse_share
    record = curves.records[row]
    shares = {name: share for name, share in record.predicted_share.items() if share is not None}
    if shares and max(shares.values()) >= limit:
        name = max(shares, key=lambda key: shares[key])
        return _about_class(curves, row, name) | {"predicted_share": shares[name]}
    if curves.k is None:
        return None
    recalls = curves.recalls[row]
    if len(recalls) == curves.k and np.isfinite(recalls).all():
        top = int(np.argmax(recalls))
        if recalls[top] >= limit and np.delete(recalls, top).max() <= 1 - limit:
            return _about_class(curves, row, curves.class_names[top])
    return _no_skill(curves, row)


def _no_skill(curves: Curves, row: int) -> dict[str, float | str | bool] | None:
    """Balanced accuracy at 1/K within both the house margin and its sampling error."""
    balanced, k = float(curves.balanced[row]), curves.k or 0
    if not math.isfinite(balanced) or balanced >= 1 / k + curves.context.thresholds.collapse_margin:
        return None
    recalls, counts = curves.recalls[row], curves.counts
    known = len(counts) == k and np.isfinite(counts).all() and np.isfinite(recalls).all() and (counts > 0).all()
    error = math.sqrt(float((recalls * (1 - recalls) / counts).sum())) / k if known else 0.0
    if balanced > 1 / k + 1.96 * error and known:
        return None
    return {"balanced_accuracy": balanced, "chance": 1 / k, "accuracy": float(curves.av[row])}


def _about_class(curves: Curves, row: int, name: str) -> dict[str, float | str | bool]:
    """Which class took over, and whether it is the commonest or the rarest."""
    about: dict[str, float | str | bool] = {"class": name, "accuracy": float(curves.av[row])}
    count = dict(zip(curves.class_names, curves.counts.tolist(), strict=True))
    if all(math.isfinite(value) for value in count.values()) and name in count and sum(count.values()):
        about["class_share"] = count[name] / sum(count.values())
        about["which"] = {max(count.values()): "majority", min(count.values()): "minority"}.get(count[name], "middle")
    return about


def collapse_sudden(curves: Curves) -> Iterator[Finding]:
    """COLLAPSE_SUDDEN: balanced accuracy had been well above 1/K and fell back to it."""
    if curves.k is None:
        return
    limits = curves.context.thresholds
    balanced, chance = curves.balanced, 1 / curves.k
    if not np.isfinite(balanced).any():
        return
    best_so_far = np.fmax.accumulate(np.where(np.isfinite(balanced), balanced, -1.0))
    fallen = np.flatnonzero((best_so_far >= chance + limits.sudden_gain) & (balanced <= chance + limits.collapse_margin))
    if len(fallen):
        row = int(fallen[0])
        evidence = {"before": float(best_so_far[row]), "after": float(balanced[row]), "chance": chance}
        thresholds = {"before_at_least": chance + limits.sudden_gain, "after_at_most": chance + limits.collapse_margin}
        yield curves.found("COLLAPSE_SUDDEN", "error", (row, row), dict(evidence), dict(thresholds))


def worse_than_prior(curves: Curves) -> Iterator[Finding]:
    """WORSE_THAN_PRIOR: the best validation loss is no better than always quoting the class shares."""
    if curves.no_skill is None or not curves.has_val_loss or curves.shift:
        return
    best = float(curves.lv[curves.b])
    if best >= curves.no_skill:
        evidence = {"val_loss": best, "no_skill_loss": curves.no_skill, "skill": 1 - best / curves.no_skill}
        yield curves.found("WORSE_THAN_PRIOR", "error", (curves.b, curves.b), dict(evidence), {"no_skill_loss": curves.no_skill})
