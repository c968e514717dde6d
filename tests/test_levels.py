"""Units of analysis: breasts, exams and patients by the mean probability of their films."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mammo_core.analysis.levels import MIXED, at_level, missing_levels, with_facts
from mammo_core.analysis.metrics import evaluate_predictions
from mammo_core.errors import DataError
from test_metrics import DENSITY, LESION, draw, table_of


def four_films(names=LESION, labels=(0, 0, 1, 2)):
    """One patient, one exam: two views of each breast."""
    probabilities = np.array([[0.8, 0.1, 0.1], [0.4, 0.5, 0.1], [0.1, 0.5, 0.4], [0.1, 0.2, 0.7]])
    if len(names) == 4:
        probabilities = np.column_stack([probabilities * 0.9, np.full(4, 0.1)])
    return table_of(labels, probabilities, names, films_each=4)


def manifest_of(table: pd.DataFrame, **columns) -> pd.DataFrame:
    n = len(table)
    facts = {"exam_id": ["e1"] * n, "laterality": ["L", "L", "R", "R"], "view": ["CC", "MLO"] * 2, "vendor": ["maker"] * n}
    return pd.DataFrame({"image_id": table["image_id"], "patient_id": "other", "label": "x", **facts, **columns})


def test_facts_are_joined_by_film_whatever_the_order_and_never_replace_the_predictions():
    table = four_films()
    joined = with_facts(table, manifest_of(table).iloc[::-1])
    assert joined["laterality"].tolist() == ["L", "L", "R", "R"]
    assert joined["patient_id"].tolist() == table["patient_id"].tolist()
    assert "label" not in joined.columns
    assert with_facts(table, manifest_of(table).iloc[:2])["view"].tolist() == ["CC", "MLO", "", ""]


def test_a_breast_is_the_mean_of_its_films_and_keeps_what_they_share():
    table = four_films()
    found = at_level(with_facts(table, manifest_of(table)), "breast", LESION, False)
    left, right = found.table.to_dict("records")
    assert [left[f"prob_{name}"] for name in LESION] == pytest.approx([0.6, 0.3, 0.1])
    assert [right[f"prob_{name}"] for name in LESION] == pytest.approx([0.1, 0.35, 0.55])
    assert (left["y_pred"], right["y_pred"]) == ("Normal", "Malignant")
    assert (left["laterality"], left["view"], left["vendor"]) == ("L", MIXED, "maker")
    assert "2 breasts from 4 films" in found.words


def test_a_lesion_unit_takes_the_worst_class_of_its_films_and_conflicts_are_counted():
    table = four_films()
    found = at_level(with_facts(table, manifest_of(table)), "patient", LESION, False)
    assert found.table["y_true"].tolist() == ["Malignant"]
    assert found.conflicts == 1
    assert "the worst counts" in found.words


def test_the_worst_class_is_known_by_its_name_and_not_by_its_place():
    turned = ("Malignant", "Normal", "Benign")
    table = four_films(turned, labels=(1, 1, 2, 0))
    assert at_level(table, "patient", turned, False).table["y_true"].tolist() == ["Malignant"]
    table = four_films(turned, labels=(1, 1, 2, 1))
    assert at_level(table, "patient", turned, False).table["y_true"].tolist() == ["Benign"]


def test_a_density_unit_takes_the_most_common_class_and_the_higher_of_two():
    common = at_level(four_films(DENSITY, (1, 1, 2, 1)), "patient", DENSITY, True)
    assert common.table["y_true"].tolist() == ["B"]
    tied = at_level(four_films(DENSITY, (1, 1, 2, 2)), "patient", DENSITY, True)
    assert tied.table["y_true"].tolist() == ["C"]
    assert "most common" in tied.words


def test_films_as_unit_are_the_table_itself_and_one_film_each_changes_no_number():
    labels, probabilities = draw(0, n=40)
    table = table_of(labels, probabilities, DENSITY)
    assert at_level(table, "film", DENSITY, True).table is table
    patients = at_level(table, "patient", DENSITY, True).table
    by_film, by_patient = (
        evaluate_predictions(t, DENSITY, True, epoch=0, split_sha256=None, bootstrap=0) for t in (table, patients)
    )
    for name, value in by_film.metrics.items():
        assert by_patient.metrics[name].value == pytest.approx(value.value), name


def test_levels_that_the_data_set_does_not_serve_are_named_and_refused():
    table = four_films()
    assert set(missing_levels(table)) == {"breast", "exam"}
    assert "side" in missing_levels(with_facts(table, manifest_of(table, laterality="")))["breast"]
    with pytest.raises(DataError, match="exam"):
        at_level(table, "exam", LESION, False)
    with pytest.raises(DataError, match="no unit"):
        at_level(table, "hospital", LESION, False)


def test_films_without_a_side_are_left_out_of_breasts_and_counted():
    table = four_films()
    joined = with_facts(table, manifest_of(table, laterality=["L", "L", "R", ""]))
    found = at_level(joined, "breast", LESION, False)
    assert found.films == 3
    assert "1 film(s) that do not say" in found.words


def test_the_same_exam_name_of_two_patients_makes_two_exams():
    labels, probabilities = draw(1, n=4, k=3)
    table = table_of(labels, probabilities, LESION)
    joined = with_facts(table, manifest_of(table))
    assert len(at_level(joined, "exam", LESION, False).table) == 4
