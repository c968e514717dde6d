"""The records of the checks of maps: read, told in one line, and which films they can be made of."""

import pandas as pd
import pytest

from make_map_checks import localisation_record, repeated, sanity_record, write_localisation, write_sanity
from make_models import write_drawn_dataset
from make_runs import write_run
from mammo_core.errors import CorruptRunFile
from mammo_core.reading import read_text_table
from mammo_core.runs.map_checks import LocalisationRecord, SanityRecord, read_check
from mammo_core.storage import write_table, write_yaml
from mammo_core.workflows.map_records import (
    check_lines,
    films_with_outline,
    is_outdated,
    localisation_seconds,
    localisation_words,
    part_named,
    part_title,
    parts_of,
    sanity_file,
    sanity_seconds,
    sanity_words,
)


@pytest.fixture
def run(workspace):
    return write_run(
        workspace.experiments / "lesion" / "seed_42", class_names=("A", "B", "C"), epochs=3, replicates=10, patients=10
    )


def judges(run, task):
    write_yaml(run.config_file, run.config().replace(task=task).to_dict())


def test_a_record_is_read_and_a_missing_one_is_none(workspace, run):
    path = write_sanity(workspace, run)
    assert read_check(path, SanityRecord).tests["randomisation"].outcome == "passed"
    assert read_check(path.with_name("none.json"), SanityRecord) is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"run": "x"}', '{"tests": {}}'])
def test_a_broken_record_is_told_with_what_to_do(workspace, run, text):
    path = write_sanity(workspace, run)
    path.write_text(text)
    with pytest.raises(CorruptRunFile, match="val_gradcam_sanity.json does not hold what it should.*Make the check again"):
        read_check(path, SanityRecord)
    other = write_localisation(workspace, run)
    other.write_text(text)
    with pytest.raises(CorruptRunFile, match="Make the check again"):
        read_check(other, LocalisationRecord)


def test_a_record_without_one_of_the_tests_is_broken(workspace, run):
    record = sanity_record()
    del record["tests"]["faithfulness"]
    with pytest.raises(ValueError, match="lacks faithfulness"):
        SanityRecord.model_validate(record)


def test_the_outcomes_of_a_test_are_four():
    tests = SanityRecord.model_validate(sanity_record()).tests
    assert [test.outcome for test in tests.values()] == ["passed", "not tested", "failed"]
    undecided = SanityRecord.model_validate(
        sanity_record() | {"tests": {**sanity_record()["tests"], "repeatability": repeated(None)}}
    )
    assert undecided.tests["repeatability"].outcome == "not decided"


def test_records_in_one_line_name_each_outcome_and_where_the_map_points():
    assert sanity_words(None) == "not checked yet"
    words = sanity_words(SanityRecord.model_validate(sanity_record()))
    assert words == "randomisation passed, repeatability not tested, faithfulness failed"
    assert localisation_words(None) == "not measured yet"
    words = localisation_words(LocalisationRecord.model_validate(localisation_record()))
    assert words == "points at the lesion in 60% of 9 films, the best map without a model in 25%"


def test_the_line_under_a_map_takes_the_films_shown_first_and_names_others(workspace, run):
    judges(run, "lesion")
    assert check_lines(workspace, run, "val", "gradcam") == {"sanity": "not checked yet", "localisation": "not measured yet"}
    write_sanity(workspace, run, "test")
    assert check_lines(workspace, run, "val", "gradcam")["sanity"].endswith("faithfulness failed (test films)")
    assert check_lines(workspace, run, "test", "gradcam")["sanity"].endswith("faithfulness failed")
    assert check_lines(workspace, run, "val", "layercam")["sanity"] == "not checked yet"
    write_sanity(workspace, run, "val").write_text("{")
    assert check_lines(workspace, run, "val", "gradcam")["sanity"] == "the record cannot be read"


def test_a_run_that_judges_density_has_no_line_on_lesions(workspace, run):
    judges(run, "density")
    assert set(check_lines(workspace, run, "val", "gradcam")) == {"sanity"}


def test_a_check_of_earlier_weights_is_said_to_be_one(workspace, run):
    best = run.summary().best_epoch
    for epoch, outdated in ((best, False), (best + 1, True), (None, False)):
        record = SanityRecord.model_validate(sanity_record(epoch=epoch))
        assert is_outdated(record, run) is outdated
    write_sanity(workspace, run, epoch=best + 1)
    assert check_lines(workspace, run, "val", "gradcam")["sanity"].endswith("of an earlier checkpoint of this run")
    run.summary_file.write_text("{")
    assert is_outdated(SanityRecord.model_validate(sanity_record(epoch=best + 1)), run) is False


def test_other_data_sets_with_predictions_are_parts_of_a_run(run):
    assert parts_of(run) == {"val": "Validation films", "test": "Test films"}
    run.predictions_file("dataset_clinic").write_text("image_id\n")
    run.predictions_file("dataset_abroad").write_text("image_id\n")
    assert list(parts_of(run).items())[2:] == [("dataset_abroad", "Films of abroad"), ("dataset_clinic", "Films of clinic")]
    assert [part_named(name) for name in ("val", "test", "clinic", "dataset_clinic")] == ["val", "test", *["dataset_clinic"] * 2]
    assert part_title("dataset_clinic") == "Films of clinic"


def test_films_with_an_outline_are_counted_from_the_table_alone(workspace, run):
    assert films_with_outline(workspace, run, "dataset_other") == (0, 0)
    labels = {f"i{number}": "A" for number in range(5)}
    write_drawn_dataset(workspace, labels, ("A", "B", "C"), "clinic")
    predictions = pd.DataFrame({"image_id": list(labels)[:4], "patient_id": "p", "center": "1", "y_true": "A", "y_pred": "A"})
    write_table(run.predictions_file("dataset_clinic"), predictions.assign(prob_A=1.0, prob_B=0.0, prob_C=0.0))
    assert films_with_outline(workspace, run, "dataset_clinic") == (0, 4)
    table = workspace.dataset("clinic") / "paths.csv"
    paths = read_text_table(table)
    write_table(table, paths.assign(mask_path=["m.png", "", "m.png", "", "m.png"]))
    assert films_with_outline(workspace, run, "dataset_clinic") == (2, 4)


def test_more_films_and_larger_inputs_take_longer():
    assert localisation_seconds(10, (512, 512)) < localisation_seconds(20, (512, 512)) < localisation_seconds(20, (1024, 512))
    assert sanity_seconds(30, 0, (512, 512)) < sanity_seconds(30, 50, (512, 512))
    assert sanity_seconds(30, 50, (112, 112)) < sanity_seconds(30, 50, (512, 512)) / 10


def test_records_stand_below_the_run_whatever_it_is_called(workspace, run):
    assert sanity_file(workspace, run, "dataset_a b", "gradcam++").name == "dataset_a_b_gradcam___sanity.json"
