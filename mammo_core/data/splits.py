"""Who is in training and who in the test: whole patients, balanced by class, with a proof.

The unit is the group: a patient with all exams, breasts and views, joined with any patient who has a film of identical pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from mammo_core.data.manifest import Dataset
from mammo_core.data.split_allocation import ALGORITHM
from mammo_core.data.split_files import (
    SPLIT_COLUMNS,
    Split,
    SplitRecord,
    check_table,
    check_trainable,
    list_splits,
    load_split,
    read_split,
    save_split,
    write_split,
)
from mammo_core.data.split_proof import SPLITS, Proof, count_by_place, group_films, places, prove, totals_by_place
from mammo_core.data.split_schemes import SplitPlan, form_groups, fractions, parse_ratios, place_groups
from mammo_core.errors import SplitError

__all__ = [
    "SPLITS",
    "SPLIT_COLUMNS",
    "Proof",
    "Split",
    "SplitPlan",
    "SplitRecord",
    "check_trainable",
    "import_split",
    "list_splits",
    "load_split",
    "make_split",
    "parse_ratios",
    "places",
    "prove",
    "read_split",
    "resolve",
    "resolve_split",
    "save_split",
    "split_dataset",
    "write_split",
]

FEW_GROUPS = 5
"""A class with fewer patients than this in a part gives a number that means little there."""


def split_dataset(dataset: Dataset, plan: SplitPlan) -> Split:
    """Split a data set of the workspace; identical films are kept together by their pixel hashes. See :func:`make_split`."""
    split = make_split(
        dataset.manifest(),
        dataset.class_names,
        replace(plan, dataset=dataset.name),
        ordinal=dataset.ordinal,
        pixel_hashes=dataset.pixel_hashes(),
    )
    facts = {"task": dataset.task, "patient_statement": dataset.record.patient_statement}
    return Split(split.table, split.record.model_copy(update=facts))


def make_split(
    manifest: pd.DataFrame,
    class_names: Sequence[str],
    plan: SplitPlan,
    *,
    ordinal: bool = False,
    pixel_hashes: Mapping[str, str] | None = None,
) -> Split:
    """Place every film in train, val or test, and with ``kfold`` also in a fold.

    Deterministic: the same films, plan and seed give the same split, whatever the order of the rows.

    Parameters
    ----------
    manifest : DataFrame
        ``image_id, patient_id, center, label`` at least, text.
    class_names : sequence of str
        In label order.
    ordinal : bool
        A patient's label is the commonest of her films (density); otherwise the highest class (the worst lesion).
    pixel_hashes : mapping of image_id to SHA-256 of the decoded pixels

    Raises
    ------
    SplitError
        One patient only, a class without films or with too few patients for the parts, an unknown centre, no centre left to
        train on, or ratios and folds that cannot work.
    """
    if not 0 <= plan.seed < 2**32:
        raise SplitError(f"The split seed is {plan.seed}; expected a whole number from 0 to {2**32 - 1}.")
    fractions(plan.ratios)
    groups = form_groups(manifest, list(class_names), ordinal, pixel_hashes or {})
    split, fold, remarks = place_groups(manifest, groups, class_names, plan)
    table = pd.DataFrame(
        {
            "image_id": manifest["image_id"].to_numpy(),
            "patient_id": manifest["patient_id"].to_numpy(),
            "group_id": np.array(groups.ids)[groups.of_film],
            "split": split[groups.of_film],
            "fold": fold[groups.of_film],
        },
        dtype=str,
    )
    result = _with_record(table, manifest, list(class_names), plan, pixel_hashes)
    _need_classes(result)
    return Split(table, result.record.model_copy(update={"warnings": remarks + _few(result)}))


def _need_classes(split: Split) -> None:
    """Raise where a class is absent from a part; only the test of a centre holdout cannot help that."""
    for place, names in split.record.proof.classes_missing.items():
        if not (split.record.scheme == "center-holdout" and place == "test"):
            raise SplitError(
                f"No placement of whole patients brings class {', '.join(names)} into {place.replace('_', ' ')}; its films "
                "belong to too few patients. Add films, join classes at import, or ask for fewer parts."
            )


def _few(split: Split) -> list[str]:
    """Sentences on classes that some part holds too few patients of, and on what a held-out centre lacks."""
    found = []
    for place, names in split.record.proof.classes_missing.items():
        found.append(f"The {place} has no film of class {', '.join(names)}: the held-out centre has none.")
    for place, classes in split.record.class_counts.items():
        few = [f"{name} ({count['patients']})" for name, count in classes.items() if count["patients"] < FEW_GROUPS]
        if few and place != "train":
            found.append(f"Few patients in {place.replace('_', ' ')} for class {', '.join(few)}; numbers on it mean little.")
    return found


def _with_record(
    table: pd.DataFrame,
    manifest: pd.DataFrame,
    class_names: list[str],
    plan: SplitPlan | None,
    pixel_hashes: Mapping[str, str] | None,
) -> Split:
    proof = prove(table, manifest, pixel_hashes)
    record = SplitRecord(
        dataset=plan.dataset if plan else "",
        scheme=plan.scheme if plan else "imported",
        seed=plan.seed if plan else 0,
        ratios=list(fractions(plan.ratios)) if plan else [],
        holdout=sorted(plan.holdout) if plan and plan.scheme == "center-holdout" else [],
        folds=_number_of_folds(table),
        class_names=class_names,
        counts=totals_by_place(table),
        class_counts=_in_order(count_by_place(table, manifest, "label"), class_names),
        center_counts=count_by_place(table, manifest, "center"),
        proof=proof,
        proof_text=proof.text,
        algorithm=ALGORITHM if plan else "imported",
        versions={"numpy": np.__version__, "pandas": pd.__version__},
    )
    return Split(table, record)


def _number_of_folds(table: pd.DataFrame) -> int | None:
    folds = {int(fold) for fold in table["fold"] if fold}
    return max(folds) if folds else None


def _in_order(counts: dict[str, dict[str, dict[str, int]]], names: list[str]) -> dict[str, dict[str, dict[str, int]]]:
    none = {"films": 0, "patients": 0}
    return {place: {name: values.get(name, none) for name in names} for place, values in counts.items()}


def import_split(table: pd.DataFrame, dataset: Dataset, *, manifest: pd.DataFrame | None = None) -> Split:
    """Take over a split made elsewhere: a table with ``image_id`` and ``split``, and perhaps ``fold``.

    Patients and groups come from the data set, so the proof shows whether the foreign split keeps them together; saving a
    leaking one needs a reason.

    Raises
    ------
    SplitError
        A needed column is missing, or a film is not of the data set.
    """
    manifest = dataset.manifest() if manifest is None else manifest
    missing = [column for column in ("image_id", "split") if column not in table.columns]
    if missing:
        raise SplitError(f"The table lacks the column(s) {', '.join(missing)}; its columns are {', '.join(table.columns)}.")
    hashes = dataset.pixel_hashes()
    facts = manifest.assign(group_id=group_films(manifest, hashes)).set_index("image_id")
    unknown = int((~table["image_id"].isin(facts.index)).sum())
    if unknown:
        raise SplitError(
            f"{unknown} of {len(table)} films of the table are not in the data set {dataset.name!r}; use its image_id."
        )
    completed = pd.DataFrame(
        {
            "image_id": table["image_id"],
            "patient_id": table["image_id"].map(facts["patient_id"]),
            "group_id": table["image_id"].map(facts["group_id"]),
            "split": table["split"].str.strip().str.lower(),
            "fold": table["fold"].str.strip() if "fold" in table.columns else "",
        },
        dtype=str,
    )
    check_table(completed, "The table")
    split = _with_record(completed, manifest, list(dataset.class_names), None, hashes)
    facts_of_set = {
        "dataset": dataset.name, "task": dataset.task, "patient_statement": dataset.record.patient_statement
    }  # fmt: skip
    return Split(completed, split.record.model_copy(update=facts_of_set))


# ---- what one run uses --------------------------------------------------------------------------------------------------


def resolve(table: pd.DataFrame, fold: int | None = None) -> pd.DataFrame:
    """The split that one run trains on: with folds, fold ``fold`` becomes ``val`` and the others ``train``.

    Raises
    ------
    SplitError
        The table has folds and none (or an unknown one) is chosen, or has none and one is chosen.
    """
    folds = _number_of_folds(table)
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
