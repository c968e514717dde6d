"""Requests: order, cancelling, moving, and files that are none."""

from __future__ import annotations

import threading

import pytest

from mammo_core.errors import MammoError
from mammo_core.runs import queue


def _titles(workspace):
    return [request.title for request in queue.list_requests(workspace)]


def test_requests_start_in_the_order_in_which_they_came(workspace):
    for title in "abc":
        queue.enqueue(workspace, "train", {}, title)
    assert _titles(workspace) == ["a", "b", "c"]


def test_a_waiting_request_can_move_and_never_beyond_the_ends(workspace):
    ids = [queue.enqueue(workspace, "train", {}, title).id for title in "abc"]
    queue.move(workspace, ids[2], -1)
    assert _titles(workspace) == ["a", "c", "b"]
    queue.move(workspace, ids[2], -5)
    assert _titles(workspace) == ["c", "a", "b"]
    queue.move(workspace, ids[2], 9)
    assert _titles(workspace) == ["a", "b", "c"]


def test_only_a_waiting_request_can_be_cancelled(workspace):
    request = queue.enqueue(workspace, "train", {}, "a")
    queue.update(workspace, request.id, state="running")
    with pytest.raises(MammoError, match="no longer waits"):
        queue.cancel(workspace, request.id)
    queue.update(workspace, request.id, state="waiting")
    assert queue.cancel(workspace, request.id).state == "cancelled"


def test_work_that_runs_is_asked_to_stop_once_and_is_no_answer_to_a_new_wish(workspace):
    request = queue.enqueue(workspace, "audit", {"dataset": "a"}, "a")
    queue.start(workspace, request.id)
    first = queue.stop(workspace, request.id)
    assert first.state == "running"
    assert first.asked_to_stop is not None
    assert queue.stop(workspace, request.id).asked_to_stop == first.asked_to_stop
    assert queue.enqueue_once(workspace, "audit", {"dataset": "a"}, "a").id != request.id


def test_what_waits_is_cancelled_when_it_is_stopped_and_what_has_ended_stays(workspace):
    waits, done = (queue.enqueue(workspace, "audit", {}, title) for title in "ab")
    queue.update(workspace, done.id, state="done")
    assert queue.stop(workspace, waits.id).state == "cancelled"
    assert queue.stop(workspace, done.id).state == "done"


def test_a_file_that_is_no_request_hides_nothing(workspace):
    queue.enqueue(workspace, "train", {}, "a")
    (workspace.queue / "broken.json").write_text("{")
    (workspace.queue / "other.json").write_text('{"id": 3}')
    assert _titles(workspace) == ["a"]


def test_changes_from_many_threads_are_all_kept(workspace):
    request = queue.enqueue(workspace, "train", {}, "a")
    fields = [f"note_{number}" for number in range(8)]
    threads = [threading.Thread(target=queue.update, args=(workspace, request.id), kwargs={name: name}) for name in fields]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    kept = queue.find_request(workspace, request.id).model_dump()
    assert all(kept[name] == name for name in fields)


def test_ended_requests_are_forgotten_after_a_while(workspace):
    request = queue.enqueue(workspace, "import", {}, "a")
    queue.update(workspace, request.id, state="done", finished_at=1.0)
    queue.enqueue(workspace, "import", {}, "b")
    assert queue.clear_ended(workspace) == 1
    assert _titles(workspace) == ["b"]


def test_a_pause_is_kept_on_disk_and_is_no_request(workspace):
    assert not queue.is_paused(workspace)
    queue.pause(workspace)
    queue.pause(workspace)
    assert queue.is_paused(workspace)
    assert queue.list_requests(workspace) == []
    queue.go_on(workspace)
    queue.go_on(workspace)
    assert not queue.is_paused(workspace)


def test_the_latest_request_of_a_kind_is_found_by_its_arguments_too(workspace):
    first = queue.enqueue(workspace, "audit", {"dataset": "a"}, "first")
    second = queue.enqueue(workspace, "audit", {"dataset": "b"}, "second")
    queue.update(workspace, first.id, state="failed")
    assert queue.latest_request(workspace, "audit").id == second.id
    assert queue.latest_request(workspace, "audit", dataset="a").id == first.id
    assert queue.latest_request(workspace, "audit", dataset="c") is None
    assert queue.latest_request(workspace, "embed", dataset="a") is None


def test_a_wish_that_waits_or_runs_already_is_not_queued_again(workspace):
    first = queue.enqueue_once(workspace, "resume", {"run": "e/seed_1"}, "Resume e/seed_1")
    assert queue.enqueue_once(workspace, "train", {"run": "e/seed_1"}, "Train e/seed_1").id == first.id
    queue.update(workspace, first.id, state="running")
    assert queue.enqueue_once(workspace, "resume", {"run": "e/seed_1"}, "Resume e/seed_1").id == first.id
    others = [
        queue.enqueue_once(workspace, kind, {"run": run}, "") for kind, run in (("resume", "e/seed_2"), ("gallery", "e/seed_1"))
    ]
    queue.update(workspace, first.id, state="done")
    again = queue.enqueue_once(workspace, "resume", {"run": "e/seed_1"}, "Resume e/seed_1")
    assert len({request.id for request in (first, *others, again)}) == 4


def test_a_request_that_has_done_its_work_is_not_taken_for_a_new_wish(workspace):
    first = queue.enqueue(workspace, "train", {"run": "e/seed_1"}, "Train e/seed_1")
    assert queue.start(workspace, first.id)
    started = queue.find_request(workspace, first.id).started_at
    assert queue.enqueue_once(workspace, "resume", {"run": "e/seed_1"}, "", since=started - 1).id == first.id, "it begins"
    again = queue.enqueue_once(workspace, "resume", {"run": "e/seed_1"}, "", since=started + 1)
    assert again.id != first.id
    assert queue.enqueue_once(workspace, "resume", {"run": "e/seed_1"}, "", since=started + 1).id == again.id


def test_what_was_cancelled_a_moment_ago_does_not_start(workspace):
    first, second = (queue.enqueue(workspace, "train", {"run": run}, run) for run in ("a", "b"))
    queue.cancel(workspace, first.id)
    assert not queue.start(workspace, first.id)
    assert queue.find_request(workspace, first.id).state == "cancelled"
    assert queue.start(workspace, second.id)
    assert not queue.start(workspace, second.id)
