"""Which films belong together, and the proof that a split keeps them together."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from mammo_core.data.groups import Pairs, group_films

SPLITS = ("train", "val", "test")
PATIENTS_UNKNOWN = "patients are not known, so patient leakage cannot be excluded"


class Proof(BaseModel):
    """What was checked about a split. A place is train, val or test, or a single fold; nothing may stand in two."""

    model_config = ConfigDict(extra="allow")

    films: int = 0
    patients: int = 0
    groups: int = 0
    patients_shared: int = 0
    """Patients with films in more than one place."""
    groups_shared: int = 0
    """Groups (patients joined by an exam or by films that are identical or nearly so) in more than one place."""
    exams_shared: int = 0
    """Exams with films in more than one place."""
    patients_known: bool = True
    """Whether the patients are patients, and not exams or single films for want of better."""
    duplicates_checked: bool = False
    """Whether pixel hashes were at hand."""
    duplicates: int = 0
    """Sets of films with identical pixels."""
    duplicates_shared: int = 0
    """Such sets in more than one place."""
    label_conflicts: int = 0
    """Such sets whose films carry different labels."""
    near_duplicates_checked: bool = False
    """Whether the audit has searched for films that show nearly the same picture."""
    near_duplicates: int = 0
    """Confirmed pairs of such films."""
    near_duplicates_shared: int = 0
    """Such pairs in two places."""
    near_label_conflicts: int = 0
    """Such pairs whose films carry different labels."""
    films_unplaced: int = 0
    """Films of the manifest that the split leaves out."""
    films_unknown: int = 0
    """Films of the split that the manifest does not have."""
    patients_changed: int = 0
    """Films to which the split gives another patient than the manifest."""
    classes_missing: dict[str, list[str]] = Field(default_factory=dict)
    """Place -> classes without a film there; only places that lack one."""

    @property
    def leaks(self) -> bool:
        return bool(
            self.patients_shared
            or self.exams_shared
            or self.groups_shared
            or self.duplicates_shared
            or self.near_duplicates_shared
        )

    @property
    def text(self) -> str:
        """The proof line: ``0 of 53 patients shared · 0 duplicates shared · every class in every split``."""
        parts = [f"{self.patients_shared} of {self.patients} patients shared"]
        if self.exams_shared:
            parts.append(f"{self.exams_shared} exams shared")
        if self.groups_shared > self.patients_shared:
            parts.append(f"{self.groups_shared} groups shared")
        parts.append(f"{self.duplicates_shared} duplicates shared" if self.duplicates_checked else "duplicates not checked")
        if self.near_duplicates_checked:
            parts.append(f"{self.near_duplicates_shared} near duplicates shared")
        parts += [
            f"no film of class {', '.join(classes)} in {place.replace('_', ' ')}"
            for place, classes in self.classes_missing.items()
        ] or ["every class in every split"]
        counted = {
            "sets of identical films with different labels": self.label_conflicts,
            "pairs of nearly identical films with different labels": self.near_label_conflicts,
            "films in no split": self.films_unplaced,
            "films that the data set does not have": self.films_unknown,
            "films with another patient than in the data set": self.patients_changed,
        }
        parts += [f"{count} {what}" for what, count in counted.items() if count]
        return " · ".join(parts + ([] if self.patients_known else [PATIENTS_UNKNOWN]))


def places(table: pd.DataFrame) -> pd.Series[str]:
    """Where each row stands: ``train``, ``val``, ``test``, or ``fold_1`` ... for a table with folds."""
    folds = table["fold"].astype(str)
    return table["split"].where(folds == "", "fold_" + folds)


def prove(
    table: pd.DataFrame,
    manifest: pd.DataFrame,
    pixel_hashes: Mapping[str, str] | None = None,
    near_pairs: Pairs | None = None,
    patients_known: bool = True,
) -> Proof:
    """Check a split against its data set, trusting the manifest's patients and not the split's.

    Parameters
    ----------
    table : DataFrame
        ``image_id, patient_id, group_id, split, fold``.
    manifest : DataFrame
        The films that could be split.
    pixel_hashes : mapping of image_id to SHA-256 of the decoded pixels
        ``None`` where they are not at hand: duplicates then stay unchecked, and the proof says so.
    near_pairs : pairs of image_id that show nearly the same picture
        ``None`` where nobody has searched for them.
    """
    columns = [column for column in ("patient_id", "exam_id", "label") if column in manifest.columns]
    facts = manifest.set_index("image_id")[columns].rename(columns={"patient_id": "patient_id_true"})
    joined = table.assign(place=places(table)).join(facts, on="image_id")
    known = joined[joined["patient_id_true"].notna()]
    groups = pd.Series(group_films(manifest, pixel_hashes or {}, near_pairs or ()).to_numpy(), index=manifest["image_id"])
    clusters = _clusters(known, pixel_hashes or {})
    near = _near(known, near_pairs or ())
    classes = [name for name in dict.fromkeys(manifest["label"])]
    exams = known[known["exam_id"] != ""] if "exam_id" in columns else known.head(0).assign(exam_id="")
    return Proof(
        films=len(table),
        patients=int(known["patient_id_true"].nunique()),
        groups=int(known["image_id"].map(groups).nunique()),
        patients_shared=_in_several(known["patient_id_true"], known["place"]),
        groups_shared=_in_several(known["image_id"].map(groups), known["place"]),
        exams_shared=_in_several(exams["exam_id"], exams["place"]),
        patients_known=patients_known,
        duplicates_checked=pixel_hashes is not None,
        duplicates=len(clusters),
        duplicates_shared=sum(len({place for place, _ in films}) > 1 for films in clusters),
        label_conflicts=sum(len({label for _, label in films}) > 1 for films in clusters),
        near_duplicates_checked=near_pairs is not None,
        near_duplicates=len(near),
        near_duplicates_shared=sum(one[0] != other[0] for one, other in near),
        near_label_conflicts=sum(one[1] != other[1] for one, other in near),
        films_unplaced=len(set(manifest["image_id"]) - set(table["image_id"])),
        films_unknown=len(joined) - len(known),
        patients_changed=int((known["patient_id"] != known["patient_id_true"]).sum()),
        classes_missing=_missing(known, sorted(classes)),
    )


def _in_several(units: pd.Series[str], place: pd.Series[str]) -> int:
    return int((place.groupby(units).nunique() > 1).sum())


def _clusters(known: pd.DataFrame, hashes: Mapping[str, str]) -> list[list[tuple[str, str]]]:
    """Place and label of each film in each set of two or more films with identical pixels."""
    films: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for image, place, label in known[["image_id", "place", "label"]].to_numpy().tolist():
        if hashes.get(image):
            films[hashes[image]].append((place, label))
    return [cluster for cluster in films.values() if len(cluster) > 1]


def _near(known: pd.DataFrame, pairs: Pairs) -> list[tuple[tuple[str, str], tuple[str, str]]]:
    """Place and label of both films of each pair that stands in the split."""
    if not pairs:
        return []
    of = {image: (place, label) for image, place, label in known[["image_id", "place", "label"]].to_numpy().tolist()}
    return [(of[one], of[other]) for one, other in pairs if one in of and other in of]


def _missing(known: pd.DataFrame, classes: list[str]) -> dict[str, list[str]]:
    present = known.groupby("place")["label"].agg(set)
    lacking = {str(place): [name for name in classes if name not in labels] for place, labels in present.items()}
    return {place: names for place, names in sorted(lacking.items()) if names}


def count_by_place(table: pd.DataFrame, manifest: pd.DataFrame, column: str) -> dict[str, dict[str, dict[str, int]]]:
    """Place -> value of ``column`` -> ``{"films", "patients"}``, for places and values that occur.

    A table with folds also gets the sum of its folds as ``train``.
    """
    values = manifest.set_index("image_id")[[column, "patient_id"]]
    joined = table[["image_id", "split"]].assign(place=places(table)).join(values, on="image_id", how="inner")
    joined[column] = joined[column].replace("", "unknown")
    counts: dict[str, dict[str, dict[str, int]]] = {}
    for level in ("split", "place"):
        grouped = joined.groupby([level, column], sort=True)["patient_id"]
        summary = grouped.agg(["count", "nunique"]).reset_index()
        for place, value, films, patients in summary.itertuples(index=False):
            counts.setdefault(str(place), {})[str(value)] = {"films": int(films), "patients": int(patients)}
    return counts


def totals_by_place(table: pd.DataFrame) -> dict[str, dict[str, int]]:
    """Place -> ``{"films", "patients"}``."""
    counts: dict[str, dict[str, int]] = {}
    for keys in (table["split"], places(table)):
        films = Counter(keys.tolist())
        patients: dict[Any, int] = table.groupby(keys)["patient_id"].nunique().to_dict()
        counts |= {place: {"films": films[place], "patients": int(patients[place])} for place in sorted(films)}
    return counts
