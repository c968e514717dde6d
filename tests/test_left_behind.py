"""The watch over what tests leave behind sees a process that goes on, one that was given away, and a temporary file."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest

import left_behind

SLEEP = "import time; time.sleep(60)"


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(left_behind, "GRACE_SECONDS", 0.2)


def test_a_child_that_goes_on_is_named_and_ended(temporary_folder: Path, hasty: None) -> None:
    before = left_behind.seen(temporary_folder)
    with subprocess.Popen([sys.executable, "-c", SLEEP]) as child:
        (told,) = left_behind.complaints(temporary_folder, before, set())
        assert f"process {child.pid} goes on" in told and SLEEP in told
        assert child.wait(10) != 0


@pytest.mark.skipif(sys.platform != "linux", reason="other systems hide the environment of a process")
def test_a_process_that_was_given_away_is_found_by_its_mark(temporary_folder: Path, hasty: None) -> None:
    before = left_behind.seen(temporary_folder)
    give_away = f"import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', '{SLEEP}'], stdout=-3, stderr=-3).pid)"
    command = [sys.executable, "-W", "ignore", "-c", give_away]
    orphan = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    (told,) = left_behind.complaints(temporary_folder, before, set())
    assert f"process {orphan} goes on" in told
    deadline = time.monotonic() + 10
    while psutil.pid_exists(orphan) and psutil.Process(orphan).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_process_that_is_ending_gets_the_time_to_do_so(temporary_folder: Path) -> None:
    before = left_behind.seen(temporary_folder)
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(0.3)"]):
        assert left_behind.complaints(temporary_folder, before, set()) == []


def test_a_temporary_file_is_named_wherever_it_was_made(temporary_folder: Path) -> None:
    before = left_behind.seen(temporary_folder)
    made = [Path(tempfile.mkdtemp(prefix="ours_"))]
    code = "import tempfile; print(tempfile.mkdtemp(prefix='childs_'))"
    made.append(Path(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()))
    told = left_behind.complaints(temporary_folder, before, set())
    assert [sentence.split(" ")[-1][:5] for sentence in told] == ["child", "ours_"]
    for folder in made:
        folder.rmdir()
    assert left_behind.complaints(temporary_folder, before, set()) == []
