"""The commands around kept models, in one process as ``main`` runs them: exit codes, one line on errors, JSON."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from PIL import Image

from make_films import drawn_film, write_dicom
from make_models import ARCH, write_model
from make_runs import write_run
from mammo_core.analysis.temperature import apply_temperature
from mammo_core.cli import main
from mammo_core.settings import RESEARCH_ONLY
from mammo_core.storage import write_table


@pytest.fixture
def run_main(workspace, monkeypatch, capsys):
    """``run_main("models", "--json")`` -> exit code, stdout, stderr."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["mammography", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return ended.value.code or 0, out, err

    return call


@pytest.fixture
def trained(workspace):
    run = write_run(
        workspace.experiments / "lesion" / "seed_42",
        class_names=("Normal", "Benign", "Malignant"), epochs=3, replicates=10, patients=160,
    )  # fmt: skip
    write_model(run, run.config().replace(arch=ARCH, image_size=(96, 96)), 42)
    write_table(
        run.predictions_file("val"), apply_temperature(run.predictions("val"), run.config().class_names, 0.08)
    )  # too sure
    return run


@pytest.fixture
def film(tmp_path):
    path = tmp_path / "film.png"
    Image.fromarray(np.rint(drawn_film((160, 128), "left", reach=0.5) * 255).astype(np.uint8)).save(path)
    return path


def test_a_model_is_kept_listed_exported_and_imported(run_main, workspace, trained, tmp_path):
    code, out, _ = run_main("keep-model", "lesion/seed_42", "--name", "first", "--json")
    assert code == 0
    record = json.loads(out)
    assert record["task"] == "lesion"
    assert run_main("export-model", "first", "--out", tmp_path / "out.mammotrace")[0] == 0
    code, out, _ = run_main("import-model", tmp_path / "out.mammotrace", "--name", "second", "--json")
    assert (code, json.loads(out)["model_id"]) == (0, record["model_id"])
    code, out, _ = run_main("models", "--json")
    assert [model["name"] for model in json.loads(out)] == ["first", "second"]
    code, out, err = run_main("models")
    assert "Converged?" in out


def test_a_kept_model_predicts_as_its_run_does_with_threshold_and_temperature(run_main, trained, film):
    run_main("keep-model", "lesion/seed_42", "--name", "first")
    code, out, err = run_main("predict", film, "--model", "first", "--json")
    (of_model,) = json.loads(out)
    (of_run,) = json.loads(run_main("predict", film, "--run", "lesion/seed_42", "--json")[1])
    assert code == 0
    assert of_model["probabilities"] == of_run["probabilities"]
    assert of_model["temperature"] != 1
    assert of_model["raw_probabilities"] != of_model["probabilities"]
    assert set(of_model["threshold"]) >= {"score", "threshold", "sensitivity", "specificity", "called", "rule"}
    assert RESEARCH_ONLY in err or RESEARCH_ONLY in out


def test_the_rule_of_the_threshold_can_be_chosen_and_a_wrong_one_is_refused(run_main, trained, film):
    (row,) = json.loads(run_main("predict", film, "--run", "lesion/seed_42", "--rule", "sensitivity_90", "--json")[1])
    assert row["threshold"]["rule"] == "sensitivity_90"
    assert row["threshold"]["sensitivity"]["value"] >= 0.9
    code, _, err = run_main("predict", film, "--run", "lesion/seed_42", "--rule", "best")
    assert code == 2
    assert "sensitivity_90" in err


def test_views_of_an_exam_are_averaged_in_words(run_main, trained, tmp_path):
    folder = tmp_path / "films"
    folder.mkdir()
    for number, (side, view) in enumerate([("L", "CC"), ("L", "MLO")]):
        pixels = np.rint(drawn_film((160, 128), "left", reach=0.5, seed=number) * 4095).astype(np.uint16)
        write_dicom(folder / f"{view}.dcm", pixels, StudyInstanceUID="1.2.3", ImageLaterality=side, ViewPosition=view)
    code, out, err = run_main("predict", folder, "--run", "lesion/seed_42")
    assert code == 0
    assert "Exam 1" in out
    assert "Score for Malignant" in out


@pytest.mark.parametrize("names", [(), ("--run", "lesion/seed_42", "--model", "first")], ids=["nothing", "both"])
def test_either_runs_or_one_model_must_be_named(run_main, trained, film, names):
    code, _, err = run_main("predict", film, *names)
    assert code == 2
    assert "--model" in err


def test_a_film_that_cannot_be_read_fails_the_command_and_not_the_others(run_main, trained, film, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no film")
    code, out, _ = run_main("predict", film, bad, "--run", "lesion/seed_42", "--json")
    good, failed = json.loads(out)
    assert code == 1
    assert good["error"] is None
    assert failed["error"] and failed["threshold"] is None


def test_a_foreign_file_is_refused_in_one_line(run_main, trained, film):
    code, out, err = run_main("import-model", film, "--name", "x")
    assert code == 1
    assert not out
    assert err.strip().splitlines()[-1].startswith("Error: film.png is not a model file")
