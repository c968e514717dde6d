"""No training starts on a split that leaks, however the leak came about, unless someone says why; reports repeat the reason."""

from __future__ import annotations

import hashlib

import pandas as pd
import pytest

from make_runs import write_experiment
from mammo_core.analysis.compare import compare
from mammo_core.data.exclusions import exclude
from mammo_core.data.manifest import PATH_COLUMNS, Dataset, DatasetRecord, load_dataset
from mammo_core.data.near_pairs import NEAR_COLUMNS
from mammo_core.data.split_review import proof_today
from mammo_core.data.splits import SplitPlan, changes_since, load_split, save_split, split_dataset
from mammo_core.errors import MammoError, SplitError
from mammo_core.reading import read_json, read_text_table
from mammo_core.report.checklist_answers import left_out, partition, proof
from mammo_core.report.model_card import model_card
from mammo_core.report.run_facts import RunFacts
from mammo_core.runs.run_dir import RunDir, list_runs
from mammo_core.settings import Workspace
from mammo_core.storage import write_json, write_table
from mammo_core.workflows.launch import LaunchPlan, launch
from mammo_core.workflows.launch_preview import preview_launch
from test_splits import make_manifest, make_patients

REASON = "kept to compare with a published number"
SETTINGS = {"arch": "tf_efficientnet_lite0", "weights": "none", "epochs": 5}


@pytest.fixture
def dataset(workspace: Workspace) -> Dataset:
    """Twenty patients with two films each, and a split ``s`` of them that keeps them together."""
    directory = workspace.dataset("films")
    directory.mkdir(parents=True)
    manifest = make_manifest(make_patients({"A": 10, "B": 10}, films=2))
    write_table(directory / "manifest.csv", manifest)
    paths = [(image, f"{image}.png", "", f"pixels of {image}") for image in manifest["image_id"]]
    write_table(directory / "paths.csv", pd.DataFrame(paths, columns=list(PATH_COLUMNS)))
    record = DatasetRecord(
        name="films", root="/nowhere", adapter="table", task="density", class_names=["A", "B"], patient_key="column"
    )
    write_json(directory / "dataset.json", record.to_json())
    found = load_dataset(workspace, "films")
    save_split(workspace, "s", split_dataset(found, SplitPlan()))
    return found


def plan(reason: str | None = None) -> LaunchPlan:
    return LaunchPlan(dataset="films", splits=["s"], experiment="e", seeds=(1,), settings=SETTINGS, override_reason=reason)


def started(workspace: Workspace, reason: str | None = None) -> RunDir:
    (run,) = launch(workspace, plan(reason))
    return run


def film_of(workspace: Workspace, part: str, number: int = 0) -> str:
    table = load_split(workspace, "s").table
    return str(table.loc[table["split"] == part, "image_id"].iloc[number])


def change_by_hand(workspace: Workspace) -> None:
    """Bring one film of a training patient into the test, hide that it is hers, and make the hash fit."""
    folder = workspace.split("s")
    table = read_text_table(folder / "split.csv")
    row = table.index[table["split"] == "train"][0]
    table.loc[row, ["patient_id", "group_id", "split"]] = ["someone", "someone", "test"]
    write_table(folder / "split.csv", table)
    sha = hashlib.sha256((folder / "split.csv").read_bytes()).hexdigest()
    write_json(folder / "split.json", read_json(folder / "split.json") | {"sha256": sha})


def share_an_exam(workspace: Workspace, dataset: Dataset) -> None:
    manifest = dataset.manifest()
    both = [film_of(workspace, "train"), film_of(workspace, "test")]
    manifest.loc[manifest["image_id"].isin(both), "exam_id"] = "one visit"
    write_table(dataset.directory / "manifest.csv", manifest)


def find_a_near_duplicate(workspace: Workspace, dataset: Dataset, confirmed: str = "yes", decision: str = "") -> None:
    row = (film_of(workspace, "train"), film_of(workspace, "test"), "2", "0.99", confirmed, decision)
    write_table(dataset.directory / "near_duplicates.csv", pd.DataFrame([row], columns=list(NEAR_COLUMNS)))


def copy_the_pixels(workspace: Workspace, dataset: Dataset) -> None:
    paths = dataset.paths()
    both = [film_of(workspace, "train"), film_of(workspace, "test")]
    paths.loc[paths["image_id"].isin(both), "sha256"] = "the same pixels"
    write_table(dataset.directory / "paths.csv", paths)


LEAKS = {
    "changed by hand": lambda workspace, dataset: change_by_hand(workspace),
    "an exam": share_an_exam,
    "a confirmed near duplicate": find_a_near_duplicate,
    "a near duplicate by a person's word": lambda w, d: find_a_near_duplicate(w, d, "no", "same"),
    "identical pixels": copy_the_pixels,
}


@pytest.mark.parametrize("leak", list(LEAKS))
def test_a_leak_stops_the_launch_and_its_preview_until_a_reason_is_typed(workspace, dataset, leak):
    preview_launch(workspace, plan())
    LEAKS[leak](workspace, dataset)
    for start in (launch, preview_launch):
        with pytest.raises(SplitError, match="This split leaks"):
            start(workspace, plan())
        with pytest.raises(SplitError, match="This split leaks"):
            start(workspace, plan("  "))
    assert list_runs(workspace) == []
    run = started(workspace, REASON)
    split = run.split_info()
    assert split["override_reason"] == REASON
    assert any(split["proof"][key] for key in split["proof"] if key.endswith("_shared")), "the run's own copy tells the leak"
    facts = RunFacts(run)
    for report in (model_card(run), partition([facts]), proof([facts])):
        assert f"The split leaks and was used for this reason: {REASON}" in report


def test_a_comparison_repeats_the_reason(tmp_path):
    leaky, clean = (write_experiment(tmp_path / name, seeds=(1, 2), replicates=20) for name in ("leaky", "clean"))
    for run in leaky:
        write_json(run.split_record, run.split_info() | {"override_reason": f"{REASON}."})
    warnings = compare({"leaky": leaky, "clean": clean})["warnings"]
    assert [text for text in warnings if "leaks" in text] == [f"leaky: its split leaks and was used for this reason: {REASON}."]


def test_a_reason_for_a_split_that_does_not_leak_is_not_recorded(workspace, dataset):
    run = started(workspace, REASON)
    assert run.split_info()["override_reason"] is None
    assert "leaks" not in model_card(run)
    save_split(workspace, "t", split_dataset(dataset, SplitPlan(seed=1)), REASON)
    assert load_split(workspace, "t").record.override_reason is None


@pytest.mark.parametrize(("confirmed", "decision"), [("no", ""), ("yes", "different")])
def test_pairs_that_are_not_the_same_film_stop_nothing(workspace, dataset, confirmed, decision):
    find_a_near_duplicate(workspace, dataset, confirmed, decision)
    assert started(workspace).split_info()["proof"]["near_duplicates_shared"] == 0


def test_a_film_that_was_taken_out_before_the_split_joins_nobody(workspace, dataset):
    first, second = film_of(workspace, "train"), film_of(workspace, "test")
    row = (first, second, "2", "0.99", "yes", "")
    write_table(dataset.directory / "near_duplicates.csv", pd.DataFrame([row], columns=list(NEAR_COLUMNS)))
    exclude(dataset, [first], "twice in the set")
    split = save_split(workspace, "later", split_dataset(dataset, SplitPlan()))
    assert not split.record.proof.leaks
    assert proof_today(split, dataset) == split.record.proof
    assert changes_since(split, dataset) == []


def test_without_paths_a_split_is_checked_by_all_else(workspace, dataset):
    (dataset.directory / "paths.csv").unlink()
    assert preview_launch(workspace, plan()).runs == ("e/seed_1",)
    assert not proof_today(load_split(workspace, "s"), dataset).duplicates_checked
    share_an_exam(workspace, dataset)
    with pytest.raises(SplitError, match="This split leaks"):
        preview_launch(workspace, plan())


def test_a_split_of_other_films_is_told(workspace, dataset):
    write_table(dataset.directory / "manifest.csv", dataset.manifest().iloc[4:])
    with pytest.raises(MammoError, match=r"names 4 film\(s\) that the data set 'films' does not hold"):
        preview_launch(workspace, plan())


def test_reports_repeat_what_the_split_left_out_and_warned_of(workspace, dataset):
    exclude(dataset, [film_of(workspace, "train")], "blurred")
    manifest = dataset.manifest()
    numbers = manifest["patient_id"].str[1:].astype(int)
    write_table(dataset.directory / "manifest.csv", manifest.assign(year=(2010 + numbers % 8).astype(str)))
    made = split_dataset(dataset, SplitPlan(scheme="date", after="2016", gap_months=12))
    save_split(workspace, "dated", made)
    (run,) = launch(workspace, LaunchPlan(dataset="films", splits=["dated"], experiment="e", seeds=(1,), settings=SETTINGS))
    facts = RunFacts(run)
    gap = next(iter(made.record.left_out))
    excluded = "Excluded by a person before the split: 1 (blurred)"
    placed = f"Left out by the way of splitting: {made.record.left_out[gap]} ({gap})"
    card = model_card(run)
    for report in (card, left_out([facts])):
        assert excluded in report
        assert placed in report
    few = next(warning for warning in made.record.warnings if warning.startswith("Few patients"))
    assert f"- {few}" in card
    assert few in partition([facts])
    assert card.count("blurred") == 1, "what is told with its count is no warning too"
    assert "test from 2016 on by year, 12 months before it left out" in partition([facts])
    assert "exams shared: 0" in card
    assert "pairs of nearly identical films shared: not checked" in card


def test_unknown_patients_are_told_with_the_proof(workspace, dataset):
    path = dataset.directory / "dataset.json"
    write_json(path, read_json(path) | {"patient_key": "exam", "patient_statement": "Films are grouped by exam."})
    guessed = load_dataset(workspace, "films")
    save_split(workspace, "guessed", split_dataset(guessed, SplitPlan()))
    (run,) = launch(workspace, LaunchPlan(dataset="films", splits=["guessed"], experiment="g", seeds=(1,), settings=SETTINGS))
    for report in (model_card(run), proof([RunFacts(run)])):
        assert "Films are grouped by exam. Patients are not known, so patient leakage cannot be excluded." in report
