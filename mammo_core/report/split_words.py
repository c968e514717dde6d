"""What a run's ``split.json`` says, as sentences: who is apart from whom, what was left out, and why a leak was accepted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mammo_core.report.run_facts import NOT_RECORDED

Record = Mapping[str, Any]

SHARED = {
    "patients_shared": "patients",
    "exams_shared": "exams",
    "groups_shared": "groups of films that belong together",
    "duplicates_shared": "sets of identical films",
    "near_duplicates_shared": "pairs of nearly identical films",
}
CHECKED = {"duplicates_shared": "duplicates_checked", "near_duplicates_shared": "near_duplicates_checked"}
"""Count -> the key that says whether anybody looked; a count of nothing says little where nobody did."""
FURTHER = {
    "label_conflicts": "sets of identical films with different labels",
    "near_label_conflicts": "pairs of nearly identical films with different labels",
    "films_unknown": "films that the data set does not have",
    "patients_changed": "films with another patient than in the data set",
}
PATIENTS_UNKNOWN = "Patients are not known, so patient leakage cannot be excluded."


def shared_words(proof: Record) -> str:
    """``patients shared: 0 of 53; exams shared: 0; ...``, each with what was not looked at or not recorded."""
    told = []
    for key, name in SHARED.items():
        found = proof.get(key, NOT_RECORDED)
        if proof.get(CHECKED.get(key, ""), True) is False:
            found = "not checked"
        elif key == "patients_shared" and "patients" in proof:
            found = f"{found} of {proof['patients']}"
        told.append(f"{name} shared: {found}")
    told += [f"{name}: {proof[key]}" for key, name in FURTHER.items() if proof.get(key)]
    for place, classes in _pairs(proof.get("classes_missing")).items():
        told.append(f"no film of class {', '.join(map(str, classes))} in {str(place).replace('_', ' ')}")
    return "; ".join(told)


def leaks(split: Record) -> bool:
    """Whether the proof counts anything in two parts."""
    proof = _pairs(split.get("proof"))
    return any(isinstance(proof.get(key), int) and proof[key] > 0 for key in SHARED)


def override_words(split: Record) -> str:
    """That the split leaks and why it was used all the same; empty where it does not leak."""
    if reason := " ".join(str(split.get("override_reason") or "").split()):
        return f"The split leaks and was used for this reason: {reason}"
    return "The split leaks, and no reason for using it is recorded." if leaks(split) else ""


def patient_words(split: Record) -> str:
    """How patients were known, and that leakage cannot be excluded where they were not; empty where nothing says so."""
    statement = " ".join(str(split.get("patient_statement") or "").split())
    unknown = _pairs(split.get("proof")).get("patients_known") is False
    if unknown and "cannot be excluded" not in statement:
        return f"{statement} {PATIENTS_UNKNOWN}".strip()
    return statement


def left_out_words(split: Record) -> str:
    """Films that a person took out before the split, and those that the scheme could not place, each with the reason."""
    parts = {
        "Excluded by a person before the split": split.get("excluded"),
        "Left out by the way of splitting": split.get("left_out"),
    }
    told = []
    for what, counts in parts.items():
        found = NOT_RECORDED if counts is None else counted_reasons(_pairs(counts)) or "none"
        told.append(f"{what}: {found}")
    return f"{'; '.join(told)}."


def counted_reasons(counts: Record) -> str:
    """``3 (blurred), 1 (twice in the set)``."""
    return ", ".join(f"{films} ({reason})" for reason, films in counts.items())


def warning_words(split: Record) -> list[str]:
    """The split's warnings, without those that only repeat :func:`left_out_words`."""
    said = {f"{films} film(s) were excluded from the data set: {why}." for why, films in _pairs(split.get("excluded")).items()}
    said |= {f"{films} film(s) are in no part: {why}." for why, films in _pairs(split.get("left_out")).items()}
    found = split.get("warnings")
    return [str(warning) for warning in found if warning not in said] if isinstance(found, list) else []


def _pairs(value: object) -> Record:
    return value if isinstance(value, Mapping) else {}
