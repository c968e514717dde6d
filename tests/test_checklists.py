"""Checklists: filled from files, honest where these are silent, and without item numbers."""

from __future__ import annotations

import re

import pytest

from make_runs import write_experiment, write_run
from mammo_core.reading import read_json
from mammo_core.report.checklist_results import looks
from mammo_core.report.checklists import CHECKLISTS, NAMES, checklist_document, checklist_rows
from mammo_core.report.run_facts import NOT_RECORDED, Known, RunFacts
from mammo_core.storage import write_json, write_yaml

DATASET = {
    "synthetic": True,
    "unreadable": 4,
    "left_out": [{"reason": "no label", "count": 3}],
    "counts": {"films": 400, "patients": 200, "exams": 200, "per_center": {"1": 134, "2": 134, "3": 132}},
    "patient_statement": "Patients are taken from the table.",
}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("experiments") / "e"
    runs = write_experiment(folder, seeds=(42, 43), with_test=True, patients=200, replicates=20)
    for run in runs:
        record = read_json(run.split_record)
        counts = {"train": {"1": {"films": 80, "patients": 40}}, "val": {"2": {"films": 30, "patients": 15}}}
        proof = {"duplicates_checked": True, "patients_shared": 0, "films_unplaced": 5}
        write_json(run.split_record, record | {"center_counts": counts, "proof": proof, "ratios": [0.7, 0.15, 0.15]})
    write_json(runs[0].test_looks_file, [{"at": 1.0}])
    return [RunFacts(run, Known(DATASET, 7, 3_412_344)) for run in runs]


def answers(study, name="claim_2024"):
    rows = checklist_rows(name, study)
    return dict(zip(rows["Item group"], rows["What the files say"], strict=True))


def test_what_the_files_know_is_filled_in_with_its_source(study):
    told = answers(study)
    facts = study[0]
    assert "left out" not in told["Data sources and counts"]
    assert "3 (no label); unreadable films: 4. " in told["Films left out, and why"]
    assert "by patient, seed 0, shares 70/15/15" in told["How data were partitioned, and at which level"]
    assert "Between partitions: patients shared: 0;" in told["Separation of the partitions"]
    assert "1 80 films of 40 patients" in told["Centres in each partition"]
    assert "Preprocessing version 7" in told["Preprocessing of films"]
    assert "3,412,344 parameters" in told["Model and its first weights"]
    assert "lowest validation loss" in told["Selection of the final model"]
    assert "torch 2.15.0" in told["Software"]
    assert f"temperature {facts.temperature.value:.2f}" in told["Calibration and temperature"]
    assert "n = 2, SD n-1" in told["Robustness: seeds, folds, centres"]
    accuracy = facts.metrics("test").metrics["accuracy"]
    assert f"{accuracy.value:.3f} ({accuracy.ci_low:.3f} to {accuracy.ci_high:.3f})" in told["Performance with intervals"]
    for group in facts.centres["test"]:
        assert f"[n = {group.films} films, {group.patients} patients]" in told["Subgroups: centres"]
    assert study[0].diagnosis["headline"] in told["Convergence of the training"]
    assert all(checklist_rows(name, study)["From"].str.len().gt(0).sum() > 10 for name in CHECKLISTS)


def test_two_by_two_tables_add_up_to_the_films(study):
    told = answers(study, "stard_ai")["Two-by-two tables at fixed thresholds"]
    counted = re.findall(r"(\d+) true positive, (\d+) false positive, (\d+) false negative, (\d+) true negative", told)
    sizes = {facts.metrics(on).n for facts in study for on in ("val", "test")}
    assert {sum(map(int, cells)) for cells in counted} == sizes


def test_silent_files_are_called_not_recorded_and_nothing_is_claimed(tmp_path):
    run = write_run(tmp_path / "e" / "seed_42", state="running", epochs_run=1, with_predictions=False)
    run.split_record.unlink()
    run.environment_file.unlink()
    study = [RunFacts(run)]
    told = answers(study)
    for group in (
        "Films left out, and why",
        "De-identification",
        "How data were partitioned, and at which level",
        "Separation of the partitions",
        "Centres in each partition",
        "Hardware",
        "Performance with intervals",
        "Calibration and temperature",
        "Thresholds",
        "Subgroups: centres",
        "Robustness: seeds, folds, centres",
        "Explainability",
    ):
        assert NOT_RECORDED in told[group], group
    assert "Test films: not evaluated." in told["Performance with intervals"]


def test_looks_at_the_test_films_are_counted_or_not_recorded(study):
    assert looks(study) == f"e/seed_42: Test films looked at 1 time; e/seed_43: Looks {NOT_RECORDED}."


@pytest.mark.parametrize("name", list(CHECKLISTS))
def test_a_checklist_has_no_item_numbers_and_leaves_the_rest_to_the_author(study, name):
    text = checklist_document(name, checklist_rows(name, study), study)
    assert text.startswith(f"# {NAMES[name]}")
    assert not re.search(r"[Ii]tem \d|^\| *\d+[a-z]? *\|", text, re.MULTILINE)
    assert "Ethics, funding, interests, registration |  |" in text
    assert "The films are synthetic" in text
    assert "no completed checklist" in text


def test_a_history_of_another_tool_is_not_described_by_this_apps_defaults(tmp_path):
    run = write_run(tmp_path / "imported" / "r", with_predictions=False)
    write_yaml(run.config_file, {"task": "imported", "epochs": 5, "warmup_epochs": 0, "weights": "none"})
    told = answers([RunFacts(run)])
    assert told["Training settings"] == told["Model and its first weights"] == NOT_RECORDED
    assert told["Convergence of the training"] != NOT_RECORDED
