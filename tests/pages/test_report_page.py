"""Report: what a pack will hold, asking for one, and taking it."""

from __future__ import annotations

from collections.abc import Callable

from streamlit.testing.v1 import AppTest

from make_runs import write_experiment, write_run
from mammo_core.report.report_pack import PackOptions, write_pack
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
    size = {"preset": "single", "font_size": 7.5, "ppi": 300}
    assert (request.kind, request.arguments) == (
        "report",
        {"runs": [run.id for run in runs], "formats": ["png"], "size": size},
    )
    assert "is being made" in read(app)


def test_one_figure_is_shown_in_its_true_size(open_page: OpenPage, read: Read, workspace: Workspace) -> None:
    write_run(workspace.experiments / "density" / "seed_42", **OPTIONS)
    app = open_page("report")
    assert "Training history of density/seed\\_42" in read(app)
    app.selectbox(key="report_figure").select_index(1).run()
    assert not app.exception
    assert "Confusion matrix of" in read(app)
    app.selectbox(key="report_size").set_value("slide").run()
    assert not app.exception
    assert app.selectbox(key="report_letters_slide").value == 18


def test_without_a_chosen_run_it_asks_for_one(open_page: OpenPage, read: Read, workspace: Workspace) -> None:
    write_run(workspace.experiments / "density" / "seed_42", **OPTIONS)
    app = open_page("report")
    app.multiselect(key="report_run").set_value([]).run()
    assert not app.exception
    assert "Choose one or more runs" in read(app)


def test_a_pack_can_be_taken_and_its_content_seen(open_page: OpenPage, read: Read, workspace: Workspace) -> None:
    run = write_run(workspace.experiments / "density" / "seed_42", **OPTIONS)
    write_pack([run], workspace.reports / "20260102_030405", PackOptions(("svg",)))
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
