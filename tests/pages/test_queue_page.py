"""Queue: what runs, waits and has ended, and the buttons that change it; notes, archive and trash."""

from __future__ import annotations

from collections.abc import Callable

from streamlit.testing.v1 import AppTest

from make_runs import write_run
from mammo_core.runs.queue import enqueue, is_paused, list_requests, pause, update
from mammo_core.runs.run_dir import RunDir
from mammo_core.settings import Workspace
from mammo_core.storage import lock_of
from mammo_core.workflows.launch import queue_run

OpenPage = Callable[..., AppTest]
Read = Callable[[AppTest], str]


def button(app: AppTest, label: str):
    return next(item for item in app.button if item.label == label)


def labels(app: AppTest) -> list[str]:
    return [item.label for item in app.button]


def run_in(workspace: Workspace, name: str = "seed_42", **options: object) -> RunDir:
    return write_run(workspace.experiments / "density" / name, **{"epochs": 4, **options})


def test_an_empty_queue_leads_to_training(open_page: OpenPage, read: Read) -> None:
    app = open_page("queue")
    assert not app.exception
    assert "Nothing runs or waits" in read(app)
    assert "Start a training" in labels(app)


def test_a_running_training_shows_how_far_it_is_and_can_be_stopped(open_page: OpenPage, read: Read, workspace: Workspace) -> None:
    run = run_in(workspace, state="running", epochs_run=2)
    with lock_of(run.lock_file):
        app = open_page("queue")
        assert not app.exception
        assert any("Epoch 3 of 4" in item.proto.text for item in app.get("progress"))
        assert "Validation loss" in read(app)
        assert "epoch 2/4" in read(app), "the log's last lines"
        button(app, "Stop").click().run()
        assert run.stop_file.exists()
        assert "stopping" in read(app)
        assert button(app, "Stop").disabled


def test_waiting_trainings_can_be_moved_and_cancelled(open_page: OpenPage, read: Read, workspace: Workspace) -> None:
    for name in ("seed_1", "seed_2"):
        queue_run(workspace, run_in(workspace, name, state="queued", epochs_run=0), "train")
    app = open_page("queue")
    assert "Waiting (2)" in read(app)
    first, second = [request.id for request in list_requests(workspace)]
    app.button(key=f"up_{second}").click().run()
    assert [request.id for request in list_requests(workspace)] == [second, first]
    app.button(key=f"cancel_{second}").click().run()
    assert not app.exception
    assert "Waiting (1)" in read(app)
    assert "cancelled before it started" in read(app)
    button(app, "Queue again").click().run()
    assert "Waiting (2)" in read(app)


def test_a_failed_run_says_why_and_resumes(open_page: OpenPage, read: Read, workspace: Workspace) -> None:
    run = run_in(workspace, state="failed", epochs_run=2)
    status = run.status()
    assert status is not None
    run.status_file.write_text(status.model_copy(update={"message": "No space was left to write resume.pt."}).model_dump_json())
    app = open_page("queue")
    assert "No space was left to write resume.pt." in read(app)
    button(app, "Resume").click().run()
    assert [request.kind for request in list_requests(workspace)] == ["resume"]
    assert "Resume" not in labels(app)


def test_light_work_is_listed_too(open_page: OpenPage, read: Read, workspace: Workspace) -> None:
    update(workspace, enqueue(workspace, "import", {}, "Import hospital").id, state="running", done=3, total=12)
    update(workspace, enqueue(workspace, "report", {}, "Report pack").id, state="failed", message="No run was chosen.")
    app = open_page("queue")
    assert not app.exception
    assert "Import hospital" in read(app)
    assert any("3 of 12" in item.proto.text for item in app.get("progress"))
    assert "No run was chosen." in read(app)


def test_light_work_can_be_stopped(open_page: OpenPage, read: Read, workspace: Workspace) -> None:
    request = enqueue(workspace, "import", {}, "Import hospital")
    update(workspace, request.id, state="running", done=3, total=12)
    app = open_page("queue")
    button(app, "Stop").click().run()
    assert not app.exception
    assert list_requests(workspace)[0].asked_to_stop is not None
    assert button(app, "Stop").disabled
    assert any("Stopping" in item.proto.text for item in app.get("progress"))
    update(workspace, request.id, state="cancelled", message="Stopped on request.")
    assert "Stopped on request." in read(open_page("queue"))


def test_a_half_written_run_is_told_in_words(open_page: OpenPage, read: Read, workspace: Workspace) -> None:
    run_in(workspace, "seed_1")
    run_in(workspace, "seed_2").status_file.write_text('{"state": "runn')
    (run_in(workspace, "seed_3").config_file).write_text("epochs: [")
    app = open_page("queue")
    assert not app.exception
    assert "status.json" in read(app)
    assert "density/seed\\_1" in read(app)


def select_first_run(app: AppTest) -> AppTest:
    app.session_state["keep_runs"] = {"selection": {"rows": [0], "columns": [], "cells": []}}
    return app.run()


def test_a_run_can_be_annotated_archived_and_asks_before_it_is_deleted(
    open_page: OpenPage, read: Read, workspace: Workspace
) -> None:
    run = run_in(workspace)
    app = select_first_run(open_page("queue", {"queue_view": "Runs"}))
    assert not app.exception
    app.text_area[0].set_value("The baseline.")
    button(app, "Save notes").click().run()
    assert run.notes().text == "The baseline."
    app = select_first_run(app)
    button(app, "Archive").click().run()
    assert run.notes().archived
    app = select_first_run(app)
    button(app, "Delete").click().run()
    assert "goes to the trash" in read(app)
    assert "Move to trash" in labels(app)
    assert run.path.exists(), "nothing is deleted before the question is answered"


def test_no_runs_no_table(open_page: OpenPage, read: Read) -> None:
    app = open_page("queue", {"queue_view": "Runs"})
    assert not app.exception
    assert "There are no runs yet" in read(app)


def test_the_queue_is_paused_and_goes_on(open_page: OpenPage, read: Read, workspace: Workspace) -> None:
    enqueue(workspace, "train", {"run": "exp/seed_1"}, "Train exp/seed_1")
    app = open_page("queue")
    app.button(key="queue_pause").click().run()
    assert not app.exception
    assert is_paused(workspace)
    assert "No further training starts" in read(app)
    app.button(key="queue_go_on").click().run()
    assert not is_paused(workspace)
    assert "No further training starts" not in read(app)


def test_a_pause_with_nothing_in_the_queue_is_still_told(open_page: OpenPage, read: Read, workspace: Workspace) -> None:
    pause(workspace)
    assert "No further training starts" in read(open_page("queue"))
