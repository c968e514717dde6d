"""What stands in the files of a run: one model a file, one name a metric.

Writers and readers share these models, so a key cannot be written under one name and read under another. Unknown keys are
kept (``extra="allow"``), missing optional ones are ``None``: runs of older and newer versions open.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from mammo_core.config import SCHEMA_VERSION

State = Literal["queued", "running", "stopping", "stopped", "interrupted", "failed", "finished"]
StopReason = Literal["max_epochs", "early_stopping", "user", "non_finite", "error"]

LIVE_STATES: frozenset[State] = frozenset({"running", "stopping"})
RESUMABLE_STATES: frozenset[State] = frozenset({"stopped", "interrupted", "failed"})
FINAL_STATES: frozenset[State] = frozenset({"stopped", "interrupted", "failed", "finished"})

# Metric names, as in metrics files, summaries and tables. All are better when higher except *_loss.
HEADLINE_METRICS = ("accuracy", "balanced_accuracy", "kappa_quadratic", "macro_f1", "auc_ovr_macro")


Count = Annotated[int, Field(ge=0, le=10**12)]
LONGEST_SECONDS = 1e9
"""Thirty years; a file that claims more is damaged."""


class _Record(BaseModel):
    model_config = ConfigDict(extra="allow", ser_json_inf_nan="null")

    def to_json(self) -> dict[str, Any]:
        """Plain values; NaN and infinity, which JSON does not know, become ``None``."""
        return self.model_dump(mode="json")


class EpochRecord(_Record):
    """One line of ``train_history.json``. Accuracies and recalls are fractions; undefined is ``None``, never 0."""

    epoch: int = Field(ge=0)
    train_loss: float | None = None
    """Mean training loss over the epoch as optimised: class-weighted, augmented, dropout on."""
    train_acc: float | None = None
    val_loss: float | None = None
    """Mean unweighted cross-entropy on the validation split, nats."""
    val_acc: float | None = None
    lr: float | None = None
    """Rate of the epoch's last optimiser step."""
    lr_next: float | None = None
    train_loss_eval: float | None = None
    """The validation loss's definition on a fixed subset of the training split: the comparable one."""
    val_balanced_acc: float | None = None
    val_kappa_quadratic: float | None = None
    val_macro_f1: float | None = None
    val_auc_ovr: float | None = None
    val_recall: dict[str, float | None] = Field(default_factory=dict)
    predicted_share: dict[str, float | None] = Field(default_factory=dict)
    seconds: float | None = None
    images_per_second: float | None = None
    is_best: bool = False
    resumed: bool = False
    """Whether this is the first epoch after a resume."""
    non_finite: bool = False


class Status(_Record):
    """``status.json``: how far a run is, and who works on it."""

    schema_version: int = SCHEMA_VERSION
    state: State
    stop_reason: StopReason | None = None
    epoch: Count = 0
    """Epochs completed."""
    epochs: Count = 0
    """Epochs planned."""
    step: Count = 0
    """Optimiser updates done in the running epoch."""
    steps: Count = 0
    """Optimiser updates in an epoch."""
    eta_seconds: float | None = Field(default=None, le=LONGEST_SECONDS)
    pid: int | None = None
    process_started_at: float | None = None
    boot_id: str | None = None
    host: str | None = None
    created_at: float | None = None
    started_at: float | None = None
    finished_at: float | None = None
    heartbeat_at: float | None = None
    """Seconds since 1970, as all ``*_at``."""
    message: str = ""
    alarm: str = ""
    """What is going wrong while it trains, such as one answer for every film, with what to do; empty where nothing is."""


class MetricValue(_Record):
    """A metric with its interval; ``value`` is ``None`` where it is undefined, and ``method`` says why or how."""

    value: float | None
    ci_low: float | None = None
    ci_high: float | None = None
    method: str = ""


class MetricsFile(_Record):
    """``metrics/val_metrics.json`` and ``metrics/test_metrics.json``."""

    level: str = "image"
    n: int
    patients: int
    epoch: int
    split_sha256: str | None = None
    metrics: dict[str, MetricValue]
    per_class: dict[str, dict[str, MetricValue | int]]
    confusion_matrix: list[list[int]]
    """Rows are the true class, columns the predicted class, in ``class_names`` order."""
    class_names: list[str]


class Summary(_Record):
    """``summary.json``: what a run was and what came of it."""

    schema_version: int = SCHEMA_VERSION
    experiment: str
    run: str
    seed: int
    fold: int | None = None
    git_commit: str | None = None
    hyperparameters: dict[str, Any]
    counts: dict[str, dict[str, int]]
    """Films per class in each split."""
    best_epoch: int
    epochs_run: int
    stop_reason: StopReason
    metrics: dict[str, MetricValue]
    """All validation metrics, at the best epoch."""
    val_loss: float | None = None
    verdict: str | None = None
    """One of the verdicts of ``analysis/diagnosis``; ``None`` in runs of versions that gave none."""
    diagnosis: dict[str, Any] | None = None
    """The verdict with findings, evidence and rule version, kept so that later rules do not rewrite history."""
    seconds: float | None = None


class Notes(_Record):
    """``notes.json``: what a person wrote about a run; the training process never touches it."""

    text: str = ""
    tags: list[str] = Field(default_factory=list)
    archived: bool = False


class Request(_Record):
    """One file of ``runs/queue/``: a piece of long work, asked for by a page or the command line."""

    id: str
    kind: str
    arguments: dict[str, Any] = Field(default_factory=dict)
    title: str = ""
    state: Literal["waiting", "running", "done", "failed", "cancelled"] = "waiting"
    order: float = 0.0
    """Smaller starts first."""
    created_at: float = 0.0
    started_at: float | None = None
    finished_at: float | None = None
    done: int = 0
    total: int | None = None
    message: str = ""
    pid: int | None = None
    asked_to_stop: float | None = None
    """When a person wished that it stops, seconds since 1970."""
    asked_by: str = ""
    """Who asked, where several people share the app."""
    result: dict[str, Any] = Field(default_factory=dict)
