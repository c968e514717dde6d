"""Numbers centre by centre, and the gap between a split that mixes the centres and one that holds some of them out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from mammo_core.analysis.groups import Group, Repetition
from mammo_core.analysis.resampling import Resampled, difference, group_interval, resample_passes
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
        :func:`group_interval`}, only the accuracy where ``why`` gives the reason. Empty where the predictions name fewer than
        two centres.

    Raises
    ------
    DataError
        The group cannot be resampled.
    """
    passes = group.repetitions()
    films = pd.concat(passes[0].tables, ignore_index=True)
    if "center" not in films.columns or films["center"].nunique() < 2:
        return []
    return [_row(group, passes, centre, films[films["center"] == centre]) for centre in sorted(films["center"].unique())]


def _row(group: Group, passes: Sequence[Repetition], centre: str, here: pd.DataFrame) -> dict[str, Any]:
    joined = [pd.concat(one.tables, ignore_index=True) for one in passes]  # at one centre a fold has too few films by itself
    at_centre = [
        replace(one, tables=(table[table["image_id"].isin(here["image_id"])],)) for one, table in zip(passes, joined, strict=True)
    ]
    counts = here["y_true"].value_counts().reindex(group.class_names, fill_value=0)
    row: dict[str, Any] = {
        "group": group.name,
        "center": centre or "not recorded",
        "films": len(here),
        "patients": int(here["patient_id"].nunique()),
        "rarest": {"class": str(counts.idxmin()), "films": int(counts.min())},
    }
    resampled = resample_passes(at_centre, group.class_names, REPLICATES)
    shown = HEADLINE_METRICS if counts.min() >= LEAST_FILMS else ("accuracy",)
    why = "" if shown is HEADLINE_METRICS else f"only {counts.min()} films of {counts.idxmin()} here, {LEAST_FILMS} are needed"
    return row | {"metrics": {name: group_interval(resampled, name) for name in shown}, "why": why}


def split_gaps(
    groups: Sequence[Group], resampled: Mapping[str, Resampled], differing: Sequence[str], metric: str
) -> list[dict[str, Any]]:
    """How much a metric falls from a split that mixes the centres to one that holds centres out, for every such pair.

    Only numbers on the test films speak of transfer: the validation films of a centre holdout come from the training centres.

    Parameters
    ----------
    differing : sequence of str
        Settings other than the split in which the groups differ; any of them may be the true cause of a gap.
    """
    usable = [group for group in groups if group.name in resampled and metric in resampled[group.name].values]
    mixed = [group for group in usable if group.split_record.get("scheme") in ("stratified", "kfold")]
    held = [group for group in usable if group.split_record.get("scheme") == "center-holdout"]
    pairs = [(a, b) for a in mixed for b in held if a.class_names == b.class_names]
    return [_gap(a, b, resampled, differing, metric) for a, b in pairs]


def _gap(a: Group, b: Group, resampled: Mapping[str, Resampled], differing: Sequence[str], metric: str) -> dict[str, Any]:
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
        warnings.append(
            f"{a.name} and {b.name} may differ in more than the split ({', '.join(differing)}); any of it may be the cause."
        )
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
