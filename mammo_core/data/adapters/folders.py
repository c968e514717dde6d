"""Films sorted into folders that are named after their class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from mammo_core.data.adapters.base import Evidence, ImportChoices, LeftOut, Reading
from mammo_core.data.adapters.labels import MAX_CLASSES
from mammo_core.data.adapters.listing import Listing
from mammo_core.data.adapters.words import plain
from mammo_core.errors import DataError

SPLIT_WORDS = frozenset({"train", "training", "val", "valid", "validation", "test", "testing"})


@dataclass(frozen=True)
class FolderAdapter:
    """Sub-folders named after the class, at one depth: ``Benign/a.png``, or ``train/Benign/a.png``."""

    name: str = "folders"
    title: str = "Folders named after the class"

    def recognises(self, listing: Listing, choices: ImportChoices) -> Evidence | None:
        depth = _class_depth(listing.films)
        if depth is None:
            return None
        names = sorted({_folder_at(name, depth) for name in listing.films} - {""})
        return Evidence(30, f"the films lie in folders named {', '.join(names[:5])}" + (" ..." if len(names) > 5 else ""))

    def read(self, listing: Listing, choices: ImportChoices) -> Reading:
        depth = _class_depth(listing.films)
        if depth is None:
            raise DataError(
                f"The {len(listing.films)} films do not lie in folders named after a class; expected 2 to {MAX_CLASSES} "
                "sub-folders with films, such as 'Benign' and 'Malignant', or a table that names the films."
            )
        inside = [name for name in listing.films if _folder_at(name, depth)]
        outside = [name for name in listing.films if not _folder_at(name, depth)]
        left_out = (LeftOut("the film lies in no class folder", len(outside), tuple(outside[:5])),) if outside else ()
        rows = pd.DataFrame({"file": inside, "label": [_folder_at(name, depth) for name in inside]}, dtype=str)
        warnings = []
        if depth > 0 and {plain(_folder_at(name, depth - 1)) for name in inside} <= SPLIT_WORDS:
            warnings.append("The folders train, val and test are not taken over; make a split that keeps patients together.")
        return Reading(
            rows=rows,
            columns={"file": "file name", "label": "folder name"},
            files_are_found=True,
            left_out=left_out,
            warnings=tuple(warnings),
        )


def _folder_at(name: str, depth: int) -> str:
    folders = name.split("/")[:-1]
    return folders[depth] if depth < len(folders) else ""


def _class_depth(films: Sequence[str]) -> int | None:
    """The first folder depth at which 2 to 20 names stand above nearly all films, folders of a foreign split passed over."""
    for depth in range(4):
        names = [_folder_at(name, depth) for name in films]
        distinct = {name for name in names if name}
        if sum(name != "" for name in names) < 0.9 * len(films):
            return None
        if 2 <= len(distinct) <= MAX_CLASSES and not {plain(name) for name in distinct} <= SPLIT_WORDS:
            return depth
    return None
