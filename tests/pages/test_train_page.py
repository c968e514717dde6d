"""Train: what is missing, what will happen, impossible settings, and the start."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from mammo_core.data.manifest import Dataset
from mammo_core.data.splits import SplitPlan, save_split, split_dataset
from mammo_core.presets import load_preset
from mammo_core.runs.queue import list_requests
from mammo_core.runs.run_dir import list_runs
from mammo_core.settings import Workspace

OpenPage = Callable[..., AppTest]
Read = Callable[[AppTest], str]
EPOCHS = load_preset("demo").settings["epochs"]


def button(app: AppTest, label: str):
    return next(item for item in app.button if item.label == label)


def text(app: AppTest, label: str):
    return next(item for item in app.text_input if item.label == label)


@pytest.fixture
def ready(workspace: Workspace, make_dataset: Callable) -> Dataset:
    """A data set with two splits."""
    dataset = make_dataset("hospital")
    save_split(workspace, "random", split_dataset(dataset, SplitPlan()))
    save_split(workspace, "folds", split_dataset(dataset, SplitPlan(scheme="kfold", folds=3)))
    return dataset


def test_without_films_the_page_leads_to_them(open_page: OpenPage, read: Read) -> None:
    app = open_page("train")
    assert not app.exception
    assert "There are no films yet" in read(app)


def test_without_a_split_the_page_leads_to_one(open_page: OpenPage, read: Read, make_dataset: Callable) -> None:
    make_dataset("hospital")
    app = open_page("train")
    assert not app.exception
    assert "no split yet" in read(app)
    assert "Make a split" in [item.label for item in app.button]


def test_the_page_says_what_will_happen(open_page: OpenPage, read: Read, ready: Dataset) -> None:
    app = open_page("train", {"train_split": "random"})
    assert not app.exception
    seen = read(app)
    assert f"**3 runs** of {EPOCHS} epochs" in seen
    assert "hospital\\_demo/seed\\_42" in seen
    assert "0 of 40 patients shared" in seen
    assert "ImageNet, from the package" in seen
    assert app.dataframe[0].value["Class"].tolist() == ["A", "B", "C", "D"]


def test_presets_for_another_task_are_left_out_and_that_is_said(open_page: OpenPage, read: Read, ready: Dataset) -> None:
    app = open_page("train")
    assert "Reference lesion" not in app.radio(key="train_preset").options
    assert "presets for another task are left out" in read(app)


def test_starting_makes_the_runs_and_queues_them(open_page: OpenPage, read: Read, workspace: Workspace, ready: Dataset) -> None:
    app = open_page("train", {"train_split": "random"})
    text(app, "Seeds").set_value("5, 6").run()
    button(app, "Start 2 runs").click().run()
    assert not app.exception
    assert [run.id for run in list_runs(workspace)] == ["hospital_demo/seed_5", "hospital_demo/seed_6"]
    assert [request.kind for request in list_requests(workspace)] == ["train", "train"]
    assert "2 runs queued" in read(app)
    assert "Start 2 more runs" in [item.label for item in app.button]


def test_folds_follow_from_the_split(open_page: OpenPage, read: Read, ready: Dataset) -> None:
    app = open_page("train", {"train_split": "folds"})
    text(app, "Seeds").set_value("42").run()
    assert not app.exception
    assert "seed\\_42\\_fold\\_3" in read(app)
    assert "Start 3 runs" in [item.label for item in app.button]


def test_two_splits_start_as_a_pair(open_page: OpenPage, read: Read, ready: Dataset) -> None:
    app = open_page("train", {"train_split": "random"})
    app.multiselect(key="train_split").set_value(["random", "folds"])
    text(app, "Seeds").set_value("42").run()
    assert "hospital\\_demo\\_random/seed\\_42" in read(app)
    assert "hospital\\_demo\\_folds/seed\\_42\\_fold\\_1" in read(app)


@pytest.mark.parametrize(
    ("label", "value", "words"),
    [
        ("Seeds", "42, x", "expected whole numbers"),
        ("Seeds", "42, 42", "one number twice"),
        ("Learning rate", "5", "expected a learning rate above 0"),
        ("Learning rate", "fast", "expected a number"),
        ("Image size, pixels", "8", "expected sides of 32"),
        ("Warm-up epochs", "99", "below epochs"),
        ("Name", "a/b", "cannot be used"),
    ],
)
def test_impossible_settings_are_refused_where_they_are_typed(
    open_page: OpenPage, read: Read, ready: Dataset, label: str, value: str, words: str
) -> None:
    app = open_page("train", {"train_split": "random"})
    text(app, label).set_value(value).run()
    assert not app.exception
    assert any(words in item.value for item in app.error)
    assert not any(item.label.startswith("Start") for item in app.button)


def test_changed_settings_are_listed_and_can_be_reset(open_page: OpenPage, read: Read, ready: Dataset) -> None:
    app = open_page("train", {"train_split": "random"})
    next(item for item in app.number_input if item.label == "Epochs").set_value(3).run()
    assert "**3 runs** of 3 epochs" in read(app)
    assert f"Changed: epochs {EPOCHS} → 3" in read(app)
    button(app, "Reset to the preset").click().run()
    assert f"**3 runs** of {EPOCHS} epochs" in read(app)


def test_weights_that_are_not_here_stop_the_start(open_page: OpenPage, read: Read, ready: Dataset) -> None:
    app = open_page("train", {"train_split": "random"})
    box = next(item for item in app.selectbox if item.label == "First weights")
    box.options.append("/nowhere/film.pth")
    box.set_value("/nowhere/film.pth").run()
    assert not app.exception
    assert any("There is no weights file" in item.value for item in app.error)
    assert button(app, "Start 3 runs").disabled


def test_a_broken_split_is_told_and_the_others_go_on(
    open_page: OpenPage, read: Read, workspace: Workspace, ready: Dataset
) -> None:
    (workspace.split("folds") / "split.csv").write_text("image_id\n")
    app = open_page("train")
    assert not app.exception
    assert "**folds**" in read(app)
    assert "**3 runs**" in read(app)
