"""Keeping house: notes and tags, what uses the disk, archive, and the trash. Nothing is ever erased without being asked twice."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from mammo_core.errors import MammoError, RunBusy
from mammo_core.runs import queue
from mammo_core.runs.run_dir import RunDir
from mammo_core.settings import Workspace
from mammo_core.storage import LEFTOVER_SUFFIX, folder_size, is_locked, leftovers, writing

MAX_TAGS, MAX_TAG_LENGTH, MAX_NOTE_LENGTH = 12, 40, 10_000


def annotate(run: RunDir, text: str, tags: list[str]) -> None:
    """Keep a person's words about a run in its ``notes.json``, which training never touches.

    Raises
    ------
    MammoError
        More or longer tags than anyone could read.
    """
    cleaned = list(dict.fromkeys(tag.strip() for tag in tags if tag.strip()))
    if len(cleaned) > MAX_TAGS or any(len(tag) > MAX_TAG_LENGTH for tag in cleaned) or len(text) > MAX_NOTE_LENGTH:
        raise MammoError(
            f"The note has {len(text)} characters and {len(cleaned)} tags; expected at most {MAX_NOTE_LENGTH} characters and "
            f"{MAX_TAGS} tags of {MAX_TAG_LENGTH}. Shorten it."
        )
    run.write_notes(run.notes().model_copy(update={"text": text, "tags": cleaned}))


def archive(run: RunDir, archived: bool = True) -> None:
    """Hide a run from lists and pickers, or show it again; every file stays where it is."""
    run.write_notes(run.notes().model_copy(update={"archived": archived}))


def move_to_trash(workspace: Workspace, run: RunDir) -> Path:
    """Move a run to the trash folder, from which it can be put back; cancels its waiting request.

    Raises
    ------
    RunBusy
        It is being trained.
    """
    if is_locked(run.lock_file):
        raise RunBusy(f"{run.id} is being trained right now; expected a run that has ended. Stop it first.")
    for request in queue.list_requests(workspace):
        if request.state == "waiting" and request.arguments.get("run") == run.id:
            queue.cancel(workspace, request.id)
    place = workspace.trash / time.strftime("%Y%m%d-%H%M%S") / run.experiment / run.name
    while place.exists():
        place = place.parents[1].with_name(f"{place.parents[1].name}_") / run.experiment / run.name
    _move(run.path, place)
    return place


def list_trash(workspace: Workspace) -> list[Path]:
    """The runs in the trash, ``<when>/<experiment>/<run>``, last deleted first."""
    return sorted((path for path in workspace.trash.glob("*/*/*") if path.is_dir()), reverse=True)


def put_back(workspace: Workspace, trashed: Path) -> RunDir:
    """Put a run back where it was deleted from.

    Raises
    ------
    MammoError
        Another run has taken its place meanwhile, or that is not a folder of the trash.
    """
    if trashed not in list_trash(workspace):
        raise MammoError(f"{trashed.name!r} is not in the trash any more. Reload the page.")
    target = workspace.experiment(trashed.parent.name) / trashed.name
    if target.exists():
        raise MammoError(
            f"A run {target.parent.name}/{target.name} stands where the deleted one stood; expected that place to be free. "
            "Delete that run first."
        )
    _move(trashed, target)
    return RunDir(target)


def _move(folder: Path, place: Path) -> None:
    with writing(folder.name):
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            folder.rename(place)
        except FileNotFoundError as error:
            raise MammoError(f"{folder.name} is not there any more; somebody moved it a moment ago. Reload the page.") from error


def empty_trash(workspace: Workspace) -> int:
    """Erase what lies in the trash for good; returns the bytes freed."""
    if not workspace.trash.is_dir():
        return 0
    freed = folder_size(workspace.trash)
    shutil.rmtree(workspace.trash)
    return freed


@dataclass(frozen=True)
class DiskUse:
    """Bytes by kind of content, and what is left on the disk."""

    by_folder: dict[str, int]
    free: int

    @property
    def total(self) -> int:
        return sum(self.by_folder.values())


def disk_use(workspace: Workspace) -> DiskUse:
    """What the workspace uses, by folder (experiments, cache, trash ...)."""
    folders = [path for path in workspace.home.iterdir() if path.is_dir() and not path.name.startswith(".")]
    return DiskUse({path.name: folder_size(path) for path in sorted(folders)}, shutil.disk_usage(workspace.home).free)


def find_leftovers(workspace: Workspace) -> list[Path]:
    """Temporary files that killed programs left anywhere in the workspace; the cache of films looks after its own."""
    others = {workspace.cache, workspace.home / "phantoms"}
    found = []
    for folder, below, names in os.walk(workspace.home):
        below[:] = [name for name in below if Path(folder) / name not in others]
        if any(name.endswith(LEFTOVER_SUFFIX) for name in names):
            found += leftovers(Path(folder))
    return found


def remove_leftovers(workspace: Workspace) -> int:
    """Remove :func:`find_leftovers`; returns the bytes freed."""
    freed = 0
    for path in find_leftovers(workspace):
        with contextlib.suppress(OSError):  # another server may be removing it too
            size = path.stat().st_size
            path.unlink()
            freed += size
    return freed
