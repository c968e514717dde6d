"""The alarm while a run trains: one answer for every film."""

from __future__ import annotations

from pathlib import Path

import pytest

from demo_data import demo_workspace
from mammo_core.config import TrainConfig
from mammo_core.runs.run_dir import RunDir
from mammo_core.workflows.launch import LaunchPlan, create_run, plan_runs
from mammo_core.workflows.run_writer import RunWriter
from mammo_core.workflows.train_run import DONE, train

STUCK = {
    "arch": "resnet10t",
    "weights": "none",
    "image_size": 32,
    "epochs": 3,
    "warmup_epochs": 0,
    "batch_size": 16,
    "lr": 1e-9,
    "min_lr": 0,
    "early_stopping_patience": None,
    "threads": 1,
}
"""A model that cannot learn gives every film the same class."""


def test_a_run_that_collapses_says_so_in_its_status_and_its_log(tmp_path_factory):
    home = demo_workspace(tmp_path_factory, "alarm")
    plan = LaunchPlan(dataset="demo", splits=["demo"], experiment="stuck", settings=STUCK, seeds=[1])
    run = create_run(home, plan_runs(home, plan)[0])
    assert train(home, run) == DONE
    shares = run.history()[-1].predicted_share
    assert max(shares.values()) >= 0.95, "the setting of this test no longer collapses"
    constant = max(shares, key=shares.get)
    assert f"the predictions are {constant}" in run.status().alarm
    assert run.log_file.read_text().count("Alarm: ") == 1


@pytest.fixture
def writer(tmp_path: Path) -> RunWriter:
    (tmp_path / "run").mkdir()
    return RunWriter(RunDir(tmp_path / "run"), TrainConfig(class_names=("A", "B")))


def test_one_bad_epoch_is_no_alarm_two_are_and_a_good_one_ends_it(writer):
    said = []
    for sentence in ("stuck", "", "stuck", "stuck", "stuck", "", "stuck"):
        writer.watch(sentence)
        said.append(writer.run.status().alarm)
    assert said == ["", "", "", "stuck", "stuck", "", ""]


def test_an_alarm_of_an_earlier_start_does_not_outlive_a_resume(writer):
    writer.watch("stuck")
    writer.watch("stuck")
    assert RunWriter(writer.run, TrainConfig(class_names=("A", "B"))).run.status().alarm == ""
