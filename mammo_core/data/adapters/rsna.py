"""RSNA Screening Mammography Breast Cancer Detection (2022): ``train.csv`` and ``train_images/<patient_id>/<image_id>.dcm``."""

from __future__ import annotations

from dataclasses import dataclass

from mammo_core.data.adapters.base import ImportChoices, LabelRule, Reading
from mammo_core.data.adapters.cells import each, translated
from mammo_core.data.adapters.known import (
    BIRADS_RULE,
    BIRADS_WORDS,
    KnownByColumns,
    LabelChoice,
    assessment,
    by_plain_names,
    find_films,
    made,
    one_table,
    settle,
    text_column,
    whole_number,
)
from mammo_core.data.adapters.labels import LESION_CLASSES
from mammo_core.data.adapters.listing import Listing

COLUMNS = ("site_id", "patient_id", "image_id", "laterality", "view", "cancer")
LESION_RULE = LabelRule(
    {"cancer": "Malignant", "biopsy without cancer": "Benign", "neither": "Normal"}, LESION_CLASSES, worst_wins=True
)
CANCER_RULE = LabelRule({"0": "No cancer", "1": "Cancer"}, ("No cancer", "Cancer"))


@dataclass(frozen=True)
class RsnaAdapter(KnownByColumns):
    """Also the common copies with flat ``<patient_id>_<image_id>.png``."""

    name: str = "rsna"
    title: str = "RSNA 2022 screening mammography"

    columns = COLUMNS

    def read(self, listing: Listing, choices: ImportChoices) -> Reading:
        table = one_table(listing, COLUMNS, choices, self.title)
        raw = by_plain_names(listing.table(table))
        image, patient = each(raw["image_id"], whole_number), each(raw["patient_id"], whole_number)
        cancer, biopsy = each(raw["cancer"], whole_number), each(text_column(raw, "biopsy"), whole_number)
        # Where the table says neither cancer nor biopsy there is no truth, and none is made up.
        truth = translated(biopsy, {"1": "biopsy without cancer", "0": "neither"}).mask(cancer == "1", "cancer")
        frame = made(
            raw,
            birads=each(text_column(raw, "birads"), assessment),
            cancer=cancer,
            lesion=truth.mask(~cancer.isin(("0", "1")), ""),
            image_file=find_films(listing.film_index, patient + "/" + image, patient + "_" + image, image),
        )
        columns = {
            "file": "image_file",
            "patient": "patient_id",
            "laterality": "laterality",
            "view": "view",
            "center": "site_id",
        }
        base = Reading(
            rows=frame,
            columns=columns,
            table=table,
            origins={"file": "patient_id and image_id, as folder and file or joined by _"},
            notes=("Density is empty for many films of this set; where it is the label, they are left out with a count.",),
        )
        labels = [
            LabelChoice("density", "density", "Density A to D as the site reported it.") if "density" in frame else None,
            LabelChoice(
                "lesion",
                "lesion",
                "This set has no Benign: cancer=1 counts as Malignant, biopsy=1 without cancer as Benign, the rest as Normal.",
                LESION_RULE,
            ),
            LabelChoice("cancer", "cancer", "Cancer within the follow-up, yes or no.", CANCER_RULE),
            LabelChoice("birads", "birads", f"{BIRADS_WORDS} 0 is a recall.", BIRADS_RULE),
        ]
        return settle(base, [label for label in labels if label], choices)
