"""Groups of runs side by side: the contract, the warnings, and the tests against independent references."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import accuracy_score, cohen_kappa_score

from make_runs import LESION, write_experiment, write_run
from mammo_core.analysis.compare import compare, mean_curves
from mammo_core.analysis.significance import compare_on_same_films, compare_values
from mammo_core.errors import MammoError
from mammo_core.runs.schema import HEADLINE_METRICS


@pytest.fixture(scope="module")
def experiments(tmp_path_factory):
    """Two experiments on the same films, one of them better, and one on other films."""
    folder = tmp_path_factory.mktemp("experiments")
    return {
        "plain": write_experiment(folder / "plain", patients=100, skill=0.5),
        "better": write_experiment(folder / "better", patients=100, skill=1.5, config={"arch": "resnet18"}),
        "elsewhere": write_experiment(folder / "elsewhere", patients=100, split_seed=9),
    }


def test_the_result_has_the_promised_shape_and_is_json(experiments):
    result = compare({name: experiments[name] for name in ("plain", "better")})
    json.dumps(result, allow_nan=False)
    assert {"groups", "tests", "warnings", "answer"} <= set(result)
    group = result["groups"][0]
    assert (group["name"], group["n"]) == ("plain", 3)
    assert group["runs"] == ["plain/seed_42", "plain/seed_43", "plain/seed_44"]
    for metric in HEADLINE_METRICS:
        assert {"mean", "sd", "ci_low", "ci_high", "values"} <= set(group["metrics"][metric])
    values = [run.metrics("val").metrics["accuracy"].value for run in experiments["plain"]]
    assert group["metrics"]["accuracy"]["values"] == values
    assert group["metrics"]["accuracy"]["sd"] == pytest.approx(np.std(values, ddof=1))


def test_the_paired_difference_is_that_of_the_means_of_scikit_learn(experiments):
    result = compare({name: experiments[name] for name in ("plain", "better")})
    tests = {test["metric"]: test for test in result["tests"]}
    accuracy, kappa = [], []
    for name in ("plain", "better"):
        tables = [run.predictions("val") for run in experiments[name]]
        accuracy.append(np.mean([accuracy_score(t["y_true"], t["y_pred"]) for t in tables]))
        kappa.append(
            np.mean([cohen_kappa_score(t["y_true"], t["y_pred"], weights="quadratic", labels=list("ABCD")) for t in tables])
        )
    assert tests["accuracy"]["difference"] == pytest.approx(accuracy[0] - accuracy[1])
    assert tests["kappa_quadratic"]["difference"] == pytest.approx(kappa[0] - kappa[1])
    for test in tests.values():
        assert test["ci_low"] <= test["difference"] <= test["ci_high"]
        assert test["paired"]


def test_the_interval_with_runs_is_wider_than_the_one_with_patients_only(experiments):
    for test in compare({name: experiments[name] for name in ("plain", "better")})["tests"]:
        only = test["patients_only"]
        assert test["ci_high"] - test["ci_low"] > only["ci_high"] - only["ci_low"]


def test_a_clear_difference_on_few_seeds_is_a_description_and_names_the_better_one(experiments):
    result = compare({name: experiments[name] for name in ("plain", "better")})
    assert result["primary_metric"] == "kappa_quadratic"
    assert result["answer"].startswith("better is ahead of plain in Kappa (quadratic) by ")
    assert "fewer than 5 runs" in result["answer"]
    assert [entry["setting"] for entry in result["config_differences"]] == ["arch"]


def test_a_group_against_itself_cannot_be_told_apart(experiments):
    result = compare({"one": experiments["plain"], "two": experiments["plain"]})
    assert "cannot tell" in result["answer"] or "nothing here can tell" in result["answer"]
    assert all(test["difference"] == 0 for test in result["tests"])


def test_other_films_get_a_warning_and_no_paired_test(experiments):
    result = compare({name: experiments[name] for name in ("plain", "elsewhere")})
    assert not any(test["paired"] for test in result["tests"])
    assert any("not measured on the same films" in warning for warning in result["warnings"])
    assert any("different splits" in warning for warning in result["warnings"])


def test_other_classes_are_never_tested_against_each_other(experiments, tmp_path):
    result = compare({"density": experiments["plain"], "lesion": write_experiment(tmp_path / "l", class_names=LESION)})
    assert result["tests"] == []
    assert any("different tasks" in warning for warning in result["warnings"])
    assert any("different classes" in warning for warning in result["warnings"])


def test_unfinished_runs_are_left_out_visibly(experiments, tmp_path):
    going = write_run(tmp_path / "e" / "seed_7", seed=7, state="running", epochs_run=2)
    result = compare({"plain": [*experiments["plain"], going]})
    assert result["groups"][0]["n"] == 3
    assert result["groups"][0]["left_out"][0]["run"] == "e/seed_7"
    assert any("1 run(s) left out: seed_7 (running at epoch 2 of 5" in warning for warning in result["warnings"])


def test_a_run_with_a_damaged_history_is_left_out_with_its_reason(experiments, tmp_path):
    damaged = write_run(tmp_path / "e" / "seed_8", seed=8)
    damaged.history_file.write_text("[{")
    group = compare({"plain": [*experiments["plain"], damaged]})["groups"][0]
    assert group["n"] == 3
    assert "not readable" in group["left_out"][0]["reason"]


def test_few_runs_and_a_best_epoch_at_the_end_are_warned_about(experiments):
    warnings = compare({"plain": experiments["plain"]})["warnings"]
    assert any("descriptive only" in warning for warning in warnings)
    assert any("best epoch is the last one" in warning for warning in warnings)


def test_test_films_are_compared_only_where_they_were_evaluated(tmp_path):
    seen = write_run(tmp_path / "e" / "seed_1", seed=1, with_test=True)
    unseen = write_run(tmp_path / "e" / "seed_2", seed=2)
    group = compare({"e": [seen, unseen]}, on="test")["groups"][0]
    assert group["runs"] == ["e/seed_1"]
    assert group["left_out"][0]["reason"] == "not evaluated on test yet"


def test_nothing_to_compare_is_an_error_that_says_why(tmp_path):
    going = write_run(tmp_path / "e" / "seed_7", seed=7, state="failed", epochs_run=1)
    with pytest.raises(MammoError, match="failed at epoch 1 of 5"):
        compare({"e": [going]})


def test_mean_curves_show_how_many_runs_reach_each_epoch(tmp_path):
    runs = write_experiment(tmp_path / "e", seeds=(1, 2))
    runs.append(write_run(tmp_path / "e" / "seed_3", seed=3, epochs_run=3))
    curve = mean_curves(runs, "val_loss")
    assert curve["n"].tolist() == [3, 3, 3, 2, 2]
    first = [run.history()[0].val_loss for run in runs]
    assert (curve["mean"][0], curve["sd"][0]) == pytest.approx((np.mean(first), np.std(first, ddof=1)))


# ---- the tests themselves -----------------------------------------------------------------------------------------------------


def test_welch_equals_scipy():
    a, b = [0.70, 0.72, 0.69, 0.74], [0.66, 0.71, 0.60]
    expected = stats.ttest_ind(a, b, equal_var=False)
    interval = expected.confidence_interval(0.95)
    found = compare_values("accuracy", a, b)
    assert (found["p"], found["df"]) == pytest.approx((expected.pvalue, expected.df))
    assert (found["ci_low"], found["ci_high"]) == pytest.approx((interval.low, interval.high))


def test_welch_needs_two_values_in_each_group():
    assert compare_values("accuracy", [0.7], [0.6, 0.5]) is None
    assert compare_values("accuracy", [0.7, 0.7], [0.5, 0.5]) is None


def coin_tables(generator: np.random.Generator, runs: int, truth: np.ndarray) -> list[pd.DataFrame]:
    """Runs that are right with chance 0.7, independent of each other."""
    tables = []
    for _ in range(runs):
        right = generator.random(len(truth)) < 0.7
        predicted = np.where(right, truth, 1 - truth)
        sure = np.where(predicted == 1, 0.8, 0.2)
        tables.append(
            pd.DataFrame(
                {
                    "image_id": [str(i) for i in range(len(truth))],
                    "patient_id": [str(i) for i in range(len(truth))],
                    "y_true": np.array(["x", "y"])[truth],
                    "y_pred": np.array(["x", "y"])[predicted],
                    "prob_x": 1 - sure,
                    "prob_y": sure,
                }
            )
        )
    return tables


def test_equal_groups_are_called_different_about_as_rarely_as_the_level_says(monkeypatch):
    monkeypatch.setattr("mammo_core.analysis.significance.REPLICATES", 150)
    generator = np.random.default_rng(0)
    truth = np.arange(60) % 2
    found = [
        compare_on_same_films(coin_tables(generator, 3, truth), coin_tables(generator, 3, truth), ["x", "y"])[0]
        for _ in range(20)
    ]
    alarms = sum(not test["ci_low"] <= 0 <= test["ci_high"] for test in found)
    assert alarms <= 4
