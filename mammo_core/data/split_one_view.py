"""The films of one view out of a split, for a model that learns from that view alone."""

from __future__ import annotations

import pandas as pd

from mammo_core.data.exclusions import read_exclusions
from mammo_core.data.manifest import Dataset
from mammo_core.data.split_files import Split
from mammo_core.data.split_proof import count_by_place, places, totals_by_place
from mammo_core.data.split_review import proof_today
from mammo_core.errors import SplitError

NOBODY = {"films": 0, "patients": 0}


def normal_view(view: str) -> str:
    """A view as it is compared: ``" cc"`` is ``CC``."""
    return view.strip().upper()


def is_of_view(manifest: pd.DataFrame, view: str) -> pd.Series[bool]:
    """Which films of a manifest are of the view, whatever its case; a film without a view is of none."""
    return manifest["view"].map(normal_view) == normal_view(view)


def views_there(manifest: pd.DataFrame) -> str:
    """``CC (120), MLO (118), unknown (2)``: views and their films, the commonest first."""
    counts = manifest["view"].map(normal_view).replace("", "unknown").value_counts()
    return ", ".join(f"{view} ({count})" for view, count in counts.items())


def of_one_view(split: Split, dataset: Dataset, view: str) -> Split:
    """The split without the films of other views; its counts and proof are those of the films that stay.

    Patients and groups are still joined by all that is known, films of other views included. The other films are counted under
    ``left_out``.

    Raises
    ------
    SplitError
        A part or fold has no film of the view, or training or validation lacks a class that it has with all views.
    """
    view, manifest = normal_view(view), dataset.manifest()
    films = set(manifest.loc[is_of_view(manifest, view), "image_id"])
    table = split.table[split.table["image_id"].isin(films)].reset_index(drop=True)
    _check_parts(split, table, manifest, view)
    proof = proof_today(Split(table, split.record), dataset)
    unplaced = films - set(read_exclusions(dataset)["image_id"]) - set(table["image_id"])
    proof = proof.model_copy(update={"films_unplaced": len(unplaced)})
    _check_classes(split, proof.classes_missing, view)
    record, other = split.record, len(split.table) - len(table)
    names = record.class_names or list(dataset.class_names)
    counted = count_by_place(table, manifest, "label")
    update = {
        "view": view,
        "left_out": record.left_out | ({f"not of the view {view}": other} if other else {}),
        "counts": totals_by_place(table),
        "class_counts": {place: {name: values.get(name, NOBODY) for name in names} for place, values in counted.items()},
        "center_counts": count_by_place(table, manifest, "center"),
        "proof": proof,
        "proof_text": proof.text,
    }
    return Split(table, record.model_copy(update=update))


def _check_parts(split: Split, table: pd.DataFrame, manifest: pd.DataFrame, view: str) -> None:
    there = set(places(table))
    empty = [place for place in dict.fromkeys(places(split.table)) if place not in there]
    if empty:
        in_split = manifest[manifest["image_id"].isin(split.table["image_id"])]
        parts = ", ".join(sorted(empty)).replace("_", " ")
        raise SplitError(
            f"The split {split.name!r} has no film of the view {view} in {parts}; expected one of the views that its films have: "
            f"{views_there(in_split)}."
        )


def _check_classes(split: Split, missing: dict[str, list[str]], view: str) -> None:
    for place, names in missing.items():
        lost = [name for name in names if name not in split.record.proof.classes_missing.get(place, [])]
        if lost and place != "test":
            raise SplitError(
                f"With films of the view {view} only, the split {split.name!r} has no film of class {', '.join(lost)} in "
                f"{place.replace('_', ' ')}; expected each class. Train on all views, or make another split."
            )
