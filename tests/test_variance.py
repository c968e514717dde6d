"""Means and spreads over runs, against published reference values and against scipy."""

from __future__ import annotations

import json
import re

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from make_runs import write_experiment, write_run
from mammo_core.analysis.experiment_summary import (
    summarise_experiment,
    summarise_where_possible,
    write_experiment_summary,
)
from mammo_core.analysis.finished import finished_runs
from mammo_core.analysis.variance import describe, mean_curve
from mammo_core.runs.history import history_frame
from mammo_core.settings import Workspace

# metric values of three seeds in the density reference setup, and what they give: mean, SD (n-1), SD (n), t interval,
# prediction interval for one more run
REFERENCE = {
    "accuracy": ([0.676, 0.733, 0.679], 0.6960, 0.0321, 0.0262, (0.616, 0.776), (0.537, 0.855)),
    "kappa": ([0.697, 0.756, 0.710], 0.7210, 0.0310, 0.0253, (0.644, 0.798), (0.567, 0.875)),
    "macro_f1": ([0.584, 0.588, 0.564], 0.5787, 0.0129, 0.0105, (0.547, 0.611), (0.515, 0.643)),
    "auc": ([0.913, 0.922, 0.896], 0.9103, 0.0132, 0.0108, (0.878, 0.943), (0.845, 0.976)),
}


@pytest.mark.parametrize("name", REFERENCE)
def test_three_seeds_give_the_recomputed_reference_values(name):
    values, mean, sd, population, interval, prediction = REFERENCE[name]
    found = describe(values)
    assert (found.mean, found.sd, found.population_sd) == pytest.approx((mean, sd, population), abs=5e-5)
    assert (found.ci_low, found.ci_high) == pytest.approx(interval, abs=6e-4)
    assert (found.prediction_low, found.prediction_high) == pytest.approx(prediction, abs=6e-4)


def test_the_interval_of_the_mean_equals_that_of_scipy():
    values = np.random.default_rng(0).normal(size=7).tolist()
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    found = describe(values)
    assert (found.ci_low, found.ci_high) == pytest.approx((expected.low, expected.high))


def test_one_value_has_a_mean_and_no_spread():
    found = describe([0.7, None, float("nan")])
    assert (found.mean, found.sd, found.n) == (0.7, None, 1)
    assert found.text() == "0.700 (n = 1, no SD)"


def test_no_value_is_undefined_and_not_zero():
    assert describe([]).mean is None
    assert describe([None]).text() == "undefined"


def test_the_text_says_n_and_which_sd():
    assert describe(REFERENCE["accuracy"][0]).text() == "0.696 ± 0.032 (n = 3, SD n-1)"


def test_intervals_end_at_the_largest_value_a_metric_can_take():
    found = describe([0.98, 0.99, 0.95], highest=1.0)
    assert found.ci_high == 1.0
    assert found.prediction_high == 1.0


def test_a_mean_curve_joins_on_the_epoch_and_has_no_sd_for_one_run():
    frames = [pd.DataFrame({"epoch": [1, 2, 3], "v": [1.0, np.nan, 3.0]}), pd.DataFrame({"epoch": [1, 2], "v": [3.0, 5.0]})]
    found = mean_curve(frames, "v")
    assert found["epoch"].tolist() == [1, 2, 3]
    assert found["mean"].tolist() == [2.0, 5.0, 3.0]
    assert found["n"].tolist() == [2, 1, 1]
    assert found["sd"][0] == pytest.approx(np.sqrt(2))
    assert found["sd"][1:].isna().all()


def test_a_column_that_no_run_has_gives_an_empty_curve():
    assert mean_curve([pd.DataFrame({"epoch": [1]})], "v").empty


def test_the_summary_holds_what_the_runs_say_at_their_best_epoch(tmp_path):
    runs = write_experiment(tmp_path / "e")
    summary = summarise_experiment(runs)
    values = [run.summary().metrics["accuracy"].value for run in runs]
    assert (summary["kind"], summary["n"], summary["seeds"]) == ("seeds", 3, [42, 43, 44])
    assert summary["metrics"]["accuracy"]["values"] == values
    assert summary["metrics"]["accuracy"]["sd"] == pytest.approx(np.std(values, ddof=1))
    assert [entry["best_epoch"] for entry in summary["runs"]] == [run.summary().best_epoch for run in runs]
    assert len(summary["split_sha256"]) == 1
    assert any("descriptive only" in warning for warning in summary["warnings"])
    json.dumps(summary, allow_nan=False)


def test_unfinished_and_repeated_runs_are_left_out_with_the_reason(tmp_path):
    runs = write_experiment(tmp_path / "e", seeds=(1, 2))
    runs.append(write_run(tmp_path / "e" / "seed_3", seed=3, state="stopped", epochs_run=2))
    runs.append(write_run(tmp_path / "e" / "seed_2_2", seed=2))
    summary = summarise_experiment(runs)
    reasons = {entry["run"]: entry["reason"] for entry in summary["left_out"]}
    assert summary["n"] == 2
    assert reasons["e/seed_3"] == "stopped at epoch 2 of 5, not finished"
    assert "same seed, fold and settings as seed_2" in reasons["e/seed_2_2"]


def test_a_run_with_a_broken_summary_is_left_out_and_the_rest_counts(tmp_path):
    runs = write_experiment(tmp_path / "e", seeds=(1, 2))
    runs[0].summary_file.write_text("{")
    kept, left_out = finished_runs(runs)
    assert [finished.run.name for finished in kept] == ["seed_2"]
    assert "not readable as JSON" in left_out[0]["reason"]


def test_runs_that_differ_in_more_than_their_seed_are_said_to(tmp_path):
    runs = write_experiment(tmp_path / "e", seeds=(1, 2))
    runs.append(write_run(tmp_path / "e" / "seed_3", seed=3, config={"arch": "resnet18"}))
    assert any("differ in more than seed and fold: arch" in warning for warning in summarise_experiment(runs)["warnings"])


def test_seeds_and_folds_are_written_to_files_of_their_own(tmp_path):
    workspace = Workspace(tmp_path)
    folder = workspace.experiment("e")
    write_experiment(folder, seeds=(1, 2))
    for fold in (1, 2, 3):
        write_run(folder / f"seed_1_fold_{fold}", seed=1, fold=fold)
    written = write_experiment_summary(workspace, "e")
    assert [path.name for path in written] == ["seeds_summary.json", "cv_summary.json"]
    folds = json.loads((folder / "cv_summary.json").read_text())
    assert (folds["kind"], folds["folds"], folds["n"]) == ("folds", [1, 2, 3], 3)
    assert any("share most of their training films" in warning for warning in folds["warnings"])


def test_an_experiment_without_a_finished_run_gets_no_summary(tmp_path):
    workspace = Workspace(tmp_path)
    write_run(workspace.experiment("e") / "seed_1", seed=1, state="running", epochs_run=1)
    assert write_experiment_summary(workspace, "e") == []


def test_whatever_a_neighbour_holds_the_end_of_a_run_is_not_its_end(tmp_path, caplog):
    workspace = Workspace(tmp_path)
    for seed in (1, 2):
        run = write_run(workspace.experiments / "e" / f"seed_{seed}", seed=seed, epochs=3, replicates=10)
    text = run.summary_file.read_text()
    run.summary_file.write_text(re.sub(r'"val_loss": [^,]+', '"val_loss": NaN', text))
    summarise_where_possible(workspace, "e")
    assert "could not be written" in caplog.text


def test_made_runs_agree_with_themselves(tmp_path):
    run = write_run(tmp_path / "e" / "seed_42", with_test=True)
    frame, summary = history_frame(run.history()), run.summary()
    best = frame[frame["epoch"] == summary.best_epoch].iloc[0]
    assert run.state() == "finished"
    assert best["val_loss"] == frame["val_loss"].min()
    assert best["val_acc"] == pytest.approx(run.metrics("val").metrics["accuracy"].value)
    assert best["val_kappa_quadratic"] == pytest.approx(summary.metrics["kappa_quadratic"].value)
    assert run.metrics("test").n == len(run.predictions("test"))
