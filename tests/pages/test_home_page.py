"""Home: the first visit, the demo, the path, the latest runs, the doctor, and keeping house."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from streamlit.testing.v1 import AppTest

from make_runs import write_experiment, write_run
from mammo_core.runs.queue import enqueue, list_requests, update
from mammo_core.settings import Workspace
from mammo_core.workflows.doctor_check import Check
from mammo_core.workflows.housekeeping import list_trash, move_to_trash

OpenPage = Callable[..., AppTest]
Read = Callable[[AppTest], str]


def button(app: AppTest, label: str):
    return next(item for item in app.button if item.label == label)


def labels(app: AppTest) -> list[str]:
    return [item.label for item in app.button]


def test_the_first_visit_says_what_the_app_is_and_offers_the_demo(open_page: OpenPage, read: Read) -> None:
    app = open_page("home")
    assert not app.exception
    assert "Nothing leaves this machine" in read(app)
    assert {"Try it with demo films", "Bring my films"} <= set(labels(app))
    assert read(app).count("not yet") == 4


def test_the_demo_is_asked_for_once_and_its_progress_shown(open_page: OpenPage, read: Read, workspace: Workspace) -> None:
    app = open_page("home")
    button(app, "Try it with demo films").click().run()
    (request,) = list_requests(workspace)
    assert (request.kind, request.arguments) == ("demo", {})
    assert "Try it with demo films" not in labels(app)
    assert "The demo films are being made" in read(app)


def test_a_failed_demo_says_why_and_can_be_tried_again(open_page: OpenPage, read: Read, workspace: Workspace) -> None:
    update(workspace, enqueue(workspace, "demo", {}, "Make demo films").id, state="failed", message="No space was left.")
    app = open_page("home")
    assert "No space was left" in read(app)
    assert "Try it with demo films" in labels(app)


def test_a_finished_demo_leads_to_training(open_page: OpenPage, read: Read, workspace: Workspace, make_dataset: Callable) -> None:
    make_dataset("demo", synthetic=True)
    request = enqueue(workspace, "demo", {}, "Make demo films")
    update(workspace, request.id, state="done", result={"dataset": "demo", "split": "demo"})
    app = open_page("home")
    assert "80 synthetic films of 40 patients" in read(app)
    assert "Train on the demo films" in labels(app)


def test_the_path_says_what_there_is_and_what_comes_next(open_page: OpenPage, read: Read, make_dataset: Callable) -> None:
    make_dataset("hospital")
    app = open_page("home")
    assert not app.exception
    assert "80 films, 40 patients" in read(app)
    assert "Make a split" in labels(app)
    assert button(app, "Start a training").disabled


def test_runs_are_listed_by_experiment_with_mean_and_sd(open_page: OpenPage, workspace: Workspace) -> None:
    write_experiment(workspace.experiments / "density", epochs=2)
    app = open_page("home")
    assert not app.exception
    table = app.dataframe[0].value
    assert table["Experiment"].tolist() == ["density"]
    assert table["Seeds"].tolist() == ["42, 43, 44"]
    assert "SD n-1" in table["Best epoch, validation"][0]


def test_a_half_written_run_is_told_in_words_and_the_rest_goes_on(open_page: OpenPage, workspace: Workspace) -> None:
    write_run(workspace.experiments / "good" / "seed_42", epochs=2)
    broken = write_run(workspace.experiments / "broken" / "seed_42", epochs=2)
    broken.status_file.write_text('{"state": "runn')
    broken.summary_file.unlink()
    app = open_page("home")
    assert not app.exception
    table = app.dataframe[0].value.set_index("Experiment")
    assert "status.json" in table.loc["broken", "Best epoch, validation"]
    assert "macro-AUC" in table.loc["good", "Best epoch, validation"]


def test_an_interrupted_run_can_be_resumed_from_here(open_page: OpenPage, read: Read, workspace: Workspace) -> None:
    write_run(workspace.experiments / "density" / "seed_42", state="interrupted", epochs=3, epochs_run=1)
    app = open_page("home")
    assert "Interrupted" in read(app)
    button(app, "Resume").click().run()
    (request,) = list_requests(workspace)
    assert (request.kind, request.arguments) == ("resume", {"run": "density/seed_42"})


def test_a_deleted_run_can_be_put_back_and_the_trash_asks_before_it_is_emptied(
    open_page: OpenPage, read: Read, workspace: Workspace
) -> None:
    run = write_run(workspace.experiments / "density" / "seed_42", epochs=2)
    move_to_trash(workspace, run)
    app = open_page("home")
    app.session_state["keep_house"] = True
    app.run()
    assert "1 deleted run" in read(app)
    button(app, "Empty the trash").click().run()
    assert "erased for good" in read(app)
    assert list_trash(workspace)
    button(app, "Put back").click().run()
    assert run.path.is_dir()


# ---- the doctor -------------------------------------------------------------------------------------------------------------


def open_doctor(open_page: OpenPage) -> AppTest:
    app = open_page("home")
    app.session_state["doctor"] = True
    return app.run()


def test_the_doctor_looks_at_nothing_before_it_is_opened(open_page: OpenPage, read: Read) -> None:
    app = open_page("home")
    assert not app.exception
    assert "Free disk" not in read(app)


def test_the_doctor_says_what_it_found_and_that_the_costly_checks_wait_for_a_click(
    open_page: OpenPage, read: Read, workspace: Workspace
) -> None:
    app = open_doctor(open_page)
    assert not app.exception
    words = read(app)
    assert "Python** · good" in words and "Free disk" in words and "Locks" in words
    assert "have not been checked" in words
    button(app, "Check decoders, PyTorch and weights").click().run()
    (request,) = list_requests(workspace)
    assert (request.kind, request.arguments) == ("doctor", {})
    assert "You can leave this page" in read(app)
    assert "torch" not in request.result


def test_what_the_job_found_stands_with_the_rest_and_what_is_broken_comes_first(
    open_page: OpenPage, read: Read, workspace: Workspace
) -> None:
    checks = [
        Check("decoders", "Decoders", "good", "all read"),
        Check("torch", "PyTorch", "broken", "cannot be used: torchvision: RuntimeError", "Install it anew."),
    ]
    request = enqueue(workspace, "doctor", {}, "Check")
    update(workspace, request.id, state="done", finished_at=time.time(), result={"checks": [item.to_json() for item in checks]})
    app = open_doctor(open_page)
    assert "1 of" in app.error[0].value and "broken" in app.error[0].value
    lines = [element.value for element in app.markdown if " · " in element.value and "**" in element.value]
    assert "**PyTorch** · broken" in lines[0] and "Install it anew" in lines[0]
    assert "Check them again" in labels(app)


def test_a_doctors_answer_of_another_version_is_asked_for_anew(open_page: OpenPage, read: Read, workspace: Workspace) -> None:
    request = enqueue(workspace, "doctor", {}, "Check")
    update(workspace, request.id, state="done", finished_at=time.time(), result={"checks": [{"what": "else"}]})
    app = open_doctor(open_page)
    assert not app.exception
    assert "Check decoders, PyTorch and weights" in labels(app)


def test_leftovers_are_cleaned_on_a_click_and_it_says_what_was_done(
    open_page: OpenPage, read: Read, workspace: Workspace
) -> None:
    run = write_run(workspace.experiments / "density" / "seed_42", epochs=2)
    left = run.path / ".resume.pt.00ff.tmp"
    left.write_bytes(b"half")
    os.utime(left, (1e9, 1e9))
    app = open_doctor(open_page)
    assert "1 temporary file" in read(app)
    button(app, "Clean up").click().run()
    assert not left.exists() and run.resume_file.parent.is_dir()
    assert "1 temporary file erased" in app.success[0].value
    assert "none of killed programs" in read(app)
    assert "Clean up" not in labels(app)
