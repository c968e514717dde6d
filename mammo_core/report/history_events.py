"""What happened in a training, as lines on its figure: changes of the learning rate, resumes, other runs, and how it ended."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from mammo_core.report.event_names import Event
from mammo_core.runs.schema import State, StopReason

Floats = npt.NDArray[np.float64]

WARM_PEAK, WARM_START = 0.95, 0.90
"""As for the phase: warm-up ends at 0.95 of the peak and is one only where the first rate is below 0.90 of it."""
RESTART = 1.5
"""The rate starts anew where it rises to this multiple from one epoch to the next, after having fallen."""
DROP = 0.7
"""The rate drops where it falls to this share or less from one level stretch to another."""
LEVEL = 0.02
"""Relative change between epochs that counts as level."""
FLOOR_SHARE, FLOOR_WIDTH = 0.1, 1.05
"""A floor is at most this share of the peak; it is reached at the first rate within 5 % of the lowest."""
MOST_NAMED = 5
"""Of events of one kind only so many get a word; the others are a line."""


def rate_events(frame: pd.DataFrame) -> tuple[Event, ...]:
    """Warm-up end, restarts, drops and floor of the learning rate; none where a rate is missing."""
    if "lr" not in frame.columns or len(frame) < 3:
        return ()
    rate, epochs = frame["lr"].to_numpy(dtype=np.float64), frame["epoch"].tolist()
    if not np.isfinite(rate).all() or rate.max() <= 0 or rate.min() < 0:
        return ()
    warm = int(np.argmax(rate >= WARM_PEAK * rate.max())) if rate[0] < WARM_START * rate.max() else 0
    events = [Event(epochs[warm], "warm-up ends")] if 0 < warm < len(rate) - 1 else []
    events += _restarts(rate, epochs, warm)
    dropped = _drops(rate, epochs, warm)
    events += dropped
    floor = _floor(rate, warm)
    if floor is not None and epochs[floor] not in {event.epoch for event in dropped}:
        events.append(Event(epochs[floor], "lowest rate"))
    return tuple(events)


def _restarts(rate: Floats, epochs: Sequence[float], warm: int) -> list[Event]:
    found = [i for i in range(warm + 2, len(rate)) if rate[i] > RESTART * rate[i - 1] and rate[i - 1] < rate[i - 2]]
    return [Event(epochs[i], "rate restarts" if count < MOST_NAMED else "") for count, i in enumerate(found)]


def _drops(rate: Floats, epochs: Sequence[float], warm: int) -> list[Event]:
    """Steps down between level stretches: a smooth schedule has none."""
    found = [
        i
        for i in range(warm + 1, len(rate))
        if rate[i] <= DROP * rate[i - 1]
        and (i - 1 == warm or _is_level(rate[i - 2], rate[i - 1]))
        and (i + 1 == len(rate) or _is_level(rate[i], rate[i + 1]) or rate[i + 1] <= DROP * rate[i])
    ]
    if len(found) > len(rate) / 3:
        return []  # a smooth schedule over few epochs
    return [Event(epochs[i], _drop_name(rate[i - 1], rate[i]) if count < MOST_NAMED else "") for count, i in enumerate(found)]


def _is_level(before: float, after: float) -> bool:
    return abs(after - before) <= LEVEL * max(abs(before), abs(after))


def _drop_name(before: float, after: float) -> str:
    return f"rate ÷ {before / after:.2g}" if after > 0 else "rate 0"


def _floor(rate: Floats, warm: int) -> int | None:
    """The first epoch of a lowest stretch of at least two epochs behind the peak."""
    after = rate[warm:]
    lowest = float(after.min())
    if lowest > FLOOR_SHARE * float(after.max()):
        return None
    reached = warm + int(np.argmax(after <= FLOOR_WIDTH * lowest))
    return reached if reached < len(rate) - 1 and bool((rate[reached:] <= FLOOR_WIDTH * lowest).all()) else None


def resume_events(frame: pd.DataFrame) -> tuple[Event, ...]:
    """The first epoch after each resume, and the first of each further run in one file."""
    resumed = [epoch for epoch, flag in zip(frame["epoch"], frame.get("resumed", ()), strict=False) if flag == True]  # noqa: E712
    events = [Event(epoch, "resumed" if i < MOST_NAMED else "", dotted=True) for i, epoch in enumerate(resumed)]
    if "segment" in frame.columns:
        runs = pd.to_numeric(frame["segment"], errors="coerce").fillna(0).to_numpy(dtype=np.float64)
        starts = np.flatnonzero(np.diff(runs) > 0) + 1
        events += [
            Event(int(frame["epoch"].iloc[i]), f"run {int(runs[i]) + 1} begins" if n < MOST_NAMED else "", dotted=True)
            for n, i in enumerate(starts)
        ]
    return tuple(events)


def broken_events(frame: pd.DataFrame) -> tuple[Event, ...]:
    """The first epoch whose loss was NaN or infinite, which no curve can show."""
    if "non_finite" not in frame.columns:
        return ()
    broken = [epoch for epoch, flag in zip(frame["epoch"], frame["non_finite"], strict=True) if flag == True]  # noqa: E712
    return (Event(broken[0], "loss is no number"),) if broken else ()


def ending_events(frame: pd.DataFrame, state: State, stop_reason: StopReason | None) -> tuple[Event, ...]:
    """How a run of this app ended: its last checkpoint, and whether early stopping ended it; none while it trains."""
    if frame.empty or state not in ("finished", "stopped"):
        return ()
    last = int(frame["epoch"].iloc[-1])
    early = (Event(last, "early stop"),) if stop_reason == "early_stopping" else ()
    return (*early, Event(last, "final checkpoint"))
