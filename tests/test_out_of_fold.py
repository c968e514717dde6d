"""Folds of one seed joined: the metrics are those of one table of all films, and what cannot be joined says why."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from sklearn import metrics as sk

from make_runs import DENSITY, LESION, write_run
from mammo_core.analysis.compare import compare
from mammo_core.analysis.experiment_summary import write_experiment_summary
from mammo_core.analysis.out_of_fold import pooled_metrics
from mammo_core.runs.run_dir import RunDir
from mammo_core.settings import Workspace
from mammo_core.storage import write_table


def folds(workspace: Workspace, seed: int = 1, numbers: tuple[int, ...] = (1, 2, 3), **options) -> list[RunDir]:
    folder = workspace.experiment("cv")
    return [write_run(folder / f"seed_{seed}_fold_{fold}", seed=seed, fold=fold, replicates=0, **options) for fold in numbers]


def joined(runs: list[RunDir]) -> pd.DataFrame:
    return pd.concat([run.predictions("val") for run in runs], ignore_index=True)


@pytest.mark.parametrize("class_names", [DENSITY, LESION])
def test_pooled_metrics_are_those_of_scikit_learn_on_the_joined_table(tmp_path, class_names):
    runs = folds(Workspace(tmp_path), class_names=class_names)
    table = joined(runs)
    (found,) = pooled_metrics("cv", runs, bootstrap=200)
    probabilities = table[[f"prob_{name}" for name in class_names]].to_numpy()
    truth, called = table["y_true"], table["y_pred"]
    order = list(class_names)
    number = truth.map(order.index)
    expected = {
        "accuracy": sk.accuracy_score(truth, called),
        "balanced_accuracy": sk.balanced_accuracy_score(truth, called),
        "kappa_quadratic": sk.cohen_kappa_score(number, called.map(order.index), weights="quadratic"),
        "macro_f1": sk.f1_score(truth, called, average="macro"),
        "auc_ovr_macro": sk.roc_auc_score(number, probabilities, multi_class="ovr", average="macro"),
        "log_loss": sk.log_loss(number, probabilities),
    }
    for name, value in expected.items():
        assert found["metrics"][name]["value"] == pytest.approx(value), name
    assert (found["n"], found["patients"]) == (len(table), table["patient_id"].nunique())
    assert (found["seed"], found["folds"], found["level"]) == (1, [1, 2, 3], "image")
    assert found["confusion_matrix"] == sk.confusion_matrix(truth, called, labels=order).tolist()


def test_every_film_is_judged_once_and_the_interval_draws_patients(tmp_path):
    runs = folds(Workspace(tmp_path))
    tables = [run.predictions("val") for run in runs]
    assert not pd.concat(tables)["image_id"].duplicated().any()
    (once,) = pooled_metrics("cv", runs, bootstrap=200)
    for run, table in zip(runs, tables, strict=True):  # as many films again, of the same patients: nothing new is known
        write_table(run.predictions_file("val"), pd.concat([table, table.assign(image_id=table["image_id"] + "_again")]))
    (twice,) = pooled_metrics("cv", runs, bootstrap=200)
    assert (twice["n"], twice["patients"]) == (2 * once["n"], once["patients"])
    for name in ("accuracy", "kappa_quadratic"):
        first, second = once["metrics"][name], twice["metrics"][name]
        assert first["ci_low"] < first["value"] < first["ci_high"]
        assert [second[key] for key in ("ci_low", "value", "ci_high")] == pytest.approx(
            [first[key] for key in ("ci_low", "value", "ci_high")]
        )


def test_the_value_is_the_one_that_compare_calls_folds_joined(tmp_path):
    runs = folds(Workspace(tmp_path))
    shown = compare({"cv": runs})["groups"][0]["metrics"]["kappa_quadratic"]["pooled"]["value"]
    (found,) = pooled_metrics("cv", runs, bootstrap=0)
    assert found["metrics"]["kappa_quadratic"]["value"] == pytest.approx(shown)
    assert found["metrics"]["kappa_quadratic"]["ci_low"] is None


def test_the_summary_of_folds_holds_each_seed_and_the_reason_where_one_cannot_be_joined(tmp_path):
    workspace = Workspace(tmp_path)
    folds(workspace, seed=1)
    folds(workspace, seed=2, numbers=(1, 3))
    (path,) = write_experiment_summary(workspace, "cv")
    summary = json.loads(path.read_text())
    first, second = summary["pooled"]
    assert summary["metrics"]["accuracy"]["n"] == 5
    assert first["metrics"]["accuracy"]["ci_low"] is not None
    assert second == {"seed": 2, "folds": [1, 3], "reason": "cv: fold 2 of 3 is missing for seed 2."}


def test_whole_trainings_have_nothing_to_pool(tmp_path):
    workspace = Workspace(tmp_path)
    write_run(workspace.experiment("whole") / "seed_1", seed=1, replicates=0)
    (path,) = write_experiment_summary(workspace, "whole")
    assert "pooled" not in json.loads(path.read_text())


def test_films_in_two_folds_other_settings_and_lost_predictions_are_reasons(tmp_path):
    runs = folds(Workspace(tmp_path / "overlap"))
    table = pd.concat([runs[0].predictions("val"), runs[1].predictions("val").head(1)])
    write_table(runs[0].predictions_file("val"), table)
    assert "two folds of seed 1 judge the same film" in pooled_metrics("cv", runs, 0)[0]["reason"]
    mixed = [
        *folds(Workspace(tmp_path / "mixed"), numbers=(1, 2)),
        *folds(Workspace(tmp_path / "mixed"), numbers=(3,), config={"view": "CC"}),
    ]
    assert "the folds of seed 1 differ in view" in pooled_metrics("cv", mixed, 0)[0]["reason"]
    lost = folds(Workspace(tmp_path / "lost"))
    lost[1].predictions_file("val").unlink()
    assert "fold_2 keeps no predictions" in pooled_metrics("cv", lost, 0)[0]["reason"]
