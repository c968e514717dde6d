"""Models: the shelf in its simplest form."""

from __future__ import annotations

from collections.abc import Callable

from streamlit.testing.v1 import AppTest

from make_runs import write_experiment, write_run
from mammo_core.settings import Workspace

OpenPage = Callable[..., AppTest]
Read = Callable[[AppTest], str]
OPTIONS = {"epochs": 3, "replicates": 10}


def test_without_a_finished_run_it_leads_to_training(open_page: OpenPage, read: Read, workspace: Workspace) -> None:
    app = open_page("models")
    assert not app.exception
    assert "No training has finished yet" in read(app)


def test_each_experiment_is_a_model_with_its_quality_and_seeds(open_page: OpenPage, workspace: Workspace) -> None:
    write_experiment(workspace.experiments / "density", seeds=(42, 43, 44), **OPTIONS)
    app = open_page("models")
    assert not app.exception
    (table,) = (item.value for item in app.dataframe)
    assert table["Name"].tolist() == ["density"]
    assert table["Seeds"].tolist() == ["42, 43, 44"]
    assert " ± " in table["Macro-AUC"].iloc[0]
    assert table["Weights"].tolist() == ["missing"]


def test_a_selected_model_shows_its_runs_and_where_to_go(open_page: OpenPage, read: Read, workspace: Workspace) -> None:
    write_experiment(workspace.experiments / "density", seeds=(42, 43), **OPTIONS)
    app = open_page("models")
    app.session_state["models_table"] = {"selection": {"rows": [0], "columns": [], "cells": []}}
    app.run()
    assert not app.exception
    assert app.dataframe[1].value["Name"].tolist() == ["density/seed_42", "density/seed_43"]
    assert next(item for item in app.button if item.label == "Predict with it").disabled, "its weights are gone"
    assert "Its curves" in read(app)


def test_broken_runs_do_not_hide_the_others(open_page: OpenPage, workspace: Workspace) -> None:
    broken = write_run(workspace.experiments / "broken" / "seed_1", **OPTIONS)
    broken.summary_file.write_text("{")
    write_run(workspace.experiments / "good" / "seed_1", **OPTIONS)
    app = open_page("models")
    assert not app.exception
    assert app.dataframe[0].value["Name"].tolist() == ["good"]


# ---- kept models -------------------------------------------------------------------------------------------------------------


def kept(workspace: Workspace, name: str = "frozen") -> None:
    from model_in_workspace import finished_run

    from mammo_core.workflows.model_shelf import keep_model

    run = finished_run(workspace)
    keep_model(workspace, [run.id], name, "Only for *tests*.")


def test_without_a_kept_model_it_says_what_one_is(open_page: OpenPage, read: Read, workspace: Workspace) -> None:
    app = open_page("models")
    assert not app.exception
    assert "frozen copy of trained runs in one file" in read(app)


def test_a_kept_model_is_told_in_words_with_its_card_and_file(open_page: OpenPage, read: Read, workspace: Workspace) -> None:
    kept(workspace)
    app = open_page("models")
    assert app.dataframe[0].value["Name"].tolist() == ["frozen"]
    app.session_state["kept_table"] = {"selection": {"rows": [0], "columns": [], "cells": []}}
    app.run()
    assert not app.exception
    text = read(app).replace("\\", "")
    assert "Only for *tests*." in text
    assert "It tells lesion (A / B / C) from one film; one run." in text
    assert "Converged?" in text
    assert {"Download the file", "Download the card"} <= {item.label for item in app.get("download_button")}


def test_trained_runs_are_kept_by_a_job_under_a_free_name(open_page: OpenPage, workspace: Workspace) -> None:
    from model_in_workspace import finished_run

    from mammo_core.runs.queue import list_requests
    from mammo_core.workflows.jobs import run_job
    from mammo_core.workflows.model_shelf import kept_models

    finished_run(workspace)
    app = open_page("models")
    app.session_state["models_table"] = {"selection": {"rows": [0], "columns": [], "cells": []}}
    app.run()
    next(item for item in app.text_input if item.label == "Name" and item.value == "density").set_value("mine").run()
    next(item for item in app.button if item.label == "Keep").click().run()
    assert not app.exception
    (request,) = list_requests(workspace)
    assert run_job(workspace, request.id) == 0
    assert [model.name for model in kept_models(workspace)] == ["mine"]


def test_a_file_from_elsewhere_is_checked_by_a_job_and_a_bad_one_is_refused_in_words(
    open_page: OpenPage, workspace: Workspace
) -> None:
    from mammo_core.runs.queue import list_requests
    from mammo_core.workflows.jobs import run_job

    app = open_page("models")
    app.file_uploader(key="model_file").set_value([("bad.mammotrace", b"PK nothing", "application/octet-stream")])
    app.run()
    next(item for item in app.button if item.label == "Check and import").click().run()
    assert not app.exception
    (request,) = list_requests(workspace)
    assert run_job(workspace, request.id) == 1
    assert not list((workspace.cache / "uploads").iterdir()), "no copy is kept"
    app = open_page("models")
    assert "is not a model file" in app.error[0].value.replace("\\", "")


def test_a_broken_model_file_does_not_hide_the_others(open_page: OpenPage, workspace: Workspace) -> None:
    kept(workspace)
    (workspace.models / "broken.mammotrace").write_bytes(b"PK")
    app = open_page("models")
    assert not app.exception
    assert "broken" in app.warning[0].value
    assert app.dataframe[0].value["Name"].tolist() == ["frozen"]


def test_a_model_is_removed_to_the_trash_only(open_page: OpenPage, workspace: Workspace) -> None:
    kept(workspace)
    app = open_page("models")
    app.session_state["kept_table"] = {"selection": {"rows": [0], "columns": [], "cells": []}}
    app.run()
    app.button(key="kept_remove").click().run()
    assert not app.exception
    assert list(workspace.trash.rglob("frozen.mammotrace"))
    assert not list(workspace.models.iterdir())
