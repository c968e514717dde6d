"""The report-pack command: where it can write, and its last line."""

from __future__ import annotations

import pytest

from command_line import run_command
from make_runs import write_run


@pytest.fixture
def home(workspace):
    write_run(workspace.experiments / "e" / "seed_1", seed=1, epochs=2, replicates=5)
    return workspace.home


def test_a_file_in_place_of_the_folder_is_wrong_usage_in_one_sentence(home, tmp_path):
    (tmp_path / "taken").write_text("kept")
    done = run_command(home, "report-pack", "--run", "e/seed_1", "--assets-dir", str(tmp_path / "taken"))
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "Error: taken is a file, so no report pack can be written there; name a folder, old or new."
    ]


def test_the_last_line_counts_files_and_missing_figures(home, tmp_path):
    done = run_command(home, "report-pack", "--run", "e/seed_1", "--assets-dir", str(tmp_path / "new"), "--format", "svg")
    count = sum(path.is_file() and path.suffix != ".zip" for path in (tmp_path / "new").rglob("*"))
    assert done.returncode == 1  # the run keeps no checkpoint, so its Grad-CAM figure is missing
    assert done.stderr.splitlines()[-1] == f"Made {count} files, 1 figure missing; in {tmp_path / 'new'}"
