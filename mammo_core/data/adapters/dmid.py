"""DMID: ``Metadata.xlsx`` with thirty rows of prose above columns without names, films ``IMG001``, outlines in ``ROI_Masks``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from mammo_core.data.adapters.base import Evidence, ImportChoices, Reading
from mammo_core.data.adapters.known import KNOWN_SET, LabelChoice, find_films, settle
from mammo_core.data.adapters.listing import Listing
from mammo_core.data.adapters.table_files import EXCEL_SUFFIXES, read_cells
from mammo_core.errors import DataError

IMAGE = re.compile(r"IMG\d{3,}", re.IGNORECASE)
VIEW = re.compile(r"(CC|MLO)(RT|LT)", re.IGNORECASE)
"""View with the side behind it: looking for the first L or R would find the L of MLO."""
NAMES = ("image", "view_and_side", "density", "abnormality", "class")


@dataclass(frozen=True)
class DmidAdapter:
    """No patient is known in this set: each film stands alone."""

    name: str = "dmid"
    title: str = "DMID"

    def recognises(self, listing: Listing, choices: ImportChoices) -> Evidence | None:
        table, rows = _table(listing)
        if table is None:
            return None
        return Evidence(KNOWN_SET, f"{table.name} lists {rows['image'].nunique()} films as IMG001 with views such as MLORT")

    def read(self, listing: Listing, choices: ImportChoices) -> Reading:
        table, rows = _table(listing)
        if table is None:
            raise DataError(
                "There is no table of DMID here; expected Metadata.xlsx with rows such as IMG001, MLORT, density, kind, class. "
                "Put it beside the films, or choose another kind of data set."
            )
        parts = rows["view_and_side"].str.extract(VIEW).fillna("")
        names = rows["image"].str.upper()
        frame = rows.assign(
            image_file=find_films(listing.film_index, names + ".dcm", names),
            mask_file=names,
            view=parts[0],
            side=parts[1],
        ).rename(columns={"class": "pathology"})
        base = Reading(
            rows=frame,
            columns={"file": "image_file", "laterality": "side", "view": "view", "mask": "mask_file"},
            table=table,
            origins={
                "file": "image id; the DICOM film where copies of other kinds lie there too",
                "laterality": "ending of the view (RT or LT)",
                "view": "beginning of the view (CC or MLO)",
                "mask": "ROI_Masks, by the image id",
            },
            patient_from="each film alone",
            patient_statement="This set names no patients: each film is its own group, and patient leakage cannot be excluded.",
            row_is="lesion",
            notes=(
                "The circles of the table are not taken over, since it does not say from which edge they count; outlines are.",
            ),
        )
        labels = [
            LabelChoice("lesion", "pathology", "N Normal, B Benign, M Malignant; the worst row of a film counts."),
            LabelChoice("density", "density", "Density as the table gives it."),
        ]
        return settle(base, labels, choices)


def _table(listing: Listing) -> tuple[Path | None, pd.DataFrame]:
    for path in listing.tables:
        if path.suffix.lower() not in EXCEL_SUFFIXES and "metadata" not in path.name.lower():
            continue
        try:
            rows = _rows(read_cells(path))
        except DataError:
            continue  # some other file that lies there
        if len(rows):
            return path, rows
    return None, pd.DataFrame()


def _rows(cells: pd.DataFrame) -> pd.DataFrame:
    """The rows that begin with an image id and a view, wherever the prose ends; columns by their place behind the id."""
    cells = cells.fillna("").astype(str).apply(lambda column: column.str.strip())
    for start in range(max(0, cells.shape[1] - len(NAMES) + 1)):
        block = cells.iloc[:, start : start + len(NAMES)].set_axis(list(NAMES), axis=1)
        fitting = block["image"].str.fullmatch(IMAGE) & block["view_and_side"].str.fullmatch(VIEW)
        if fitting.any():
            return block[fitting].reset_index(drop=True)
    return pd.DataFrame(columns=list(NAMES))
