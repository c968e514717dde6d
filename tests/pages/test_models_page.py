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
