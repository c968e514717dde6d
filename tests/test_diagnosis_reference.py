"""The verdicts worked out by hand: two 5-epoch lesion tables, a 10-epoch density table, and runs described in words."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mammo_core.analysis.diagnosis import Context, Diagnosis, diagnose
from mammo_core.analysis.diagnosis.curves import curves_of
from mammo_core.analysis.diagnosis.measures import theil_sen, wilson
from mammo_core.runs.schema import EpochRecord

LESION = ("Normal", "Benign", "Malignant")
RATES = (9.05e-4, 6.55e-4, 3.46e-4, 9.6e-5, 1e-6)
STRATIFIED = {
    "train_loss": (2.349, 1.326, 0.949, 0.721, 0.525),
    "val_loss": (1.555, 1.091, 0.978, 0.823, 0.822),
    "val_acc": (0.451, 0.624, 0.619, 0.670, 0.708),
    "recall": ((0.465, 0.346, 0.843), (0.465, 0.860, 0.451), (0.511, 0.724, 0.745), (0.589, 0.763, 0.706), (0.642, 0.798, 0.667)),
}
HOLDOUT = {
    "train_loss": (2.071, 1.278, 0.978, 0.613, 0.448),
    "val_loss": (2.217, 2.343, 1.315, 1.219, 1.142),
    "val_acc": (0.581, 0.572, 0.483, 0.563, 0.620),
    "recall": ((0.529, 0.651, 0.600), (0.500, 0.633, 0.771), (0.382, 0.566, 0.771), (0.513, 0.614, 0.657), (0.555, 0.711, 0.629)),
}


def lesion_run(table: dict[str, tuple]) -> list[EpochRecord]:
    return [
        EpochRecord(
            epoch=e + 1,
            train_loss=table["train_loss"][e],
            val_loss=table["val_loss"][e],
            val_acc=table["val_acc"][e],
            lr=RATES[e],
            val_recall=dict(zip(LESION, table["recall"][e], strict=True)),
        )
        for e in range(5)
    ]


def lesion_context(counts: tuple[int, int, int]) -> Context:
    return Context(
        class_names=LESION,
        val_counts=dict(zip(LESION, counts, strict=True)),
        max_epochs=50,
        patience=7,
        weighted_loss=True,
        scheduler="cosine",
        own_run=True,
    )


@pytest.fixture(scope="module")
def stratified() -> Diagnosis:
    return diagnose(lesion_run(STRATIFIED), lesion_context((282, 228, 51)))


@pytest.fixture(scope="module")
def holdout() -> Diagnosis:
    return diagnose(lesion_run(HOLDOUT), lesion_context((238, 166, 35)))


def ids(diagnosis: Diagnosis) -> set[str]:
    return {finding.id for finding in diagnosis.findings}


EXPECTED = {
    *("TOO_FEW_EPOCHS", "BEST_IS_LAST", "HOT_START", "LR_EXHAUSTED", "LR_HORIZON_MISMATCH"),
    *("EARLY_STOP_INACTIVE", "CLASS_SEESAW", "SHORT_RUN"),
}


def test_the_stratified_table_has_exactly_the_expected_findings(stratified):
    assert stratified.verdict == "TOO_FEW_EPOCHS"
    assert ids(stratified) == EXPECTED


def test_the_stratified_headline_says_that_the_schedule_ended(stratified):
    assert stratified.headline == (
        "Not converged: training loss still fell 29 % an epoch when the schedule ended at epoch 5 of 50."
    )


def test_the_slopes_of_the_stratified_table_are_those_computed_by_hand(stratified):
    evidence = stratified.finding("TOO_FEW_EPOCHS").evidence
    assert evidence["train_slope"] == pytest.approx(-0.294, abs=0.001)
    assert evidence["val_slope"] == pytest.approx(-0.095, abs=0.001)


def test_the_hot_start_of_the_stratified_table_is_twice_guessing(stratified):
    assert stratified.finding("HOT_START").evidence["ratio"] == pytest.approx(2.14, abs=0.005)


def test_the_schedule_findings_name_epoch_five_and_a_horizon_of_five(stratified):
    assert stratified.finding("LR_EXHAUSTED").epochs[0] == 5
    assert stratified.finding("LR_HORIZON_MISMATCH").evidence["fitted"] == 5


def test_the_seesaw_is_the_malignant_recall_at_epoch_three(stratified):
    evidence = stratified.finding("CLASS_SEESAW").evidence
    assert evidence["class"] == "Malignant"
    assert (evidence["before"], evidence["after"]) == (0.451, 0.745)
    assert evidence["jump_in_se"] == pytest.approx(4.2, abs=0.05)


def test_the_skill_of_the_stratified_table_is_positive():
    curves = curves_of(lesion_run(STRATIFIED), lesion_context((282, 228, 51)))
    assert 1 - 0.822 / curves.no_skill == pytest.approx(0.116, abs=0.001)
    assert curves.no_skill == pytest.approx(0.930, abs=0.001)


def test_the_holdout_table_has_the_same_findings_and_is_worse_than_the_prior(holdout):
    assert holdout.verdict == "TOO_FEW_EPOCHS"
    assert ids(holdout) == EXPECTED | {"WORSE_THAN_PRIOR"}
    worse = holdout.finding("WORSE_THAN_PRIOR").evidence
    assert worse["no_skill_loss"] == pytest.approx(0.901, abs=0.001)
    assert worse["skill"] == pytest.approx(-0.27, abs=0.005)


def test_the_holdout_slopes_and_hot_start_are_those_computed_by_hand(holdout):
    evidence = holdout.finding("TOO_FEW_EPOCHS").evidence
    assert evidence["train_slope"] == pytest.approx(-0.432, abs=0.001)
    assert evidence["val_slope"] == pytest.approx(-0.071, abs=0.001)
    assert holdout.finding("HOT_START").evidence["ratio"] == pytest.approx(1.89, abs=0.005)
    assert 4.0 < holdout.finding("CLASS_SEESAW").evidence["jump_in_se"] < 4.1


def test_an_accuracy_below_the_majority_share_is_no_collapse_when_the_recalls_are_balanced(holdout):
    assert not {"COLLAPSE", "COLLAPSE_SUDDEN"} & ids(holdout)


@pytest.mark.parametrize("table", ["stratified", "holdout"])
def test_both_tables_learn_rapidly_to_epoch_four_and_refine_in_epoch_five(table, request):
    phases = [(phase.id, phase.epochs) for phase in request.getfixturevalue(table).phases]
    assert phases == [("rapid_learning", (1, 4)), ("refinement", (5, 5))]


@pytest.mark.parametrize("table", ["stratified", "holdout"])
def test_neither_table_supports_the_claim_of_convergence(table, request):
    diagnosis = request.getfixturevalue(table)
    assert diagnosis.headline.startswith("Not converged")
    assert not {"HEALTHY", "PLATEAU"} & ids(diagnosis)
    assert diagnosis.confidence == "low"


def test_wilson_intervals_are_those_of_the_malignant_recalls():
    assert wilson(34 / 51, 51) == pytest.approx((0.53, 0.78), abs=0.006)
    assert wilson(22 / 35, 35) == pytest.approx((0.46, 0.77), abs=0.006)


def test_a_share_that_is_none_has_no_interval_but_ends_nothing():
    low, high = wilson(90_000.0, 20)  # of a history that was damaged
    assert 0 <= low <= high <= 1
    assert [round((high - low) / 2, 3) for low, high in (wilson(0.7, n) for n in (50, 100, 300, 1000))] == [
        0.123,
        0.088,
        0.052,
        0.028,
    ]


def test_wilson_and_theil_sen_equal_the_published_implementations():
    from scipy.stats import theilslopes
    from statsmodels.stats.proportion import proportion_confint

    rng = np.random.default_rng(3)
    y = rng.normal(size=31)
    assert theil_sen(y) == pytest.approx(theilslopes(y)[0])
    assert wilson(0.25, 8) == pytest.approx(proportion_confint(2, 8, method="wilson"))


# ---- the 10-epoch density table --------------------------------------------------------------------------------------------

DENSITY = ("A", "B", "C", "D")


@pytest.fixture(scope="module")
def density() -> Diagnosis:
    columns = {
        "train_loss": (1.02, 0.67, 0.55, 0.49, 0.46, 0.42, 0.39, 0.35, 0.38, 0.31),
        "val_loss": (0.72, 0.75, 0.64, 0.66, 0.64, 0.64, 0.64, 0.65, 0.73, 0.75),
        "train_acc": (0.578, 0.785, 0.806, 0.835, 0.841, 0.853, 0.85, 0.872, 0.845, 0.872),
        "val_acc": (0.654, 0.660, 0.704, 0.708, 0.717, 0.711, 0.717, 0.726, 0.704, 0.704),
    }
    records = [EpochRecord(epoch=e + 1, **{name: values[e] for name, values in columns.items()}) for e in range(10)]
    return diagnose(
        records, Context(class_names=DENSITY, val_counts=dict(zip(DENSITY, (8, 73, 170, 67), strict=True)), own_run=True)
    )


def test_the_ten_epoch_table_is_mildly_overfitted(density):
    assert density.verdict == "OVERFIT_MILD"
    evidence = density.finding("OVERFIT_MILD").evidence
    # From the median around epoch 3 (0.66) to the median of the last three values (0.73).
    assert evidence["rise"] == pytest.approx(0.106, abs=0.001)
    assert evidence["gap"] == pytest.approx(0.168, abs=0.001)


def test_its_accuracy_holds_while_the_loss_rises(density):
    assert "VAL_LOSS_RISING" in ids(density)
    assert density.best_epoch == 3
    assert density.best_by_accuracy["epoch"] == 8


# ---- descriptions ----------------------------------------------------------------------------------------------------------


def test_the_described_twenty_epoch_density_run_is_healthy_with_a_note_on_its_gap():
    e = np.arange(1, 21)
    rates = np.where(e <= 2, 5e-5 * e, 1e-4 * 0.5 * (1 + np.cos(math.pi * (e - 2) / 18)))
    val_loss = 0.72 + 0.55 * np.exp(-(e - 1) / 3.6)
    train_loss = np.where(e <= 12, 0.74 + 0.6 * np.exp(-(e - 1) / 4), 0.778 - 0.010 * (e - 12))
    val_acc = 0.69 - 0.25 * np.exp(-(e - 1) / 3)
    train_acc = val_acc + 0.01 + np.maximum(0, e - 12) * 0.012
    records = [
        EpochRecord(
            epoch=int(i), train_loss=float(a), val_loss=float(b), train_acc=float(c), val_acc=float(d), lr=float(r)
        )
        for i, a, b, c, d, r in zip(e, train_loss, val_loss, train_acc, val_acc, rates, strict=True)
    ]  # fmt: skip
    diagnosis = diagnose(records, Context(class_names=DENSITY, n_val=318, max_epochs=20, warmup_epochs=2, own_run=True))
    assert diagnosis.verdict == "HEALTHY"
    assert diagnosis.finding("OVERFIT_MILD").severity == "info"
    assert "VAL_TOO_SMALL" in ids(diagnosis)
    phases = {phase.id: phase.epochs for phase in diagnosis.phases}
    assert phases["warm_up"] == (1, 2)
    assert 8 <= phases["rapid_learning"][1] <= 10


def test_always_the_rarest_class_is_a_critical_collapse_and_worse_than_the_prior():
    counts = dict(zip(DENSITY, (5, 73, 171, 69), strict=True))
    recall = {"A": 1.0, "B": 0.0, "C": 0.0, "D": 0.0}
    records = [
        EpochRecord(epoch=e, train_loss=1.4, val_loss=2.0 - 0.005 * e, val_acc=5 / 318, val_recall=recall) for e in range(1, 21)
    ]
    diagnosis = diagnose(records, Context(class_names=DENSITY, val_counts=counts, own_run=True))
    assert diagnosis.verdict == "COLLAPSE"
    collapse = diagnosis.finding("COLLAPSE")
    assert collapse.severity == "critical"
    assert collapse.evidence["which"] == "minority"
    assert collapse.evidence["class_share"] == pytest.approx(0.016, abs=0.001)
    assert "WORSE_THAN_PRIOR" in ids(diagnosis)
    assert not {"CLASS_ZERO", "CLASS_WEAK", "UNDERFIT", "PLATEAU"} & ids(diagnosis)


def test_a_loss_that_rises_after_epoch_six_while_training_is_memorised_is_severe():
    e = np.arange(1, 21)
    val = np.where(e <= 6, 1.2 - 0.1 * (e - 1), 0.7 + 0.045 * (e - 6))
    train = 1.3 * np.exp(-e / 4)
    accuracy = 1 - 0.6 * np.exp(-e / 3)
    records = [
        EpochRecord(epoch=int(i), train_loss=float(t), val_loss=float(v), train_acc=float(a), val_acc=0.70)
        for i, t, v, a in zip(e, train, val, accuracy, strict=True)
    ]
    diagnosis = diagnose(records, Context(class_names=DENSITY, n_val=318, own_run=True))
    assert diagnosis.verdict == "OVERFIT_SEVERE"
    assert diagnosis.best_epoch == 6


def test_a_validation_loss_that_alternates_by_thirty_percent_is_unstable_only():
    records = [
        EpochRecord(epoch=e, train_loss=1.2 * 0.95**e, val_loss=0.8 * (1.3 if e % 2 else 0.7), train_acc=0.8, val_acc=0.7)
        for e in range(1, 21)
    ]
    diagnosis = diagnose(records, Context(class_names=DENSITY, n_val=2000, own_run=True))
    assert diagnosis.verdict == "UNSTABLE"
    assert not {"OVERFIT_SEVERE", "OVERFIT_MILD", "VAL_LOSS_RISING", "TOO_FEW_EPOCHS", "HEALTHY"} & ids(diagnosis)
