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
    "arch": "test_resnet",
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


def test_requests_that_ended_long_ago_are_forgotten_when_a_server_starts(tmp_path):
    workspace = open_workspace(tmp_path / "runs")
    old, new = (queue.enqueue(workspace, "audit", {}, title) for title in ("old", "new"))
    queue.update(workspace, old.id, state="done", finished_at=1.0)
    queue.update(workspace, new.id, state="done", finished_at=time.time())
    thread = Supervisor(workspace)
    thread.start()
    _wait(lambda: [request.title for request in queue.list_requests(workspace)] == ["new"], "the old request to be gone")
    thread.stop()


def test_seeds_wait_for_the_slot_and_train_one_after_another_whatever_number_of_servers(home, supervisor):
    second = Supervisor(home)
    second.start()
    with lock_of(home.slot_lock).acquire():
        runs = _launch(home, "two", seeds=(1, 2), epochs=1)
        time.sleep(2)
        assert [run.state() for run in runs] == ["queued", "queued"]
    _wait(lambda: all(_request(home, run).state == "done" for run in runs), "both requests to be done")
    assert [run.state() for run in runs] == ["finished", "finished"]
    first, later = (run.status() for run in runs)
    assert first.finished_at <= later.started_at
    assert (runs[0].path.parent / "seeds_summary.json").exists()
    assert second.is_alive()
    second.stop()
    assert len([request for request in queue.list_requests(home) if request.arguments.get("run") == runs[0].id]) == 1


def test_a_killed_child_is_told_in_words_and_the_next_one_starts_stops_resumes_and_outlives_its_server(home, supervisor):
    """One story, because every child takes seconds to start."""
    killed, after = _launch(home, "killed", seeds=(1, 2), epochs=1000)
    _wait(lambda: killed.state() == "running" and killed.history(), "the first run to train")
    psutil.Process(killed.status().pid).send_signal(signal.SIGKILL)
    _wait(lambda: _request(home, killed).state == "failed", "the request to fail")
    assert "signal 9" in _request(home, killed).message
    assert killed.state(now=time.time() + 40) == "interrupted"

    _wait(lambda: after.state() == "running" and after.history(), "the next run to train")
    child = psutil.Process(after.status().pid)
    assert child.nice() >= 10  # the pages stay quick
    assert child.pid != psutil.Process().pid
    after.ask_to_stop()
    _wait(lambda: _request(home, after).state == "done", "the next run to stop")
    assert after.state() == "stopped"
    kept = len(after.history())
    resume_runs(home, [after])
    _wait(lambda: after.state() == "running" and len(after.history()) > kept, "the run to go on")
    _outlives_its_server(home, supervisor, after)


def _outlives_its_server(home, first, run):
    """A training goes on when the server that started it ends, is met again by the next one, and is then ended in order."""
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
    assert run.state() == "stopped"
    second.stop()


def test_a_job_that_cannot_be_done_fails_in_one_sentence(home, supervisor):
    request = queue.enqueue(home, "import", {"source": "/nowhere/at/all", "choices": {}, "name": "x"}, "Import x")
    _wait(lambda: queue.find_request(home, request.id).state == "failed", "the import to fail")
    assert "Traceback" not in queue.find_request(home, request.id).message


@pytest.mark.parametrize(
    ("code", "words"), [(-9, "memory ran out"), (-11, "signal 11"), (3, "exit code 3"), (None, "while the app was closed")]
)
def test_every_silent_ending_gets_a_sentence(code, words):
    assert words in describe_exit(code)
