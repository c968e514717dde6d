"""The learning rate against what was planned, and whether early stopping could ever act."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from mammo_core.analysis.diagnosis.curves import Curves
from mammo_core.analysis.diagnosis.finding import Finding, Value
from mammo_core.analysis.diagnosis.measures import Array

FLOOR_SHARE = 0.01
"""A rate of at most this share of its peak does no more work."""
EARLY_SHARE = 0.8
"""Reaching the floor before this share of the planned epochs is too early."""
FIT_RESIDUAL = 0.01
LEAST_RANGE = 0.10
HORIZONS = range(2, 201)
WRAP = 1.05
CONSTANT = 1e-3
WARM_START = 0.9


def _logged_rate(curves: Curves) -> Array:
    """The rate as logged: ``lr_next`` where the file has it (the floor shows there first), else ``lr``."""
    after = curves.column("lr_next")
    return after if np.isfinite(after).all() else curves.column("lr")


def _peak(rate: Array) -> int:
    """The first row at which the rate has reached (nearly) its maximum and no longer rises."""
    row = int(np.argmax(rate >= 0.95 * rate.max()))
    while row + 1 < len(rate) and rate[row + 1] > rate[row]:
        row += 1
    return row


def schedule(curves: Curves) -> Iterator[Finding]:
    """All rules on the learning rate; silent where it was not logged in every row."""
    rate = curves.column("lr")
    if curves.size < 2 or not np.isfinite(rate).all() or rate.max() <= 0:
        return
    yield from exhausted(curves, rate)
    yield from horizon(curves, rate)
    yield from wrap(curves, rate)
    yield from constant(curves, rate)
    yield from no_warm_up(curves, rate)
    yield from per_step(curves, rate)


def exhausted(curves: Curves, rate: Array) -> Iterator[Finding]:
    """LR_EXHAUSTED: the rate is used up long before the planned end."""
    planned, peak = curves.context.max_epochs, _peak(rate)
    logged = _logged_rate(curves)
    low = np.flatnonzero(logged[peak:] <= FLOOR_SHARE * rate.max()) + peak
    if not planned or not len(low) or int(low[0]) + 1 >= EARLY_SHARE * planned:
        return
    row = int(low[0])
    evidence: dict[str, Value] = {"epoch": curves.epoch(row), "planned": planned, "share": float(logged[row] / rate.max())}
    yield curves.found(
        "LR_EXHAUSTED", "warning", (row, row), evidence, {"share_at_most": FLOOR_SHARE, "before": EARLY_SHARE * planned}
    )


def cosine_residual(rate: Array, horizon_: int) -> float:
    """Largest residual over the peak of the best cosine decay to ``horizon_``, starting at the first row or one row before it.

    Amplitude and floor are fitted by least squares; infinite where no falling cosine fits.
    """
    best = math.inf
    for offset in (0, 1):
        shape = 0.5 * (1 + np.cos(math.pi * (np.arange(len(rate)) + offset) / horizon_))
        centred = shape - shape.mean()
        scale = float(centred @ centred)
        amplitude = float(centred @ rate) / scale if scale > 0 else 0.0
        floor = float(rate.mean()) - amplitude * float(shape.mean())
        if amplitude > 0 and floor > -FIT_RESIDUAL * rate.max():
            best = min(best, float(np.abs(floor + amplitude * shape - rate).max() / rate.max()))
    return best


def horizon(curves: Curves, rate: Array) -> Iterator[Finding]:
    """LR_HORIZON_MISMATCH: the rates follow a cosine made for another number of epochs than was planned."""
    planned = curves.context.max_epochs
    tail = rate[_peak(rate) :]
    if not planned or len(tail) < 4 or (tail.max() - tail.min()) <= LEAST_RANGE * rate.max():
        return
    warm = math.ceil(curves.context.warmup_epochs or 0)
    meant = {planned + by - warm_ for by in (-1, 0, 1) for warm_ in (0, warm)}
    if any(cosine_residual(tail, horizon_) < FIT_RESIDUAL for horizon_ in meant if horizon_ > 0):
        return
    fits = {horizon_: cosine_residual(tail, horizon_) for horizon_ in HORIZONS}
    best = min(fits, key=lambda key: fits[key])
    if fits[best] < FIT_RESIDUAL:
        evidence: dict[str, Value] = {"fitted": best, "planned": planned, "residual": fits[best]}
        yield curves.found("LR_HORIZON_MISMATCH", "warning", (0, curves.size - 1), evidence, {"residual_below": FIT_RESIDUAL})


def wrap(curves: Curves, rate: Array) -> Iterator[Finding]:
    """LR_WRAP: the rate rises again after its floor, as a cosine does beyond its horizon."""
    peak = _peak(rate)
    after = rate[peak:]
    floor = int(np.argmin(after)) + peak
    if curves.context.scheduler == "restarts" or floor == curves.size - 1 or floor == peak:
        return
    resumed = any(record.resumed for record in curves.records[floor + 1 :])
    rises = np.flatnonzero(rate[floor + 1 :] > max(WRAP * rate[floor], rate[floor] + 0.05 * rate.max())) + floor + 1
    if len(rises) and not resumed:
        row = int(rises[0])
        evidence: dict[str, Value] = {"floor": float(rate[floor]), "after": float(rate[row]), "floor_epoch": curves.epoch(floor)}
        yield curves.found("LR_WRAP", "warning", (floor, row), evidence, {"rise_above": WRAP - 1})


def constant(curves: Curves, rate: Array) -> Iterator[Finding]:
    """LR_CONST: a schedule was set, yet the rate never changed."""
    scheduled = curves.context.scheduler not in (None, "constant")
    if scheduled and curves.size >= 3 and (rate.max() - rate.min()) <= CONSTANT * rate.max():
        evidence: dict[str, Value] = {"lr": float(rate[0]), "scheduler": curves.context.scheduler}
        yield curves.found("LR_CONST", "warning", (0, curves.size - 1), evidence, {"range_at_most": CONSTANT})


def no_warm_up(curves: Curves, rate: Array) -> Iterator[Finding]:
    """NO_WARMUP: the first epoch already ran at the peak although a longer warm-up was set."""
    warm = curves.context.warmup_epochs or 0
    # The rate logged is that of an epoch's last step: a warm-up of one epoch ends at the peak and cannot be seen.
    if warm * WARM_START > 1 and rate[0] >= WARM_START * rate.max():
        evidence: dict[str, Value] = {"start": float(rate[0]), "peak": float(rate.max()), "warmup_epochs": warm}
        yield curves.found("NO_WARMUP", "warning", (0, 0), evidence, {"share_at_least": WARM_START})


def per_step(curves: Curves, rate: Array) -> Iterator[Finding]:
    """LR_PER_STEP: the floor comes within two epochs of a long plan, as when an epoch-wise schedule is stepped every batch."""
    planned = curves.context.max_epochs or 0
    logged = _logged_rate(curves)
    low = np.flatnonzero(logged <= FLOOR_SHARE * rate.max())
    if planned >= 10 and len(low) and int(low[0]) < 2 and _peak(rate) < int(low[0]):
        evidence: dict[str, Value] = {"epoch": curves.epoch(int(low[0])), "planned": planned}
        yield curves.found("LR_PER_STEP", "warning", (0, int(low[0])), evidence, {"epochs_at_most": 2, "planned_at_least": 10})


def early_stop_inactive(curves: Curves) -> Iterator[Finding]:
    """EARLY_STOP_INACTIVE: patience as long as the run, so that it could not act."""
    patience, planned = curves.context.patience, curves.context.max_epochs
    ran = curves.size if curves.context.finished else planned
    if patience is not None and curves.size and ran and patience >= min(ran, planned or ran):
        evidence: dict[str, Value] = {"patience": patience, "epochs": curves.size, "planned": planned}
        yield curves.found("EARLY_STOP_INACTIVE", "info", (0, curves.size - 1), evidence, {"patience_at_least": "epochs"})
