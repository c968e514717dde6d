"""VinDr-Mammo: ``breast-level_annotations.csv``, ``finding_annotations.csv`` and ``images/<study_id>/<image_id>.dicom``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from mammo_core.data.adapters.base import LESION_COLUMNS, ImportChoices, Reading
from mammo_core.data.adapters.cells import each
from mammo_core.data.adapters.known import (
    BIRADS_RULE,
    BIRADS_WORDS,
    KnownByColumns,
    LabelChoice,
    assessment,
    by_plain_names,
    find_films,
    made,
    settle,
    tables_with,
    text_column,
)
from mammo_core.data.adapters.listing import Listing
from mammo_core.data.adapters.words import plain
from mammo_core.errors import DataError

COLUMNS = ("study_id", "image_id", "laterality", "view_position", "breast_birads", "breast_density")
BOX_COLUMNS = ("image_id", "xmin", "ymin", "xmax", "ymax")
SPLIT_WORDS = {"training": "train", "test": "test"}


@dataclass(frozen=True)
class VindrAdapter(KnownByColumns):
    """The breast-level table labels the films; the findings give the boxes, and serve alone where only they are there."""

    name: str = "vindr"
    title: str = "VinDr-Mammo"

    columns = COLUMNS

    def read(self, listing: Listing, choices: ImportChoices) -> Reading:
        table = self._table(listing, choices)
        raw = by_plain_names(listing.table(table))
        frame = (
            made(
                raw,
                birads=each(raw["breast_birads"], assessment),
                source_split=text_column(raw, "split").map(lambda word: SPLIT_WORDS.get(plain(word), "")),
                image_file=find_films(listing.film_index, raw["study_id"] + "/" + raw["image_id"], raw["image_id"]),
                manufacturer=_vendors(listing, raw["image_id"]),
            )
            .rename(columns={"breast_density": "density"})
            .drop(columns="breast_birads")
        )
        files = dict(zip(frame["image_id"], frame["image_file"], strict=True))
        columns = {
            "file": "image_file",
            "patient": "study_id",
            "exam": "study_id",
            "laterality": "laterality",
            "view": "view_position",
            "vendor": "manufacturer",
        }
        base = Reading(
            rows=frame,
            columns=columns,
            table=table,
            origins={
                "file": "study_id and image_id, as folder and file (.dicom)",
                "patient": "column study_id, which stands for the patient",
                "vendor": "column Manufacturer of metadata.csv",
                "lesions": "xmin, ymin, xmax and ymax of the findings",
            },
            patient_statement="The table has no patients; its study_id stands for the patient, as its authors have it.",
            row_is="lesion",
            lesions=_boxes(listing, files),
            notes=tuple(_notes(frame)),
        )
        labels = [
            LabelChoice("density", "density", "Density is graded for each breast."),
            LabelChoice("birads", "birads", BIRADS_WORDS, BIRADS_RULE),
        ]
        refused = {
            "lesion": "VinDr-Mammo has no pathology: its BI-RADS is the reader's opinion. Choose the task 'birads', or set the "
            "'label' column and say in the label map which assessment you want to count as what."
        }
        return settle(base, labels, choices, refused)

    def _table(self, listing: Listing, choices: ImportChoices) -> Path:
        paths = tables_with(listing, COLUMNS, choices)
        if not paths:
            raise DataError(f"There is no table of {self.title} here; expected one with the columns {', '.join(COLUMNS)}.")
        one_row_a_film = [path for path in paths if "xmin" not in map(plain, listing.columns(path))]
        return (one_row_a_film or paths)[0]


def _vendors(listing: Listing, images: pd.Series[str]) -> list[str]:
    for path in tables_with(listing, ("SOP Instance UID", "Manufacturer"), ImportChoices(), everywhere=True):
        table = by_plain_names(listing.table(path))
        vendors = dict(zip(table["sop_instance_uid"], table["manufacturer"], strict=True))
        return [vendors.get(image, "") for image in images]
    return [""] * len(images)


def _boxes(listing: Listing, files: dict[str, str]) -> pd.DataFrame:
    for path in tables_with(listing, BOX_COLUMNS, ImportChoices(), everywhere=True):
        table = by_plain_names(listing.table(path))
        edges = {name: pd.to_numeric(table[name], errors="coerce") for name in BOX_COLUMNS[1:]}
        sizes = {name: pd.to_numeric(text_column(table, name), errors="coerce").fillna(0) for name in ("height", "width")}
        boxes = pd.DataFrame(
            {
                "file": table["image_id"].map(files),
                "top": edges["ymin"],
                "left": edges["xmin"],
                "bottom": edges["ymax"],
                "right": edges["xmax"],
                "of_height": sizes["height"],
                "of_width": sizes["width"],
                "pathology": "",  # finding_birads is an opinion
            }
        )
        return boxes.dropna()
    return pd.DataFrame(columns=list(LESION_COLUMNS))


def _notes(frame: pd.DataFrame) -> list[str]:
    notes = ["The official split is kept as the column source_split; it has no validation part."]
    densities = frame[frame["density"] != ""].groupby("study_id")["density"].nunique()
    differing = int((densities > 1).sum())
    if differing:
        notes.append(f"Density differs between the breasts in {differing} exam(s); each film keeps its own.")
    return notes
