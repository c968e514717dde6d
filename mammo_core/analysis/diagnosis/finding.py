"""What a rule found, as data; its text is made from the data when it is shown."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from mammo_core.analysis.diagnosis.context import RULE_VERSION

Severity = Literal["critical", "error", "warning", "info", "ok"]
Confidence = Literal["high", "medium", "low"]
Verdict = Literal[
    "HEALTHY", "OVERFIT_MILD", "OVERFIT_SEVERE", "TOO_FEW_EPOCHS", "UNDERFIT", "PLATEAU", "UNSTABLE", "COLLAPSE", "DIVERGED",
    "INCONCLUSIVE",
]  # fmt: skip

RANK: dict[Severity, int] = {"critical": 4, "error": 3, "warning": 2, "info": 1, "ok": 0}
Value = Any
"""A JSON value."""


@dataclass(frozen=True)
class Finding:
    """One rule that holds.

    ``rows`` are the ``epoch`` keys of the records, which place it on a chart; ``epochs`` are the values that a foreign file
    itself gives these rows (it may count from 0), and the same as ``rows`` for this app's own runs.
    """

    id: str
    severity: Severity
    rows: tuple[int, int]
    epochs: tuple[float, float]
    evidence: Mapping[str, Value] = field(default_factory=dict)
    thresholds: Mapping[str, Value] = field(default_factory=dict)
    confidence: Confidence = "medium"
    rule_version: int = RULE_VERSION
    so_far: bool = False
    """Whether the run still trains, so that nothing may be said of its end."""

    @property
    def text(self) -> str:
        from mammo_core.analysis.diagnosis.text import describe

        return describe(self)

    @property
    def advice(self) -> str:
        from mammo_core.analysis.diagnosis.advice import advise

        return advise(self)

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "severity": self.severity,
            "rows": list(self.rows),
            "epochs": [plain(epoch) for epoch in self.epochs],
            "evidence": plain(dict(self.evidence)),
            "thresholds": plain(dict(self.thresholds)),
            "text": self.text,
            "advice": self.advice,
            "confidence": self.confidence,
            "rule_version": self.rule_version,
        }


@dataclass(frozen=True)
class Phase:
    """A stretch of the training, shown as a band on the chart; ``rows`` and ``epochs`` as in a finding."""

    id: Literal["warm_up", "rapid_learning", "refinement", "post_best", "no_learning"]
    label: str
    rows: tuple[int, int]
    epochs: tuple[float, float]
    provisional: bool = False

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "label": self.label,
            "rows": list(self.rows),
            "epochs": [plain(epoch) for epoch in self.epochs],
            "provisional": self.provisional,
        }


@dataclass(frozen=True)
class Diagnosis:
    """The verdict on one history with everything that led to it."""

    verdict: Verdict
    confidence: Confidence
    headline: str
    best_epoch: float | None
    """The epoch value of the row with the lowest validation loss, as the file numbers it."""
    best_row: int | None
    """The same as a row, from 1; ``None`` without a validation loss."""
    phases: tuple[Phase, ...]
    findings: tuple[Finding, ...]
    early_stopping: Mapping[str, Any]
    provisional: bool = False
    """Whether the run still trains."""
    confidence_reason: str = ""
    """What keeps the confidence from being high, in a few words."""
    best_by_accuracy: Mapping[str, Value] | None = None
    """Row, epoch and value of the best validation accuracy (or score), where it is another row or there is no loss."""

    def finding(self, finding_id: str) -> Finding | None:
        return next((finding for finding in self.findings if finding.id == finding_id), None)

    def to_json(self) -> dict[str, Any]:
        """Plain values: what ``diagnose --json`` prints and ``summary.json`` keeps."""
        return {
            "verdict": self.verdict,
            "confidence": self.confidence,
            "headline": self.headline,
            "best_epoch": plain(self.best_epoch),
            "best_row": self.best_row,
            "best_by_accuracy": plain(dict(self.best_by_accuracy)) if self.best_by_accuracy else None,
            "phases": [phase.to_json() for phase in self.phases],
            "findings": [finding.to_json() for finding in self.findings],
            "early_stopping": plain(dict(self.early_stopping)),
            "provisional": self.provisional,
        }


def plain(value: Any) -> Any:
    """JSON values: floats to six significant digits, whole floats as integers, non-finite as ``None``."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return int(value) if value == int(value) and abs(value) < 1e9 else float(f"{value:.6g}")
    return value
