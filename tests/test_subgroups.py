"""Results by centre, age band and other columns of the manifest."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

from mammo_core.analysis.subgroups import NOT_STATED, banded, subgroup_columns, subgroup_metrics, subgroups_of
from test_metrics import DENSITY, LESION, draw, table_of


def table_with(**columns) -> pd.DataFrame:
    labels, probabilities = draw(0, n=200)
    return table_of(labels, probabilities, DENSITY, films_each=2).assign(**columns)


def rows_by_name(table, column, metric="dense", names=DENSITY, ordinal=True):
    chosen = subgroup_metrics(names, ordinal)[metric]
    return {row.name: row for row in subgroups_of(table, column, chosen, names, ordinal, bootstrap=50)}


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("dense", lambda y, p: sk.roc_auc_score(y >= 2, p[:, 2:].sum(axis=1))),
        ("accuracy", lambda y, p: sk.accuracy_score(y, p.argmax(axis=1))),
        ("balanced_accuracy", lambda y, p: sk.balanced_accuracy_score(y, p.argmax(axis=1))),
        ("kappa_quadratic", lambda y, p: sk.cohen_kappa_score(y, p.argmax(axis=1), weights="quadratic", labels=range(4))),
        ("auc_ovr_macro", lambda y, p: sk.roc_auc_score(y, p, multi_class="ovr")),
    ],
)
def test_each_metric_of_each_group_equals_scikit_learn_on_its_rows(metric, expected):
    table = table_with(center=["1"] * 100 + ["2"] * 100)
    found = rows_by_name(table, "center", metric)
    labels = table["y_true"].map(DENSITY.index).to_numpy()
    probabilities = table[[f"prob_{name}" for name in DENSITY]].to_numpy()
    for name, rows in {"All": slice(None), "1": slice(100), "2": slice(100, None)}.items():
        assert found[name].value.value == pytest.approx(expected(labels[rows], probabilities[rows]))
        assert found[name].value.ci_low < found[name].value.value < found[name].value.ci_high
    assert (found["1"].films, found["1"].patients, sum(found["1"].per_class.values())) == (100, 50, 100)


def test_a_metric_is_hidden_where_a_needed_class_has_fewer_than_ten_films():
    table = table_with(center=["1"] * 191 + ["2"] * 9)
    found = rows_by_name(table, "center")
    assert found["2"].value.value is None
    assert found["2"].value.method.startswith("hidden:")
    assert "fewer than 10" in found["2"].value.method
    assert found["1"].value.value is not None
    assert rows_by_name(table, "center", "accuracy")["2"].value.value is None, "nine films"


def test_a_question_among_lesions_needs_ten_of_each_lesion():
    labels, probabilities = draw(1, n=120, k=3)
    table = table_of(labels, probabilities, LESION).assign(center="1")
    found = rows_by_name(table, "center", "malignant_vs_benign", LESION, False)["All"]
    lesions = labels > 0
    score = probabilities[lesions, 2] / probabilities[lesions, 1:].sum(axis=1)
    assert found.value.value == pytest.approx(sk.roc_auc_score(labels[lesions] == 2, score))


def test_ages_are_cut_by_decade_and_other_numbers_at_their_quartiles():
    ages = pd.Series(["38", "45", "054Y", "61", "72", "80", "41", ""])
    assert banded(ages, "patient_age").tolist() == [
        "below 40", "40 to below 50", "50 to below 60", "60 to below 70", "70 and above", "70 and above", "40 to below 50",
        NOT_STATED,
    ]  # fmt: skip
    numbers = pd.Series([str(n) for n in range(100)])
    assert banded(numbers, "thickness").value_counts().to_dict() == {
        "below 24.75": 25, "24.75 to below 49.5": 25, "49.5 to below 74.25": 25, "74.25 and above": 25
    }  # fmt: skip


def test_few_numbers_stay_as_they_are_and_dates_become_years():
    assert banded(pd.Series(["1", "2", "10"]), "center").tolist() == ["1", "2", "10"]
    assert banded(pd.Series(["2019-05-01", "20200102", ""]), "study_date").tolist() == ["2019", "2020", NOT_STATED]


def test_groups_come_in_their_order_with_all_first():
    table = table_with(age=np.tile(["38", "45", "55", "65", "75", "39", "71", ""], 25))
    names = list(rows_by_name(table, "age", "accuracy"))
    bands = ["below 40", "40 to below 50", "50 to below 60", "60 to below 70", "70 and above"]
    assert names == ["All", *bands, NOT_STATED]
    table = table_with(center=np.tile(["10", "9"], 100))
    assert list(rows_by_name(table, "center", "accuracy")) == ["All", "9", "10"]


def test_many_groups_are_gathered():
    table = table_with(site=[f"s{i % 25}" for i in range(200)])
    names = list(rows_by_name(table, "site", "accuracy"))
    assert len(names) == 13
    assert names[-1] == "all others"


def test_columns_that_cannot_divide_say_why():
    table = table_with(center="1", vendor="", note=[f"free text {i}" for i in range(200)], age=[str(i) for i in range(200)])
    reasons = subgroup_columns(table)
    assert reasons == {"center": "the same for all", "vendor": "empty", "note": "200 different values", "age": ""}
