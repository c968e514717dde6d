"""Who is in training and who in the test: whole patients, balanced by class, with a proof.

The unit is the group: a patient with all exams, breasts and views, joined with any patient who shares an exam with her, or has a
film of identical or (as the audit confirmed) nearly identical pixels. Films that a person excluded stand in no split.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from mammo_core.data.exclusions import count_reasons, films_in_use, read_exclusions
from mammo_core.data.film_facts import with_year
from mammo_core.data.groups import Ints, Links, Pairs, group_films
from mammo_core.data.manifest import Dataset
from mammo_core.data.split_allocation import ALGORITHM
from mammo_core.data.split_dates import cut_by_date, date_columns
from mammo_core.data.split_files import (
    SPLIT_COLUMNS,
    Split,
    SplitRecord,
    check_trainable,
    list_splits,
    load_split,
    read_split,
    save_split,
    write_split,
)
from mammo_core.data.split_folds import number_of_folds, resolve, resolve_split
from mammo_core.data.split_import import complete_table
from mammo_core.data.split_proof import SPLITS, Proof, count_by_place, places, prove, totals_by_place
from mammo_core.data.split_review import changes_since, check_against, links_of
from mammo_core.data.split_schemes import SplitPlan, Texts, form_groups, fractions, parse_ratios, place_by_date, place_groups
from mammo_core.errors import SplitError

__all__ = [
    "SPLITS",
    "SPLIT_COLUMNS",
    "Proof",
    "Split",
    "SplitPlan",
    "SplitRecord",
    "centers_of",
    "changes_since",
    "check_against",
    "check_trainable",
    "date_columns",
    "import_split",
    "leave_one_center_out",
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
    "splittable_films",
    "write_split",
]

FEW_GROUPS = 5
"""A class with fewer patients than this in a part gives a number that means little there."""


MAY_LACK = ("center-holdout", "date")
"""Schemes whose test is given by something else than the classes, so that it may lack one."""


def splittable_films(dataset: Dataset) -> pd.DataFrame:
    """The films that a split places: the manifest without excluded films, with the year of the film where that is known."""
    return with_year(films_in_use(dataset), dataset)


def split_dataset(dataset: Dataset, plan: SplitPlan) -> Split:
    """Split a data set of the workspace by all that is known about it.

    (Nearly) identical films are kept together, and excluded films are left out. See :func:`make_split`.
    """
    split = _make(
        splittable_films(dataset), dataset.class_names, replace(plan, dataset=dataset.name), dataset.ordinal, links_of(dataset)
    )
    return _with_facts(split, dataset)


def leave_one_center_out(dataset: Dataset, plan: SplitPlan) -> dict[str, Split]:
    """Centre -> the split whose test is that centre; all others as :func:`split_dataset` with ``center-holdout``.

    Raises
    ------
    SplitError
        Fewer than two centres are known, or as :func:`make_split`, with the centre in front.
    """
    centers = centers_of(films_in_use(dataset))
    if len(centers) < 2:
        shown = ", ".join(centers) or "none"
        raise SplitError(f"Leaving out each centre in turn needs at least two; the films name {shown}. Choose another way.")
    splits = {}
    for center in centers:
        try:
            splits[center] = split_dataset(dataset, replace(plan, scheme="center-holdout", holdout=(center,)))
        except SplitError as error:
            raise SplitError(f"Without centre {center}: {error}") from error
    return splits


def centers_of(manifest: pd.DataFrame) -> list[str]:
    """The centres that films name, in order."""
    return sorted({center for center in manifest["center"] if center})


def make_split(
    manifest: pd.DataFrame,
    class_names: Sequence[str],
    plan: SplitPlan,
    *,
    ordinal: bool = False,
    pixel_hashes: Mapping[str, str] | None = None,
    near_pairs: Pairs | None = None,
) -> Split:
    """Place every film in train, val or test, and with ``kfold`` also in a fold.

    Deterministic: the same films, plan and seed give the same split, whatever the order of the rows.

    Parameters
    ----------
    manifest : DataFrame
        ``image_id, patient_id, center, label`` at least, text; ``exam_id`` joins patients too.
    class_names : sequence of str
        In label order.
    ordinal : bool
        A patient's label is the commonest of her films (density); otherwise the highest class (the worst lesion).
    pixel_hashes : mapping of image_id to SHA-256 of the decoded pixels
    near_pairs : pairs of image_id that show nearly the same picture

    Raises
    ------
    SplitError
        One patient only, a class without films or with too few patients for the parts, an unknown centre, no centre left to
        train on, no date, or ratios and folds that cannot work.
    """
    return _make(manifest, class_names, plan, ordinal, Links(pixel_hashes=pixel_hashes, near_pairs=near_pairs))


def _make(manifest: pd.DataFrame, class_names: Sequence[str], plan: SplitPlan, ordinal: bool, links: Links) -> Split:
    if not 0 <= plan.seed < 2**32:
        raise SplitError(f"The split seed is {plan.seed}; expected a whole number from 0 to {2**32 - 1}.")
    train, val, test = fractions(plan.ratios)
    hashes, near, cut = links.pixel_hashes or {}, links.near_pairs or (), None
    placed = manifest
    if plan.scheme == "date":
        of_film = pd.factorize(group_films(manifest, hashes, near))[0].astype(np.int64)
        cut = cut_by_date(manifest, of_film, plan.date_column, plan.after, plan.gap_months, test or (train + val) / 4)
        placed = manifest[cut.kept]
    # Of all films: two of a patient may hang together by a film that stands nowhere.
    of_all = group_films(manifest, hashes, near)
    groups = form_groups(placed.assign(patient_id=of_all[placed.index]), list(class_names), ordinal, {})
    if cut is not None:
        split, fold = place_by_date(groups, class_names, cut.test[cut.kept], plan), np.full(len(groups.ids), "", dtype="<U5")
        remarks = [f"{films} film(s) are in no part: {reason}." for reason, films in cut.left_out.items()]
        plan = replace(plan, after=cut.start, date_column=cut.column)
    else:
        split, fold, remarks = place_groups(placed, groups, class_names, plan)
    table = _table(placed, (groups.ids, groups.of_film), split, fold)
    result = _with_record(table, manifest, list(class_names), plan, links)
    _need_classes(result)
    update = {"warnings": remarks + _few(result), "left_out": cut.left_out if cut else {}}
    return Split(table, result.record.model_copy(update=update))


def _table(placed: pd.DataFrame, groups: tuple[list[str], Ints], split: Texts, fold: Texts) -> pd.DataFrame:
    """The rows of ``split.csv`` from the place of each group."""
    ids, of_film = groups
    columns = {
        "image_id": placed["image_id"].to_numpy(),
        "patient_id": placed["patient_id"].to_numpy(),
        "group_id": np.array(ids)[of_film],
        "split": split[of_film],
        "fold": fold[of_film],
    }
    return pd.DataFrame(columns, dtype=str)


def _with_facts(split: Split, dataset: Dataset) -> Split:
    """Add what only the data set knows: its task, how patients were known, and which films a person took out."""
    excluded = count_reasons(read_exclusions(dataset))
    told = [f"{films} film(s) were excluded from the data set: {reason}." for reason, films in excluded.items()]
    facts = {
        "dataset": dataset.name,
        "task": dataset.task,
        "patient_statement": dataset.record.patient_statement,
        "excluded": excluded,
        "warnings": told + split.record.warnings,
    }
    return Split(split.table, split.record.model_copy(update=facts))


def _need_classes(split: Split) -> None:
    """Raise where a class is absent from a part; only the test of a centre holdout or of a date cannot help that."""
    for place, names in split.record.proof.classes_missing.items():
        if not (split.record.scheme in MAY_LACK and place == "test"):
            raise SplitError(
                f"No placement of whole patients brings class {', '.join(names)} into {place.replace('_', ' ')}; its films "
                "belong to too few patients. Add films, join classes at import, or ask for fewer parts."
            )


def _few(split: Split) -> list[str]:
    """Sentences on classes that some part holds too few patients of, and on what a held-out centre lacks."""
    found = []
    why = "the held-out centre has none" if split.record.scheme == "center-holdout" else "no patient of that time has one"
    for place, names in split.record.proof.classes_missing.items():
        found.append(f"The {place} has no film of class {', '.join(names)}: {why}.")
    for place, classes in split.record.class_counts.items():
        few = [f"{name} ({count['patients']})" for name, count in classes.items() if count["patients"] < FEW_GROUPS]
        if few and place != "train":
            found.append(f"Few patients in {place.replace('_', ' ')} for class {', '.join(few)}; numbers on it mean little.")
    return found


def _with_record(
    table: pd.DataFrame, manifest: pd.DataFrame, class_names: list[str], plan: SplitPlan | None, links: Links
) -> Split:
    proof = prove(table, manifest, links.pixel_hashes, links.near_pairs, links.patients_known)
    by_date = plan is not None and plan.scheme == "date"
    record = SplitRecord(
        dataset=plan.dataset if plan else "",
        scheme=plan.scheme if plan else "imported",
        seed=plan.seed if plan else 0,
        ratios=list(fractions(plan.ratios)) if plan else [],
        holdout=sorted(plan.holdout) if plan and plan.scheme == "center-holdout" else [],
        after=plan.after if plan and by_date else "",
        date_column=plan.date_column if plan and by_date else "",
        gap_months=plan.gap_months if plan and by_date else 0,
        folds=number_of_folds(table),
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


def _in_order(counts: dict[str, dict[str, dict[str, int]]], names: list[str]) -> dict[str, dict[str, dict[str, int]]]:
    none = {"films": 0, "patients": 0}
    return {place: {name: values.get(name, none) for name in names} for place, values in counts.items()}


def import_split(table: pd.DataFrame, dataset: Dataset, *, manifest: pd.DataFrame | None = None) -> Split:
    """Take over a split made elsewhere: a table with ``image_id`` and ``split``, and perhaps ``fold`` and ``label``.

    A film may be named by its image_id here, or by its file as it was imported. Patients and groups come from the data set,
    so the proof shows whether the foreign split keeps them together; saving a leaking one needs a reason.

    Raises
    ------
    SplitError
        A needed column is missing, a film is not of the data set, its name fits several, or it stands in two parts.
    """
    manifest = films_in_use(dataset) if manifest is None else manifest
    links = links_of(dataset)
    groups = group_films(manifest, links.pixel_hashes or {}, links.near_pairs or ())
    completed, remarks = complete_table(table, manifest.assign(group_id=groups), dataset)
    split = _with_facts(_with_record(completed, manifest, list(dataset.class_names), None, links), dataset)
    return Split(completed, split.record.model_copy(update={"warnings": split.record.warnings + remarks + _few(split)}))
