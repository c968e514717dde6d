"""Tiny stand-ins of the public sets: their layouts, columns and quirks, with made-up rows and drawn films.

Every maker takes an empty folder and returns what to import and the words that may reach no shown file.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from make_films import write_dicom
from mammo_core.data.adapters import ImportChoices

SHAPE = (48, 40)


@dataclass(frozen=True)
class PublicSet:
    """One stand-in."""

    source: Path
    choices: ImportChoices
    secrets: tuple[str, ...]
    """Ids and file names of the source."""


def film(number: int) -> np.ndarray:
    """Pixels that no other number gives."""
    return np.random.default_rng(number).integers(0, 4000, SHAPE, dtype=np.uint16)


def dicom(path: Path, number: int, **tags: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_dicom(path, film(number), **tags)


def png(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def table(path: Path, rows: Iterable[Mapping[str, Any]], **options: Any) -> Path:
    """Write rows as CSV or, by the suffix, Excel."""
    path.parent.mkdir(parents=True, exist_ok=True)
    frame = pd.DataFrame(list(rows))
    if path.suffix == ".xlsx":
        frame.to_excel(path, index=False, **options)
    else:
        frame.to_csv(path, index=False, **options)
    return path


def outline(top: int, left: int, height: int, width: int, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    mask = np.zeros(shape, np.uint8)
    mask[top : top + height, left : left + width] = 255
    return mask


def rsna(root: Path) -> PublicSet:
    rows = []
    for number, (side, view) in enumerate([("L", "CC"), ("L", "MLO"), ("R", "CC"), ("R", "AT")] * 2):
        patient = 10006 + number // 4
        dicom(root / "train_images" / str(patient) / f"{462822612 + number}.dcm", number)
        rows.append(
            {
                "site_id": 1 + number // 4, "patient_id": patient, "image_id": 462822612 + number, "laterality": side,
                "view": view, "age": 61.0, "cancer": int(number == 0), "biopsy": int(number < 2), "invasive": 0,
                "BIRADS": "0.0", "implant": 0, "density": "" if number >= 4 else "AB"[number % 2],
                "machine_id": 29, "difficult_negative_case": False,
            }
        )  # fmt: skip
    table(root / "train.csv", rows)
    return PublicSet(root, ImportChoices(task="lesion"), ("10006", "10007", "462822612"))


def vindr(root: Path) -> PublicSet:
    studies = ["b8d273e8601f348d3664778dae0e7e0b", "8269f5971eaca3e5d3772d1796e6bd7a"]
    rows, findings, facts = [], [], []
    for number, (side, view) in enumerate([("L", "CC"), ("L", "MLO"), ("R", "CC"), ("R", "MLO")] * 2):
        study, image = studies[number // 4], f"{number:032x}"
        dicom(root / "images" / study / f"{image}.dicom", number, PatientID=study)
        density = "DENSITY C" if side == "L" or number > 3 else "DENSITY B"  # the breasts of one study differ
        base = {
            "study_id": study, "series_id": f"{number + 99:032x}", "image_id": image, "laterality": side, "view_position": view,
            "height": SHAPE[0], "width": SHAPE[1], "breast_birads": f"BI-RADS {1 + number % 5}", "breast_density": density,
            "split": "test" if number > 3 else "training",
        }  # fmt: skip
        rows.append(base)
        box = {"xmin": 4.5, "ymin": 10.2, "xmax": 14.0, "ymax": 20.0} if number == 1 else {}
        findings.append({**base, "finding_categories": "['Mass']" if box else "['No Finding']", "finding_birads": "", **box})
        facts.append({"SOP Instance UID": image, "Patient's Age": "053Y", "Manufacturer": "SIEMENS"})
    table(root / "breast-level_annotations.csv", rows)
    table(root / "finding_annotations.csv", findings)
    table(root / "metadata.csv", facts)
    return PublicSet(root, ImportChoices(task="density"), (*studies, f"{1:032x}"))


CBIS_ROWS = (
    # kind, part, patient, side, view, lesion, density, pathology
    ("mass", "train", "P_00001", "LEFT", "CC", 1, 3, "BENIGN"),
    ("mass", "train", "P_00001", "LEFT", "CC", 2, 3, "MALIGNANT"),
    ("mass", "train", "P_00001", "LEFT", "MLO", 1, 3, "MALIGNANT"),
    ("mass", "test", "P_00016", "RIGHT", "CC", 1, 0, "BENIGN_WITHOUT_CALLBACK"),
    ("calc", "train", "P_00016", "RIGHT", "MLO", 1, 2, "BENIGN"),
    ("calc", "train", "P_00001", "LEFT", "MLO", 1, 3, "BENIGN"),
    ("calc", "test", "P_00038", "LEFT", "CC", 1, 4, "MALIGNANT"),
)
PART_NAMES = {"train": "Training", "test": "Test"}


def series_of(named: str) -> str:
    """A series UID that says nothing of what is in it."""
    return f"1.3.6.1.4.{sum(ord(sign) << (index % 24) for index, sign in enumerate(named))}"


def cbis_tables(root: Path, with_paths: bool) -> None:
    for kind in ("mass", "calc"):
        for part in ("train", "test"):
            rows = []
            for row_kind, row_part, patient, side, view, lesion, density, pathology in CBIS_ROWS:
                if (row_kind, row_part) != (kind, part):
                    continue
                named = f"{kind.capitalize()}-{PART_NAMES[part]}_{patient}_{side}_{view}"
                series = series_of(named)
                paths = {
                    "image file path": f"{named}/1.3.6.1.4/{series}/000000.dcm",
                    "cropped image file path": f"{named}_{lesion}/1.3.6.1.4/{series}.{lesion}/000001.dcm",
                    "ROI mask file path": f'"{named}_{lesion}/1.3.6.1.4/{series}.{lesion}/000000.dcm\n"',
                }
                rows.append(
                    {
                        "patient_id": patient, "breast_density" if kind == "mass" else "breast density": density,
                        "left or right breast": side, "image view": view, "abnormality id": lesion,
                        "abnormality type": "mass" if kind == "mass" else "calcification", "assessment": 4,
                        "pathology": pathology, "subtlety": 4, **(paths if with_paths else {}),
                    }
                )  # fmt: skip
            table(root / f"{kind}_case_description_{part}_set.csv", rows)


def cbis(root: Path) -> PublicSet:
    """As downloaded: a folder a film and a folder a lesion, in which crop and outline stand in either order."""
    cbis_tables(root, with_paths=False)
    for number, (kind, part, patient, side, view, lesion, _, _) in enumerate(CBIS_ROWS):
        named = f"{kind.capitalize()}-{PART_NAMES[part]}_{patient}_{side}_{view}"
        if lesion == 1:
            tags = {"PatientID": named, "PatientOrientation": view, "Laterality": side[0]}
            dicom(root / named / "1.3.6.1.4.1.9590.7" / "1.3.6.1.4.1.9590.8" / "1-1.dcm", number, **tags)
        folder = root / f"{named}_{lesion}" / "1.3.6.1.4.1.9590.9" / "1.3.6.1.4.1.9590.10"
        folder.mkdir(parents=True)
        first, second = ("1-1.dcm", "1-2.dcm") if number % 2 else ("1-2.dcm", "1-1.dcm")
        write_dicom(folder / first, outline(4 * lesion, 5, 3, 6), PatientID=f"{named}_{lesion}")
        write_dicom(folder / second, film(100 + number)[:12, :10].copy(), PatientID=f"{named}_{lesion}")
    return PublicSet(root, ImportChoices(task="lesion"), ("P_00001", "P_00016", "P_00038", "1.3.6.1.4"))


def inbreast(root: Path) -> PublicSet:
    films = [
        ("20586908", "6c613a14b80a8591", "L", "MLO", "1", "1"),
        ("20586934", "6c613a14b80a8591", "R", "CC", "2", "4a"),
        ("20586960", "036aff49b8ac84f0", "L", "CC", "3", "5"),
        ("20587080", "036aff49b8ac84f0", "R", "FB", " ", "2"),
    ]
    rows = []
    for number, (film_id, patient, side, view, acr, birads) in enumerate(films):
        in_name = {"MLO": "ML"}.get(view, view)
        dicom(root / "AllDICOMs" / f"{film_id}_{patient}_MG_{side}_{in_name}_ANON.dcm", number, PatientID="removed")
        rows.append(
            {
                "Patient ID": "removed", "Patient age": "removed", "Laterality": side, "View": view, "Acquisition date": 201001,
                "File Name": film_id, "ACR": acr, "Bi-Rads": birads,
            }
        )  # fmt: skip
    table(root / "INbreast.csv", rows, sep=";")
    return PublicSet(root, ImportChoices(task="density"), ("6c613a14b80a8591", "036aff49b8ac84f0", "20586908"))


MIAS_LINES = """
mdb001 G CIRC B 20 30 4
mdb002 G CIRC B 10 9 3
mdb003 D NORM
mdb004 D NORM
mdb005 F CIRC B 20 10 4
mdb005 F CIRC M 30 36 5
mdb006 F CALC B
"""


def mias(root: Path) -> PublicSet:
    (root / "all-mias").mkdir(parents=True)
    prose = "MIAS MiniMammographic Database\n\n1st column:\n\tMIAS database reference number.\n2nd column: F - Fatty\n"
    (root / "all-mias" / "Info.txt").write_text(prose + MIAS_LINES)
    (root / "all-mias" / "Licence.txt").write_text("Licence agreement\n")
    for number in range(1, 7):
        pixels = film(number).astype(np.uint8)
        header = b"P5\n# CREATOR: GIMP PNM Filter Version 1.1\n40 48\n255\n"
        (root / "all-mias" / f"mdb{number:03d}.pgm").write_bytes(header + pixels.tobytes())
    return PublicSet(root / "all-mias", ImportChoices(task="lesion"), ("mdb001", "pair 1"))


def cmmd(root: Path) -> PublicSet:
    breasts = [
        ("D1-0001", "R", "Benign"),
        ("D1-0202", "L", "Malignant"),
        ("D2-0284", "L", "Malignant"),
        ("D2-0005", "R", "Benign"),
    ]
    number = 0
    for patient, side, _ in [*breasts, ("D1-0001", "L", "")]:
        for view in ("CC", "MLO"):
            number += 1
            folder = root / "CMMD" / patient / "07-18-2010-NA-NA-79377" / "1.000000-NA-70244"
            dicom(folder / f"1-{number}.dcm", number, PatientID=patient, ImageLaterality=side, ViewPosition=view)
    rows = [
        {"ID1": patient, "LeftRight": side, "Age": 44, "number": 2, "abnormality": "mass", "classification": word, "subtype": ""}
        for patient, side, word in breasts
    ]
    table(root / "CMMD_clinicaldata_revision.xlsx", rows)
    return PublicSet(root, ImportChoices(), ("D1-0001", "D1-0202", "D2-0284", "79377"))


def embed(root: Path) -> PublicSet:
    # Exam 1: a cancer on the left; exam 2: male; exam 3: a benign biopsy without a side.
    clinical = [
        {"empi_anon": patient, "acc_anon": exam, "desc": "MG Screening", "tissueden": density, "asses": word, "side": side,
         "path_severity": severity}
        for patient, exam, density, word, side, severity in (
            (60001, 7001, 2.0, "A", "L", 4.0), (60001, 7001, 2.0, "M", "L", 0.0), (60002, 7002, 5.0, "N", "B", ""),
            (60003, 7003, 3.0, "S", "", 4.0),
        )
    ]  # fmt: skip
    metadata = []
    kinds = {0: ("2D", ""), 1: ("2D", ""), 2: ("3D", ""), 3: ("C-view", ""), 4: ("2D", "1")}
    for number, (patient, exam, side) in enumerate(
        [(60001, 7001, "L"), (60001, 7001, "R"), (60001, 7001, "L"), (60001, 7001, "R"), (60001, 7001, "L"), (60002, 7002, "L"),
         (60003, 7003, "L"), (60003, 7003, "R")]
    ):  # fmt: skip
        kind, spot = kinds.get(number, ("2D", ""))
        name = f"cohort_1/{patient}/{exam}/1.2.840.113619.{number}.dcm"
        dicom(root / "images" / name, number, PatientID=str(patient))
        metadata.append(
            {
                "empi_anon": patient, "acc_anon": exam, "anon_dicom_path": f"/mnt/NAS2/mammo/anon_dicom/{name}", "png_path": "",
                "FinalImageType": kind, "ImageLateralityFinal": side, "ViewPosition": "CC", "spot_mag": spot,
                "Manufacturer": "HOLOGIC, Inc.", "StudyDate_anon": "2016-10-04",
            }
        )  # fmt: skip
    table(root / "tables" / "EMBED_OpenData_clinical.csv", clinical)
    table(root / "tables" / "EMBED_OpenData_metadata.csv", metadata)
    return PublicSet(root, ImportChoices(task="lesion"), ("60001", "7001", "7003", "1.2.840.113619", "2016-10-04"))


def dmid(root: Path) -> PublicSet:
    films = [
        ("IMG001", "MLOLT", "B", "CIRC", "N "),
        ("IMG002", "CCRT", "C", "CIRC", "B"),
        ("IMG003", "MLORT", "C", "SPIC", "B "),
        ("IMG003", "MLORT", "C", "SPIC", "M"),
    ]
    prose = [
        ["Digital mammography Dataset for Breast Cancer Diagnosis Research (DMID)"],
        ["1st column:", "Image reference number"],
    ]
    cells = [[*row, *[""] * (8 - len(row))] for row in (*prose * 15, *([*film, "20", "30", "4"] for film in films))]
    root.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(cells).to_excel(root / "Metadata.xlsx", index=False, header=False)
    for number in range(1, 4):
        dicom(root / "DICOM_Images" / f"IMG{number:03d}.dcm", number)
        png(root / "TIFF_Images" / f"IMG{number:03d}.tif", film(number))
    png(root / "ROI_Masks" / "IMG003.tif", outline(3, 4, 5, 6))
    return PublicSet(root, ImportChoices(task="lesion"), ("IMG001", "IMG003"))


BTXRD_ROWS = (
    # centre, age, sex, bone, kind, view
    (1, 15, "M", "femur", "osteosarcoma", "frontal"),
    (1, 15, "M", "femur", "osteosarcoma", "lateral"),
    (1, 15, "F", "femur", "", "frontal"),
    (2, 40, "F", "tibia", "osteochondroma", "frontal"),
    (3, 40, "F", "tibia", "osteochondroma", "frontal"),
    (3, 40, "F", "tibia", "osteochondroma", "oblique"),
)


def btxrd(root: Path) -> PublicSet:
    rows = []
    for number, (center, age, sex, bone, kind, view) in enumerate(BTXRD_ROWS, start=1):
        name = f"IMG{number:06d}"
        png(root / "images" / f"{name}.jpeg", film(number).astype(np.uint8))
        rows.append(
            {
                "image_id": f"{name}.jpeg", "center": center, "age": age, "gender": sex, "femur": int(bone == "femur"),
                "tibia": int(bone == "tibia"), "tumor": int(kind != ""), "benign": int(kind == "osteochondroma"),
                "malignant": int(kind == "osteosarcoma"), "osteochondroma": int(kind == "osteochondroma"),
                "osteosarcoma": int(kind == "osteosarcoma"), "frontal": int(view == "frontal"), "lateral": int(view == "lateral"),
                "oblique": int(view == "oblique"),
            }
        )  # fmt: skip
        if kind:
            # Half the size of the film: the boxes refer to the size that the file states.
            shapes = [{"label": kind, "points": [[5, 6], [10, 12]], "shape_type": "rectangle"}]
            content = {"shapes": shapes, "imagePath": f"{name}.jpeg", "imageHeight": SHAPE[0] // 2, "imageWidth": SHAPE[1] // 2}
            (root / "Annotations").mkdir(exist_ok=True)
            (root / "Annotations" / f"{name}.json").write_text(json.dumps(content))
    table(root / "dataset.csv", rows)
    return PublicSet(root, ImportChoices(), ("IMG000001", "osteosarcoma"))


def exams(root: Path) -> PublicSet:
    labels = {"100000001": 1, "100000002": 2, "100000003": 5, "100000004": 4, "100000099": 3}
    for number, accession in enumerate(list(labels)[:4]):
        for index in range(3):
            name = f"{index}.dcm"
            dicom(
                root / "archive" / accession / name,
                10 * number + index,
                PatientID=f"secret-{number // 2}",
                AccessionNumber=accession,
            )
    table(root / "train.csv", [{"AccessionNumber": key, "Classification": value} for key, value in labels.items()])
    return PublicSet(root, ImportChoices(), ("100000001", "100000004", "secret-0"))


def split_manifest(root: Path) -> PublicSet:
    rows = []
    for number in range(12):
        png(root / "pictures" / f"case{number}_L_CC.png", film(number))
        part = ("training", "valid", "test")[number % 3]
        rows.append({"image_id": f"case{number}_L_CC", "split": part, "label": "AB"[number // 3 % 2]})
    table(root / "manifest.csv", rows)
    return PublicSet(root, ImportChoices(), ("case0", "case11"))


MAKERS: dict[str, Callable[[Path], PublicSet]] = {
    "rsna": rsna,
    "vindr": vindr,
    "cbis": cbis,
    "inbreast": inbreast,
    "mias": mias,
    "cmmd": cmmd,
    "embed": embed,
    "dmid": dmid,
    "btxrd": btxrd,
    "exams": exams,
    "split-manifest": split_manifest,
}
"""Adapter's name -> its stand-in."""


def zipped(folder: Path, target: Path) -> Path:
    """The folder as a ZIP archive."""
    with zipfile.ZipFile(target, "w") as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder.parent))
    return target
