"""What a data set holds, as tables of counts: the content of ``audit.json``. Pseudonyms and numbers only."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from mammo_core.data.manifest import DatasetRecord

MAX_LISTED = 1000
"""Films and sets of films listed by their ids; the counts are complete."""
MAX_SIZES = 20
YEAR_COLUMNS = ("year", "study_year")


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
        **_by_year(manifest, record.class_names),
        "patients_per_class": {
            name: int(manifest.loc[manifest["label"] == name, "patient_id"].nunique()) for name in record.class_names
        },
        "kinds": dict(sorted(tally.kinds.items())),
        "bits": dict(sorted(tally.bits.items())),
        "identical_films": identical,
        "identical_with_different_labels": conflicts,
        "identical_sets": identical_sets(manifest, paths),
        "missing": count_missing(manifest),
        "film_warnings": [{"warning": text, "films": films} for text, films in tally.warnings.most_common()],
        "unreadable": tally.unreadable[:MAX_LISTED],
        "left_out": record.left_out,
        "warnings": record.warnings,
    }


def films_by(manifest: pd.DataFrame, column: str, class_names: list[str]) -> dict[str, dict[str, int]]:
    """Films by class (all of them, in order) and by value of ``column``."""
    counts = pd.crosstab(manifest["label"], manifest[column].replace("", "unknown")).reindex(class_names, fill_value=0)
    return {str(name): {str(value): int(films) for value, films in values.items()} for name, values in counts.iterrows()}


def _by_year(manifest: pd.DataFrame, class_names: list[str]) -> dict[str, dict[str, dict[str, int]]]:
    year = next((name for name in YEAR_COLUMNS if name in manifest.columns and (manifest[name] != "").any()), None)
    return {} if year is None else {"class_by_year": films_by(manifest, year, class_names)}


def identical_sets(manifest: pd.DataFrame, paths: pd.DataFrame) -> list[dict[str, Any]]:
    """Each set of films with the same pixels: ``films`` (ids), their ``labels``, and how many ``patients`` they belong to."""
    joined = manifest[["image_id", "patient_id", "label"]].merge(paths[["image_id", "sha256"]], on="image_id")
    joined = joined[(joined["sha256"] != "") & joined["sha256"].duplicated(keep=False)].sort_values("image_id")
    sets: list[dict[str, Any]] = [
        {
            "films": films["image_id"].tolist(),
            "labels": sorted(set(films["label"])),
            "patients": int(films["patient_id"].nunique()),
        }
        for _, films in joined.groupby("sha256", sort=False)
    ]
    return sorted(sets, key=lambda item: (len(item["labels"]) == 1, item["patients"] == 1, item["films"]))[:MAX_LISTED]


def count_missing(manifest: pd.DataFrame) -> dict[str, int]:
    """Column of the manifest -> films without a value in it; only columns that lack some."""
    empty = {str(name): int((manifest[name] == "").sum()) for name in manifest.columns}
    return {name: films for name, films in empty.items() if films}


def facts_tables(manifest: pd.DataFrame, facts: pd.DataFrame, class_names: list[str]) -> dict[str, Any]:
    """What the files themselves add: sizes, years, devices, and facts that they do not state.

    Parameters
    ----------
    facts : as ``film_facts.csv``; films that it lacks are not counted
    """
    joined = manifest[["image_id", "label"]].merge(facts, on="image_id")
    by_year = _by_year(manifest, class_names)
    sizes = Counter(zip(joined["height"].tolist(), joined["width"].tolist(), strict=True))
    tables: dict[str, Any] = {
        "sizes": [{"height": int(h), "width": int(w), "films": films} for (h, w), films in sizes.most_common(MAX_SIZES) if h],
        "size_kinds": len(sizes),
        "facts_missing": {
            name: int((joined[name] == "").sum())
            for name in ("spacing_mm", "model", "year", "presentation_intent")
            if (joined[name] == "").any() and not (name == "year" and by_year)
        },
    }
    if (joined["model"] != "").any():
        tables["class_by_model"] = films_by(joined, "model", class_names)
    if not by_year and (joined["year"] != "").any():
        by_year = {"class_by_year": films_by(joined, "year", class_names)}
    return tables | by_year
