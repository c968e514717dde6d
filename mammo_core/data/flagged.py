"""What of an audit is still open: pairs and films to look at, without those that a person has dealt with since."""

from __future__ import annotations

from typing import Any

import pandas as pd

from mammo_core.data.audit import identical_sets
from mammo_core.data.exclusions import films_in_use, read_exclusions
from mammo_core.data.manifest import Dataset
from mammo_core.data.near_pairs import count_pairs, read_near

PAIR_COLUMNS = (
    "image_id", "other_id", "kind", "correlation", "label", "other_label", "same_patient", "same_label", "decision", "excluded",
)  # fmt: skip
KINDS = ("same pixels", "same picture", "alike")
"""Identical pixels; confirmed by correlation; only similar, from which nothing follows."""


def audit_now(dataset: Dataset) -> dict[str, Any]:
    """The content of ``audit.json`` as it stands after exclusions and decisions about pairs; empty where there is none."""
    audit = dataset.audit()
    out = set(read_exclusions(dataset)["image_id"])
    if "identical_sets" in audit and out:
        sets = identical_sets(films_in_use(dataset), dataset.paths())
        conflicts = sum(len(item["labels"]) > 1 for item in sets)
        audit = {**audit, "identical_sets": sets, "identical_with_different_labels": conflicts}
    if "flags" in audit and out:
        audit = {**audit, "flags": {name: _without(flag, out) for name, flag in audit["flags"].items()}}
    near = audit.get("near_duplicates")
    return {**audit, "near_duplicates": {**near, **count_pairs(dataset, films_in_use(dataset))}} if near else audit


def _without(flag: dict[str, Any], out: set[str]) -> dict[str, Any]:
    kept = [image for image in flag["image_ids"] if image not in out]
    return {"films": flag["films"] - len(flag["image_ids"]) + len(kept), "image_ids": kept}


def flagged_pairs(dataset: Dataset) -> pd.DataFrame:
    """:data:`PAIR_COLUMNS`, one row a pair; of a set of identical films each film beside the first one.

    First come pairs with different labels, then those of different patients; within these in the order of :data:`KINDS`.
    ``correlation`` is 1 for identical pixels, ``excluded`` the films (none, one, both) that are out already.
    """
    manifest = dataset.manifest()
    facts = {row["image_id"]: row for row in manifest[["image_id", "patient_id", "label"]].to_dict("records")}
    out = set(read_exclusions(dataset)["image_id"])
    rows = [
        _pair(facts[item["films"][0]], facts[other], "same pixels", 1.0)
        for item in identical_sets(manifest, dataset.paths())
        for other in item["films"][1:]
    ]
    near = read_near(dataset)
    for row in [] if near is None else near.to_dict("records"):
        if row["image_id"] in facts and row["other_id"] in facts:
            kind = "same picture" if row["confirmed"] == "yes" else "alike"
            pair = _pair(facts[row["image_id"]], facts[row["other_id"]], kind, float(row["correlation"]))
            rows.append({**pair, "decision": row["decision"]})
    table = pd.DataFrame(rows, columns=list(PAIR_COLUMNS))
    table["excluded"] = [sum(image in out for image in pair) for pair in zip(table["image_id"], table["other_id"], strict=True)]
    rank = table["kind"].map(KINDS.index)
    order = pd.DataFrame({"out": table["excluded"] > 0, "label": table["same_label"], "who": table["same_patient"], "kind": rank})
    order["far"] = -table["correlation"].astype(float)
    return table.loc[order.sort_values(list(order.columns), kind="stable").index].reset_index(drop=True)


def _pair(one: dict[Any, Any], other: dict[Any, Any], kind: str, correlation: float) -> dict[str, Any]:
    return {
        "image_id": one["image_id"],
        "other_id": other["image_id"],
        "kind": kind,
        "correlation": correlation,
        "label": one["label"],
        "other_label": other["label"],
        "same_patient": one["patient_id"] == other["patient_id"],
        "same_label": one["label"] == other["label"],
        "decision": "",
        "excluded": 0,
    }
