"""The commands of a report pack make the split again, to the byte."""

from __future__ import annotations

import shlex

import pandas as pd
import pytest
from typer.testing import CliRunner

from mammo_core.cli import app
from mammo_core.data.manifest import Dataset, load_dataset
from mammo_core.data.splits import load_split
from mammo_core.reading import read_json
from mammo_core.report.reproduce import guide, split_commands
from mammo_core.report.run_facts import RunFacts
from mammo_core.settings import Workspace, open_workspace
from mammo_core.storage import sha256_of, write_table
from mammo_core.workflows.launch import LaunchPlan, create_run, plan_runs

SETTINGS = {"arch": "tf_efficientnet_lite0", "weights": "none", "epochs": 5, "task": "density"}
YEARS = 8


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    """Phantom films of 24 patients, imported once and given a year a patient."""
    folder = tmp_path_factory.mktemp("reproduce")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MAMMOTRACE_HOME", str(folder / "runs"))
        command(f"phantom --out {folder / 'films'} --images 96 --seed 7 --format png")
        command(f"import {folder / 'films'} --name ph --task density")
    dataset = load_dataset(open_workspace(folder / "runs"), "ph")
    manifest = dataset.manifest()
    codes = pd.factorize(manifest["patient_id"])[0]
    write_table(dataset.directory / "manifest.csv", manifest.assign(year=[str(2012 + code % YEARS) for code in codes]))
    return folder


@pytest.fixture
def workspace(imported, monkeypatch):
    monkeypatch.setenv("MAMMOTRACE_HOME", str(imported / "runs"))
    return open_workspace()


def command(line: str) -> None:
    done = CliRunner().invoke(app, shlex.split(line))
    assert done.exit_code == 0, done.output or done.exception


def facts_of(workspace: Workspace, name: str) -> RunFacts:
    """Of a run that would train on this split."""
    planned = plan_runs(workspace, LaunchPlan(dataset="ph", splits=[name], experiment=name, seeds=(1,), settings=SETTINGS))
    return RunFacts(create_run(workspace, planned[0]))


def again(workspace: Workspace, lines: list[str], name: str) -> str:
    """SHA-256 of the split after its folder was taken away and the commands were run."""
    workspace.split(name).rename(workspace.home / f"{name}.authors")
    for line in lines:
        command(line.removeprefix("python -m mammo_core "))
    return sha256_of(workspace.split(name) / "split.csv")


OPTIONS = {
    "plain": "",
    "shares": "--seed 3 --ratios 60/30/10",
    "thirds": "--ratios 0.3333333333333333/0.3333333333333333/0.3333333333333334",
    "centre": "--scheme center-holdout --holdout 2 --ratios 80/20/0",
    "folds": "--scheme kfold --folds 3 --ratios 80/10/10 --seed 9",
    "date": "--scheme date --after 2018 --date-column year --gap-months 12 --seed 5",
    "chosen_date": "--scheme date --ratios 60/20/20",
}


@pytest.mark.parametrize("name", list(OPTIONS))
def test_the_command_makes_the_split_again_to_the_byte(workspace, name):
    command(f"split ph --name {name} {OPTIONS[name]}")
    before = sha256_of(workspace.split(name) / "split.csv")
    lines = split_commands(facts_of(workspace, name))
    assert again(workspace, lines, name) == before
    first, second = (read_json(folder / "split.json") for folder in (workspace.home / f"{name}.authors", workspace.split(name)))
    assert {**first, "created_at": ""} == {**second, "created_at": ""}


def test_a_date_that_was_chosen_by_the_shares_is_named(workspace):
    command("split ph --name named --scheme date")
    line = split_commands(facts_of(workspace, "named"))[-1]
    assert f"--after {load_split(workspace, 'named').record.after} --date-column year" in line


def test_a_split_without_excluded_films_is_taken_from_the_authors_table(workspace, tmp_path, monkeypatch):
    dataset: Dataset = load_dataset(workspace, "ph")
    films = dataset.manifest()["image_id"].tolist()
    command(f"exclude ph {films[0]} {films[5]} --reason blurred")
    command("split ph --name without --seed 8")
    command(f"take-back ph {films[0]} {films[5]}")  # whoever imports the films anew has no exclusions
    before = sha256_of(workspace.split("without") / "split.csv")
    facts = facts_of(workspace, "without")
    lines = split_commands(facts)
    assert "--scheme imported --table without/split.csv" in lines[-1]
    assert "films were excluded by a person before it was made: 2 (blurred)" in guide([facts])
    (tmp_path / "without").mkdir()
    (tmp_path / "without" / "split.csv").write_bytes((workspace.split("without") / "split.csv").read_bytes())
    monkeypatch.chdir(tmp_path)
    assert again(workspace, lines, "without") == before


def test_an_imported_split_that_leaks_is_made_again_with_its_reason(workspace, tmp_path, monkeypatch):
    films = load_dataset(workspace, "ph").manifest()["image_id"]
    (tmp_path / "leaky").mkdir()
    monkeypatch.chdir(tmp_path)
    table = pd.DataFrame({"image_id": films, "split": ["train", "val", "test"] * 32})
    table.to_csv("leaky/split.csv", index=False)
    command("split ph --name leaky --scheme imported --table leaky/split.csv --override-leak 'as it was published'")
    before = sha256_of(workspace.split("leaky") / "split.csv")
    facts = facts_of(workspace, "leaky")
    lines = split_commands(facts)
    assert lines[-1].endswith("--override-leak 'as it was published'")
    assert "it was made elsewhere" in guide([facts])
    assert again(workspace, lines, "leaky") == before


def test_a_split_that_knew_nearly_identical_films_is_made_after_an_audit(workspace):
    command("audit ph")
    command("split ph --name audited")
    before = sha256_of(workspace.split("audited") / "split.csv")
    facts = facts_of(workspace, "audited")
    lines = split_commands(facts)
    assert lines[0] == "python -m mammo_core audit ph"
    assert "What a person decided about pairs" in guide([facts])
    (load_dataset(workspace, "ph").directory / "near_duplicates.csv").unlink()
    assert again(workspace, lines, "audited") == before
