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
    assert len(spec["vconcat"]) == 5, "loss, accuracy, learning rate, recall by class, time"
    assert [item.label for item in app.get("download_button")][:3] == ["PNG", "SVG", "PDF"]


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


# ---- how it is drawn ------------------------------------------------------------------------------------------------------


def widgets(app: AppTest) -> dict[str, object]:
    """What is chosen in the row above the figure."""
    return {key: app.session_state[key] for key in ("history_axis", "history_scale", "history_smoothing")}


def test_the_url_reproduces_how_the_figure_is_drawn(open_page: OpenPage, workspace: Workspace) -> None:
    run_in(workspace, epochs=12)
    query = {
        "history_axis": "Elapsed time",
        "history_scale": "Log loss",
        "history_smoothing": "Smoothed 0.6",
        "history_panels": "Loss",
    }
    app = open_page("history", query)
    assert not app.exception
    (spec,) = charts(app)
    assert len(spec["vconcat"]) == 1
    text = json.dumps(spec)
    assert '"type": "log"' in text
    assert "Elapsed time (minutes)" in text
    assert "smoothed (0.6)" in text


@pytest.mark.parametrize("value", ["bogus", "", "0.61", "<script>"])
def test_an_unknown_choice_in_the_url_is_passed_over(open_page: OpenPage, workspace: Workspace, value: str) -> None:
    run_in(workspace)
    keys = ("history_axis", "history_scale", "history_smoothing", "history_panels", "history_layout", "history_metric")
    app = open_page("history", dict.fromkeys(keys, value))
    assert not app.exception
    (spec,) = charts(app)
    assert "smoothed" not in json.dumps(spec)
    assert '"type": "log"' not in json.dumps(spec)


def test_several_runs_can_be_drawn_in_one_figure_with_the_verdict_of_each(
    open_page: OpenPage, read: Read, workspace: Workspace
) -> None:
    runs = [run_in(workspace, f"density/seed_{seed}", seed=seed) for seed in (42, 43)]
    waiting = run_in(workspace, "density/seed_44", seed=44, state="queued", epochs_run=0)
    broken = run_in(workspace, "density/seed_45", seed=45)
    broken.history_file.write_text("[{")
    app = open_page("history", {"history_layout": "Together"})
    app.multiselect(key="run").set_value([run.id for run in (*runs, waiting, broken)]).run()
    app.segmented_control(key="history_layout").set_value("together").run()
    assert not app.exception
    assert len(charts(app)) == 1
    text = read(app).replace("\\", "")
    assert all(f"**{run.id}** · " in text for run in (*runs, waiting, broken))
    assert "waiting, no epoch has ended yet" in text
    assert "not readable as JSON" in text


def test_more_runs_than_colours_are_told_what_to_do(open_page: OpenPage, read: Read, workspace: Workspace) -> None:
    options = {"epochs": 2, "with_predictions": False, "patients": 12}
    runs = [run_in(workspace, f"density/seed_{seed}", seed=seed, **options) for seed in range(1, 10)]
    app = open_page("history")
    app.multiselect(key="run").set_value([run.id for run in runs]).run()
    app.segmented_control(key="history_layout").set_value("together").run()
    assert not app.exception
    assert "9 runs are chosen; the first 8 are drawn" in read(app)
    assert "Compare" in read(app)


def test_without_times_the_epochs_are_drawn_and_the_page_says_why(open_page: OpenPage, read: Read, workspace: Workspace) -> None:
    run = run_in(workspace)
    records = json.loads(run.history_file.read_text())
    run.history_file.write_text(json.dumps([record | {"seconds": None} for record in records]))
    app = open_page("history", {"history_axis": "Elapsed time"})
    assert "Drawn over epochs: It records no time per epoch." in read(app)
    assert len(charts(app)) == 1


def test_the_numbers_behind_the_verdict_and_the_replay_of_early_stopping_are_tables(
    open_page: OpenPage, workspace: Workspace
) -> None:
    run_in(workspace, epochs=20)
    columns = [tuple(frame.value.columns) for frame in open_page("history").dataframe]
    assert ("rule", "grade", "epochs", "measured", "limits", "confidence") in columns
    assert ("patience", "stops at epoch", "epochs saved", "loss given up", "advised") in columns


def test_a_live_run_is_judged_so_far_and_not_at_its_end(open_page: OpenPage, read: Read, workspace: Workspace) -> None:
    run = run_in(workspace, state="running", epochs=20, epochs_run=4)
    with lock_of(run.lock_file):
        text = read(open_page("history"))
    assert "So far" in text
    assert "It may change while the run trains." in text
    assert "when training ended" not in text
