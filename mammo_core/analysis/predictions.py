"""Tables of predictions as arrays, and several of them as one ensemble."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from mammo_core.analysis.formulas import Floats, Labels
from mammo_core.errors import DataError

PROBABILITY_PREFIX = "prob_"


@dataclass(frozen=True)
class Cases:
    """Films with their true class, predicted class and probabilities, in one order."""

    labels: Labels
    predicted: Labels
    probabilities: Floats
    """Shape ``(n, K)``, rows sum to 1."""
    patients: tuple[str, ...]
    class_names: tuple[str, ...]
    ordinal: bool

    @property
    def occurring(self) -> npt.NDArray[np.bool_]:
        """Which classes have at least one film, shape ``(K,)``."""
        return np.bincount(self.labels, minlength=len(self.class_names)) > 0

    def take(self, order: npt.NDArray[np.intp]) -> Cases:
        """These films in this order; films that it does not name are left out."""
        return replace(
            self,
            labels=self.labels[order],
            predicted=self.predicted[order],
            probabilities=self.probabilities[order],
            patients=tuple(self.patients[index] for index in order),
        )

    @property
    def upper_half(self) -> tuple[str, ...]:
        """The upper half of an ordinal scale: C and D of A to D."""
        return self.class_names[(len(self.class_names) + 1) // 2 :]


def cases_of(table: pd.DataFrame, class_names: Sequence[str], ordinal: bool) -> Cases:
    """Check a table of predictions (``RunDir.predictions``) and turn it into arrays.

    Raises
    ------
    DataError
        No rows, a film twice, a class or probability column that is missing or unknown, probabilities that do not sum to 1.
    """
    columns = [f"{PROBABILITY_PREFIX}{name}" for name in class_names]
    missing = sorted({"image_id", "patient_id", "y_true", "y_pred", *columns} - set(table.columns))
    if missing:
        raise DataError(f"The predictions lack the column(s) {', '.join(missing)}; expected one for each class. Evaluate again.")
    if table.empty:
        raise DataError("The predictions hold no films; expected at least one. Evaluate the run on a split that has films.")
    if table["image_id"].duplicated().any():
        twice = table.loc[table["image_id"].duplicated(), "image_id"].iloc[0]
        raise DataError(f"The predictions list film {twice!r} more than once; expected one row a film. Evaluate again.")
    index = {name: position for position, name in enumerate(class_names)}
    unknown = sorted((set(table["y_true"]) | set(table["y_pred"])) - set(index))
    if unknown:
        raise DataError(f"The predictions name the class(es) {', '.join(map(repr, unknown))}; expected {', '.join(class_names)}.")
    probabilities = table[columns].to_numpy(dtype=np.float64)
    sums_to_one = np.abs(probabilities.sum(axis=1) - 1) < 1e-3  # False for NaN too
    if not (sums_to_one.all() and (probabilities >= 0).all()):
        raise DataError("The predictions hold probabilities that do not sum to 1; expected softmax outputs. Evaluate again.")
    return Cases(
        labels=np.array([index[name] for name in table["y_true"]], dtype=np.intp),
        predicted=np.array([index[name] for name in table["y_pred"]], dtype=np.intp),
        probabilities=probabilities,
        patients=tuple(table["patient_id"].astype(str)),
        class_names=tuple(class_names),
        ordinal=ordinal,
    )


def ensemble_predictions(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The mean of the members' probabilities, film by film, with ``y_pred`` taken from the mean; rows as in the first table.

    Raises
    ------
    DataError
        No table; tables with other films, other true classes or other probability columns.
    """
    if not tables:
        raise DataError("An ensemble needs the predictions of at least one run; none were given. Choose runs that are finished.")
    first = tables[0]
    columns = probability_columns(first)
    total = np.zeros((len(first), len(columns)))
    for number, table in enumerate(tables, start=1):
        total += aligned_with(first, table, f"member {number}")[columns].to_numpy(dtype=np.float64)
    joined = first.copy()
    joined[columns] = total / len(tables)
    joined["y_pred"] = np.array([column.removeprefix(PROBABILITY_PREFIX) for column in columns])[total.argmax(axis=1)]
    return joined


def aligned_with(first: pd.DataFrame, table: pd.DataFrame, name: str) -> pd.DataFrame:
    """The rows of ``table`` in the film order of ``first``.

    Raises
    ------
    DataError
        ``table`` is not about the same films, true classes and probability columns.
    """
    if set(probability_columns(first)) != set(probability_columns(table)):
        raise DataError(f"The predictions of {name} have other classes than the first; expected the same. Choose other runs.")
    if set(first["image_id"]) != set(table["image_id"]) or len(first) != len(table):
        shared = len(set(first["image_id"]) & set(table["image_id"]))
        raise DataError(
            f"The predictions of {name} share only {shared} films with the {len(first)} of the first; expected the same films. "
            "Evaluate all of them on one split."
        )
    ordered = table.set_index("image_id").loc[first["image_id"]].reset_index()
    if (ordered["y_true"].to_numpy() != first["y_true"].to_numpy()).any():
        raise DataError(f"The predictions of {name} have other true classes for the same films. Evaluate them on one data set.")
    return ordered


def probability_columns(table: pd.DataFrame) -> list[str]:
    """The ``prob_<class>`` columns, in the table's order."""
    return [str(column) for column in table.columns if str(column).startswith(PROBABILITY_PREFIX)]
