"""Grad-CAM: the list of films, the map of one of them, and the gallery."""

from __future__ import annotations

from collections.abc import Callable

from model_in_workspace import finished_run
from PIL import Image
from streamlit.testing.v1 import AppTest

from mammo_core.runs.queue import list_requests, update
from mammo_core.runs.run_dir import RunDir
from mammo_core.settings import RESEARCH_ONLY, Workspace
from mammo_core.storage import write_json

OpenPage = Callable[..., AppTest]
Read = Callable[[AppTest], str]


def select(app: AppTest, run: RunDir, image_id: str) -> AppTest:
    """Click the film's row."""
    row = app.dataframe[0].value["Film"].tolist().index(image_id)
    app.session_state["gradcam_films"] = {"selection": {"rows": [row], "columns": [], "cells": []}}
    return app.run()


def first_film(run: RunDir) -> str:
    return str(run.predictions("val")["image_id"].iloc[0])


def test_without_a_model_it_leads_to_training(open_page: OpenPage, read: Read) -> None:
    app = open_page("gradcam")
    assert not app.exception
    assert "No run has kept a model yet" in read(app)
    assert RESEARCH_ONLY in read(app)


def test_films_are_listed_and_filtered_before_any_map_is_made(open_page: OpenPage, read: Read, workspace: Workspace) -> None:
    run = finished_run(workspace)
    app = open_page("gradcam")
    assert not app.exception
    table = run.predictions("val")
    assert len(app.dataframe[0].value) == len(table)
    assert "Select a film" in read(app)
    wrong = (table["y_true"] != table["y_pred"]).sum()
    app.button_group(key="gradcam_called").set_value("right").run()
    assert len(app.dataframe[0].value) == len(table) - wrong
    app.selectbox(key="gradcam_true").set_value("B").run()
    assert set(app.dataframe[0].value["True"]) == {"B"}
    app.slider(key="gradcam_confidence").set_value((0.0, 0.01)).run()
    assert "No film fits these filters" in read(app)


def test_a_selected_film_stands_beside_its_map_with_careful_words(open_page: OpenPage, read: Read, workspace: Workspace) -> None:
    run = finished_run(workspace, films=3)
    app = select(open_page("gradcam"), run, first_film(run))
    assert not app.exception
    assert not app.error
    text = read(app).replace("\\", "")
    assert len(app.get("bidi_component")) == 1
    assert "influenced the score" in text or "No positive evidence" in text
    assert "does not detect lesions" in text
    assert RESEARCH_ONLY in text


def test_a_film_that_the_url_names_is_opened_at_once(open_page: OpenPage, read: Read, workspace: Workspace) -> None:
    run = finished_run(workspace, films=3)
    app = open_page("gradcam", {"gradcam_run": run.id, "gradcam_film": first_film(run)})
    assert not app.exception
    assert len(app.get("bidi_component")) == 1
    other = open_page("gradcam", {"gradcam_run": run.id, "gradcam_film": "nobody"})
    assert "Select a film" in read(other)


def test_the_mean_map_of_all_seeds_is_offered_where_there_are_several(
    open_page: OpenPage, read: Read, workspace: Workspace
) -> None:
    run = finished_run(workspace, films=3)
    app = open_page("gradcam", {"gradcam_run": run.id, "gradcam_film": first_film(run)})
    assert not app.toggle, "there is only one run"
    finished_run(workspace, "density/seed_43", 43)
    app = open_page("gradcam", {"gradcam_run": run.id, "gradcam_film": first_film(run)})
    assert app.toggle(key="gradcam_together").label == "Mean over the 2 runs of density"
    app.toggle(key="gradcam_together").set_value(True).run()
    assert not app.exception
    assert not app.error
    assert "Mean of 2 runs" in read(app) or "No positive evidence" in read(app)


def test_a_film_that_is_gone_is_told_in_words(open_page: OpenPage, workspace: Workspace) -> None:
    run = finished_run(workspace, films=1)
    missing = str(run.predictions("val")["image_id"].iloc[3])
    app = select(open_page("gradcam"), run, missing)
    assert not app.exception
    assert app.error


def test_a_broken_checkpoint_is_told_in_words(open_page: OpenPage, workspace: Workspace) -> None:
    run = finished_run(workspace, films=1)
    run.best_model.write_bytes(run.best_model.read_bytes()[:1000])
    app = select(open_page("gradcam"), run, first_film(run))
    assert not app.exception
    assert any("checkpoint" in error.value for error in app.error)


def test_missing_test_predictions_lead_to_evaluate(open_page: OpenPage, read: Read, workspace: Workspace) -> None:
    finished_run(workspace)
    app = open_page("gradcam", {"gradcam_on": "Test films"})
    assert not app.exception
    assert "no predictions on the test films" in read(app)


def test_a_gallery_is_queued_and_shown_when_it_is_there(open_page: OpenPage, read: Read, workspace: Workspace) -> None:
    run = finished_run(workspace)
    app = open_page("gradcam", {"gradcam_view": "Gallery"})
    assert not app.exception
    next(item for item in app.button if item.label == "Make the gallery").click().run()
    (request,) = list_requests(workspace)
    assert (request.kind, request.arguments["run"], request.arguments["on"]) == ("gallery", run.id, "val")
    update(workspace, request.id, state="done")
    folder = workspace.reports / "gradcam" / "density" / "seed_42" / "val_gradcam"
    folder.mkdir(parents=True)
    Image.new("RGB", (40, 30)).save(folder / "gallery.png")
    items = [
        {"image": "f1", "class": "A", "map": {"alarms": ["outside"]}, "error": None},
        {"image": "f2", "class": "B", "error": "Gone."},
    ]
    write_json(folder / "gallery.json", {"items": items, "meaning": "What it means.", "disclaimer": RESEARCH_ONLY})
    app = open_page("gradcam", {"gradcam_view": "Gallery"})
    assert not app.exception
    assert "1 film, 1 with an alarm" in read(app)
    assert any("f2, B: Gone." in warning.value.replace("\\", "") for warning in app.warning)


def test_the_gallery_is_looked_for_where_the_job_puts_it(workspace: Workspace) -> None:
    from mammo_core.workflows import gallery
    from pages.shared import gallery_view

    run = RunDir(workspace.experiments / "x" / "seed_1")
    assert gallery_view.gallery_folder(workspace, run, "val", "gradcam++") == gallery.gallery_folder(
        workspace, run, "val", "gradcam++"
    )
