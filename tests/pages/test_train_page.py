"""Train: what is missing, what will happen, impossible settings, and the start."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from mammo_core.data.manifest import Dataset
from mammo_core.data.splits import SplitPlan, save_split, split_dataset
from mammo_core.presets import load_preset
from mammo_core.runs.queue import list_requests
from mammo_core.runs.run_dir import list_runs
from mammo_core.settings import Workspace
from mammo_core.storage import lock_of, write_table
from mammo_core.workflows.estimate import question_of
from mammo_core.workflows.launch import LaunchPlan, plan_runs
from mammo_core.workflows.probe import Probe, keep_probe

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


def choice(app: AppTest, label: str):
    return next(item for item in app.selectbox if item.label == label)


def test_the_settings_of_the_engine_can_be_changed_and_reach_the_runs(
    open_page: OpenPage, read: Read, workspace: Workspace, ready: Dataset
) -> None:
    app = open_page("train", {"train_split": "random"})
    for label, value in {
        "Films of an epoch": "balanced",
        "Class weights": "none",
        "Loss": "ordinal",
        "Augmentation": "strong",
        "Precision": "float32",
        "CUDA graphs": "off",
    }.items():
        choice(app, label).set_value(value)
    for label, value in {"Mixup": "0.2", "Backbone's share": "0.1", "Mean of weights": "0.999"}.items():
        text(app, label).set_value(value)
    next(item for item in app.number_input if item.label == "Films at once").set_value(4)
    next(item for item in app.checkbox if item.label == "Repeatable").check()
    text(app, "Seeds").set_value("5").run()
    assert "ema\\_decay none → 0.999" in read(app)
    button(app, "Start 1 run").click().run()
    assert not app.exception
    config = list_runs(workspace)[0].config()
    assert (config.sampler, config.class_weights, config.loss, config.augment) == ("balanced", "none", "ordinal", "strong")
    assert (config.mixup, config.backbone_lr_factor, config.ema_decay) == (0.2, 0.1, 0.999)
    assert (config.precision, config.graphs, config.micro_batch, config.deterministic) == ("float32", "off", 4, True)


def test_two_corrections_for_rare_classes_are_refused_beside_the_setting(open_page: OpenPage, read: Read, ready: Dataset) -> None:
    app = open_page("train", {"train_split": "random"})
    choice(app, "Films of an epoch").set_value("balanced").run()
    assert any("correct for rare classes twice" in item.value for item in app.error)
    button(app, "Reset to the preset").click().run()
    assert not app.error
    assert choice(app, "Films of an epoch").value == "shuffle"


def test_the_running_mean_can_be_switched_off_in_a_preset_that_has_it(open_page: OpenPage, read: Read, ready: Dataset) -> None:
    app = open_page("train", {"train_split": "random"})
    app.radio(key="train_preset").set_value("recommended_density_offline").run()
    text(app, "Mean of weights").set_value("").run()
    assert not app.error
    assert "Changed: ema\\_decay 0.999 → none" in read(app)


def test_one_view_counts_its_films_only_and_an_unknown_one_is_named(open_page: OpenPage, read: Read, ready: Dataset) -> None:
    manifest = ready.manifest()
    write_table(ready.directory / "manifest.csv", manifest.assign(view=manifest["laterality"].map({"L": "CC", "R": "MLO"})))
    app = open_page("train", {"train_split": "random"})
    assert app.dataframe[0].value["Training"].tolist() == ["14 · 7"] * 4
    view = choice(app, "View")
    assert view.value == "(all views)"
    view.set_value("MLO").run()
    assert not app.exception
    assert app.dataframe[0].value["Training"].tolist() == ["7 · 7"] * 4
    choice(app, "View").options.append("XCCL")
    choice(app, "View").set_value("XCCL").run()
    assert any("no film of the view XCCL" in item.value and r"CC \(40\), MLO \(40\)" in item.value for item in app.error)


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


# ---- time and memory --------------------------------------------------------------------------------------------------


def _keep_probe(workspace: Workspace, **facts: object) -> None:
    """A result for the demo preset, as a probe leaves it."""
    plan = LaunchPlan(dataset="hospital", splits=["random"], experiment="x", settings=load_preset("demo").settings)
    seconds = {"step_seconds": 2.0, "evaluation_seconds": 1.0, "checkpoint_seconds": 0.2, "start_seconds": 5.0}
    where = {"memory_bytes": 2**30, "micro_batch": 16, "precision": "float32", "graphs": "off", "threads": 1, "device": "cpu"}
    found = Probe.model_validate({**seconds, **where, "batch_size": 16, "steps": 3, **facts})
    keep_probe(workspace, question_of(plan_runs(workspace, plan)), found)


def test_time_and_memory_are_offered_to_be_measured(open_page: OpenPage, read: Read, ready: Dataset) -> None:
    app = open_page("train", {"train_split": "random"})
    assert not button(app, "Estimate time and memory").disabled
    assert "memory**" not in read(app)


def test_what_was_measured_is_told_at_once(open_page: OpenPage, read: Read, workspace: Workspace, ready: Dataset) -> None:
    _keep_probe(workspace)
    app = open_page("train", {"train_split": "random"})
    assert not app.exception
    # 56 training films are 3.5 steps of 2 s; twice 8 validation films a quarter of a batch of 1 s.
    assert "One epoch takes about 10 s" in read(app)
    assert "About 60 s each, finished around" in read(app)
    assert "1.2 GB memory" in read(app)
    assert "Estimate time and memory" not in [item.label for item in app.button]
    next(item for item in app.number_input if item.label == "Batch size").set_value(8).run()
    assert button(app, "Estimate time and memory"), "another batch size is another question"


def test_beside_a_training_nothing_is_measured(open_page: OpenPage, read: Read, workspace: Workspace, ready: Dataset) -> None:
    with lock_of(workspace.slot_lock):
        app = open_page("train", {"train_split": "random"})
    assert "can be measured once the training that runs now has ended" in read(app)
    assert "Estimate time and memory" not in [item.label for item in app.button]


def test_a_figure_taken_beside_a_training_can_be_taken_again(
    open_page: OpenPage, read: Read, workspace: Workspace, ready: Dataset
) -> None:
    _keep_probe(workspace, beside=True)
    app = open_page("train", {"train_split": "random"})
    assert "beside a running training" in read(app)
    assert button(app, "Measure again")


def test_measuring_goes_on_beside_the_page_and_refuses_what_cannot_work(open_page: OpenPage, read: Read, ready: Dataset) -> None:
    app = open_page("train", {"train_split": "random"})
    absent = "cuda" if sys.platform == "darwin" else "mps"
    next(item for item in app.selectbox if item.label == "Device").set_value(absent).run()
    assert not button(app, "Start 3 runs").disabled
    button(app, "Estimate time and memory").click().run()
    assert "Measuring one step" in read(app)
    deadline = time.monotonic() + 120
    while "Measuring one step" in read(app) and time.monotonic() < deadline:
        time.sleep(1)
        app.run()
    assert any("which this machine does not have" in item.value for item in app.error)
    assert button(app, "Start 3 runs").disabled
    assert button(app, "Measure again")
