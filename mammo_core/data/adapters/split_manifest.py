"""A table of three columns, ``image_id,split,label``: labels, and a split made elsewhere that is taken over as it is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from mammo_core.data.adapters.base import Evidence, ImportChoices, Reading
from mammo_core.data.adapters.cells import each, translated
from mammo_core.data.adapters.known import one_table, tables_with
from mammo_core.data.adapters.listing import Listing
from mammo_core.data.adapters.tables import TableAdapter
from mammo_core.data.adapters.words import plain

COLUMNS = ("image_id", "split", "label")
SPLIT_WORDS = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val", "test": "test",
    "testing": "test",
}  # fmt: skip


@dataclass(frozen=True)
class SplitManifestAdapter:
    """Exactly these columns; a table that has more of them is read as any other table."""

    name: str = "split-manifest"
    title: str = "Films with a split made elsewhere (image_id, split, label)"

    def recognises(self, listing: Listing, choices: ImportChoices) -> Evidence | None:
        tables = self._tables(listing, choices)
        return Evidence(70, f"{tables[0].name} has exactly the columns {', '.join(COLUMNS)}") if tables else None

    def read(self, listing: Listing, choices: ImportChoices) -> Reading:
        table = (self._tables(listing, choices) or [one_table(listing, COLUMNS, choices, self.title)])[0]
        reading = TableAdapter().read(listing, replace(choices, table=table.name))
        words = each(reading.rows["split"], plain)
        rows = reading.rows.assign(source_split=translated(words, SPLIT_WORDS)).drop(columns="split")
        parts = rows.assign(part=rows["source_split"])
        twice = int((parts[parts["part"] != ""].groupby("file")["part"].nunique() > 1).sum())
        strange = sorted(set(words) - set(SPLIT_WORDS))
        warnings = list(reading.warnings)
        if twice:
            warnings.append(f"{twice} film(s) are listed in more than one part of the split; the first row counts.")
        if strange:
            named = ", ".join(map(repr, strange[:5]))
            warnings.append(f"The split column also holds {named}; these films are imported, but stand in no part.")
        return replace(
            reading,
            rows=rows,
            brings_split=True,
            warnings=tuple(warnings),
            notes=("The split of the table is taken over as it is and checked; training refuses it if patients are shared.",),
        )

    def _tables(self, listing: Listing, choices: ImportChoices) -> list[Path]:
        exact = {frozenset(COLUMNS)}
        return [
            path
            for path in tables_with(listing, COLUMNS, choices)
            if frozenset(plain(column) for column in listing.columns(path)) in exact
        ]
