"""How well the model fits: noise, overfitting, underfitting, plateaus and schedules that ended too soon (this app's own runs)."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from mammo_core.analysis.diagnosis.curves import Curves
from mammo_core.analysis.diagnosis.finding import Finding, Severity, Value
from mammo_core.analysis.diagnosis.measures import Array, noise_of, theil_sen


def unstable(curves: Curves) -> Iterator[Finding]:
    """UNSTABLE: validation jumps from epoch to epoch by more than its level or its sampling error explains."""
    limits = curves.context.thresholds
    if curves.size < limits.short_run:
        return
    level = float(np.nanmedian(curves.guide[2:])) if np.isfinite(curves.guide[2:]).any() else 0.0
    loss = curves.noise / level if level > 0 else 0.0
    error = curves.accuracy_error
    accuracy = noise_of(curves.av) / error if error else 0.0
    if loss >= limits.unstable_loss or accuracy > limits.unstable_accuracy:
        evidence: dict[str, Value] = {"loss_noise": loss, "accuracy_noise_in_se": accuracy}
        thresholds: dict[str, Value] = {"loss_noise": limits.unstable_loss, "accuracy_noise_in_se": limits.unstable_accuracy}
        yield curves.found("UNSTABLE", "warning", (0, curves.size - 1), evidence, thresholds)


def memorised(curves: Curves) -> bool:
    """Whether the training set is learnt by heart: nearly all right, or a comparable loss near zero."""
    limits = curves.context.thresholds
    if np.isfinite(curves.at[-1]) and curves.at[-1] >= limits.memorised_accuracy:
        return True
    comparable = curves.comparable_train
    smoothed = bool(curves.context.mixup) or bool(curves.context.label_smoothing)
    return (
        comparable is not None
        and not smoothed
        and curves.k is not None
        and comparable[-1] <= limits.memorised_loss * math.log(curves.k)
    )


def accuracy_gap(curves: Curves) -> float:
    """Training minus validation accuracy at the end; NaN where either is missing."""
    return float(curves.at[-1] - curves.av[-1])


def accuracy_loss(curves: Curves) -> float:
    """How far the validation accuracy fell from its maximum; NaN without accuracy."""
    return float(np.nanmax(curves.av) - curves.av[-1]) if np.isfinite(curves.av).any() else math.nan


def overfit_hits(curves: Curves) -> dict[str, Value]:
    """Which of the signs of severe overfitting hold, with their numbers."""
    limits = curves.context.thresholds
    gap, fall = accuracy_gap(curves), accuracy_loss(curves)
    hits: dict[str, Value] = {}
    if curves.rise >= limits.rise_severe:
        hits["rise"] = curves.rise
    if gap >= limits.gap:
        hits["gap"] = gap
    if memorised(curves):
        hits["memorised"] = float(curves.at[-1]) if np.isfinite(curves.at[-1]) else float(curves.lt[-1])
    if fall >= 2 * curves.accuracy_step:
        hits["accuracy_fall"] = fall
    return hits


def is_rising(curves: Curves) -> bool:
    """The precondition of overfitting: validation rose beyond r* after its best while training went on falling."""
    enough = curves.size - 1 - curves.b >= 2
    return enough and curves.rise >= curves.least_rise and theil_sen(curves.train_guide[curves.b :]) < 0


def overfit(curves: Curves) -> Iterator[Finding]:
    """OVERFIT_SEVERE, OVERFIT_MILD and VAL_LOSS_RISING."""
    limits = curves.context.thresholds
    last = curves.size - 1
    gap = accuracy_gap(curves)
    if is_rising(curves):
        hits = overfit_hits(curves)
        severe = curves.rise >= limits.rise_severe_least and len(hits) >= 2
        evidence: dict[str, Value] = {"rise": curves.rise, "gap": gap, "hits": list(hits), **hits, **_ends(curves)}
        thresholds: dict[str, Value] = {
            "rise_at_least": curves.least_rise,
            "severe_rise": limits.rise_severe,
            "severe_gap": limits.gap,
        }
        level: Severity = "error" if severe else "warning"
        yield curves.found("OVERFIT_SEVERE" if severe else "OVERFIT_MILD", level, (curves.b, last), evidence, thresholds)
        fall = accuracy_loss(curves)
        if fall < curves.accuracy_step:
            limit: dict[str, Value] = {"accuracy_fall_below": curves.accuracy_step}
            yield curves.found("VAL_LOSS_RISING", "info", (curves.b, last), {"rise": curves.rise, "accuracy_fall": fall}, limit)
    elif gap >= limits.gap:
        yield curves.found(
            "OVERFIT_MILD", "warning", (curves.b, last), {"gap": gap, "rise": curves.rise}, {"gap_at_least": limits.gap}
        )
    else:
        yield from _growing_gap(curves)


def _ends(curves: Curves) -> dict[str, Value]:
    return {
        "best_val_loss": float(curves.guide[curves.b]),
        "last_val_loss": curves.end,
        "last_train_loss": float(curves.train_guide[-1]),
    }


def _growing_gap(curves: Curves) -> Iterator[Finding]:
    """Information only: the gap is small but grows."""
    limits = curves.context.thresholds
    gaps: Array = curves.at - curves.av
    half = curves.size // 2
    growth = theil_sen(gaps[half:])
    if curves.size >= 6 and gaps[-1] >= limits.gap_mild and growth > limits.gap_growth:
        evidence: dict[str, Value] = {"gap": float(gaps[-1]), "growth": growth}
        thresholds: dict[str, Value] = {"gap_at_least": limits.gap_mild, "growth_above": limits.gap_growth}
        yield curves.found("OVERFIT_MILD", "info", (half, curves.size - 1), evidence, thresholds)


def underfit(curves: Curves) -> Iterator[Finding]:
    """UNDERFIT: the training loss stays near guessing and no longer moves."""
    limits = curves.context.thresholds
    other = curves.context.other_loss
    losses = curves.comparable_train if other else curves.lt
    if losses is None or curves.size < 4 or abs(curves.st) >= limits.flat_train or not math.isfinite(losses[-1]):
        return
    last = float(losses[-1])
    weighted = False if other else curves.context.weighted_loss  # the comparable loss is never weighted
    guesses = []
    if weighted is not False and curves.k:
        guesses.append((limits.underfit_balanced, math.log(curves.k)))
    if weighted is not True and curves.no_skill is not None:
        guesses.append((limits.underfit_plain, curves.no_skill))
    for share, guess in guesses:
        if last > share * guess:
            evidence: dict[str, Value] = {"train_loss": last, "no_skill_loss": guess, "train_slope": curves.st}
            thresholds: dict[str, Value] = {"train_loss_above": share * guess, "slope_below": limits.flat_train}
            yield curves.found("UNDERFIT", "warning", (0, curves.size - 1), evidence, thresholds)
            return


def too_few_epochs(curves: Curves) -> Iterator[Finding]:
    """TOO_FEW_EPOCHS: training still falls, the best epoch is (nearly) the last, and validation has not levelled."""
    limits = curves.context.thresholds
    falling = curves.st <= -limits.falling and curves.rise < curves.least_rise
    if curves.size >= 2 and falling and curves.b >= curves.size - 2 and abs(curves.sv) >= limits.flat_val:
        yield curves.found("TOO_FEW_EPOCHS", "warning", (max(0, curves.size - curves.w), curves.size - 1), *too_few_data(curves))


def too_few_data(curves: Curves) -> tuple[dict[str, Value], dict[str, Value]]:
    limits = curves.context.thresholds
    evidence: dict[str, Value] = {
        "train_slope": curves.st, "val_slope": curves.sv, "best_epoch": curves.epoch(curves.b),
        "last_epoch": curves.epoch(curves.size - 1), "planned": curves.context.max_epochs,
    }  # fmt: skip
    if not np.isfinite(curves.lt).any():
        evidence["train_error_only"] = True  # the training curve is 1 minus an accuracy or score
    return evidence, {"train_slope_at_most": -limits.falling, "val_slope_beyond": limits.flat_val}


def best_is_last(curves: Curves, too_few: bool) -> Iterator[Finding]:
    """BEST_IS_LAST: a warning where the run is also unfinished."""
    if curves.size >= 2 and curves.b == curves.size - 1 and np.isfinite(curves.guide).any():
        evidence: dict[str, Value] = {"epoch": curves.epoch(curves.b), "rows": curves.size}
        yield curves.found("BEST_IS_LAST", "warning" if too_few else "info", (curves.b, curves.b), evidence)


def plateau(curves: Curves, too_few: bool) -> Iterator[Finding]:
    """PLATEAU: validation no longer moves; converged where it lies below 0.9 H."""
    limits = curves.context.thresholds
    if curves.size < 6 or too_few or abs(curves.sv) >= limits.flat_val or curves.rise >= curves.least_rise:
        return
    evidence: dict[str, Value] = {"val_slope": curves.sv, "drop": drop_of(curves), "converged": has_converged(curves)}
    if curves.b + 1 <= 0.3 * curves.size and curves.st < -limits.flat_train:
        evidence["early"] = True
    thresholds: dict[str, Value] = {"slope_below": limits.flat_val}
    yield curves.found("PLATEAU", "info", (max(0, curves.size - curves.w), curves.size - 1), evidence, thresholds)


def drop_of(curves: Curves) -> float:
    """Relative fall of the validation loss from its first value to its best."""
    known = curves.guide[np.isfinite(curves.guide)]
    return float((known[0] - known.min()) / known[0]) if len(known) and known[0] > 0 else 0.0


def has_converged(curves: Curves) -> bool:
    """A flat curve is convergence where something was learnt: below 0.9 H, or a tenth below the start where H is not known."""
    best = float(curves.guide[curves.b])
    if curves.no_skill is not None and curves.has_val_loss:
        return best < 0.9 * curves.no_skill
    return drop_of(curves) >= curves.context.thresholds.healthy_drop


def healthy(curves: Curves) -> Iterator[Finding]:
    """HEALTHY: long enough, and the validation loss fell by a tenth or more."""
    limits = curves.context.thresholds
    drop = drop_of(curves)
    if curves.size >= limits.healthy_epochs and drop >= limits.healthy_drop:
        evidence: dict[str, Value] = {
            "drop": drop,
            "best_epoch": curves.epoch(curves.b),
            "best_row": curves.numbers[curves.b],
            "val_loss": float(curves.guide[curves.b]),
        }
        thresholds: dict[str, Value] = {"epochs_at_least": limits.healthy_epochs, "drop_at_least": limits.healthy_drop}
        yield curves.found("HEALTHY", "ok", (0, curves.size - 1), evidence, thresholds)
