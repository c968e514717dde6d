"""Report: what a pack will hold, asking for one, and taking it."""

from __future__ import annotations

from collections.abc import Callable

from streamlit.testing.v1 import AppTest

from make_runs import write_experiment, write_run
from mammo_core.report.report_pack import write_pack
from mammo_core.runs.queue import enqueue, list_requests, update
from mammo_core.settings import Workspace

OpenPage = Callable[..., AppTest]
Read = Callable[[AppTest], str]
OPTIONS = {"epochs": 3, "replicates": 10}


def test_without_a_finished_run_it_leads_to_training(open_page: OpenPage, read: Read, workspace: Workspace) -> None:
    app = open_page("report")
    assert not app.exception
    assert "No training has finished yet" in read(app)


def test_the_content_is_listed_before_and_the_pack_is_queued(open_page: OpenPage, read: Read, workspace: Workspace) -> None:
    runs = write_experiment(workspace.experiments / "density", seeds=(42, 43), **OPTIONS)
    app = open_page("report")
    assert not app.exception
    assert "density_train_seed42.pdf" in app.code[0].value
    app.button_group(key="report_format").set_value(["png"]).run()
    assert "density_train_seed42.pdf" not in app.code[0].value
    next(item for item in app.button if item.label == "Make report pack").click().run()
    (request,) = list_requests(workspace)
    assert (request.kind, request.arguments) == ("report", {"runs": [run.id for run in runs], "formats": ["png"]})
    assert "is being made" in read(app)


def test_a_pack_can_be_taken_and_its_content_seen(open_page: OpenPage, read: Read, workspace: Workspace) -> None:
    run = write_run(workspace.experiments / "density" / "seed_42", **OPTIONS)
    write_pack([run], workspace.reports / "20260102_030405", ("svg",))
    app = open_page("report")
    assert not app.exception
    assert "20260102_030405" in read(app).replace("\\", "")
    assert [item.label for item in app.get("download_button")] == ["Download zip"]


def test_what_a_pack_lacks_and_why_one_failed_is_said(open_page: OpenPage, read: Read, workspace: Workspace) -> None:
    write_run(workspace.experiments / "density" / "seed_42", **OPTIONS)
    request = enqueue(workspace, "report", {"runs": ["density/seed_42"]}, "Report pack of 1 run")
    update(workspace, request.id, state="done", result={"zip": "x", "folder": "y", "problems": ["No Grad-CAM figure."]})
    assert "No Grad-CAM figure." in read(open_page("report"))
    update(workspace, request.id, state="failed", message="The disk is full.")
    assert any("The disk is full." in error.value for error in open_page("report").error)
