"""CBIS-DDSM: case tables of masses and calcifications, full films, and a picture of each lesion in folders of their own.

The DICOM PatientID of this set is different for each film, and the file names in its tables are not those on disk: the first
part of the path (``Mass-Training_P_00001_LEFT_CC``) is what both sides share. A further number behind it marks the folder of a
lesion, which holds a cropped picture and the outline, in either order.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from mammo_core.data.adapters.base import ImportChoices, Reading
from mammo_core.data.adapters.cells import each, translated
from mammo_core.data.adapters.known import (
    BIRADS_RULE,
    BIRADS_WORDS,
    KnownByColumns,
    LabelChoice,
    assessment,
    by_plain_names,
    made,
    settle,
    tables_with,
    text_column,
    whole_number,
)
from mammo_core.data.adapters.listing import Listing
from mammo_core.data.adapters.words import side_of, view_of
from mammo_core.errors import DataError

COLUMNS = ("patient_id", "left or right breast", "image view", "abnormality id", "pathology")
NAMED = re.compile(r"(mass|calc)-(training|test)_(p_\d+)_(left|right)_(cc|mlo)(?:_(\d+))?(?![0-9a-z])", re.IGNORECASE)
PARTS = {"train": "training", "test": "test"}

Key = tuple[str, str, str, str, str]
"""Kind, part, patient, side and view, in small letters."""


@dataclass(frozen=True)
class CbisAdapter(KnownByColumns):
    """All four case tables at once; the layouts of TCIA, of its newer exports, flat copies, and the JPEG copy by series."""

    name: str = "cbis"
    title: str = "CBIS-DDSM"

    columns = COLUMNS

    def read(self, listing: Listing, choices: ImportChoices) -> Reading:
        tables = tables_with(listing, COLUMNS, choices)
        if not tables:
            raise DataError(f"There is no case table of {self.title} here; expected one with the columns {', '.join(COLUMNS)}.")
        raw = pd.concat([_case_table(listing, path) for path in tables], ignore_index=True).fillna("")
        pictures = _pictures(listing)
        rows = [{str(name): str(cell) for name, cell in row.items()} for row in raw.to_dict("records")]
        frame = made(
            raw,
            # Two zeros stand where a density from 1 to 4 should.
            density=each(text_column(raw, "breast_density"), whole_number),
            birads=each(text_column(raw, "assessment"), assessment),
            image_file=[pictures.film(row) for row in rows],
            lesion_outline=["\n".join(pictures.outlines(row)) for row in rows],
        ).drop(columns=["breast_density", "assessment"], errors="ignore")
        frame, doubled = _both_kinds(frame)
        base = Reading(
            rows=frame,
            columns={
                "file": "image_file",
                "patient": "patient_id",
                "laterality": "left_or_right_breast",
                "view": "image_view",
                "mask": "lesion_outline",
            },
            table=tables[0],
            origins={
                "file": "kind, part, patient, side and view, as in the folder names (Mass-Training_P_number_LEFT_CC)",
                "patient": "column patient_id (P_ number); the DICOM PatientID differs for each film and is not used",
                "mask": "the lesion folders; of cropped picture and outline the one with the film's size",
            },
            patient_statement="Patients are the P_ numbers of the table.",
            row_is="lesion",
            notes=tuple(_notes(raw, doubled)),
        )
        labels = [
            LabelChoice("density", "density", "Density 1 to 4 is A to D; 0 is no density."),
            LabelChoice("lesion", "pathology", "BENIGN_WITHOUT_CALLBACK counts as Benign. There is no Normal in this set."),
            LabelChoice("birads", "birads", BIRADS_WORDS, BIRADS_RULE),
        ]
        return settle(base, labels, choices)


def _case_table(listing: Listing, path: Path) -> pd.DataFrame:
    """One table under plain names (mass tables write breast_density, calc tables "breast density"), with kind and part."""
    frame = by_plain_names(listing.table(path))
    named = re.search(r"(mass|calc)\w*?_(train|test)", path.name, re.IGNORECASE)
    paths = text_column(frame, "image_file_path").str.extract(NAMED)
    kinds, parts = (paths[column].fillna("").str.lower() for column in (0, 1))
    by_type = text_column(frame, "abnormality_type").str.lower().str[:4]
    kind = kinds.where(kinds != "", by_type.where(by_type.isin(("mass", "calc")), named[1].lower() if named else ""))
    part = parts.where(parts != "", PARTS[named[2].lower()] if named else "")
    return frame.assign(kind=kind, part=part, source_split=translated(part, {"training": "train", "test": "test"}))


# ---- which file is what ------------------------------------------------------------------------------------------------------


@dataclass
class _Pictures:
    """The files by the names that the tables share with them."""

    films: dict[Key, list[str]] = field(default_factory=lambda: defaultdict(list))
    lesions: dict[tuple[Key, str], list[str]] = field(default_factory=lambda: defaultdict(list))
    by_series: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """Name of the folder -> files; the JPEG copy keeps nothing but the series."""
    descriptions: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """Series and file name -> SeriesDescription, in the JPEG copy."""

    def film(self, row: Mapping[str, str]) -> str:
        """The one full film of a row, or the name that it should have."""
        key = _key(row)
        found = self.films.get(key) or self._of_series(row.get("image_file_path", ""), "full")
        named = f"{key[0]}-{key[1]}_{key[2]}_{key[3]}_{key[4]}".upper()
        return found[0] if len(found) == 1 else named

    def outlines(self, row: Mapping[str, str]) -> list[str]:
        """Pictures among which the outline of the row's lesion is; which one, only their sizes tell."""
        named = self.lesions.get((_key(row), whole_number(row.get("abnormality_id", ""))))
        if named:
            return _described(named, "mask") or named
        both = (row.get("roi_mask_file_path", ""), row.get("cropped_image_file_path", ""))
        return sorted({name for cell in both for name in self._of_series(cell, "mask")})

    def _of_series(self, cell: str, wanted: str) -> list[str]:
        parts = [part for part in cell.strip("\"' \n").replace("\\", "/").split("/") if part]
        files = self.by_series.get(parts[-2], []) if len(parts) > 1 else []
        told = {name: self.descriptions.get((parts[-2], Path(name).name), "") for name in files}
        return [name for name, words in told.items() if wanted in words.lower() or not words]


def _pictures(listing: Listing) -> _Pictures:
    pictures = _Pictures(descriptions=_descriptions(listing))
    for name in (*listing.films, *listing.masks):
        match = NAMED.search(name)
        if match is None:
            folders = name.split("/")[:-1]
            if folders:
                pictures.by_series[folders[-1]].append(name)
        else:
            key = (match[1].lower(), match[2].lower(), match[3].lower(), match[4].lower(), match[5].lower())
            if match[6]:
                pictures.lesions[key, match[6]].append(name)
            else:
                pictures.films[key].append(name)
    for key, names in pictures.films.items():
        pictures.films[key] = _described(names, "full") or names
    return pictures


def _described(names: Iterable[str], word: str) -> list[str]:
    """Those in a folder that spells the series description out (``1.000000-ROI mask images-18515``)."""
    return [name for name in names if any(word in folder.lower() for folder in name.split("/")[1:-1])]


def _descriptions(listing: Listing) -> dict[tuple[str, str], str]:
    for path in tables_with(listing, ("image_path", "SeriesDescription"), ImportChoices(), everywhere=True):
        table = by_plain_names(listing.table(path))
        places = [Path(cell.replace("\\", "/")) for cell in table["image_path"]]
        return {(place.parent.name, place.name): words for place, words in zip(places, table["seriesdescription"], strict=True)}
    return {}


def _key(row: Mapping[str, str]) -> Key:
    side, view = side_of(row["left_or_right_breast"]), view_of(row["image_view"])
    patient = row["patient_id"].strip().lower()
    return (row["kind"], row["part"], patient, {"L": "left", "R": "right"}.get(side, ""), view.lower())


# ---- rows --------------------------------------------------------------------------------------------------------------------


def _both_kinds(frame: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """A view that has a mass and a calcification lies on disk twice; each of the two files gets the lesions of both.

    Returns the longer table and how many views that concerns. Otherwise one of two equal films could be Benign, the other
    Malignant.
    """
    view = ["patient_id", "left_or_right_breast", "image_view"]
    files = frame[[*view, "image_file"]].drop_duplicates()
    doubled = files[files.duplicated(view, keep=False)]
    others = frame.merge(doubled, on=view, suffixes=("", "_other"))
    others = others[others["image_file"] != others["image_file_other"]]
    added = others.assign(image_file=others["image_file_other"]).drop(columns="image_file_other")
    return pd.concat([frame, added], ignore_index=True), int(doubled[view].drop_duplicates().shape[0])


def _notes(raw: pd.DataFrame, doubled: int) -> list[str]:
    parts = raw.groupby("patient_id")["source_split"].agg(lambda words: {"train", "test"} <= set(words))
    notes = ["The official parts are kept as the column source_split and not taken over as a split."]
    shared = int(parts.sum())
    if shared:
        notes[0] = (
            f"{shared} patient(s) stand in the official training part of one kind of lesion and in the test part of the "
            "other; the official parts are kept as the column source_split and not taken over as a split."
        )
    if doubled:
        notes.append(
            f"{doubled} view(s) lie there twice, as a film of a mass and of a calcification; each gets the worst of both."
        )
    return notes
