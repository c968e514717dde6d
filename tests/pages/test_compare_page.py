"""Compare: the answer in words, what it rests on, and what limits it."""

from __future__ import annotations

import json
from collections.abc import Callable

import pandas as pd
from streamlit.testing.v1 import AppTest

from make_runs import write_experiment, write_run
from mammo_core.analysis.compare import compare
from mammo_core.runs.run_dir import experiment_runs
from mammo_core.settings import Workspace

OpenPage = Callable[..., AppTest]
Read = Callable[[AppTest], str]
OPTIONS = {"epochs": 3, "replicates": 10}


def test_without_runs_it_leads_to_training(open_page: OpenPage, read: Read) -> None:
    app = open_page("compare")
    assert not app.exception
    assert "There is no run yet" in read(app)


def test_the_answer_comes_first_with_its_films_and_warnings(open_page: OpenPage, read: Read, workspace: Workspace) -> None:
    write_experiment(workspace.experiments / "strong", seeds=(42, 43), **OPTIONS)
    write_experiment(workspace.experiments / "weak", seeds=(42, 43), skill=0.2, **OPTIONS)
    app = open_page("compare")
    assert not app.exception
    text = read(app).replace("\\", "")
    result = compare({name: experiment_runs(workspace, name) for name in app.multiselect(key="compare_group").value}, "val")
    assert f"### {result['answer']}" in text
    assert "validation films" in text
    assert all(warning in text for warning in result["warnings"])
    table = app.dataframe[0].value
    assert {"Mean", "SD (n-1)", "n", "95 % mean of runs", "95 % runs and patients", "95 % one new run"} <= set(table.columns)
    assert table["How"].str.contains("95 % t interval").all()
    assert len(app.get("vega_lite_chart")) == 3, "dots, differences and curves"


def test_a_run_can_be_left_out_and_that_is_said(open_page: OpenPage, read: Read, workspace: Workspace) -> None:
    write_experiment(workspace.experiments / "density", seeds=(42, 43, 44), **OPTIONS)
    app = open_page("compare")
    assert set(app.dataframe[0].value["n"]) == {3}
    app.button_group(key="compare_runs_density").set_value(["seed_42", "seed_44"]).run()
    assert not app.exception
    assert "Left out by you: seed_43" in read(app).replace("\\", "")
    assert set(app.dataframe[0].value["n"]) == {2}


def test_each_seed_and_the_mean_are_drawn(open_page: OpenPage, workspace: Workspace) -> None:
    write_experiment(workspace.experiments / "density", seeds=(42, 43, 44), **OPTIONS)
    app = open_page("compare")
    curves = json.loads(app.get("vega_lite_chart")[1].proto.spec)
    lines = [layer for layer in curves["layer"] if layer.get("mark", {}).get("type") == "line"]
    assert len(lines) >= 4, "three seeds and their mean"


def test_test_metrics_that_nobody_made_are_said_to_be_missing(open_page: OpenPage, workspace: Workspace) -> None:
    write_experiment(workspace.experiments / "density", seeds=(42, 43), **OPTIONS)
    app = open_page("compare", {"compare_on": "test films"})
    assert not app.exception
    assert any("not evaluated on test yet" in error.value for error in app.error)


def test_a_broken_run_is_left_out_with_its_reason(open_page: OpenPage, read: Read, workspace: Workspace) -> None:
    runs = write_experiment(workspace.experiments / "density", seeds=(42, 43, 44), **OPTIONS)
    runs[0].summary_file.write_text('{"metrics": ')
    app = open_page("compare")
    assert not app.exception
    assert "1 run(s) left out" in read(app).replace("\\", "")
    assert set(app.dataframe[0].value["n"]) == {2}


def test_an_experiment_without_a_finished_run_is_told(open_page: OpenPage, workspace: Workspace) -> None:
    write_run(workspace.experiments / "density" / "seed_42", state="stopped", **OPTIONS)
    app = open_page("compare", {"compare_group": "density"})
    assert not app.exception
    assert any("nothing to compare yet" in error.value for error in app.error)


def test_long_names_are_cut_in_figures_and_told_apart() -> None:
    from pages.shared.comparison import LONGEST_NAME, short_names

    long = "density_of_the_second_centre_without_augmentation"
    shown = short_names(["density", long, f"{long}_again"])
    assert shown["density"] == "density"
    assert shown[long] == f"{long[: LONGEST_NAME - 1]}…"
    assert len(set(shown.values())) == 3


def test_single_runs_are_compared_and_tested_model_by_model(open_page: OpenPage, workspace: Workspace) -> None:
    write_experiment(workspace.experiments / "density", seeds=(42, 43), patients=100, **OPTIONS)
    app = open_page("compare", {"compare_by": "Single runs"})
    assert not app.exception
    assert set(app.dataframe[0].value["Group"]) == {"density/seed_42", "density/seed_43"}
    tests = pd.concat([frame.value for frame in app.dataframe if "Test" in frame.value.columns])
    assert {"McNemar, exact", "DeLong"} <= set(tests["Test"])


def test_a_run_is_judged_against_what_the_others_lead_one_to_expect(
    open_page: OpenPage, read: Read, workspace: Workspace
) -> None:
    write_experiment(workspace.experiments / "density", seeds=(1, 2, 3, 4, 5, 6), patients=100, **OPTIONS)
    write_experiment(workspace.experiments / "broken", seeds=(1,), patients=100, skill=0.0, config={"lr": 0.1}, **OPTIONS)
    app = open_page("compare", {"compare_group": ["density", "broken"]})
    app.selectbox(key="compare_expect_run").set_value("broken/seed_1").run()
    assert not app.exception
    assert any("6 runs lead one to expect" in info.value and "lies outside" in info.value for info in app.info)


def test_centres_and_the_gap_to_a_held_out_one_are_shown_with_their_limits(
    open_page: OpenPage, read: Read, workspace: Workspace
) -> None:
    write_experiment(workspace.experiments / "mixed", seeds=(1, 2), patients=100, **OPTIONS)
    write_experiment(workspace.experiments / "held", seeds=(1, 2), patients=100, holdout=("3",), **OPTIONS)
    app = open_page("compare")
    assert not app.exception
    text = read(app).replace("\\", "")
    assert "Centre by centre" in text
    assert "says nothing about the held-out centre(s) 3" in text
    centres = next(frame.value for frame in app.dataframe if "Centre" in frame.value.columns)
    assert set(centres["Centre"]) == {"1", "2", "3"}


def test_the_source_of_every_number_is_named(open_page: OpenPage, workspace: Workspace) -> None:
    write_experiment(workspace.experiments / "density", seeds=(1, 2), **OPTIONS)
    app = open_page("compare")
    sources = next(frame.value for frame in app.dataframe if "Split SHA-256" in frame.value.columns)
    assert sources["Data set"].tolist() == ["phantoms"]
    assert sources["Runs"].tolist() == ["seed_1, seed_2"]
