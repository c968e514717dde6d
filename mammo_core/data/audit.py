"""What a data set holds, as tables of counts: the content of ``audit.json``. Pseudonyms and numbers only."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from mammo_core.data.manifest import DatasetRecord

MAX_LISTED = 1000
"""Unreadable films listed by name of their id; the count in ``dataset.json`` is complete."""


@dataclass
class FilmTally:
    """What the films told while they were read, counted."""

    kinds: Counter[str] = field(default_factory=Counter)
    """``DICOM``, ``PNG``, ... -> films."""
    bits: Counter[str] = field(default_factory=Counter)
    """Bits of a pixel -> films."""
    warnings: Counter[str] = field(default_factory=Counter)
    """Warning that reading a film gave -> films."""
    known_by: Counter[str] = field(default_factory=Counter)
    """How a film's patient became known -> films."""
    unreadable: list[dict[str, str]] = field(default_factory=list)
    """``image_id``, ``label`` and ``reason`` of each film that could not be read; no file names."""


def identical_films(manifest: pd.DataFrame, paths: pd.DataFrame) -> tuple[int, int]:
    """Films beyond the first of each set with the same pixels, and the sets whose labels differ."""
    joined = manifest[["image_id", "label"]].merge(paths[["image_id", "sha256"]], on="image_id")
    sets = joined.groupby("sha256")["label"].agg(["count", "nunique"])
    return int((sets["count"] - 1).sum()), int((sets["nunique"] > 1).sum())


def audit_tables(record: DatasetRecord, manifest: pd.DataFrame, paths: pd.DataFrame, tally: FilmTally) -> dict[str, Any]:
    """The content of ``audit.json``."""
    films_of_patient = manifest["patient_id"].value_counts()
    identical, conflicts = identical_films(manifest, paths)
    return {
        "schema_version": 1,
        "name": record.name,
        "created_at": record.created_at,
        "films": len(manifest),
        "patients": len(films_of_patient),
        "films_per_patient": {
            "min": int(films_of_patient.min()),
            "median": float(films_of_patient.median()),
            "max": int(films_of_patient.max()),
        },
        "class_by_center": films_by(manifest, "center", record.class_names),
        "class_by_view": films_by(manifest, "view", record.class_names),
        "class_by_laterality": films_by(manifest, "laterality", record.class_names),
        "class_by_vendor": films_by(manifest, "vendor", record.class_names),
        "patients_per_class": {
            name: int(manifest.loc[manifest["label"] == name, "patient_id"].nunique()) for name in record.class_names
        },
        "kinds": dict(sorted(tally.kinds.items())),
        "bits": dict(sorted(tally.bits.items())),
        "identical_films": identical,
        "identical_with_different_labels": conflicts,
        "film_warnings": [{"warning": text, "films": films} for text, films in tally.warnings.most_common()],
        "unreadable": tally.unreadable[:MAX_LISTED],
        "left_out": record.left_out,
        "warnings": record.warnings,
    }


def films_by(manifest: pd.DataFrame, column: str, class_names: list[str]) -> dict[str, dict[str, int]]:
    """Films by class (all of them, in order) and by value of ``column``."""
    counts = pd.crosstab(manifest["label"], manifest[column].replace("", "unknown")).reindex(class_names, fill_value=0)
    return {str(name): {str(value): int(films) for value, films in values.items()} for name, values in counts.iterrows()}
