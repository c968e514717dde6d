"""One run from its directory to its results: the files, resume after a kill, refusal of what changed."""

from __future__ import annotations

import json
import pickle
import shutil
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from demo_data import demo_workspace
from mammo_core.data.manifest import load_dataset
from mammo_core.errors import ConfigError, SplitError
from mammo_core.reading import read_yaml
from mammo_core.runs.run_dir import RunDir
from mammo_core.settings import Workspace
from mammo_core.storage import lock_of, write_yaml
from mammo_core.training.checkpoint import load_checkpoint, load_tensors
from mammo_core.workflows.evaluation import evaluate_run
from mammo_core.workflows.launch import LaunchPlan, check_resumable, create_run, launch, plan_runs
from mammo_core.workflows.train_run import BUSY, DONE, FAILED, STOPPED, train
from mammo_core.workflows.training_job import Training
from several_processes import Started, give_command, start

SETTINGS = {
    "arch": "resnet10t",
    "weights": "none",
    "image_size": 48,
    "epochs": 3,
    "warmup_epochs": 0,
    "batch_size": 8,
    "lr": 1e-3,
    "early_stopping_patience": None,
    "threads": 1,
}
PATIENCE_SECONDS = 120


def _silent(done: int, total: int, message: str = "") -> None:
    pass


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Workspace:
    """A workspace with a small phantom data set and its split, made once."""
    return demo_workspace(tmp_path_factory, "train")


def _new_run(home: Workspace, experiment: str, **settings) -> RunDir:
    plan = LaunchPlan(dataset="demo", splits=["demo"], experiment=experiment, settings={**SETTINGS, **settings}, seeds=[42])
    return create_run(home, plan_runs(home, plan)[0])


@pytest.fixture(scope="module")
def finished(home) -> RunDir:
    run = _new_run(home, "whole")
    assert train(home, run) == DONE
    return run


def _train_elsewhere(home: Workspace, run: RunDir, folder: Path) -> Started:
    """Train in another process; returns after the first epoch."""
    child = start(folder, give_command, "--home", str(home.home), "train", "--run-dir", str(run.path))
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not run.history() and child.process.is_alive() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert run.history(), child.said.read_text()
    return child


def _copy(home: Workspace, run: RunDir, experiment: str) -> RunDir:
    return RunDir(shutil.copytree(run.path, home.experiments / experiment / run.name))


def _as_stopped(run: RunDir) -> RunDir:
    run.status_file.write_text(run.status().model_copy(update={"state": "stopped"}).model_dump_json())
    return run


def _comparable(run: RunDir) -> list[dict]:
    hidden = {"seconds", "images_per_second", "resumed"}
    return [record.model_dump(exclude=hidden) for record in run.history()]


def test_a_finished_run_holds_every_file_of_the_contract(finished):
    expected = (
        "config.yaml environment.json split.csv split.json status.json train_history.json train_history.pkl training_log.csv "
        "best_model.pth final_model.pth resume.pt summary.json metrics/val_metrics.json val_predictions.csv embeddings_val.npy "
        "loss_curve.png recall_curve.png run.log"
    )
    assert {name for name in expected.split() if not (finished.path / name).is_file()} == set()
    assert not list(finished.path.rglob("*.tmp"))
    status = finished.status()
    assert (status.state, status.stop_reason, status.epoch, status.epochs) == ("finished", "max_epochs", 3, 3)
    assert "So far" not in json.loads((finished.path / "summary.json").read_text())["diagnosis"]["headline"]


def test_the_three_forms_of_the_history_agree(finished):
    records = finished.history()
    assert [record.epoch for record in records] == [1, 2, 3]
    log = pd.read_csv(finished.training_log)
    arrays = pickle.loads(finished.history_pickle.read_bytes())
    losses = [record.val_loss for record in records]
    assert log["val_loss"].tolist() == pytest.approx(losses)
    assert arrays["val_losses"].tolist() == pytest.approx(losses)
    assert {"val_recall_A", "val_recall_B", "val_recall_C", "val_recall_D"} <= set(log.columns)


def test_every_number_can_be_recomputed_from_the_predictions_at_the_best_epoch(finished):
    summary, table = finished.summary(), finished.predictions("val")
    best = min(finished.history(), key=lambda record: record.val_loss)
    assert summary.best_epoch == best.epoch == finished.metrics("val").epoch
    accuracy = (table["y_true"] == table["y_pred"]).mean()
    assert summary.metrics["accuracy"].value == pytest.approx(accuracy) == pytest.approx(best.val_acc)
    truth = table["y_true"].map(lambda name: f"prob_{name}")
    picked = np.array([table.loc[index, column] for index, column in truth.items()])
    assert -np.log(picked).mean() == pytest.approx(best.val_loss, abs=1e-6)
    assert summary.metrics["accuracy"].ci_low < accuracy < summary.metrics["accuracy"].ci_high


def test_best_and_final_checkpoints_load_and_give_valid_probabilities(finished):
    best, final = load_checkpoint(finished.best_model), load_checkpoint(finished.final_model)
    assert (best.epoch, final.epoch) == (finished.summary().best_epoch, 3)
    for checkpoint in (best, final):
        with torch.inference_mode():
            probabilities = checkpoint.build_model()(torch.rand(2, 3, 48, 48)).softmax(1)
        assert probabilities.shape == (2, 4)
        assert torch.allclose(probabilities.sum(1), torch.ones(2))


def test_the_features_have_a_row_for_each_prediction(finished):
    features = np.load(finished.embeddings, allow_pickle=False)
    assert len(features) == len(finished.predictions("val"))
    assert np.isfinite(features).all()


def test_the_experiment_summary_counts_only_finished_runs(home, finished):
    content = json.loads((finished.path.parent / "seeds_summary.json").read_text())
    assert content["n"] == 1


def test_a_finished_run_is_left_as_it_is_and_its_experiment_gets_the_summary_it_lacks(home, finished):
    summary = finished.path.parent / "seeds_summary.json"
    summary.unlink()
    before = _contents(finished)
    assert train(home, finished) == DONE
    assert _contents(finished) == before
    assert json.loads(summary.read_text())["n"] == 1


def test_a_summary_that_cannot_be_written_does_not_undo_the_run(home, finished):
    run = _as_stopped(_copy(home, finished, "blocked"))
    (run.path.parent / "seeds_summary.json" / "in_the_way").mkdir(parents=True)
    assert train(home, run) == DONE
    assert run.state() == "finished"
    assert "seeds_summary.json" in run.log_file.read_text()


def _contents(run: RunDir) -> dict[str, bytes]:
    """All files but the log, which tells of every start, and locks."""
    files = (path for path in run.path.rglob("*") if path.is_file())
    return {path.name: path.read_bytes() for path in files if path != run.log_file and path.suffix != ".lock"}


def test_test_metrics_come_from_evaluate_alone_and_each_look_is_counted(home, finished):
    assert finished.metrics("test") is None
    for look in (1, 2):
        metrics = evaluate_run(home, finished, "test", _silent)
        assert len(finished.test_looks()) == look
    assert metrics.n == len(finished.predictions("test")) > 0
    assert np.sum(metrics.confusion_matrix) == metrics.n


def test_evaluating_val_again_gives_the_numbers_of_training(home, finished):
    before = finished.metrics("val").metrics["accuracy"].value
    assert evaluate_run(home, finished, "val", _silent).metrics["accuracy"].value == before


@pytest.mark.parametrize("seconds", [0.0, 0.7])
def test_a_killed_run_is_resumed_to_the_bits_of_an_uninterrupted_one(home, finished, tmp_path, seconds):
    run = _new_run(home, f"killed_{int(seconds * 10)}")
    child = _train_elsewhere(home, run, tmp_path)
    time.sleep(seconds)
    child.process.kill()
    child.wait()
    assert train(home, run) == DONE
    assert _comparable(run) == _comparable(finished)
    first, second = (torch.load(r.final_model, weights_only=True)["model_state"] for r in (run, finished))
    assert all(torch.equal(first[key], second[key]) for key in second)
    assert run.predictions_file("val").read_bytes() == finished.predictions_file("val").read_bytes()


def test_a_stopped_run_says_so_and_can_be_resumed(home, finished, tmp_path):
    run = _new_run(home, "stopped")
    child = _train_elsewhere(home, run, tmp_path)
    run.ask_to_stop()
    code, said = child.wait()
    assert code == STOPPED, said
    assert (run.state(), run.status().stop_reason, run.status().epoch) == ("stopped", "user", len(run.history()))
    check_resumable(run)
    kept, final = load_tensors(run.resume_file)["model"], load_checkpoint(run.final_model).weights
    assert all(torch.equal(final[name], kept[name]) for name in kept), "not those of the epoch that was begun"
    assert train(home, run) == DONE
    assert _comparable(run) == _comparable(finished)


def test_resume_refuses_a_changed_configuration(home, finished):
    run = _as_stopped(_copy(home, finished, "changed"))
    write_yaml(run.config_file, {**read_yaml(run.config_file), "lr": 0.5})
    assert train(home, run) == FAILED
    assert "its configuration changed since it was started" in run.status().message


def test_a_second_trainer_of_the_same_run_is_told_that_it_is_busy(home, finished):
    with lock_of(finished.lock_file).acquire():
        assert train(home, finished) == BUSY
    with lock_of(home.slot_lock).acquire():
        assert train(home, finished) == BUSY
    assert finished.status().state == "finished"


def test_a_launch_never_overwrites_and_a_finished_run_is_not_resumed(home, finished):
    again = _new_run(home, "whole")
    assert again.name == "seed_42_2"
    with pytest.raises(ConfigError, match="is finished; only an interrupted, stopped or failed run"):
        check_resumable(finished)


def test_a_launch_makes_a_run_for_each_seed_with_its_configuration_on_disk(home):
    plan = LaunchPlan(dataset="demo", splits=["demo"], experiment="three", settings=SETTINGS, seeds=[1, 2, 3])
    runs = launch(home, plan)
    assert [run.name for run in runs] == ["seed_1", "seed_2", "seed_3"]
    assert {run.state() for run in runs} == {"queued"}
    assert [run.config().seed for run in runs] == [1, 2, 3]
    assert len({run.split_table.read_bytes() for run in runs}) == 1


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"seeds": [1, 1]}, ConfigError, "each once"),
        ({"splits": []}, ConfigError, "No split"),
        ({"splits": ["nothing"]}, SplitError, "no split 'nothing'"),
        ({"settings": {"task": "lesion"}}, ConfigError, "labelled for 'density'"),
        ({"settings": {"lr": -1}}, ConfigError, "lr is -1"),
    ],
)
def test_a_launch_that_cannot_work_is_refused_before_anything_is_written(home, changes, error, words):
    plan = LaunchPlan(**{"dataset": "demo", "splits": ["demo"], "experiment": "refused", "settings": SETTINGS, **changes})
    with pytest.raises(error, match=words):
        launch(home, plan)
    assert not (home.experiments / "refused").exists()


def test_a_run_goes_on_from_another_ones_best_weights(home, finished):
    run = _new_run(home, "longer", epochs=1, init_from=finished.id, lr=1e-8, min_lr=0.0, augment="none", dropout=0.0)
    assert train(home, run) == DONE
    best = load_checkpoint(finished.best_model)
    started = load_checkpoint(run.final_model)
    key = next(name for name in best.weights if name.endswith("conv1.0.weight") or name.endswith(".weight"))
    assert torch.allclose(best.weights[key], started.weights[key], atol=1e-4)
    other = _new_run(home, "other", epochs=1, arch="resnet14t", init_from=finished.id)
    assert train(home, other) == FAILED
    assert "expected resnet14t" in other.status().message


def test_a_stopped_run_goes_on_although_the_weights_it_started_from_are_gone(home, finished, tmp_path):
    base = _copy(home, finished, "base")
    run = _new_run(home, "orphan", epochs=3, init_from=base.id)
    child = _train_elsewhere(home, run, tmp_path)
    child.process.kill()
    child.wait()
    shutil.rmtree(base.path)
    assert train(home, run) == DONE
    assert len(run.history()) == 3
    assert load_checkpoint(run.best_model).normalisation == load_checkpoint(finished.best_model).normalisation


def test_a_film_that_disappeared_is_left_out_and_named_in_the_log(home):
    run = _new_run(home, "missing", epochs=1)
    split = pd.read_csv(run.split_table, dtype=str)
    image_id = split.loc[split["split"] == "train", "image_id"].iloc[0]
    film = load_dataset(home, "demo").film_path(image_id)
    hidden = film.with_suffix(".gone")
    film.rename(hidden)
    try:
        assert train(home, run) == DONE
    finally:
        hidden.rename(film)
    assert f"Left out film {image_id}" in run.log_file.read_text()
    assert run.summary().left_out == 1


def test_a_split_that_was_changed_after_the_launch_is_not_trained_on(home):
    run = _new_run(home, "changed_split", epochs=1)
    table = pd.read_csv(run.split_table, dtype=str)
    patient = table.loc[table["split"] == "val", "patient_id"].iloc[0]
    table.loc[table["image_id"] == table.loc[table["patient_id"] == patient, "image_id"].iloc[0], "split"] = "train"
    table.to_csv(run.split_table, index=False)
    assert train(home, run) == FAILED
    assert "was changed after it was saved" in run.status().message
    assert run.history() == []


def test_the_text_of_an_unexpected_error_stands_in_the_log_alone(home, monkeypatch):
    run = _new_run(home, "unexpected", epochs=1)

    def fail(self):
        raise RuntimeError("Doe Jane 1961")

    monkeypatch.setattr(Training, "go", fail)
    assert train(home, run) == FAILED
    assert run.status().message == "Training failed unexpectedly (RuntimeError). The log has the details."
    assert "Doe Jane" in run.log_file.read_text()
