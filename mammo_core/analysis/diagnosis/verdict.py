"""All rules on one history, and the one verdict that they come to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from mammo_core.analysis.diagnosis import rules_classes, rules_failure, rules_fit, rules_schedule
from mammo_core.analysis.diagnosis import rules_foreign_failure as foreign_failure
from mammo_core.analysis.diagnosis import rules_foreign_fit as foreign_fit
from mammo_core.analysis.diagnosis.context import Context
from mammo_core.analysis.diagnosis.curves import Curves, curves_of
from mammo_core.analysis.diagnosis.early_stopping import early_stopping
from mammo_core.analysis.diagnosis.finding import RANK, Confidence, Diagnosis, Finding, Value, Verdict
from mammo_core.analysis.diagnosis.phases import phases_of
from mammo_core.analysis.diagnosis.text import headline, reservations
from mammo_core.runs.schema import EpochRecord

CLASS_RULES = frozenset({"CLASS_ZERO", "CLASS_WEAK", "CLASS_UNJUDGEABLE", "CLASS_SEESAW"})
MUTED_BY = {
    "COLLAPSE": CLASS_RULES | {"UNDERFIT", "PLATEAU", "TOO_FEW_EPOCHS"},
    "UNSTABLE": frozenset({"OVERFIT_SEVERE", "OVERFIT_MILD", "VAL_LOSS_RISING"}),
}
BLOCKS_HEALTHY = frozenset({"WORSE_THAN_PRIOR", "CLASS_ZERO", "CLASS_WEAK", "COLLAPSE_SUDDEN", "DATA_LEAK_SUSPECT"})
"""Findings about the outcome that forbid 'healthy'; those about the schedule stand beside it."""


def diagnose(records: Sequence[EpochRecord], context: Context | None = None) -> Diagnosis:
    """Judge one history.

    Parameters
    ----------
    records
        Rows in file order. Own runs join resumed epochs (the later counts); of a file with appended runs the longest is judged.
    context
        What is known beside the curves. ``own_run=False`` takes the rules that need no knowledge of classes or scale.

    Returns
    -------
    Diagnosis
        The verdict is the first that holds of DIVERGED, COLLAPSE, INCONCLUSIVE (too little to judge), UNSTABLE,
        OVERFIT_SEVERE, OVERFIT_MILD (warning grade), UNDERFIT, TOO_FEW_EPOCHS, PLATEAU (not converged), HEALTHY; where none
        holds it is INCONCLUSIVE. ``best_row`` is the lowest validation loss of the whole file.
    """
    context = context or Context()
    curves = curves_of(records, context)
    findings = _muted(_findings(curves, records))
    verdict, main = _verdict(curves, findings)
    best = _best(records)
    return Diagnosis(
        verdict=verdict,
        confidence=_confidence(curves, verdict, main),
        confidence_reason=_why(curves, verdict, main),
        headline=_headline(curves, verdict, main, findings),
        best_epoch=best[1] if best else None,
        best_row=best[0] if best else None,
        phases=phases_of(curves),
        findings=tuple(sorted(findings, key=lambda finding: (finding is not main, -RANK[finding.severity]))),
        early_stopping=early_stopping(curves),
        provisional=not context.finished,
        best_by_accuracy=_best_by_accuracy(records),
    )


def _findings(curves: Curves, records: Sequence[EpochRecord]) -> list[Finding]:
    if not curves.size:
        return []
    found = [*_appended(curves, records)]
    found += _own_rules(curves) if curves.context.own_run else _foreign_rules(curves)
    if not np.isfinite(curves.guide).any():
        return found
    for rule in (rules_failure.hot_start, rules_failure.collapse_sudden, rules_failure.worse_than_prior):
        found += rule(curves)
    for rule in (rules_classes.classes, rules_classes.seesaw, rules_classes.criterion_mismatch):
        found += rule(curves)
    for rule in (rules_classes.validation_size, rules_classes.leak, rules_classes.short_run):
        found += rule(curves)
    found += rules_schedule.schedule(curves)
    found += rules_schedule.early_stop_inactive(curves)
    return found


def _own_rules(curves: Curves) -> list[Finding]:
    found = [*rules_failure.diverged(curves)]
    if not np.isfinite(curves.guide).any():
        return found + list(foreign_failure.too_little(curves))
    found += rules_failure.collapse(curves)
    if curves.size < 3:
        found += foreign_failure.too_little(curves)
    found += rules_fit.unstable(curves)
    found += rules_fit.overfit(curves)
    found += rules_fit.underfit(curves)
    too_few = list(rules_fit.too_few_epochs(curves))
    return found + too_few + _endings(curves, bool(too_few), rules_fit.plateau(curves, bool(too_few)), rules_fit.healthy(curves))


def _foreign_rules(curves: Curves) -> list[Finding]:
    found = [*foreign_failure.diverged(curves)]
    if not np.isfinite(curves.guide).any():
        return found + list(foreign_failure.too_little(curves))
    collapsed = list(foreign_failure.collapse(curves)) or list(rules_failure.collapse(curves))
    found += collapsed or ([] if found else list(foreign_failure.relapse(curves)))
    found += foreign_failure.too_little(curves)
    found += foreign_fit.unstable(curves)
    found += foreign_fit.overfit(curves)
    found += foreign_fit.underfit(curves)
    too_few = list(foreign_fit.too_few_epochs(curves))
    return (
        found + too_few + _endings(curves, bool(too_few), foreign_fit.plateau(curves, bool(too_few)), foreign_fit.healthy(curves))
    )


def _endings(curves: Curves, too_few: bool, plateau: Iterable[Finding], healthy: Iterable[Finding]) -> list[Finding]:
    return [*rules_fit.best_is_last(curves, too_few), *plateau, *healthy]


def _appended(curves: Curves, records: Sequence[EpochRecord]) -> list[Finding]:
    runs = {(record.model_extra or {}).get("segment", 0) for record in records}
    if len(runs) < 2:
        return []
    return [curves.found("APPENDED_RUNS", "info", (0, curves.size - 1), {"runs": len(runs), "rows": len(records)})]


def _muted(findings: Sequence[Finding]) -> list[Finding]:
    """Findings that another one explains or makes meaningless are dropped; HEALTHY stands only where nothing warns."""
    present = {finding.id for finding in findings}
    muted = {name for cause, names in MUTED_BY.items() if cause in present for name in names}
    if "DIVERGED" in present:
        muted |= MUTED_BY["COLLAPSE"] | MUTED_BY["UNSTABLE"] | {"UNSTABLE", "HEALTHY", "COLLAPSE"}
    kept = [finding for finding in findings if finding.id not in muted]
    return [finding for finding in kept if finding.id != "HEALTHY" or not any(_blocks(other) for other in kept)]


def _blocks(finding: Finding) -> bool:
    about_the_fit = finding.id in (
        "COLLAPSE",
        "UNSTABLE",
        "OVERFIT_SEVERE",
        "OVERFIT_MILD",
        "UNDERFIT",
        "TOO_FEW_EPOCHS",
        "TOO_LITTLE",
    )
    serious = RANK[finding.severity] >= RANK["warning"] and (about_the_fit or finding.id in BLOCKS_HEALTHY)
    return serious or finding.id == "TOO_LITTLE" or (finding.id == "PLATEAU" and not finding.evidence.get("converged"))


ORDER: tuple[tuple[str, Verdict], ...] = (
    ("DIVERGED", "DIVERGED"), ("COLLAPSE", "COLLAPSE"), ("TOO_LITTLE", "INCONCLUSIVE"), ("UNSTABLE", "UNSTABLE"),
    ("OVERFIT_SEVERE", "OVERFIT_SEVERE"), ("OVERFIT_MILD", "OVERFIT_MILD"), ("UNDERFIT", "UNDERFIT"),
    ("TOO_FEW_EPOCHS", "TOO_FEW_EPOCHS"), ("PLATEAU", "PLATEAU"), ("HEALTHY", "HEALTHY"),
)  # fmt: skip


def _verdict(curves: Curves, findings: Sequence[Finding]) -> tuple[Verdict, Finding | None]:
    for finding_id, verdict in ORDER:
        for finding in findings:
            if finding.id != finding_id or (finding_id == "OVERFIT_MILD" and finding.severity == "info"):
                continue
            if finding_id == "PLATEAU" and finding.evidence.get("converged"):
                continue
            if verdict in ("TOO_FEW_EPOCHS", "UNDERFIT") and not curves.context.finished:
                return "INCONCLUSIVE", finding
            return verdict, finding
    blocking = [finding for finding in findings if _blocks(finding)]
    return "INCONCLUSIVE", max(blocking, key=lambda finding: RANK[finding.severity], default=None)


def _confidence(curves: Curves, verdict: Verdict, main: Finding | None) -> Confidence:
    """How sure: a NaN is certain, few rows or cases never are."""
    if verdict == "DIVERGED" and main is not None and main.evidence.get("kind") == "non_finite":
        return "high"
    return "low" if main is None or verdict == "INCONCLUSIVE" else main.confidence


def _why(curves: Curves, verdict: Verdict, main: Finding | None) -> str:
    """What keeps the confidence from being high; empty where it is."""
    if _confidence(curves, verdict, main) == "high":
        return ""
    if verdict == "INCONCLUSIVE" and (main is None or main.id == "TOO_LITTLE"):
        return f"few epochs: {curves.size}" if main is None else "too little to judge"
    if main is not None and "doubt" in main.evidence:
        return str(main.evidence["doubt"])
    return curves.doubt or "the findings speak against each other"


def _headline(curves: Curves, verdict: Verdict, main: Finding | None, findings: Sequence[Finding]) -> str:
    ids = {finding.id for finding in findings}
    lead = ""
    if verdict == "INCONCLUSIVE" and main is not None and main.id != "TOO_LITTLE":
        lead = "Still learning" if not curves.context.finished else "Converged, but not sound"
    elif verdict == "INCONCLUSIVE" and main is None and curves.size:
        lead = f"No fault found in {curves.size} epochs, which are too few to call it converged"
    elif verdict == "HEALTHY" and not curves.context.finished:
        lead = "No fault found"
    text = headline(verdict, main, bool(ids & {"LR_EXHAUSTED"}), lead)
    if verdict == "HEALTHY":
        text = text.removesuffix(".") + reservations(findings)
    return text if curves.context.finished else f"So far: {text[:1].lower()}{text[1:]}"


# ---- the best row of the whole file ---------------------------------------------------------------------------------------


def _place(record: EpochRecord) -> tuple[int, float]:
    """Row in the file and epoch value as the file gives it; for own runs both are the epoch."""
    extra = record.model_extra or {}
    own = extra.get("source_epoch")
    return int(extra.get("source_row") or record.epoch), float(record.epoch if own is None else own)


def _best(records: Sequence[EpochRecord]) -> tuple[int, float] | None:
    """Row and epoch value of the lowest validation loss, the first of equals."""
    losses = [(record.val_loss, number) for number, record in enumerate(records) if record.val_loss is not None]
    finite = [(loss, number) for loss, number in losses if np.isfinite(loss)]
    return _place(records[min(finite)[1]]) if finite else None


def _best_by_accuracy(records: Sequence[EpochRecord]) -> dict[str, Value] | None:
    for name in ("val_acc", "val_score"):
        values = [(value, -number) for number, record in enumerate(records) if (value := getattr(record, name, None)) is not None]
        if values:
            value, negative = max(values)
            row, epoch = _place(records[-negative])
            return {"row": row, "epoch": epoch, "measure": name, "value": value}
    return None
