"""The notation of the rules: arrays, the best row, noise, slopes and rises, computed once for all of them.

Symbols: E rows; Lt, Lv losses, At, Av accuracies; b the first row of the lowest validation loss; K classes, n validation cases.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mammo_core.analysis.diagnosis.context import Context
from mammo_core.analysis.diagnosis.finding import Confidence, Finding, Severity, Value
from mammo_core.analysis.diagnosis.measures import Array, cases_behind, noise_of, theil_sen, toy_size
from mammo_core.runs.schema import EpochRecord

SURE_CASES = 300
"""Fewer validation cases leave every verdict uncertain."""


@dataclass(frozen=True)
class Curves:
    """The judged rows of one history. Rows are counted from 0 here and from 1 in findings."""

    records: tuple[EpochRecord, ...]
    """The judged rows: one run, and where validation is rarer than training, the rows that have it."""
    numbers: tuple[int, ...]
    """The ``epoch`` of each record: in a foreign history its row in the file, from 1."""
    everything: tuple[EpochRecord, ...]
    """All rows of the same run, validated or not."""
    context: Context

    @cached_property
    def size(self) -> int:
        return len(self.records)

    @cached_property
    def _columns(self) -> dict[str, Array]:
        return {}

    def column(self, name: str) -> Array:
        """One quantity over the rows, NaN where it is undefined."""
        if name not in self._columns:
            values = [getattr(record, name, None) for record in self.records]
            self._columns[name] = np.array([math.nan if value is None else value for value in values], dtype=np.float64)
        return self._columns[name]

    # ---- losses and accuracies -----------------------------------------------------------------------------------------

    @cached_property
    def shift(self) -> float:
        """Added to both losses of a foreign history that go below zero (Dice losses), so that ratios have a meaning."""
        raw = np.concatenate([self.column("train_loss"), self.column("val_loss")])
        raw = raw[np.isfinite(raw)]
        if self.context.own_run or not len(raw) or raw.min() >= 0:
            return 0.0
        return 1.0 if -1 < raw.min() < -0.2 else float(0.1 * (raw.max() - raw.min()) - raw.min())

    @cached_property
    def lt(self) -> Array:
        return self.column("train_loss") + self.shift

    @cached_property
    def lv(self) -> Array:
        return self.column("val_loss") + self.shift

    @cached_property
    def at(self) -> Array:
        return self.column("train_acc")

    @cached_property
    def av(self) -> Array:
        return self.column("val_acc")

    @cached_property
    def has_val_loss(self) -> bool:
        return bool(np.isfinite(self.lv).any())

    @cached_property
    def quality(self) -> Array:
        """Validation accuracy; without one the score that the file has in its place."""
        return self.av if np.isfinite(self.av).any() else self.column("val_score")

    @cached_property
    def has_quality(self) -> bool:
        return bool(np.isfinite(self.quality).any())

    @cached_property
    def guide(self) -> Array:
        """The validation curve that is judged: the loss; without one, 1 minus accuracy (or score)."""
        if self.has_val_loss:
            return self.lv
        return 1 - self.quality

    @cached_property
    def train_guide(self) -> Array:
        """The training curve beside it."""
        if np.isfinite(self.lt).any():
            return self.lt
        quality = self.at if np.isfinite(self.at).any() else self.column("train_score")
        return 1 - quality

    @cached_property
    def train_start(self) -> Array:
        """The first two defined values of the training curve, also from rows without validation."""
        names = ("train_loss",) if np.isfinite(self.lt).any() else ("train_acc", "train_score")
        for name in names:
            values = [value for record in self.everything if (value := getattr(record, name, None)) is not None][:2]
            if values:
                start = np.array(values, dtype=np.float64)
                return start + self.shift if name == "train_loss" else 1 - start
        return np.array([], dtype=np.float64)

    @cached_property
    def comparable_train(self) -> Array | None:
        """Training loss of the validation loss's definition, or ``None`` where there is none."""
        if np.isfinite(evaluated := self.column("train_loss_eval")).any():
            return evaluated
        return self.lt if self.context.comparable else None

    # ---- best row, noise, slopes ---------------------------------------------------------------------------------------

    @cached_property
    def b(self) -> int:
        """First row of the lowest judged validation value; 0 where there is none."""
        return int(np.nanargmin(self.guide)) if np.isfinite(self.guide).any() else 0

    @cached_property
    def w(self) -> int:
        """Rows at the end over which slopes are taken."""
        return min(10, max(3, math.ceil(self.size / 4)))

    @cached_property
    def noise(self) -> float:
        """Epoch-to-epoch noise of the validation loss without its first two epochs; 0 in a short run."""
        return noise_of(self.guide[2:]) if self.size >= self.context.thresholds.short_run else 0.0

    def slope(self, y: Array) -> float:
        """Relative Theil-Sen slope a row over the last w rows."""
        tail = y[-self.w :]
        tail = tail[np.isfinite(tail)]
        middle = float(np.median(tail)) if len(tail) else 0.0
        return theil_sen(y[-self.w :]) / middle if middle else 0.0

    @cached_property
    def st(self) -> float:
        return self.slope(self.train_guide)

    @cached_property
    def sv(self) -> float:
        return self.slope(self.guide)

    @cached_property
    def base(self) -> float:
        """Validation loss around the best row: the median of three softens the luck of the minimum."""
        b = self.b
        around = self.guide[b - 1 : b + 2] if 0 < b < self.size - 1 else self.guide[b : b + 1]
        return float(np.nanmedian(around)) if np.isfinite(around).any() else math.nan

    @cached_property
    def end(self) -> float:
        """Validation loss at the end: median of the last min(3, rows since the best) values."""
        tail = self.guide[-min(3, self.size - self.b) :]
        return float(np.nanmedian(tail)) if np.isfinite(tail).any() else math.nan

    @cached_property
    def rise(self) -> float:
        """Relative rise of the validation loss after its best."""
        return (self.end - self.base) / self.base if self.base > 0 and math.isfinite(self.end) else 0.0

    @cached_property
    def least_rise(self) -> float:
        """r*: the rise that counts, from paired per-case losses where there are any, else from the noise."""
        paired = self.paired_error
        if paired is not None and self.base > 0:
            return 2 * paired / self.base
        limits = self.context.thresholds
        return max(limits.rise, limits.rise_noise * self.noise / self.base) if self.base > 0 else limits.rise

    @cached_property
    def paired_error(self) -> float | None:
        """SE of the mean difference between the last and the best row over the same cases, clustered by patient."""
        losses = self.context.case_losses
        if losses is None or len(losses) != self.size or self.b == self.size - 1:
            return None
        difference = losses[-1] - losses[self.b]
        if self.context.case_groups:
            _, group = np.unique(self.context.case_groups, return_inverse=True)
            difference = np.bincount(group, weights=difference) / np.bincount(group)
        return float(np.std(difference, ddof=1) / math.sqrt(len(difference))) if len(difference) > 1 else None

    # ---- classes and cases ---------------------------------------------------------------------------------------------

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        seen = dict.fromkeys(name for record in self.records for name in record.val_recall)
        return self.context.class_names or tuple(seen)

    @cached_property
    def k(self) -> int | None:
        return self.context.k or (len(self.class_names) if len(self.class_names) >= 2 else None)

    @cached_property
    def recalls(self) -> Array:
        """Shape (E, K); NaN where undefined."""
        rows = [[_nan(record.val_recall.get(name)) for name in self.class_names] for record in self.records]
        return np.array(rows, dtype=np.float64).reshape(self.size, len(self.class_names))

    @cached_property
    def balanced(self) -> Array:
        """Balanced accuracy of each row: as logged, else the mean recall where every class has one."""
        logged = self.column("val_balanced_acc")
        if np.isfinite(logged).any() or not len(self.class_names):
            return logged
        return np.asarray(self.recalls.mean(axis=1), dtype=np.float64)

    @cached_property
    def counts(self) -> Array:
        """Validation cases of each class, NaN where not known."""
        return np.array([_nan(self.context.val_counts.get(name)) for name in self.class_names], dtype=np.float64)

    @cached_property
    def n(self) -> int | None:
        """Validation cases: as stated, else read off the steps of the accuracy."""
        return self.context.n or cases_behind(self.av) or toy_size(self.at, self.av)

    @cached_property
    def no_skill(self) -> float | None:
        """H: the loss of always quoting the class shares; ln K where validation is class-balanced."""
        if self.context.val_balanced and self.k:
            return math.log(self.k)
        counts = self.counts[np.isfinite(self.counts)]
        if len(counts) != len(self.class_names) or len(counts) < 2 or counts.sum() <= 0:
            return None
        shares = counts[counts > 0] / counts.sum()
        return float(-(shares * np.log(shares)).sum())

    @cached_property
    def accuracy_error(self) -> float | None:
        """Sampling SE of the accuracy at the best row."""
        if not self.n or not math.isfinite(at_best := float(self.av[self.b])):
            return None
        return math.sqrt(max(at_best * (1 - at_best), 0.0) / self.n)

    @cached_property
    def accuracy_step(self) -> float:
        """dA: the change of accuracy that counts."""
        return max(0.01, self.accuracy_error or 0.0)

    # ---- findings ------------------------------------------------------------------------------------------------------

    def epoch(self, row: int) -> float:
        """The epoch value of a row as its file numbers it."""
        extra = self.records[row].model_extra or {}
        own = extra.get("source_epoch")
        return float(self.numbers[row] if "source_epoch" in extra else self.records[row].epoch) if own is None else float(own)

    @cached_property
    def confidence(self) -> Confidence:
        """How sure: low below 8 rows or 300 cases, high where both are ample."""
        if self.size < self.context.thresholds.short_run or (self.n is not None and self.n < SURE_CASES):
            return "low"
        return "high" if self.n is not None and self.size >= self.context.thresholds.healthy_epochs else "medium"

    @cached_property
    def doubt(self) -> str:
        """What keeps :attr:`confidence` from being high, in words; empty where nothing does."""
        limits = self.context.thresholds
        if self.n is not None and self.n < SURE_CASES:
            cases = f"few validation cases: {'' if self.context.n else 'about '}{self.n} of at least {SURE_CASES}"
        else:
            cases = "" if self.n is not None else "the number of validation cases is not known"
        if self.size >= limits.healthy_epochs:
            return cases
        epochs = f"few epochs: {self.size} of at least {limits.healthy_epochs}"
        return f"{epochs}; {cases}" if cases else epochs

    def found(
        self, finding_id: str, severity: Severity, rows: tuple[int, int], evidence: dict[str, Value],
        thresholds: dict[str, Value] | None = None,
    ) -> Finding:  # fmt: skip
        """A finding on rows counted from 0; NaN evidence is left out."""
        kept = {key: value for key, value in evidence.items() if not (isinstance(value, float) and math.isnan(value))}
        if not self.has_val_loss and self.has_quality:
            kept["curve"] = f"validation error (1 - {self.context.score_name or 'accuracy'})"
        numbers = (self.numbers[rows[0]], self.numbers[rows[1]])
        epochs = (self.epoch(rows[0]), self.epoch(rows[1]))
        known = (kept, thresholds or {}, self.confidence)
        return Finding(finding_id, severity, numbers, epochs, *known, so_far=not self.context.finished)


def _nan(value: float | None) -> float:
    return math.nan if value is None else float(value)


def curves_of(records: Sequence[EpochRecord], context: Context) -> Curves:
    """Choose the rows to judge: the longest run of an appended file (the last of equals), rows with validation values."""
    segments = [int((record.model_extra or {}).get("segment", 0)) for record in records]
    counts = {segment: segments.count(segment) for segment in sorted(set(segments))}
    judged = max(counts, key=lambda segment: (counts[segment], segment)) if counts else 0
    rows = [index for index, segment in enumerate(segments) if segment == judged]
    if context.own_run:
        rows = _joined_by_epoch(records, rows)
    everything = tuple(records[index] for index in rows)
    for names in (("val_loss",), ("val_acc", "val_score")):
        validated = [index for index in rows if any(getattr(records[index], name, None) is not None for name in names)]
        if len(validated) >= min(3, len(rows)) and not context.own_run:
            rows = validated
            break
    return Curves(tuple(records[index] for index in rows), tuple(records[index].epoch for index in rows), everything, context)


def _joined_by_epoch(records: Sequence[EpochRecord], rows: Sequence[int]) -> list[int]:
    """Epochs that were trained twice after a resume count once, the later one."""
    last = {records[index].epoch: index for index in rows}
    return [last[epoch] for epoch in sorted(last)]
