"""The background thread: one child at a time in each lane, every ending recorded, nothing lost when the server goes."""

from __future__ import annotations

import json
import signal
import time

import psutil
import pytest

from demo_data import demo_workspace
from make_runs import write_run
from mammo_core.runs import queue
from mammo_core.runs.run_dir import RunDir
from mammo_core.settings import Workspace, open_workspace
from mammo_core.storage import lock_of
from mammo_core.workflows import supervisor as supervising
from mammo_core.workflows.child_processes import describe_exit
from mammo_core.workflows.launch import LaunchPlan, launch, resume_runs
from mammo_core.workflows.supervisor import POLL_SECONDS, Supervisor

SETTINGS = {
    "arch": "test_resnet",
    "weights": "none",
    "image_size": 48,
    "epochs": 2,
    "warmup_epochs": 0,
    "early_stopping_patience": None,
    "batch_size": 8,
    "threads": 1,
}
EPOCHS = 30
"""Enough for a run to be stopped on the way, few enough to wait for its end."""
PATIENCE_SECONDS = 180


def _wait(condition, what):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if condition():
            return
        time.sleep(0.05)
    pytest.fail(f"waited {PATIENCE_SECONDS} s in vain for: {what}")


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Workspace:
    return demo_workspace(tmp_path_factory, "supervisor")


@pytest.fixture
def supervisor(home):
    thread = Supervisor(home)
    thread.start()
    yield thread
    thread.stop()


def _launch(home, experiment, seeds=(42,), **settings) -> list[RunDir]:
    plan = LaunchPlan(dataset="demo", splits=["demo"], experiment=experiment, settings={**SETTINGS, **settings}, seeds=seeds)
    return launch(home, plan)


def _request(home, run):
    return [request for request in queue.list_requests(home) if request.arguments.get("run") == run.id][-1]


def test_requests_that_ended_long_ago_are_forgotten_when_a_server_starts(tmp_path):
    workspace = open_workspace(tmp_path / "runs")
    old, new = (queue.enqueue(workspace, "audit", {}, title) for title in ("old", "new"))
    queue.update(workspace, old.id, state="done", finished_at=1.0)
    queue.update(workspace, new.id, state="done", finished_at=time.time())
    thread = Supervisor(workspace)
    thread.start()
    _wait(lambda: [request.title for request in queue.list_requests(workspace)] == ["new"], "the old request to be gone")
    thread.stop()


def test_while_the_queue_is_paused_no_training_starts(tmp_path):
    workspace = open_workspace(tmp_path / "runs")
    queue.pause(workspace)
    request = queue.enqueue(workspace, "train", {"run": "no/run"}, "Train what is not there")
    thread = Supervisor(workspace)
    thread.start()
    time.sleep(3 * POLL_SECONDS)
    assert queue.find_request(workspace, request.id).state == "waiting"
    queue.go_on(workspace)
    _wait(lambda: queue.find_request(workspace, request.id).state == "failed", "the training to be tried")
    thread.stop()


def test_the_summary_of_an_experiment_is_made_up_for_where_a_child_died_just_before_it(tmp_path):
    workspace = open_workspace(tmp_path / "runs")
    run = write_run(workspace.experiments / "e" / "seed_1", seed=1, epochs=3, replicates=10)
    request = queue.enqueue(workspace, "train", {"run": run.id}, "Train")
    queue.update(workspace, request.id, state="running", pid=2**22 + 1)
    thread = Supervisor(workspace)
    thread.start()
    _wait(lambda: queue.find_request(workspace, request.id).state == "done", "the child to be seen gone")
    thread.stop()
    assert json.loads((workspace.experiments / "e" / "seeds_summary.json").read_text())["seeds"] == [1]


def test_one_run_trains_at_a_time_and_every_ending_of_a_child_or_a_server_is_told(home, supervisor):
    """One story of two servers and four children, because every child takes seconds to start."""
    second = Supervisor(home)
    second.start()
    with lock_of(home.slot_lock).acquire():
        killed, orphan = _launch(home, "two", seeds=(1, 2), epochs=1000)
        time.sleep(2)
        assert [run.state() for run in (killed, orphan)] == ["queued", "queued"]
    _wait(lambda: killed.state() == "running" and killed.history(), "the first run to train")
    assert orphan.state() == "queued"
    psutil.Process(killed.status().pid).send_signal(signal.SIGKILL)
    _wait(lambda: _request(home, killed).state == "failed", "the request to fail")
    assert "signal 9" in _request(home, killed).message
    assert killed.state(now=time.time() + 40) == "interrupted"

    _wait(lambda: orphan.state() == "running" and orphan.history(), "the next run to train")
    child = psutil.Process(orphan.status().pid)
    assert child.nice() >= 10  # the pages stay quick
    assert child.pid != psutil.Process().pid
    assert second.is_alive()
    assert len([request for request in queue.list_requests(home) if request.arguments.get("run") == killed.id]) == 1

    last = _outlives_its_server(home, supervisor, orphan)
    _is_stopped_and_resumed(home, last)
    assert (last.path.parent / "seeds_summary.json").exists()
    assert orphan.status().finished_at <= last.status().started_at
    second.stop()


def _outlives_its_server(home, first, run) -> RunDir:
    """A training goes on when the server that started it ends, is met again by the next one, and is then ended in order."""
    first.stop()
    seen = len(run.history())
    _wait(lambda: len(run.history()) > seen, "the orphan to train on")
    (waiting,) = _launch(home, "behind", epochs=EPOCHS)
    time.sleep(4)  # the other server looks for its turn every 2.5 s
    assert run.state() == "running"
    assert waiting.state() == "queued"
    run.ask_to_stop()
    _wait(lambda: waiting.history(), "the waiting run to get its turn")
    assert _request(home, run).state == "done", "the orphan's request is closed"
    assert run.state() == "stopped"
    return waiting


def _is_stopped_and_resumed(home, run):
    run.ask_to_stop()
    _wait(lambda: _request(home, run).state == "done", "the run to stop")
    assert run.state() == "stopped"
    kept = len(run.history())
    resume_runs(home, [run])
    _wait(lambda: run.state() == "running" and len(run.history()) > kept, "the run to go on")
    _wait(lambda: _request(home, run).state == "done", "the run to finish")
    assert run.state() == "finished"
    assert [record.epoch for record in run.history()] == list(range(1, EPOCHS + 1))


def test_work_that_does_not_hear_the_wish_to_stop_is_ended(home, supervisor, monkeypatch):
    monkeypatch.setattr(supervising, "STOP_SECONDS", 0.5)
    request = queue.enqueue(home, "demo", {"images": 4000, "name": "many"}, "Many films")
    _wait(lambda: queue.find_request(home, request.id).done > 0, "the films to be made")
    child = psutil.Process(queue.find_request(home, request.id).pid)
    child.suspend()
    queue.stop(home, request.id)
    _wait(lambda: queue.find_request(home, request.id).state == "cancelled", "the work to be ended")
    assert queue.find_request(home, request.id).message == queue.STOPPED_WORDS
    _wait(lambda: not child.is_running(), "the process to be gone")


def test_a_job_that_cannot_be_done_fails_in_one_sentence(home, supervisor):
    request = queue.enqueue(home, "import", {"source": "/nowhere/at/all", "choices": {}, "name": "x"}, "Import x")
    _wait(lambda: queue.find_request(home, request.id).state == "failed", "the import to fail")
    assert "Traceback" not in queue.find_request(home, request.id).message


@pytest.mark.parametrize(
    ("code", "words"),
    [(-9, "memory ran out"), (-11, "signal 11"), (3, "disk is full"), (4, "exit code 4"), (None, "while the app was closed")],
)
def test_every_silent_ending_gets_a_sentence(code, words):
    assert words in describe_exit(code)
