"""What led to a verdict, as tables."""

from __future__ import annotations

import pytest

from mammo_core.analysis.diagnosis import Context, diagnose
from mammo_core.report.verdict_tables import finding_rows, how_sure, span_text, stopping_rows, values_text
from mammo_core.runs.schema import EpochRecord

OVERFITTED = [
    EpochRecord(
        epoch=e, train_loss=1 / e, train_acc=1 - 0.5 / e, val_loss=0.8 - 0.05 * min(e, 6) + 0.045 * max(0, e - 6), val_acc=0.7
    )
    for e in range(1, 21)
]


def test_every_finding_has_a_row_with_its_numbers_and_limits():
    diagnosis = diagnose(OVERFITTED, Context(own_run=True))
    table = finding_rows(diagnosis)
    assert table["rule"].tolist() == [finding.id.replace("_", " ").lower() for finding in diagnosis.findings]
    worst = table.iloc[0]
    assert worst["rule"] == "overfit severe"
    assert "rise " in worst["measured"]
    assert worst["limits"]
    assert set(table["confidence"]) <= {"high", "medium", "low"}


def test_a_patience_that_never_acts_says_so_and_one_that_acts_gives_its_price():
    advice = diagnose(OVERFITTED, Context(own_run=True))
    table = stopping_rows(advice)
    assert table["patience"].tolist() == [3, 5, 7, 10]
    assert table.loc[0, "stops at epoch"] == "9"
    assert table.loc[0, "loss given up"] == "0.0000"
    assert (table["advised"] == "yes").sum() == 1
    rising = [EpochRecord(epoch=e, val_loss=1 / e) for e in range(1, 9)]
    assert set(stopping_rows(diagnose(rising))["stops at epoch"]) == {"never"}
    assert stopping_rows(diagnose([EpochRecord(epoch=1, train_loss=1.0)])).empty


def test_confidence_is_said_with_its_reason_and_may_change_while_a_run_trains():
    assert (
        how_sure(diagnose(OVERFITTED[:7], Context(own_run=True, n_val=500))) == "Confidence: low (few epochs: 7 of at least 10)."
    )
    assert how_sure(diagnose(OVERFITTED, Context(own_run=True, n_val=500))) == "Confidence: high."
    few = how_sure(diagnose(OVERFITTED, Context(own_run=True, n_val=44)))
    assert few == "Confidence: low (few validation cases: 44 of at least 300)."
    assert "may change" in how_sure(diagnose(OVERFITTED[:3], Context(own_run=True, finished=False)))


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"rise": 0.2134, "late_only": True}, "rise 0.213, late only yes"),
        ({"by_class": {"A": 1.0}, "at": [1, 2]}, "by class (A 1), at 1 2"),
        ({"lr": None}, "lr -"),
        ({}, ""),
    ],
)
def test_values_are_words(values, text):
    assert values_text(values) == text


def test_under_a_cosine_schedule_the_table_advises_the_patience_of_the_text():
    advice = diagnose(OVERFITTED, Context(own_run=True, scheduler="cosine", max_epochs=20))
    table = stopping_rows(advice)
    assert "a patience of at least 6." in advice.early_stopping["text"]
    assert table.loc[table["advised"] == "yes", "patience"].tolist() == [6]
    unknown = diagnose(OVERFITTED, Context(own_run=True, scheduler="cosine"))
    assert "None" not in unknown.early_stopping["text"]
    assert set(stopping_rows(unknown)["advised"]) == {""}


def test_a_span_of_one_epoch_is_one_number():
    assert (span_text((3.0, 3.0)), span_text((2.5, 7.0))) == ("3", "2.5 to 7")
