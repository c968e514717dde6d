"""What an import plan says about itself before anything is written: where everything comes from, as rows and as sentences."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from mammo_core.data.adapters.base import LESION_COLUMNS, ImportPlan, PatientSource, Reading

ROLE_WORDS = {
    "file": "Film",
    "patient": "Patient",
    "exam": "Exam",
    "laterality": "Side",
    "view": "View",
    "center": "Centre",
    "vendor": "Vendor",
    "label": "Label",
    "mask": "Lesion outline",
    "lesions": "Lesion boxes",
}
"""Role -> its name for the user, in the order shown."""

PATIENT_ORIGINS: dict[PatientSource, str] = {
    "column": "the table",
    "exam": "the exam stands for the patient",
    "header": "DICOM header (Patient ID)",
    "file name pattern": "file name",
    "each film alone": "unknown: each film is its own group",
}
FROM_FILM = "DICOM header, else the file name"
"""Where side and view come from if the source does not state them."""


@dataclass(frozen=True)
class Meaning:
    """One line of the plan's table: what is known, from where, and for how many films."""

    what: str
    origin: str
    films: int | None
    """``None`` where only reading the films tells."""


def origins_of(reading: Reading, rows: pd.DataFrame, patient_from: PatientSource) -> dict[str, str]:
    """Role -> where its values come from; roles that nothing is known about are absent."""
    origins = {role: f"column {column}" for role, column in reading.columns.items()} | dict(reading.origins)
    if patient_from != "column":
        origins["patient"] = PATIENT_ORIGINS[patient_from]
    has_header = any(os.path.splitext(name)[1].lower() in ("", ".dcm", ".dicom", ".dic") for name in rows["file"].head(100))
    unstated = FROM_FILM if has_header else "file name, if it tells"
    for role in ("laterality", "view"):
        known = rows[role] != ""
        stated = origins.get(role, "file name")
        if not known.all():
            origins[role] = f"{stated}; where empty, {unstated}" if known.any() else unstated
        else:
            origins[role] = stated
    if has_header:
        origins.setdefault("vendor", "DICOM header")
    if reading.lesions is not None and len(reading.lesions):
        origins.setdefault("lesions", "the table")
    return origins


def meanings(plan: ImportPlan) -> list[Meaning]:
    """What was understood, line by line, further columns last."""
    lines = []
    for role, word in ROLE_WORDS.items():
        origin = plan.origins.get(role)
        if origin:
            lines.append(Meaning(word, origin, _known(plan, role)))
    lines += [Meaning(column, "kept beside", int((plan.rows[column] != "").sum())) for column in plan.further_columns]
    return lines


def _known(plan: ImportPlan, role: str) -> int | None:
    if role == "lesions":
        return int(plan.lesions["file"].nunique())
    known = int((plan.rows[role] != "").sum())
    from_films = "header" in plan.origins[role].lower()
    return None if known == 0 and from_films else known


def sentences(plan: ImportPlan) -> list[str]:
    """The plan in words, for the command line: what was recognised and why, what means what, what is left out."""
    classes = ", ".join(f"{name} {count}" for name, count in plan.class_counts.items())
    said = [
        f"{plan.title}: {plan.because}.",
        f"{len(plan.rows)} films for the task {plan.task}: {classes}.",
        *[f"  {line.what}: {line.origin}" + ("" if line.films is None else f" ({line.films} films)") for line in meanings(plan)],
        f"  Label map: {label_map_words(plan.label_map)}. {plan.label_words}".rstrip(),
        plan.patient_statement,
    ]
    said += [f"Left out, {item.count}: {item.reason}." for item in plan.left_out]
    return said + [f"Note: {note}" for note in plan.notes] + [f"Warning: {warning}" for warning in plan.warnings]


def label_map_words(label_map: Mapping[str, str | None]) -> str:
    """``A, a -> A; 5 -> left out``: the words of each class together."""
    joined: dict[str, list[str]] = {}
    for value, name in sorted(label_map.items(), key=lambda item: (item[1] is None, item[1] or "", item[0])):
        joined.setdefault(name or "left out", []).append(value)
    return "; ".join(f"{', '.join(values)} -> {name}" for name, values in joined.items())


def centres_without_label(rows: pd.DataFrame) -> list[str]:
    """A sentence where a whole centre has no label: no split by centre can help that."""
    if (rows["center"] == "").all() or not (rows["label"] == "").any():
        return []
    labelled = rows["label"].ne("").groupby(rows["center"]).any()
    absent = [str(center) for center, has_some in labelled.items() if center and not has_some]
    if not absent or not labelled.any():
        return []
    films = int(rows["center"].isin(absent).sum())
    return [
        f"Centre {', '.join(absent)} has no label at all ({films} rows), so the centres cannot be held against each other here."
    ]


def lesions_of(reading: Reading, found_as: Mapping[str, str], rows: pd.DataFrame) -> pd.DataFrame:
    """The lesion boxes of the films that are imported, under the files' found names."""
    if reading.lesions is None or reading.lesions.empty:
        return pd.DataFrame(columns=list(LESION_COLUMNS))
    lesions = reading.lesions.assign(file=reading.lesions["file"].map(found_as))[list(LESION_COLUMNS)]
    kept: pd.DataFrame = lesions[lesions["file"].isin(set(rows["file"]))].drop_duplicates().reset_index(drop=True)
    return kept
