"""Evaluate: validation results at once, test results only when they are asked for."""

from __future__ import annotations

from collections.abc import Callable

from streamlit.testing.v1 import AppTest

from make_runs import LESION, write_experiment, write_run
from mammo_core.runs.queue import list_requests, update
from mammo_core.settings import Workspace
from mammo_core.storage import write_json

OpenPage = Callable[..., AppTest]
Read = Callable[[AppTest], str]
OPTIONS = {"epochs": 3, "replicates": 10}
TEST = {"evaluate_on": "Test films"}


def test_without_a_finished_run_it_leads_to_training(open_page: OpenPage, read: Read, workspace: Workspace) -> None:
    write_run(workspace.experiments / "density" / "seed_42", state="stopped", **OPTIONS)
    app = open_page("evaluate")
    assert not app.exception
    assert "No training has finished yet" in read(app)


def test_one_run_shows_its_own_metrics_with_intervals(open_page: OpenPage, read: Read, workspace: Workspace) -> None:
    run = write_run(workspace.experiments / "density" / "seed_42", **OPTIONS)
    app = open_page("evaluate")
    assert not app.exception
    metrics = run.metrics("val")
    assert app.selectbox(key="evaluate_model").value == run.id
    assert f"on {metrics.n} validation films of {metrics.patients} patients" in read(app)
    assert f"{metrics.metrics['kappa_quadratic'].value:.3f}" in read(app)
    classes = next(table.value for table in app.dataframe if "Sensitivity" in table.value.columns)
    assert classes["Class"].tolist() == list("ABCD")
    assert len(app.get("vega_lite_chart")) == 2, "confusion matrix and ROC"


def test_seeds_together_are_judged_by_their_mean_probabilities(open_page: OpenPage, read: Read, workspace: Workspace) -> None:
    write_experiment(workspace.experiments / "lesion", seeds=(42, 43), class_names=LESION, **OPTIONS)
    app = open_page("evaluate", {"evaluate_model": "lesion"})
    assert not app.exception
    assert "Mean of the probabilities of 2 runs" in read(app)
    assert "AUC (macro, one-vs-rest)" in read(app).replace("\\", "")


def test_the_test_films_are_looked_at_only_on_request(open_page: OpenPage, read: Read, workspace: Workspace) -> None:
    run = write_run(workspace.experiments / "density" / "seed_42", **OPTIONS)
    app = open_page("evaluate", TEST)
    assert "Nobody has looked at the test films" in read(app)
    assert not list_requests(workspace)
    next(item for item in app.button if item.label == "Look at the test films").click().run()
    (request,) = list_requests(workspace)
    assert (request.kind, request.arguments) == ("evaluate", {"runs": [run.id], "on": "test"})
    assert "is being evaluated" in read(app).replace("\\", "")


def test_looks_at_the_test_films_are_counted_and_said(open_page: OpenPage, read: Read, workspace: Workspace) -> None:
    run = write_run(workspace.experiments / "density" / "seed_42", with_test=True, **OPTIONS)
    write_json(run.test_looks_file, [{"at": 1.0, "films": 24}, {"at": 2.0, "films": 24}])
    app = open_page("evaluate", TEST)
    assert not app.exception
    assert "test films looked at 2 times" in read(app)


def test_an_evaluation_that_failed_says_why(open_page: OpenPage, workspace: Workspace) -> None:
    write_run(workspace.experiments / "density" / "seed_42", **OPTIONS)
    app = open_page("evaluate", TEST)
    next(item for item in app.button if item.label == "Look at the test films").click().run()
    (request,) = list_requests(workspace)
    update(workspace, request.id, state="failed", message="density/seed_42 has no test part.")
    app = open_page("evaluate", TEST)
    assert any("no test part" in error.value.replace("\\", "") for error in app.error)


def test_half_written_predictions_are_told_in_words(open_page: OpenPage, workspace: Workspace) -> None:
    run = write_run(workspace.experiments / "density" / "seed_42", **OPTIONS)
    run.predictions_file("val").write_text("image_id,patient_id\nf1")
    app = open_page("evaluate")
    assert not app.exception
    assert any("evaluate the run again" in error.value for error in app.error)


def test_metrics_that_are_gone_can_be_made_again(open_page: OpenPage, read: Read, workspace: Workspace) -> None:
    run = write_run(workspace.experiments / "density" / "seed_42", **OPTIONS)
    run.metrics_file("val").write_text('{"n": ')
    app = open_page("evaluate")
    assert not app.exception
    assert "Evaluate on the validation films" in read(app)


def test_seeds_of_different_splits_are_refused_in_words(open_page: OpenPage, workspace: Workspace) -> None:
    write_run(workspace.experiments / "density" / "seed_42", **OPTIONS)
    write_run(workspace.experiments / "density" / "seed_43", seed=43, split_seed=5, **OPTIONS)
    app = open_page("evaluate", {"evaluate_model": "density"})
    assert not app.exception
    assert any("expected the same films" in error.value for error in app.error)
