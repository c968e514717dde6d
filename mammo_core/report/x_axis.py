"""The x axis of a history figure: epochs as the run or file counts them, rows where it does not, or elapsed time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from mammo_core.report.spec import Spec, number

AxisKind = Literal["epoch", "time"]
Floats = npt.NDArray[np.float64]

IS_BREAK = "is_break"
"""Column of a prepared frame: rows without values that part two runs of one file, so that no line joins them."""
UNITS = ((2 * 86400, 86400.0, "days"), (2 * 3600, 3600.0, "hours"), (120, 60.0, "minutes"), (0, 1.0, "seconds"))
"""From that many seconds on the axis counts in units of so many seconds."""
PIXELS_A_NUMBER = 36


@dataclass(frozen=True)
class XAxis:
    """What runs along the figure and from where to where."""

    low: float
    high: float
    title: str = "Epoch"
    field: str = "epoch"
    """Column of the frame, and name of the value in the chart's data."""
    is_whole: bool = True
    """Whether only whole numbers mean something."""

    @property
    def scale(self) -> Spec:
        return {"domain": [self.low, self.high], "nice": False, "zero": False}

    def channel(self, width: int, show_numbers: bool) -> Spec:
        """The x channel with its axis; numbers and title only where ``show_numbers``."""
        most = max(2, width // PIXELS_A_NUMBER)
        axis: Spec = {"labels": show_numbers, "grid": False, "tickCount": most}
        if self.is_whole:
            axis |= {"format": "d", "tickMinStep": 1, "tickCount": min(math.ceil(self.high - self.low), most)}
        return number(self.field, title=self.title if show_numbers else None, scale=self.scale, axis=axis)

    def share(self, value: float) -> float:
        """Where a value lies along the axis: 0 at its beginning, 1 at its end."""
        return (value - self.low) / (self.high - self.low)


def epochs_axis(last: int) -> XAxis:
    """From half an epoch before the first to half an epoch after the last planned one, so that no marker is cut."""
    return XAxis(0.5, last + 0.5)


def history_axis(frame: pd.DataFrame, kind: AxisKind, planned: int | None, longest: float = 0.0) -> tuple[pd.DataFrame, XAxis]:
    """The frame with its x values in ``axis.field``, and the axis, which ends at the planned epochs.

    A foreign history is drawn over the epoch numbers of its own file where these only grow (from 0, or fractional), else over
    its rows. Runs that were appended to one file are parted by a row without values. ``time`` falls back to epochs where
    :func:`why_no_time` gives a reason; it reaches to ``longest`` seconds at least.
    """
    if kind == "time" and why_no_time(frame) is None:
        return _over_time(frame, max(total_seconds(frame, planned), longest))
    own = source_epochs(frame)
    if own is None:
        last = max(planned or 1, int(frame["epoch"].max()) if len(frame) else 1)
        title = "Row of the file" if place_word(frame) == "row" else "Epoch"
        return with_breaks(frame, "epoch"), XAxis(0.5, last + 0.5, title)
    steps = np.diff(own)
    half = float(np.median(steps)) / 2 if len(steps) else 0.5
    is_whole = bool((own == np.round(own)).all())
    end = float(own[-1])
    if planned and own[0] < 1.5:  # a file that begins later was cut off, and its plan cannot be placed
        end = max(end, planned - 1.0 if own[0] == 0 and is_whole else float(planned))
    moved = frame.assign(epoch=own)
    return with_breaks(moved, "epoch"), XAxis(float(own[0]) - half, end + half, is_whole=is_whole)


def source_epochs(frame: pd.DataFrame) -> Floats | None:
    """The file's own epoch numbers where there is one in every row and they only grow; else ``None``."""
    if not _has(frame, "source_epoch"):
        return None
    own = pd.to_numeric(frame["source_epoch"], errors="coerce").to_numpy(dtype=np.float64)
    return own if np.isfinite(own).all() and (np.diff(own) > 0).all() else None


def shown_epochs(frame: pd.DataFrame) -> Floats:
    """The epoch numbers as figures and sentences give them."""
    own = source_epochs(frame)
    return frame["epoch"].to_numpy(dtype=np.float64) if own is None else own


def place_word(frame: pd.DataFrame) -> str:
    """``row`` where a file numbers epochs more than once, so that its numbers name no place; else ``epoch``."""
    return "row" if source_epochs(frame) is None and _has(frame, "source_epoch") else "epoch"


def _has(frame: pd.DataFrame, column: str) -> bool:
    return column in frame.columns and bool(frame[column].notna().any())


def with_breaks(frame: pd.DataFrame, field: str) -> pd.DataFrame:
    """The frame with an empty row between the runs of a file (column ``segment``)."""
    if not _has(frame, "segment"):
        return frame
    runs = pd.to_numeric(frame["segment"], errors="coerce").fillna(0).to_numpy(dtype=np.float64)
    places = np.flatnonzero(np.diff(runs) != 0)
    if not len(places):
        return frame
    x = frame[field].to_numpy(dtype=np.float64)
    gaps = pd.DataFrame({field: (x[places] + x[places + 1]) / 2, IS_BREAK: True})
    return pd.concat([frame.assign(**{IS_BREAK: False}), gaps]).sort_values(field, kind="stable", ignore_index=True)


# ---- elapsed time ---------------------------------------------------------------------------------------------------------


def epoch_seconds(frame: pd.DataFrame) -> Floats:
    """Seconds of each epoch, NaN where unknown.

    Some tools write the time since the start under the same name; a column that grows in every row, to more than three times
    its first value, is taken apart again.
    """
    if "seconds" not in frame.columns:
        return np.full(len(frame), np.nan)
    seconds = pd.to_numeric(frame["seconds"], errors="coerce").to_numpy(dtype=np.float64)
    seconds = np.where(seconds >= 0, seconds, np.nan)
    grows = len(seconds) >= 5 and np.isfinite(seconds).all() and bool((np.diff(seconds) > 0).all())
    if grows and seconds[-1] > 3 * seconds[0]:
        return np.concatenate([seconds[:1], np.diff(seconds)])
    return seconds


def why_no_time(frame: pd.DataFrame) -> str | None:
    """Why a history cannot be drawn over elapsed time; ``None`` where it can."""
    known = np.isfinite(epoch_seconds(frame))
    if not len(frame) or not known.any():
        return "It records no time per epoch."
    if not known.all():
        return f"{int((~known).sum())} of its {len(frame)} epochs have no recorded time."
    return None


def total_seconds(frame: pd.DataFrame, planned: int | None) -> float:
    """How long a run took, or will take at the median time of its epochs; rounded up where it still has epochs to go."""
    seconds = epoch_seconds(frame)
    left = max(0, (planned or 0) - len(frame)) * float(np.median(seconds))
    total = max(float(seconds.sum()) + left, 1e-3)
    return _rounded_up(total) if left else total


def _over_time(frame: pd.DataFrame, total: float) -> tuple[pd.DataFrame, XAxis]:
    unit, name = next((size, name) for least, size, name in UNITS if total >= least)
    elapsed = np.round(np.cumsum(epoch_seconds(frame)) / unit, 4)
    shown = frame.assign(epoch=shown_epochs(frame), time=elapsed)
    return with_breaks(shown, "time"), XAxis(0.0, 1.01 * total / unit, f"Elapsed time ({name})", "time", is_whole=False)


def _rounded_up(value: float) -> float:
    """To the next of 1, 1.5, 2, 3, 4, 5, 6, 8 times a power of ten: the end of a live axis must not move at every epoch."""
    power = 10.0 ** math.floor(math.log10(value))
    return power * next(step for step in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if value <= step * power * (1 + 1e-9))
