"""A saved split held against what is known about its data set today: copies found and films taken out since."""

from __future__ import annotations

from mammo_core.data.exclusions import read_exclusions
from mammo_core.data.groups import Links
from mammo_core.data.manifest import Dataset
from mammo_core.data.near_pairs import same_pairs
from mammo_core.data.split_files import Split, check_trainable
from mammo_core.data.split_proof import Proof, prove

PATIENTS_GUESSED = ("exam", "each film alone")
"""What stands for patients in a data set that names none."""


def links_of(dataset: Dataset) -> Links:
    """All that the data set knows about films that belong together."""
    return Links(
        pixel_hashes=dataset.pixel_hashes(),
        near_pairs=same_pairs(dataset),
        patients_known=dataset.record.patient_key not in PATIENTS_GUESSED,
    )


def proof_today(split: Split, dataset: Dataset) -> Proof:
    """The proof of a split by what is known about its films now."""
    links = links_of(dataset)
    return prove(split.table, dataset.manifest(), links.pixel_hashes, links.near_pairs, links.patients_known)


def check_against(split: Split, dataset: Dataset, override_reason: str | None = None) -> None:
    """As :func:`mammo_core.data.splits.check_trainable`, with what is known about the data set today.

    Raises
    ------
    SplitError
        It leaks, and neither ``override_reason`` nor the reason saved with the split says why it is used all the same.
    """
    check_trainable(split, override_reason)
    today = split.record.model_copy(update={"proof": proof_today(split, dataset)})
    check_trainable(Split(split.table, today), override_reason)


def changes_since(split: Split, dataset: Dataset) -> list[str]:
    """Sentences on what makes this split out of date; empty where nothing does."""
    told = []
    out = len(set(read_exclusions(dataset)["image_id"]) & set(split.table["image_id"]))
    if out:
        told.append(f"{out} film(s) of this split have been left out of the data set since.")
    today, then = proof_today(split, dataset), split.record.proof
    if today.near_duplicates_shared > then.near_duplicates_shared:
        told.append(f"{today.near_duplicates_shared} pair(s) of films that look identical stand in two parts, as found since.")
    return [*told, "Make a new split."] if told else []
