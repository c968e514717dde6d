"""The shape of a foreign curve, measured against itself.

Where the rules for own runs measure against ln K or the sampling error, those for histories of other tools measure against the
*descent*: the way from the first rows to the lowest validation loss. What matters to a reader of the curve is large as a share
of the descent; what is large only relative to a loss near zero is a detail.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mammo_core.analysis.diagnosis.curves import Curves
from mammo_core.analysis.diagnosis.measures import defined, first_of, noise_of, tail_of
from mammo_core.analysis.diagnosis.rules_fit import drop_of

FEW_ROWS = 4
"""Fewer rows are too little to judge, unless everything still falls."""


def descent(curves: Curves) -> float:
    """From the height of the first rows to the lowest validation loss.

    Training counts from its second row, because the mean over the first epoch contains the untrained network, and only where
    it is on the same scale as validation.
    """
    known = defined(curves.guide)
    if not len(known):
        return math.nan
    start = float(known[: max(3, len(known) // 10)].max())
    second = float(curves.train_start[1]) if len(curves.train_start) > 1 else math.nan
    if start < second < 10 * start:
        start = second
    return start - float(known.min())


@dataclass(frozen=True)
class Rise:
    """How the validation loss moved after its best."""

    relative: float
    share: float
    """Of the descent; infinite where there was none."""
    least: float
    """The least relative rise that counts."""
    end: float


def rise_after_best(curves: Curves) -> Rise:
    """The level of the last quarter (at least three rows) after the best row, against the level around that row."""
    limits = curves.context.thresholds
    after = defined(curves.guide[curves.b + 1 :])
    count = max(3, math.ceil(curves.size / 4))
    if len(after) < 2 or not curves.base > 0:
        return Rise(0.0, 0.0, limits.rise, curves.end)
    end = float(np.median(after[-count:])) if len(after) >= count else float(np.median(after[-min(3, len(after)) :]))
    noise = noise_of(tail_of(curves.guide)) if curves.size >= limits.short_run else 0.0
    way = descent(curves)
    share = (end - curves.base) / way if way > 0.01 * curves.base else math.inf if end > curves.base else 0.0
    return Rise((end - curves.base) / curves.base, share, max(limits.rise, 2 * noise / curves.base), end)


def starts_alike(curves: Curves) -> bool:
    """Whether both losses start on one scale, so that their ratio later means something."""
    train, val = first_of(curves.lt), first_of(curves.lv)
    return train > 0 and val > 0 and 0.1 <= val / train <= 10


def is_stuck(curves: Curves) -> bool:
    """Hardly anything was learnt: validation fell by less than a tenth, and not because it started near its end already."""
    small = drop_of(curves) < curves.context.thresholds.healthy_drop
    start = float(curves.train_start[1]) if len(curves.train_start) > 1 else math.nan
    quick = float(np.nanmin(curves.guide)) <= 0.5 * start and start < 10 * first_of(curves.guide)
    return (small and not quick) or _no_accuracy_gained(curves)


def _no_accuracy_gained(curves: Curves) -> bool:
    """Neither accuracy moved although there was room."""
    val, train = defined(curves.av), defined(curves.at)
    if len(val) < FEW_ROWS or len(train) < FEW_ROWS or val[-1] >= 0.9:
        return False
    return float(val[1:].max() - val[0]) <= 0.01 and float(train.max() - train[0]) <= 0.02
