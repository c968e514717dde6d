"""Did it converge? Verdict, phases, findings and early-stopping advice for one training history."""

from mammo_core.analysis.diagnosis.context import RULE_VERSION, Context, Thresholds, context_of_run, foreign_context
from mammo_core.analysis.diagnosis.finding import Diagnosis, Finding, Phase
from mammo_core.analysis.diagnosis.verdict import diagnose

__all__ = [
    "RULE_VERSION",
    "Context",
    "Diagnosis",
    "Finding",
    "Phase",
    "Thresholds",
    "context_of_run",
    "diagnose",
    "foreign_context",
]
