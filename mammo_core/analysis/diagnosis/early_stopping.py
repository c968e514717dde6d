"""What early stopping would have done: the recorded curve, replayed with several patiences."""

from __future__ import annotations

from typing import Any

import numpy as np

from mammo_core.analysis.diagnosis.curves import Curves

PATIENCES = (3, 5, 7, 10)
MIN_DELTA = 0.002
"""Share of the best loss that an epoch must win to count as better."""
COSINE_SHARE = 0.3
"""Under a cosine schedule patience below this share of the plan forfeits the low-rate part, where most of the gain is."""
FALLBACK_NOISE = 0.01
"""Noise assumed where the run is too short to measure it, as a share of the best loss."""


def replay(curves: Curves, patience: int, min_delta: float) -> int:
    """Row (from 0) at which early stopping would end the run; the last row where it never acts."""
    best, since = np.inf, 0
    for row, value in enumerate(curves.guide):
        if not np.isfinite(value):
            continue  # not validated: early stopping does not see this epoch
        if value < best - min_delta:
            best, since = value, 0
        else:
            since += 1
        if since >= patience:
            return row
    return curves.size - 1


def early_stopping(curves: Curves) -> dict[str, Any]:
    """For each patience: stop, epochs saved and the loss it would have cost; with the smallest patience that costs nothing.

    Empty where there is no validation loss. ``penalty`` is in the unit of the loss; below the epoch-to-epoch noise it is free.
    """
    if curves.size < 2 or not curves.has_val_loss:
        return {}
    best = float(curves.lv[curves.b])
    delta = MIN_DELTA * best
    free = curves.noise or FALLBACK_NOISE * best
    table: list[dict[str, Any]] = []
    least = _cosine_least(curves)
    for patience in sorted({*PATIENCES, *([least] if least else [])}):
        stop = replay(curves, patience, delta)
        penalty = float(np.nanmin(curves.lv[: stop + 1])) - best
        table.append(
            {
                "patience": patience,
                "stop_epoch": curves.epoch(stop),
                "stop_row": curves.numbers[stop],
                "epochs_saved": curves.size - 1 - stop,
                "penalty": penalty,
                "would_stop": stop < curves.size - 1,
            }
        )
    costless = [int(entry["patience"]) for entry in table if entry["penalty"] < free and entry["patience"] >= (least or 0)]
    recommended = least or (None if curves.context.scheduler == "cosine" else next(iter(costless), None))
    return {
        "replay": table,
        "min_delta": delta,
        "free_below": free,
        "recommended_patience": recommended,
        "text": _text(curves, recommended),
    }


def _cosine_least(curves: Curves) -> int | None:
    """The least patience under a cosine schedule whose length is known; ``None`` without one."""
    planned = curves.context.max_epochs
    return int(np.ceil(COSINE_SHARE * planned)) if curves.context.scheduler == "cosine" and planned else None


def _text(curves: Curves, patience: int | None) -> str:
    if curves.context.scheduler == "cosine":
        least = f", or a patience of at least {patience}" if patience else ""
        first = (
            "With a cosine schedule, stopping early gives up the part at a low learning rate, where most of the gain is: "
            f"keep a fixed length and the best checkpoint{least}."
        )
    elif patience is None:
        first = "No patience of 3 to 10 keeps the best epoch of this run: train a fixed length and keep the best checkpoint."
    else:
        first = f"A patience of {patience} would have cost nothing measurable on this curve."
    return (
        f"{first} The best epoch was chosen on the validation split, which makes it look better than it is: "
        "report an untouched test set."
    )
