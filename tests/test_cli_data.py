"""The commands audit, exclude, take-back and split, as typed, on a data set whose films are not even there."""

import json

import pandas as pd
import pytest
from typer.testing import CliRunner

from mammo_core.cli import app
from mammo_core.data.film_facts import FACT_COLUMNS
from mammo_core.data.manifest import PATH_COLUMNS, DatasetRecord, load_dataset
from mammo_core.errors import ConfigError, DataError, SplitError
from mammo_core.storage import write_json, write_table
from test_splits import make_manifest, make_patients


@pytest.fixture
def dataset(workspace):
    manifest = make_manifest(make_patients({"A": 14, "B": 16}, films=2))
    manifest["year"] = [str(2010 + int(patient[1:]) % 8) for patient in manifest["patient_id"]]
    directory = workspace.dataset("demo")
    directory.mkdir(parents=True)
    write_table(directory / "manifest.csv", manifest)
    paths = [(image, f"{image}.png", "", image) for image in manifest["image_id"]]
    write_table(directory / "paths.csv", pd.DataFrame(paths, columns=list(PATH_COLUMNS)))
    facts = pd.DataFrame([(image, "PNG", "640", "512", "8", *[""] * 12) for image in manifest["image_id"]])
    write_table(directory / "film_facts.csv", facts.set_axis(list(FACT_COLUMNS), axis=1))
    record = DatasetRecord(name="demo", root="/nowhere", adapter="table", task="density", class_names=["A", "B"])
    write_json(directory / "dataset.json", record.to_json())
    return load_dataset(workspace, "demo")


def run(*arguments):
    """The JSON on stdout; what the user did wrong comes as the exception that ``main`` turns into one line."""
    done = CliRunner().invoke(app, [*map(str, arguments), "--json"])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_tables_and_shortcut_need_no_film(dataset):
    audit = run("audit", "demo", "--tables-only")
    assert audit["films"] == 60
    assert audit["shortcut"]["tested"]
    assert "near_duplicates" not in audit
    assert any("Nobody has searched" in item["sentence"] for item in audit["findings"])
    assert (dataset.directory / "audit.md").read_text().startswith("# Audit of the data set demo")
    assert all((dataset.directory / name).stat().st_size for name in audit["figures"])
    told = CliRunner().invoke(app, ["audit", "demo", "--tables-only"]).output
    assert f"{len(audit['figures'])} figures: audit_figures, in the folder datasets/demo of the workspace" in told


def test_films_are_excluded_and_taken_back(dataset):
    assert [row["reason"] for row in run("exclude", "demo", "I0000_0", "I0001_1", "--reason", "blurred")] == ["blurred"] * 2
    split = run("split", "demo", "--name", "s")
    assert split["excluded"] == {"blurred": 2}
    assert split["counts"]["train"]["films"] + split["counts"]["val"]["films"] + split["counts"]["test"]["films"] == 58
    assert len(run("take-back", "demo", "I0000_0")) == 1
    with pytest.raises(DataError, match="no film 'x'"):
        run("exclude", "demo", "x", "--reason", "blurred")


def test_every_scheme_can_be_asked_for(dataset, tmp_path):
    by_date = run("split", "demo", "--name", "d", "--scheme", "date", "--after", "2016", "--gap-months", "12")
    assert (by_date["after"], by_date["gap_months"], by_date["left_out"]) == (
        "2016",
        12,
        {"in the gap of 12 months before the test": 8},
    )
    each = run("split", "demo", "--name", "e", "--scheme", "leave-one-center-out")
    assert [(item["name"], item["holdout"]) for item in each] == [("e_without_1", ["1"]), ("e_without_2", ["2"])]
    folds = run("split", "demo", "--name", "k", "--scheme", "kfold", "--folds", "3")
    assert folds["folds"] == 3
    table = tmp_path / "published.csv"
    pd.read_csv(dataset.directory.parents[1] / "splits" / "d" / "split.csv")[["image_id", "split"]].to_csv(table, index=False)
    imported = run("split", "demo", "--name", "i", "--scheme", "imported", "--table", table)
    assert (imported["scheme"], imported["proof"]["films_unplaced"]) == ("imported", 8)


def test_a_leaking_table_needs_a_reason(dataset, tmp_path):
    table = tmp_path / "by_film.csv"
    images = dataset.manifest()["image_id"]
    pd.DataFrame({"image_id": images, "split": ["train", "test"] * 30}).to_csv(table, index=False)
    asked = ("split", "demo", "--name", "leaky", "--scheme", "imported", "--table", table)
    with pytest.raises(SplitError, match="leaks: 30 of 30 patients"):
        run(*asked)
    assert run(*asked, "--override-leak", "to show the effect")["override_reason"] == "to show the effect"


def test_wrong_wishes_are_told(dataset, tmp_path):
    for arguments, error, text in (
        (("--scheme", "imported"), ConfigError, "needs --table"),
        (("--table", tmp_path / "x.csv"), ConfigError, "goes with --scheme imported"),
        (("--scheme", "imported", "--table", tmp_path / "x.csv"), SplitError, "x.csv cannot be opened"),
        (("--scheme", "by-hand"), SplitError, "no split scheme 'by-hand'"),
    ):
        with pytest.raises(error, match=text):
            run("split", "demo", "--name", "s", *arguments)
