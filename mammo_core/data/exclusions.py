"""Films that a person took out of a data set after looking at them: who is out, why and since when. It can be undone.

The manifest keeps these films, so that nothing is lost; splits leave them out, and say so.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime

import pandas as pd

from mammo_core.data.manifest import Dataset
from mammo_core.errors import CorruptRunFile, DataError
from mammo_core.reading import read_text_table
from mammo_core.storage import lock_of, write_table

EXCLUSIONS_FILE = "exclusions.csv"
EXCLUSION_COLUMNS = ("image_id", "reason", "excluded_at")
MAX_REASON = 200
"""Characters: the reason stands in every report."""


def read_exclusions(dataset: Dataset) -> pd.DataFrame:
    """:data:`EXCLUSION_COLUMNS`, all text, one row a film, in the order of exclusion; empty where nothing is excluded.

    Raises
    ------
    DataError
        The file is there and cannot be used. Films that were taken out must not come back by a damaged file.
    """
    try:
        table = read_text_table(dataset.directory / EXCLUSIONS_FILE)
    except FileNotFoundError:
        return pd.DataFrame(columns=list(EXCLUSION_COLUMNS), dtype=str)
    except CorruptRunFile as error:
        raise DataError(str(error)) from error
    missing = [column for column in EXCLUSION_COLUMNS if column not in table.columns]
    if missing:
        raise DataError(
            f"{dataset.name}/{EXCLUSIONS_FILE} lacks the column(s) {', '.join(missing)}; restore the file, or delete it to take "
            "all films back."
        )
    return table[list(EXCLUSION_COLUMNS)]


def exclude(dataset: Dataset, image_ids: Collection[str], reason: str) -> pd.DataFrame:
    """Take films out of every split made from now on; returns all exclusions. A film already out keeps its first reason.

    Raises
    ------
    DataError
        No reason, a film that the data set does not have, or no film would be left.
    """
    reason = " ".join(reason.split())[:MAX_REASON]
    if not reason:
        raise DataError("No reason was given for leaving films out; expected a few words, which every split repeats.")
    known = set(dataset.manifest()["image_id"])
    unknown = [image for image in image_ids if image not in known]
    if unknown:
        raise DataError(f"The data set {dataset.name!r} has no film {unknown[0]!r}; expected an image_id of its manifest.")
    with lock_of(dataset.directory / ".exclusions.lock"):
        table = read_exclusions(dataset)
        out = set(table["image_id"])
        new = [image for image in dict.fromkeys(image_ids) if image not in out]
        if known <= out | set(new):
            raise DataError(f"That would leave no film in {dataset.name!r}; expected at least one to stay.")
        now = datetime.now(UTC).isoformat(timespec="seconds")
        added = pd.DataFrame([(image, reason, now) for image in new], columns=list(EXCLUSION_COLUMNS), dtype=str)
        table = pd.concat([table, added], ignore_index=True)
        write_table(dataset.directory / EXCLUSIONS_FILE, table)
    return table


def take_back(dataset: Dataset, image_ids: Collection[str]) -> pd.DataFrame:
    """Undo the exclusion of films; returns what stays excluded. Films that are not excluded are no error."""
    with lock_of(dataset.directory / ".exclusions.lock"):
        table = read_exclusions(dataset)
        kept = table[~table["image_id"].isin(set(image_ids))].reset_index(drop=True)
        if len(kept) < len(table):
            write_table(dataset.directory / EXCLUSIONS_FILE, kept)
    return kept


def films_in_use(dataset: Dataset) -> pd.DataFrame:
    """The manifest without the excluded films."""
    manifest, out = dataset.manifest(), read_exclusions(dataset)
    return manifest[~manifest["image_id"].isin(set(out["image_id"]))].reset_index(drop=True)


def count_reasons(exclusions: pd.DataFrame) -> dict[str, int]:
    """Reason -> films, the commonest first."""
    return {str(reason): int(films) for reason, films in exclusions["reason"].value_counts().items()}
