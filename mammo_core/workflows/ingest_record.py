"""What an import found while it read the films, and what the data set says about itself because of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

import pandas as pd

from mammo_core.data.adapters import ImportPlan
from mammo_core.data.adapters.base import PatientSource
from mammo_core.data.audit import FilmTally, identical_films
from mammo_core.data.manifest import DatasetRecord, count

SUBSTITUTES: dict[str, PatientSource] = {"exam": "exam", "film": "each film alone"}
"""What stands for an unknown patient, and the patient source that does so for every film."""


@dataclass
class Findings:
    """What the films told, in the order of the plan's rows."""

    rows: list[dict[str, str]] = field(default_factory=list)
    """Manifest rows of readable films."""
    paths: list[dict[str, str]] = field(default_factory=list)
    facts: list[dict[str, str]] = field(default_factory=list)
    """Rows of ``film_facts.csv``: what each file says of its picture and machine."""
    lesions: list[dict[str, object]] = field(default_factory=list)
    """Rows of ``lesions.csv``, of readable films."""
    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)
    """``image_id`` -> height and width of a film that has several candidates for its outline."""
    lost_boxes: int = 0
    warnings: list[str] = field(default_factory=list)
    tally: FilmTally = field(default_factory=FilmTally)


def record_of(name: str, plan: ImportPlan, manifest: pd.DataFrame, paths: pd.DataFrame, findings: Findings) -> DatasetRecord:
    """The content of ``dataset.json``."""
    return DatasetRecord(
        name=name,
        root=str(plan.root),
        adapter=plan.adapter,
        task=plan.task,
        class_names=list(plan.class_names),
        ordinal=plan.ordinal,
        counts=count(manifest, plan.class_names),
        source_sha256=plan.listing.sha256(plan.table),
        synthetic=plan.synthetic,
        patient_key=plan.patient_from,
        patient_statement=plan.patient_statement,
        left_out=[{"reason": item.reason, "count": item.count} for item in plan.left_out],
        warnings=[*plan.warnings, *_warnings(manifest, paths, findings.tally, plan.patient_from), *_of_lesions(findings)],
        notes=list(plan.notes),
        label_words=plan.label_words,
        label_map=dict(plan.label_map),
        word_counts=dict(plan.word_counts),
        origins=dict(plan.origins) if plan.is_known_set else {},
        unreadable=len(findings.tally.unreadable),
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


@dataclass(frozen=True)
class LabelLine:
    """What became of one label of the source."""

    word: str
    class_name: str
    """Empty where its films were left out."""
    films: int | None
    """``None`` where the import did not count them."""


def label_lines(record: DatasetRecord) -> list[LabelLine]:
    """Each label as it was stored, by class in their order, those left out last; empty for a data set that keeps no label map."""
    order = {name: place for place, name in enumerate(record.class_names)}
    words = sorted(record.label_map.items(), key=lambda item: (order.get(item[1] or "", len(order)), item[0]))
    return [LabelLine(word, name or "", record.word_counts.get(word)) for word, name in words]


def _of_lesions(findings: Findings) -> list[str]:
    lost = findings.lost_boxes
    return [*findings.warnings, *([f"{lost} lesion box(es) lie outside their film and are left out."] if lost else [])]


def _warnings(manifest: pd.DataFrame, paths: pd.DataFrame, tally: FilmTally, patient_from: PatientSource) -> list[str]:
    warnings = []
    if tally.unreadable:
        warnings.append(f"{len(tally.unreadable)} film(s) cannot be read and are left out; the audit lists the reasons.")
    for kind, sentence in (
        (
            "exam",
            "film(s) have no known patient and are grouped by exam; leakage between exams of one patient cannot be excluded.",
        ),
        ("film", "film(s) have no known patient and stand alone; patient leakage cannot be excluded for them."),
        ("part", "film(s) have a PatientID as in CBIS-DDSM, different for each film; the patient is the P_ number in it."),
    ):
        # Where that is the chosen source, the patient statement says so already.
        if tally.known_by[kind] and SUBSTITUTES.get(kind) != patient_from:
            warnings.append(f"{tally.known_by[kind]} {sentence}")
    identical, conflicts = identical_films(manifest, paths)
    if identical:
        warnings.append(f"{identical} film(s) have the same pixels as another one; splits keep them together.")
    if conflicts:
        warnings.append(f"{conflicts} set(s) of films with the same pixels carry different labels; correct the source.")
    if manifest["patient_id"].nunique() == 1 and len(manifest) > 8:
        warnings.append("All films belong to one patient; if the headers were anonymised, choose another patient source.")
    return warnings
