"""What is known of a run beside its curves, and the thresholds of the rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from mammo_core.errors import ConfigError, CorruptRunFile, MammoError
from mammo_core.reading import read_json
from mammo_core.runs.run_dir import RunDir
from mammo_core.runs.schema import FINAL_STATES

RULE_VERSION = 1
"""Stored with every finding, so that a later change of a rule does not rewrite what was said before."""


@dataclass(frozen=True)
class Thresholds:
    """House rules, chosen and tested on known cases; adjustable, not standards. Losses relative, accuracies as fractions."""

    diverged_factor: float = 2.0
    """Training loss above this multiple of the first epoch's (and above 1.5 ln K) has diverged."""
    hot_start: float = 1.25
    """First-epoch training loss above this multiple of ln K: the steps made it worse than guessing."""
    collapse_share: float = 0.95
    """Share of one class among the predictions (or its recall while all others are below 1 minus this)."""
    collapse_margin: float = 0.05
    """Balanced accuracy within this of 1/K is no skill."""
    sudden_gain: float = 0.15
    """A collapse is sudden when balanced accuracy had been this far above 1/K."""
    rise: float = 0.05
    """Least relative rise of the validation loss after its best that counts: 2 SE of a mean loss at n = 300."""
    rise_noise: float = 3.0
    """... and at least this many times the epoch-to-epoch noise."""
    rise_severe: float = 0.20
    rise_severe_least: float = 0.10
    """Below this a rise is never severe, whatever else holds."""
    gap: float = 0.20
    """Accuracy gap between training and validation: 4 SE at n = 300."""
    gap_mild: float = 0.05
    gap_growth: float = 0.003
    """Growth of the gap an epoch over the last half."""
    memorised_accuracy: float = 0.98
    memorised_loss: float = 0.1
    """Training loss below this share of ln K."""
    underfit_balanced: float = 0.75
    underfit_plain: float = 0.85
    """Training loss above this share of the no-skill loss (balanced; unweighted)."""
    flat_train: float = 0.01
    flat_val: float = 0.005
    """Relative slope an epoch that counts as flat: ten epochs of it are the rise threshold."""
    falling: float = 0.02
    """Relative slope an epoch that is worth waiting for: it halves the loss in about 35 epochs."""
    unstable_loss: float = 0.08
    """Noise of the validation loss relative to its level."""
    unstable_accuracy: float = 2.0
    """Noise of the validation accuracy in multiples of its sampling error."""
    healthy_epochs: int = 10
    healthy_drop: float = 0.10
    """Least relative fall of the validation loss from epoch 1 to its best."""
    short_run: int = 8
    """Fewer epochs switch the noise rules off."""
    # For histories of other tools, whose losses come on any scale: shares of the descent, from the first loss to the lowest.
    jump: float = 0.15
    """Typical jump between neighbouring epochs, as a share of the descent, that makes a curve unstable."""
    jump_with_accuracy: float = 0.05
    """... when the accuracy jumps too."""
    accuracy_jump: float = 0.03
    accuracy_still: float = 0.01
    """Noise of the accuracy below which jumps of the loss do not matter."""
    rise_of_descent: float = 0.10
    """A rise smaller than this share of the descent is a detail near zero."""
    rise_decisive: float = 0.50
    """A rise that is severe by itself: half as much again as the best loss."""
    gap_ratio: float = 2.0
    """Validation over training loss, once they started alike, that tells memorisation while validation stands still."""
    gap_ratio_severe: float = 3.0
    """The same as a sign of severity beside a rise, in a history that has nothing but losses."""
    gap_of_descent: float = 0.25
    gap_severe: float = 0.30
    """Accuracy gap that is severe by itself, when the training accuracy is at least the next value."""
    gap_severe_train: float = 0.90
    late_share: float = 0.05
    """Share of the whole training descent that the last quarter of the epochs must bring to call a run unfinished."""
    late_share_slow: float = 0.10
    """The same for curves that fall slowly."""
    few_cases: int = 10
    """A validation set of at most this many cases decides nothing."""
    relapse: float = 0.90
    """Training loss that ends above this share of its start has lost what it had learnt."""
    constant_share: float = 0.80
    """Share of the epochs that may give exactly the same accuracy before it counts as one class for everything."""
    constant_within: float = 0.001
    """Accuracies this near to one another are the same where nothing was learnt either."""
    absurd_loss: float = 100.0
    """A classification loss of this size while the accuracy stands still is no loss of a model that learns."""


@dataclass(frozen=True)
class Context:
    """What the rules may know of a run; everything has a value that means 'not known'."""

    class_names: tuple[str, ...] = ()
    n_classes: int | None = None
    """Where the number of classes is known but not their names."""
    n_val: int | None = None
    """Validation cases (images)."""
    val_counts: Mapping[str, int] = field(default_factory=dict)
    """Validation cases a class."""
    max_epochs: int | None = None
    patience: int | None = None
    min_delta: float = 0.0
    warmup_epochs: float | None = None
    scheduler: str | None = None
    """``cosine``, ``constant`` or ``None`` where it is not known."""
    weighted_loss: bool | None = None
    """Whether the training loss is class-weighted (the validation loss of this app never is)."""
    label_smoothing: float | None = None
    mixup: bool | None = None
    other_loss: bool = False
    """Whether the training loss has more in it than cross-entropy, so that guessing costs another number of nats."""
    val_balanced: bool = False
    """Whether the validation loss is class-balanced."""
    own_run: bool = False
    """Whether this app trained it: fixed loss definitions, one row an epoch, the rules as they stand for such runs."""
    finished: bool = True
    score_name: str = ""
    """What ``val_score`` measures, where a foreign history has no accuracy."""
    case_losses: npt.NDArray[np.float64] | None = None
    """Validation loss of each case at each epoch, shape (epochs, cases), nats; gives paired errors."""
    case_groups: tuple[str, ...] = ()
    """Patient of each case; cases of one patient are averaged first."""
    thresholds: Thresholds = Thresholds()

    @cached_property
    def k(self) -> int | None:
        """Number of classes, at least 2, or ``None``."""
        count = len(self.class_names) or self.n_classes or len(self.val_counts)
        return count if count >= 2 else None

    @cached_property
    def n(self) -> int | None:
        """Validation cases, or ``None``."""
        return self.n_val or sum(self.val_counts.values()) or None

    @property
    def comparable(self) -> bool | None:
        """Whether training and validation loss have the same definition; ``None`` where that is not known."""
        known = (self.weighted_loss, self.mixup, None if self.label_smoothing is None else self.label_smoothing > 0)
        if self.other_loss or any(flag is True for flag in known):
            return False
        return None if None in known else True


def context_of_run(run: RunDir) -> Context:
    """What the files of a run say: its config and split where this app trained it, ``import.json`` where it was imported.

    Missing or damaged files only mean that less is known.
    """
    imported = run.import_record()
    if imported:
        return _imported_context(imported)
    status = _quiet(run.status)
    finished = status is not None and status.state in FINAL_STATES
    counts = _val_counts(run)
    try:
        config = run.config()
    except (ConfigError, CorruptRunFile):
        return Context(own_run=True, finished=finished, val_counts=counts, class_names=tuple(counts))
    return Context(
        class_names=config.class_names,
        val_counts={name: counts[name] for name in config.class_names if name in counts} or counts,
        max_epochs=config.epochs,
        patience=config.early_stopping_patience,
        min_delta=config.min_delta,
        warmup_epochs=config.warmup_epochs,
        scheduler="cosine",
        weighted_loss=config.class_weights != "none" or config.sampler == "balanced",
        label_smoothing=config.label_smoothing,
        mixup=config.mixup > 0,
        other_loss=config.loss != "cross_entropy",
        own_run=True,
        finished=finished,
    )


def _quiet(read: Any) -> Any:
    try:
        return read()
    except MammoError:
        return None


def _json(run: RunDir, name: str) -> dict[str, Any]:
    try:
        raw = read_json(run.path / name)
    except (FileNotFoundError, CorruptRunFile):
        return {}
    return raw if isinstance(raw, dict) else {}


def _val_counts(run: RunDir) -> dict[str, int]:
    """Films a class in the validation split: from the metrics file, else from the summary, else from the run's split record."""
    metrics = _quiet(lambda: run.metrics("val"))
    if metrics is not None:
        return {name: sum(row) for name, row in zip(metrics.class_names, metrics.confusion_matrix, strict=False)}
    summary = _quiet(run.summary)
    classes = summary.counts.get("val") if summary else None
    if classes is None:
        places = _json(run, "split.json").get("class_counts")
        classes = places.get("val") if isinstance(places, dict) else None
    if not isinstance(classes, Mapping):
        return {}
    films = {str(name): count.get("films") if isinstance(count, Mapping) else count for name, count in classes.items()}
    return {name: count for name, count in films.items() if isinstance(count, int) and not isinstance(count, bool)}


def _imported_context(record: Mapping[str, Any]) -> Context:
    known = record.get("known")
    return foreign_context(known if isinstance(known, Mapping) else {}, str(record.get("score_name") or ""))


def foreign_context(known: Mapping[str, Any], score_name: str = "") -> Context:
    """A context out of what a foreign file says of its run (the keys of the importers' ``Known``)."""
    counts = known.get("val_counts")
    return Context(
        class_names=tuple(known.get("class_names") or ()),
        n_classes=known.get("n_classes"),
        n_val=known.get("n_val"),
        val_counts=counts if isinstance(counts, Mapping) else {},
        max_epochs=known.get("planned_epochs"),
        patience=known.get("patience"),
        warmup_epochs=known.get("warmup_epochs"),
        label_smoothing=known.get("label_smoothing"),
        score_name=score_name,
    )
