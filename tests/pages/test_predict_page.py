"""Predict: uploads of every kind, and what the page says about them."""

from __future__ import annotations

import io
from collections.abc import Callable

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
    app = upload(open_page("predict"), ("a.png", film_png(1)), ("b.pdf.png", b"%PDF-1.7 no film"), ("c.png", film_png(2)))
    assert not app.exception
    table = app.dataframe[0].value
    assert table["File"].tolist() == ["a.png", "b.pdf.png", "c.png"]
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
