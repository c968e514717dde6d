"""The pairs of nearly identical films that an audit found, as a file, and what a person decided about them."""

from __future__ import annotations

import pandas as pd

from mammo_core.data.manifest import Dataset
from mammo_core.errors import CorruptRunFile, DataError
from mammo_core.reading import read_text_table
from mammo_core.storage import lock_of, write_table

NEAR_FILE = "near_duplicates.csv"
NEAR_COLUMNS = ("image_id", "other_id", "distance", "correlation", "confirmed", "decision")
DECISIONS = ("", "same", "different")


def read_near(dataset: Dataset) -> pd.DataFrame | None:
    """:data:`NEAR_COLUMNS`, all text, one row a pair; ``None`` where nobody has searched.

    Raises
    ------
    DataError
        The file is there and cannot be used.
    """
    try:
        table = read_text_table(dataset.directory / NEAR_FILE)
    except FileNotFoundError:
        return None
    except CorruptRunFile as error:
        raise DataError(str(error)) from error
    missing = [column for column in NEAR_COLUMNS if column not in table.columns]
    if missing:
        raise DataError(f"{dataset.name}/{NEAR_FILE} lacks the column(s) {', '.join(missing)}; run the audit again.")
    return table[list(NEAR_COLUMNS)]


def write_near(dataset: Dataset, rows: list[dict[str, str]]) -> pd.DataFrame:
    """Write the pairs of a search. What a person decided about a pair before stays."""
    with lock_of(dataset.directory / ".near.lock"):
        before = read_near(dataset)
        decided: dict[tuple[str, str], str] = {}
        if before is not None:
            decided = {(one, other): choice for one, other, choice in before[["image_id", "other_id", "decision"]].to_numpy()}
        table = pd.DataFrame(rows, columns=list(NEAR_COLUMNS[:-1]), dtype=str)
        table["decision"] = [decided.get(pair, "") for pair in zip(table["image_id"], table["other_id"], strict=True)]
        write_table(dataset.directory / NEAR_FILE, table)
    return table


def decide(dataset: Dataset, image_id: str, other_id: str, decision: str) -> None:
    """Note what a person saw: the ``same`` picture, ``different`` films, or nothing (``""``) to let the correlation count.

    Raises
    ------
    DataError
        No such pair, or no such decision.
    """
    if decision not in DECISIONS:
        raise DataError(f"The decision is {decision!r}; expected same, different or nothing.")
    with lock_of(dataset.directory / ".near.lock"):
        table = read_near(dataset)
        chosen = None if table is None else (table["image_id"] == image_id) & (table["other_id"] == other_id)
        if table is None or chosen is None or not chosen.any():
            raise DataError(f"The audit of {dataset.name!r} lists no such pair of films; run the audit again.")
        table.loc[chosen, "decision"] = decision
        write_table(dataset.directory / NEAR_FILE, table)


def same_pairs(dataset: Dataset) -> list[tuple[str, str]] | None:
    """Pairs that count as the same picture: confirmed and not denied by a person, or named so by one. ``None``: not searched."""
    table = read_near(dataset)
    if table is None:
        return None
    same = _same(table)
    return list(zip(table.loc[same, "image_id"], table.loc[same, "other_id"], strict=True))


def count_pairs(dataset: Dataset, manifest: pd.DataFrame) -> dict[str, int]:
    """``confirmed`` pairs among the films of ``manifest``, those ``across_patients``, those with ``label_conflicts``, and those
    that are only ``alike`` and undecided."""
    table = read_near(dataset)
    if table is None:
        return {"confirmed": 0, "across_patients": 0, "label_conflicts": 0, "alike": 0}
    known = set(manifest["image_id"])
    table = table[table["image_id"].isin(known) & table["other_id"].isin(known)]
    facts = manifest.set_index("image_id")
    patient, label = facts["patient_id"].to_dict(), facts["label"].to_dict()
    same = table[_same(table)]
    pairs = list(zip(same["image_id"], same["other_id"], strict=True))
    return {
        "confirmed": len(pairs),
        "across_patients": sum(patient[one] != patient[other] for one, other in pairs),
        "label_conflicts": sum(label[one] != label[other] for one, other in pairs),
        "alike": int(((table["confirmed"] == "no") & (table["decision"] == "")).sum()),
    }


def _same(table: pd.DataFrame) -> pd.Series[bool]:
    return (table["decision"] == "same") | ((table["confirmed"] == "yes") & (table["decision"] != "different"))
