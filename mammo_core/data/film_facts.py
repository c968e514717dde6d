"""What each film's file says about itself, one row a film: the table that the shortcut test and the audit read.

Only facts about the picture and the machine; nothing that could name a person, and of the date only the year.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from mammo_core.data.manifest import Dataset
from mammo_core.errors import CorruptRunFile, DataError
from mammo_core.reading import read_text_table
from mammo_core.storage import write_table

if TYPE_CHECKING:
    from mammo_core.data.film import FilmFacts

FACTS_FILE = "film_facts.csv"
FACT_COLUMNS = (
    "image_id", "kind", "height", "width", "bits", "window", "turned_over", "photometric", "transfer_syntax", "modality",
    "image_type", "presentation_intent", "spacing_mm", "vendor", "model", "year", "burned_in",
)  # fmt: skip


def facts_row(image_id: str, facts: FilmFacts) -> dict[str, str]:
    """One row of ``film_facts.csv``; empty where the file does not say."""
    spacing = facts.pixel_spacing_mm
    year = (facts.study_date or "")[:4]
    row = {
        "image_id": image_id,
        "kind": facts.kind,
        "height": facts.height,
        "width": facts.width,
        "bits": facts.bits,
        "window": facts.window,
        "turned_over": "yes" if facts.inverted else "no",
        "photometric": facts.photometric,
        "transfer_syntax": facts.transfer_syntax,
        "modality": facts.modality,
        "image_type": facts.image_type,
        "presentation_intent": facts.presentation_intent,
        "spacing_mm": f"{spacing[0]:.4f}" if spacing else "",
        "vendor": facts.vendor,
        "model": facts.model,
        "year": year if len(year) == 4 and year.isdecimal() else "",
        "burned_in": facts.burned_in_annotation,
    }
    return {name: "" if value is None else str(value) for name, value in row.items()}


def write_facts(directory: Path, rows: list[dict[str, str]]) -> pd.DataFrame:
    """Write ``film_facts.csv`` into the folder of a data set, sorted by ``image_id``."""
    table = pd.DataFrame(rows, columns=list(FACT_COLUMNS), dtype=str).sort_values("image_id", ignore_index=True)
    write_table(directory / FACTS_FILE, table)
    return table


def read_facts(dataset: Dataset) -> pd.DataFrame | None:
    """:data:`FACT_COLUMNS`, all text; ``None`` where no audit has read the films yet.

    Raises
    ------
    DataError
        The file is there and not readable.
    """
    try:
        table = read_text_table(dataset.directory / FACTS_FILE)
    except FileNotFoundError:
        return None
    except CorruptRunFile as error:
        raise DataError(str(error)) from error
    return table.reindex(columns=list(FACT_COLUMNS), fill_value="")


def with_year(manifest: pd.DataFrame, dataset: Dataset) -> pd.DataFrame:
    """The manifest with the column ``year`` where the table had none and the films' headers state it."""
    if "year" in manifest.columns and (manifest["year"] != "").any():
        return manifest
    facts = read_facts(dataset)
    if facts is None or not (facts["year"] != "").any():
        return manifest
    return manifest.assign(year=manifest["image_id"].map(facts.set_index("image_id")["year"]).fillna(""))
