"""A run on one view learns from, and is judged on, films of that view only, and every count and proof says so."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

from mammo_core.data.exclusions import exclude
from mammo_core.data.manifest import PATH_COLUMNS, DatasetRecord, load_dataset
from mammo_core.data.split_files import read_split
from mammo_core.data.split_one_view import of_one_view, views_there
from mammo_core.data.splits import SplitPlan, load_split, save_split, split_dataset
from mammo_core.errors import ConfigError, SplitError
from mammo_core.report.split_words import left_out_words
from mammo_core.settings import Workspace
from mammo_core.storage import write_json, write_table
from mammo_core.workflows.inference import run_rows
from mammo_core.workflows.launch import LaunchPlan, launch
from mammo_core.workflows.launch_preview import preview_launch

CLASSES = ("A", "B")
PATIENTS = 40


@pytest.fixture
def plan(workspace: Workspace) -> LaunchPlan:
    """Forty patients with a CC film each, three in four also with an MLO film; split ``whole`` and ``folds``."""
    films = [(f"p{p}", view, CLASSES[p % 2]) for p in range(PATIENTS) for view in (("CC", "mlo") if p % 8 < 6 else ("CC",))]
    rows = [
        {"image_id": f"{patient}{view}", "patient_id": patient, "exam_id": f"e{patient}", "laterality": "L", "view": view,
         "center": "1", "vendor": "", "label": label}
        for patient, view, label in films
    ]  # fmt: skip
    directory = workspace.dataset("films")
    directory.mkdir(parents=True)
    manifest = pd.DataFrame(rows)
    write_table(directory / "manifest.csv", manifest)
    paths = [(image, f"{image}.png", "", f"pixels of {image}") for image in manifest["image_id"]]
    write_table(directory / "paths.csv", pd.DataFrame(paths, columns=list(PATH_COLUMNS)))
    record = DatasetRecord(
        name="films", root="/nowhere", adapter="table", task="density", class_names=list(CLASSES), patient_key="column"
    )
    write_json(directory / "dataset.json", record.to_json())
    dataset = load_dataset(workspace, "films")
    save_split(workspace, "whole", split_dataset(dataset, SplitPlan()))
    save_split(workspace, "folds", split_dataset(dataset, SplitPlan(scheme="kfold", folds=3)))
    settings = {"arch": "tf_efficientnet_lite0", "weights": "none", "epochs": 3, "view": "Mlo"}
    return LaunchPlan(dataset="films", splits=["whole"], experiment="mlo", seeds=(1,), settings=settings)


def test_the_runs_own_split_holds_films_of_that_view_only(workspace: Workspace, plan: LaunchPlan) -> None:
    (run,) = launch(workspace, plan)
    own, whole = read_split(run.path), load_split(workspace, "whole")
    expected = whole.table[whole.table["image_id"].str.endswith("mlo")].reset_index(drop=True)
    pd.testing.assert_frame_equal(own.table, expected)
    assert (run.config().view, own.record.view, run.id) == ("MLO", "MLO", "mlo/seed_1")
    for part in ("train", "val", "test"):
        rows = run_rows(workspace, run, part)
        assert set(rows["view"]) == {"mlo"}
        assert len(rows) == own.record.counts[part]["films"] == sum(expected["split"] == part)
        labels = rows["label"].value_counts().to_dict()
        assert {name: count["films"] for name, count in own.record.class_counts[part].items()} == labels


def test_the_proof_and_the_report_count_the_films_that_stay(workspace: Workspace, plan: LaunchPlan) -> None:
    (run,) = launch(workspace, plan)
    record = read_split(run.path).record
    proof = record.proof
    assert (proof.films, proof.patients, proof.films_unplaced, proof.leaks) == (30, 30, 0, False)
    assert proof.duplicates_checked
    assert record.left_out == {"not of the view MLO": PATIENTS}
    assert f"{PATIENTS} (not of the view MLO)" in left_out_words(record.to_json())


def test_each_fold_is_cut_down_and_its_counts_add_up(workspace: Workspace, plan: LaunchPlan) -> None:
    runs = launch(workspace, replace(plan, splits=["folds"]))
    assert [run.path.name for run in runs] == ["seed_1_fold_1", "seed_1_fold_2", "seed_1_fold_3"]
    validated = []
    for run in runs:
        own = read_split(run.path)
        counts = own.table["split"].value_counts()
        assert all(own.record.counts[part]["films"] == counts[part] for part in ("train", "val", "test"))
        for part in ("train", "val"):
            assert sum(count["films"] for count in own.record.class_counts[part].values()) == counts[part]
        validated += own.table.loc[own.table["split"] == "val", "image_id"].tolist()
    table = load_split(workspace, "folds").table
    assert sorted(validated) == sorted(table.loc[(table["fold"] != "") & table["image_id"].str.endswith("mlo"), "image_id"])


def test_the_preview_counts_films_of_that_view_only(workspace: Workspace, plan: LaunchPlan) -> None:
    counts = preview_launch(workspace, plan).counts
    (run,) = launch(workspace, plan)
    own = read_split(run.path).record
    assert {(count.part, count.class_name): count.films for count in counts} == {
        (part, name): own.class_counts[part][name]["films"] for part in ("train", "val") for name in CLASSES
    }


def test_a_view_that_no_film_has_is_refused_with_those_there_are(workspace: Workspace, plan: LaunchPlan) -> None:
    wanted = replace(plan, settings={**plan.settings, "view": "XCCL"})
    with pytest.raises(SplitError, match=r"no film of the view XCCL in test, train, val; .* CC \(40\), MLO \(30\)\."):
        preview_launch(workspace, wanted)
    with pytest.raises(ConfigError, match="view is ' '"):
        preview_launch(workspace, replace(plan, settings={**plan.settings, "view": " "}))


def test_a_part_or_a_class_without_films_of_the_view_is_refused(workspace: Workspace, plan: LaunchPlan) -> None:
    dataset, split = load_dataset(workspace, "films"), load_split(workspace, "whole")
    manifest = dataset.manifest().set_index("image_id")
    of_val = split.table.loc[split.table["split"] == "val", "image_id"]
    manifest.loc[of_val, "view"] = "CC"
    write_table(dataset.directory / "manifest.csv", manifest.reset_index())
    with pytest.raises(SplitError, match="no film of the view MLO in val;"):
        of_one_view(split, dataset, "MLO")
    of_class = [image for image in of_val if manifest.loc[image, "label"] == "A"]
    manifest.loc[of_class, "view"] = "MLO"
    write_table(dataset.directory / "manifest.csv", manifest.reset_index())
    with pytest.raises(SplitError, match="no film of class B in val;"):
        of_one_view(split, dataset, "MLO")


def test_patients_joined_by_a_film_of_another_view_still_count_as_shared(workspace: Workspace, plan: LaunchPlan) -> None:
    dataset, split = load_dataset(workspace, "films"), load_split(workspace, "whole")
    in_train, in_test = (split.table.loc[split.table["split"] == part, "patient_id"].iloc[0] for part in ("train", "test"))
    manifest = dataset.manifest()
    joined = f"e{in_train}"  # an exam of both patients, of which the run sees no film
    manifest.loc[(manifest["patient_id"] == in_test) & (manifest["view"] == "CC"), "exam_id"] = joined
    manifest.loc[(manifest["patient_id"] == in_train) & (manifest["view"] == "CC"), "exam_id"] = joined
    write_table(dataset.directory / "manifest.csv", manifest)
    assert of_one_view(split, dataset, "MLO").record.proof.groups_shared == 1


def test_films_taken_out_before_the_split_are_not_called_unplaced(workspace: Workspace, plan: LaunchPlan) -> None:
    dataset = load_dataset(workspace, "films")
    exclude(dataset, ["p0mlo"], "blurred")
    split = split_dataset(dataset, SplitPlan())
    assert of_one_view(split, dataset, "mlo").record.proof.films_unplaced == 0


def test_films_without_a_view_are_named_unknown() -> None:
    assert views_there(pd.DataFrame({"view": ["", "CC", "cc ", "MLO", "MLO", "MLO"]})) == "MLO (3), CC (2), unknown (1)"
