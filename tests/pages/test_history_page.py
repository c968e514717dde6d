"""History: the curves of runs, in every state that a run directory can be in."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from make_runs import write_run
from mammo_core.runs.queue import list_requests
from mammo_core.runs.run_dir import RunDir
from mammo_core.settings import Workspace
from mammo_core.storage import lock_of

OpenPage = Callable[..., AppTest]
Read = Callable[[AppTest], str]


def run_in(workspace: Workspace, name: str = "density/seed_42", **options: object) -> RunDir:
    return write_run(workspace.experiments / name, **{"epochs": 4, "replicates": 10, **options})


def charts(app: AppTest) -> list[dict]:
    return [json.loads(chart.proto.spec) for chart in app.get("vega_lite_chart")]


def button(app: AppTest, label: str):
    return next(item for item in app.button if item.label == label)


def test_without_runs_it_leads_to_training(open_page: OpenPage, read: Read) -> None:
    app = open_page("history")
    assert not app.exception
    assert "There is no run yet" in read(app)
    assert "Start a training" in read(app)


def test_a_finished_run_shows_its_figure_and_the_facts(open_page: OpenPage, read: Read, workspace: Workspace) -> None:
    run = run_in(workspace)
    app = open_page("history")
    assert not app.exception
    assert app.multiselect(key="run").value == [run.id]
    best = run.summary().best_epoch
    assert "Planned 4, ran 4" in read(app)
    assert f"at epoch {best}" in read(app)
    (spec,) = charts(app)
    assert len(spec["vconcat"]) == 4, "loss, accuracy, learning rate, recall by class"
    assert [item.label for item in app.get("download_button")][:4] == ["PNG", "SVG", "PDF", "CSV (data)"]


def test_the_epoch_axis_ends_at_the_planned_epoch(open_page: OpenPage, workspace: Workspace) -> None:
    run_in(workspace, epochs=20, epochs_run=3, state="stopped")
    (spec,) = charts(open_page("history"))
    axes = [
        layer["encoding"]["x"]["scale"]["domain"] for layer in spec["vconcat"][0]["layer"] if "scale" in layer["encoding"]["x"]
    ]
    assert axes
    assert all(axis == [0.5, 20.5] for axis in axes)


def test_the_url_chooses_the_runs_and_unknown_ones_are_passed_over(open_page: OpenPage, workspace: Workspace) -> None:
    run_in(workspace, "density/seed_42")
    other = run_in(workspace, "density/seed_43", seed=43)
    assert open_page("history", {"run": other.id}).multiselect(key="run").value == [other.id]
    app = open_page("history", {"run": "gone/seed_1"})
    assert not app.exception
    assert len(app.multiselect(key="run").value) <= 1


def test_several_runs_stand_below_each_other(open_page: OpenPage, workspace: Workspace) -> None:
    runs = [run_in(workspace, f"density/seed_{seed}", seed=seed) for seed in (42, 43)]
    app = open_page("history")
    app.multiselect(key="run").set_value([run.id for run in runs]).run()
    assert not app.exception
    assert [item.value.replace("\\", "") for item in app.subheader] == [run.id for run in runs]
    assert len(charts(app)) == 2


def test_a_live_run_is_told_as_such_and_can_be_stopped(open_page: OpenPage, read: Read, workspace: Workspace) -> None:
    run = run_in(workspace, state="running", epochs_run=2)
    with lock_of(run.lock_file):
        app = open_page("history")
        assert "2 of 4 planned epochs are done" in read(app)
        button(app, "Stop").click().run()
        assert run.stop_file.exists()
        assert button(app, "Stop").disabled


@pytest.mark.parametrize("state", ["stopped", "failed"])
def test_an_ended_run_can_be_resumed(open_page: OpenPage, workspace: Workspace, state: str) -> None:
    run = run_in(workspace, state=state, epochs_run=2)
    app = open_page("history")
    button(app, "Resume").click().run()
    assert not app.exception
    assert [(request.kind, request.arguments["run"]) for request in list_requests(workspace)] == [("resume", run.id)]


def test_a_waiting_run_has_no_figure_yet(open_page: OpenPage, read: Read, workspace: Workspace) -> None:
    run_in(workspace, state="queued", epochs_run=0)
    app = open_page("history")
    assert not app.exception
    assert "waits for its turn" in read(app)
    assert not charts(app)


def test_half_a_history_is_told_in_words_and_the_other_run_is_shown(
    open_page: OpenPage, read: Read, workspace: Workspace
) -> None:
    broken, good = run_in(workspace, "density/seed_1", seed=1), run_in(workspace, "density/seed_2", seed=2)
    broken.history_file.write_text('[{"epoch": 1, "val')
    app = open_page("history")
    app.multiselect(key="run").set_value([broken.id, good.id]).run()
    assert not app.exception
    assert any("not readable as JSON" in error.value.replace("\\", "") for error in app.error)
    assert len(charts(app)) == 1


def test_half_a_status_or_a_missing_config_does_not_hide_the_curves(open_page: OpenPage, workspace: Workspace) -> None:
    run = run_in(workspace)
    run.status_file.write_text('{"state": "fin')
    app = open_page("history")
    assert not app.exception
    assert app.error
    assert len(charts(app)) == 1


@pytest.mark.skipif(importlib.util.find_spec("mammo_core.analysis.diagnosis") is None, reason="no verdict rules installed")
def test_the_verdict_comes_first_and_its_findings_say_what_to_do(open_page: OpenPage, read: Read, workspace: Workspace) -> None:
    from mammo_core.analysis.diagnosis import context_of_run, diagnose

    run = run_in(workspace, epochs=20, epochs_run=3, state="stopped")
    verdict = diagnose(run.history(), context_of_run(run))
    text = read(open_page("history")).replace("\\", "")
    assert f"**{verdict.headline}**" in text
    assert verdict.findings[0].advice in text


def test_an_archived_run_is_hidden_but_its_link_still_opens_it(open_page: OpenPage, workspace: Workspace) -> None:
    run_in(workspace, "density/seed_1", seed=1)
    hidden = run_in(workspace, "density/seed_2", seed=2)
    hidden.write_notes(hidden.notes().model_copy(update={"archived": True}))
    assert hidden.id not in open_page("history").multiselect(key="run").options
    assert open_page("history", {"run": hidden.id}).multiselect(key="run").value == [hidden.id]
