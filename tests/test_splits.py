import json
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold

from mammo_core.data.manifest import MANIFEST_COLUMNS, PATH_COLUMNS, DatasetRecord, load_dataset
from mammo_core.data.split_allocation import allocate, imbalance
from mammo_core.data.split_schemes import form_groups
from mammo_core.data.splits import (
    SPLIT_COLUMNS,
    SPLITS,
    SplitPlan,
    check_trainable,
    import_split,
    list_splits,
    load_split,
    make_split,
    parse_ratios,
    prove,
    read_split,
    resolve,
    resolve_split,
    save_split,
    split_dataset,
    write_split,
)
from mammo_core.errors import NameNotAllowed, SplitError
from mammo_core.storage import write_json, write_table


def make_manifest(patients, centers=("1", "2")):
    """One row a film: ``patients`` is a list of label lists, one a patient."""
    rows = [
        (f"I{number:04d}_{index}", f"P{number:04d}", f"E{number}", "", "", centers[number % len(centers)], "", label)
        for number, labels in enumerate(patients)
        for index, label in enumerate(labels)
    ]
    return pd.DataFrame(rows, columns=list(MANIFEST_COLUMNS), dtype=str)


def make_patients(per_class, films=4):
    return [[label] * films for label, number in per_class.items() for _ in range(number)]


def split_of(table):
    return dict(zip(table["image_id"], table["split"], strict=True))


patient_lists = st.lists(st.lists(st.sampled_from("ABC"), min_size=1, max_size=6), min_size=8, max_size=40)


# ---- properties ---------------------------------------------------------------------------------------------------------------


@given(patient_lists, st.integers(0, 2**32 - 1), st.booleans(), st.sampled_from(["stratified", "kfold"]))
@settings(max_examples=15, deadline=None)
def test_no_patient_is_shared_and_every_film_stands_once(patients, seed, ordinal, scheme):
    manifest = make_manifest(patients)
    holders = [sum(label in labels for labels in patients) for label in "ABC"]
    try:
        split = make_split(manifest, "ABC", SplitPlan(scheme=scheme, seed=seed, folds=3), ordinal=ordinal)
    except SplitError as error:
        # Only classes that few patients have may stop it.
        assert min(holders) < 12, str(error)
        return
    table = split.table
    assert sorted(table["image_id"]) == sorted(manifest["image_id"])
    place = table["split"] + table["fold"]
    assert place.groupby(table["patient_id"]).nunique().max() == 1
    assert place.groupby(table["group_id"]).nunique().max() == 1
    proof = split.record.proof
    assert (proof.patients_shared, proof.groups_shared, proof.classes_missing) == (0, 0, {})
    assert proof.text.startswith(f"0 of {len(patients)} patients shared")


@given(
    st.integers(12, 40), st.integers(12, 60), st.integers(12, 80), st.integers(0, 10**6), st.sampled_from(["70/15/15", "80/20/0"])
)
@settings(max_examples=15, deadline=None)
def test_shares_of_every_class_are_near_the_ratios(a, b, c, seed, ratios):
    manifest = make_manifest(make_patients({"A": a, "B": b, "C": c}))
    wanted = dict(zip(SPLITS, parse_ratios(ratios), strict=True))
    split = make_split(manifest, "ABC", SplitPlan(seed=seed, ratios=parse_ratios(ratios)))
    counts = split.record.class_counts
    assert set(counts) == {name for name, share in wanted.items() if share}
    for name, patients in (("A", a), ("B", b), ("C", c)):
        for place, classes in counts.items():
            # At most one and a half patients off: one by rounding, a half that balances the other classes.
            assert abs(classes[name]["patients"] - wanted[place] * patients) <= 1.5
    assert sum(classes["A"]["films"] for classes in counts.values()) == 4 * a


def test_every_class_reaches_every_split_with_three_patients_of_it():
    manifest = make_manifest(make_patients({"A": 3, "B": 3, "C": 90}))
    for seed in range(10):
        assert make_split(manifest, "ABC", SplitPlan(seed=seed)).record.proof.classes_missing == {}


def test_a_patient_counts_as_her_worst_lesion_or_her_commonest_density():
    manifest = make_manifest([["A", "A", "C"], ["B", "A", "A", "B"], ["C"]])
    assert form_groups(manifest, list("ABC"), False, {}).strata.tolist() == [2, 1, 2]
    assert form_groups(manifest, list("ABC"), True, {}).strata.tolist() == [0, 1, 2]  # of equals the higher


def test_a_class_that_only_accompanies_another_still_reaches_every_split():
    # Nobody's commonest label is C, but five patients have one film of it: one for each fold.
    manifest = make_manifest([["A"] * 4] * 40 + [["B"] * 4] * 40 + [["B", "B", "C"]] * 5)
    for seed in range(6):
        split = make_split(manifest, "ABC", SplitPlan(scheme="kfold", seed=seed, ratios=(0.8, 0.2, 0)), ordinal=True)
        assert split.record.proof.classes_missing == {}


def test_a_split_depends_on_plan_and_films_but_not_on_the_order_of_rows():
    manifest = make_manifest(make_patients({"A": 10, "B": 20}))
    first = make_split(manifest, "AB", SplitPlan(seed=3)).table
    shuffled = make_split(manifest.sample(frac=1, random_state=0), "AB", SplitPlan(seed=3)).table
    assert split_of(first) == split_of(shuffled)
    assert split_of(first) != split_of(make_split(manifest, "AB", SplitPlan(seed=4)).table)


def test_the_same_seed_gives_the_same_split_in_every_version():
    # Written down once; a change here needs a new name in split_allocation.ALGORITHM.
    manifest = make_manifest([["AB"[number % 3 == 0]] * (1 + number * 7 % 5) for number in range(24)])
    table = make_split(manifest, "AB", SplitPlan(seed=42)).table
    found = {
        place: sorted(set(table.loc[table["split"] == place, "patient_id"].str[-2:].astype(int))) for place in ("val", "test")
    }
    assert found == {"val": [16, 17, 21], "test": [5, 6, 7, 8]}


def test_folds_are_about_as_balanced_as_those_of_scikit_learn():
    random = np.random.default_rng(5)
    ours, theirs = [], []
    for _ in range(4):
        films = random.integers(1, 7, 300)
        strata = random.choice(4, 300, p=[0.1, 0.4, 0.4, 0.1])
        counts = np.zeros((300, 4), dtype=np.int64)
        counts[np.arange(300), strata] = films
        labels, groups = np.repeat(strata, films), np.repeat(np.arange(300), films)
        reference = np.zeros(300, dtype=np.int64)
        folds = StratifiedGroupKFold(5, shuffle=True, random_state=0).split(labels, labels, groups)
        for fold, (_, held) in enumerate(folds):
            reference[np.unique(groups[held])] = fold
        own = allocate(strata, np.zeros(300, dtype=np.int64), counts, (0.2,) * 5, seed=0)
        ours.append(imbalance(own, counts, (0.2,) * 5))
        theirs.append(imbalance(reference, counts, (0.2,) * 5))
    assert np.mean(ours) <= np.mean(theirs) + 0.02


def test_centres_are_spread_over_the_splits_where_classes_allow():
    manifest = make_manifest(make_patients({"A": 60, "B": 60}), centers=("1", "2", "3"))
    counts = make_split(manifest, "AB", SplitPlan()).record.center_counts
    for place, share in (("train", 0.7), ("val", 0.15), ("test", 0.15)):
        for center in "123":
            assert abs(counts[place][center]["patients"] - 40 * share) <= 3


# ---- schemes ------------------------------------------------------------------------------------------------------------------


def test_a_held_out_centre_is_the_whole_test_and_val_comes_from_the_others():
    manifest = make_manifest(make_patients({"A": 30, "B": 30}), centers=("1", "2", "3"))
    split = make_split(manifest, "AB", SplitPlan(scheme="center-holdout", holdout=("2", "3")))
    counts = split.record.center_counts
    assert set(counts["test"]) == {"2", "3"}
    assert set(counts["train"]) == set(counts["val"]) == {"1"}
    assert counts["val"]["1"]["patients"] == 3  # 15 % of the 20 patients of centre 1
    assert split.record.holdout == ["2", "3"]


def test_a_patient_seen_in_two_centres_goes_to_the_test_with_all_films():
    manifest = make_manifest(make_patients({"A": 20, "B": 20}))
    manifest.loc[manifest["image_id"] == "I0000_0", "center"] = "2"  # patient 0 is of centre 1 otherwise
    split = make_split(manifest, "AB", SplitPlan(scheme="center-holdout", holdout=("2",)))
    assert set(split.table.loc[split.table["patient_id"] == "P0000", "split"]) == {"test"}
    assert split.record.proof.patients_shared == 0
    assert "1 patient(s) have films in a held-out centre and in another" in split.record.warnings[0]


def test_a_class_that_the_held_out_centre_lacks_is_stated():
    manifest = make_manifest(make_patients({"A": 20, "B": 20}))
    manifest["center"] = np.where((manifest["label"] == "A") & (manifest["patient_id"] < "P0010"), "far", "near")
    split = make_split(manifest, "AB", SplitPlan(scheme="center-holdout", holdout=("far",)))
    assert split.record.proof.classes_missing == {"test": ["B"]}
    assert "no film of class B in test" in split.record.proof_text
    assert any("held-out centre has none" in warning for warning in split.record.warnings)


def test_folds_count_from_one_and_leave_the_test_alone():
    manifest = make_manifest(make_patients({"A": 20, "B": 40}))
    split = make_split(manifest, "AB", SplitPlan(scheme="kfold", folds=4))
    table = split.table
    assert set(table.loc[table["split"] == "train", "fold"]) == {"1", "2", "3", "4"}
    assert set(table.loc[table["split"] == "test", "fold"]) == {""}
    assert split.record.class_counts["test"]["A"]["patients"] == 3
    assert [split.record.counts[f"fold_{fold}"]["patients"] for fold in (1, 2, 3, 4)] == pytest.approx([51 / 4] * 4, abs=1)
    no_test = make_split(manifest, "AB", SplitPlan(scheme="kfold", folds=4, ratios=(0.8, 0.2, 0)))
    assert set(no_test.table["split"]) == {"train"}


def test_each_fold_validates_once_and_the_resolved_counts_agree_with_the_table():
    manifest = make_manifest(make_patients({"A": 20, "B": 40}))
    split = make_split(manifest, "AB", SplitPlan(scheme="kfold", folds=3))
    seen = []
    for fold in (1, 2, 3):
        resolved = resolve_split(split, fold)
        table = resolved.table
        assert set(table["split"]) == {"train", "val", "test"}
        assert set(table["fold"]) == {""}
        assert split_of(table[table["split"] == "test"]) == split_of(split.table[split.table["split"] == "test"])
        labels = table.merge(manifest[["image_id", "label"]], on="image_id")
        for (place, label), films in labels.groupby(["split", "label"]).size().items():
            assert resolved.record.class_counts[place][label]["films"] == films
        assert resolved.record.counts["val"]["films"] == (table["split"] == "val").sum()
        assert resolved.record.fold == fold
        seen += table.loc[table["split"] == "val", "image_id"].tolist()
        check_trainable(resolved)
    assert sorted(seen) == sorted(split.table.loc[split.table["split"] == "train", "image_id"])


def test_a_fold_is_asked_for_exactly_where_there_are_folds():
    manifest = make_manifest(make_patients({"A": 20, "B": 40}))
    plain = make_split(manifest, "AB", SplitPlan()).table
    pd.testing.assert_frame_equal(resolve(plain), plain)
    with pytest.raises(SplitError, match="no folds"):
        resolve(plain, 1)
    folds = make_split(manifest, "AB", SplitPlan(scheme="kfold", folds=3)).table
    with pytest.raises(SplitError, match="folds 1 to 3, but no fold was chosen"):
        resolve(folds)
    with pytest.raises(SplitError, match="fold 4 was asked for"):
        resolve(folds, 4)


# ---- what cannot work ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("patients", "plan", "text"),
    [
        ([["A", "B"]], SplitPlan(), "All films belong to one patient"),
        (make_patients({"A": 9}), SplitPlan(), "no film of class B"),
        (make_patients({"A": 9, "B": 2}), SplitPlan(), "Class B has films of 2 patient.s., but 3 parts"),
        (make_patients({"A": 9, "B": 5}), SplitPlan(scheme="kfold", folds=5), "Class B has films of 5 patient.s., but 6 parts"),
        (make_patients({"A": 9, "B": 5}), SplitPlan(scheme="kfold", folds=1), "number of folds is 1"),
        (
            make_patients({"A": 9, "B": 9}),
            SplitPlan(scheme="center-holdout", holdout=("7",)),
            "hold out are 7; the data set has 1, 2",
        ),
        (make_patients({"A": 9, "B": 9}), SplitPlan(scheme="center-holdout"), "not named; the data set has 1, 2"),
        (
            make_patients({"A": 9, "B": 9}),
            SplitPlan(scheme="center-holdout", holdout=("1", "2")),
            "leaves no patient to train on",
        ),
        (make_patients({"A": 9, "B": 9}), SplitPlan(ratios=(0.9, 0.2, 0.1)), "sum to 1.2"),
        (make_patients({"A": 9, "B": 9}), SplitPlan(ratios=(1, 0, 0)), "leave train or val empty"),
        (make_patients({"A": 9, "B": 9}), SplitPlan(seed=-1), "split seed is -1"),
        (make_patients({"A": 9, "B": 9}), SplitPlan(scheme="random"), "no split scheme 'random'"),
        (make_patients({"A": 9, "E": 9}), SplitPlan(), "label.s. 'E'"),
        # Two patients hold all films of A and share none of the three places' worth of them.
        ([["B"]] * 9 + [["A", "B"]] * 2, SplitPlan(), "Class A has films of 2"),
    ],
)
def test_a_split_that_cannot_be_made_says_why(patients, plan, text):
    with pytest.raises(SplitError, match=text):
        make_split(make_manifest(patients), "AB", plan)


def test_identical_films_that_join_all_patients_of_a_class_are_told():
    manifest = make_manifest(make_patients({"A": 3, "B": 9}, films=1))
    hashes = {image: "same" for image, label in zip(manifest["image_id"], manifest["label"], strict=True) if label == "A"}
    with pytest.raises(SplitError, match="Class A has films of 1 patient"):
        make_split(manifest, "AB", SplitPlan(), pixel_hashes=hashes)


@pytest.mark.parametrize("text", ["70/30", "a/b/c", "70/15/15/0", "nan/1/0", ""])
def test_ratios_that_are_no_ratios_are_refused(text):
    with pytest.raises(SplitError, match="expected"):
        parse_ratios(text)


def test_ratios_read_as_percent_or_fractions():
    assert parse_ratios("70/15/15") == pytest.approx((0.7, 0.15, 0.15))
    assert parse_ratios("0.8/0.2/0") == pytest.approx((0.8, 0.2, 0))


# ---- proof --------------------------------------------------------------------------------------------------------------------


def test_patients_with_an_identical_film_stay_together():
    manifest = make_manifest(make_patients({"A": 30, "B": 30}, films=2))
    chain = ["I0000_0", "I0031_1", "I0045_0"]  # of three patients, two classes
    hashes = {image: "same" if image in chain else image for image in manifest["image_id"]}
    for seed in range(5):
        split = make_split(manifest, "AB", SplitPlan(seed=seed), pixel_hashes=hashes)
        of = split.table.set_index("image_id")
        assert of.loc[chain, "split"].nunique() == of.loc[chain, "group_id"].nunique() == 1
        proof = split.record.proof
        assert (proof.duplicates, proof.duplicates_shared, proof.label_conflicts) == (1, 0, 1)
        assert "1 sets of identical films with different labels" in proof.text


def test_the_proof_counts_what_a_changed_table_does_wrong():
    manifest = make_manifest(make_patients({"A": 10, "B": 10}, films=2))
    hashes = {image: image for image in manifest["image_id"]} | {"I0001_0": "same", "I0002_0": "same"}
    good = make_split(manifest, "AB", SplitPlan(), pixel_hashes=hashes)
    assert good.record.proof.text == "0 of 20 patients shared · 0 duplicates shared · every class in every split"
    other = {"train": "test", "val": "test", "test": "train"}
    table = good.table.copy()
    table.loc[table["image_id"] == "I0001_0", "split"] = table.loc[table["image_id"] == "I0001_0", "split"].map(other)
    proof = prove(table, manifest, hashes)
    assert (proof.patients_shared, proof.groups_shared, proof.duplicates_shared) == (1, 1, 1)
    # A false patient id in the table hides nothing: the manifest's patients count.
    hidden = table.assign(patient_id=table["image_id"], group_id=table["image_id"])
    proof = prove(hidden, manifest, hashes)
    assert (proof.patients_shared, proof.patients_changed) == (1, 40)
    fewer = prove(table[table["split"] != "test"], manifest)
    assert fewer.films_unplaced == (table["split"] == "test").sum()
    assert "duplicates not checked" in fewer.text
    stranger = pd.concat([table, table.head(1).assign(image_id="I9")])
    assert prove(stranger, manifest).films_unknown == 1


def test_a_split_by_film_is_caught():
    manifest = make_manifest(make_patients({"A": 10, "B": 10}))
    table = make_split(manifest, "AB", SplitPlan()).table
    by_film = table.assign(split=np.resize(["train", "val", "test"], len(table)))
    assert prove(by_film, manifest).patients_shared == 20


# ---- files --------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def dataset(workspace):
    manifest = make_manifest(make_patients({"A": 10, "B": 12}))
    directory = workspace.dataset("demo")
    directory.mkdir(parents=True)
    write_table(directory / "manifest.csv", manifest)
    paths = [(image, f"{image}.png", "", image) for image in manifest["image_id"]]
    write_table(directory / "paths.csv", pd.DataFrame(paths, columns=list(PATH_COLUMNS)))
    record = DatasetRecord(
        name="demo",
        root="/nowhere",
        adapter="table",
        task="density",
        class_names=["A", "B"],
        ordinal=True,
        patient_statement="So.",
    )
    write_json(directory / "dataset.json", record.to_json())
    return load_dataset(workspace, "demo")


def test_a_saved_split_comes_back_with_its_proof(workspace, dataset):
    saved = save_split(workspace, "s1", split_dataset(dataset, SplitPlan(seed=7)))
    loaded = load_split(workspace, "s1")
    pd.testing.assert_frame_equal(loaded.table, saved.table, check_dtype=False)
    assert tuple(loaded.table.columns) == SPLIT_COLUMNS
    content = json.loads((workspace.split("s1") / "split.json").read_text())
    assert re.fullmatch("[0-9a-f]{64}", content["sha256"])
    assert (content["name"], content["dataset"], content["scheme"], content["seed"]) == ("s1", "demo", "stratified", 7)
    assert (content["task"], content["class_names"], content["patient_statement"]) == ("density", ["A", "B"], "So.")
    assert (
        content["proof"]["patients_shared"] == content["proof"]["duplicates_shared"] == content["proof"]["label_conflicts"] == 0
    )
    assert content["proof"]["duplicates_checked"]
    assert content["class_counts"]["train"]["A"] == {"films": 28, "patients": 7}
    records, problems = list_splits(workspace, "demo")
    assert ([record.name for record in records], problems) == (["s1"], {})
    assert list_splits(workspace, "other") == ([], {})
    check_trainable(loaded)


def test_nothing_is_overwritten_and_no_name_leaves_the_workspace(workspace, dataset):
    split = split_dataset(dataset, SplitPlan())
    save_split(workspace, "s1", split)
    with pytest.raises(SplitError, match="already is a split 's1'"):
        save_split(workspace, "s1", split)
    with pytest.raises(NameNotAllowed):
        save_split(workspace, "../s1", split)
    with pytest.raises(SplitError, match="no split 's2'.*Known splits: s1"):
        load_split(workspace, "s2")


def test_a_table_edited_after_saving_is_refused(workspace, dataset):
    save_split(workspace, "s1", split_dataset(dataset, SplitPlan()))
    file = workspace.split("s1") / "split.csv"
    file.write_text(file.read_text().replace(",val,", ",test,", 1))
    with pytest.raises(SplitError, match="changed after it was saved"):
        load_split(workspace, "s1")
    assert "changed after" in list_splits(workspace)[1]["s1"]


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (lambda folder: (folder / "split.json").unlink(), r"has no split\.json"),
        (lambda folder: (folder / "split.csv").unlink(), r"has no split\.csv"),
        (lambda folder: (folder / "split.json").write_text("["), "not readable as JSON"),
        (lambda folder: (folder / "split.json").write_text("{}"), "does not describe a split"),
        (
            lambda folder: (folder / "split.csv").write_text("image_id,split\nI1,train\n"),
            "lacks the column.s. patient_id, group_id, fold",
        ),
        (lambda folder: (folder / "split.csv").write_text(",".join(SPLIT_COLUMNS) + "\nI,P,P,dev,\n"), "split.s. 'dev'"),
        (lambda folder: (folder / "split.csv").write_text(",".join(SPLIT_COLUMNS) + "\nI,P,P,val,0\n"), "fold.s. '0'"),
        (
            lambda folder: (folder / "split.csv").write_text(",".join(SPLIT_COLUMNS) + "\n" + "I,P,P,val,\n" * 2),
            "1 image_id.s. twice",
        ),
        (lambda folder: (folder / "split.csv").write_text(",".join(SPLIT_COLUMNS) + "\n"), "has no row"),
    ],
)
def test_a_broken_split_is_told_in_words(workspace, dataset, spoil, text):
    save_split(workspace, "s1", split_dataset(dataset, SplitPlan()))
    spoil(workspace.split("s1"))
    with pytest.raises(SplitError, match=text):
        load_split(workspace, "s1")


def test_a_leaking_foreign_split_is_neither_saved_nor_trained_without_a_reason(workspace, dataset):
    table = dataset.manifest()[["image_id"]].assign(split=np.resize(["Train", "train", "val ", "test"], 88))
    split = import_split(table, dataset)
    assert (split.record.scheme, split.record.proof.patients_shared) == ("imported", 22)
    for attempt in (
        lambda: save_split(workspace, "leaky", split),
        lambda: check_trainable(split),
        lambda: check_trainable(split, " "),
    ):
        with pytest.raises(SplitError, match="leaks: 22 of 22 patients stand in more than one part"):
            attempt()
    saved = save_split(workspace, "leaky", split, "to show what a leak does")
    assert load_split(workspace, "leaky").record.override_reason == "to show what a leak does"
    check_trainable(saved)


def test_a_foreign_split_that_keeps_patients_together_is_as_good_as_an_own_one(workspace, dataset):
    own = split_dataset(dataset, SplitPlan(scheme="kfold", folds=3))
    foreign = import_split(own.table[["image_id", "split", "fold"]], dataset)
    pd.testing.assert_frame_equal(foreign.table, own.table, check_dtype=False)
    assert (foreign.record.folds, foreign.record.class_counts) == (3, own.record.class_counts)
    save_split(workspace, "foreign", foreign)


def test_a_foreign_split_must_fit_the_data_set(dataset):
    with pytest.raises(SplitError, match="lacks the column.s. split"):
        import_split(pd.DataFrame({"image_id": ["I0000_0"]}), dataset)
    with pytest.raises(SplitError, match="1 of 1 films of the table are not in the data set 'demo'"):
        import_split(pd.DataFrame({"image_id": ["x"], "split": ["train"]}), dataset)


def test_a_hand_made_leak_does_not_pass_on_the_old_proof(dataset):
    split = split_dataset(dataset, SplitPlan())
    split.table.loc[0, "split"] = "test" if split.table.loc[0, "split"] == "train" else "train"
    with pytest.raises(SplitError, match="leaks: 1 of 22 patients"):
        check_trainable(split)


def test_a_run_keeps_its_own_copy_of_what_it_used(dataset, tmp_path):
    resolved = resolve_split(split_dataset(dataset, SplitPlan(scheme="kfold", folds=3)), 2)
    record = write_split(tmp_path, resolved)
    again = read_split(tmp_path)
    assert again.record == record
    pd.testing.assert_frame_equal(again.table, resolved.table, check_dtype=False)
