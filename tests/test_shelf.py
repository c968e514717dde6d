"""The shelf of models: what a row says of one run and of several."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import pytest

from make_runs import write_experiment, write_run
from mammo_core.runs.listing import list_cards
from mammo_core.settings import Workspace
from mammo_core.workflows.shelf import metric_over_runs, runs_alike, shelf, shelf_of_runs


def test_seeds_of_an_experiment_share_a_row_with_mean_sd_and_n(workspace: Workspace) -> None:
    runs = write_experiment(workspace.experiments / "density", seeds=(42, 43, 44), replicates=20)
    (row,) = shelf(list_cards(workspace))
    values = [run.summary().metrics["auc_ovr_macro"].value for run in runs]  # type: ignore[union-attr]
    mean = sum(values) / 3  # type: ignore[arg-type]
    assert row.seeds == (42, 43, 44)
    assert row.metrics["auc_ovr_macro"].startswith(f"{mean:.3f} ± ")
    assert row.metrics["auc_ovr_macro"].endswith("(n = 3, SD n-1)")
    assert row.train_films == sum(runs[0].summary().counts["train"].values())  # type: ignore[union-attr]


def test_a_single_run_shows_its_interval_and_no_sd(workspace: Workspace) -> None:
    run = write_run(workspace.experiments / "one" / "seed_1", replicates=50)
    (row,) = shelf_of_runs(list_cards(workspace))
    metric = run.summary().metrics["auc_ovr_macro"]  # type: ignore[union-attr]
    assert row.metrics["auc_ovr_macro"] == f"{metric.value:.3f} ({metric.ci_low:.3f} to {metric.ci_high:.3f})"
    assert row.name == "one/seed_1"


def test_runs_that_did_not_finish_or_cannot_be_read_are_not_on_the_shelf(workspace: Workspace) -> None:
    write_run(workspace.experiments / "x" / "stopped", state="stopped", replicates=5)
    broken = write_run(workspace.experiments / "x" / "broken", seed=2, replicates=5)
    broken.summary_file.write_text("{")
    assert shelf(list_cards(workspace)) == []


def test_weights_that_are_gone_are_said(workspace: Workspace) -> None:
    run = write_run(workspace.experiments / "x" / "seed_1", replicates=5)
    assert not shelf(list_cards(workspace))[0].has_weights
    run.best_model.write_bytes(b"weights")
    assert shelf(list_cards(workspace))[0].has_weights


@pytest.mark.parametrize("metric", ["no_such_metric"])
def test_a_metric_nobody_has_is_undefined_and_not_zero(workspace: Workspace, metric: str) -> None:
    write_run(workspace.experiments / "x" / "seed_1", replicates=5)
    assert metric_over_runs(list_cards(workspace), metric) == "undefined"


def test_runs_are_alike_that_learnt_the_same_films_for_the_same_classes_and_still_have_weights(workspace: Workspace) -> None:
    folder = workspace.experiments / "x"
    seeds = [write_run(folder / f"seed_{seed}", seed=seed, replicates=5) for seed in (1, 2, 3)]
    fold = write_run(folder / "seed_1_fold_2", seed=1, fold=2, replicates=5)
    other = write_run(workspace.experiments / "y" / "seed_1", replicates=5)
    for run in (*seeds[:2], fold, other):
        run.best_model.write_bytes(b"weights")
    assert set(runs_alike(list_cards(workspace), "x/seed_1")) == {"x/seed_1", "x/seed_2"}
    assert runs_alike(list_cards(workspace), "x/seed_2")[0] == "x/seed_2"
    assert runs_alike(list_cards(workspace), "x/seed_1_fold_2") == ("x/seed_1_fold_2",)
    assert runs_alike(list_cards(workspace), "gone/seed_1") == ("gone/seed_1",)
