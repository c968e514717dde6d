"""What led to a verdict, as tables: every finding with its numbers and limits, and what early stopping would have done."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from mammo_core.analysis.diagnosis import Diagnosis
from mammo_core.analysis.diagnosis.text import number

GRADES = {"critical": "critical", "error": "serious", "warning": "warning", "info": "to know", "ok": "good"}


def how_sure(diagnosis: Diagnosis) -> str:
    """``Confidence: low (few epochs: 9 of at least 10).``, and that it may change while the run trains."""
    changing = " It may change while the run trains." if diagnosis.provisional else ""
    reason = f" ({diagnosis.confidence_reason})" if diagnosis.confidence_reason else ""
    return f"Confidence: {diagnosis.confidence}{reason}.{changing}"


def finding_rows(diagnosis: Diagnosis) -> pd.DataFrame:
    """One row a finding: rule, grade, epochs, measured values, limits of the rule, confidence."""
    rows = [
        {
            "rule": finding.id.replace("_", " ").lower(),
            "grade": GRADES[finding.severity],
            "epochs": span_text(finding.epochs),
            "measured": values_text(finding.evidence),
            "limits": values_text(finding.thresholds),
            "confidence": finding.confidence,
        }
        for finding in diagnosis.findings
    ]
    return pd.DataFrame(rows, columns=["rule", "grade", "epochs", "measured", "limits", "confidence"])


def stopping_rows(diagnosis: Diagnosis) -> pd.DataFrame:
    """One row a patience: where it would have stopped the recorded curve, what that saves and what it costs."""
    advice = diagnosis.early_stopping
    rows = [
        {
            "patience": entry["patience"],
            "stops at epoch": number(entry["stop_epoch"]) if entry["would_stop"] else "never",
            "epochs saved": entry["epochs_saved"],
            "loss given up": f"{entry['penalty']:.4f}",
            "advised": "yes" if entry["patience"] == advice.get("recommended_patience") else "",
        }
        for entry in advice.get("replay", ())
    ]
    return pd.DataFrame(rows, columns=["patience", "stops at epoch", "epochs saved", "loss given up", "advised"])


def span_text(epochs: tuple[float, float]) -> str:
    """``3`` or ``3 to 7``."""
    first, last = (number(epoch) for epoch in epochs)
    return first if first == last else f"{first} to {last}"


def values_text(values: Mapping[str, Any]) -> str:
    """``rise 0.21, gap 0.3``: names in words, numbers with three digits."""
    return ", ".join(f"{name.replace('_', ' ')} {_value(value)}" for name, value in values.items())


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return f"({values_text(value)})"
    if isinstance(value, list | tuple):
        return " ".join(_value(item) for item in value)
    return number(value)
