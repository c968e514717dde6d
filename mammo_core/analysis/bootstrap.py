"""Intervals from resampled patients: all films of a patient come and go together.

A replicate is a weight for each patient (how often it was drawn), so that every metric is a weighted sum and thousands of
replicates are one matrix product.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

from mammo_core.analysis.formulas import Z_95, Floats, ratio

BLOCK_ELEMENTS = 2_000_000
"""Replicates times films held at once, about 16 MB a temporary array."""

STRIP = 256
"""Replicates ranked together; measured best of 64, 256 and 2,000."""

LEAST_VALID_SHARE = 0.5
"""With fewer defined replicates than this the interval would describe another population."""


@dataclass(frozen=True)
class Weights:
    """A block of replicates: how often each patient counts."""

    counts: Floats
    """Shape ``(b, patients)``."""
    patient_of: npt.NDArray[np.intp]
    """Shape ``(films,)``: the patient's column of each film."""

    def total(self, values: Floats) -> Floats:
        """Weighted sum over films of ``values`` (shape ``(films, ...)``), shape ``(b, ...)``."""
        sums = np.zeros((self.counts.shape[1], *values.shape[1:]))
        np.add.at(sums, self.patient_of, values)
        return np.tensordot(self.counts, sums, axes=1)

    def mean(self, values: Floats) -> Floats:
        """Weighted mean over films, shape ``(b,)``."""
        return ratio(self.total(values), self.total(np.ones(len(values))))

    def auc(self, scores: Floats, positive: npt.NDArray[np.bool_]) -> Floats:
        """Area under the ROC curve of each replicate, shape ``(b,)``; ties count half; NaN without positives or negatives.

        Equals ``sklearn.metrics.roc_auc_score(positive, scores, sample_weight=...)``. The films are sorted once, for all
        replicates; in each of them every positive film looks up how many negative ones lie below it.
        """
        negatives, positives = np.flatnonzero(~positive), np.flatnonzero(positive)
        negatives = negatives[np.argsort(scores[negatives], kind="stable")]
        positives = positives[np.argsort(scores[positives], kind="stable")]  # neighbours look up neighbours
        below, up_to = (np.searchsorted(scores[negatives], scores[positives], side) for side in ("left", "right"))
        of_negatives, of_positives = self.patient_of[negatives], self.patient_of[positives]
        found = []
        for counts in self._strips:
            passed = np.zeros((len(negatives) + 1, counts.shape[1]), dtype=np.float32)
            np.cumsum(counts[of_negatives], axis=0, out=passed[1:])
            drawn = counts[of_positives]
            won_twice = (passed[below] + passed[up_to]) * drawn
            pairs = drawn.sum(axis=0, dtype=np.float64) * passed[-1].astype(np.float64)
            found.append(ratio(won_twice.sum(axis=0, dtype=np.float64) / 2, pairs))
        return np.concatenate(found)

    @cached_property
    def _strips(self) -> tuple[npt.NDArray[np.float32], ...]:
        """The counts with a row a patient, a few replicates at a time: a film is then one contiguous row, and all stays in the
        processor's cache. Whole numbers below 2**24 are exact as float32."""
        rows = self.counts.T
        starts = range(0, rows.shape[1], STRIP)
        return tuple(np.ascontiguousarray(rows[:, start : start + STRIP], dtype=np.float32) for start in starts)


Statistics = Callable[[Weights], Mapping[str, Floats]]


def replicate(
    patients: Sequence[str], statistics: Statistics, replicates: int = 2000, seed: int | None = None
) -> dict[str, Floats]:
    """Every statistic on the data as they are and on resampled patients.

    Parameters
    ----------
    patients : sequence of str, length n_films
        Patient of each film; the unit that is drawn, with replacement, as many as there are.
    statistics : callable
        Takes :class:`Weights` of b replicates, returns arrays of shape ``(b,)`` by name.
    replicates : int
        Number of replicates; 2000 gives the ends of a 95 % interval to about a tenth of its width.
    seed : int, optional
        Where the draws start. By default the patients decide (:func:`stream_of`): the same patients get the same draws, on
        whatever page and for whatever model, and other patients get independent ones.

    Returns
    -------
    dict of ndarray, shape (1 + replicates,)
        Element 0 is the statistic of the data themselves. NaN where it is undefined.
    """
    names, patient_of = np.unique(np.asarray(patients, dtype=object).astype(str), return_inverse=True)
    n_patients, n_films = len(names), len(patient_of)
    generator = np.random.default_rng(stream_of(names) if seed is None else seed)
    parts = [statistics(Weights(np.ones((1, n_patients)), patient_of))]
    block = max(1, BLOCK_ELEMENTS // max(1, n_films))
    for start in range(0, replicates, block):
        rows = min(block, replicates - start)
        drawn = generator.integers(0, n_patients, size=(rows, n_patients))
        drawn += np.arange(rows)[:, None] * n_patients  # each replicate counts in its own range
        counts = np.bincount(drawn.ravel(), minlength=rows * n_patients).reshape(rows, n_patients)
        parts.append(statistics(Weights(counts.astype(np.float64), patient_of)))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def jackknife(patients: Sequence[str], statistics: Statistics) -> dict[str, Floats]:
    """Every statistic with one patient left out, shape ``(patients,)`` each: what :func:`bca_interval` needs of the data."""
    names, patient_of = np.unique(np.asarray(patients, dtype=object).astype(str), return_inverse=True)
    n_patients, n_films = len(names), len(patient_of)
    block = max(1, BLOCK_ELEMENTS // max(1, n_films))
    parts = []
    for start in range(0, n_patients, block):
        counts = np.ones((min(block, n_patients - start), n_patients))
        counts[np.arange(len(counts)), start + np.arange(len(counts))] = 0
        parts.append(statistics(Weights(counts, patient_of)))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def stream_of(patients: Iterable[str]) -> int:
    """A number that depends on the set of patients alone."""
    return zlib.crc32("\n".join(sorted(set(map(str, patients)))).encode())


@dataclass(frozen=True)
class Interval:
    """A 95 % percentile interval, or the reason why there is none."""

    low: float | None
    high: float | None
    note: str
    """How it was made, for the ``method`` of a metric."""


def percentile_interval(values: Floats) -> Interval:
    """The middle 95 % of the defined replicates (``values`` without the point estimate).

    No interval where fewer than half of the replicates are defined, or where all of them agree: identical replicates (every
    film right, a single patient) say that resampling shows nothing, not that the value is exact.
    """
    defined = values[~np.isnan(values)]
    dropped = len(values) - len(defined)
    if len(defined) == 0 or len(defined) < LEAST_VALID_SHARE * len(values):
        return Interval(None, None, f"no interval: undefined in {dropped} of {len(values)} bootstrap replicates")
    if np.ptp(defined) < 1e-12:
        return Interval(None, None, "no interval: every bootstrap replicate has the same value")
    low, high = np.percentile(defined, [2.5, 97.5])
    return Interval(float(low), float(high), _note(len(values), dropped, "percentile"))


def _note(replicates: int, dropped: int, how: str) -> str:
    note = f"95 % interval: bootstrap of patients, {replicates} replicates, {how}"
    return f"{note}; {dropped} of them without one of the classes, left out" if dropped else note


def bca_interval(values: Floats, left_out: Floats) -> Interval:
    """The bias-corrected and accelerated 95 % interval of one trained model's metric.

    Metrics near 1 have replicates that are skewed and off centre; this corrects the ends for both, where the percentile interval
    covers too rarely. Falls back to the percentiles where the correction is undefined: a metric that is undefined without one
    of the patients, or at the edge of all replicates.

    Parameters
    ----------
    values : ndarray of shape (1 + replicates,)
        As :func:`replicate` gives them: the data themselves first.
    left_out : ndarray of shape (patients,)
        As :func:`jackknife` gives them.

    Source
    ------
    Efron (1987), JASA 82:171-185, doi:10.1080/01621459.1987.10478410. Equals ``scipy.stats.bootstrap(method="BCa")`` where
    every patient has one film.
    """
    plain = percentile_interval(values[1:])
    if plain.low is None or math.isnan(values[0]) or np.isnan(left_out).any():
        return plain
    defined = values[1:][~np.isnan(values[1:])]
    below = float((np.sum(defined < values[0]) + np.sum(defined <= values[0])) / (2 * len(defined)))
    deviations = left_out.mean() - left_out
    spread = float((deviations**2).sum())
    if not 0 < below < 1 or spread < 1e-24:
        return plain
    bias, acceleration = float(ndtri(below)), float((deviations**3).sum()) / (6 * spread**1.5)
    shifted = bias + np.array([-Z_95, Z_95])
    ends = ndtr(bias + shifted / (1 - acceleration * shifted))
    low, high = np.percentile(defined, 100 * ends)
    return Interval(float(low), float(high), _note(len(values) - 1, len(values) - 1 - len(defined), "BCa"))


def two_sided_p(differences: Floats) -> float | None:
    """Share of replicates on the far side of 0, doubled, never 0: ``(count + 1) / (B + 1)``; ``None`` without replicates."""
    defined = differences[~np.isnan(differences)]
    if len(defined) == 0:
        return None
    fewer = min(int((defined <= 0).sum()), int((defined >= 0).sum()))
    return min(1.0, 2 * (fewer + 1) / (len(defined) + 1))
