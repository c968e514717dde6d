"""Histories of other tools on the command line: judged, mapped and taken over."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from mammo_core.analysis.diagnosis import Context, diagnose
from mammo_core.analysis.diagnosis.text import merged
from mammo_core.cli import app
from mammo_core.errors import MammoError
from mammo_core.runs.schema import EpochRecord

ODD = "epoch,loss,kosten\n" + "".join(f"{e},{1 / e:.4f},{0.5 + 0.1 * e:.3f}\n" for e in range(1, 13))


@pytest.fixture
def table(tmp_path, workspace):
    path = tmp_path / "odd.csv"
    path.write_text(ODD)
    return path


def _run(*arguments: str):
    return CliRunner().invoke(app, list(arguments))


def test_a_column_without_a_known_name_is_read_as_told(table):
    plain = json.loads(_run("diagnose", str(table), "--json").stdout)
    told = json.loads(_run("diagnose", str(table), "--column", "val_loss=kosten", "--json").stdout)
    assert plain[0]["verdict"] == "INCONCLUSIVE"
    assert told[0]["verdict"] == "OVERFIT_SEVERE"
    assert told[0]["best_row"] == 1


def test_an_imported_history_says_its_run_and_verdict(table, workspace):
    done = _run("import-history", str(table), "--name", "rival", "--column", "val_loss=kosten", "--json")
    assert done.exit_code == 0, done.output
    (taken,) = json.loads(done.stdout)
    assert (taken["run"], taken["epochs"], taken["verdict"]) == ("rival/odd", 12, "OVERFIT_SEVERE")
    assert (workspace.imported / "rival" / "odd" / "train_history.json").exists()


def test_a_column_that_is_not_there_is_told_with_those_that_are(table):
    done = _run("diagnose", str(table), "--column", "val_loss=zzz")
    assert done.exit_code == 1
    assert "There is no column 'zzz' to read as val_loss; the file has epoch, loss, kosten" in done.output
    assert isinstance(_run("import-history", str(table), "--name", "x", "--column", "val_loss=zzz").exception, MammoError)


@pytest.mark.parametrize("command", [("diagnose",), ("import-history", "--name", "x")])
def test_a_pair_that_says_nothing_is_wrong_usage(table, command):
    done = _run(*command, str(table), "--column", "nonsense")
    assert done.exit_code == 2
    assert "NAME=COLUMN" in done.output


def test_the_help_tells_of_columns_and_folders():
    for command in ("diagnose", "import-history"):
        text = " ".join(_run(command, "--help").output.replace("│", "").split())
        assert "--column" in text
        assert "val_loss" in text
        assert "results folder" in text


def test_a_folder_of_unrelated_histories_is_told_history_by_history(tmp_path, workspace):
    folder = tmp_path / "logs"
    for name, scale in (("first", 1.0), ("second", 3.0)):
        (folder / name).mkdir(parents=True)
        (folder / name / "log.csv").write_text(
            "epoch,loss,val_loss\n" + "".join(f"{e},{1 / e:.4f},{scale / e:.3f}\n" for e in range(1, 13))
        )
    text = _run("diagnose", str(folder)).output
    assert "a folder of 2 histories; each is judged by itself" in text
    assert [line.split(",")[0].strip() for line in text.splitlines() if "12 rows" in line] == ["first", "second"]
    assert "longest" not in text
    (element,) = json.loads(_run("diagnose", str(folder), "--json").stdout)
    assert [entry["label"] for entry in element["histories"]] == ["first", "second"]
    assert element["verdict"]


def test_classes_with_one_fault_share_a_line():
    names = [f"class {n}" for n in range(19)]
    recalls = {**dict.fromkeys(names, 0.0), "common": 0.9, "frequent": 0.8}
    counts = {name: 400 if recalls[name] else 40 for name in recalls}
    records = [
        EpochRecord(epoch=e, train_loss=1 / e, val_loss=0.5 + 1 / e, val_acc=0.4 + 0.03 * e, val_recall=recalls)
        for e in range(1, 13)
    ]
    findings = diagnose(records, Context(class_names=tuple(recalls), val_counts=counts)).findings
    assert sum(finding.id == "CLASS_ZERO" for finding in findings) == 19
    lines = merged([finding.to_json() for finding in findings])
    (line,) = [line["text"] for line in lines if line["text"].startswith("Never recognised")]
    assert "19 classes (class 0, class 1," in line
    assert line.endswith("and 7 more).")
