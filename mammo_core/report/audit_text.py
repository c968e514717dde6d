"""An audit as Markdown, for the study's files: counts and sentences, no ids."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from mammo_core.report.plain_text import plain_in_file
from mammo_core.settings import RESEARCH_ONLY

SIGNS = {"warning": "Warning", "info": "Note", "ok": "Fine"}
TABLES = (
    ("class_by_center", "Centre"), ("class_by_vendor", "Vendor"), ("class_by_model", "Device model"), ("class_by_view", "View"),
    ("class_by_laterality", "Side"), ("class_by_year", "Year"),
)  # fmt: skip
MAX_COLUMNS = 12


def audit_markdown(audit: Mapping[str, Any]) -> str:
    """The content of ``audit.md`` from that of ``audit.json``."""
    when = audit.get("audited_at") or audit.get("created_at", "")
    parts = [f"# Audit of the data set {_cell(audit.get('name', ''))}", f"{RESEARCH_ONLY}. Made {when}.", "## Findings"]
    findings = audit.get("findings") or []
    parts.append("\n".join(f"- **{SIGNS[item['severity']]}:** {_cell(item['sentence'])}" for item in findings) or "None.")
    parts += ["## Films", _films(audit)]
    for key, title in TABLES:
        if audit.get(key):
            parts += [f"### Class and {title.lower()}", _counts(audit[key])]
    if audit.get("sizes"):
        rows = [(f"{item['height']} x {item['width']}", item["films"]) for item in audit["sizes"]]
        parts += ["### Image sizes (height x width)", _table(("pixels", "films"), rows)]
    if audit.get("missing") or audit.get("facts_missing"):
        rows = [*(audit.get("missing") or {}).items(), *(audit.get("facts_missing") or {}).items()]
        parts += ["### Missing values", _table(("column", "films without"), rows)]
    parts += _shortcut(audit.get("shortcut") or {})
    if audit.get("left_out"):
        parts += ["## Left out at import", _table(("reason", "count"), [(i["reason"], i["count"]) for i in audit["left_out"]])]
    if audit.get("unreadable"):
        reasons: dict[str, int] = {}
        for item in audit["unreadable"]:
            reasons[item["reason"]] = reasons.get(item["reason"], 0) + 1
        parts += ["## Unreadable films", _table(("reason", "films"), list(reasons.items()))]
    if pictures := [name for name in audit.get("figures") or [] if name.endswith(".png")]:
        titles = (PurePosixPath(name).stem.replace("_", " ").capitalize() for name in pictures)
        parts += ["## Figures", *(f"![{title}]({name})" for title, name in zip(titles, pictures, strict=True))]
    return "\n\n".join(part for part in parts if part) + "\n"


def _films(audit: Mapping[str, Any]) -> str:
    spread = audit.get("films_per_patient") or {}
    told = f"{audit.get('films', '?')} films of {audit.get('patients', '?')} patients"
    if spread:
        told += f", {spread['min']} to {spread['max']} films each (median {spread['median']:g})"
    for title, key in (("Kinds of file", "kinds"), ("Bits a pixel", "bits")):
        if audit.get(key):
            told += f". {title}: " + ", ".join(f"{_cell(str(name))} {count}" for name, count in audit[key].items())
    return told + "."


def _counts(counts: Mapping[str, Mapping[str, int]]) -> str:
    """Classes as rows; the values with most films as columns, and the others together."""
    totals: dict[str, int] = {}
    for values in counts.values():
        for value, films in values.items():
            totals[value] = totals.get(value, 0) + films
    shown = sorted(totals, key=lambda value: (-totals[value], value))[:MAX_COLUMNS] if len(totals) > MAX_COLUMNS else list(totals)
    rest = len(totals) > len(shown)
    rows = [
        (
            name,
            *(values.get(value, 0) for value in shown),
            *([sum(n for v, n in values.items() if v not in shown)] if rest else []),
        )
        for name, values in counts.items()
    ]
    return _table(("class", *shown, *(["others"] if rest else [])), rows)


def _shortcut(test: Mapping[str, Any]) -> list[str]:
    if not test:
        return []
    parts = ["## Shortcut test: can the file alone tell the class?", _cell(str(test["sentence"]))]
    if test.get("columns"):
        rows = [(c["title"], f"{c['auc']:.3f} ({c['ci_low']:.3f} to {c['ci_high']:.3f})") for c in test["columns"]]
        parts.append(_table(("column alone", "macro AUC (95 % interval)"), rows))
        counted = f"{test['films']} films in {test.get('groups', '?')} groups (a patient, or patients who share a film)"
        parts.append(f"{counted}, {test['folds']} folds; {test['method']}.")
    for name, table in (test.get("tables") or {}).items():
        title = next((c["title"] for c in test["columns"] if c["column"] == name), name)
        names = list(next(iter(table.values()), {}))
        parts += [
            f"### {_cell(str(title))} and class",
            _table((title, *names), [(value, *row.values()) for value, row in table.items()]),
        ]
    return parts


def _table(head: tuple[Any, ...], rows: list[tuple[Any, ...]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(str(cell)) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return plain_in_file(text)
