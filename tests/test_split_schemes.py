"""Splits by date, each centre in turn, imported ones, and groups that more than a patient holds together."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mammo_core.data.exclusions import exclude
from mammo_core.data.groups import group_films
from mammo_core.data.manifest import PATH_COLUMNS, DatasetRecord, load_dataset
from mammo_core.data.near_pairs import NEAR_COLUMNS
from mammo_core.data.split_dates import cut_by_date
from mammo_core.data.split_import import read_split_table
from mammo_core.data.splits import (
    SplitPlan,
    changes_since,
    check_against,
    import_split,
    leave_one_center_out,
    list_splits,
    make_split,
    prove,
    save_split,
    split_dataset,
)
from mammo_core.errors import SplitError
from mammo_core.report.checklist_answers import partition
from mammo_core.report.model_card import model_card
from mammo_core.report.reproduce import commands
from mammo_core.report.run_facts import RunFacts
from mammo_core.storage import write_json, write_table
from mammo_core.workflows.center_splits import save_center_splits
from mammo_core.workflows.launch import LaunchPlan, create_run, plan_runs
from test_splits import make_manifest, make_patients, split_of

# ---- groups -----------------------------------------------------------------------------------------------------------------

films = st.lists(
    st.tuples(st.integers(0, 9), st.integers(0, 12), st.sampled_from(["", "x", "y", "z"])), min_size=1, max_size=30
)  # patient, exam, pixels
links = st.lists(st.tuples(st.integers(0, 29), st.integers(0, 29)), max_size=8)


def slow_groups(rows, pairs):
    """By merging sets until nothing changes."""
    sets = [{number} for number in range(len(rows))]
    joined = [(i, j) for i in range(len(rows)) for j in range(i) if any(a == b and a != "" for a, b in zip(rows[i], rows[j]))]  # noqa: B905
    for i, j in [*joined, *((i, j) for i, j in pairs if i < len(rows) and j < len(rows))]:
        one = next(group for group in sets if i in group)
        other = next(group for group in sets if j in group)
        if one is not other:
            one |= other
            sets.remove(other)
    return {frozenset(group) for group in sets}


@given(films, links, st.randoms(use_true_random=False))
@settings(max_examples=80, deadline=None)
def test_films_that_hang_together_by_anything_are_one_group_whatever_their_order(rows, pairs, random):
    manifest = pd.DataFrame(
        {
            "image_id": [f"I{number}" for number in range(len(rows))],
            "patient_id": [f"P{patient}" for patient, _, _ in rows],
            "exam_id": [f"E{exam}" if exam < 9 else "" for _, exam, _ in rows],
        }
    )
    hashes = {f"I{number}": pixels for number, (_, _, pixels) in enumerate(rows)}
    near = [(f"I{i}", f"I{j}") for i, j in pairs]
    found = group_films(manifest, hashes, near)
    keys = [(f"P{p}", f"E{e}" if e < 9 else "", x) for p, e, x in rows]
    groups = {frozenset(np.flatnonzero(found == name)) for name in found.unique()}
    assert groups == slow_groups(keys, pairs)
    for name in found.unique():
        assert name == min(manifest.loc[found == name, "patient_id"])
    order = list(range(len(rows)))
    random.shuffle(order)
    again = group_films(manifest.iloc[order], hashes, near)
    assert again.sort_index().tolist() == found.tolist()


@given(st.integers(0, 2**32 - 1), st.lists(st.tuples(st.integers(0, 119), st.integers(0, 119)), max_size=12))
@settings(max_examples=8, deadline=None)
def test_near_duplicates_and_exams_are_never_split(seed, pairs):
    manifest = make_manifest(make_patients({"A": 25, "B": 35}, films=2))
    manifest.loc[manifest["patient_id"].isin(["P0003", "P0040"]), "exam_id"] = "one visit"
    images = manifest["image_id"].tolist()
    near = [(images[i], images[j]) for i, j in pairs if i != j]
    try:
        split = make_split(manifest, "AB", SplitPlan(seed=seed), near_pairs=near)
    except SplitError:
        return  # the pairs joined too many
    place = split.table.set_index("image_id")["split"]
    assert all(place[one] == place[other] for one, other in near)
    assert place[manifest.loc[manifest["exam_id"] == "one visit", "image_id"]].nunique() == 1
    proof = split.record.proof
    assert not proof.leaks
    assert (proof.exams_shared, proof.near_duplicates_shared, proof.near_duplicates) == (0, 0, len(near))
    shuffled = make_split(manifest.sample(frac=1, random_state=1), "AB", SplitPlan(seed=seed), near_pairs=near[::-1])
    assert split_of(shuffled.table) == split_of(split.table)


def test_the_proof_counts_near_duplicates_and_exams_that_are_torn():
    manifest = make_manifest(make_patients({"A": 10, "B": 10}, films=1))
    table = make_split(manifest, "AB", SplitPlan()).table
    places = table.groupby("split")["image_id"].first()
    pair = (places["train"], places["test"])
    proof = prove(table, manifest, {}, [pair, ("gone", pair[0])])
    assert (proof.near_duplicates, proof.near_duplicates_shared, proof.groups_shared) == (1, 1, 1)
    assert proof.leaks
    assert "1 near duplicates shared" in proof.text
    manifest.loc[manifest["image_id"].isin(pair), "exam_id"] = "E"
    proof = prove(table, manifest)
    assert (proof.exams_shared, proof.leaks) == (1, True)
    assert "1 exams shared" in proof.text
    assert "near" not in proof.text


# ---- by date ------------------------------------------------------------------------------------------------------------------


def dated(years, films=2, label="AB"):
    manifest = make_manifest([[label[number % len(label)]] * films for number in range(len(years))])
    return manifest.assign(year=[years[int(patient[1:])] for patient in manifest["patient_id"]])


def test_the_test_is_later_than_all_training():
    manifest = dated([str(2010 + number % 10) for number in range(100)])
    split = make_split(manifest, "AB", SplitPlan(scheme="date"))
    year = split.table["image_id"].map(manifest.set_index("image_id")["year"])
    early, late = year[split.table["split"] != "test"], year[split.table["split"] == "test"]
    assert max(early) < split.record.after <= min(late)
    assert split.record.after == "2018"  # 20 % and 10 % are equally near to 15 %: the earlier date
    assert (split.record.scheme, split.record.date_column) == ("date", "year")
    assert set(split.table["split"]) == {"train", "val", "test"}
    assert split.record.proof.patients_shared == 0


def test_earlier_films_of_a_patient_in_the_test_stand_nowhere_and_are_counted():
    manifest = dated(["2015"] * 20 + ["2019"] * 20)
    manifest.loc[manifest["image_id"] == "I0030_0", "year"] = "2014"
    manifest.loc[manifest["image_id"] == "I0001_0", "year"] = ""
    split = make_split(manifest, "AB", SplitPlan(scheme="date", after="2019"))
    place = split_of(split.table)
    assert "I0030_0" not in place
    assert place["I0030_1"] == "test"
    assert "I0001_0" not in place
    assert split.record.left_out == {"no date": 1, "earlier films of patients of the test": 1}
    assert split.record.proof.films_unplaced == 2
    assert "2 films in no split" in split.record.proof_text
    assert any("earlier films of patients of the test" in warning for warning in split.record.warnings)


def test_a_gap_is_left_out():
    manifest = dated([f"{2015 + number % 5}-06-15" for number in range(60)]).rename(columns={"year": "study_date"})
    split = make_split(manifest, "AB", SplitPlan(scheme="date", after="2019-01-01", gap_months=12))
    when = split.table["image_id"].map(manifest.set_index("image_id")["study_date"])
    assert set(when) == {f"{year}-06-15" for year in (2015, 2016, 2017, 2019)}
    assert split.record.left_out == {"in the gap of 12 months before the test": 24}
    assert split.record.after == "2019-01-01"


@given(
    st.lists(st.sampled_from(["", "2011", "2012", "2013", "20140301", "2015-07-01", "soon"]), min_size=40, max_size=40),
    st.lists(st.integers(0, 12), min_size=40, max_size=40),
    st.sampled_from(["", "2013", "2014-02-01"]),
)
@settings(max_examples=60, deadline=None)
def test_no_group_has_films_on_both_sides_of_a_date(texts, groups, start):
    manifest = pd.DataFrame({"date": texts})
    of_film = pd.factorize(np.array(groups))[0].astype(np.int64)
    try:
        cut = cut_by_date(manifest, of_film, "", start, 0, 0.2)
    except SplitError:
        return
    assert cut.kept[cut.test].all()
    assert not set(of_film[cut.test]) & set(of_film[cut.kept & ~cut.test])
    assert int((~cut.kept).sum()) == sum(cut.left_out.values())


@pytest.mark.parametrize(
    ("years", "plan", "text"),
    [
        ([""] * 12, SplitPlan(scheme="date"), "films have no date"),
        (["soon"] * 12, SplitPlan(scheme="date"), "No film has a date"),
        (["2015"] * 12, SplitPlan(scheme="date"), "latest film on the same date"),
        (["2015", "2016"] * 6, SplitPlan(scheme="date", after="2030"), "from 2015 to 2016"),
        (["2015", "2016"] * 6, SplitPlan(scheme="date", after="summer"), "is 'summer'"),
        (["2015", "2016"] * 6, SplitPlan(scheme="date", date_column="when"), "no column when"),
        (["2015", "2016"] * 6, SplitPlan(scheme="date", gap_months=-1), "gap is -1"),
        (["2015", "2016.0"] * 6, SplitPlan(scheme="date", after="2016-06-30"), "tell only their year; expected one such as 2019"),
        (
            ["2014", "2016", ""] * 4,
            SplitPlan(scheme="date", gap_months=6),
            "The gap is 6 months, but the films tell only their year",
        ),
        (["2015"] * 12 + ["2016"] * 2, SplitPlan(scheme="date", ratios=(0.5, 0.5, 0)), None),
    ],
)
def test_dates_that_cannot_split_say_why(years, plan, text):
    if text is None:
        assert make_split(dated(years), "AB", plan).record.after == "2016"
        return
    with pytest.raises(SplitError, match=text):
        make_split(dated(years), "AB", plan)


# ---- each centre in turn, and the data set's own facts -------------------------------------------------------------------------


@pytest.fixture
def make_dataset(workspace):
    def make(manifest, patient_key="column", name="demo"):
        directory = workspace.dataset(name)
        directory.mkdir(parents=True)
        write_table(directory / "manifest.csv", manifest)
        paths = [(image, f"films/{image[:5]}/{image}.png", "", image) for image in manifest["image_id"]]
        write_table(directory / "paths.csv", pd.DataFrame(paths, columns=list(PATH_COLUMNS)))
        record = DatasetRecord(
            name=name, root="/nowhere", adapter="table", task="density", class_names=["A", "B"], patient_key=patient_key
        )
        write_json(directory / "dataset.json", record.to_json())
        return load_dataset(workspace, name)

    return make


def test_each_centre_is_the_test_once(workspace, make_dataset):
    dataset = make_dataset(make_manifest(make_patients({"A": 30, "B": 33}), centers=("1", "2/b", "")))
    splits = leave_one_center_out(dataset, SplitPlan())
    assert set(splits) == {"1", "2/b"}
    for center, split in splits.items():
        assert set(split.record.center_counts["test"]) == {center}
        assert center not in split.record.center_counts["train"]
        assert not split.record.proof.leaks
    made = save_center_splits(workspace, dataset, "each", SplitPlan())
    assert [split.name for split in made] == ["each_without_1", "each_without_2-b"]
    assert {record.name for record in list_splits(workspace)[0]} == {"each_without_1", "each_without_2-b"}
    with pytest.raises(SplitError, match="already is a split 'each_without_1'"):
        save_center_splits(workspace, dataset, "each", SplitPlan())


def test_one_centre_alone_cannot_be_left_out_in_turn(make_dataset):
    dataset = make_dataset(make_manifest(make_patients({"A": 9, "B": 9}), centers=("1", "")))
    with pytest.raises(SplitError, match="at least two; the films name 1"):
        leave_one_center_out(dataset, SplitPlan())


@pytest.mark.parametrize("key", ["exam", "each film alone"])
def test_without_patients_the_proof_says_that_leakage_cannot_be_excluded(make_dataset, key):
    split = split_dataset(make_dataset(make_manifest(make_patients({"A": 9, "B": 9})), key), SplitPlan())
    assert not split.record.proof.patients_known
    assert split.record.proof_text.endswith("patients are not known, so patient leakage cannot be excluded")


def test_pairs_that_nobody_searched_are_not_called_checked(make_dataset):
    dataset = make_dataset(make_manifest(make_patients({"A": 9, "B": 9})))
    assert not split_dataset(dataset, SplitPlan()).record.proof.near_duplicates_checked
    row = pd.DataFrame([("I0000_0", "I0012_1", "2", "0.99", "yes", "")], columns=list(NEAR_COLUMNS))
    write_table(dataset.directory / "near_duplicates.csv", row)
    proof = split_dataset(dataset, SplitPlan()).record.proof
    assert (proof.near_duplicates_checked, proof.groups, proof.near_label_conflicts) == (True, 17, 1)


# ---- imported -----------------------------------------------------------------------------------------------------------------


def test_a_foreign_table_may_name_files_and_use_other_words(workspace, make_dataset):
    dataset = make_dataset(make_manifest(make_patients({"A": 9, "B": 9})))
    own = split_dataset(dataset, SplitPlan())
    words = {"train": "Training", "val": "validation", "test": "TEST"}
    for name in (lambda i: f"{i}.png", lambda i: i, lambda i: f"films\\{i[:5]}\\{i}.PNG", lambda i: f"films/{i[:5]}/{i}"):
        table = pd.DataFrame({"File": own.table["image_id"].map(name), "Set": own.table["split"].map(words)})
        split = import_split(table, dataset)
        assert split_of(split.table) == split_of(own.table)
        assert split.record.proof == own.record.proof
    save_split(workspace, "foreign", split)


def test_labels_of_a_foreign_table_are_compared_and_lesion_rows_joined(make_dataset):
    dataset = make_dataset(make_manifest(make_patients({"A": 9, "B": 9})))
    own = split_dataset(dataset, SplitPlan()).table
    label = dataset.manifest().set_index("image_id")["label"]
    table = own[["image_id", "split"]].assign(label=own["image_id"].map(label).str.lower())
    table.loc[:2, "label"] = "C"
    split = import_split(pd.concat([table, table.head(5)]), dataset)
    assert split_of(split.table) == split_of(own)
    assert any(warning.startswith("3 film(s) carry another label") for warning in split.record.warnings)


def test_a_film_in_two_parts_or_a_name_of_two_films_is_refused(make_dataset):
    manifest = make_manifest(make_patients({"A": 9, "B": 9}))
    dataset = make_dataset(manifest)
    twice = pd.DataFrame({"image_id": ["I0000_0", "I0000_0"], "split": ["train", "test"]})
    with pytest.raises(SplitError, match="1 film.s. of the table stand in two parts"):
        import_split(twice, dataset)
    paths = pd.read_csv(dataset.directory / "paths.csv", dtype=str, keep_default_na=False)
    paths["path"] = [f"{number}/film.png" for number in range(len(paths))]
    write_table(dataset.directory / "paths.csv", paths)
    with pytest.raises(SplitError, match="fit several files"):
        import_split(pd.DataFrame({"image_id": ["film.png"], "split": ["train"]}), dataset)
    assert len(import_split(pd.DataFrame({"image_id": ["3/film.png"], "split": ["train"]}), dataset).table) == 1


@pytest.mark.parametrize(
    "content", [b"image_id,split\nI1,train\n", b"\xef\xbb\xbfimage_id;split\nI1;train\n", b"image_id\tsplit\r\nI1\ttrain\r\n"]
)
def test_tables_come_with_commas_semicolons_or_tabs(content):
    assert read_split_table(content).to_dict("records") == [{"image_id": "I1", "split": "train"}]


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00\x01\x80"])
def test_what_is_no_table_is_told(content):
    with pytest.raises(SplitError, match="not readable as CSV"):
        read_split_table(content)


# ---- a leak, from the page to the report --------------------------------------------------------------------------------------

REASON = "published split, kept for comparison"


def leaking(dataset):
    images = dataset.manifest()["image_id"]
    return import_split(pd.DataFrame({"image_id": images, "split": np.resize(["train", "val", "test"], len(images))}), dataset)


def test_a_leaking_split_trains_only_with_a_reason_which_run_and_reports_repeat(workspace, make_dataset):
    dataset = make_dataset(make_manifest(make_patients({"A": 9, "B": 9})))
    split = leaking(dataset)
    with pytest.raises(SplitError, match="leaks: 18 of 18 patients"):
        save_split(workspace, "leaky", split)
    save_split(workspace, "leaky", split, REASON)
    settings = {"arch": "tf_efficientnet_lite0", "weights": "none", "epochs": 5}
    plan = LaunchPlan(dataset="demo", splits=["leaky"], experiment="e", seeds=[1], settings=settings)
    (planned,) = plan_runs(workspace, plan)
    run = create_run(workspace, planned)
    assert run.split_info()["override_reason"] == REASON
    facts = RunFacts(run)
    assert f"The split leaks and was used for this reason: {REASON}" in model_card(run)
    assert any(f"--override-leak '{REASON}'" in line for line in commands([facts]))
    assert REASON in partition([facts])


def test_a_leak_that_an_audit_finds_later_stops_the_check_until_a_reason_is_given(workspace, make_dataset):
    dataset = make_dataset(make_manifest(make_patients({"A": 9, "B": 9})))
    split = save_split(workspace, "old", split_dataset(dataset, SplitPlan()))
    assert changes_since(split, dataset) == []
    check_against(split, dataset)
    first = split.table.groupby("split")["image_id"].first()
    row = pd.DataFrame([(first["train"], first["test"], "2", "0.99", "yes", "")], columns=list(NEAR_COLUMNS))
    write_table(dataset.directory / "near_duplicates.csv", row)
    exclude(dataset, split.table["image_id"][:2].tolist(), "blurred")
    told = " ".join(changes_since(split, dataset))
    assert "2 film(s) of this split have been left out of the data set since" in told
    assert "1 pair(s) of films that look identical stand in two parts" in told
    with pytest.raises(SplitError, match="1 pairs of nearly identical films"):
        check_against(split, dataset)
    check_against(split, dataset, REASON)
