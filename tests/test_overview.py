"""The path, the latest runs and the doctor."""

from __future__ import annotations

import pytest

from make_runs import write_experiment, write_run
from mammo_core.runs.listing import list_cards
from mammo_core.runs.queue import enqueue, update
from mammo_core.runs.schema import MetricValue
from mammo_core.settings import Workspace
from mammo_core.workflows.launch import queue_run
from mammo_core.workflows.overview import (
    experiment_rows,
    interrupted_runs,
    latest_demo,
    metric_text,
    path_steps,
    plural,
    value_text,
)


def test_nothing_is_done_in_an_empty_workspace(workspace: Workspace) -> None:
    steps = path_steps([], [], list_cards(workspace))
    assert [step.name for step in steps] == ["Films", "Split", "Train", "Understand"]
    assert not any(step.done for step in steps)
    assert {step.text for step in steps} == {"not yet"}


def test_runs_are_counted_by_state_and_only_finished_ones_can_be_understood(workspace: Workspace) -> None:
    write_run(workspace.experiments / "a" / "seed_42", state="finished", epochs=2)
    write_run(workspace.experiments / "a" / "seed_43", state="failed", epochs=2, epochs_run=1)
    steps = {step.name: step for step in path_steps([], [], list_cards(workspace))}
    assert steps["Train"].text == "1 failed, 1 finished"
    assert steps["Understand"].text == "1 finished run to look at"


def test_an_experiment_of_three_seeds_is_one_row_with_mean_and_sd(workspace: Workspace) -> None:
    write_experiment(workspace.experiments / "density", epochs=2)
    rows = experiment_rows(list_cards(workspace))
    assert len(rows) == 1
    assert rows[0].seeds == "42, 43, 44"
    assert "(n = 3, SD n-1)" in rows[0].metric
    assert rows[0].state == "3 finished"


def test_one_run_is_shown_with_its_own_interval(workspace: Workspace) -> None:
    write_run(workspace.experiments / "density" / "seed_42", epochs=2)
    cards = list_cards(workspace)
    metric = cards[0].metric("auc_ovr_macro")
    assert metric is not None
    assert metric_text(cards) == f"macro-AUC {value_text(metric)}"
    assert experiment_rows(cards)[0].state == "finished"


def test_a_run_without_a_result_has_no_number(workspace: Workspace) -> None:
    write_run(workspace.experiments / "density" / "seed_42", state="running", epochs=2, epochs_run=1)
    assert metric_text(list_cards(workspace)) == ""


def test_a_broken_run_keeps_its_row_and_says_why(workspace: Workspace) -> None:
    run = write_run(workspace.experiments / "density" / "seed_42", epochs=2)
    run.status_file.write_text('{"state": "fini')
    row = experiment_rows(list_cards(workspace))[0]
    assert "status.json" in row.problem


def test_metric_values_are_written_with_what_is_known() -> None:
    assert value_text(MetricValue(value=None)) == "undefined"
    assert value_text(MetricValue(value=0.5)) == "0.500"
    assert value_text(MetricValue(value=0.5, ci_low=0.4, ci_high=0.61)) == "0.500 (0.400 to 0.610)"


def test_an_interrupted_run_is_offered_until_someone_asks_to_resume_it(workspace: Workspace) -> None:
    run = write_run(workspace.experiments / "density" / "seed_42", state="interrupted", epochs=3, epochs_run=1)
    assert [card.id for card in interrupted_runs(workspace, list_cards(workspace))] == ["density/seed_42"]
    queue_run(workspace, run, "resume")
    assert interrupted_runs(workspace, list_cards(workspace)) == []


def test_the_newest_demo_counts(workspace: Workspace) -> None:
    assert latest_demo(workspace) is None
    first = enqueue(workspace, "demo", {}, "Make demo films")
    update(workspace, first.id, state="failed", created_at=first.created_at - 100)
    second = enqueue(workspace, "demo", {}, "Make demo films")
    found = latest_demo(workspace)
    assert found is not None
    assert found.id == second.id


@pytest.mark.parametrize(("count", "words"), [(0, "0 runs"), (1, "1 run"), (3, "3 runs")])
def test_plurals(count: int, words: str) -> None:
    assert plural(count, "run") == words
