import csv
import gc
import io
import json
import os
import shutil
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from make_films import drawn_film
from make_models import ARCH, CLASSES, write_model, write_model_run
from make_runs import write_run
from mammo_core.data.film import Film
from mammo_core.data.phantom.dicom_writer import film_dataset, write_dicom
from mammo_core.data.phantom.patient import make_patient
from mammo_core.errors import ConfigError, DataError, NameNotAllowed, RunNotFound
from mammo_core.settings import RESEARCH_ONLY
from mammo_core.workflows import prediction_batches
from mammo_core.workflows.batch_files import FILES_NOTICE, film_paths, write_files_table
from mammo_core.workflows.model_shelf import keep_model
from mammo_core.workflows.prediction import (
    Maps,
    exam_lines,
    predict_exams,
    rows_with_thresholds,
    threshold_words,
)
from mammo_core.workflows.prediction_batches import BatchOptions, list_batches, load_batch, predict_batch, run_batch

SECRETS = ("canaria", "quintessa", "secret-4711", "19501224", "clinic of", "acc-081547")
"""Of people, in lower case; long enough that no number or compressed picture holds one by chance."""
IDENTITY = {
    "PatientName": "Canaria^Quintessa",
    "PatientID": "secret-4711",
    "PatientBirthDate": "19501224",
    "InstitutionName": "Clinic of Dr Canaria",
    "AccessionNumber": "ACC-081547",
    "StudyID": "ACC-081547",
    "StudyDescription": "CANARIA QUINTESSA",
    "SeriesDescription": "CANARIA QUINTESSA",
}
RUNS = ("exp/seed_1", "exp/seed_2")


def write_exam(folder, index, **tags):
    """The four films of a phantom patient, with a person's name and ids in headers and file names; returns their UIDs."""
    folder.mkdir(parents=True, exist_ok=True)
    uids = []
    for film in make_patient(5, index, 160):
        dataset = film_dataset(film, 5)
        for keyword, value in {**IDENTITY, **tags}.items():
            setattr(dataset, keyword, value)
        uids += [str(dataset.StudyInstanceUID), str(dataset.SOPInstanceUID)]
        write_dicom(folder / f"CANARIA_19501224_{film.laterality}_{film.view}.dcm", dataset)
    return uids


@pytest.fixture
def runs(workspace):
    return [write_model_run(workspace, name, seed).id for seed, name in enumerate(RUNS, start=1)]


@pytest.fixture
def films(tmp_path):
    """Two exams of four views, a film that says nothing of itself, a damaged one, and files that are no films."""
    folder = tmp_path / "CANARIA_films"
    write_exam(folder / "a", 0)
    write_exam(folder / "b", 1, PatientID="secret-4711-b")
    Image.fromarray((drawn_film((160, 128)) * 255).astype(np.uint8)).save(folder / "c_QUINTESSA.png")
    (folder / "d_QUINTESSA_19501224.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\1" * 50)
    (folder / "notes.txt").write_text("Canaria")
    (folder / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM")
    (folder / "._c_QUINTESSA.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return folder


def table_of(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_batch_writes_a_row_for_every_film_and_the_means_of_breasts_and_exams(workspace, runs, films):
    seen = []
    made = predict_batch(workspace, runs, films, progress=lambda done, total: seen.append((done, total)))
    folder = workspace.reports / "predictions" / made["name"]
    assert sorted(path.name for path in folder.iterdir()) == [
        "batch.json", "exams.csv", "files.csv", "predictions.csv", "predictions.json",
    ]  # fmt: skip
    assert seen == [(n, 10) for n in range(1, 11)]
    assert made["counts"] == {
        "films": 10, "predicted": 9, "failed": 1, "unlike": 0, "exams": 3, "maps": 0, "map_failures": 0,
    }  # fmt: skip
    assert (made["state"], made["runs"], made["disclaimer"]) == ("finished", list(RUNS), RESEARCH_ONLY)
    assert [model["split_sha256"] for model in made["models"]] == ["ab" * 32] * 2

    rows = table_of(folder / "predictions.csv")
    assert [row["film"] for row in rows] == [str(n) for n in range(1, 11)]
    assert Counter(row["exam"] for row in rows) == {"Exam 1": 4, "Exam 2": 4, "": 2}
    assert [(row["side"], row["view"]) for row in rows[:4]] == [("L", "CC"), ("L", "MLO"), ("R", "CC"), ("R", "MLO")]
    assert {(row["notice"], row["model"], row["split_sha256"]) for row in rows} == {(RESEARCH_ONLY, ", ".join(RUNS), "ab" * 32)}
    failed = rows[-1]
    assert (failed["predicted"], failed["film_id"], failed["prob_A"]) == ("", "", "")
    assert failed["error"].startswith("Film 10 cannot be used: ")

    by_exam = {(row["exam"], row["level"], row["side"]): row for row in table_of(folder / "exams.csv")}
    assert list(by_exam) == [
        ("Exam 1", "exam", ""), ("Exam 1", "breast", "L"), ("Exam 1", "breast", "R"),
        ("Exam 2", "exam", ""), ("Exam 2", "breast", "L"), ("Exam 2", "breast", "R"), ("Exam 3", "exam", ""),
    ]  # fmt: skip
    assert {row["notice"] for row in by_exam.values()} == {RESEARCH_ONLY}
    for key, members in ((("Exam 1", "exam", ""), rows[:4]), (("Exam 2", "breast", "R"), rows[6:8])):
        for name in CLASSES:
            expected = np.mean([float(row[f"prob_{name}"]) for row in members])
            assert float(by_exam[key][f"prob_{name}"]) == pytest.approx(expected)


def test_only_the_table_of_files_can_say_whose_films_they_were(workspace, runs, films):
    uids = write_exam(films / "a", 0)
    made = predict_batch(workspace, runs, films, BatchOptions(gradcam=True, method="layercam"))
    folder = workspace.reports / "predictions" / made["name"]
    hidden = [secret.encode() for secret in (*SECRETS, *uids, str(films).lower())]
    written = [path for path in folder.rglob("*") if path.is_file() and path.name != "files.csv"]
    for path in written:
        content = str(path.relative_to(folder)).lower().encode() + path.read_bytes().lower()
        assert not [secret for secret in hidden if secret in content]
    assert len(written) == 4 + 9  # the tables and a map of each film
    notice, _, table = (folder / "files.csv").read_text().partition("\n")
    assert notice.strip() == FILES_NOTICE
    paths = {row["film"]: row["path"] for row in csv.DictReader(io.StringIO(table))}
    assert paths["1"] == "a/CANARIA_19501224_L_CC.dcm"
    assert paths["10"] == "d_QUINTESSA_19501224.dcm"


def test_maps_are_named_by_content_and_listed(workspace, runs, films):
    write_exam(films / "b", 1, BurnedInAnnotation="YES")
    made = predict_batch(workspace, runs, films, BatchOptions(gradcam=True, method="layercam"))
    batch = load_batch(workspace, made["name"])
    pictures = sorted(path.name for path in (batch.summary.folder / "maps").iterdir())
    assert pictures == sorted(row["gradcam"] for row in batch.films if row.get("gradcam"))
    assert pictures == sorted(f"film_{row['film_id']}_{row['predicted']}.png" for row in batch.films if row.get("map"))
    assert (made["counts"]["maps"], len(pictures)) == (5, 5)
    assert all("burned into" in row["map_note"] for row in batch.films[4:8])


def test_a_map_that_fails_is_counted_and_leaves_the_prediction(workspace, tmp_path):
    write_model_run(workspace, arch="xcit_nano_12_p16_224")  # its last layer yields tokens, not a grid
    write_exam(tmp_path / "in", 0)
    made = predict_batch(workspace, ["exp/seed_42"], tmp_path / "in", BatchOptions(gradcam=True))
    assert (made["counts"]["map_failures"], made["counts"]["failed"], made["counts"]["maps"]) == (4, 0, 0)
    assert all("No map could be made" in row["error"] and row["predicted"] for row in load_batch(workspace, made["name"]).films)


def test_cells_that_a_spreadsheet_would_run_are_made_harmless(workspace, tmp_path):
    write_model_run(workspace, class_names=("=A()", "+B"))
    folder = tmp_path / "in"
    write_exam(folder, 0)
    (folder / "=cmd.png").write_bytes(b"no picture")
    made = predict_batch(workspace, ["exp/seed_42"], folder, BatchOptions(name="out"))
    target = workspace.reports / "predictions" / "out"
    assert {row["predicted"] for row in table_of(target / "predictions.csv")} <= {"'=A()", "'+B", ""}
    assert {row["predicted"] for row in table_of(target / "exams.csv")} <= {"'=A()", "'+B"}
    assert "'=cmd.png" in (target / "files.csv").read_text()
    assert made["counts"]["failed"] == 1


def test_the_screen_finds_the_file_of_each_number_whatever_it_is_called(tmp_path):
    names = ["=cmd.png", "a#1/b, c.dcm", 'say "x".png']
    write_files_table(tmp_path, names)
    assert film_paths(tmp_path) == dict(enumerate(names, start=1))
    (tmp_path / "files.csv").write_text("broken")
    assert film_paths(tmp_path) == {}


def test_films_are_grouped_as_the_user_says(workspace, runs, films):
    one = predict_batch(workspace, runs, films, BatchOptions(grouping="one"))
    assert [exam["films"] for exam in load_batch(workspace, one["name"]).exams] == [list(range(1, 10))]
    by_folder = predict_batch(workspace, runs, films, BatchOptions(grouping="folder"))
    exams = load_batch(workspace, by_folder["name"]).exams
    assert [exam["films"] for exam in exams] == [[1, 2, 3, 4], [5, 6, 7, 8], [9]]
    assert {exam["basis"] for exam in exams} == {"named"}


def test_a_batch_of_nothing_but_failures_is_an_error_that_keeps_its_reasons(workspace, runs, tmp_path):
    folder = tmp_path / "CANARIA"
    folder.mkdir()
    (folder / "QUINTESSA.dcm").write_bytes(b"")
    with pytest.raises(DataError, match="Not one of 1 films could be predicted; the first reason: Film 1 cannot be used"):
        predict_batch(workspace, runs, folder, BatchOptions(name="bad"))
    batch = load_batch(workspace, "bad")
    assert (batch.summary.state, batch.summary.failed, len(batch.films)) == ("failed", 1, 1)


def test_what_cannot_be_predicted_on_is_refused_without_naming_the_folder(workspace, runs, tmp_path):
    (tmp_path / "CANARIA").mkdir()
    for folder, words in ((tmp_path / "CANARIA", "holds no film"), (tmp_path / "absent_CANARIA", "no such folder")):
        with pytest.raises(DataError, match=words) as caught:
            predict_batch(workspace, runs, folder)
        assert "CANARIA" not in str(caught.value)
    write_exam(tmp_path / "in", 0)
    with pytest.raises(RunNotFound):
        predict_batch(workspace, ["exp/none"], tmp_path / "in")
    with pytest.raises(ConfigError, match="map method"):
        predict_batch(workspace, runs, tmp_path / "in", BatchOptions(method="magic"))
    with pytest.raises(ConfigError, match="rule 'best'"):
        predict_batch(workspace, runs, tmp_path / "in", BatchOptions(rule="best"))
    with pytest.raises(ConfigError, match="grouped by"):
        predict_batch(workspace, runs, tmp_path / "in", BatchOptions(grouping="moon"))
    with pytest.raises(NameNotAllowed):
        predict_batch(workspace, runs, tmp_path / "in", BatchOptions(name="../out"))
    assert list_batches(workspace) == []


def test_a_job_takes_its_request_and_overwrites_nothing(workspace, runs, tmp_path):
    write_exam(tmp_path / "in", 0)
    request = {"runs": runs, "folder": str(tmp_path / "in"), "grouping": "study", "gradcam": False, "name": "june"}
    progress = []
    results = [run_batch(workspace, request, lambda done, total: progress.append(done)) for _ in range(2)]
    assert [result["name"] for result in results] == ["june", "june_2"]
    assert results[0]["predicted"] == 4
    assert progress == [1, 2, 3, 4] * 2
    json.dumps(results, allow_nan=False)


def test_what_is_there_is_saved_while_the_batch_goes_on_and_no_film_is_held(workspace, runs, films, monkeypatch):
    monkeypatch.setattr(prediction_batches, "SAVE_SECONDS", 0.0)
    seen, held = [], []

    def alive():
        return sum(type(thing) is Film for thing in gc.get_objects())

    def look(done, total):
        (batch,) = list_batches(workspace)
        seen.append((batch.state, batch.films, batch.predicted, len(load_batch(workspace, batch.name).films)))
        held.append(alive() - before)

    gc.collect()
    before = alive()  # other tests may keep some
    predict_batch(workspace, runs, films, progress=look)
    assert seen == [("unfinished", 10, min(n, 9), n) for n in range(1, 11)]
    assert max(held) <= 4, held  # of 9: the one in hand and those read ahead
    (batch,) = list_batches(workspace)
    assert batch.state == "finished"


def test_batches_are_listed_newest_first_and_broken_ones_say_so(workspace, runs, tmp_path):
    assert list_batches(workspace) == []
    write_exam(tmp_path / "in", 0)
    predict_batch(workspace, runs, tmp_path / "in", BatchOptions(name="first"))
    folder = workspace.reports / "predictions"
    for name in ("second", "third", "fourth"):
        shutil.copytree(folder / "first", folder / name)
    for name, stamp in (("first", "2026-01-01"), ("second", "2026-02-01"), ("third", "2026-03-01")):
        summary = json.loads((folder / name / "batch.json").read_text())
        (folder / name / "batch.json").write_text(json.dumps(summary | {"made_at": stamp}))
    (folder / "fourth" / "batch.json").write_text("{")
    kept = json.loads((folder / "third" / "predictions.json").read_text())["films"][0]
    edited = {"films": [1, {"film": 2}, kept | {"unfamiliar": {"flagged": []}}, kept], "exams": [{"exam": "Exam 1"}]}
    (folder / "third" / "predictions.json").write_text(json.dumps(edited))
    (folder / "second" / "predictions.json").write_text("[")
    (folder / "empty").mkdir()
    (folder / "stray.txt").write_text("x")
    listed = list_batches(workspace)
    assert [(batch.name, batch.state) for batch in listed if batch.made_at] == [
        ("third", "finished"), ("second", "finished"), ("first", "finished"),
    ]  # fmt: skip
    assert {batch.name for batch in listed if batch.state == "unreadable"} == {"fourth", "empty"}
    assert all(batch.problem for batch in listed if batch.state == "unreadable")
    assert (listed[0].predicted, listed[0].exams, listed[0].runs) == (4, 1, RUNS)
    third = load_batch(workspace, "third")
    assert (third.films, third.exams) == ((kept,), ())
    assert third.problem.startswith("4 entries of predictions.json are no results")
    assert load_batch(workspace, "first").problem == ""
    second = load_batch(workspace, "second")
    assert (second.films, "not readable as JSON" in second.problem) == ((), True)
    for name in ("gone", "../x"):
        with pytest.raises(DataError, match="no prediction batch"):
            load_batch(workspace, name)


@pytest.mark.skipif(os.name == "nt", reason="file names are text there")
def test_a_file_name_that_is_no_text_stops_nothing(workspace, runs, tmp_path):
    folder = tmp_path / "in"
    write_exam(folder, 0)
    with open(os.fsencode(folder) + b"/z\xff.png", "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\nbroken")
    made = predict_batch(workspace, runs, folder)
    target = workspace.reports / "predictions" / made["name"]
    assert r"z\xff.png" in (target / "files.csv").read_text()
    assert load_batch(workspace, made["name"]).films[4]["error"].startswith("Film 5 cannot be used")


def test_rows_of_the_command_line_tell_of_exam_and_breast_beside_the_agreed_keys(workspace, runs, films, tmp_path):
    answer = predict_exams(workspace, runs, [films], Maps(tmp_path / "maps", "layercam"))
    agreed = {"image", "predicted", "probabilities", "spread", "unfamiliar", "warnings", "runs", "error"}
    assert all(agreed <= set(row) for row in answer.rows)
    first, damaged, lone = answer.rows[0], answer.rows[-1], answer.rows[8]
    assert first["image"] == str(films / "a" / "CANARIA_19501224_L_CC.dcm")
    assert (first["exam"]["name"], first["exam"]["films"], first["breast"]["name"]) == ("Exam 1", 4, "Exam 1, left breast")
    assert [lone[key] for key in ("exam", "breast", "left_out")] == [None] * 3
    assert [damaged[key] for key in ("exam", "side", "predicted")] == [None] * 3
    assert predict_exams(workspace, runs, [films / "a"]).rows[0]["exam"] == first["exam"]
    json.dumps(answer.rows, allow_nan=False)


def test_the_means_are_printed_a_line_each_and_films_that_stand_alone_say_nothing_twice(workspace, runs, films):
    lines = exam_lines(predict_exams(workspace, runs, [films]).exams)
    assert len([line for line in lines if line.startswith("Exam")]) == 2
    assert lines[0].startswith("Exam 1: ")
    assert "SD 0." in lines[0]
    assert "Mean of 4 films (film 1: L CC, film 2: L MLO, film 3: R CC, film 4: R MLO)." in lines[0]
    assert sum(line.startswith(("  left breast: ", "  right breast: ")) for line in lines) == 4
    assert not any("Exam 3" in line for line in lines)
    with pytest.raises(ConfigError, match="grouped by"):
        predict_exams(workspace, runs, [films], grouping="moon")


def lesion_run(workspace):
    """A run with enough validation films for thresholds of films."""
    run = write_run(
        workspace.experiments / "lesion" / "seed_42",
        seed=42, class_names=("Normal", "Benign", "Malignant"), epochs=3, replicates=10, patients=160,
    )  # fmt: skip
    write_model(run, run.config().replace(arch=ARCH, image_size=(96, 96)), 42)
    return run.id


def test_a_batch_holds_every_film_breast_and_exam_against_the_threshold_of_the_rule(workspace, tmp_path):
    write_exam(tmp_path / "in", 0)
    (tmp_path / "in" / "z.dcm").write_bytes(b"DICM")
    run = lesion_run(workspace)
    keep_model(workspace, [run], "klesion")
    made = predict_batch(workspace, ["model:klesion"], tmp_path / "in", BatchOptions(rule="sensitivity_90"))
    assert (made["model"], made["rule"]) == ("klesion (kept model)", "sensitivity_90")
    batch = load_batch(workspace, made["name"])
    assert (batch.summary.model, batch.summary.rule, batch.problem) == ("klesion (kept model)", "sensitivity_90", "")
    answer = predict_exams(workspace, [run], [tmp_path / "in"])
    expected = rows_with_thresholds(answer, "sensitivity_90")
    assert [(row["threshold"], row["threshold_reason"]) for row in batch.films] == [
        (row["threshold"], row["threshold_reason"]) for row in expected
    ]
    assert all(row["threshold"]["score"] == row["raw_probabilities"]["Malignant"] for row in batch.films[:4])
    assert (batch.films[4]["threshold"], batch.films[4]["threshold_reason"]) == (None, None)
    (exam,) = batch.exams
    for group in (exam["whole"], *exam["breasts"]):
        assert (group["threshold"] is None) != (group["threshold_reason"] is None)

    rows, exams = (table_of(batch.summary.folder / name) for name in ("predictions.csv", "exams.csv"))
    for row, film in zip(rows[:4], batch.films, strict=False):
        judged = film["threshold"]
        assert [float(row["score"]), float(row["threshold"])] == pytest.approx([judged["score"], judged["threshold"]])
        assert (row["question"], row["rule"], row["called"]) == (judged["question"], "sensitivity_90", str(judged["called"]))
    assert {(row["model"], row["model_id"]) for row in (*rows, *exams)} == {(made["model"], answer.rows[0]["model_id"])}
    assert [float(row["temperature"]) for row in (*rows, *exams)] == pytest.approx([answer.backing.temperature] * 8)
    assert exams[1]["views"] == "film 1: L CC, film 2: L MLO"
    assert exams[1]["film_ids"] == f"{batch.films[0]['film_id']}, {batch.films[1]['film_id']}"
    assert {"question", "score", "threshold", "rule", "called", "threshold_reason"} <= set(exams[0])


def test_an_exam_of_one_film_is_held_against_the_threshold_once(workspace, tmp_path):
    write_exam(tmp_path / "in", 0)
    (film, *_) = sorted((tmp_path / "in").iterdir())
    answer = predict_exams(workspace, [lesion_run(workspace)], [film])
    *judged, scaling = threshold_words(answer)
    assert [words.startswith(f"{film}: Score for Malignant") for words in judged] == [True]
    assert scaling == answer.backing.scaling_words
