"""EMBED: ``EMBED_OpenData_clinical.csv`` (a finding a row) and ``..._metadata.csv`` (a file a row), joined by exam and side."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from mammo_core.data.adapters.base import Evidence, ImportChoices, LabelRule, LeftOut, Reading
from mammo_core.data.adapters.cells import each, translated
from mammo_core.data.adapters.known import (
    BIRADS_RULE,
    BIRADS_WORDS,
    LabelChoice,
    by_plain_names,
    find_films,
    settle,
    tables_with,
    text_column,
    whole_number,
)
from mammo_core.data.adapters.labels import LESION_CLASSES
from mammo_core.data.adapters.listing import Listing
from mammo_core.data.adapters.words import plain, side_of
from mammo_core.errors import DataError

CLINICAL = ("empi_anon", "acc_anon", "side", "tissueden", "asses")
METADATA = ("empi_anon", "acc_anon", "ImageLateralityFinal", "ViewPosition")
ASSESSMENTS = {"A": "0", "N": "1", "B": "2", "P": "3", "S": "4", "M": "5", "K": "6"}
LESION_RULE = LabelRule(
    {
        "0": "Malignant", "1": "Malignant", "6": "Malignant",
        "2": "Benign", "3": "Benign", "4": "Benign", "5": "Normal",
    },
    LESION_CLASSES,
    worst_wins=True,
)  # fmt: skip
LESION_WORDS = (
    "path_severity is low where it is bad: 0 invasive, 1 in situ and 6 other cancer count as Malignant; 2 high risk, 3 "
    "borderline and 4 benign as Benign; 5 negative as Normal. A breast without a biopsy has none and is left out."
)
DENSITY_RULE = LabelRule({"1": "A", "2": "B", "3": "C", "4": "D", "5": None}, ("A", "B", "C", "D"), ordinal=True)


@dataclass(frozen=True)
class EmbedAdapter:
    """The reduced tables serve as well as the full ones and are preferred; 3D and synthetic views and spot films are left out."""

    name: str = "embed"
    title: str = "EMBED"

    def recognises(self, listing: Listing, choices: ImportChoices) -> Evidence | None:
        clinical, metadata = self._tables(listing)
        if clinical is None or metadata is None:
            return None
        return Evidence(
            80, f"{clinical.name} has findings (acc_anon, tissueden, asses) and {metadata.name} the files (ImageLateralityFinal)"
        )

    def read(self, listing: Listing, choices: ImportChoices) -> Reading:
        clinical, metadata = self._tables(listing)
        if clinical is None or metadata is None:
            missing = "findings" if clinical is None else "files"
            raise DataError(
                f"EMBED needs two tables, and the one of {missing} is not here; expected one with the columns "
                f"{', '.join(CLINICAL)} and one with {', '.join(METADATA)}."
            )
        files, left_out = _two_dimensional(listing, by_plain_names(listing.table(metadata)))
        findings = _findings(by_plain_names(listing.table(clinical)))
        frame = _join(files, findings)
        base = Reading(
            rows=frame,
            columns={
                "file": "image_file",
                "patient": "empi_anon",
                "exam": "acc_anon",
                "laterality": "ImageLateralityFinal",
                "view": "ViewPosition",
                "vendor": "Manufacturer",
            },
            columns_found=tuple(frame.columns),
            table=clinical,
            origins={"file": "column anon_dicom_path or png_path of the metadata table"},
            row_is="lesion",
            left_out=tuple(left_out),
            notes=(
                "Findings are joined to films by exam and side; a finding of side B, or without a side, counts for both breasts.",
            ),
        )
        labels = [
            LabelChoice("density", "tissueden", "tissueden 1 to 4 is density A to D; 5 is male and left out.", DENSITY_RULE),
            LabelChoice("lesion", "path_severity", LESION_WORDS, LESION_RULE),
            LabelChoice("birads", "birads", f"asses A N B P S M K is BI-RADS 0 to 6. {BIRADS_WORDS}", _worst_birads()),
        ]
        return settle(base, [label for label in labels if label.column in frame.columns], choices)

    def _tables(self, listing: Listing) -> tuple[Path | None, Path | None]:
        clinical, metadata = (
            _reduced_first(tables_with(listing, names, ImportChoices(), everywhere=True)) for names in (CLINICAL, METADATA)
        )
        return clinical, metadata


def _reduced_first(paths: list[Path]) -> Path | None:
    return next((path for path in paths if "reduced" in path.stem.lower()), paths[0] if paths else None)


def _worst_birads() -> LabelRule:
    return LabelRule(BIRADS_RULE.mapping, BIRADS_RULE.class_names, worst_wins=True)


def _two_dimensional(listing: Listing, metadata: pd.DataFrame) -> tuple[pd.DataFrame, list[LeftOut]]:
    """The files that are 2D films of a whole breast, and what was left out."""
    kind = each(text_column(metadata, "finalimagetype"), plain)
    spot = each(text_column(metadata, "spot_mag"), whole_number) == "1"
    is_film = kind.isin(("2d", ""))
    left_out = [
        LeftOut(f"the file is no 2D film (FinalImageType {name})", int(count))
        for name, count in metadata.loc[~is_film]
        .assign(kind=text_column(metadata, "finalimagetype"))["kind"]
        .value_counts()
        .items()
    ]
    if (spot & is_film).any():
        left_out.append(LeftOut("the film is a spot or magnification view", int((spot & is_film).sum())))
    kept = metadata[is_film & ~spot]
    paths = [text_column(kept, name) for name in ("anon_dicom_path", "png_path")]
    first = paths[0].where(paths[0] != "", paths[1])
    table = pd.DataFrame(
        {
            # The path is of the machine that made the set; its last four parts are cohort, patient, exam and file.
            "image_file": find_films(listing.film_index, _end(first, 4), _end(first, 1), _end(paths[1], 4), _end(paths[1], 1)),
            "empi_anon": each(kept["empi_anon"], whole_number),
            "acc_anon": each(kept["acc_anon"], whole_number),
            "ImageLateralityFinal": kept["imagelateralityfinal"],
            "ViewPosition": kept["viewposition"],
            "Manufacturer": text_column(kept, "manufacturer"),
        }
    )
    return table, left_out


def _end(paths: pd.Series[str], parts: int) -> list[str]:
    return ["/".join(path.replace("\\", "/").split("/")[-parts:]) for path in paths]


def _findings(clinical: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "acc_anon": each(clinical["acc_anon"], whole_number),
            "finding_side": each(clinical["side"], side_of),
            "tissueden": each(clinical["tissueden"], whole_number),
            "birads": clinical["asses"].map(lambda letter: ASSESSMENTS.get(letter.strip().upper(), "")),
            "path_severity": each(text_column(clinical, "path_severity"), whole_number),
        }
    ).drop_duplicates()


def _join(files: pd.DataFrame, findings: pd.DataFrame) -> pd.DataFrame:
    """Each film with the findings of its own breast; a film without any stays, without labels.

    Density belongs to the exam: where all its rows agree, a breast without a finding of its own has it too.
    """
    joined = files.merge(findings, on="acc_anon", how="left").fillna("")
    own = joined["finding_side"].isin(("",)) | (joined["finding_side"] == each(joined["ImageLateralityFinal"], side_of))
    empty = {"tissueden": "", "birads": "", "path_severity": ""}
    joined = joined[own]
    without = files[~files["image_file"].isin(set(joined["image_file"]))].assign(finding_side="", **empty)
    frame = pd.concat([joined, without], ignore_index=True)
    densities = findings[findings["tissueden"] != ""].groupby("acc_anon")["tissueden"].agg(["nunique", "first"])
    agreed = {str(exam): str(density) for exam, density in densities.loc[densities["nunique"] == 1, "first"].items()}
    filled = frame["tissueden"].where(frame["tissueden"] != "", translated(frame["acc_anon"], agreed))
    return frame.assign(tissueden=filled).drop(columns="finding_side")
