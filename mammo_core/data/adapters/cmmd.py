"""CMMD: a table a breast (``CMMD_clinicaldata_revision.xlsx``), films below a folder named after the patient.

Side and view stand in the DICOM headers only, so these are read; that 1-1 is CC and 1-2 is MLO would be a guess.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from mammo_core.data.adapters.base import ImportChoices, LeftOut, Reading
from mammo_core.data.adapters.cells import each
from mammo_core.data.adapters.headers import header_of
from mammo_core.data.adapters.known import (
    BIRADS_RULE,
    BIRADS_WORDS,
    KnownByColumns,
    LabelChoice,
    assessment,
    by_plain_names,
    one_table,
    settle,
    text_column,
)
from mammo_core.data.adapters.listing import Listing
from mammo_core.data.adapters.table_files import EXCEL_SUFFIXES, read_table
from mammo_core.data.adapters.words import plain, side_of
from mammo_core.errors import DataError

COLUMNS = ("ID1", "LeftRight", "classification")
TOMPEI_SHEET = "Imaging Diagnosis Details Sheet"
PATIENT = re.compile(r"(?:^|/)(D[12]-\d{4})(?=/|_|\.|-)")
SAME_WOMEN = {"D2-0284": "D1-0202", "D1-1292": "D1-0808"}
"""Pairs of patients of the set whose films are the same."""


@dataclass(frozen=True)
class CmmdAdapter(KnownByColumns):
    """Density and BI-RADS come from the TOMPEI-CMMD table where that lies there too."""

    name: str = "cmmd"
    title: str = "CMMD"

    columns = COLUMNS

    def read(self, listing: Listing, choices: ImportChoices) -> Reading:
        table = one_table(listing, COLUMNS, choices, self.title)
        films, outside = _films(listing)
        clinical = _one_row_a_breast(by_plain_names(listing.table(table)).rename(columns={"id1": "patient"}))
        details = _tompei(listing)
        frame = films.merge(clinical, on=["patient", "side"], how="left")
        if details is not None:
            frame = frame.merge(details, on=["patient", "side"], how="left")
        frame = frame.fillna("")
        same = frame["patient"].isin(SAME_WOMEN)
        notes = ["Films of a breast without a row in the table have no label; they are left out with a count."]
        if same.any():
            notes.append(f"{int(same.sum())} film(s) stand under a second number of a woman; they are counted as her films.")
        base = Reading(
            rows=frame.assign(patient=frame["patient"].replace(SAME_WOMEN)).rename(columns={"classification": "pathology"}),
            columns={"file": "image_file", "patient": "patient", "laterality": "side", "view": "view"},
            table=table,
            origins={
                "file": "folders named after the patient",
                "patient": "folder name, which is ID1 of the table",
                "laterality": "DICOM header",
                "view": "DICOM header",
            },
            patient_from="column",
            patient_statement="Patients are taken from the folder names, which are ID1 of the table.",
            left_out=(LeftOut("the film lies in no folder of a patient", len(outside), tuple(outside[:5])),) if outside else (),
            notes=tuple(notes),
        )
        labels = [
            LabelChoice("lesion", "pathology", "Pathology of the breast, by patient and side. There is no Normal in this set.")
        ]
        if details is not None:
            labels += [
                LabelChoice("density", "density", "Density from the TOMPEI-CMMD table."),
                LabelChoice("birads", "birads", f"From the TOMPEI-CMMD table. {BIRADS_WORDS}", BIRADS_RULE),
            ]
        refused = {"density": "CMMD has no density; put the TOMPEI-CMMD table beside it, which has."}
        return settle(base, labels, choices, refused)


def _films(listing: Listing) -> tuple[pd.DataFrame, list[str]]:
    rows, outside = [], []
    for name in listing.films:
        patient = PATIENT.search(name)
        if patient is None:
            outside.append(name)
            continue
        header = header_of(listing.root, name, listing.sizes[name])
        rows.append({"image_file": name, "patient": patient[1], "side": header.laterality, "view": header.view})
    if not rows:
        raise DataError(
            "No film lies in a folder named after a patient of CMMD (D1-0001); expected the folders as they are downloaded. "
            "Choose the folder above them."
        )
    return pd.DataFrame(rows, dtype=str), outside


def _one_row_a_breast(clinical: pd.DataFrame) -> pd.DataFrame:
    """A breast with several rows keeps the malignant one."""
    sides = clinical.assign(side=each(clinical["leftright"], side_of)).drop(columns="leftright")
    worst_first = sides.assign(rank=each(sides["classification"], plain) != "malignant").sort_values("rank", kind="stable")
    return worst_first.drop(columns="rank").drop_duplicates(["patient", "side"])


def _tompei(listing: Listing) -> pd.DataFrame | None:
    for path in listing.all_tables:
        sheet = _details_sheet(path)
        if sheet is not None:
            return pd.DataFrame(
                {
                    "patient": sheet["id"],
                    "side": each(sheet["leftright"], side_of),
                    "density": text_column(sheet, "breast_density"),
                    "birads": each(text_column(sheet, "bi_rads_category"), assessment),
                }
            ).drop_duplicates(["patient", "side"])
    return None


def _details_sheet(path: Path) -> pd.DataFrame | None:
    if path.suffix.lower() not in EXCEL_SUFFIXES | {".csv"}:
        return None
    try:
        sheet = by_plain_names(read_table(path, TOMPEI_SHEET))
    except DataError:
        return None  # some other file that lies there
    return sheet if {"id", "leftright", "breast_density"} <= set(sheet.columns) else None
