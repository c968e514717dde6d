"""Which predicted films make one exam, and which of them count when its views are averaged.

A study names an exam for certain, but can also identify it: it is compared here and appears in nothing that comes out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from mammo_core.data.film import FilmFacts

if TYPE_CHECKING:
    from mammo_core.predict.predictor import Prediction  # imports torch, which grouping does not need

Basis = Literal["study", "named", "alone"]
Grouping = Literal["study", "folder", "one"]

GROUPINGS: dict[Grouping, str] = {
    "study": "Films of one study (as the DICOM files say); other films stand alone",
    "folder": "Films of one folder",
    "one": "All films together",
}
"""What the user can choose as one exam."""
BASIS_WORDS: dict[Basis, str] = {
    "study": "the files name one study",
    "named": "named as one exam",
    "alone": "the film names no exam and stands alone",
}
"""Why films are taken for one exam."""
SIDES = {"L": "left", "R": "right"}
SPECIAL_VIEWS = {
    "AT": "axillary tail",
    "CV": "cleavage",
    "RI": "rolled inferior",
    "RL": "rolled lateral",
    "RM": "rolled medial",
    "RS": "rolled superior",
    "TAN": "tangential",
    "SPECIMEN": "specimen",
}
"""View positions that older files state in place of a modifier."""
SPLIT_STUDY = (
    "Films of one study name different patients, so each patient's films are taken as an exam of their own. Check the files."
)
MAMMOGRAPHY = "MG"
"""The modality that DICOM files of mammograms state."""
MODALITY_SHOWN = 16
"""Characters that DICOM allows in a modality; a longer one is no modality."""
MIXED_PATIENTS = (
    "The films named as one exam carry different patient ids; some archives give each film its own. "
    "Check that they show one woman."
)
MIXED_STUDIES = "The films named as one exam come from {count} studies; check that they were taken on one day."


@dataclass(frozen=True, eq=False)
class ExamFilm:
    """One film that was predicted."""

    index: int
    """Its place among the caller's films, from 0; texts call it film ``index + 1``."""
    prediction: Prediction
    facts: FilmFacts
    group: str = ""
    """What the caller groups by in place of the study, such as a folder; compared only, never shown."""


@dataclass(frozen=True)
class LeftOut:
    """A film that does not count, and why."""

    index: int
    film_id: str
    name: str
    reason: str
    """Continues the sentence "Film 3 (L CC) is left out: ..."."""

    @property
    def words(self) -> str:
        return f"Film {self.index + 1} ({self.name}) is left out: {self.reason}."


@dataclass(frozen=True, eq=False)
class Group:
    """The films of one exam."""

    basis: Basis
    films: list[ExamFilm]
    warnings: tuple[str, ...]


def group_films(films: Sequence[ExamFilm], one_exam: bool) -> list[Group]:
    """In order of first appearance."""
    patients: dict[str, set[str]] = {}
    for film in films:
        if film.facts.study_key and film.facts.patient_key:
            patients.setdefault(film.facts.study_key, set()).add(film.facts.patient_key)
    shared = {study for study, named in patients.items() if len(named) > 1}
    found: dict[tuple[Basis, object], list[ExamFilm]] = {}
    for film in films:
        found.setdefault(_group_key(film, one_exam, shared), []).append(film)
    groups = []
    for (basis, _), members in found.items():
        is_split = basis == "study" and members[0].facts.study_key in shared
        warnings = (SPLIT_STUDY,) if is_split else _mixture(members) if basis == "named" else ()
        groups.append(Group(basis, members, warnings))
    return groups


def _group_key(film: ExamFilm, one_exam: bool, shared: set[str]) -> tuple[Basis, object]:
    """``shared``: studies that name several patients."""
    study = film.facts.study_key
    if one_exam or film.group:
        return "named", "" if one_exam else film.group
    if study:
        return "study", (study, film.facts.patient_key if study in shared else None)
    return "alone", film.index


def _mixture(films: Sequence[ExamFilm]) -> tuple[str, ...]:
    patients = {film.facts.patient_key for film in films if film.facts.patient_key}
    studies = {film.facts.study_key for film in films if film.facts.study_key}
    found = [MIXED_PATIENTS] if len(patients) > 1 else []
    if len(studies) > 1:
        found.append(MIXED_STUDIES.format(count=len(studies)))
    return tuple(found)


def view_name(side: str | None, view: str | None) -> str:
    """``L CC``, ``L of unknown view``, ``CC of unknown side`` or ``unknown view``."""
    if side is None:
        return f"{view} of unknown side" if view else "unknown view"
    return f"{side} {view}" if view else f"{side} of unknown view"


def view_label(index: int, name: str) -> str:
    """``film 3: L CC`` for the film ``index`` (from 0)."""
    return f"film {index + 1}: {name}"


def special_view(facts: FilmFacts) -> str:
    """What makes a film no standard view, such as ``magnification, spot compression``; empty for a standard one."""
    return ", ".join(facts.view_modifiers) or SPECIAL_VIEWS.get(facts.view or "", "")


def standard_films(films: Sequence[ExamFilm]) -> tuple[list[ExamFilm], tuple[LeftOut, ...]]:
    """The films that count, and those that do not."""
    counted: dict[str, ExamFilm] = {}
    left_out = []
    for film in films:
        film_id = film.prediction.film_id
        reason = _unfit(film)
        if not reason and film_id in counted:
            reason = f"it is the same picture as film {counted[film_id].index + 1}"
        if reason:
            left_out.append(LeftOut(film.index, film_id, view_name(film.facts.laterality, film.facts.view), reason))
        else:
            counted[film_id] = film
    return list(counted.values()), tuple(left_out)


def _unfit(film: ExamFilm) -> str:
    """Why a film does not count by itself, whatever the others are; empty where it does."""
    modality, special = (film.facts.modality or "").strip(), special_view(film.facts)
    if modality and modality.upper() != MAMMOGRAPHY:
        return f"the file's modality is {modality[:MODALITY_SHOWN]}, not mammography ({MAMMOGRAPHY})"
    if special:
        return f"it is a special view ({special}), and only standard views are averaged"
    return "it is unlike the films that the model knows" if film.prediction.unfamiliar.flagged is True else ""
