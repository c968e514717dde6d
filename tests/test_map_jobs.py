"""Maps and their checks as queued jobs and as commands: what fails in part is told, and is no success."""

from __future__ import annotations

import json

import pytest
from PIL import Image
from typer.testing import CliRunner

from make_models import CLASSES, write_drawn_dataset, write_model_run
from mammo_core.cli import app
from mammo_core.data.manifest import load_dataset
from mammo_core.runs.queue import TRAINING_KINDS, enqueue, find_request
from mammo_core.storage import write_table
from mammo_core.workflows.jobs import HANDLERS, run_job
from mammo_core.workflows.map_records import localisation_file, sanity_file
from test_gallery import predictions
from test_localisation import write_phantom_run

LABELS = {"i1": "A", "i2": "A", "i3": "B", "i4": "B", "i5": "C", "i6": "C"}


@pytest.fixture
def run(workspace):
    run = write_model_run(workspace)
    write_drawn_dataset(workspace, LABELS, CLASSES)
    write_table(run.predictions_file("val"), predictions())
    return run


def done(workspace, kind, **arguments):
    """The request after its job, and the job's exit code."""
    request = enqueue(workspace, kind, arguments, kind)
    code = run_job(workspace, request.id)
    return find_request(workspace, request.id), code


def command(workspace, *arguments):
    return CliRunner().invoke(app, ["--home", str(workspace.home), *arguments])


def lose(workspace, image_id):
    load_dataset(workspace, "drawn").film_path(image_id).unlink()


# ---- jobs --------------------------------------------------------------------------------------------------------------------


def test_the_checks_of_maps_run_beside_a_training():
    assert {"gallery", "localisation", "sanity"} <= set(HANDLERS)
    assert not {"gallery", "localisation", "sanity"} & TRAINING_KINDS


def test_a_sanity_check_is_a_job_with_its_outcomes_and_progress(workspace, run):
    request, code = done(workspace, "sanity", run=run.id, on="val", method="layercam", films=3, road_films=0, seed=1)
    assert (request.state, code) == ("done", 0)
    assert request.result["outcomes"]["faithfulness"] == "not tested"
    assert request.done == request.total == 1
    record = json.loads(sanity_file(workspace, run, "val", "layercam").read_text())
    assert record["plan"] == {"method": "layercam", "films": 3, "road_films": 0, "seed": 1}


def test_localisation_is_a_job_and_a_lost_outline_makes_it_fail_in_words(workspace):
    run, table, folder = write_phantom_run(workspace, 8)
    request, code = done(workspace, "localisation", run=run.id, on="val", method="gradcam")
    assert (request.state, code, request.result["failures"]) == ("done", 0, [])
    first = table[table["mask"] != ""].iloc[0]
    (folder / first["mask"]).unlink()
    request, code = done(workspace, "localisation", run=run.id, on="val", method="gradcam")
    assert (request.state, code) == ("failed", 1)
    assert request.message.startswith(f"Not all of it could be made; the rest is kept. {first['image_id']}:")
    assert localisation_file(workspace, run, "val", "gradcam").exists()


def test_a_gallery_that_lacks_a_map_has_failed_and_keeps_the_others(workspace, run):
    lose(workspace, "i2")
    request, code = done(workspace, "gallery", run=run.id, on="val", per_class=1)
    assert (request.state, code) == ("failed", 1)
    assert "i2" in request.message and "not where it was" in request.message
    assert request.result["items"] == 6
    assert (workspace.reports / request.result["folder"] / "gallery.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize("kind", ["gallery", "localisation", "sanity"])
def test_work_that_cannot_be_done_fails_with_its_reason_and_leaves_no_record(workspace, run, kind):
    request, code = done(workspace, kind, run=run.id, on="test", method="gradcam")
    assert (request.state, code, request.result) == ("failed", 1, {})
    assert "no predictions on 'test'" in request.message
    assert not list(workspace.reports.rglob("*.json"))


# ---- commands ----------------------------------------------------------------------------------------------------------------


def test_localise_prints_sentences_and_a_table_or_the_record(workspace):
    run, _, _ = write_phantom_run(workspace, 12)
    told = command(workspace, "localise", run.id)
    assert told.exit_code == 0, told.stderr
    assert told.stdout.startswith("The highest point of the map lies in the lesion")
    assert "Whole breast" in told.stdout and "Share of the map inside" in told.stdout
    assert "Research use only" in told.stderr
    record = json.loads(command(workspace, "localise", run.id, "--json", "--method", "layercam").stdout)
    assert (record["run"], record["method"]) == (run.id, "layercam")


def test_localise_exits_1_where_an_outline_cannot_be_used_or_a_run_judges_density(workspace, run):
    refused = command(workspace, "localise", run.id)
    assert refused.exit_code != 0 and "judges density" in str(refused.exception)


def test_localise_exits_1_where_one_outline_is_damaged(workspace):
    run, table, folder = write_phantom_run(workspace, 8)
    first = table[table["mask"] != ""].iloc[0]
    (folder / first["mask"]).write_bytes(b"no picture")
    told = command(workspace, "localise", run.id)
    assert told.exit_code == 1
    assert f"{first['image_id']}: The outline cannot be used as a lesion outline" in told.stderr


def test_one_bit_and_indexed_outlines_are_measured_as_others_are(workspace):
    run, table, folder = write_phantom_run(workspace, 12)
    before = json.loads(command(workspace, "localise", run.id, "--json").stdout)
    for number, name in enumerate(table.loc[table["mask"] != "", "mask"]):
        with Image.open(folder / name) as picture:
            lesion = picture.point(lambda value: 255 if value else 0)
        (lesion.convert("1") if number % 2 else lesion.convert("P")).save(folder / name)
    after = json.loads(command(workspace, "localise", run.id, "--json").stdout)
    assert after == before


def test_sanity_says_each_outcome_in_words_and_exits_0_whatever_it_is(workspace, run):
    told = command(workspace, "sanity", run.id, "--films", "4", "--road-films", "2", "--method", "layercam", "--seed", "2")
    assert told.exit_code == 0, told.stderr
    for line in ("Randomisation: not decided.", "Repeatability: not tested.", "Faithfulness: not decided."):
        assert line in told.stdout
    assert "Nothing is decided yet about these maps." in told.stdout
    record = json.loads(command(workspace, "sanity", run.id, "--films", "4", "--road-films", "0", "--json").stdout)
    assert record["plan"]["films"] == 4


def test_sanity_exits_1_where_a_film_is_lost(workspace, run):
    lose(workspace, "i3")
    told = command(workspace, "sanity", run.id, "--films", "6", "--road-films", "0")
    assert told.exit_code == 1
    assert "i3: " in told.stderr
    assert "Randomisation" in told.stdout


def test_maps_of_another_part_are_chosen_from_its_predictions(workspace, run, tmp_path):
    labels = {"j1": "A", "j2": "B"}
    write_drawn_dataset(workspace, labels, CLASSES, "clinic")
    table = predictions().head(2).assign(image_id=list(labels), y_true=list(labels.values()), y_pred=["A", "A"])
    write_table(run.predictions_file("dataset_clinic"), table)
    made = command(workspace, "gradcam", "--run", run.id, "--on", "clinic", "--out", str(tmp_path / "maps"), "--json")
    assert made.exit_code == 0, made.stderr
    assert {item["image"] for item in json.loads(made.stdout)} == {"j1", "j2"}
    assert len(list((tmp_path / "maps").glob("j*.png"))) >= 2


def test_maps_that_cannot_be_made_exit_1_and_predictions_of_other_classes_are_an_error(workspace, run, tmp_path):
    lose(workspace, "i1")
    made = command(workspace, "gradcam", "--run", run.id, "--images", "i1,i2", "--out", str(tmp_path / "maps"))
    assert made.exit_code == 1
    assert "i1: " in made.stderr
    write_table(run.predictions_file("val"), predictions().assign(y_true="X", y_pred="Y", prob_Y=1.0))
    made = command(workspace, "gradcam", "--run", run.id, "--out", str(tmp_path / "none"))
    assert made.exit_code == 1 and "is of one of its classes" in str(made.exception)
