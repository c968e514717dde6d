"""A resampled statistic as a metric with its interval: the one way in which every page and file states an estimate."""

from __future__ import annotations

import math

from mammo_core.analysis.bootstrap import bca_interval, percentile_interval
from mammo_core.analysis.formulas import Floats
from mammo_core.runs.schema import MetricValue


def estimate(values: Floats, left_out: Floats | None = None, how: str = "", undefined: str = "undefined") -> MetricValue:
    """Value and 95 % interval of one statistic.

    Parameters
    ----------
    values : ndarray of shape (1 + replicates,)
        As ``bootstrap.replicate`` gives them; without replicates there is no interval.
    left_out : ndarray of shape (patients,), optional
        As ``bootstrap.jackknife`` gives them; the interval is then BCa, else the percentiles.
    how, undefined : str
        What stands in ``method`` before the interval's own note, and where the statistic is undefined.
    """
    if math.isnan(values[0]):
        return MetricValue(value=None, method=undefined)
    if len(values) == 1:
        return MetricValue(value=float(values[0]), method=how)
    interval = percentile_interval(values[1:]) if left_out is None else bca_interval(values, left_out)
    method = f"{how}; {interval.note}" if how else interval.note
    return MetricValue(value=float(values[0]), ci_low=interval.low, ci_high=interval.high, method=method)
