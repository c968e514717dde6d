"""Prepared films can be erased at any time but while a training needs them."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from make_runs import write_run
from mammo_core.errors import RunBusy, WriteFailed
from mammo_core.runs import queue
from mammo_core.settings import Workspace
from mammo_core.storage import is_locked, lock_of
from mammo_core.workflows.clear_cache import clear_cache
from mammo_core.workflows.film_readers import reading_films
from mammo_core.workflows.slots import slots_of
from mammo_core.workflows.uploads import Upload, stage
from several_processes import start


def fill(workspace: Workspace) -> None:
    for name in ("ab/film.npy", "files.tsv", "thumbnails/demo/film.png"):
        path = workspace.cache / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 1000)


def test_prepared_films_go_and_thumbnails_stay(workspace: Workspace) -> None:
    fill(workspace)
    assert clear_cache(workspace) == 2000
    assert sorted(path.name for path in workspace.cache.iterdir()) == ["thumbnails"]
    assert (workspace.cache / "thumbnails" / "demo" / "film.png").exists()


def test_an_empty_workspace_has_nothing_to_clear(workspace: Workspace) -> None:
    assert clear_cache(workspace) == 0


def test_a_running_training_keeps_its_films(workspace: Workspace) -> None:
    fill(workspace)
    with lock_of(workspace.slot_lock), pytest.raises(RunBusy, match="training is running"):
        clear_cache(workspace)
    assert (workspace.cache / "ab" / "film.npy").exists()


def test_a_training_with_a_slot_of_its_own_keeps_its_films(workspace: Workspace) -> None:
    fill(workspace)
    run = write_run(workspace.experiments / "exp" / "seed_42", epochs=1, replicates=2)
    with lock_of(run.lock_file), pytest.raises(RunBusy, match="training is running"):
        clear_cache(workspace)
    assert (workspace.cache / "ab" / "film.npy").exists()


def test_an_evaluation_that_was_typed_keeps_its_films_until_it_ends(workspace: Workspace) -> None:
    fill(workspace)
    with reading_films(workspace), reading_films(workspace):
        with pytest.raises(RunBusy, match="reads the prepared films"):
            clear_cache(workspace)
        assert (workspace.cache / "ab" / "film.npy").exists()
    assert clear_cache(workspace) == 2000
    assert sorted(path.name for path in workspace.cache.iterdir()) == ["thumbnails"]


def _read_for_ever(home: str) -> None:
    """To be started."""
    with reading_films(Workspace(Path(home))):
        (Path(home) / "reads").touch()
        time.sleep(600)


def test_one_that_was_killed_keeps_nothing(workspace: Workspace, tmp_path: Path) -> None:
    fill(workspace)
    child = start(tmp_path, _read_for_ever, str(workspace.home))
    while not (workspace.home / "reads").exists():
        time.sleep(0.05)
    with pytest.raises(RunBusy, match="reads the prepared films"):
        clear_cache(workspace)
    child.process.kill()
    child.wait()
    assert clear_cache(workspace) == 2000


def test_a_running_job_keeps_its_films_and_one_that_waits_keeps_its_upload(workspace: Workspace) -> None:
    fill(workspace)
    request = queue.enqueue(workspace, "embed", {"dataset": "demo"}, "Embed demo")
    upload = stage(workspace, Upload("m.mammotrace", b"a model"))
    queue.update(workspace, request.id, state="running")
    with pytest.raises(RunBusy, match="'Embed demo' is running"):
        clear_cache(workspace)
    assert (workspace.cache / "ab" / "film.npy").exists()
    queue.update(workspace, request.id, state="waiting")
    assert clear_cache(workspace) == 2000
    assert upload.read_bytes() == b"a model"


def test_a_question_that_is_being_measured_stays(workspace: Workspace) -> None:
    asked = workspace.cache / "probes" / "now_x"
    asked.mkdir(parents=True)
    clear_cache(workspace)
    assert asked.is_dir()
    asked.rmdir()
    clear_cache(workspace)
    assert not asked.parent.exists()


def test_no_training_begins_while_films_go_and_what_cannot_go_is_told(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(workspace)
    held = []

    def refused(path: Path) -> None:
        held.extend(is_locked(lock) for lock in slots_of(workspace).locks)
        raise OSError(39, "Directory not empty", str(path))

    with monkeypatch.context() as patched, pytest.raises(WriteFailed, match="Directory not empty") as told:
        patched.setattr(shutil, "rmtree", refused)
        clear_cache(workspace)
    assert held and all(held)
    assert str(workspace.home) not in str(told.value)
    assert not (workspace.cache / "ab").exists(), "no work finds half of the films"
    assert clear_cache(workspace) == 2000
    assert [path.name for path in workspace.cache.iterdir()] == ["thumbnails"]
