"""What runs, waits and has ended, joined from requests and runs."""

from __future__ import annotations

import time

import pytest

from make_runs import write_run
from mammo_core.runs.listing import list_cards
from mammo_core.runs.queue import cancel, enqueue, update
from mammo_core.runs.schema import Request, Status
from mammo_core.settings import Workspace
from mammo_core.workflows.launch import queue_run
from mammo_core.workflows.queue_view import QueueView, finish_clock, job_progress, queue_view, run_progress, seconds_left


def view_of(workspace: Workspace) -> QueueView:
    return queue_view(workspace, list_cards(workspace))


def test_a_waiting_run_is_listed_once_as_waiting(workspace: Workspace) -> None:
    run = write_run(workspace.experiments / "a" / "seed_42", state="queued", epochs=2, epochs_run=0)
    request = queue_run(workspace, run, "train")
    view = view_of(workspace)
    assert [item.id for item in view.waiting] == [request.id]
    assert view.ended == ()
    assert view.is_live


def test_a_cancelled_run_can_be_queued_again(workspace: Workspace) -> None:
    run = write_run(workspace.experiments / "a" / "seed_42", state="queued", epochs=2, epochs_run=0)
    cancel(workspace, queue_run(workspace, run, "train").id)
    (item,) = view_of(workspace).ended
    assert item.can_queue
    assert not item.can_resume
    assert not view_of(workspace).is_live


def test_a_failed_run_says_why_and_can_be_resumed(workspace: Workspace) -> None:
    run = write_run(workspace.experiments / "a" / "seed_42", state="failed", epochs=4, epochs_run=2)
    status = run.status()
    assert status is not None
    run.status_file.write_text(status.model_copy(update={"message": "The loss became NaN in epoch 3."}).model_dump_json())
    (item,) = view_of(workspace).ended
    assert item.reason == "The loss became NaN in epoch 3."
    assert item.can_resume


def test_an_interrupted_run_takes_the_reason_that_the_supervisor_noted(workspace: Workspace) -> None:
    run = write_run(workspace.experiments / "a" / "seed_42", state="interrupted", epochs=4, epochs_run=2)
    assert "process that trained it is gone" in view_of(workspace).ended[0].reason
    request = queue_run(workspace, run, "train")
    update(workspace, request.id, state="failed", message="The process was killed (signal 9).")
    assert view_of(workspace).ended[0].reason == "The process was killed (signal 9)."


def test_a_broken_run_is_shown_with_its_problem_and_no_button(workspace: Workspace) -> None:
    run = write_run(workspace.experiments / "a" / "seed_42", epochs=2)
    run.status_file.write_text("{")
    (item,) = view_of(workspace).ended
    assert "status.json" in item.reason
    assert not item.can_resume
    assert not item.can_queue


def test_light_work_runs_and_ends_beside_training(workspace: Workspace) -> None:
    request = enqueue(workspace, "import", {}, "Import films")
    update(workspace, request.id, state="running", done=3, total=12)
    view = view_of(workspace)
    assert [item.id for item in view.jobs] == [request.id]
    assert job_progress(view.jobs[0]) == pytest.approx(0.25)
    update(workspace, request.id, state="failed", message="No film can be read.")
    (item,) = view_of(workspace).ended
    assert (item.state, item.reason) == ("failed", "No film can be read.")


def test_the_signature_ignores_progress_and_notices_an_end(workspace: Workspace) -> None:
    request = enqueue(workspace, "import", {}, "Import films")
    update(workspace, request.id, state="running", done=1, total=12)
    before = view_of(workspace).signature
    update(workspace, request.id, done=5)
    assert view_of(workspace).signature == before
    update(workspace, request.id, state="done")
    assert view_of(workspace).signature != before


def test_a_training_whose_process_has_just_started_is_starting(workspace: Workspace) -> None:
    run = write_run(workspace.experiments / "a" / "seed_42", state="queued", epochs=2, epochs_run=0)
    request = queue_run(workspace, run, "train")
    update(workspace, request.id, state="running")
    assert [item.id for item in view_of(workspace).starting] == [request.id]


def test_progress_counts_whole_epochs_and_the_running_one() -> None:
    assert run_progress(Status(state="running", epoch=3, epochs=10, step=5, steps=10)) == pytest.approx(0.35)
    assert run_progress(Status(state="running")) == 0.0
    assert job_progress(Request(id="1", kind="import")) is None


def test_the_time_left_is_unknown_for_two_epochs_and_then_ages() -> None:
    young = Status(state="running", epoch=1, epochs=10, eta_seconds=90.0, heartbeat_at=1000.0)
    assert seconds_left(young, now=1000.0) is None
    old = young.model_copy(update={"epoch": 2})
    assert seconds_left(old, now=1030.0) == pytest.approx(60.0)
    assert seconds_left(old, now=9999.0) == 0.0


def test_the_end_is_told_by_the_clock_and_the_day_where_it_is_another() -> None:
    noon = time.mktime((2026, 3, 2, 12, 0, 0, 0, 61, -1))
    assert finish_clock(3600.0, noon) == "13:00"
    assert finish_clock(13 * 3600.0, noon) == "Tue 01:00"
    assert finish_clock(None) == ""
