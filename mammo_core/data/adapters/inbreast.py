"""INbreast: ``INbreast.csv`` or ``.xls``, ``AllDICOMs/<film id>_<patient>_MG_<side>_<view>_ANON.dcm``, outlines in ``AllXML``."""

from __future__ import annotations

from dataclasses import dataclass

from mammo_core.data.adapters.base import ImportChoices, LabelRule, Reading
from mammo_core.data.adapters.cells import each
from mammo_core.data.adapters.inbreast_outlines import read_outlines
from mammo_core.data.adapters.known import (
    BIRADS_RULE,
    BIRADS_WORDS,
    KnownByColumns,
    LabelChoice,
    assessment,
    by_plain_names,
    made,
    one_table,
    settle,
    whole_number,
)
from mammo_core.data.adapters.labels import LESION_CLASSES
from mammo_core.data.adapters.listing import Listing

COLUMNS = ("File Name", "Laterality", "View", "ACR", "Bi-Rads")
LESION_RULE = LabelRule(
    {
        "1": "Normal",
        "2": "Benign",
        "3": "Benign",
        "4": None,
        "4a": None,
        "4b": None,
        "4c": None,
        "5": "Malignant",
        "6": "Malignant",
    },
    LESION_CLASSES,
    worst_wins=True,
)


@dataclass(frozen=True)
class InbreastAdapter(KnownByColumns):
    """The patient stands in the file names only; neighbouring film ids say nothing."""

    name: str = "inbreast"
    title: str = "INbreast"

    columns = COLUMNS

    def read(self, listing: Listing, choices: ImportChoices) -> Reading:
        table = one_table(listing, COLUMNS, choices, self.title)
        raw = by_plain_names(listing.table(table))
        films = {name.rsplit("/", 1)[-1].split("_", 1)[0]: name for name in listing.films}
        ids = each(raw["file_name"], whole_number)
        raw = raw[ids != ""]  # the Excel table ends in a row of blanks and a sum
        ids = ids[ids != ""]
        files = [films.get(film.removesuffix(".dcm"), film) for film in ids]
        frame = made(
            raw.drop(columns=["patient_id", "patient_age", "acquisition_date"], errors="ignore"),
            density=each(raw["acr"], whole_number),
            birads=each(raw["bi_rads"], assessment),
            image_file=files,
            patient_in_name=[_patient(name) for name in files],
        ).drop(columns="acr")
        outlines = read_outlines((table.parent, listing.root, listing.root.parent), dict(zip(ids, files, strict=True)))
        origins = {"lesions": "outlines in the folder AllXML"} if len(outlines.boxes) else {}
        base = Reading(
            rows=frame,
            columns={
                "file": "image_file",
                "patient": "patient_in_name",
                "laterality": "laterality",
                "view": "view",
            },
            table=table,
            origins={
                "file": "column File Name, which is the first part of the file's name",
                "patient": "second part of the file's name",
                "view": "column View (file names say ML where the table says MLO)",
                **origins,
            },
            patient_statement="Patients are taken from the second part of the file names; the table's Patient ID is removed.",
            lesions=outlines.boxes,
            notes=outlines.notes,
            warnings=outlines.warnings,
        )
        labels = [
            LabelChoice("density", "density", "ACR 1 to 4 is density A to D."),
            LabelChoice(
                "lesion",
                "birads",
                "This set has no pathology; by the usual rule BI-RADS 1 counts as Normal, 2 and 3 as Benign, 5 and 6 as "
                "Malignant, and 4 is left out. The label map can say otherwise, for example 4c as Malignant.",
                LESION_RULE,
            ),
            LabelChoice("birads", "birads", BIRADS_WORDS, BIRADS_RULE),
        ]
        return settle(base, labels, choices)


def _patient(name: str) -> str:
    parts = name.rsplit("/", 1)[-1].split("_")
    return parts[1] if len(parts) > 2 else ""
