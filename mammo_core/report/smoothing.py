"""A running mean for the eye. It is never exported, tabulated or judged."""

from __future__ import annotations

import math
from collections.abc import Sequence

LEAST_POINTS = 8
"""Fewer values are not smoothed: there is nothing to average away."""


def smoothed(values: Sequence[float], weight: float) -> list[float]:
    """Exponential moving average without the pull towards its start.

    Parameters
    ----------
    values : sequence of float
        NaN where undefined: it stays undefined and does not count.
    weight : float in [0, 1)
        Of the past; 0 gives the values back.

    Returns
    -------
    list of float
        Each is a weighted mean of the values so far, so a constant series stays as it is. NaN throughout where fewer than 8
        values are defined.

    Source
    ------
    The correction by ``1 - weight ** n`` is that of Kingma and Ba (2015), Adam, arXiv 1412.6980, section 3.
    """
    if sum(math.isfinite(value) for value in values) < LEAST_POINTS:
        return [math.nan] * len(values)
    mean, share, found = 0.0, 0.0, []
    for value in values:
        if value - value != 0:  # NaN or infinite
            found.append(math.nan)
            continue
        mean = weight * mean + (1 - weight) * value
        share = weight * share + (1 - weight)
        found.append(mean / share)
    return found
