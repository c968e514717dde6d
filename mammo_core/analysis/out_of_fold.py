"""The folds of one seed as one table: every film once, judged by the model that did not learn from its patient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from mammo_core.analysis.finished import differing_settings
from mammo_core.analysis.groups import Group, load_group
from mammo_core.analysis.metrics import evaluate_predictions
from mammo_core.errors import DataError, MammoError
from mammo_core.runs.run_dir import RunDir

REPLICATES = 2000
METHOD = (
    "validation predictions of all folds of the seed joined, one row a film; intervals from resampled patients for exactly these "
    "models; scores of different models are ranked together, which can cost some AUC"
)


def pooled_metrics(name: str, runs: Sequence[RunDir], bootstrap: int = REPLICATES) -> list[dict[str, Any]]:
    """Metrics of the joined out-of-fold predictions, one entry a seed.

    Parameters
    ----------
    name : str
        Of the experiment, for the reasons.
    runs : sequence of RunDir
        Folds; those that are not finished are left out.
    bootstrap : int
        Replicates of the intervals; 0 leaves them out.

    Returns
    -------
    list of dict
        ``seed, folds, level, n`` (films), ``patients, metrics, per_class, confusion_matrix, class_names, method``, as in
        ``val_metrics.json``; a seed that cannot be joined has ``seed, folds, reason`` instead: a fold is missing or keeps no
        predictions, two folds judge one film, or the folds differ in their settings.
    """
    group = load_group(name, runs, "val")
    seeds = sorted({member.seed for member in group.members})
    return [_pooled(replace(group, members=tuple(one for one in group.members if one.seed == seed)), bootstrap) for seed in seeds]


def _pooled(of_seed: Group, bootstrap: int) -> dict[str, Any]:
    first = of_seed.members[0]
    entry = {"seed": first.seed, "folds": sorted(member.fold for member in of_seed.members if member.fold is not None)}
    try:
        table = joined_folds(of_seed)
        config = first.finished.config
        found = evaluate_predictions(table, config.class_names, config.ordinal, epoch=0, split_sha256=None, bootstrap=bootstrap)
    except MammoError as error:
        return entry | {"reason": str(error)}
    kept = {key: value for key, value in found.to_json().items() if key not in ("schema_version", "epoch", "split_sha256")}
    return entry | kept | {"method": METHOD}


def joined_folds(of_seed: Group) -> pd.DataFrame:
    """The validation predictions of all folds of one seed, one row a film.

    Raises
    ------
    DataError
        As :meth:`Group.repetitions`, or the folds differ in their settings.
    """
    differing = differing_settings([member.finished.config for member in of_seed.members])
    if differing:
        seed = of_seed.members[0].seed
        raise DataError(
            f"{of_seed.name}: the folds of seed {seed} differ in {', '.join(differing)}; expected the same settings. Train the "
            "missing folds with the settings of the others, or move one of them to another experiment."
        )
    (repetition,) = of_seed.repetitions()
    return pd.concat(repetition.tables, ignore_index=True)
