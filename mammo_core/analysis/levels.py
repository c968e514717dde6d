"""The unit of analysis: films, or breasts, exams and patients by the mean probability of their films.

A reader of mammograms judges a woman, not a picture, and results change with the unit. What comes out has the columns of a table
of predictions, so that everything that judges films judges any unit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from mammo_core.analysis.predictions import PROBABILITY_PREFIX, cases_of
from mammo_core.analysis.questions import severity_order
from mammo_core.errors import DataError

LEVELS = {"film": "Film", "breast": "Breast", "exam": "Exam", "patient": "Patient"}
"""Units, and what the reader sees."""
PLURALS = {"film": "films", "breast": "breasts", "exam": "exams", "patient": "patients"}
KEYS = {
    "breast": ("patient_id", "exam_id", "laterality"),
    "exam": ("patient_id", "exam_id"),
    "patient": ("patient_id",),
}
"""Columns that a unit's films share."""
MIXED = "differs within"
"""Value of a column in which the films of one unit differ."""
OWN_COLUMNS = frozenset({"image_id", "patient_id", "center", "y_true", "y_pred", "label"})


@dataclass(frozen=True)
class LevelTable:
    """Predictions at one level."""

    table: pd.DataFrame
    """``image_id`` (of the unit), ``patient_id, center, y_true, y_pred, prob_<class>...`` and the manifest's columns."""
    level: str
    films: int
    conflicts: int
    """Units whose films have different true classes."""
    words: str
    """How the units were made and what was left out, as sentences; empty for films."""


def with_facts(table: pd.DataFrame, manifest: pd.DataFrame | None) -> pd.DataFrame:
    """The predictions with the manifest's further columns (exam, side, view, vendor ...), joined by ``image_id``.

    Columns that predictions have themselves stay as they are; films that the manifest does not list get empty text.
    """
    if manifest is None:
        return table
    further = [name for name in manifest.columns if name not in OWN_COLUMNS and name not in table.columns]
    facts = manifest.set_index("image_id")[further].reindex(table["image_id"]).fillna("")
    return pd.concat([table.reset_index(drop=True), facts.reset_index(drop=True)], axis=1)


def missing_levels(table: pd.DataFrame) -> dict[str, str]:
    """Levels that a table of :func:`with_facts` cannot serve, each with the reason."""
    reasons = {}
    for level, columns in KEYS.items():
        lacking = [name for name in columns if name not in table.columns or (table[name].astype(str) == "").all()]
        if lacking:
            reasons[level] = (
                f"the data set does not say the {' and '.join(_column_word(name) for name in lacking)} of these films"
            )
    return reasons


def _column_word(name: str) -> str:
    return {"exam_id": "exam", "laterality": "side", "patient_id": "patient"}[name]


def at_level(table: pd.DataFrame, level: str, class_names: Sequence[str], ordinal: bool) -> LevelTable:
    """Predictions at a level: mean class probabilities over the films of each unit.

    Parameters
    ----------
    table : DataFrame
        Films, as :func:`with_facts` gives them.
    level : {"film", "breast", "exam", "patient"}

    Returns
    -------
    LevelTable
        The true class of a unit is that of its films; where they differ, the worst of a list with a malignant class, the most
        common one of any other (the higher one where two are equally common). Other columns keep the value that all films
        share. Films that do not say what the level needs are left out and counted.

    Raises
    ------
    DataError
        An unknown level, or one that the films cannot serve; or as ``cases_of``.
    """
    if level == "film":
        return LevelTable(table, level, len(table), 0, "")
    if level not in KEYS:
        raise DataError(f"There is no unit of analysis {level!r}; expected one of {', '.join(LEVELS)}.")
    why = missing_levels(table).get(level)
    if why is not None:
        raise DataError(f"Results for each {level} cannot be made, since {why}; expected it in the manifest. Choose films.")
    stated = (table[list(KEYS[level])].astype(str) != "").all(axis=1)
    kept = table[stated].reset_index(drop=True)
    cases = cases_of(kept, class_names, ordinal)
    keys = kept[list(KEYS[level])].astype(str).agg("\x1f".join, axis=1)
    names, first, unit_of = np.unique(keys.to_numpy(dtype=str), return_index=True, return_inverse=True)
    sizes = np.bincount(unit_of)
    mean = np.stack([np.bincount(unit_of, weights=column) for column in cases.probabilities.T], axis=1) / sizes[:, None]
    counts = np.zeros((len(names), len(class_names)))
    np.add.at(counts, (unit_of, cases.labels), 1)
    truth = _labels(counts, class_names)
    titles = np.array(class_names)
    units = pd.DataFrame({"image_id": [" / ".join(_parts(name)) for name in names]})
    units["patient_id"] = kept["patient_id"].astype(str).to_numpy()[first]
    units = units.assign(**_shared(kept, unit_of, first))
    units["y_true"], units["y_pred"] = titles[truth], titles[mean.argmax(axis=1)]
    units = units.assign(**{f"{PROBABILITY_PREFIX}{name}": mean[:, k] for k, name in enumerate(class_names)})
    conflicts = int(((counts > 0).sum(axis=1) > 1).sum())
    words = _words(level, len(names), len(kept), conflicts, severity_order(class_names) is not None)
    left_out = len(table) - len(kept)
    if left_out:
        words += f" {left_out} film(s) that do not say their {level} are left out."
    return LevelTable(units, level, len(kept), conflicts, words)


def _parts(name: str) -> list[str]:
    """A unit's key for the reader: the patient once, where the exam or side does not repeat it."""
    return list(dict.fromkeys(name.split("\x1f")))


def _labels(counts: npt.NDArray[np.float64], class_names: Sequence[str]) -> npt.NDArray[np.intp]:
    """True class of each unit from its films' classes, counts of shape ``(units, K)``."""
    severity = severity_order(class_names)
    if severity is not None:
        return np.asarray(np.where(counts > 0, np.array(severity)[None, :], -len(severity) - 1).argmax(axis=1), dtype=np.intp)
    k = counts.shape[1]
    return np.asarray(k - 1 - counts[:, ::-1].argmax(axis=1), dtype=np.intp)


def _shared(
    kept: pd.DataFrame, unit_of: npt.NDArray[np.intp], first: npt.NDArray[np.intp]
) -> Mapping[str, npt.NDArray[np.object_]]:
    """Every further column with the value that all films of a unit have, or ``MIXED``."""
    found: dict[str, npt.NDArray[np.object_]] = {}
    for name in kept.columns:
        if name in ("image_id", "patient_id", "y_true", "y_pred") or str(name).startswith(PROBABILITY_PREFIX):
            continue
        values = kept[name].astype(str).to_numpy(dtype=object)
        of_first = values[first]
        differs = np.bincount(unit_of, weights=(values != of_first[unit_of]).astype(float)) > 0
        found[str(name)] = np.where(differs, MIXED, of_first)
    return found


def _words(level: str, units: int, films: int, conflicts: int, by_severity: bool) -> str:
    text = f"{units} {PLURALS[level] if units != 1 else level} from {films} films: the mean probability of the films of each."
    if conflicts:
        rule = "the worst counts" if by_severity else "the most common counts, the higher one of two equally common"
        text += f" In {conflicts} of them the films have different true classes; {rule}."
    return text
