"""The background thread: one child at a time in each lane, every ending recorded, nothing lost when the server goes."""

from __future__ import annotations

import signal
import time

import psutil
import pytest

from mammo_core.runs import queue
from mammo_core.runs.run_dir import RunDir
from mammo_core.settings import Workspace, open_workspace
from mammo_core.storage import lock_of
from mammo_core.workflows.demo import make_demo_data
from mammo_core.workflows.launch import LaunchPlan, launch, resume_runs
from mammo_core.workflows.supervisor import Supervisor, describe_exit

SETTINGS = {
    "arch": "resnet10t",
    "weights": "none",
    "image_size": 48,
    "epochs": 2,
    "warmup_epochs": 0,
    "batch_size": 8,
    "threads": 1,
}
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
    workspace = open_workspace(tmp_path_factory.mktemp("supervisor") / "runs")
    make_demo_data(workspace, images=64, progress=lambda done, total, message="": None)
    return workspace


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


def test_queued_seeds_train_one_after_another(home, supervisor):
    runs = _launch(home, "two", seeds=(1, 2))
    _wait(lambda: all(run.state() == "finished" for run in runs), "both runs to finish")
    first, second = (run.status() for run in runs)
    assert first.finished_at <= second.started_at
    _wait(lambda: all(_request(home, run).state == "done" for run in runs), "both requests to be done")
    assert (runs[0].path.parent / "seeds_summary.json").exists()


def test_a_child_runs_at_low_priority_in_a_group_of_its_own(home, supervisor):
    (run,) = _launch(home, "nice", epochs=40)
    _wait(lambda: run.state() == "running" and run.history(), "the run to train")
    child = psutil.Process(run.status().pid)
    assert child.nice() >= 10
    assert child.pid != psutil.Process().pid
    run.ask_to_stop()
    _wait(lambda: run.state() == "stopped", "the run to stop")
    _wait(lambda: _request(home, run).state == "done", "the request to end")
    resume_runs(home, [run])
    _wait(lambda: run.state() == "running" and len(run.history()) > 1, "the run to go on")
    run.ask_to_stop()
    _wait(lambda: _request(home, run).state == "done", "the run to stop again")


def test_a_killed_child_is_told_in_words_and_the_next_one_starts(home, supervisor):
    killed, after = _launch(home, "killed", seeds=(1, 2), epochs=40)
    _wait(lambda: killed.state() == "running" and killed.history(), "the first run to train")
    psutil.Process(killed.status().pid).send_signal(signal.SIGKILL)
    _wait(lambda: _request(home, killed).state == "failed", "the request to fail")
    assert "signal 9" in _request(home, killed).message
    assert killed.state(now=time.time() + 40) == "interrupted"
    _wait(lambda: after.state() == "running", "the next run to start")
    after.ask_to_stop()
    _wait(lambda: _request(home, after).state == "done", "the next run to stop")


def test_a_training_goes_on_when_the_server_ends_and_is_met_again(home):
    first = Supervisor(home)
    first.start()
    (run,) = _launch(home, "orphan", epochs=40)
    _wait(lambda: run.state() == "running" and run.history(), "the run to train")
    first.stop()
    seen = len(run.history())
    _wait(lambda: len(run.history()) > seen, "the orphan to train on")
    second = Supervisor(home)
    second.start()
    (waiting,) = _launch(home, "behind", epochs=1)
    time.sleep(2)
    assert run.state() == "running"
    assert waiting.state() == "queued"
    run.ask_to_stop()
    _wait(lambda: waiting.state() == "finished", "the waiting run to get its turn")
    _wait(lambda: _request(home, run).state == "done", "the orphan's request to be closed")
    _wait(lambda: _request(home, waiting).state == "done", "the last child to end")
    second.stop()


def test_only_one_supervisor_serves_a_workspace(home, supervisor):
    other = Supervisor(home)
    other.start()
    (run,) = _launch(home, "once", epochs=1)
    _wait(lambda: run.state() == "finished", "the run to finish")
    _wait(lambda: _request(home, run).state == "done", "the request to end")
    assert other.is_alive()
    other.stop()
    assert len([request for request in queue.list_requests(home) if request.arguments.get("run") == run.id]) == 1


def test_a_run_waits_while_another_program_has_the_training_slot(home, supervisor):
    with lock_of(home.slot_lock).acquire():
        (run,) = _launch(home, "slot", epochs=1)
        time.sleep(2)
        assert run.state() == "queued"
    _wait(lambda: _request(home, run).state == "done", "the run to finish once the slot is free")
    assert run.state() == "finished"


def test_a_job_that_cannot_be_done_fails_in_one_sentence(home, supervisor):
    request = queue.enqueue(home, "import", {"source": "/nowhere/at/all", "choices": {}, "name": "x"}, "Import x")
    _wait(lambda: queue.find_request(home, request.id).state == "failed", "the import to fail")
    assert "Traceback" not in queue.find_request(home, request.id).message


@pytest.mark.parametrize(
    ("code", "words"), [(-9, "memory ran out"), (-11, "signal 11"), (3, "exit code 3"), (None, "while the app was closed")]
)
def test_every_silent_ending_gets_a_sentence(code, words):
    assert words in describe_exit(code)
