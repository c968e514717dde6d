"""The shortcut test: can the label be told from a film's file alone, without looking at the picture?

If vendor, size or year tell the class, a network can learn them instead of the disease, and its numbers will not travel. A small
classifier on metadata only is judged across patients; where it ranks better than 0.70, the data set warns.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import csr_array
from scipy.stats import rankdata

from mammo_core.data.split_allocation import allocate

THRESHOLD = 0.70
"""Macro AUC above which metadata are called a shortcut."""
CARRIES = 0.60
"""A column that reaches this alone is named as one that carries the label."""
FOLDS = 5
LEAST_PATIENTS = 10
"""A class with fewer patients cannot be judged across patients."""
MAX_VALUES = 30
"""Values of a column that are told apart; the rarer ones count as one."""
BINS = 12
"""Numbers with more values than this are cut into as many equally filled bins."""
PRIOR_WEIGHT = 5.0
"""Films of the average class mix that each value of a column starts with."""
SHOWN_COLUMNS, SHOWN_VALUES = 3, 8
Z = 1.959963984540054

COLUMN_TITLES = {
    "center": "centre", "vendor": "vendor", "model": "device model", "year": "year", "laterality": "side", "view": "view",
    "kind": "file format", "size": "image size", "height": "image height", "width": "image width", "bits": "bits a pixel",
    "window": "display window", "window_kind": "kind of display window", "turned_over": "polarity turned over",
    "photometric": "photometric interpretation", "transfer_syntax": "compression", "modality": "modality",
    "image_type": "image type", "presentation_intent": "presentation intent", "spacing_mm": "pixel spacing",
}  # fmt: skip
"""The metadata that are tried, with their names for people."""
NUMBERS = ("height", "width", "spacing_mm", "year")

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Auc:
    """A macro-averaged one-versus-rest AUC with its 95 % interval."""

    value: float
    low: float
    high: float


def metadata_table(manifest: pd.DataFrame, facts: pd.DataFrame | None) -> pd.DataFrame:
    """The columns of :data:`COLUMN_TITLES` that are known, one row a film in the order of ``manifest``, all text."""
    table = manifest[["image_id"]].copy()
    if facts is not None:
        told = facts.set_index("image_id").reindex(manifest["image_id"]).fillna("").reset_index(drop=True)
        for name in told.columns.intersection(list(COLUMN_TITLES)):
            table[name] = told[name].to_numpy()
        table["size"] = [f"{h} x {w}" if h else "" for h, w in zip(told["height"], told["width"], strict=True)]
        table["window_kind"] = [re.sub(r"[-\d./ ]+", " ", text).strip() for text in told["window"]]
    for name in ("center", "vendor", "laterality", "view", "year"):
        if name in manifest.columns and (manifest[name] != "").any():
            table[name] = manifest[name].to_numpy()
    return table.drop(columns="image_id")


def shortcut_test(
    metadata: pd.DataFrame, labels: Sequence[str], groups: Sequence[str], class_names: Sequence[str]
) -> dict[str, Any]:
    """Judge how well metadata alone tell the class, by cross-validation in which no group stands on both sides.

    A logistic regression on all columns (numbers in bins, one indicator a value), and each column by itself (share of each class
    among the training films with the same value). The interval comes from the influence of each group on the AUC.

    Parameters
    ----------
    metadata : DataFrame of text, one row a film; see :func:`metadata_table`
    labels : class name of each film
    groups : group of each film, which never stands in two folds

    Returns
    -------
    The part ``shortcut`` of ``audit.json``: ``tested``, ``sentence``, and where tested ``auc, ci_low, ci_high, warns, folds,
    columns`` (each with its own AUC, best first), ``carriers`` and a table of their values by class.

    Source
    ------
    Interval: the structural components of DeLong (1988), doi:10.2307/2531595, summed by group as in Obuchowski (1997),
    doi:10.2307/2533958.
    """
    present = [name for name in class_names if name in set(labels)]
    codes = pd.Categorical(list(labels), categories=present).codes.astype(np.int64)
    group = pd.factorize(np.asarray(groups, dtype=object), sort=True)[0].astype(np.int64)
    varied = {name: _codes(metadata[name], name in NUMBERS) for name in metadata.columns}
    constant = [name for name, values in varied.items() if values.max(initial=0) == 0]
    varied = {name: values for name, values in varied.items() if name not in constant}
    reason = _why_not(present, codes, group, varied)
    told: dict[str, Any] = {"tested": not reason, "threshold": THRESHOLD, "films": len(codes), "constant": constant}
    if reason:
        return {**told, "warns": False, "sentence": f"The shortcut test could not be made: {reason}"}
    folds = _folds(codes, group, len(present))
    auc = macro_auc(codes, _all_columns(list(varied.values()), codes, folds), group)
    alone = {name: macro_auc(codes, _one_column(values, codes, folds), group) for name, values in varied.items()}
    ranked = sorted(alone, key=lambda name: (-alone[name].value, name))
    carriers = [name for name in ranked if alone[name].value >= CARRIES] or ranked[:1]
    warns = auc.value > THRESHOLD
    return {
        **told,
        "auc": _rounded(auc.value),
        "ci_low": _rounded(auc.low),
        "ci_high": _rounded(auc.high),
        "warns": warns,
        "folds": int(folds.max()) + 1,
        "groups": int(group.max()) + 1,
        "method": "logistic regression on metadata, cross-validation by patient; 95 % interval by DeLong's components a patient",
        "columns": [
            {
                "column": name,
                "title": COLUMN_TITLES.get(name, name),
                "auc": _rounded(alone[name].value),
                "ci_low": _rounded(alone[name].low),
                "ci_high": _rounded(alone[name].high),
            }
            for name in ranked
        ],  # fmt: skip
        "carriers": carriers if warns else [],
        "tables": {name: _by_value(metadata[name], labels, present) for name in carriers[:SHOWN_COLUMNS]} if warns else {},
        "sentence": _sentence(auc, [COLUMN_TITLES.get(name, name) for name in carriers], warns),
    }


def _why_not(present: list[str], codes: Ints, group: Ints, varied: Mapping[str, Ints]) -> str:
    if len(present) < 2:
        return "all films are of one class."
    if not varied:
        return "the metadata are the same on all films, so they can tell nothing."
    few = [(name, len(np.unique(group[codes == number]))) for number, name in enumerate(present)]
    name, patients = min(few, key=lambda pair: pair[1])
    if patients < LEAST_PATIENTS:
        return f"class {name} has films of {patients} patient(s), and at least {LEAST_PATIENTS} are needed."
    return ""


def _sentence(auc: Auc, carriers: list[str], warns: bool) -> str:
    number = f"macro AUC {auc.value:.2f}, 95 % interval {auc.low:.2f} to {auc.high:.2f}"
    if not warns:
        return f"Metadata alone hardly tell the class ({number}; a shortcut is called from {THRESHOLD:.2f} on)."
    chance = " With so few patients this can still be chance." if auc.low <= 0.5 else ""
    return (
        f"Shortcut: metadata alone tell the class ({number}) without any picture, mostly {', '.join(carriers[:4])}. A model can "
        f"learn this instead of the disease; judge it within each centre and on a held-out one.{chance}"
    )


def _codes(column: pd.Series[str], is_number: bool) -> Ints:
    """Small whole numbers for the values of a column; 0 where all are the same."""
    if is_number:
        numbers = pd.to_numeric(column, errors="coerce")
        if numbers.nunique() > BINS:
            edges = np.unique(np.nanquantile(numbers, np.linspace(0, 1, BINS + 1)[1:-1]))
            binned = np.digitize(numbers.to_numpy(dtype=np.float64), edges).astype(np.int64)
            return np.where(numbers.isna().to_numpy(), len(edges) + 1, binned)
    values = column.replace("", "unknown")
    kept = values.value_counts().sort_index().sort_values(ascending=False, kind="stable").index[:MAX_VALUES]
    codes: Ints = pd.Categorical(values.where(values.isin(kept), "other")).codes.astype(np.int64)
    return codes


def _folds(codes: Ints, group: Ints, classes: int) -> Ints:
    """The fold of each film; groups stay whole, classes are balanced."""
    films = np.zeros((int(group.max()) + 1, classes), dtype=np.int64)
    np.add.at(films, (group, codes), 1)
    strata = classes - 1 - (films[:, ::-1] > 0).argmax(axis=1)
    parts = allocate(strata, np.zeros(len(films), dtype=np.int64), films, (1 / FOLDS,) * FOLDS, seed=0)
    return parts[group]


def _one_column(values: Ints, codes: Ints, folds: Ints) -> Floats:
    """Out-of-fold share of each class among the training films with the same value."""
    classes = int(codes.max()) + 1
    found = np.zeros((len(codes), classes))
    for fold in range(int(folds.max()) + 1):
        held = folds == fold
        counts = np.zeros((int(values.max()) + 1, classes))
        np.add.at(counts, (values[~held], codes[~held]), 1)
        prior = counts.sum(axis=0) / counts.sum()
        shares = (counts + PRIOR_WEIGHT * prior) / (counts.sum(axis=1, keepdims=True) + PRIOR_WEIGHT)
        found[held] = shares[values[held]]
    return found


def _all_columns(columns: list[Ints], codes: Ints, folds: Ints) -> Floats:
    """Out-of-fold probabilities of a logistic regression on one indicator a value."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    offsets = np.cumsum([0, *(int(values.max()) + 1 for values in columns)])
    where = np.stack([values + offset for values, offset in zip(columns, offsets[:-1], strict=True)], axis=1)
    starts = np.arange(len(codes) + 1) * len(columns)
    features = csr_array((np.ones(where.size), where.ravel(), starts), shape=(len(codes), int(offsets[-1])))
    found = np.zeros((len(codes), int(codes.max()) + 1))
    for fold in range(int(folds.max()) + 1):
        held = folds == fold
        model = LogisticRegression(C=1.0, max_iter=300)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a rank needs no last digit
            model.fit(features[~held], codes[~held])
        found[np.ix_(held, model.classes_)] = model.predict_proba(features[held])
    return found


def macro_auc(codes: Ints, scores: Floats, group: Ints) -> Auc:
    """Mean one-versus-rest AUC over the classes, with an interval that lets each group move as a whole.

    Parameters
    ----------
    codes : ndarray of shape (n,), class of each case; every class occurs
    scores : ndarray of shape (n, n_classes)
    group : ndarray of shape (n,), int from 0
    """
    classes = scores.shape[1]
    influence, values = np.zeros(len(codes)), []
    for number in range(classes):
        is_it, score = codes == number, scores[:, number]
        ranks, inside, outside = rankdata(score), rankdata(score[is_it]), rankdata(score[~is_it])
        positives, negatives = int(is_it.sum()), int((~is_it).sum())
        over = (ranks[is_it] - inside) / negatives
        under = 1 - (ranks[~is_it] - outside) / positives
        value = float(over.mean())
        influence[is_it] += (over - value) / positives / classes
        influence[~is_it] += (under - value) / negatives / classes
        values.append(value)
    sums = np.bincount(group, weights=influence)
    error = float(np.sqrt(len(sums) / max(1, len(sums) - 1) * (sums**2).sum()))
    mean = float(np.mean(values))
    return Auc(mean, max(0.0, mean - Z * error), min(1.0, mean + Z * error))


def _by_value(column: pd.Series[str], labels: Sequence[str], class_names: list[str]) -> dict[str, dict[str, int]]:
    """Films by value (the commonest first) and class."""
    counts = pd.crosstab(column.replace("", "unknown").to_numpy(), np.asarray(labels, dtype=object))
    counts = counts.reindex(columns=class_names, fill_value=0)
    counts = counts.loc[counts.sum(axis=1).sort_values(ascending=False, kind="stable").index[:SHOWN_VALUES]]
    return {str(value): {str(name): int(films) for name, films in row.items()} for value, row in counts.iterrows()}


def _rounded(value: float) -> float:
    return round(value, 4)
