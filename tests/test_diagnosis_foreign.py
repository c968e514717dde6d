"""Verdicts on histories of other tools: behaviour on any scale of loss, with parts missing. All curves are made here."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mammo_core.analysis.diagnosis import Context, diagnose
from mammo_core.analysis.diagnosis.measures import cases_behind
from mammo_core.runs.history import epoch_word
from mammo_core.runs.schema import EpochRecord


def history(train=None, val=None, train_acc=None, val_acc=None, **more):
    columns = {"train_loss": train, "val_loss": val, "train_acc": train_acc, "val_acc": val_acc, **more}
    length = max(len(column) for column in columns.values() if column is not None)
    records = []
    for index in range(length):
        values = {name: None if column is None else plain(column[index]) for name, column in columns.items()}
        broken = [
            name for name in ("train_loss", "val_loss") if isinstance(values[name], float) and not math.isfinite(values[name])
        ]
        values |= dict.fromkeys(broken)
        extra = {"source_epoch": float(index), "non_finite": bool(broken)} | (
            {"non_finite_in": " ".join(broken)} if broken else {}
        )
        records.append(EpochRecord(epoch=index + 1, **values, **extra))
    return records


def plain(value):
    return None if value is None else float(value)


def fall(start, end, rate, count):
    return end + (start - end) * np.exp(-np.arange(count) / rate)


RNG = np.random.default_rng(5)


def cases():
    """Name, expected verdicts, records: kinds of behaviour, each on its own scale."""
    n = 30
    smooth = fall(2.0, 0.4, 4, n)
    yield "joint descent", {"HEALTHY"}, history(smooth, smooth + 0.05, 0.9 - 0.3 * smooth / 2, 0.88 - 0.3 * smooth / 2)
    yield (
        "joint descent towards zero with spikes",
        {"HEALTHY"},
        history(
            fall(2.0, 0.03, 4, n),
            fall(2.4, 0.04, 4, n) * RNG.lognormal(0, 0.35, n),
            fall(0.3, 0.99, 4, n),
            fall(0.25, 0.985, 4, n),
        ),
    )
    yield "validation below training", {"HEALTHY"}, history(fall(2.3, 0.9, 5, n), fall(1.6, 0.85, 5, n))
    yield (
        "losses summed over batches",
        {"HEALTHY"},
        history(fall(900, 200, 4, n), fall(1.9, 0.45, 4, n), val_acc=fall(0.3, 0.8, 4, n)),
    )
    yield "Dice losses below zero", {"HEALTHY"}, history(fall(-0.05, -0.82, 5, n), fall(-0.02, -0.78, 5, n))
    up = np.concatenate([fall(1.0, 0.6, 1.5, 6), np.linspace(0.6, 1.3, 24)])
    yield (
        "doubling after epoch 6",
        {"OVERFIT_SEVERE"},
        history(fall(1.2, 0.05, 5, n), up, fall(0.5, 0.99, 4, n), np.full(n, 0.72) + RNG.normal(0, 0.004, n)),
    )
    yield "tripling without accuracies", {"OVERFIT_SEVERE"}, history(fall(0.04, 0.004, 4, n), up / 10)
    yield (
        "losses alone, half as much again",
        {"OVERFIT_SEVERE"},
        history(fall(0.6, 0.12, 6, 18), np.concatenate([np.full(3, 0.574), np.linspace(0.575, 0.86, 15)])),
    )
    slight = np.concatenate([fall(1.5, 0.5, 3, 15), np.linspace(0.51, 0.60, 15)])
    yield (
        "a fifth up and held",
        {"OVERFIT_MILD"},
        history(fall(1.6, 0.2, 6, n), slight, fall(0.4, 0.93, 5, n), fall(0.4, 0.86, 4, n)),
    )
    yield (
        "standing validation, vanishing training",
        {"OVERFIT_MILD"},
        history(fall(1.9, 0.03, 6, n), fall(1.8, 0.55, 2, n) + RNG.normal(0, 0.004, n)),
    )
    linear = np.linspace(3.5, 2.1, 10)
    yield (
        "straight line down",
        {"TOO_FEW_EPOCHS"},
        history(linear, linear - 0.05, np.linspace(0.1, 0.4, 10), np.linspace(0.11, 0.41, 10)),
    )
    yield "three falling rows", {"TOO_FEW_EPOCHS"}, history([1.10, 1.05, 0.98], [1.09, 1.03, 0.95], val_acc=[0.4, 0.5, 0.7])
    yield "two rows", {"INCONCLUSIVE"}, history([1.1, 0.9], [1.0, 0.95])
    yield "training only", {"INCONCLUSIVE"}, history(smooth)
    slow = 0.693 - 0.0008 * np.arange(40)
    yield (
        "hardly any learning, but going on",
        {"UNDERFIT", "TOO_FEW_EPOCHS"},
        history(slow + RNG.normal(0, 0.003, 40), slow, val_acc=0.55 + 0.002 * np.arange(40)),
    )
    stuck = fall(3.6, 3.48, 2, n)
    yield (
        "stuck at the prior",
        {"PLATEAU", "COLLAPSE"},
        history(stuck, stuck, 0.056 + RNG.normal(0, 5e-4, n), 0.055 + RNG.normal(0, 5e-4, n)),
    )
    yield (
        "constant accuracy",
        {"COLLAPSE"},
        history(fall(1.8, 1.15, 3, n), fall(1.2, 1.12, 2, n), fall(0.45, 0.668, 2, n), np.full(n, 0.66977)),
    )
    yield (
        "accuracy one case up and down",
        {"COLLAPSE"},
        history(fall(0.31, 0.25, 2, 12), fall(0.34, 0.285, 2, 12), np.full(12, 0.667), [36 / 60, 35 / 60, 36 / 60] * 4),
    )
    jumpy = 0.55 + 0.06 * (-1.0) ** np.arange(n)
    yield (
        "validation to and fro",
        {"UNSTABLE"},
        history(fall(0.44, 0.33, 4, n), jumpy, fall(0.78, 0.84, 4, n), 0.70 + 0.05 * (-1.0) ** np.arange(n)),
    )
    flips = np.where(np.arange(80) % 3 == 0, 0.35, np.linspace(0.6, 0.9, 80))
    yield (
        "accuracy flips without a validation loss",
        {"UNSTABLE"},
        history(fall(0.7, 0.02, 20, 80), None, fall(0.55, 0.99, 20, 80), flips),
    )
    late = np.concatenate([fall(1.0, 0.4, 3, 12), np.full(3, math.nan)])
    yield "not a number at the end", {"DIVERGED"}, history(late, late)
    yield "never a number", {"DIVERGED"}, history(np.full(6, math.nan), np.full(6, math.nan), np.full(6, 0.5), np.full(6, 0.908))
    yield "explosion", {"DIVERGED"}, history(np.geomspace(1, 400, 12), np.geomspace(1, 900, 12))
    yield "absurd level", {"DIVERGED"}, history(None, [2.5e8, 3.8e8, 5e8, 2.8e8], None, [0.15, 0.16, 0.16, 0.16])
    lost = np.concatenate([fall(2.3, 0.5, 3, 12), np.full(12, 2.28)])
    wandering = np.concatenate([fall(0.2, 0.8, 3, 12), 0.1 + 0.02 * RNG.random(12)])
    yield "training back at its start", {"DIVERGED"}, history(lost, lost + 0.1, wandering, wandering)
    yield "everything rises from the start", {"DIVERGED"}, history(np.linspace(1, 1.5, 12), np.linspace(1, 1.7, 12))
    yield (
        "the same score in every epoch",
        {"COLLAPSE"},
        history(fall(0.70, 0.688, 5, 18), fall(0.697, 0.69, 5, 18), val_score=np.full(18, 0.34459)),
    )
    toy = [0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5]
    yield (
        "a validation set of two",
        {"INCONCLUSIVE"},
        history([3.6, 1.1, 1.6, 2.6, 1.0, 0.5, 0.1], [0.72] * 7, [0, 0, 0, 0, 0.5, 1, 1], toy),
    )


CASES = list(cases())
SCALABLE = [case for case in CASES if case[0] != "absurd level"]
"""All but the one whose fault is its scale."""


@pytest.mark.parametrize(("expected", "records"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_each_kind_of_behaviour_gets_its_verdict(expected, records):
    assert diagnose(records).verdict in expected


@pytest.mark.parametrize("factor", [0.01, 100.0])
@pytest.mark.parametrize(("expected", "records"), [case[1:] for case in SCALABLE], ids=[case[0] for case in SCALABLE])
def test_verdicts_do_not_depend_on_the_unit_of_the_loss(expected, records, factor):
    names = ("train_loss", "val_loss")
    scaled = [r.model_copy(update={n: getattr(r, n) * factor for n in names if getattr(r, n) is not None}) for r in records]
    assert diagnose(scaled).verdict in expected


@pytest.mark.parametrize(("expected", "records"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_without_accuracies_a_broken_or_overfitted_run_is_still_never_healthy(expected, records):
    bare = [record.model_copy(update={"train_acc": None, "val_acc": None}) for record in records]
    if expected & {"OVERFIT_SEVERE", "DIVERGED"}:
        assert diagnose(bare).verdict != "HEALTHY"


def test_a_single_non_finite_epoch_that_recovers_is_a_warning_not_a_verdict():
    loss = fall(2.0, 0.4, 4, 30)
    loss[3] = math.nan
    diagnosis = diagnose(history(loss, fall(2.1, 0.45, 4, 30)))
    assert diagnosis.verdict == "HEALTHY"
    assert diagnosis.finding("NON_FINITE_EPOCH").epochs == (3, 3)


def test_the_best_row_is_that_of_the_file_and_the_epoch_its_own_value():
    diagnosis = diagnose(history(fall(2, 0.4, 4, 12), [1, 0.9, 0.7, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8]))
    assert (diagnosis.best_row, diagnosis.best_epoch) == (3, 2)


def test_without_a_validation_loss_no_best_row_is_claimed():
    diagnosis = diagnose(
        history(fall(0.7, 0.1, 4, 12), None, None, [0.5, 0.6, 0.7, 0.75, 0.8, 0.82, 0.83, 0.85, 0.84, 0.84, 0.84, 0.84])
    )
    assert (diagnosis.best_row, diagnosis.best_epoch) == (None, None)
    assert diagnosis.best_by_accuracy["row"] == 8


def test_of_appended_runs_the_longest_is_judged_and_the_file_keeps_its_best_row():
    long = history(fall(2.0, 0.4, 4, 30), fall(2.1, 0.5, 4, 30))
    short = [record.model_copy(update={"epoch": 30 + record.epoch, "segment": 1}) for record in history([2.0, 1.9], [0.3, 1.8])]
    diagnosis = diagnose(long + short)
    assert diagnosis.verdict == "HEALTHY"
    assert diagnosis.finding("APPENDED_RUNS").rows == (1, 30)
    assert diagnosis.best_row == 31


def test_a_collapse_told_by_a_score_is_not_called_an_accuracy():
    found = diagnose(history(np.full(12, 0.69), np.full(12, 0.69), val_score=np.full(12, 0.3446)), Context(score_name="f1"))
    assert found.finding("COLLAPSE").text.startswith("The validation f1 is 0.345 in every epoch")


def test_losses_alone_are_severe_only_once_they_are_far_apart():
    val = np.concatenate([fall(1.0, 0.5, 2, 10), np.linspace(0.5, 0.66, 10)])
    assert diagnose(history(fall(1.0, 0.12, 5, 20), val)).verdict == "OVERFIT_SEVERE"
    assert diagnose(history(fall(1.0, 0.35, 5, 20), val)).verdict == "OVERFIT_MILD"
    held = fall(0.5, 0.85, 3, 20)
    assert diagnose(history(fall(1.0, 0.12, 5, 20), val, None, held)).verdict == "OVERFIT_MILD"


def test_a_run_that_still_trains_is_told_so_far():
    records = history(np.linspace(3.5, 2.1, 10), np.linspace(3.4, 2.0, 10))
    ended, running = diagnose(records), diagnose(records, Context(finished=False))
    assert "when training ended at epoch 9" in ended.headline
    assert running.headline.startswith("So far: ") and not any("ended" in finding.text for finding in running.findings)
    assert "latest" in running.finding("BEST_IS_LAST").text and "Let it train on" in running.finding("BEST_IS_LAST").advice


def test_a_sound_run_that_still_trains_is_not_called_converged():
    running = diagnose(history(fall(2.0, 0.4, 4, 30), fall(2.1, 0.45, 4, 30)), Context(finished=False))
    assert running.headline.startswith("So far: no fault found: ")


def test_patience_is_judged_against_the_plan_while_the_run_trains():
    records = history(fall(2.0, 0.4, 4, 5), fall(2.1, 0.45, 4, 5))
    assert diagnose(records, Context(patience=7, max_epochs=50)).finding("EARLY_STOP_INACTIVE")
    assert diagnose(records, Context(patience=7, max_epochs=50, finished=False)).finding("EARLY_STOP_INACTIVE") is None


def test_rare_validation_is_judged_on_the_rows_that_have_it():
    val = [None if index % 5 else value for index, value in enumerate(fall(2.1, 0.5, 12, 60))]
    diagnosis = diagnose(history(fall(2.0, 0.4, 12, 60), val))
    assert diagnosis.verdict == "HEALTHY"
    assert diagnosis.best_row == 56


@pytest.mark.parametrize("n", [8, 37, 60, 318])
def test_the_number_of_cases_is_read_off_the_steps_of_the_accuracy(n):
    rng = np.random.default_rng(n)
    accuracies = rng.integers(n // 2, n, 12) / n
    found = cases_behind(np.float32(accuracies).astype(float))
    assert found is not None and n % found == 0


def test_rounded_accuracies_tell_no_number_of_cases():
    assert cases_behind(np.round(np.random.default_rng(0).uniform(0.5, 0.9, 12), 2)) is None


def test_known_classes_still_use_the_rules_that_need_them():
    records = history([2.9, 1.2, 0.9, 0.8, 0.7, 0.66, 0.64, 0.63, 0.62, 0.61], fall(1.5, 0.7, 2, 10))
    assert diagnose(records, Context(n_classes=4)).finding("HOT_START").evidence["classes"] == 4
    assert diagnose(records).finding("HOT_START") is None


def test_without_a_validation_loss_no_sentence_speaks_of_one():
    accuracy = fall(0.3, 0.94, 4, 30)
    for found in (diagnose(history(fall(2.0, 0.4, 4, 30), None, None, accuracy)), diagnose(history(val_score=accuracy))):
        assert found.verdict == "HEALTHY" and "validation error (1 - accuracy) fell" in found.headline
        assert not any("validation loss" in finding.text for finding in found.findings)


def test_a_task_solved_at_once_is_no_collapse_but_a_large_class_is():
    solved = history(fall(0.05, 0.001, 4, 12), fall(0.04, 0.001, 4, 12), np.full(12, 1.0), np.full(12, 1.0))
    assert diagnose(solved).verdict != "COLLAPSE"
    rare = history(np.full(12, 0.2), np.full(12, 0.199), np.full(12, 0.95), np.full(12, 0.95))
    assert diagnose(rare).verdict == "COLLAPSE"


def test_a_case_or_two_of_thousands_do_not_hide_a_collapse():
    accuracy = np.where(np.arange(10) % 2, 0.57409, 0.57389)
    flat = np.linspace(0.869, 0.864, 10)
    assert diagnose(history(flat, flat, fall(0.56, 0.5735, 2, 10), accuracy)).verdict == "COLLAPSE"
    assert diagnose(history(fall(0.87, 0.2, 4, 10), flat, fall(0.57, 0.95, 4, 10), accuracy)).verdict != "COLLAPSE"


def test_a_vanished_training_loss_that_halves_each_epoch_is_not_told_as_a_percentage():
    found = diagnose(history([0.05, 0.04, 0.03, 0.018, 0.0014, 0.0012], [0.4, 0.08, 0.068, 0.067, 0.05, 0.043]))
    assert found.verdict == "TOO_FEW_EPOCHS" and "was still falling when training ended" in found.headline


def late_validation():
    """Five rows without a validation loss, in which most is learnt, then fifteen in which little is."""
    losses = [None] * 5 + [0.321 - 0.001 * step for step in range(15)]
    accuracy = [0.58, 0.59, 0.60, 0.675, 0.695] + [0.69 + 0.001 * step for step in range(15)]
    return history(
        [0.43 - 0.02 * step for step in range(5)] + [0.33 - 0.002 * step for step in range(15)], losses, None, accuracy
    )


def test_a_plateau_of_the_loss_is_not_called_nothing_learnt_where_the_accuracy_rose_before_it():
    found = diagnose(late_validation())
    assert found.verdict == "PLATEAU"
    assert "hardly anything was learnt" not in found.headline
    assert "the first 5 have none" in found.headline
    assert "accuracy rose from 0.580 to 0.703" in found.headline
    assert found.confidence == "low"
    assert "the validation loss is missing in the first 5 rows" in found.confidence_reason


def test_learning_begins_with_training_and_not_with_validation():
    first = diagnose(late_validation()).phases[0]
    assert (first.id, first.rows[0]) == ("rapid_learning", 1)
    assert first.rows[1] <= 6


def test_an_accuracy_that_was_high_from_the_start_leaves_little_to_learn():
    found = diagnose(
        history(
            fall(0.49, 0.3, 3, 10), 0.38 + 0.004 * np.cos(np.arange(10)), None, np.full(10, 0.955) + 0.02 * (np.arange(10) == 4)
        )
    )
    assert found.verdict == "PLATEAU"
    assert "0.955 from the start" in found.headline
    assert found.confidence == "low"


def test_what_speaks_against_converged_is_named_in_its_sentence():
    losses = fall(1.0, 0.4, 2, 14)
    gap = (0.7 + 0.016 * np.arange(14), np.full(14, 0.8) - 0.001 * (np.arange(14) % 2))
    growing = diagnose(history(losses, losses + 0.05, *gap), Context(own_run=True, n_val=500))
    assert growing.verdict == "HEALTHY"
    assert growing.headline.endswith(", but the accuracy gap between training and validation grows by 0.016 an epoch.")
    few = diagnose(history(losses, losses + 0.05, None, fall(0.4, 0.8, 2, 14)), Context(n_val=44))
    assert few.headline.endswith(", but the accuracy rests on few cases.")
    assert few.confidence_reason == "few validation cases: 44 of at least 300"
    assert diagnose(history(losses, losses + 0.05)).headline.endswith(" and nothing speaks against it.")


def test_an_epoch_is_named_with_its_row_where_the_file_counts_otherwise():
    def word(**extra):
        return epoch_word(EpochRecord(epoch=4, **extra))

    assert word() == "epoch 4"
    assert word(source_epoch=3.0) == "epoch 3 (row 4)"
    assert word(source_epoch=4.0) == "epoch 4"
    assert word(source_epoch=0.5) == "epoch 0.5 (row 4)"
    assert word(source_epoch=None) == "row 4"
    assert word(source_epoch=4.0, source_row=9) == "epoch 4 (row 9)"
    best = diagnose(history(fall(1.0, 0.4, 2, 14), fall(1.0, 0.4, 2, 14)))
    assert "at epoch 13 (row 14)" in best.finding("HEALTHY").text
