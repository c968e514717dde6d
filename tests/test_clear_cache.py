"""Prepared films can be erased at any time but while a training needs them."""

from __future__ import annotations

import pytest

from mammo_core.errors import RunBusy
from mammo_core.settings import Workspace
from mammo_core.storage import lock_of
from mammo_core.workflows.clear_cache import clear_cache


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
