"""What a launch would make is told before it is made."""

from __future__ import annotations

import pandas as pd
import pytest

from mammo_core.data.manifest import DatasetRecord, count
from mammo_core.data.splits import SplitPlan, make_split, save_split
from mammo_core.errors import ConfigError, MammoError
from mammo_core.runs.run_dir import list_runs
from mammo_core.settings import Workspace
from mammo_core.storage import write_json, write_table
from mammo_core.workflows.launch import LaunchPlan, launch
from mammo_core.workflows.launch_preview import parse_seeds, preview_launch

CLASSES = ("A", "B")


@pytest.fixture
def plan(workspace: Workspace) -> LaunchPlan:
    """Forty patients with two films each, split at random (``whole``) and into three folds (``folds``)."""
    rows = [
        {"image_id": f"f{p}{side}", "patient_id": f"p{p}", "exam_id": f"e{p}", "laterality": side, "view": "CC", "center": "1",
         "vendor": "", "label": CLASSES[p % 2]}
        for p in range(40)
        for side in "LR"
    ]  # fmt: skip
    manifest = pd.DataFrame(rows)
    folder = workspace.datasets / "films"
    folder.mkdir(parents=True)
    write_table(folder / "manifest.csv", manifest)
    record = DatasetRecord(
        name="films", root="/films", adapter="table", task="density", class_names=list(CLASSES), counts=count(manifest, CLASSES)
    )
    write_json(folder / "dataset.json", record.to_json())
    for name, split in {
        "whole": SplitPlan(dataset="films"),
        "folds": SplitPlan(dataset="films", scheme="kfold", folds=3),
    }.items():
        save_split(workspace, name, make_split(manifest, CLASSES, split))
    return LaunchPlan(
        dataset="films", splits=["whole"], experiment="try", settings={"epochs": 3, "warmup_epochs": 1}, seeds=(1, 2)
    )


def test_the_preview_names_the_runs_that_the_launch_then_makes(workspace: Workspace, plan: LaunchPlan) -> None:
    outlook = preview_launch(workspace, plan)
    assert outlook.epochs == 3
    assert list_runs(workspace) == [], "looking makes nothing"
    assert outlook.runs == tuple(run.id for run in launch(workspace, plan))


def test_films_and_patients_are_those_of_the_split(workspace: Workspace, plan: LaunchPlan) -> None:
    counts = preview_launch(workspace, plan).counts
    assert {count.part for count in counts} == {"train", "val"}
    assert all(count.films == 2 * count.patients for count in counts)
    assert sum(count.patients for count in counts if count.part == "train") == 28


def test_folds_multiply_the_runs_and_a_pair_keeps_its_experiments_apart(workspace: Workspace, plan: LaunchPlan) -> None:
    pair = LaunchPlan(
        dataset="films", splits=["whole", "folds"], experiment="try", settings={"epochs": 3, "warmup_epochs": 1}, seeds=(1,)
    )
    outlook = preview_launch(workspace, pair)
    assert outlook.folds == 3
    assert outlook.runs == (
        "try_whole/seed_1", "try_folds/seed_1_fold_1", "try_folds/seed_1_fold_2", "try_folds/seed_1_fold_3",
    )  # fmt: skip


def test_a_split_that_is_not_there_is_one_sentence(workspace: Workspace, plan: LaunchPlan) -> None:
    with pytest.raises(MammoError, match="no split 'other'"):
        preview_launch(workspace, LaunchPlan(dataset="films", splits=["other"], experiment="try"))


@pytest.mark.parametrize("text", ["42, 43, 44", "42 43 44", " 42;43,44 "])
def test_seeds_are_read_however_they_are_separated(text: str) -> None:
    assert parse_seeds(text) == (42, 43, 44)


@pytest.mark.parametrize("text", ["", "a", "1,1", "1.5", "-3", "²", ",".join(map(str, range(51)))])
def test_seeds_that_cannot_be_used_are_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_seeds(text)
