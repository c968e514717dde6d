"""Keeping house: notes and tags, what uses the disk, archive, and the trash. Nothing is ever erased without being asked twice."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from mammo_core.errors import MammoError, RunBusy
from mammo_core.runs import queue
from mammo_core.runs.run_dir import RunDir
from mammo_core.settings import Workspace
from mammo_core.storage import LEFTOVER_SUFFIX, folder_size, held, is_locked, leftovers, writing
from mammo_core.workflows.slots import LOCK_SECONDS

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
        It is being trained, or a job of the queue works on it.
    MammoError
        It is not there any more.
    """
    with _untrained(run) as lock:
        _end_requests(workspace, run)
        place = _place_in_trash(workspace, run)
        if os.name == "nt":
            lock.release()  # Windows moves no folder in which a file is open: neither ours nor that of a training
        _move(run.path, place)
    return place


@contextlib.contextmanager
def _untrained(run: RunDir) -> Iterator[FileLock]:
    """Hold the run's lock, so that no training begins in it."""
    gone = MammoError(f"{run.name} is not there any more; somebody moved it a moment ago. Reload the page.")
    busy = RunBusy(f"{run.id} is being trained right now; expected a run that has ended. Stop it first.")
    if not run.path.is_dir():  # asking for its lock would make it
        raise gone
    if is_locked(run.lock_file):
        raise busy
    with held(run.lock_file, LOCK_SECONDS, run.name, busy) as lock:
        yield lock


def _end_requests(workspace: Workspace, run: RunDir) -> None:
    """Cancel what waits for the run alone; what is at work on it is in the way."""
    requests = [
        request
        for request in queue.list_requests(workspace)
        if request.arguments.get("run") == run.id or run.id in (request.arguments.get("runs") or ())
    ]
    for request in requests:
        if request.state == "running":
            raise RunBusy(
                f"'{request.title}' is at work on {run.id}; expected a run that nobody works on. Wait for it to end, or stop it "
                "on the Queue page."
            )
    for request in requests:
        if request.state == "waiting" and request.arguments.get("run") == run.id:
            queue.cancel(workspace, request.id)


def _place_in_trash(workspace: Workspace, run: RunDir) -> Path:
    place = workspace.trash / time.strftime("%Y%m%d-%H%M%S") / run.experiment / run.name
    while place.exists():
        place = place.parents[1].with_name(f"{place.parents[1].name}_") / run.experiment / run.name
    return place


def list_trash(workspace: Workspace) -> list[Path]:
    """The runs in the trash, ``<when>/<experiment>/<run>``, last deleted first."""
    return sorted((path for path in workspace.trash.glob("*/*/*") if path.is_dir()), reverse=True)


def put_back(workspace: Workspace, trashed: Path) -> RunDir:
    """Put a run back where it was deleted from; one of another tool among the imported ones.

    Raises
    ------
    MammoError
        Another run has taken its place meanwhile, or that is not a folder of the trash.
    """
    if trashed not in list_trash(workspace):
        raise MammoError(f"{trashed.name!r} is not in the trash any more. Reload the page.")
    experiment = workspace.experiment(trashed.parent.name)
    if RunDir(trashed).import_file.exists():
        experiment = workspace.imported / experiment.name
    target = experiment / trashed.name
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
    """Erase what lies in the trash for good; returns the bytes freed.

    Raises
    ------
    WriteFailed
        The system refused to erase something.
    """
    doomed = workspace.trash.with_name(f"{doomed_front(workspace)}{secrets.token_hex(4)}{LEFTOVER_SUFFIX}")
    with writing(workspace.trash.name):
        try:
            workspace.trash.rename(doomed)  # in one step: half a run must not be put back
        except FileNotFoundError:
            return 0
        os.utime(doomed)  # from now on: whoever looks for leftovers sees that somebody is at work on it
        freed = folder_size(doomed)
        shutil.rmtree(doomed)
    return freed


def doomed_front(workspace: Workspace) -> str:
    """How the folder is called, up to its token, in which what lay in the trash is being erased."""
    return f".{workspace.trash.name}."


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
