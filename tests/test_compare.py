"""Groups of runs side by side: the contract, the warnings, and the tests against independent references."""

from __future__ import annotations

import functools
import json
import shutil

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, cohen_kappa_score

from make_runs import LESION, write_experiment, write_run
from mammo_core.analysis.compare import compare
from mammo_core.analysis.groups import Repetition
from mammo_core.analysis.resampling import difference, group_interval, resample_passes
from mammo_core.errors import ConfigError, MammoError
from mammo_core.reading import read_json
from mammo_core.runs.importers import import_history
from mammo_core.runs.run_dir import RunDir, list_runs
from mammo_core.runs.schema import HEADLINE_METRICS
from mammo_core.settings import Workspace
from mammo_core.storage import write_json


@pytest.fixture(scope="module")
def experiments(tmp_path_factory):
    """Two experiments on the same films, one of them better, and one on other films."""
    folder = tmp_path_factory.mktemp("experiments")
    return {
        "plain": write_experiment(folder / "plain", patients=100, skill=0.5),
        "better": write_experiment(folder / "better", patients=100, skill=1.5, config={"arch": "resnet18"}),
        "elsewhere": write_experiment(folder / "elsewhere", patients=100, split_seed=9),
    }


@pytest.fixture(scope="module")
def result_of(experiments):
    """``result_of("plain", "better")`` -> their comparison, computed once for all tests that look at it."""
    return functools.cache(lambda *names: compare({name: experiments[name] for name in names}))


def test_the_result_has_the_promised_shape_and_is_json(experiments, result_of):
    result = result_of("plain", "better")
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


def test_the_paired_difference_is_that_of_the_means_of_scikit_learn(experiments, result_of):
    result = result_of("plain", "better")
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


def test_the_interval_with_runs_is_wider_than_the_one_with_patients_only(result_of):
    for test in result_of("plain", "better")["tests"]:
        only = test["patients_only"]
        assert test["ci_high"] - test["ci_low"] > only["ci_high"] - only["ci_low"]


def test_a_clear_difference_on_few_seeds_is_a_description_and_names_the_better_one(result_of):
    result = result_of("plain", "better")
    assert result["primary_metric"] == "kappa_quadratic"
    assert result["answer"].startswith("better is ahead of plain in Kappa (quadratic) by ")
    assert "with 3 runs each, take it as a description" in result["answer"]
    assert [entry["setting"] for entry in result["config_differences"]] == ["arch"]


def test_a_group_against_itself_cannot_be_told_apart(experiments):
    result = compare({"one": experiments["plain"], "two": experiments["plain"]})
    assert result["answer"].startswith("one and two have the same Kappa (quadratic)")
    assert all(test["difference"] == 0 for test in result["tests"])


def test_other_films_get_a_warning_and_no_paired_test(result_of):
    result = result_of("plain", "elsewhere")
    assert not any(test["paired"] for test in result["tests"])
    assert any("not measured on the same films" in warning for warning in result["warnings"])


def test_other_classes_are_never_tested_against_each_other(experiments, tmp_path):
    result = compare({"density": experiments["plain"], "lesion": write_experiment(tmp_path / "l", class_names=LESION)})
    assert result["tests"] == []
    assert result["answer"].endswith("none of them is ahead.")
    assert any("different tasks" in warning for warning in result["warnings"])
    assert any("different classes" in warning for warning in result["warnings"])


def test_different_films_of_different_patients_get_an_independent_difference(result_of):
    result = result_of("plain", "elsewhere")
    test = next(test for test in result["tests"] if test["metric"] == "accuracy")
    values = [group["metrics"]["accuracy"]["films"] for group in result["groups"]]
    assert test["test"] == "independent"
    assert test["difference"] == pytest.approx(values[0]["value"] - values[1]["value"])
    widths = [value["ci_high"] - value["ci_low"] for value in values]
    assert test["ci_high"] - test["ci_low"] == pytest.approx(np.hypot(*widths), rel=0.15)


def test_the_primary_metric_of_several_pairs_is_corrected_for_their_number(experiments, tmp_path):
    third = write_experiment(tmp_path / "third", patients=100, skill=1.0, config={"arch": "resnet34"})
    result = compare({"plain": experiments["plain"], "better": experiments["better"], "third": third})
    primary = [test for test in result["tests"] if test["family"] == "primary"]
    assert {test["metric"] for test in primary} == {"kappa_quadratic"}
    assert len(primary) == 3
    smallest = min(primary, key=lambda test: test["p"])
    assert smallest["p_holm"] == pytest.approx(min(1.0, 3 * smallest["p"]))
    assert all(test["p_holm"] is None for test in result["tests"] if test["family"] == "other")


def test_better_takes_five_runs_an_interval_without_zero_and_most_pairs(tmp_path):
    seeds = (1, 2, 3, 4, 5)
    weak = write_experiment(tmp_path / "weak", seeds, patients=120, skill=0.3)
    strong = write_experiment(tmp_path / "strong", seeds, patients=120, skill=1.6, config={"arch": "resnet18"})
    result = compare({"weak": weak, "strong": strong})
    assert result["answer"].startswith("strong is better than weak in Kappa (quadratic) by ")
    found = next(entry for entry in result["superiority"] if entry["metric"] == "kappa_quadratic")
    assert (found["better"], found["value"]) == ("b", 0.0)


def test_models_of_the_same_seed_are_tested_one_against_one(experiments, result_of):
    result = result_of("plain", "better")
    further = [test for test in result["further_tests"] if test.get("models") == "seed 42 against seed 42"]
    assert {test["test"] for test in further} == {"mcnemar", "delong"}
    tables = [experiments[name][0].predictions("val") for name in ("plain", "better")]
    right = [(table["y_true"] == table["y_pred"]).to_numpy() for table in tables]
    found = next(test for test in further if test["test"] == "mcnemar")
    assert (found["only_a"], found["only_b"]) == (int((right[0] & ~right[1]).sum()), int((~right[0] & right[1]).sum()))
    assert "films of a patient are not independent" in found["method"]


def test_three_single_models_get_one_test_for_all_of_them(experiments):
    result = compare({run.id: [run] for run in experiments["plain"]})
    assert [test["test"] for test in result["further_tests"]].count("cochran_q") == 1


def folds(folder, seed=42, **options):
    options = {"patients": 90} | options
    return [write_run(folder / f"seed_{seed}_fold_{fold}", seed=seed, fold=fold, **options) for fold in (1, 2, 3)]


def test_folds_judge_every_film_once_and_their_interval_belongs_to_the_mean_that_is_shown(tmp_path):
    result = compare({"a": folds(tmp_path / "a"), "b": folds(tmp_path / "b", skill=0.4, config={"arch": "resnet18"})})
    group = result["groups"][0]
    joined = pd.concat([run.predictions("val") for run in folds(tmp_path / "again" / "a")])
    entry = group["metrics"]["accuracy"]
    assert (group["kind"], group["n"]) == ("folds", 3)
    assert entry["films"]["value"] == pytest.approx(entry["mean"])
    assert entry["pooled"]["value"] == pytest.approx((joined["y_true"] == joined["y_pred"]).mean())
    assert all(test["paired"] and test["films"] == len(joined) for test in result["tests"])
    assert all("training chance is not in it" in test["method"] for test in result["tests"])
    corrected = next(t for t in result["further_tests"] if t["test"] == "nadeau_bengio" and t["metric"] == "accuracy")
    one, two = (np.array(found["metrics"]["accuracy"]["values"]) for found in result["groups"])
    assert corrected["difference"] == pytest.approx((one - two).mean())
    assert corrected["df"] == 2


def test_one_pass_over_the_folds_is_never_called_better_however_clear(tmp_path):
    strong = folds(tmp_path / "strong", patients=300, skill=2.0)
    weak = folds(tmp_path / "weak", patients=300, skill=0.1, config={"arch": "resnet18"})
    result = compare({"strong": strong, "weak": weak})
    assert "one pass over the folds each, take it as a description" in result["answer"]
    primary = next(test for test in result["tests"] if test["family"] == "primary")
    assert f"by {primary['difference']:.3f}" in result["answer"]


def test_the_interval_of_a_mean_over_folds_is_stretched_for_what_they_share(tmp_path):
    entry = compare({"a": folds(tmp_path / "a")})["groups"][0]["metrics"]["accuracy"]
    plain = 4.3027 * entry["sd"] / np.sqrt(3)
    assert entry["mean"] - entry["ci_low"] > 1.4 * plain
    assert "Nadeau" in entry["method"]


def test_a_missing_fold_is_named_and_takes_the_interval_over_patients_away(tmp_path):
    runs = folds(tmp_path / "a")
    record = read_json(runs[0].split_record) | {"folds": 3}
    for run in runs:
        write_json(run.split_record, record)
    result = compare({"a": runs[:2]})
    assert result["groups"][0]["metrics"]["accuracy"]["films"] is None
    assert any("fold 3 of 3 is missing for seed 42" in warning for warning in result["warnings"])
    mixed = compare({"a": [*runs, write_run(tmp_path / "a" / "seed_7", seed=7)]})
    assert any("mixes folds with whole trainings" in warning for warning in mixed["warnings"])


def test_folds_on_test_films_are_models_of_their_own(tmp_path):
    a, b = folds(tmp_path / "a", with_test=True), folds(tmp_path / "b", with_test=True, skill=0.5, config={"arch": "x"})
    result = compare({"a": a, "b": b}, on="test")
    found = [test for test in result["further_tests"] if test["test"] == "mcnemar"]
    assert [test["models"] for test in found] == [f"seed 42, fold {n} against seed 42, fold {n}" for n in (1, 2, 3)]
    right = [[(t["y_true"] == t["y_pred"]).to_numpy() for t in (run.predictions("test") for run in runs)] for runs in (a, b)]
    assert [test["only_a"] for test in found] == [int((x & ~y).sum()) for x, y in zip(*right, strict=True)]


def test_a_group_with_mixed_splits_does_not_take_the_others_down(tmp_path, experiments):
    mixed = [write_run(tmp_path / "mix" / f"seed_{n}", seed=n, split_seed=n, patients=100) for n in (1, 2)]
    result = compare({"mix": mixed, "plain": experiments["plain"]})
    assert [group["n"] for group in result["groups"]] == [2, 3]
    assert any("mix: its runs used different splits" in warning for warning in result["warnings"])
    assert any("mix cannot be resampled" in warning for warning in result["warnings"])


def test_copies_of_runs_add_nothing_whatever_their_folder(tmp_path, experiments):
    for run in experiments["plain"]:
        shutil.copytree(run.path, tmp_path / "copy" / run.name)
    copies = [RunDir(tmp_path / "copy" / run.name) for run in experiments["plain"]]
    group = compare({"plain": [*experiments["plain"], *copies]})["groups"][0]
    assert group["n"] == 3
    assert all("a copy: its predictions are those of" in entry["reason"] for entry in group["left_out"])
    both = compare({"plain": experiments["plain"], "copy": copies})
    assert sum("stands in more than one group" in warning for warning in both["warnings"]) == 3


def test_the_order_in_which_runs_are_named_changes_nothing(experiments):
    forth = compare({"a": experiments["plain"], "b": experiments["better"]})["tests"]
    back = compare({"a": experiments["plain"][::-1], "b": experiments["better"]})["tests"]
    assert [(t["ci_low"], t["ci_high"]) for t in forth] == [(t["ci_low"], t["ci_high"]) for t in back]


def test_no_gap_is_taken_between_unlike_tasks(tmp_path):
    density = write_experiment(tmp_path / "density")
    lesion = write_experiment(tmp_path / "lesion", class_names=LESION, holdout=("3",))
    assert compare({"density": density, "lesion": lesion})["split_gaps"] == []


def test_a_part_that_no_split_has_is_refused(experiments):
    with pytest.raises(ConfigError, match="expected val or test"):
        compare({"plain": experiments["plain"]}, on="foo")


def test_what_a_pair_could_have_shown_comes_from_its_own_interval():
    """A true difference of that size is found in about four of five tries."""
    generator = np.random.default_rng(5)
    truth = np.arange(200) % 2

    def arm(share):
        tables = coin_tables(generator, 5, truth, share)
        return resample_passes([Repetition(n, None, (table,)) for n, table in enumerate(tables)], ["x", "y"], 120)

    widths = [difference(arm(0.7), arm(0.7), "accuracy") for _ in range(8)]
    visible = 2.8 * np.mean([test["ci_high"] - test["ci_low"] for test in widths]) / 3.92
    seen = sum(difference(arm(0.7 + visible), arm(0.7), "accuracy")["ci_low"] > 0 for _ in range(40))
    assert 0.65 <= seen / 40 <= 0.98


def test_the_gap_to_a_held_out_centre_is_taken_on_test_films_and_names_the_centre(tmp_path):
    options = {"patients": 150, "with_test": True}
    mixed = write_experiment(tmp_path / "mixed", **options)
    held = write_experiment(tmp_path / "held", skill=0.5, holdout=("3",), **options)
    result = compare({"mixed": mixed, "held": held}, on="test")
    (gap,) = result["split_gaps"]
    assert (gap["mixed"], gap["held_out"], gap["centers"]) == ("mixed", "held", ["3"])
    assert gap["gap"]["difference"] > 0
    assert gap["gap"]["ci_low"] is not None
    (on_val,) = compare({"mixed": mixed, "held": held})["split_gaps"]
    assert any("says nothing about the held-out centre(s) 3" in warning for warning in on_val["warnings"])


def test_a_gap_between_unlike_settings_is_not_laid_at_the_split(tmp_path):
    mixed = write_experiment(tmp_path / "mixed", with_test=True)
    held = write_experiment(tmp_path / "held", holdout=("3",), with_test=True, config={"arch": "resnet18", "batch_size": 8})
    warnings = compare({"mixed": mixed, "held": held}, on="test")["split_gaps"][0]["warnings"]
    assert any("differ in more than the split (arch, batch_size)" in warning for warning in warnings)


def test_every_centre_has_its_own_numbers_or_the_reason_why_not(tmp_path):
    many = compare({"many": write_experiment(tmp_path / "many", patients=1500)})["centres"]
    assert [row["center"] for row in many] == ["1", "2", "3"]
    first = write_run(tmp_path / "again" / "seed_42", patients=1500).predictions("val")
    here = first[first["center"] == "1"]
    assert many[0]["films"] == len(here)
    assert all(row["metrics"]["macro_f1"]["ci_low"] < row["metrics"]["macro_f1"]["value"] for row in many)
    few = compare({"few": write_experiment(tmp_path / "few")})["centres"]
    assert all(set(row["metrics"]) == {"accuracy"} and "10 are needed" in row["why"] for row in few)


def test_runs_of_another_tool_take_part_with_the_numbers_of_their_history(tmp_path):
    workspace = Workspace(tmp_path / "home")
    for name, shift in (("one", 0.0), ("two", 0.1)):
        file = tmp_path / f"{name}.csv"
        lines = [f"{e},{1 / e},{0.5 + 1 / e + shift},{0.5 + 0.02 * e},{0.5 + 0.01 * e - shift}" for e in range(1, 11)]
        file.write_text("epoch,loss,val_loss,accuracy,val_accuracy\n" + "\n".join(lines) + "\n")
        import_history(workspace, file, name)
    result = compare({name: experiment_runs_of(workspace, name) for name in ("one", "two")})
    assert result["primary_metric"] == "accuracy"
    assert [group["metrics"]["accuracy"]["values"] for group in result["groups"]] == [[0.6], [0.5]]
    assert result["answer"] == (
        "What classes and films one, two was judged on is not known here, so none of the groups is ahead of another."
    )
    assert result["tests"] == result["further_tests"] == []
    assert any("trained by another tool" in warning for warning in result["warnings"])


def test_the_best_epoch_of_another_tool_is_named_as_its_file_numbers_it(tmp_path):
    workspace = Workspace(tmp_path / "home")
    file = tmp_path / "keras.csv"
    losses = [1.0, 0.8, 0.6, 0.5, 0.7, 0.9]
    file.write_text("epoch,loss,val_loss\n" + "".join(f"{e},{1 / (e + 1)},{v}\n" for e, v in enumerate(losses)))
    import_history(workspace, file, "keras")
    group = compare({"keras": experiment_runs_of(workspace, "keras")})["groups"][0]
    assert (group["best_epochs"], group["best_words"]) == ([4], ["epoch 3 (row 4)"])


def experiment_runs_of(workspace, name):
    return [run for run in list_runs(workspace) if run.experiment == name]


def test_what_so_many_runs_can_show_is_said_with_numbers(result_of):
    text = result_of("plain")["visibility"][0]["text"]
    assert text.startswith("plain: by training chance alone")
    pair = result_of("plain", "better")["visibility"][0]
    assert pair["text"].startswith("plain against better: with these runs and patients only true differences")


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


def test_few_runs_and_a_best_epoch_at_the_end_are_warned_about(result_of):
    warnings = result_of("plain")["warnings"]
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


# ---- the tests themselves -----------------------------------------------------------------------------------------------------


def coin_tables(generator: np.random.Generator, runs: int, truth: np.ndarray, share: float = 0.7) -> list[pd.DataFrame]:
    """Runs that are right with chance ``share``, independent of each other."""
    tables = []
    for _ in range(runs):
        right = generator.random(len(truth)) < share
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


def coins(generator: np.random.Generator, runs: int, truth: np.ndarray, replicates: int = 150):
    passes = [Repetition(seed, None, (table,)) for seed, table in enumerate(coin_tables(generator, runs, truth))]
    return resample_passes(passes, ["x", "y"], replicates)


def test_equal_groups_are_called_different_about_as_rarely_as_the_level_says():
    generator = np.random.default_rng(0)
    truth = np.arange(60) % 2
    found = [difference(coins(generator, 3, truth), coins(generator, 3, truth), "accuracy") for _ in range(40)]
    alarms = sum(not test["ci_low"] <= 0 <= test["ci_high"] for test in found)
    assert alarms <= 6


def test_the_interval_of_a_group_covers_the_truth_about_as_often_as_it_says():
    generator = np.random.default_rng(1)
    truth = np.arange(60) % 2
    found = [group_interval(coins(generator, 3, truth), "accuracy") for _ in range(60)]
    covered = sum(interval["ci_low"] <= 0.7 <= interval["ci_high"] for interval in found)
    assert covered >= 53


def test_groups_with_the_same_patients_get_the_same_draws_and_others_do_not():
    truth = np.arange(40) % 2
    tables = coin_tables(np.random.default_rng(0), 1, truth)
    others = [tables[0], tables[0].sample(frac=1, random_state=1), tables[0].assign(patient_id=lambda t: "q" + t["patient_id"])]
    one, shuffled, renamed = (resample_passes([Repetition(1, None, (table,))], ["x", "y"], 50) for table in others)
    assert one.values["accuracy"] == pytest.approx(shuffled.values["accuracy"])
    assert np.corrcoef(one.values["accuracy"][0, 1:], renamed.values["accuracy"][0, 1:])[0, 1] < 0.5


def test_seed_and_patient_spread_are_told_apart():
    """Coin models scatter by the binomial SD over seeds and over patients alike."""
    truth = np.arange(400) % 2
    found = group_interval(coins(np.random.default_rng(2), 12, truth, 400), "accuracy")
    binomial = np.sqrt(0.7 * 0.3 / 400)
    assert found["sd_runs"] == pytest.approx(binomial, rel=0.45)
    assert found["sd_patients"] == pytest.approx(binomial, rel=0.15)
