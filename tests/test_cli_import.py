"""The commands that bring films: what is said before anything is written, corrections, and words for what cannot be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import make_public_sets
from command_line import run_command


@pytest.fixture
def inbreast(tmp_path: Path) -> Path:
    return make_public_sets.inbreast(tmp_path / "inbreast").source


def test_a_plan_is_told_and_nothing_is_written(tmp_path, inbreast):
    home = tmp_path / "runs"
    home.mkdir()
    done = run_command(home, "import", str(inbreast), "--plan", "--task", "lesion", "--label", "4a=Benign", "--json")
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert (plan["adapter"], plan["films"], plan["label_map"]["4a"]) == ("inbreast", 4, "Benign")
    assert plan["origins"]["patient"] == "second part of the file's name"
    assert "Patient: second part of the file's name (4 films)" in done.stderr
    assert not list(home.glob("datasets/*"))


def test_an_import_says_what_it_understood_before_it_reads(tmp_path, inbreast):
    home = tmp_path / "runs"
    home.mkdir()
    done = run_command(
        home, "import", str(inbreast), "--task", "density", "--name", "inb", "--label", "3=", "--column", "center="
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.index("INbreast: INbreast.csv has the columns") < done.stderr.index("inb: 2 films of 1 patients")
    assert "Left out, 1: the label '3' stands for no class." in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["import", "."], 2, "needs --name"),
        (["import", ".", "--name", "x", "--column", "patient"], 2, "expected ROLE=COLUMN"),
        (["import", ".", "--name", "x", "--patient-from", "guess"], 2, "expected one of column, exam, header"),
        (["fetch", "ddsm", "--out", "sets"], 1, "expected one of btxrd, mini-mias"),
    ],
)
def test_what_cannot_be_is_one_line_with_its_exit_code(tmp_path, arguments, code, words):
    done = run_command(tmp_path, *arguments)
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert words in done.stderr.strip().splitlines()[-1]
