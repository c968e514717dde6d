"""The printed tables of the two reference systems, made again from their numbers by importer, verdicts and comparison."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats

from mammo_core.analysis.compare import compare
from mammo_core.analysis.formulas import wilson_interval
from mammo_core.analysis.pair_tests import corrected_t
from mammo_core.runs.importers import import_history
from mammo_core.runs.run_dir import list_runs
from mammo_core.settings import Workspace
from mammo_core.workflows.diagnose import diagnose_run

SEEDS = {
    42: {"accuracy": 0.676, "kappa": 0.697, "macro_f1": 0.584, "auc_ovr": 0.913},
    43: {"accuracy": 0.733, "kappa": 0.756, "macro_f1": 0.588, "auc_ovr": 0.922},
    44: {"accuracy": 0.679, "kappa": 0.710, "macro_f1": 0.564, "auc_ovr": 0.896},
}
PRINTED = {
    "accuracy": (0.696, 0.032, 0.026),
    "kappa_quadratic": (0.721, 0.031, 0.025),
    "macro_f1": (0.579, 0.013, 0.011),
    "auc_ovr_macro": (0.910, 0.013, 0.011),
}
"""Mean, SD (n-1), and the population SD; the reference prints 0.010 for the last one, from unrounded values."""

STRATIFIED = """Epoch,Train Loss,Val Loss,Val Acc,Recall N,Recall B,Recall M,LR
1,2.349,1.555,0.451,0.465,0.346,0.843,9.05e-4
2,1.326,1.091,0.624,0.465,0.860,0.451,6.55e-4
3,0.949,0.978,0.619,0.511,0.724,0.745,3.46e-4
4,0.721,0.823,0.670,0.589,0.763,0.706,9.6e-5
5,0.525,0.822,0.708,0.642,0.798,0.667,1e-6
"""
CENTRE = """Epoch,Train Loss,Val Loss,Val Acc,Recall N,Recall B,Recall M,LR
1,2.071,2.217,0.581,0.529,0.651,0.600,9.05e-4
2,1.278,2.343,0.572,0.500,0.633,0.771,6.55e-4
3,0.978,1.315,0.483,0.382,0.566,0.771,3.46e-4
4,0.613,1.219,0.563,0.513,0.614,0.657,9.6e-5
5,0.448,1.142,0.620,0.555,0.711,0.629,1e-6
"""


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path / "home")


def runs_of(workspace, name):
    return [run for run in list_runs(workspace) if run.experiment == name]


def test_three_result_folders_give_the_seed_table_with_the_right_sd(workspace, tmp_path):
    for number, (seed, metrics) in enumerate(SEEDS.items(), start=4):
        folder = tmp_path / "outputs" / f"results_{number}"
        folder.mkdir(parents=True)
        history = [
            {"epoch": e, "train_loss": 1 / e, "train_acc": 0.6, "val_loss": 0.9 + 0.1 / e, "val_acc": 0.6, "lr": 1e-4}
            for e in range(1, 21)
        ]
        (folder / "train_history.json").write_text(json.dumps(history))
        (folder / "summary.json").write_text(json.dumps({"seed": seed, "epochs": 20, "metrics": metrics}))
    import_history(workspace, tmp_path / "outputs", "density")
    result = compare({"density": runs_of(workspace, "density")})
    group = result["groups"][0]
    assert (group["n"], group["seeds"]) == (3, [42, 43, 44])
    for metric, (mean, sample, population) in PRINTED.items():
        found = group["metrics"][metric]
        assert (found["mean"], found["sd"], found["population_sd"]) == pytest.approx((mean, sample, population), abs=5.1e-4)
    assert any("3 run(s), descriptive only" in warning for warning in result["warnings"])


def test_three_folds_are_not_as_precise_as_the_plain_interval_says():
    """Fold table of the density reference: accuracy 0.659, SD 0.024. Seeds against folds differ by 0.037, which is nothing."""
    folds = np.array([-1.0, 0.0, 1.0]) * 0.024 + 0.659
    half = corrected_t((folds - 0.659).tolist(), 1 / 2)["ci_high"]
    assert half == pytest.approx(0.094, abs=1e-3)
    seeds = [entry["accuracy"] for entry in SEEDS.values()]
    welch = stats.ttest_ind_from_stats(np.mean(seeds), np.std(seeds, ddof=1), 3, 0.659, 0.024, 3, equal_var=False)
    assert welch.pvalue == pytest.approx(0.19, abs=0.01)


def test_the_lesion_tables_are_not_converged_and_their_gap_is_no_proof_of_transfer(workspace, tmp_path):
    for name, text in (("stratified", STRATIFIED), ("centre_holdout", CENTRE)):
        file = tmp_path / f"{name}.csv"
        file.write_text(text)
        import_history(workspace, file, name)
    groups = {name: runs_of(workspace, name) for name in ("stratified", "centre_holdout")}
    for runs in groups.values():
        diagnosis = diagnose_run(runs[0])
        assert diagnosis.verdict == "TOO_FEW_EPOCHS"
        assert diagnosis.best_row == 5
    result = compare(groups)
    values = {group["name"]: group["metrics"] for group in result["groups"]}
    assert values["stratified"]["accuracy"]["values"] == [0.708]
    assert values["centre_holdout"]["accuracy"]["values"] == [0.620]
    assert values["stratified"]["val_loss"]["values"] == [0.822]
    assert result["answer"].startswith("stratified is ahead of centre_holdout in Accuracy by 0.088; nothing here can tell")
    assert sum("the best epoch is the last one" in warning for warning in result["warnings"]) == 2


def test_the_two_malignant_recalls_are_the_same_within_what_so_few_films_can_tell():
    first, second = wilson_interval(34, 51), wilson_interval(22, 35)
    assert first == pytest.approx((0.53, 0.78), abs=6e-3)
    assert second == pytest.approx((0.46, 0.77), abs=6e-3)
    assert stats.chi2_contingency([[34, 17], [22, 13]], correction=False).pvalue == pytest.approx(0.72, abs=0.01)
