import json
import os
import stat

import pandas as pd
import pytest

from mammo_core.data.manifest import (
    MANIFEST_COLUMNS,
    PATH_COLUMNS,
    DatasetRecord,
    check_manifest,
    count,
    list_datasets,
    load_dataset,
    relink,
)
from mammo_core.data.pseudonyms import PUBLIC_KEY, Pseudonyms, new_key, read_key, write_key
from mammo_core.errors import DataError, NameNotAllowed
from mammo_core.settings import open_workspace
from mammo_core.storage import write_json, write_table

FILMS = 6


@pytest.fixture
def dataset(workspace, tmp_path):
    """Six films of three patients, the first with a mask."""
    directory = workspace.dataset("demo")
    directory.mkdir(parents=True)
    root = tmp_path / "films"
    root.mkdir()
    rows, paths = [], []
    for number in range(FILMS):
        (root / f"{number}.png").write_bytes(b"film")
        rows.append(
            (f"I{number}", f"00{number // 2}", f"E{number // 2}", "L", "CC", "1" if number < 4 else "", "", "AB"[number % 2])
        )
        paths.append((f"I{number}", f"{number}.png", "0.png" if number == 0 else "", f"sha{number}"))
    write_table(directory / "manifest.csv", pd.DataFrame(rows, columns=list(MANIFEST_COLUMNS)))
    write_table(directory / "paths.csv", pd.DataFrame(paths, columns=list(PATH_COLUMNS)))
    record = DatasetRecord(name="demo", root=str(root), adapter="table", task="density", class_names=["A", "B"], ordinal=True)
    write_json(directory / "dataset.json", record.to_json())
    return load_dataset(workspace, "demo")


def edit(dataset, change):
    table = pd.read_csv(dataset.directory / "manifest.csv", dtype=str, keep_default_na=False)
    write_table(dataset.directory / "manifest.csv", change(table))


def test_a_data_set_comes_back_as_it_was_written(dataset, tmp_path):
    assert (dataset.name, dataset.task, dataset.class_names, dataset.ordinal) == ("demo", "density", ("A", "B"), True)
    manifest = dataset.manifest()
    assert tuple(manifest.columns) == MANIFEST_COLUMNS
    assert manifest["patient_id"].tolist() == ["000", "000", "001", "001", "002", "002"]  # ids stay text
    assert dataset.film_path("I3") == tmp_path / "films" / "3.png"
    assert dataset.mask_path("I0") == tmp_path / "films" / "0.png"
    assert dataset.mask_path("I1") is None
    assert dataset.pixel_hashes()["I5"] == "sha5"
    assert list(dataset.film_paths()) == [f"I{number}" for number in range(FILMS)]


def test_counts_name_every_class_and_the_unknown_centre(dataset):
    counts = count(dataset.manifest(), ("A", "B", "C"))
    assert (counts.films, counts.patients, counts.exams) == (6, 3, 3)
    assert counts.per_class == {"A": 3, "B": 3, "C": 0}
    assert counts.per_center == {"1": 4, "unknown": 2}


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda table: table.drop(columns="center"), r"demo/manifest\.csv lacks the column.s. center"),
        (lambda table: table.assign(image_id="I0"), "lists 5 image_id.s. twice"),
        (lambda table: table.assign(patient_id=""), "6 row.s. without patient_id"),
        (lambda table: table.assign(label="E"), "label.s. 'E', which are none of the classes A, B"),
        (lambda table: table.head(0), "has no film"),
    ],
)
def test_a_manifest_that_cannot_be_used_is_told_in_words(dataset, change, text):
    edit(dataset, change)
    with pytest.raises(DataError, match=text):
        dataset.manifest()


def test_further_columns_are_kept(dataset):
    edit(dataset, lambda table: table.assign(age="61"))
    assert dataset.manifest()["age"].tolist() == ["61"] * FILMS
    assert check_manifest(dataset.manifest(), ("A", "B")) is not None


def test_missing_files_name_the_data_set_and_not_the_machine(dataset, workspace):
    (dataset.directory / "manifest.csv").unlink()
    with pytest.raises(DataError, match=r"'demo' has no manifest\.csv") as caught:
        dataset.manifest()
    assert str(workspace.home) not in str(caught.value)
    with pytest.raises(DataError, match="no data set 'other'.*Known data sets: demo"):
        load_dataset(workspace, "other")
    with pytest.raises(NameNotAllowed):
        load_dataset(workspace, "../demo")


def test_a_broken_data_set_is_listed_with_its_problem_beside_the_good_ones(dataset, workspace):
    for name, content in (("no_json", "{"), ("no_record", json.dumps({"name": "x"}))):
        workspace.dataset(name).mkdir()
        (workspace.dataset(name) / "dataset.json").write_text(content)
    workspace.dataset("empty").mkdir()
    (workspace.datasets / ".half.tmp").mkdir()
    datasets, problems = list_datasets(workspace)
    assert [item.name for item in datasets] == ["demo"]
    assert set(problems) == {"empty", "no_json", "no_record"}
    assert "not readable as JSON" in problems["no_json"]
    assert list_datasets(open_workspace(workspace.home / "new")) == ([], {})


def test_unknown_keys_of_a_newer_version_survive(dataset, workspace):
    record = {**dataset.record.to_json(), "from_the_future": [1]}
    write_json(dataset.directory / "dataset.json", record)
    assert load_dataset(workspace, "demo").record.to_json()["from_the_future"] == [1]


def test_a_moved_data_root_is_relinked_without_a_new_import(dataset, workspace, tmp_path):
    before = (dataset.directory / "manifest.csv").read_bytes()
    os.rename(tmp_path / "films", tmp_path / "moved")
    with pytest.raises(DataError, match="not where it was.*Relink") as caught:
        dataset.film_path("I1")
    assert str(tmp_path) not in str(caught.value)
    with pytest.raises(DataError, match="6 of 6 films looked up are not below"):
        relink(dataset, tmp_path)
    assert load_dataset(workspace, "demo").root == tmp_path / "films"
    relink(dataset, tmp_path / "moved")
    assert load_dataset(workspace, "demo").film_path("I1") == tmp_path / "moved" / "1.png"
    assert (dataset.directory / "manifest.csv").read_bytes() == before


@pytest.mark.parametrize("path", ["../secret.png", "/etc/hosts"])
def test_a_path_that_leaves_the_data_root_is_refused(dataset, path):
    paths = dataset.paths().assign(path=path)
    write_table(dataset.directory / "paths.csv", paths)
    with pytest.raises(DataError, match="leaves the data root"):
        dataset.film_path("I0")
    with pytest.raises(DataError, match="has no film 'I77'"):
        dataset.film_path("I77")


# ---- pseudonyms ---------------------------------------------------------------------------------------------------------


def test_pseudonyms_are_stable_under_their_key_and_differ_between_keys():
    first, second = Pseudonyms(b"1" * 32), Pseudonyms(b"2" * 32)
    assert first.patient("Meier") == first.patient("Meier") != second.patient("Meier")
    assert first.patient("x")[1:] != first.image("x")[1:11] != first.exam("x", "x")[1:]
    assert [len(first.patient("x")), len(first.exam("x", "1")), len(first.image("x"))] == [11, 11, 13]
    assert "1" * 32 not in repr(first)


def test_exam_number_one_of_two_patients_is_two_exams():
    pseudonyms = Pseudonyms(b"1" * 32)
    assert pseudonyms.exam("a", "1") != pseudonyms.exam("b", "1")


def test_only_films_made_by_code_use_the_public_key(tmp_path):
    assert new_key(True) == PUBLIC_KEY
    assert new_key(False) != new_key(False)
    key = new_key(False)
    write_key(tmp_path / "hash.key", key)
    assert read_key(tmp_path / "hash.key") == key
    assert stat.S_IMODE((tmp_path / "hash.key").stat().st_mode) == 0o600
