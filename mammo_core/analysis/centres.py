"""Numbers centre by centre, and the gap between a split that mixes the centres and one that holds some of them out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from mammo_core.analysis.groups import Group
from mammo_core.analysis.resampling import Resampled, difference, group_interval, resample_tables
from mammo_core.errors import DataError
from mammo_core.runs.schema import HEADLINE_METRICS

LEAST_FILMS = 10
"""Of the rarest class at a centre; below it a metric that needs every class is noise there and is not shown."""

REPLICATES = 1000


def centre_rows(group: Group) -> list[dict[str, Any]]:
    """The headline metrics of a group at each centre, the mean over runs with an interval over patients and runs.

    Returns
    -------
    list of dict
        ``group, center, films, patients, rarest`` (films of the rarest class there), ``metrics`` {name: as
        :func:`group_interval`}, only the accuracy where ``why`` gives the reason. Empty where no predictions are kept, or they
        name fewer than two centres.
    """
    try:
        repetitions = group.repetitions()
    except DataError:
        return []
    first = repetitions[0][1]
    if "center" not in first.columns or first["center"].nunique() < 2:
        return []
    return [_row(group, repetitions, centre) for centre in sorted(first["center"].unique())]


def _row(group: Group, repetitions: Sequence[tuple[int, pd.DataFrame]], centre: str) -> dict[str, Any]:
    tables = [table[table["center"] == centre] for _, table in repetitions]
    here = tables[0]
    counts = here["y_true"].value_counts().reindex(group.class_names, fill_value=0)
    row: dict[str, Any] = {
        "group": group.name,
        "center": centre or "not recorded",
        "films": len(here),
        "patients": int(here["patient_id"].nunique()),
        "rarest": {"class": str(counts.idxmin()), "films": int(counts.min())},
    }
    resampled = resample_tables(tables, [seed for seed, _ in repetitions], group.class_names, REPLICATES)
    shown = HEADLINE_METRICS if counts.min() >= LEAST_FILMS else ("accuracy",)
    why = "" if shown is HEADLINE_METRICS else f"only {counts.min()} films of {counts.idxmin()} here, {LEAST_FILMS} are needed"
    return row | {"metrics": {name: group_interval(resampled, name) for name in shown}, "why": why}


def split_gap(
    groups: Sequence[Group], resampled: Mapping[str, Resampled], differing: Sequence[str], metric: str
) -> dict[str, Any] | None:
    """How much a metric falls from a split that mixes the centres to one that holds centres out; ``None`` without such a pair.

    Only numbers on the test films speak of transfer: the validation films of a centre holdout come from the training centres.

    Parameters
    ----------
    differing : sequence of str
        Settings other than the split in which the groups differ; any of them may be the true cause of a gap.
    """
    mixed = [group for group in groups if group.split_record.get("scheme") in ("stratified", "kfold")]
    held = [group for group in groups if group.split_record.get("scheme") == "center-holdout"]
    pair = next(((a, b) for a in mixed for b in held if a.name in resampled and b.name in resampled), None)
    if pair is None:
        return None
    a, b = pair
    gap = difference(resampled[a.name], resampled[b.name], metric)
    names = b.split_record.get("holdout") or []
    held_out = ", ".join(map(str, names)) or "not recorded"
    warnings = []
    if b.on == "val":
        warnings.append(
            f"The validation films of {b.name} come from its training centres, so this gap says nothing about the held-out "
            f"centre(s) {held_out}. Compare on the test films."
        )
    if differing:
        warnings.append(f"The two differ in more than the split ({', '.join(differing)}); any of it may be the cause of the gap.")
    shared = set(resampled[a.name].films) & set(resampled[b.name].films)
    if shared and not gap["paired"]:
        warnings.append(f"{len(shared)} films stand in both, so the two numbers are not independent.")
    return {
        "mixed": a.name,
        "held_out": b.name,
        "centers": [str(name) for name in names],
        "metric": metric,
        "gap": gap,
        "warnings": warnings,
    }
