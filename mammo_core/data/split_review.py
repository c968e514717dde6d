"""A saved split held against what is known about its data set today: copies found and films taken out since."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from mammo_core.data.exclusions import EXCLUSIONS_FILE, read_exclusions
from mammo_core.data.groups import Links
from mammo_core.data.manifest import MANIFEST_FILE, PATHS_FILE, Dataset
from mammo_core.data.near_pairs import NEAR_FILE, same_pairs
from mammo_core.data.split_files import Split, check_trainable, leaks_in
from mammo_core.data.split_proof import Proof, prove

PATIENTS_GUESSED = ("exam", "each film alone")
"""What stands for patients in a data set that names none."""
PROOF_FILES = (MANIFEST_FILE, PATHS_FILE, NEAR_FILE, EXCLUSIONS_FILE)
"""What a proof is made from, beside the split."""


def links_of(dataset: Dataset) -> Links:
    """All that the data set knows about films that belong together."""
    return Links(
        pixel_hashes=dataset.pixel_hashes(),
        near_pairs=same_pairs(dataset),
        patients_known=dataset.record.patient_key not in PATIENTS_GUESSED,
    )


@dataclass(frozen=True)
class _Question:
    """What a proof depends on; two with the same ``key`` have the same answer."""

    key: tuple[object, ...]
    split: Split = field(compare=False)
    dataset: Dataset = field(compare=False)


def proof_today(split: Split, dataset: Dataset) -> Proof:
    """The proof of a split by what is known about its films now; kept until a file of the data set changes.

    Films that had been taken out before the split was made join nobody. A data set without ``paths.csv`` has no pixel hashes:
    its duplicates are then told as unchecked.
    """
    rows = pd.util.hash_pandas_object(split.table, index=False).to_numpy().tobytes()
    stamps = tuple(_stamp(dataset.directory / name) for name in PROOF_FILES)
    key = (hashlib.sha256(rows).digest(), dataset.directory, dataset.record.patient_key, *stamps)
    return _prove(_Question(key, split, dataset))


@functools.lru_cache(maxsize=4)
def _prove(question: _Question) -> Proof:
    table, dataset = question.split.table, question.dataset
    manifest, out = dataset.manifest(), set(read_exclusions(dataset)["image_id"])
    counted = manifest[~manifest["image_id"].isin(out - set(table["image_id"]))].reset_index(drop=True)
    has_hashes = (dataset.directory / PATHS_FILE).exists()
    hashes = dataset.pixel_hashes() if has_hashes else None
    return prove(table, counted, hashes, same_pairs(dataset), dataset.record.patient_key not in PATIENTS_GUESSED)


def _stamp(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except FileNotFoundError:
        return ()
    return (found.st_mtime_ns, found.st_size, found.st_ino)


def as_of_today(split: Split, dataset: Dataset) -> Split:
    """The split with the worse of two proofs: the one saved with it, or where only that of today shows a leak, today's."""
    if leaks_in(split):
        return split
    proof = proof_today(split, dataset)
    if not proof.leaks:
        return split
    return Split(split.table, split.record.model_copy(update={"proof": proof, "proof_text": proof.text}))


def check_against(split: Split, dataset: Dataset, override_reason: str | None = None) -> None:
    """As :func:`mammo_core.data.splits.check_trainable`, with what is known about the data set today.

    Raises
    ------
    SplitError
        It leaks, and neither ``override_reason`` nor the reason saved with the split says why it is used all the same.
    """
    check_trainable(as_of_today(split, dataset), override_reason)


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
