"""The split that one run uses: with folds, one of them validates and the others train."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from mammo_core.data.split_files import Split
from mammo_core.data.split_proof import totals_by_place
from mammo_core.errors import SplitError


def number_of_folds(table: pd.DataFrame) -> int | None:
    """The largest fold of a split table; ``None`` where it has none."""
    folds = {int(fold) for fold in table["fold"] if fold}
    return max(folds) if folds else None


def resolve(table: pd.DataFrame, fold: int | None = None) -> pd.DataFrame:
    """The split that one run trains on: with folds, fold ``fold`` becomes ``val`` and the others ``train``.

    Raises
    ------
    SplitError
        The table has folds and none (or an unknown one) is chosen, or has none and one is chosen.
    """
    folds = number_of_folds(table)
    if folds is None:
        if fold is not None:
            raise SplitError(f"Fold {fold} was asked for, but this split has no folds; leave the fold out or use a k-fold split.")
        return table
    if fold is None or not (table["fold"] == str(fold)).any():
        chosen = "no fold was chosen" if fold is None else f"fold {fold} was asked for"
        raise SplitError(f"This split has folds 1 to {folds}, but {chosen}; choose one of them.")
    return table.assign(split=table["split"].mask(table["fold"] == str(fold), "val"), fold="")


def resolve_split(split: Split, fold: int | None = None) -> Split:
    """As :func:`resolve`, with the record that goes with the run's own copy: its counts are those of train, val and test."""
    table = resolve(split.table, fold)
    if fold is None:
        return split
    folds = range(1, (split.record.folds or 0) + 1)
    record = split.record
    update = {
        "fold": fold,
        "counts": totals_by_place(table),
        "class_counts": _resolved(record.class_counts, folds, fold),
        "center_counts": _resolved(record.center_counts, folds, fold),
    }
    return Split(table, record.model_copy(update=update))


def _resolved(
    counts: dict[str, dict[str, dict[str, int]]], folds: Sequence[int], fold: int
) -> dict[str, dict[str, dict[str, int]]]:
    """Counts of the chosen fold as ``val`` and the sum of the others as ``train``; folds share no patient, so they add up."""
    train: dict[str, dict[str, int]] = {}
    for number in folds:
        for value, count in counts.get(f"fold_{number}", {}).items():
            if number != fold:
                kept = train.setdefault(value, {"films": 0, "patients": 0})
                train[value] = {key: kept[key] + count[key] for key in kept}
    resolved = {"train": train, "val": counts.get(f"fold_{fold}", {})}
    return resolved | ({"test": counts["test"]} if "test" in counts else {})
