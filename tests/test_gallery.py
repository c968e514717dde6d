import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from make_models import CLASSES, write_drawn_dataset, write_model_run
from mammo_core.data.manifest import load_dataset
from mammo_core.errors import ConfigError, DataError
from mammo_core.settings import RESEARCH_ONLY
from mammo_core.storage import write_table
from mammo_core.workflows.gallery import ChosenFilms, make_gallery, make_maps
from mammo_core.workflows.telling_films import pick_films, safe_name, telling_films

TRUTH = {"i1": "A", "i2": "A", "i3": "B", "i4": "B", "i5": "C", "i6": "C"}
CALLED = {"i1": ("A", 0.9), "i2": ("B", 0.6), "i3": ("B", 0.5), "i4": ("B", 0.8), "i5": ("A", 0.7), "i6": ("C", 0.95)}


def predictions() -> pd.DataFrame:
    rows = []
    for image_id, (called, score) in CALLED.items():
        probabilities = [score if name == called else (1 - score) / 2 for name in CLASSES]
        rows.append([image_id, f"p_{image_id}", "1", TRUTH[image_id], called, *probabilities])
    return pd.DataFrame(rows, columns=["image_id", "patient_id", "center", "y_true", "y_pred", *(f"prob_{n}" for n in CLASSES)])


@pytest.fixture
def run(workspace):
    run = write_model_run(workspace)
    write_drawn_dataset(workspace, TRUTH, CLASSES)
    write_table(run.predictions_file("val"), predictions())
    return run


def test_films_are_picked_by_class_kind_and_confidence():
    picks = pick_films(predictions(), CLASSES, 1)
    assert [(p.class_name, p.kind, p.image_id) for p in picks] == [
        ("A", "right", "i1"),
        ("A", "missed", "i2"),
        ("A", "wrongly called", "i5"),
        ("B", "right", "i4"),
        ("B", "wrongly called", "i2"),
        ("C", "right", "i6"),
        ("C", "missed", "i5"),
    ]
    assert [pick.shown_classes for pick in picks][:3] == [("A",), ("A", "B"), ("A",)]
    assert [p.image_id for p in pick_films(predictions(), CLASSES, 2) if (p.class_name, p.kind) == ("B", "right")] == ["i4", "i3"]


def test_a_gallery_is_a_sheet_a_picture_for_each_map_and_their_facts(workspace, run):
    told = []
    made = make_gallery(
        workspace, run.id, per_class=1, method="layercam", progress=lambda done, total: told.append((done, total))
    )
    folder = workspace.reports / made["folder"]
    content = json.loads((folder / "gallery.json").read_text())
    assert made["failures"] == []
    assert made["items"] == len(content["items"]) == 9  # seven picks, two of them missed and so shown for two classes
    assert content["disclaimer"] == RESEARCH_ONLY
    for item in content["items"]:
        with Image.open(folder / item["file"]) as picture:
            assert picture.text["Disclaimer"] == RESEARCH_ONLY
        assert item["map"]["cells"] == [[3, 3]]
        assert item["error"] is None
    with Image.open(folder / made["sheet"]) as sheet:
        assert sheet.height > 7 * 320  # a row for each class and kind
    assert told[-1] == (5, 5)  # films, each read once
    json.dumps(made)


def test_a_film_that_is_gone_is_listed_and_the_rest_is_made(workspace, run):
    load_dataset(workspace, "drawn").film_path("i2").unlink()
    made = make_gallery(workspace, run.id, per_class=1)
    assert {(f["image"], f["class"]) for f in made["failures"]} == {("i2", "A"), ("i2", "B")}
    assert all("not where it was" in failure["error"] for failure in made["failures"])
    assert made["items"] == 6


def test_a_gallery_without_a_single_map_is_an_error(workspace, run):
    dataset = load_dataset(workspace, "drawn")
    for image_id in TRUTH:
        dataset.film_path(image_id).unlink()
    with pytest.raises(DataError, match="Not one of 9 maps"):
        make_gallery(workspace, run.id, per_class=1)
    assert not list(workspace.reports.rglob("gallery.png"))


def test_a_gallery_needs_predictions_a_known_method_and_a_number_of_films(workspace, run):
    with pytest.raises(DataError, match="no predictions on 'test'"):
        make_gallery(workspace, run.id, on="test")
    with pytest.raises(ConfigError, match="gradcam"):
        make_gallery(workspace, run.id, method="jet")
    with pytest.raises(ConfigError, match="1 to 20"):
        make_gallery(workspace, run.id, per_class=0)


def test_maps_of_named_films_come_at_full_size_under_their_ids(workspace, run, tmp_path):
    rows = make_maps(workspace, run.id, ChosenFilms(["i4", "unknown", "i6"]), tmp_path / "maps", method="layercam")
    assert list(dict.fromkeys(row["image"] for row in rows)) == ["i4", "unknown", "i6"]
    failed = [row for row in rows if row["error"]]
    assert [row["image"] for row in failed] == ["unknown"]
    assert "has no film 'unknown'" in failed[0]["error"]
    made = [row for row in rows if not row["error"]]
    assert {row["class"] for row in made if row["image"] == "i4"} == {
        "B",
        next(r["predicted"] for r in made if r["image"] == "i4"),
    }
    for row in made:
        assert row["file"] == f"{row['image']}_{row['class']}.png"
        with Image.open(tmp_path / "maps" / row["file"]) as picture:
            film = np.asarray(Image.open(load_dataset(workspace, "drawn").film_path(row["image"])))
            assert np.abs(np.asarray(picture)[:160, :128, 0].astype(int) - film).max() <= 1  # the plain film, every pixel


def test_without_named_films_the_clearest_right_and_wrong_one_of_each_class_are_taken(workspace, run, tmp_path):
    assert telling_films(run, CLASSES) == ["i1", "i2", "i4", "i6", "i5"]
    run.predictions_file("val").unlink()
    with pytest.raises(DataError, match="no predictions"):
        make_maps(workspace, run, ChosenFilms(), tmp_path / "maps")


def test_names_of_pictures_cannot_leave_their_folder():
    assert safe_name("../../etc/passwd") == "_.._etc_passwd"
    assert safe_name("Benign / fibroadenoma") == "Benign___fibroadenoma"
    assert safe_name("...") == "_"
