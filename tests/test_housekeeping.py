"""Notes, archive and trash: hidden or moved, never lost."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from make_runs import write_run
from mammo_core.errors import MammoError, RunBusy, WriteFailed
from mammo_core.runs import queue
from mammo_core.runs.importers.imported_runs import import_history
from mammo_core.runs.listing import list_cards
from mammo_core.storage import LEFTOVER_SECONDS, is_locked, lock_of
from mammo_core.workflows.housekeeping import annotate, archive, disk_use, empty_trash, list_trash, move_to_trash, put_back
from mammo_core.workflows.leftovers import clean, find_leftovers


@pytest.fixture
def run(workspace):
    return write_run(workspace.experiments / "exp" / "seed_42")


def test_notes_and_tags_stay_with_the_run_and_keep_the_archive_flag(workspace, run):
    archive(run)
    annotate(run, "paper draft", ["good", " good ", "", "2026"])
    assert (run.notes().text, run.notes().tags, run.notes().archived) == ("paper draft", ["good", "2026"], True)
    with pytest.raises(MammoError, match="Shorten it"):
        annotate(run, "", ["x" * 41])


def test_an_archived_run_is_hidden_and_keeps_every_file(workspace, run):
    files = sorted(path.name for path in run.path.rglob("*"))
    archive(run)
    assert list_cards(workspace) == []
    archive(run, archived=False)
    assert [card.id for card in list_cards(workspace)] == ["exp/seed_42"]
    assert set(files) <= {path.name for path in run.path.rglob("*")}


def test_a_deleted_run_lies_in_the_trash_until_it_is_emptied(workspace, run):
    trashed = move_to_trash(workspace, run)
    assert list_cards(workspace) == []
    assert list_trash(workspace) == [trashed]
    assert put_back(workspace, trashed).id == "exp/seed_42"
    assert [card.id for card in list_cards(workspace)] == ["exp/seed_42"]
    move_to_trash(workspace, run)
    assert empty_trash(workspace) > 1000
    assert list_trash(workspace) == []


def test_a_run_that_trains_cannot_be_deleted(workspace, run):
    with lock_of(run.lock_file).acquire(), pytest.raises(RunBusy, match="Stop it first"):
        move_to_trash(workspace, run)
    assert run.path.is_dir()


def test_deleting_a_waiting_run_cancels_its_request(workspace, run):
    request = queue.enqueue(workspace, "train", {"run": run.id}, "Train")
    move_to_trash(workspace, run)
    assert queue.find_request(workspace, request.id).state == "cancelled"


@pytest.mark.parametrize(("kind", "arguments"), [("train", {"run": "exp/seed_42"}), ("evaluate", {"runs": ["exp/seed_42"]})])
def test_a_run_that_a_job_works_on_cannot_be_deleted(workspace, run, kind, arguments):
    waits = queue.enqueue(workspace, "gallery", {"run": run.id}, "Gallery")
    request = queue.enqueue(workspace, kind, arguments, "The work")
    queue.update(workspace, request.id, state="running")  # started, though it does not hold its lock yet
    with pytest.raises(RunBusy, match="'The work' is at work on exp/seed_42"):
        move_to_trash(workspace, run)
    assert run.path.is_dir()
    assert queue.find_request(workspace, waits.id).state == "waiting", "who is refused has changed nothing"


@pytest.mark.skipif(os.name == "nt", reason="Windows itself moves no folder in which a file is open")
def test_no_training_begins_in_a_run_while_it_is_moved(workspace, run, monkeypatch):
    held, rename = [], Path.rename

    def watched(path, target):
        held.append(is_locked(run.lock_file))
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", watched)
    trashed = move_to_trash(workspace, run)
    assert held == [True]
    assert not is_locked(trashed / run.lock_file.name)


def test_a_run_that_is_gone_is_told_and_not_made_anew(workspace, run):
    move_to_trash(workspace, run)
    with pytest.raises(MammoError, match="not there any more"):
        move_to_trash(workspace, run)
    assert not run.path.exists()


def test_a_run_of_another_tool_goes_back_among_the_imported_ones(workspace, tmp_path):
    (tmp_path / "log.csv").write_text("epoch,loss,val_loss\n0,1.0,1.1\n1,0.9,1.0\n")
    (run,) = import_history(workspace, tmp_path / "log.csv", "other")
    back = put_back(workspace, move_to_trash(workspace, run))
    assert (back.path, back.state()) == (run.path, "finished")
    assert not workspace.experiments.exists()


def test_a_trash_that_was_half_erased_gives_nothing_back_and_is_found(workspace, run, monkeypatch):
    move_to_trash(workspace, run)

    def killed(path):
        next(Path(path).rglob("config.yaml")).unlink()
        raise OSError(5, "Input/output error", str(path))

    with monkeypatch.context() as patched, pytest.raises(WriteFailed, match="trash could not be written"):
        patched.setattr(shutil, "rmtree", killed)
        empty_trash(workspace)
    assert list_trash(workspace) == []
    assert find_leftovers(workspace) == [], "whoever erases may be at work still"
    (left,) = find_leftovers(workspace, time.time() + 2 * LEFTOVER_SECONDS)
    assert (left.kind, left.path.parent) == ("half-made folder", workspace.home)
    for path in [*left.path.rglob("*"), left.path]:
        os.utime(path, (1, 1))
    clean(workspace)
    assert not left.path.exists()
    assert empty_trash(workspace) == 0


def test_a_run_is_not_put_back_over_another_one(workspace, run):
    trashed = move_to_trash(workspace, run)
    write_run(workspace.experiments / "exp" / "seed_42")
    with pytest.raises(MammoError, match="stands where the deleted one stood"):
        put_back(workspace, trashed)
    with pytest.raises(MammoError, match="not in the trash"):
        put_back(workspace, workspace.home / "elsewhere")
    assert trashed.is_dir()


def test_disk_use_counts_bytes_by_folder(workspace, run):
    use = disk_use(workspace)
    assert use.by_folder["experiments"] == sum(path.stat().st_size for path in run.path.rglob("*") if path.is_file())
    assert use.free > 0
