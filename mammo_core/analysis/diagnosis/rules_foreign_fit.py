"""How well a model fits, told from histories of other tools: no class counts, sometimes no accuracy, losses on any scale."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from mammo_core.analysis.diagnosis.curves import Curves
from mammo_core.analysis.diagnosis.finding import Confidence, Finding, Value
from mammo_core.analysis.diagnosis.foreign_shape import FEW_ROWS, descent, is_stuck, rise_after_best, starts_alike
from mammo_core.analysis.diagnosis.measures import (
    defined,
    first_of,
    last_of,
    late_share,
    noise_of,
    settled,
    tail_of,
    theil_sen,
    typical_jump,
)
from mammo_core.analysis.diagnosis.rules_fit import accuracy_gap, accuracy_loss, drop_of, too_few_data

FEW_EPOCHS = 15
"""Up to here a slow fall at the end more likely means too few epochs than a finished descent."""
LEARNT, HIGH = 0.05, 0.90
"""A rise of the accuracy by so much is learning; from so high an accuracy little is left to learn."""
TREND_SHARE = 1.3
"""A curve whose tail moves this much further than its typical large jump is not unstable but on its way."""


def unstable(curves: Curves) -> Iterator[Finding]:
    """UNSTABLE: validation jumps by a visible share of its whole descent, further than it moves on the whole."""
    limits = curves.context.thresholds
    if len(defined(curves.guide)) < limits.short_run:
        return
    way = descent(curves)
    late = tail_of(curves.guide)
    level = float(np.nanmedian(late))
    noise = noise_of(late) / level if level > 0 else 0.0
    jump = typical_jump(late) / way if way > 0 else math.inf
    accuracy = noise_of(tail_of(curves.av)) if np.isfinite(curves.av).any() else math.nan
    loud = jump >= limits.jump or (jump >= limits.jump_with_accuracy and accuracy >= limits.accuracy_jump)
    still = accuracy < limits.accuracy_still
    trend = abs(theil_sen(late)) * len(late) / way if way > 0 else 0.0
    least = limits.unstable_loss * (0.5 if accuracy >= limits.accuracy_jump else 1)
    if noise >= least and loud and not still and trend <= TREND_SHARE * jump:
        evidence: dict[str, Value] = {
            "loss_noise": noise,
            "jump": jump if math.isfinite(jump) else None,
            "accuracy_noise": accuracy,
            "trend": trend,
        }
        thresholds: dict[str, Value] = {
            "loss_noise": least,
            "jump": limits.jump,
            "accuracy_noise": limits.accuracy_jump,
        }
        yield curves.found("UNSTABLE", "warning", (0, curves.size - 1), evidence, thresholds)


def overfit(curves: Curves) -> Iterator[Finding]:
    """OVERFIT_SEVERE / OVERFIT_MILD: validation rises after its best, or stands still while training vanishes."""
    limits = curves.context.thresholds
    last = curves.size - 1
    found = rise_after_best(curves)
    rise, share, least = found.relative, found.share, found.least
    falling = not np.isfinite(curves.train_guide).any() or _keeps_falling(curves)
    if not curves.has_val_loss:
        yield from _overfit_by_accuracy(curves)
        return
    large = rise >= limits.rise_severe and share >= 2.5 * limits.rise_of_descent
    if rise >= least and share >= limits.rise_of_descent and (falling or large):
        hits = _signs(curves, rise)
        severe = rise >= limits.rise_severe_least and share >= 2 * limits.rise_of_descent and len(hits) >= 2
        evidence: dict[str, Value] = {
            "rise": rise, "rise_of_descent": share if math.isfinite(share) else None, "gap": accuracy_gap(curves),
            "hits": list(hits), **hits, "best_val_loss": float(curves.lv[curves.b]), "last_val_loss": found.end,
            "last_train_loss": settled(curves.lt),
        }  # fmt: skip
        thresholds: dict[str, Value] = {"rise_at_least": least, "severe_rise": limits.rise_severe, "severe_gap": limits.gap}
        yield _overfitted(curves, severe, evidence, thresholds)
        if accuracy_loss(curves) < curves.accuracy_step:
            fall: dict[str, Value] = {"rise": rise, "accuracy_fall": accuracy_loss(curves)}
            yield curves.found("VAL_LOSS_RISING", "info", (curves.b, last), fall, {"accuracy_fall_below": curves.accuracy_step})
        return
    yield from _standing_gap(curves)


def _keeps_falling(curves: Curves) -> bool:
    """Training loss after the best row is on its way down, or has already vanished beside the validation loss."""
    after = curves.train_guide[curves.b :]
    return theil_sen(after) < 0 or last_of(curves.train_guide) < 0.5 * last_of(curves.guide)


def _signs(curves: Curves, rise: float) -> dict[str, Value]:
    """The signs of severe overfitting that hold, with their numbers."""
    limits = curves.context.thresholds
    signs: dict[str, Value] = {}
    if rise >= limits.rise_severe:
        signs["rise"] = rise
    if rise >= limits.rise_decisive:
        signs["decisive_rise"] = rise
    if (gap := accuracy_gap(curves)) >= limits.gap:
        signs["gap"] = gap
    train, val = settled(curves.lt), settled(curves.lv)
    if curves.at[-1] >= limits.memorised_accuracy:
        signs["memorised"] = float(curves.at[-1])
    elif train <= limits.memorised_loss * val and starts_alike(curves):
        signs["memorised"] = train
    if (fall := accuracy_loss(curves)) >= max(0.05, 2 * curves.accuracy_step):
        signs["accuracy_fall"] = fall
    # Without any measure of quality the losses must tell the gap too: nothing says that the ranking held.
    if not curves.has_quality and starts_alike(curves) and train > 0 and val / train >= limits.gap_ratio_severe:
        signs["loss_gap"] = val / train
    return signs


def _standing_gap(curves: Curves) -> Iterator[Finding]:
    """No rise, but training runs away from a validation loss that stands still."""
    limits = curves.context.thresholds
    train, val = settled(curves.lt), settled(curves.lv)
    way = descent(curves)
    ratio = val / train if train > 0 else math.nan
    share = (val - train) / way if way > 0 else math.inf
    accuracy = accuracy_gap(curves)
    # Against the gap as well: where validation never moved much, a hundredth of the gap may be half of its whole fall.
    known = defined(curves.guide)
    fall = float(known[0] - known.min())
    still = late_share(curves.guide) * fall < limits.late_share_slow * max(fall, val - train)
    apart = ratio >= limits.gap_ratio and share >= limits.gap_of_descent and starts_alike(curves) and late_share(curves.lt) > 0
    if curves.size >= 6 and still and (apart or accuracy >= limits.gap):
        evidence: dict[str, Value] = {
            "gap": accuracy, "loss_ratio": ratio, "gap_of_descent": share if math.isfinite(share) else None, "rise": curves.rise,
            "last_val_loss": val, "last_train_loss": train,
        }  # fmt: skip
        thresholds: dict[str, Value] = {
            "loss_ratio": limits.gap_ratio,
            "gap_of_descent": limits.gap_of_descent,
            "gap_at_least": limits.gap,
        }
        severe = accuracy >= limits.gap_severe and curves.at[-1] >= limits.gap_severe_train
        yield _overfitted(curves, severe, evidence, thresholds)


def _overfit_by_accuracy(curves: Curves) -> Iterator[Finding]:
    """Without a validation loss: accuracy that falls from its best while training is learnt by heart, or a wide gap."""
    limits = curves.context.thresholds
    accuracy = defined(curves.av)
    if len(accuracy) < 6:
        return
    fall = float(accuracy.max() - np.median(accuracy[-max(3, len(accuracy) // 4) :]))
    noise, gap = noise_of(tail_of(curves.av)), accuracy_gap(curves)
    evidence: dict[str, Value] = {"accuracy_fall": fall, "gap": gap}
    thresholds: dict[str, Value] = {"fall_at_least": max(limits.rise, 3 * noise), "gap_at_least": limits.gap}
    if fall >= max(limits.rise, 3 * noise) and gap >= limits.gap_mild:
        severe = fall >= 0.1 and (gap >= limits.gap or curves.at[-1] >= limits.memorised_accuracy)
        yield _overfitted(curves, severe, evidence, thresholds)
    elif gap >= limits.gap:
        yield _overfitted(curves, False, evidence, thresholds)


def _overfitted(curves: Curves, severe: bool, evidence: dict[str, Value], thresholds: dict[str, Value]) -> Finding:
    """The finding of either grade, from the best row to the last."""
    name = "OVERFIT_SEVERE" if severe else "OVERFIT_MILD"
    return curves.found(name, "error" if severe else "warning", (curves.b, curves.size - 1), evidence, thresholds)


def underfit(curves: Curves) -> Iterator[Finding]:
    """UNDERFIT: little was learnt on either set, and slowly more is."""
    limits = curves.context.thresholds
    start = first_of(curves.train_start)
    little = drop_of(curves) < limits.healthy_drop and not start - last_of(curves.train_guide) > limits.healthy_drop * start
    gained = late_share(curves.guide) * drop_of(curves) * first_of(curves.guide)
    late = (
        curves.b >= 0.85 * (curves.size - 1) and late_share(curves.guide) >= limits.late_share_slow and gained > 2 * curves.noise
    )
    if curves.size >= FEW_ROWS and little and late:
        evidence: dict[str, Value] = {
            "drop": drop_of(curves),
            "train_loss": last_of(curves.lt),
            "late_share": late_share(curves.guide),
        }
        thresholds: dict[str, Value] = {"drop_below": limits.healthy_drop, "late_share_at_least": limits.late_share_slow}
        yield curves.found("UNDERFIT", "warning", (0, curves.size - 1), evidence, thresholds)


def too_few_epochs(curves: Curves) -> Iterator[Finding]:
    """TOO_FEW_EPOCHS: still falling at the end, and what it still brings is a visible part of what was learnt."""
    limits = curves.context.thresholds
    rise = rise_after_best(curves)
    size = curves.size
    if size < 3 or rise.relative >= rise.least or curves.b < size - 1 - max(1, size // 20):
        return
    train, val = late_share(curves.train_guide), late_share(curves.guide)
    short = size <= FEW_EPOCHS
    worth_it = size < limits.short_run or (train >= limits.late_share and val >= limits.late_share * (0.5 if short else 1))
    quick = curves.st <= -limits.falling and abs(curves.sv) >= limits.flat_val and worth_it
    gained = max(train, late_share(1 - curves.at))
    least = 0.5 * limits.late_share if short else limits.late_share_slow
    both_slow = curves.st <= -limits.flat_train and gained >= limits.late_share_slow and val >= least
    # A validation loss that never fell by a tenth must at least leave its own noise behind.
    known = defined(curves.guide)
    if (
        drop_of(curves) < limits.healthy_drop
        and size >= limits.short_run
        and val * float(known[0] - known.min()) <= 2 * curves.noise
    ):
        return
    alone = not np.isfinite(curves.train_guide).any() and curves.sv <= -limits.falling and val >= limits.late_share
    if quick or both_slow or alone:
        evidence, thresholds = too_few_data(curves)
        thresholds |= {"late_share_at_least": limits.late_share}
        evidence |= {"train_late_share": train, "val_late_share": val}
        yield curves.found("TOO_FEW_EPOCHS", "warning", (max(0, size - curves.w), size - 1), evidence, thresholds)


def plateau(curves: Curves, too_few: bool) -> Iterator[Finding]:
    """PLATEAU: validation no longer moves; not converged where hardly anything was learnt."""
    limits = curves.context.thresholds
    rise = rise_after_best(curves)
    flat = abs(curves.sv) < limits.flat_val
    stuck = is_stuck(curves)
    if curves.size < FEW_ROWS or too_few or rise.relative >= rise.least or not (flat or stuck):
        return
    evidence: dict[str, Value] = {"val_slope": curves.sv, "drop": drop_of(curves), "converged": not stuck}
    if curves.b + 1 <= 0.3 * curves.size and curves.st < -limits.flat_train:
        evidence["early"] = True
    doubted = _what_accuracy_says(curves) if stuck else {}
    rows = (max(0, curves.size - curves.w), curves.size - 1)
    found = curves.found("PLATEAU", "info", rows, evidence | doubted, {"slope_below": limits.flat_val})
    if "accuracy_start" in doubted:
        less: Confidence = "medium" if found.confidence == "high" and not doubted.get("rows_without_val_loss") else "low"
        found = replace(found, confidence=less)
    yield found


def _what_accuracy_says(curves: Curves) -> dict[str, Value]:
    """What speaks against "hardly anything was learnt": accuracy that rose, also in rows without a validation loss, or that was
    high from the start.
    """
    known = [(r.val_acc, r.val_loss is not None) for r in curves.everything if r.val_acc is not None]
    if len(known) < FEW_ROWS or not curves.has_val_loss:
        return {}
    accuracy = np.array([value for value, _ in known], dtype=np.float64)
    lead_in = next((index for index, (_, has_loss) in enumerate(known) if has_loss), 0)
    start, level = float(accuracy[0]), last_of(accuracy)
    said: dict[str, Value] = {"rows": curves.size, "rows_without_val_loss": lead_in} if lead_in else {}
    if level - start >= max(LEARNT, 3 * noise_of(accuracy)):
        doubt = "the accuracy rose although the validation loss hardly fell"
        said |= {"accuracy_start": start, "accuracy": level, "accuracy_gain": level - start}
    elif start >= HIGH and level >= HIGH:
        doubt = "the accuracy was high from the start"
        said |= {"accuracy_start": start, "accuracy": level}
    else:
        return said
    missing = f"; the validation loss is missing in the first {lead_in} rows" if lead_in else ""
    return said | {"doubt": f"{doubt}{missing}"}


def healthy(curves: Curves) -> Iterator[Finding]:
    """HEALTHY: something was learnt and nothing above holds; below ten rows with low confidence."""
    drop = drop_of(curves)
    if curves.size >= FEW_ROWS and not is_stuck(curves):
        evidence: dict[str, Value] = {
            "drop": drop,
            "best_epoch": curves.epoch(curves.b),
            "best_row": curves.numbers[curves.b],
            "val_loss": float(curves.guide[curves.b]),
        }
        thresholds: dict[str, Value] = {"drop_at_least": curves.context.thresholds.healthy_drop}
        yield curves.found("HEALTHY", "ok", (0, curves.size - 1), evidence, thresholds)
