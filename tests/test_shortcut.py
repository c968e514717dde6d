import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from mammo_core.data.shortcut import THRESHOLD, macro_auc, metadata_table, shortcut_test


def groups_of(patients, films=4):
    return [f"P{number:03d}" for number in range(patients) for _ in range(films)]


def labels_of(patients, films=4, names=("A", "B", "C")):
    return [names[number % len(names)] for number in range(patients) for _ in range(films)]


def test_a_vendor_that_tells_the_class_is_called_a_shortcut_and_named():
    labels, groups = labels_of(90), groups_of(90)
    rng = np.random.default_rng(0)
    vendor = ["New" if label == "C" else rng.choice(["Old", "Mid"]) for label in labels]
    table = pd.DataFrame({"vendor": vendor, "view": rng.choice(["CC", "MLO"], len(labels)), "kind": "PNG"})
    test = shortcut_test(table, labels, groups, ["A", "B", "C"])
    assert test["warns"]
    assert test["auc"] > THRESHOLD
    assert test["ci_low"] < test["auc"] < test["ci_high"]
    assert test["columns"][0]["column"] == "vendor"
    assert test["carriers"] == ["vendor"]
    assert test["constant"] == ["kind"]
    assert "vendor" in test["sentence"]
    assert test["tables"]["vendor"]["New"] == {"A": 0, "B": 0, "C": 120}


def test_metadata_that_know_nothing_do_not_warn():
    labels, groups = labels_of(120), groups_of(120)
    rng = np.random.default_rng(1)
    table = pd.DataFrame({"vendor": rng.choice(["a", "b", "c"], 480), "height": rng.integers(900, 4000, 480).astype(str)})
    test = shortcut_test(table, labels, groups, ["A", "B", "C"])
    assert not test["warns"]
    assert test["carriers"] == []
    assert 0.4 < test["auc"] < 0.6


def test_a_value_that_only_tells_the_patient_is_no_shortcut():
    # Each patient has an image size of her own: known inside her, useless for the next one.
    labels, groups = labels_of(60), groups_of(60)
    size = [f"{int(group[1:])} x 7" for group in groups]
    test = shortcut_test(pd.DataFrame({"size": size}), labels, groups, ["A", "B", "C"])
    assert not test["warns"]


def test_a_combination_of_two_numbers_is_found():
    rng = np.random.default_rng(2)
    labels, groups = labels_of(200, names=("A", "B")), groups_of(200)
    height = [str(int(rng.normal(3000 + 500 * (label == "B"), 300))) for label in labels]
    test = shortcut_test(pd.DataFrame({"height": height, "spacing_mm": ""}), labels, groups, ["A", "B"])
    assert test["warns"]
    assert test["carriers"] == ["height"]


@pytest.mark.parametrize(
    ("patients", "values", "reason"),
    [(30, ["x"] * 120, "the same on all films"), (9, ["x", "y"] * 18, "has films of 3 patient"), (0, [], "one class")],
)
def test_what_cannot_be_tested_says_why(patients, values, reason):
    test = shortcut_test(pd.DataFrame({"vendor": values}), labels_of(patients), groups_of(patients), ["A", "B", "C"])
    assert not test["tested"]
    assert not test["warns"]
    assert reason in test["sentence"]


def test_the_result_does_not_depend_on_the_order_of_films():
    labels, groups = labels_of(60), groups_of(60)
    table = pd.DataFrame({"vendor": np.random.default_rng(3).choice(["a", "b"], 240), "view": ["CC", "MLO"] * 120})
    order = np.random.default_rng(4).permutation(240)
    one = shortcut_test(table, labels, groups, ["A", "B", "C"])
    other = shortcut_test(
        table.iloc[order].reset_index(drop=True), [labels[i] for i in order], [groups[i] for i in order], ["A", "B", "C"]
    )
    assert one["auc"] == pytest.approx(other["auc"], abs=1e-3)
    assert [column["auc"] for column in one["columns"]] == pytest.approx([column["auc"] for column in other["columns"]])


def test_the_auc_is_that_of_scikit_learn_with_ties():
    rng = np.random.default_rng(5)
    codes = rng.integers(0, 3, 300)
    scores = rng.integers(0, 6, (300, 3)) / 6.0
    mine = macro_auc(codes, scores, np.arange(300))
    assert mine.value == pytest.approx(np.mean([roc_auc_score(codes == k, scores[:, k]) for k in range(3)]))


def test_the_interval_agrees_with_drawing_patients_anew():
    rng = np.random.default_rng(6)
    group = np.repeat(np.arange(80), 4)
    codes = (np.arange(80) % 2)[group]
    own = rng.normal(0, 1, 80)[group]  # films of one patient agree, so they are worth less than their number
    score = codes * 0.8 + own + rng.normal(0, 0.3, 320)
    scores = np.stack([-score, score], axis=1)
    found = macro_auc(codes, scores, group)
    films_of = np.arange(320).reshape(80, 4)
    drawn = []
    for _ in range(600):
        films = films_of[rng.integers(0, 80, 80)].ravel()
        drawn.append(roc_auc_score(codes[films], score[films]))
    assert (found.high - found.low) / (2 * 1.96) == pytest.approx(np.std(drawn), rel=0.15)


def test_the_table_takes_the_manifest_before_the_header():
    manifest = pd.DataFrame(
        {"image_id": ["a", "b"], "center": ["1", "2"], "vendor": ["", ""], "laterality": ["L", "R"], "view": ""}
    )
    facts = pd.DataFrame(
        {"image_id": ["b"], "vendor": ["Maker"], "height": ["10"], "width": ["20"], "window": ["window 2047/4095 LINEAR"]}
    )
    table = metadata_table(manifest, facts)
    assert table["vendor"].tolist() == ["", "Maker"]
    assert table["size"].tolist() == ["", "10 x 20"]
    assert table["window_kind"].tolist() == ["", "window LINEAR"]
    assert "view" not in table.columns
    assert metadata_table(manifest, None).columns.tolist() == ["center", "laterality"]
