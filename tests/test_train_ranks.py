"""One run trained by two processes: the files of one writer, the numbers of one process, and no silent loss of a process."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from demo_data import demo_workspace
from mammo_core.presets import load_preset
from mammo_core.runs.run_dir import RunDir
from mammo_core.settings import HOME_VARIABLE, Workspace
from mammo_core.storage import lock_of
from mammo_core.workflows.launch import LaunchPlan, create_run, plan_runs
from mammo_core.workflows.train_run import DONE, train
from several_processes import Started, give_command, start_all, wait_all

SETTINGS = {
    "arch": "test_convnext",  # without batch normalisation, so that the sum of the parts is the whole
    "weights": "none",
    "image_size": 48,
    "epochs": 2,
    "warmup_epochs": 0,
    "batch_size": 8,
    "dropout": 0.0,
    "early_stopping_patience": None,
    "device": "cpu",
    "threads": 1,
}


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Workspace:
    return demo_workspace(tmp_path_factory, "ranks")


def _new_run(home: Workspace, experiment: str, **settings) -> RunDir:
    chosen = {**load_preset("demo").settings, **SETTINGS, **settings}  # as the command has it
    plan = LaunchPlan(dataset="demo", splits=["demo"], experiment=experiment, settings=chosen, seeds=[1])
    return create_run(home, plan_runs(home, plan)[0])


def _train_in_two(home: Workspace, folder: Path, *arguments: str) -> list[Started]:
    return start_all(2, folder, give_command, "train", *arguments, **{HOME_VARIABLE: str(home.home)})


def test_two_processes_make_an_experiment_once_with_the_numbers_of_one_process(home, tmp_path):
    alone = _new_run(home, "alone")
    assert train(home, alone) == DONE
    sets = [word for key, value in SETTINGS.items() for word in ("--set", f"{key}={'null' if value is None else value}")]
    films = ["--dataset", "demo", "--split", "demo", "--experiment", "both", "--seeds", "1,2"]
    ended = wait_all(_train_in_two(home, tmp_path, *films, *sets))
    assert [code for code, _ in ended] == [0, 0], ended
    folder = home.experiments / "both"
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == ["seed_1", "seed_2"]
    assert [RunDir(folder / name).state() for name in ("seed_1", "seed_2")] == ["finished", "finished"]
    shared = RunDir(folder / "seed_1")
    assert {path.name for path in shared.path.iterdir()} == {path.name for path in alone.path.iterdir()}
    assert json.loads(shared.environment_file.read_text())["processes"] == 2
    for one, two in zip(alone.history(), shared.history(), strict=True):
        for name in ("train_loss", "val_loss", "train_loss_eval", "val_acc", "lr"):
            assert getattr(two, name) == pytest.approx(getattr(one, name), rel=1e-3), name
    tables = [pd.read_csv(run.path / "val_predictions.csv") for run in (alone, shared)]
    assert tables[0]["image_id"].tolist() == tables[1]["image_id"].tolist()
    np.testing.assert_allclose(tables[0].filter(like="prob_"), tables[1].filter(like="prob_"), atol=1e-3)
    assert len(np.load(shared.embeddings)) == len(tables[1])
    assert shared.log_file.read_text().count("epoch 2/2") == 1


def test_a_lost_process_fails_the_run_in_words(home, tmp_path):
    run = _new_run(home, "lost", epochs=500)
    started = _train_in_two(home, tmp_path, "--run-dir", str(run.path))
    until = time.monotonic() + 120
    while not run.history() and time.monotonic() < until:
        time.sleep(0.2)
    started[1].process.kill()
    codes = [code for code, _ in wait_all(started)]
    assert codes[0] == 1
    assert run.state() == "failed"
    assert run.status().message
    assert run.history()  # what was done stays, and can be resumed


def test_a_second_launch_of_a_run_at_work_is_busy_in_every_process(home, tmp_path):
    run = _new_run(home, "busy")
    with lock_of(run.lock_file).acquire():
        ended = wait_all(_train_in_two(home, tmp_path, "--run-dir", str(run.path)))
    assert [code for code, _ in ended] == [75, 75], ended
