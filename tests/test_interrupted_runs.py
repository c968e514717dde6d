"""A training that is stopped or killed in an awkward moment: nothing that stays contradicts the epochs that it tells."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from make_runs import write_run
from mammo_core.errors import RunBusy
from mammo_core.settings import Workspace, open_workspace
from mammo_core.storage import leftovers, lock_of
from mammo_core.workflows.evaluation import evaluate_run
from mammo_core.workflows.exit_codes import DONE, STOPPED
from mammo_core.workflows.predictions import forget_evaluations, write_evaluation
from mammo_core.workflows.train_run import train
from reliability.small_runs import IMAGES, committed, differing, digests, new_run, small_workspace, train_here
from reliability.traps import on_writing, train_until
from several_processes import start


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    return small_workspace(tmp_path_factory.mktemp("interrupted"))


@pytest.fixture(scope="module")
def whole(workspace):
    run = new_run(workspace, "whole")
    assert train(workspace, run) == DONE
    return digests(run)


@pytest.mark.parametrize("file", ["best_model.pth", "val_metrics.json"])
def test_a_best_model_that_a_kill_kept_back_is_made_again_from_the_epoch_that_stands(workspace, whole, tmp_path, file):
    run = new_run(workspace, f"before_{file.partition('.')[0]}")
    arguments = (str(workspace.home), str(run.path), 0, 0.0, f"os.rename {file}")
    assert start(tmp_path, train_until, *arguments).wait()[0] == -signal.SIGKILL
    assert (len(committed(run)), run.history()) == (1, [])
    assert [path for folder in (run.path, run.path / "metrics") for path in leftovers(folder, 0.0)], (
        "the kill came while it wrote"
    )
    assert train(workspace, run) == DONE
    assert differing(run, whole) == []
    assert [path for folder in (run.path, run.path / "metrics") for path in leftovers(folder, 0.0)] == []


def _stop_at_the_first_film(home: str, folder: str) -> None:
    """To be started: train, and wish to stop as soon as a film is prepared."""
    on_writing(Path(home) / "cache", lambda event, name: (Path(folder) / "STOP").touch())
    train_here(home, folder)


def test_a_wish_to_stop_need_not_wait_until_all_films_are_read(tmp_path, whole):
    workspace = small_workspace(tmp_path)
    for path in _prepared(workspace):
        path.unlink()
    run = new_run(workspace, "reading")
    assert start(tmp_path, _stop_at_the_first_film, str(workspace.home), str(run.path)).wait()[0] == STOPPED
    assert (run.state(), run.history()) == ("stopped", [])
    assert 0 < len(_prepared(workspace)) < IMAGES, "it stopped among the films, and keeps those that it read"
    assert train(workspace, run) == DONE
    assert differing(run, whole) == []


def _prepared(workspace: Workspace) -> list[Path]:
    return list(workspace.cache.glob("??/*.npy"))


def test_what_an_earlier_checkpoint_said_of_test_films_goes_when_another_takes_its_place(tmp_path):
    run = write_run(tmp_path / "e" / "seed_1", seed=1, epochs=4, replicates=10)
    table = run.predictions("val")
    write_evaluation(run, "test", table, epoch=2, bootstrap=0)
    run.count_test_look(len(table))
    forget_evaluations(run, 2)
    assert run.metrics("test").epoch == 2
    forget_evaluations(run, 3)
    assert (run.metrics("test"), run.predictions("test")) == (None, None)
    assert run.metrics("val") is not None
    assert len(run.test_looks()) == 1


def test_the_validation_results_of_a_live_run_have_one_writer(tmp_path):
    workspace = open_workspace(tmp_path / "runs")
    run = write_run(workspace.experiments / "e" / "seed_1", seed=1, epochs=4, epochs_run=2, state="running", replicates=10)
    with lock_of(run.lock_file).acquire(), pytest.raises(RunBusy, match="e/seed_1 trains now and writes its validation results"):
        evaluate_run(workspace, run, "val", lambda done, total: None)
