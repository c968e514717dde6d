"""Each rule for this app's own runs on a synthetic case that it is made for, and its near misses."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from mammo_core.analysis.diagnosis import Context, Thresholds, diagnose
from mammo_core.analysis.diagnosis.advice import ADVICE
from mammo_core.analysis.diagnosis.curves import curves_of
from mammo_core.analysis.diagnosis.text import TEXTS
from mammo_core.runs.schema import EpochRecord

NAMES = ("A", "B", "C", "D")
COUNTS = {"A": 40, "B": 200, "C": 400, "D": 160}
OWN = Context(class_names=NAMES, val_counts=COUNTS, own_run=True, weighted_loss=False, label_smoothing=0.0, mixup=False)


def run(epochs=20, **columns):
    """A healthy run of which single columns are replaced by functions of the epoch (1-based) or by sequences."""
    default = {
        "train_loss": lambda e: 0.55 + 0.8 * math.exp(-(e - 1) / 3),
        "val_loss": lambda e: 0.60 + 0.7 * math.exp(-(e - 1) / 3),
        "train_acc": lambda e: 0.74 - 0.3 * math.exp(-(e - 1) / 3),
        "val_acc": lambda e: 0.72 - 0.3 * math.exp(-(e - 1) / 3),
    }
    records = []
    for e in range(1, epochs + 1):
        values = {}
        for name, column in (default | columns).items():
            values[name] = column(e) if callable(column) else None if column is None else column[e - 1]
        records.append(EpochRecord(epoch=e, **values))
    return records


def context(**changes):
    return Context(**({name: getattr(OWN, name) for name in OWN.__dataclass_fields__} | changes))


def ids(diagnosis):
    return {finding.id for finding in diagnosis.findings}


def test_the_template_run_is_healthy_without_any_warning():
    diagnosis = diagnose(run(), OWN)
    assert diagnosis.verdict == "HEALTHY"
    assert all(finding.severity in ("ok", "info") for finding in diagnosis.findings)


# ---- broken training -------------------------------------------------------------------------------------------------------


def test_a_non_finite_loss_is_divergence_named_with_its_epoch():
    records = run(6)
    records[-1] = records[-1].model_copy(update={"train_loss": None, "non_finite": True})
    diagnosis = diagnose(records, OWN)
    assert diagnosis.verdict == "DIVERGED"
    assert diagnosis.confidence == "high"
    assert "NaN or infinite at epoch 6" in diagnosis.headline


def test_a_training_loss_above_twice_its_start_and_guessing_is_divergence():
    diagnosis = diagnose(run(train_loss=lambda e: 1.2 if e < 5 else 2.6), OWN)
    assert diagnosis.verdict == "DIVERGED"
    assert diagnosis.finding("DIVERGED").epochs[0] == 5
    assert diagnose(run(train_loss=lambda e: 1.2 if e != 5 else 2.0), OWN).verdict != "DIVERGED"


def test_hot_start_is_measured_against_the_logarithm_of_the_class_count():
    hot = diagnose(run(train_loss=lambda e: 2.0 if e == 1 else 0.6), OWN)
    assert hot.finding("HOT_START").evidence["ratio"] == pytest.approx(2.0 / math.log(4))
    assert hot.verdict == "HEALTHY"  # it recovered; the finding stands beside the verdict
    assert "HOT_START" not in ids(diagnose(run(train_loss=lambda e: 2.0 if e == 1 else 0.6), context(mixup=True)))


def test_a_class_that_takes_nearly_all_predictions_is_a_collapse():
    share = {"predicted_share": lambda e: {"A": 0.0, "B": 0.01, "C": 0.98, "D": 0.01}}
    diagnosis = diagnose(run(val_acc=lambda e: 0.5, **share), OWN)
    assert diagnosis.verdict == "COLLAPSE"
    assert diagnosis.finding("COLLAPSE").evidence["which"] == "majority"
    assert diagnosis.headline.startswith("Collapsed to one class: 98 % of the predictions are C (the majority class)")


def test_a_collapse_only_at_the_end_keeps_the_best_checkpoint():
    good = {"A": 0.5, "B": 0.7, "C": 0.8, "D": 0.7}
    bad = {"A": 0.0, "B": 0.0, "C": 1.0, "D": 0.0}
    records = run(val_recall=lambda e: bad if e == 20 else good, val_loss=lambda e: 2.0 if e == 20 else 1.3 - 0.03 * e)
    diagnosis = diagnose(records, OWN)
    collapse = diagnosis.finding("COLLAPSE")
    assert collapse.severity == "error"
    assert collapse.advice.startswith("The best checkpoint is sound")
    assert diagnosis.finding("COLLAPSE_SUDDEN").epochs == (20, 20)


def test_balanced_accuracy_at_chance_is_a_collapse_only_within_its_sampling_error():
    at_chance = {"A": 0.30, "B": 0.26, "C": 0.24, "D": 0.22}
    assert diagnose(run(val_recall=lambda e: at_chance), OWN).verdict == "COLLAPSE"
    many = context(val_counts={name: 40_000 for name in NAMES})
    slightly_better = {name: value + 0.03 for name, value in at_chance.items()}
    assert "COLLAPSE" not in ids(diagnose(run(val_recall=lambda e: slightly_better), many))


def test_worse_than_the_class_shares_forbids_healthy():
    diagnosis = diagnose(run(val_loss=lambda e: 1.3 + 0.7 * math.exp(-(e - 1) / 3)), OWN)
    assert diagnosis.finding("WORSE_THAN_PRIOR").evidence["skill"] < 0
    assert diagnosis.verdict != "HEALTHY"


# ---- fit -------------------------------------------------------------------------------------------------------------------


def test_accuracy_noise_beyond_its_sampling_error_is_unstable():
    diagnosis = diagnose(run(val_acc=lambda e: 0.70 + 0.05 * (-1) ** e), OWN)
    assert diagnosis.verdict == "UNSTABLE"
    assert diagnosis.finding("UNSTABLE").evidence["accuracy_noise_in_se"] > 2


def test_noise_rules_are_off_in_a_short_run():
    diagnosis = diagnose(run(7, val_loss=lambda e: 0.8 + 0.3 * (-1) ** e), OWN)
    assert "UNSTABLE" not in ids(diagnosis)
    assert "SHORT_RUN" in ids(diagnosis)
    assert diagnosis.confidence == "low"


def rising(e, by=0.1):
    return 1.3 - 0.1 * e if e <= 6 else 0.7 * (1 + by * (e - 6) / 14)


def test_severity_of_overfitting_depends_on_how_many_signs_hold():
    falling = {"train_loss": lambda e: 1.3 * 0.88**e}
    mild = diagnose(run(val_loss=lambda e: rising(e, 0.15), **falling), OWN)
    severe = diagnose(run(val_loss=lambda e: rising(e, 0.6), train_acc=lambda e: 0.99, val_acc=lambda e: 0.7, **falling), OWN)
    assert mild.verdict == "OVERFIT_MILD"
    assert severe.verdict == "OVERFIT_SEVERE"
    assert set(severe.finding("OVERFIT_SEVERE").evidence["hits"]) >= {"rise", "gap", "memorised"}


def test_a_rise_without_falling_training_loss_is_not_overfitting():
    flat = diagnose(run(val_loss=lambda e: rising(e, 0.3), train_loss=lambda e: 0.7 + 0.001 * e), OWN)
    assert not {"OVERFIT_MILD", "OVERFIT_SEVERE"} & ids(flat)


def test_a_wide_gap_without_a_rise_is_mild():
    diagnosis = diagnose(run(train_acc=lambda e: 0.95), OWN)
    assert diagnosis.verdict == "OVERFIT_MILD"
    assert diagnosis.finding("OVERFIT_MILD").evidence["gap"] == pytest.approx(0.95 - 0.72, abs=0.01)


def test_losses_of_another_definition_do_not_count_as_memorised():
    columns = {"train_loss": lambda e: 0.02 + 0.5 * 0.7**e, "val_loss": lambda e: rising(e, 0.3)}
    weighted = diagnose(run(**columns), context(weighted_loss=True))
    plain = diagnose(run(**columns), OWN)
    evaluated = diagnose(run(train_loss_eval=columns["train_loss"], **columns), context(weighted_loss=True))
    assert weighted.verdict == "OVERFIT_MILD"
    assert plain.verdict == evaluated.verdict == "OVERFIT_SEVERE"


def test_paired_case_losses_replace_the_noise_rule():
    rng = np.random.default_rng(0)
    base = rng.gamma(1.0, 0.7, 300)
    levels = [rising(e, 0.05) for e in range(1, 21)]
    losses = np.array([base * level / base.mean() for level in levels])
    groups = tuple(str(index // 2) for index in range(300))
    records = run(val_loss=[float(row.mean()) for row in losses], train_loss=lambda e: 1.3 * 0.88**e)
    curves = curves_of(records, context(case_losses=losses, case_groups=groups))
    assert curves.least_rise < 0.05  # paired errors are far smaller than the general threshold of 5 %
    assert diagnose(records, OWN).verdict == "HEALTHY"
    assert diagnose(records, context(case_losses=losses, case_groups=groups)).verdict == "OVERFIT_MILD"


def test_the_paired_error_is_clustered_by_patient():
    rng = np.random.default_rng(1)
    patient = rng.normal(0, 0.3, 100)
    change = np.repeat(patient, 4)
    losses = np.vstack([np.full(400, 0.7), np.full(400, 0.6), np.full(400, 0.65), 0.66 + change])
    records = run(4, val_loss=[float(row.mean()) for row in losses])
    alone = curves_of(records, context(case_losses=losses)).paired_error
    clustered = curves_of(
        records, context(case_losses=losses, case_groups=tuple(np.repeat(np.arange(100), 4).astype(str)))
    ).paired_error
    assert clustered == pytest.approx(np.std(patient, ddof=1) / 10)
    assert clustered == pytest.approx(2 * alone, rel=0.05)


def test_underfit_near_guessing_for_balanced_and_for_plain_losses():
    flat = {"val_loss": lambda e: 1.05, "val_acc": lambda e: 0.5, "train_acc": lambda e: 0.5}
    balanced = diagnose(run(train_loss=lambda e: 1.18, **flat), context(weighted_loss=True))
    assert balanced.verdict == "UNDERFIT"
    assert balanced.finding("UNDERFIT").evidence["no_skill_loss"] == pytest.approx(math.log(4))
    # H of these counts is 1.18; 0.85 H = 1.00
    assert diagnose(run(train_loss=lambda e: 1.02, **flat), OWN).verdict == "UNDERFIT"
    assert "UNDERFIT" not in ids(diagnose(run(train_loss=lambda e: 0.9, **flat), OWN))


def test_a_loss_with_more_in_it_than_cross_entropy_is_judged_by_the_comparable_one():
    other = context(other_loss=True, weighted_loss=False)
    flat = {"val_loss": lambda e: 1.05, "val_acc": lambda e: 0.5, "train_acc": lambda e: 0.5, "train_loss": lambda e: 1.9}
    assert "UNDERFIT" not in ids(diagnose(run(**flat), other))  # nothing to compare with guessing
    assert "UNDERFIT" not in ids(diagnose(run(train_loss_eval=lambda e: 0.9, **flat), other))
    assert diagnose(run(train_loss_eval=lambda e: 1.05, **flat), other).verdict == "UNDERFIT"
    assert "HOT_START" not in ids(diagnose(run(train_loss=lambda e: 2.0 if e == 1 else 0.6), other))
    assert not other.comparable


def test_a_flat_curve_is_convergence_below_the_prior_and_a_plateau_above():
    converged = diagnose(run(30, val_loss=lambda e: 0.7 + 0.5 * math.exp(-e)), OWN)
    stuck = diagnose(run(30, val_loss=lambda e: 1.10 + 0.02 * math.exp(-e), train_loss=lambda e: 0.9), OWN)
    assert converged.verdict == "HEALTHY"
    assert converged.finding("PLATEAU").evidence["converged"] is True
    assert stuck.verdict == "PLATEAU"


def test_a_short_clean_run_is_inconclusive():
    diagnosis = diagnose(run(9, val_loss=lambda e: 0.6 + 0.7 * math.exp(-e), train_loss=lambda e: 0.6 + 0.5 * math.exp(-e)), OWN)
    assert diagnosis.verdict == "INCONCLUSIVE"
    assert diagnosis.headline == "No fault found in 9 epochs, which are too few to call it converged."


def test_a_running_run_is_provisional_and_still_learning():
    diagnosis = diagnose(run(5, train_loss=lambda e: 1.3 * 0.8**e, val_loss=lambda e: 1.3 * 0.85**e), context(finished=False))
    assert diagnosis.provisional
    assert diagnosis.verdict == "INCONCLUSIVE"
    assert diagnosis.headline.startswith("So far: still learning")


def test_no_epoch_at_all_is_inconclusive():
    diagnosis = diagnose([], OWN)
    assert (diagnosis.verdict, diagnosis.best_row, diagnosis.phases) == ("INCONCLUSIVE", None, ())


# ---- classes ---------------------------------------------------------------------------------------------------------------


def recalls(**changes):
    return lambda e: {"A": 0.5, "B": 0.7, "C": 0.8, "D": 0.7} | {name: value(e) for name, value in changes.items()}


def test_a_class_never_recognised_is_an_error_and_forbids_healthy():
    diagnosis = diagnose(run(val_recall=recalls(A=lambda e: 0.0)), OWN)
    zero = diagnosis.finding("CLASS_ZERO")
    assert zero.evidence["class"] == "A" and zero.evidence["ci_high"] == pytest.approx(0.088, abs=0.001)
    assert diagnosis.verdict == "INCONCLUSIVE"
    assert diagnosis.headline.startswith("Converged, but not sound")


def test_a_weak_class_needs_ten_cases_to_be_called_weak():
    assert "CLASS_WEAK" in ids(diagnose(run(val_recall=recalls(A=lambda e: 0.1)), OWN))
    few = diagnose(run(val_recall=recalls(A=lambda e: 0.1)), context(val_counts=COUNTS | {"A": 8}))
    assert "CLASS_WEAK" not in ids(few)
    assert few.finding("CLASS_UNJUDGEABLE").evidence["few"] is True


def test_another_epoch_that_is_better_by_balanced_accuracy_is_named():
    records = run(val_balanced_acc=lambda e: 0.70 if e == 8 else 0.65)
    mismatch = diagnose(records, OWN).finding("CRITERION_MISMATCH")
    assert mismatch.evidence["best_by_measure"] == 8


def test_a_perfect_accuracy_is_suspected_of_leakage():
    assert "DATA_LEAK_SUSPECT" in ids(diagnose(run(val_acc=lambda e: 0.997, train_acc=lambda e: 0.99), OWN))
    small = context(val_counts={}, n_val=80)
    assert "DATA_LEAK_SUSPECT" not in ids(diagnose(run(val_acc=lambda e: 1.0), small))


# ---- schedule --------------------------------------------------------------------------------------------------------------


def cosine(epochs, warm=0, peak=1e-3):
    def rate(e):
        if e <= warm:
            return peak * e / warm
        return peak * 0.5 * (1 + math.cos(math.pi * (e - warm) / (epochs - warm)))

    return rate


def schedule(rate, **changes):
    return ids(diagnose(run(lr=rate), context(max_epochs=20, scheduler="cosine", **changes)))


SCHEDULE = {"LR_EXHAUSTED", "LR_HORIZON_MISMATCH", "LR_WRAP", "LR_CONST", "NO_WARMUP", "LR_PER_STEP"}


@pytest.mark.parametrize("warm", [0, 1, 2, 5])
def test_a_cosine_over_the_planned_epochs_raises_no_finding(warm):
    assert not SCHEDULE & schedule(cosine(20, warm), warmup_epochs=warm)


def test_a_schedule_for_other_epochs_is_told_by_its_fit():
    assert "LR_HORIZON_MISMATCH" in schedule(cosine(40))


def test_a_rate_that_rises_after_its_floor_wraps():
    assert {"LR_WRAP", "LR_EXHAUSTED"} <= schedule(cosine(10))


def test_a_constant_rate_under_a_schedule_is_named():
    assert "LR_CONST" in schedule(lambda e: 1e-3)


def test_a_missing_warm_up_is_seen_only_where_it_would_show():
    assert "NO_WARMUP" in schedule(cosine(20), warmup_epochs=3)
    assert "NO_WARMUP" not in schedule(cosine(20), warmup_epochs=1)


def test_a_floor_within_two_epochs_is_stepping_every_batch():
    assert "LR_PER_STEP" in schedule(lambda e: 1e-3 if e == 1 else 1e-6)


def test_patience_as_long_as_the_run_cannot_act():
    assert "EARLY_STOP_INACTIVE" in ids(diagnose(run(8), context(patience=8)))
    assert "EARLY_STOP_INACTIVE" not in ids(diagnose(run(12), context(patience=7)))


# ---- phases and early stopping ---------------------------------------------------------------------------------------------


def test_phases_of_an_overfitted_run_end_after_the_best_epoch():
    diagnosis = diagnose(run(val_loss=lambda e: rising(e, 0.5), train_loss=lambda e: 1.3 * 0.88**e, lr=cosine(20, 3)), OWN)
    assert [(phase.id, phase.epochs) for phase in diagnosis.phases] == [
        ("warm_up", (1, 3)),
        ("rapid_learning", (1, 6)),
        ("post_best", (7, 20)),
    ]


def test_a_curve_that_never_falls_has_no_learning_phase():
    phases = diagnose(run(val_loss=lambda e: 1.1 + 0.001 * e), OWN).phases
    assert [phase.id for phase in phases] == ["no_learning"]


def test_early_stopping_is_replayed_on_the_recorded_curve():
    values = [1.0, 0.9, 0.8, 0.85, 0.84, 0.83, 0.82, 0.7, 0.72, 0.73, 0.74, 0.75, 0.76, 0.77, 0.78]
    advice = diagnose(run(15, val_loss=values), OWN).early_stopping
    replay = {entry["patience"]: entry for entry in advice["replay"]}
    assert (replay[3]["stop_epoch"], replay[3]["penalty"]) == (6, pytest.approx(0.1))
    assert (replay[5]["stop_epoch"], replay[5]["penalty"]) == (13, 0)
    assert replay[10]["would_stop"] is False
    assert advice["recommended_patience"] == 5


def test_early_stopping_under_a_cosine_advises_a_fixed_length():
    advice = diagnose(run(lr=cosine(20)), context(max_epochs=20, scheduler="cosine")).early_stopping
    assert "patience of at least 6" in advice["text"]


# ---- data, not text --------------------------------------------------------------------------------------------------------


def test_every_rule_has_a_text_and_an_advice():
    assert TEXTS.keys() == ADVICE.keys()


def test_a_diagnosis_is_plain_json_with_the_promised_keys():
    diagnosis = diagnose(run(val_loss=lambda e: rising(e, 0.5), train_loss=lambda e: 1.3 * 0.88**e), OWN).to_json()
    text = json.dumps(diagnosis, allow_nan=False)
    assert json.loads(text) == diagnosis
    assert {
        "verdict",
        "confidence",
        "headline",
        "best_epoch",
        "best_row",
        "phases",
        "findings",
        "early_stopping",
    } <= diagnosis.keys()
    expected = {"id", "severity", "rows", "epochs", "evidence", "thresholds", "text", "advice", "confidence", "rule_version"}
    assert all(expected == finding.keys() for finding in diagnosis["findings"])


def test_thresholds_can_be_adjusted():
    strict = context(thresholds=Thresholds(gap=0.01))
    assert diagnose(run(), OWN).verdict == "HEALTHY"
    assert diagnose(run(), strict).verdict == "OVERFIT_MILD"


def test_epochs_trained_twice_after_a_resume_count_once_the_later_one():
    records = run(12)
    crashed = records[:8] + [record.model_copy(update={"resumed": record.epoch == 6}) for record in records[5:]]
    crashed[6] = crashed[6].model_copy(update={"val_loss": 9.0})
    assert diagnose(crashed, OWN).verdict == diagnose(records, OWN).verdict
