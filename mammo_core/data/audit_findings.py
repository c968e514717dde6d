"""What an audit found, as sentences: the worst first, each with the place where it can be looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

Severity = Literal["warning", "info", "ok"]
ORDER: dict[str, int] = {"warning": 0, "info": 1, "ok": 2}


def findings_of(audit: Mapping[str, Any]) -> list[dict[str, str]]:
    """``severity``, ``sentence`` and ``view`` (a tab of the Films page, or empty) of each finding of an ``audit.json``."""
    found = [*_identical(audit), *_near(audit.get("near_duplicates") or {}), *_shortcut(audit.get("shortcut") or {})]
    found += _flags(audit.get("flags") or {})
    missing = audit.get("missing") or {}
    for column, what in (("center", "centre"), ("laterality", "side"), ("view", "view")):
        if missing.get(column):
            found.append(_finding("info", f"{_films(missing[column])} without a {what}.", "Audit"))
    return sorted(found, key=lambda finding: ORDER[finding["severity"]])


def warnings_of(import_warnings: Sequence[str], audit: Mapping[str, Any]) -> list[dict[str, str]]:
    """Everything that should make a user look twice: what the import warned of, and what the audit found since.

    What both say is said once.
    """
    told = [_finding("warning", text, "Unreadable" if "cannot be read" in text else "") for text in import_warnings]
    if "identical_sets" in audit:
        told = [finding for finding in told if "same pixels" not in finding["sentence"]]
    return told + [finding for finding in findings_of(audit) if finding["severity"] == "warning"] if audit else told


def _finding(severity: Severity, sentence: str, view: str) -> dict[str, str]:
    return {"severity": severity, "sentence": sentence, "view": view}


def _films(count: int) -> str:
    return f"{count} film(s)"


def _identical(audit: Mapping[str, Any]) -> list[dict[str, str]]:
    sets = audit.get("identical_sets") or []
    found = []
    conflicts = audit.get("identical_with_different_labels", 0)
    if conflicts:
        text = f"{conflicts} set(s) of films with the same pixels carry different labels: at least one label is wrong."
        found.append(_finding("warning", text, "Duplicates"))
    across = sum(item.get("patients", 1) > 1 for item in sets)
    if across:
        text = (
            f"{across} set(s) of films with the same pixels belong to more than one patient; splits keep these patients together."
        )
        found.append(_finding("warning", text, "Duplicates"))
    within = len(sets) - across
    if within:
        found.append(_finding("info", f"{within} set(s) of films of one patient have the same pixels.", "Duplicates"))
    return found


def _near(near: Mapping[str, Any]) -> list[dict[str, str]]:
    if not near.get("searched"):
        text = "Nobody has searched for nearly identical films yet, so a split cannot keep them together."
        return [_finding("info", text, "Duplicates")]
    found = []
    if near["label_conflicts"]:
        text = f"{near['label_conflicts']} pair(s) of nearly identical films carry different labels."
        found.append(_finding("warning", text, "Duplicates"))
    if near["across_patients"]:
        text = (
            f"{near['across_patients']} film pair(s) of different patients look identical; splits keep these patients together."
        )
        found.append(_finding("warning", text, "Duplicates"))
    within = near["confirmed"] - near["across_patients"]
    if within:
        found.append(_finding("info", f"{within} film pair(s) of one patient look identical.", "Duplicates"))
    if near["alike"]:
        found.append(
            _finding("info", f"{near['alike']} further pair(s) look much alike; nothing follows from them.", "Duplicates")
        )
    if near.get("capped"):
        text = f"Only the {near['candidates_checked']} most alike of {near['candidates']} candidate pairs were compared closely."
        found.append(_finding("warning", text, "Duplicates"))
    if near.get("not_compared"):
        text = (
            f"{_films(near['not_compared'])} could not be compared: blank, without a breast that was found, or not readable now."
        )
        found.append(_finding("info", text, "Audit"))
    if not found:
        found.append(_finding("ok", f"No two of {near['films']} films look identical.", "Duplicates"))
    return found


def _shortcut(test: Mapping[str, Any]) -> list[dict[str, str]]:
    if not test:
        return []
    severity: Severity = "warning" if test.get("warns") else "ok" if test.get("tested") else "info"
    return [_finding(severity, str(test["sentence"]), "Audit")]


def _flags(flags: Mapping[str, Any]) -> list[dict[str, str]]:
    sentences: tuple[tuple[str, Severity, str], ...] = (
        ("blank", "warning", "{} show nothing: all pixels are nearly the same."),
        ("bright", "warning", "{} have a bright background, as if black and white were exchanged."),
        ("burned_in", "warning", "{} say in their header that text is burned into the picture; it may name a patient."),
        ("no_breast", "info", "{} on which no breast was found; the whole film is used."),
        (
            "marks",
            "info",
            "{} show something bright beside the breast: side markers, or text that could name a patient. Look at some before "
            "you pass films on; a model never sees it, since all around the breast is made black.",
        ),
    )
    return [
        _finding(severity, text.format(_films(flags[name]["films"])), "Flagged")
        for name, severity, text in sentences
        if (flags.get(name) or {}).get("films")
    ]
