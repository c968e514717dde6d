"""Notes, archive and trash: hidden or moved, never lost."""

from __future__ import annotations

import pytest

from make_runs import write_run
from mammo_core.errors import MammoError, RunBusy
from mammo_core.runs import queue
from mammo_core.runs.listing import list_cards
from mammo_core.storage import lock_of
from mammo_core.workflows.housekeeping import annotate, archive, disk_use, empty_trash, list_trash, move_to_trash, put_back


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
