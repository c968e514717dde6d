"""Predict: uploads of every kind, and what the page says about them."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from model_in_workspace import finished_run
from PIL import Image
from streamlit.testing.v1 import AppTest

from make_films import drawn_film
from mammo_core.settings import RESEARCH_ONLY, Workspace

OpenPage = Callable[..., AppTest]
Read = Callable[[AppTest], str]


def film_png(seed: int = 1) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.rint(drawn_film((160, 128), "left", reach=0.5, seed=seed) * 255).astype(np.uint8)).save(
        buffer, format="PNG"
    )
    return buffer.getvalue()


def upload(app: AppTest, *files: tuple[str, bytes]) -> AppTest:
    widget = app.file_uploader(key="predict_files")
    widget.set_value([(name, content, "application/octet-stream") for name, content in files])
    return app.run()


def test_without_a_model_it_leads_to_training(open_page: OpenPage, read: Read) -> None:
    app = open_page("predict")
    assert not app.exception
    assert "no trained model yet" in read(app)
    assert RESEARCH_ONLY in read(app)


def test_the_model_is_named_with_task_data_and_quality(open_page: OpenPage, read: Read, workspace: Workspace) -> None:
    finished_run(workspace)
    app = open_page("predict")
    assert not app.exception
    text = read(app).replace("\\", "")
    assert "lesion (A / B / C)" in text
    assert "data phantoms" in text
    assert "validation AUC" in text


def test_one_film_gets_class_probability_spread_map_and_the_model_s_identity(
    open_page: OpenPage, read: Read, workspace: Workspace
) -> None:
    for seed in (42, 43):
        finished_run(workspace, f"density/seed_{seed}", seed)
    app = upload(open_page("predict", {"predict_model": "density"}), ("Doe_Jane.png", film_png()))
    assert not app.exception
    assert not app.error
    text = read(app).replace("\\", "")
    assert "### Predicted " in text
    assert "over 2 runs" in text
    assert "not the probability of a disease" in text
    assert "density/seed_42" in text
    assert "density/seed_43" in text
    assert len(app.get("bidi_component")) == 1, "the viewer with film and map"
    assert [item.label for item in app.get("download_button")] == ["PDF", "PNG", "JSON"]
    assert RESEARCH_ONLY in text
    assert "Doe" not in text
    assert not list((workspace.cache / "uploads").iterdir()), "no copy is kept"


def test_several_files_make_a_table_with_a_row_for_each_failure(open_page: OpenPage, read: Read, workspace: Workspace) -> None:
    finished_run(workspace)
    app = upload(open_page("predict"), ("a.png", film_png(1)), ("b.pdf.png", b"%PDF-1.7 no film"), ("=c().png", film_png(2)))
    assert not app.exception
    table = app.dataframe[0].value
    assert table["File"].tolist() == ["a.png", "b.pdf.png", "'=c().png"]
    assert table["Predicted"].tolist()[1] == "not read"
    assert table["What to know"].tolist()[1].startswith("b.pdf.png cannot be used")
    assert "2 films judged, 1 not read" in read(app)
    app.session_state["predict_table"] = {"selection": {"rows": [2], "columns": [], "cells": []}}
    app.run()
    assert not app.exception
    assert len(app.get("bidi_component")) == 1


def test_a_file_that_is_no_film_gets_one_sentence(open_page: OpenPage, workspace: Workspace) -> None:
    finished_run(workspace)
    app = upload(open_page("predict"), ("notes.png", b"these are my notes"))
    assert not app.exception
    (error,) = app.error
    assert error.value.replace("\\", "").startswith("notes.png cannot be used")


def test_a_half_written_checkpoint_is_told_in_words(open_page: OpenPage, workspace: Workspace) -> None:
    run = finished_run(workspace)
    run.best_model.write_bytes(run.best_model.read_bytes()[:2000])
    app = upload(open_page("predict"), ("a.png", film_png()))
    assert not app.exception
    assert any("checkpoint" in error.value for error in app.error)


def test_seeds_that_name_other_classes_are_refused_in_words(open_page: OpenPage, workspace: Workspace) -> None:
    from make_models import ARCH, write_model

    finished_run(workspace, "density/seed_42")
    other = finished_run(workspace, "density/seed_43", 43)
    write_model(other, other.config().replace(arch=ARCH, image_size=(96, 96), class_names=("A", "B", "D")), 43)
    app = upload(open_page("predict", {"predict_model": "density"}), ("a.png", film_png()))
    assert not app.exception
    assert any("expected runs of one task" in error.value for error in app.error)


# ---- thresholds, kept models, exams and folders ------------------------------------------------------------------------------


def lesion_runs(workspace: Workspace, seeds: tuple[int, ...] = (42, 43)) -> None:
    """Runs with enough validation films for a temperature and a threshold."""
    from make_models import ARCH, write_model
    from make_runs import write_run

    for seed in seeds:
        run = write_run(
            workspace.experiments / "lesion" / f"seed_{seed}",
            seed=seed, class_names=("Normal", "Benign", "Malignant"), epochs=3, replicates=10, patients=160,
        )  # fmt: skip
        write_model(run, run.config().replace(arch=ARCH, image_size=(96, 96)), seed)


def test_the_score_is_held_against_a_threshold_that_the_reader_can_choose(
    open_page: OpenPage, read: Read, workspace: Workspace
) -> None:
    lesion_runs(workspace)
    app = upload(open_page("predict", {"predict_model": "lesion"}), ("a.png", film_png()))
    assert not app.exception
    text = read(app).replace("\\", "")
    assert "Score for Malignant" in text
    assert "largest sensitivity + specificity" in text
    assert "sensitivity" in text and "specificity" in text
    assert "temperature-scaled" in text
    app.selectbox(key="predict_rule").set_value("specificity_90").run()
    assert not app.exception
    assert "(specificity at least 90 %)" in read(app).replace("\\", "")


def test_a_kept_model_can_be_chosen_and_answers_without_its_runs(open_page: OpenPage, read: Read, workspace: Workspace) -> None:
    import shutil

    from mammo_core.workflows.model_shelf import keep_model

    lesion_runs(workspace)
    keep_model(workspace, ["lesion/seed_42", "lesion/seed_43"], "frozen")
    shutil.rmtree(workspace.experiments / "lesion")
    app = upload(open_page("predict", {"predict_model": "frozen (kept model)"}), ("a.png", film_png()))
    assert not app.exception
    assert not app.error
    text = read(app).replace("\\", "")
    assert "### Predicted " in text
    assert "lesion/seed_42" in text
    assert "Score for Malignant" in text


def exam_files() -> list[tuple[str, bytes]]:
    """Four views of one study as DICOM."""
    from make_films import write_dicom

    files = []
    with tempfile.TemporaryDirectory() as folder:
        for number, (side, view) in enumerate([("L", "CC"), ("L", "MLO"), ("R", "CC"), ("R", "MLO")]):
            path = Path(folder) / f"{side}_{view}.dcm"
            pixels = drawn_film((160, 128), "left" if side == "L" else "right", reach=0.5, seed=number)
            write_dicom(
                path, np.rint(pixels * 4095).astype(np.uint16),
                PatientID="CANARY_ID", StudyInstanceUID="1.2.3", ImageLaterality=side, ViewPosition=view,
            )  # fmt: skip
            files.append((path.name, path.read_bytes()))
    return files


def test_the_views_of_an_exam_are_averaged_and_said_to_be(open_page: OpenPage, read: Read, workspace: Workspace) -> None:
    lesion_runs(workspace, (42,))
    app = upload(open_page("predict"), *exam_files())
    assert not app.exception
    means = next(item.value for item in app.dataframe if "Mean of" in item.value)
    assert means["Mean of"].tolist() == ["Exam 1", "Exam 1, left breast", "Exam 1, right breast"]
    films = app.dataframe[0].value
    np.testing.assert_allclose(means["p(Malignant)"].iloc[0], films["p(Malignant)"].mean(), atol=6e-4)
    np.testing.assert_allclose(means["p(Malignant)"].iloc[1], films["p(Malignant)"].iloc[:2].mean(), atol=6e-4)
    text = read(app)
    assert "Mean of 4 films" in text
    assert "CANARY" not in text


def test_films_without_a_study_are_averaged_only_when_the_reader_says_so(
    open_page: OpenPage, read: Read, workspace: Workspace
) -> None:
    lesion_runs(workspace, (42,))
    app = upload(open_page("predict"), ("a.png", film_png(1)), ("b.png", film_png(2)))
    assert not any("Mean of" in item.value for item in app.dataframe)
    app.checkbox(key="predict_one_exam").check().run()
    assert not app.exception
    means = next(item.value for item in app.dataframe if "Mean of" in item.value)
    assert means["Mean of"].tolist() == ["Exam 1"]


def test_a_folder_is_queued_and_its_results_are_shown(
    open_page: OpenPage, read: Read, workspace: Workspace, tmp_path: Path
) -> None:
    from mammo_core.runs.queue import list_requests
    from mammo_core.workflows.jobs import run_job

    lesion_runs(workspace, (42,))
    folder = tmp_path / "exams"
    folder.mkdir()
    for name, content in [*exam_files(), ("broken.dcm", b"DICM")]:
        (folder / name).write_bytes(content)
    app = open_page("predict", {"predict_source": "A folder on this computer"})
    assert not app.exception
    app.text_input(key="predict_folder").set_value(str(folder))
    next(item for item in app.button if item.label.startswith("Predict on all")).click().run()
    (request,) = list_requests(workspace)
    assert request.kind == "predict"
    assert run_job(workspace, request.id) == 0
    app = open_page("predict", {"predict_source": "A folder on this computer"})
    assert not app.exception
    assert "4 films judged, 1 not read" in read(app)
    table = app.dataframe[0].value
    assert sorted(table["File"]) == ["L_CC.dcm", "L_MLO.dcm", "R_CC.dcm", "R_MLO.dcm", "broken.dcm"]
    assert (table["Predicted"] == "not read").sum() == 1


def test_a_folder_that_is_not_there_is_told_and_not_queued(open_page: OpenPage, workspace: Workspace) -> None:
    from mammo_core.runs.queue import list_requests

    lesion_runs(workspace, (42,))
    app = open_page("predict", {"predict_source": "A folder on this computer"})
    app.text_input(key="predict_folder").set_value("/no/such/folder")
    next(item for item in app.button if item.label.startswith("Predict on all")).click().run()
    assert not app.exception
    assert "no such folder" in app.error[0].value
    assert list_requests(workspace) == []
