"""A run as it lies on disk, whole, half-written or dead."""

from __future__ import annotations

import json
import os
import time

import pytest

from make_runs import write_run
from mammo_core.config import TrainConfig
from mammo_core.errors import CorruptRunFile, NameNotAllowed, RunNotFound
from mammo_core.runs.history import best_epoch, history_frame
from mammo_core.runs.listing import list_cards
from mammo_core.runs.liveness import this_process
from mammo_core.runs.run_dir import RunDir, find_run, list_runs
from mammo_core.runs.schema import EpochRecord, Notes, Status
from mammo_core.storage import lock_of, write_json, write_yaml


@pytest.fixture
def run(workspace):
    folder = workspace.experiments / "exp" / "seed_42"
    folder.mkdir(parents=True)
    write_yaml(folder / "config.yaml", TrainConfig(class_names=("A", "B"), experiment="exp").to_dict())
    return RunDir(folder)


def _status(run, **values):
    write_json(run.status_file, Status(epochs=5, **values).to_json())


def test_a_run_is_found_by_id_and_by_folder(workspace, run):
    assert find_run(workspace, "exp/seed_42") == find_run(workspace, str(run.path)) == run
    with pytest.raises(RunNotFound, match="exp/seed_42"):
        find_run(workspace, "exp/seed_43")
    with pytest.raises(NameNotAllowed):
        find_run(workspace, "../exp")


def test_runs_are_listed_in_the_order_of_their_numbers(workspace, run):
    for name in ("seed_42_2", "seed_100", "seed_43"):
        (run.path.parent / name).mkdir()
        write_yaml(run.path.parent / name / "config.yaml", TrainConfig().to_dict())
    assert [found.name for found in list_runs(workspace)] == ["seed_42", "seed_42_2", "seed_43", "seed_100"]


def test_a_folder_with_a_name_that_no_run_can_have_hides_nothing(workspace, run):
    for stray in (
        workspace.experiments / "my copy",
        workspace.experiments / "exp" / "seed 42 (old)",
        workspace.experiments / ("x" * 90),
    ):
        stray.mkdir()
        write_yaml(stray / "config.yaml", TrainConfig().to_dict())
    assert list_runs(workspace) == [run]


def test_a_dead_run_is_interrupted_only_when_its_lock_is_free_and_its_heartbeat_old(run):
    _status(run, state="running", heartbeat_at=time.time() - 5, **this_process())
    assert run.state() == "running"
    assert run.state(now=time.time() + 40) == "interrupted"
    with lock_of(run.lock_file).acquire():
        assert run.state(now=time.time() + 86400) == "running"


def test_a_wish_to_stop_shows_as_stopping(run):
    _status(run, state="running", heartbeat_at=time.time())
    run.ask_to_stop()
    assert run.state() == "stopping"


@pytest.mark.parametrize("content", ["[{", "{}", '[{"epoch": "two"}]', "[1]"])
def test_a_broken_history_is_told_and_the_checkpoints_are_said_to_be_safe(run, content):
    run.history_file.write_text(content)
    with pytest.raises(CorruptRunFile, match="history.json"):
        run.history()


def test_missing_files_are_empty_not_errors(run):
    assert (run.history(), run.summary(), run.predictions("val"), run.metrics("test")) == ([], None, None, None)
    assert (run.status(), run.test_looks(), run.log_tail(), run.split_info()) == (None, [], [], {})


def test_unknown_keys_of_newer_versions_are_kept(run):
    write_json(run.history_file, [{"epoch": 1, "val_loss": 0.5, "brand_new": 3}])
    assert run.history()[0].to_json()["brand_new"] == 3


def test_the_history_table_keeps_the_later_of_an_epoch_trained_twice():
    records = [EpochRecord(epoch=1, val_loss=1.0, val_recall={"A": 0.5}), EpochRecord(epoch=2, val_loss=0.9)]
    frame = history_frame([*records, EpochRecord(epoch=1, val_loss=0.7, val_recall={"A": None})])
    assert frame["val_loss"].tolist() == [0.7, 0.9]
    assert frame["val_recall_A"].isna().all()


def test_the_best_epoch_is_the_first_of_equals_and_never_an_undefined_one():
    losses = [None, 0.5, 0.4, 0.4]
    records = [EpochRecord(epoch=number, val_loss=loss) for number, loss in enumerate(losses, start=1)]
    assert best_epoch(records).epoch == 3
    assert best_epoch(records[:1]) is None


def test_one_broken_run_never_hides_the_others(workspace, run):
    broken = run.path.parent / "seed_43"
    broken.mkdir()
    (broken / "config.yaml").write_text("a: [")
    (broken / "status.json").write_text("{")
    cards = {card.run.name: card for card in list_cards(workspace)}
    assert cards["seed_42"].problem is None
    assert "config.yaml is not readable" in cards["seed_43"].problem


def test_cards_follow_the_files(workspace, run):
    assert list_cards(workspace)[0].state == "interrupted"
    _status(run, state="finished")
    assert list_cards(workspace)[0].state == "finished"
    run.write_notes(Notes(archived=True))
    assert list_cards(workspace) == []
    assert list_cards(workspace, archived=True)[0].id == "exp/seed_42"


def test_files_of_the_run_are_plain_json(run):
    _status(run, state="queued")
    assert json.loads(run.status_file.read_text())["state"] == "queued"


def test_a_list_reads_a_finished_runs_settings_and_tells_of_a_config_that_was_broken_later(workspace):
    run = write_run(workspace.experiments / "e" / "seed_7", seed=7)
    (card,) = list_cards(workspace)
    assert (card.seed, card.split, card.problem) == (7, "by_patient", None)
    run.config_file.write_text("seed: [")
    later = run.summary_file.stat().st_mtime_ns + 10**9
    os.utime(run.config_file, ns=(later, later))
    (card,) = list_cards(workspace)
    assert "config.yaml is not readable" in card.problem


@pytest.mark.parametrize("text", ['"epochs": 1' + "0" * 400, '"eta_seconds": 1e300', '"step": -1'])
def test_a_status_with_numbers_beyond_all_measure_is_refused_in_words(tmp_path, text):
    run = write_run(tmp_path / "e" / "seed_1", epochs=2, replicates=10)
    run.status_file.write_text('{"state": "running", ' + text + "}")
    with pytest.raises(CorruptRunFile, match=r"status\.json"):
        run.status()
