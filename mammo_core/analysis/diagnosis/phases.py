"""The stretches of a training: warm-up, rapid learning, refinement, post-best."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from mammo_core.analysis.diagnosis.curves import Curves
from mammo_core.analysis.diagnosis.finding import Phase
from mammo_core.analysis.diagnosis.measures import Array, noise_of

WARM_PEAK, WARM_START = 0.95, 0.90
"""Warm-up ends at the first rate of 0.95 of the peak, and is one only if the first rate is below 0.90 of it."""
RAPID_SHARE = 0.90
"""Share of the whole descent that ends rapid learning; on the running minimum, so that the last noise step cannot move it."""
LEAST_DESCENT = 0.02

LABELS = {
    "warm_up": "Warm-up",
    "rapid_learning": "Rapid learning",
    "refinement": "Refinement",
    "post_best": "After the best epoch",
    "no_learning": "No learning phase",
}
PhaseId = Literal["warm_up", "rapid_learning", "refinement", "post_best", "no_learning"]


def phases_of(curves: Curves) -> tuple[Phase, ...]:
    """Phases in order; warm-up (a matter of the learning rate) may overlap rapid learning (a matter of the loss)."""
    if not curves.size or not np.isfinite(curves.guide).any():
        return ()
    past_best = curves.b < curves.size - 1 and curves.rise >= curves.least_rise
    whole = _from_first_row(curves)
    b = whole.numbers.index(curves.numbers[curves.b])
    found = []
    warm = _warm_up_end(whole)
    if warm is not None:
        found.append(_phase(whole, "warm_up", 0, warm))
    rapid = _rapid_end(curves) if whole is curves else _rapid_end_of(_learning(whole), whole)
    curves, last = whole, whole.size - 1
    if rapid is None:
        return (*found, _phase(curves, "no_learning", 0, last))
    found.append(_phase(curves, "rapid_learning", 0, rapid))
    refined_until = b if past_best else last
    if refined_until > rapid:
        found.append(_phase(curves, "refinement", rapid + 1, refined_until))
    if past_best:
        found.append(_phase(curves, "post_best", b + 1, last))
    return tuple(found)


def _from_first_row(curves: Curves) -> Curves:
    """All rows of the run where it was only validated later on: learning does not begin where validation does."""
    steps = np.diff(curves.numbers)
    step = float(np.median(steps)) if len(steps) else 1.0
    if curves.numbers[0] - curves.everything[0].epoch <= step:
        return curves
    return Curves(curves.everything, tuple(record.epoch for record in curves.everything), curves.everything, curves.context)


def _learning(whole: Curves) -> Array:
    """What tells of learning in every row: the validation accuracy where all rows have it, else the training curve."""
    return 1 - whole.quality if np.isfinite(whole.quality).all() else whole.train_guide


def _phase(curves: Curves, kind: PhaseId, first: int, last: int) -> Phase:
    provisional = curves.size < curves.context.thresholds.short_run or not curves.context.finished
    rows = (curves.numbers[first], curves.numbers[last])
    return Phase(kind, LABELS[kind], rows, (curves.epoch(first), curves.epoch(last)), provisional)


def _warm_up_end(curves: Curves) -> int | None:
    rate = curves.column("lr")
    if not np.isfinite(rate).all() or rate.max() <= 0 or rate[0] >= WARM_START * rate.max():
        return None
    return int(np.argmax(rate >= WARM_PEAK * rate.max()))


def _rapid_end(curves: Curves) -> int | None:
    """The row at which 90 % of the descent is done; ``None`` where there was hardly any."""
    return _rapid_end_of(curves.guide, curves)


def _rapid_end_of(guide: Array, curves: Curves) -> int | None:
    known = np.flatnonzero(np.isfinite(guide))
    if not len(known):
        return None
    first = float(guide[known[0]])
    descent = first - float(np.nanmin(guide))
    noise = noise_of(guide[2:]) if curves.size >= curves.context.thresholds.short_run else 0.0
    if descent <= 0 or descent < max(2 * noise, LEAST_DESCENT * abs(first)) or not math.isfinite(descent):
        return None
    lowest = np.fmin.accumulate(guide)
    return int(np.argmax((first - lowest) / descent >= RAPID_SHARE))
