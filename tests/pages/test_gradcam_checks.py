"""Grad-CAM: the views Localisation and Sanity check, and what the other views say of them."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import pandas as pd
import pytest
from model_in_workspace import CLASSES, finished_run
from PIL import Image
from streamlit.testing.v1 import AppTest

from make_map_checks import localisation_record, repeated, sanity_record, write_localisation, write_sanity
from make_models import write_drawn_dataset
from mammo_core.reading import read_text_table
from mammo_core.runs.queue import list_requests, update
from mammo_core.runs.run_dir import RunDir
from mammo_core.settings import RESEARCH_ONLY, Workspace
from mammo_core.storage import write_json, write_table, write_yaml

OpenPage = Callable[..., AppTest]
Read = Callable[[AppTest], str]

LOCALISATION, SANITY = {"gradcam_view": "Localisation"}, {"gradcam_view": "Sanity check"}


def lesion_run(workspace: Workspace, outlines: int = 2) -> RunDir:
    """A run that judges lesions, whose first validation films have an outline in the table."""
    run = finished_run(workspace, films=4)
    write_yaml(run.config_file, run.config().replace(task="lesion").to_dict())
    table = workspace.dataset("phantoms") / "paths.csv"
    paths = read_text_table(table)
    write_table(table, paths.assign(mask_path=["m.png"] * outlines + [""] * (len(paths) - outlines)))
    return run


def density_run(workspace: Workspace) -> RunDir:
    run = finished_run(workspace, films=2)
    write_yaml(run.config_file, run.config().replace(task="density").to_dict())
    return run


def button(app: AppTest, label: str):  # type: ignore[no-untyped-def]
    return next(item for item in app.button if item.label == label)


def words(read: Read, app: AppTest) -> str:
    return read(app).replace("\\", "")


def downloads(app: AppTest) -> list[str]:
    return [item.proto.label for item in app.get("download_button")]


# ---- localisation ------------------------------------------------------------------------------------------------------------


def test_before_a_measurement_localisation_says_what_it_is_and_how_long_it_takes(
    open_page: OpenPage, read: Read, workspace: Workspace
) -> None:
    run = lesion_run(workspace)
    app = open_page("gradcam", LOCALISATION)
    assert not app.exception
    text = words(read, app)
    assert f"2 films of {len(run.predictions('val'))} here have a lesion outline" in text
    assert "It takes about" in text
    button(app, "Measure the maps").click().run()
    (request,) = list_requests(workspace)
    assert request.kind == "localisation"
    assert request.arguments == {"run": run.id, "on": "val", "method": "gradcam"}


def test_a_measurement_under_way_shows_its_progress_and_cannot_be_asked_for_twice(
    open_page: OpenPage, read: Read, workspace: Workspace
) -> None:
    lesion_run(workspace)
    button(open_page("gradcam", LOCALISATION), "Measure the maps").click().run()
    (request,) = list_requests(workspace)
    update(workspace, request.id, state="running", done=1, total=2)
    app = open_page("gradcam", LOCALISATION)
    assert not app.exception
    assert "You can leave this page." in read(app)
    assert button(app, "Measure the maps").disabled
    layercam = open_page("gradcam", {**LOCALISATION, "gradcam_method": "LayerCAM"})
    assert "You can leave this page." not in read(layercam)


def test_a_failed_measurement_is_told_in_words(open_page: OpenPage, workspace: Workspace) -> None:
    lesion_run(workspace)
    button(open_page("gradcam", LOCALISATION), "Measure the maps").click().run()
    (request,) = list_requests(workspace)
    update(workspace, request.id, state="failed", message="Not one of 2 films could be measured.")
    app = open_page("gradcam", LOCALISATION)
    assert [error.value for error in app.error] == ["Not one of 2 films could be measured."]
    update(workspace, request.id, message="One is lost.", result={"failures": [{"image": "x", "error": "y"}]})
    app = open_page("gradcam", LOCALISATION)
    assert not app.error
    assert "One is lost." in [warning.value for warning in app.warning]


def test_localisation_shows_sentences_then_tables_then_the_films(open_page: OpenPage, read: Read, workspace: Workspace) -> None:
    write_localisation(workspace, lesion_run(workspace))
    app = open_page("gradcam", LOCALISATION)
    assert not app.exception
    text = words(read, app)
    assert "The map points at the lesion in 60% of 9 films." in text
    assert "9 films of 4 patients" in text
    assert "i99: The outline is gone." in text
    assert RESEARCH_ONLY in text
    values, gains, sizes, films = (element.value for element in app.dataframe)
    assert values.columns.tolist() == ["Measure", "Grad-CAM", "Whole breast", "Centre point", "Blur round the centre"]
    assert gains.loc[0, "Whole breast"] == "+35 % (+25 to +45)"
    assert sizes["Lesions"].tolist()[1] == "Small, up to 30 mm²"
    assert films["Film"].tolist() == ["i1", "i4", "i3", "i2"]
    assert {"All numbers (CSV)", "Download CSV"} <= set(downloads(app))
    app.button_group(key="localisation_order").set_value("best").run()
    assert app.dataframe[3].value["Film"].tolist()[0] == "i2"
    app.selectbox(key="localisation_measure").set_value("energy").run()
    assert not app.exception


def test_a_measured_film_opens_with_the_map_that_was_measured(open_page: OpenPage, workspace: Workspace) -> None:
    run = lesion_run(workspace)
    row = run.predictions("val").iloc[0]
    other = next(name for name in CLASSES if name != row["y_pred"])
    film = {**localisation_record()["films"][0], "image_id": row["image_id"], "class_name": other}
    write_localisation(workspace, run, films=[film])
    app = open_page("gradcam", LOCALISATION)
    app.session_state["localisation_films_worst"] = {"selection": {"rows": [0], "columns": [], "cells": []}}
    app.run()
    button(app, f"Open {row['image_id']}").click().run()
    assert not app.exception
    assert app.button_group(key="gradcam_view").value == "One film"
    assert len(app.get("bidi_component")) == 1
    assert app.selectbox(key=f"gradcam_{row['image_id']}_class").value == other


def test_a_density_run_is_told_why_it_is_not_measured(open_page: OpenPage, read: Read, workspace: Workspace) -> None:
    density_run(workspace)
    app = open_page("gradcam", LOCALISATION)
    assert not app.exception
    assert "This run judges breast density." in read(app)
    assert "Measure the maps" not in [item.label for item in app.button]


def test_films_without_an_outline_cannot_be_measured(open_page: OpenPage, read: Read, workspace: Workspace) -> None:
    lesion_run(workspace, outlines=0)
    app = open_page("gradcam", LOCALISATION)
    assert "has a lesion outline, so there is nothing to measure maps against" in read(app)
    assert button(app, "Measure the maps").disabled
    on_test = open_page("gradcam", {**LOCALISATION, "gradcam_on": "Test films"})
    assert not on_test.exception
    assert "no predictions on the test films yet" in read(on_test)


def test_a_measurement_is_shown_when_its_data_set_is_gone(open_page: OpenPage, read: Read, workspace: Workspace) -> None:
    run = lesion_run(workspace)
    write_localisation(workspace, run)
    shutil.rmtree(workspace.dataset("phantoms"))
    app = open_page("gradcam", LOCALISATION)
    assert not app.exception
    assert "no data set" in app.error[0].value
    assert "The map points at the lesion in 60% of 9 films." in words(read, app)


@pytest.mark.parametrize("query", [LOCALISATION, SANITY])
def test_a_broken_record_is_told_in_words_and_the_check_can_be_made_anew(
    open_page: OpenPage, workspace: Workspace, query: dict[str, str]
) -> None:
    run = lesion_run(workspace)
    for write in (write_localisation, write_sanity):
        write(workspace, run).write_text('{"run": "x"}')
    app = open_page("gradcam", query)
    assert not app.exception
    assert "Make the check again" in app.error[0].value.replace("\\", "")
    assert not button(app, "Measure the maps" if query is LOCALISATION else "Check the maps").disabled


# ---- sanity check ------------------------------------------------------------------------------------------------------------


def test_before_a_sanity_check_it_says_what_it_is_and_how_long_it_takes(
    open_page: OpenPage, read: Read, workspace: Workspace
) -> None:
    run = density_run(workspace)
    app = open_page("gradcam", SANITY)
    assert not app.exception
    assert "whether they depend on what the model has learnt" in read(app)
    assert "It takes about" in read(app)
    app.number_input(key="sanity_films").set_value(20)
    app.number_input(key="sanity_road").set_value(0)
    button(app, "Check the maps").click().run()
    (request,) = list_requests(workspace)
    assert request.kind == "sanity"
    assert request.arguments == {"run": run.id, "on": "val", "method": "gradcam", "films": 20, "road_films": 0, "seed": 0}


def test_a_sanity_check_under_way_or_failed_is_seen(open_page: OpenPage, read: Read, workspace: Workspace) -> None:
    density_run(workspace)
    button(open_page("gradcam", SANITY), "Check the maps").click().run()
    (request,) = list_requests(workspace)
    update(workspace, request.id, state="running", done=3, total=99)
    app = open_page("gradcam", SANITY)
    assert "The maps are being checked. You can leave this page." in read(app)
    assert button(app, "Check the maps").disabled
    update(workspace, request.id, state="failed", message="The memory ran out.")
    app = open_page("gradcam", SANITY)
    assert [error.value for error in app.error] == ["The memory ran out."]


def test_each_test_has_its_outcome_in_words_and_a_sign_with_its_numbers(
    open_page: OpenPage, read: Read, workspace: Workspace
) -> None:
    run = density_run(workspace)
    write_sanity(workspace, run, tests={**sanity_record()["tests"], "repeatability": repeated(None)})
    app = open_page("gradcam", SANITY)
    assert not app.exception
    headings = [heading.value for heading in app.subheader]
    assert headings == [
        ":material/check_circle: Randomisation: passed",
        ":material/help: Repeatability: not decided",
        ":material/cancel: Faithfulness: failed",
    ]
    text = words(read, app)
    assert "Read these maps with reserve: they failed faithfulness." in text
    assert "Runs compared: density/seed_42, density/seed_43" in text
    assert "2 films left out: the map shows nothing there." in text
    assert "Left out of repeatability: density/seed_43: It is broken." in text
    assert len(app.get("vega_lite_chart")) == 3
    assert app.dataframe[0].value["Map"].tolist()[0] == "Grad-CAM"
    assert "All numbers (CSV)" in downloads(app)


def test_a_test_that_was_not_made_says_why_and_draws_nothing(open_page: OpenPage, read: Read, workspace: Workspace) -> None:
    write_sanity(workspace, density_run(workspace))
    app = open_page("gradcam", SANITY)
    assert ":material/remove_circle: Repeatability: not tested" in [heading.value for heading in app.subheader]
    assert "No other run." in read(app)
    assert len(app.get("vega_lite_chart")) == 2


def test_a_check_of_earlier_weights_is_marked(open_page: OpenPage, workspace: Workspace) -> None:
    run = density_run(workspace)
    write_sanity(workspace, run, epoch=99)
    app = open_page("gradcam", SANITY)
    assert any("epoch 99" in warning.value for warning in app.warning)


def test_without_predictions_no_check_is_offered(open_page: OpenPage, read: Read, workspace: Workspace) -> None:
    density_run(workspace)
    app = open_page("gradcam", {**SANITY, "gradcam_on": "Test films"})
    assert "no predictions on the test films yet" in read(app)
    assert button(app, "Check the maps").disabled


# ---- the other views ---------------------------------------------------------------------------------------------------------


def test_under_a_map_stands_what_the_checks_have_shown(open_page: OpenPage, read: Read, workspace: Workspace) -> None:
    run = lesion_run(workspace)
    film = str(run.predictions("val")["image_id"].iloc[0])
    app = open_page("gradcam", {"gradcam_film": film})
    assert not app.exception
    assert "Sanity check of this run: not checked yet." in read(app)
    assert "Localisation of this run: not measured yet." in read(app)
    write_sanity(workspace, run)
    app = open_page("gradcam", {"gradcam_film": film})
    assert "Sanity check of this run: randomisation passed, repeatability not tested, faithfulness failed." in read(app)
    assert {"Sanity check", "Localisation"} <= {link.proto.label for link in app.get("page_link")}


def test_predictions_on_another_data_set_can_be_chosen(open_page: OpenPage, workspace: Workspace) -> None:
    run = lesion_run(workspace)
    write_drawn_dataset(workspace, {"clinic1": "A", "clinic2": "B"}, CLASSES, "clinic")
    rows = [("clinic1", "p1", "1", "A", "A", 0.8, 0.1, 0.1), ("clinic2", "p2", "1", "B", "A", 0.7, 0.2, 0.1)]
    columns = ["image_id", "patient_id", "center", "y_true", "y_pred", *(f"prob_{name}" for name in CLASSES)]
    write_table(run.predictions_file("dataset_clinic"), pd.DataFrame(rows, columns=columns))
    app = open_page("gradcam", {"gradcam_on": "Films of clinic", "gradcam_film": "clinic2"})
    assert not app.exception
    assert not app.error
    assert app.dataframe[0].value["Film"].tolist() == ["clinic1", "clinic2"]
    assert len(app.get("bidi_component")) == 1
    app = open_page("gradcam", {"gradcam_on": "Films of clinic", "gradcam_view": "Gallery"})
    button(app, "Make the gallery").click().run()
    assert list_requests(workspace)[0].arguments["on"] == "dataset_clinic"


def test_a_part_that_another_run_lacks_gives_way_to_the_validation_films(open_page: OpenPage, workspace: Workspace) -> None:
    run = lesion_run(workspace)
    finished_run(workspace, "other/seed_1")
    run.predictions_file("dataset_clinic").write_bytes(run.predictions_file("val").read_bytes())
    app = open_page("gradcam", {"gradcam_run": run.id, "gradcam_on": "Films of clinic"})
    assert app.button_group(key="gradcam_on").value == "dataset_clinic"
    app.selectbox(key="gradcam_run").set_value("other/seed_1").run()
    assert not app.exception
    assert app.button_group(key="gradcam_on").value == "val"
    app = open_page("gradcam", {"gradcam_run": "other/seed_1", "gradcam_on": "Films of nowhere"})
    assert not app.exception
    assert app.button_group(key="gradcam_on").value == "val"


def test_a_gallery_can_be_downloaded_as_png_pdf_and_table(open_page: OpenPage, read: Read, workspace: Workspace) -> None:
    finished_run(workspace)
    folder = workspace.reports / "gradcam" / "density" / "seed_42" / "val_gradcam"
    folder.mkdir(parents=True)
    Image.new("RGB", (40, 30)).save(folder / "gallery.png")
    (folder / "gallery.pdf").write_bytes(b"%PDF-1.4")
    items = [{"image": "f1", "class": "A", "kind": "missed", "listed_under": "A", "error": None}]
    write_json(folder / "gallery.json", {"items": items, "meaning": "What it means.", "disclaimer": RESEARCH_ONLY})
    app = open_page("gradcam", {"gradcam_view": "Gallery"})
    assert not app.exception
    assert downloads(app) == ["Download PNG (300 ppi)", "Download PDF (300 ppi)", "List of films (CSV)"]
    assert "1 stand under the class that they are (false negatives for it)" in words(read, app)
    (folder / "gallery.png").write_bytes(b"no picture")
    app = open_page("gradcam", {"gradcam_view": "Gallery"})
    assert not app.exception
    assert "The sheet is damaged" in app.error[0].value
    (folder / "gallery.json").write_text("{")
    app = open_page("gradcam", {"gradcam_view": "Gallery"})
    assert not app.exception
    assert "Make the gallery again." in app.error[0].value
