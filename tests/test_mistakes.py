"""Single films out of a table of predictions."""

from __future__ import annotations

import pandas as pd
import pytest

from mammo_core.analysis.mistakes import surest_mistakes, with_confidence, worst_mistakes

CLASSES = ("A", "B", "C")


@pytest.fixture
def table() -> pd.DataFrame:
    rows = [
        ("f1", "p1", "A", "A", 0.8, 0.1, 0.1),  # right
        ("f2", "p1", "A", "B", 0.2, 0.7, 0.1),  # one step off, true class 0.2
        ("f3", "p2", "A", "C", 0.3, 0.1, 0.6),  # two steps off
        ("f4", "p3", "B", "C", 0.1, 0.1, 0.8),  # one step off, true class 0.1
    ]
    return pd.DataFrame(rows, columns=["image_id", "patient_id", "y_true", "y_pred", "prob_A", "prob_B", "prob_C"])


def test_confidence_is_the_probability_of_the_called_class(table: pd.DataFrame) -> None:
    judged = with_confidence(table, CLASSES)
    assert judged["confidence"].tolist() == [0.8, 0.7, 0.6, 0.8]
    assert judged["prob_true"].tolist() == [0.8, 0.2, 0.3, 0.1]
    assert judged["right"].tolist() == [True, False, False, False]


def test_on_an_ordinal_scale_far_misses_come_before_confident_ones(table: pd.DataFrame) -> None:
    assert worst_mistakes(table, CLASSES, ordinal=True)["image_id"].tolist() == ["f3", "f4", "f2"]


def test_without_an_order_the_least_probable_truth_comes_first(table: pd.DataFrame) -> None:
    assert worst_mistakes(table, CLASSES, ordinal=False)["image_id"].tolist() == ["f4", "f2", "f3"]


def test_no_mistake_gives_an_empty_table(table: pd.DataFrame) -> None:
    assert worst_mistakes(table.head(1), CLASSES, ordinal=True).empty


def test_the_surest_wrong_call_comes_first_however_far_it_is(table: pd.DataFrame) -> None:
    far_and_sure = table.assign(prob_A=[0.8, 0.2, 0.05, 0.1], prob_B=[0.1, 0.7, 0.05, 0.1], prob_C=[0.1, 0.1, 0.9, 0.8])
    assert surest_mistakes(far_and_sure, CLASSES)["image_id"].tolist() == ["f3", "f4", "f2"]
    assert surest_mistakes(table.iloc[:1], CLASSES).empty
