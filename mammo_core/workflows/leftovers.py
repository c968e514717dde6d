"""What killed programs leave behind in the workspace, and taking it away: only what is provably ours and in nobody's hands.

A thing counts as left behind when it lies in the workspace under a name that only this app gives, and the lock under which it
would be worked on is free; where there is no such lock, when nothing of it changed for an hour by the clock of the disk. Runs go
to the trash; nothing that a person made is erased.
"""

from __future__ import annotations

import contextlib
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mammo_core.data.worker_process import PARENT, process_mark
from mammo_core.errors import MammoError
from mammo_core.runs import queue
from mammo_core.runs.run_dir import RunDir
from mammo_core.settings import Workspace
from mammo_core.storage import LEFTOVER_SECONDS, LEFTOVER_SUFFIX, folder_size, is_allowed_name, is_locked, lock_of
from mammo_core.workflows import housekeeping
from mammo_core.workflows.clear_cache import CLEARED
from mammo_core.workflows.doctor_check import Check
from mammo_core.workflows.doctor_workspace import disk_now, gigabytes
from mammo_core.workflows.overview import plural
from mammo_core.workflows.uploads import uploads_folder

if TYPE_CHECKING:
    import psutil

Kind = Literal["temporary file", "half-made folder", "empty run", "upload", "old request", "process"]

OPENED = ".opened_"
"""How folders are called in which a page lays out histories that were uploaded."""
WORKER = "mammo_core.data.decode_worker"
BEFORE_TRAINING = frozenset({"split.csv", "split.json", "status.json"})
"""What a launch writes into a run directory before the ``config.yaml`` with which the run exists."""


@dataclass(frozen=True)
class Leftover:
    """One thing that can go. ``path`` is ``None`` for a process."""

    kind: Kind
    name: str
    """Within the workspace, with ``/``; for people."""
    size: int = 0
    path: Path | None = None
    lock: Path | None = None
    """Held while it is taken away, so that nobody begins to work on it in that moment."""
    pid: int | None = None


def find_leftovers(workspace: Workspace, now: float | None = None) -> list[Leftover]:
    """Everything that killed programs left behind and nobody works on.

    Parameters
    ----------
    now : seconds since 1970 by the clock of the disk; asked of it where left out
    """
    if now is None:
        now = disk_now(workspace)
    looks = (_temporary_files, _half_made_folders, _empty_runs, _uploads)
    found = [leftover for look in looks for leftover in look(workspace, now - LEFTOVER_SECONDS)]
    return [leftover for leftover in found if not _is_held(leftover.lock)] + _old_requests(workspace) + _processes()


def _is_held(lock: Path | None) -> bool:
    return lock is not None and is_locked(lock)


def _leftover(workspace: Workspace, kind: Kind, path: Path, lock: Path | None = None) -> Leftover:
    size = folder_size(path) if path.is_dir() else path.lstat().st_size
    return Leftover(kind, path.relative_to(workspace.home).as_posix(), size, path, lock)


def _is_old(path: Path, oldest: float) -> bool:
    """Whether nothing in it changed since ``oldest``; what vanishes meanwhile is in somebody's hands."""
    try:
        if path.is_symlink():
            return False
        if path.lstat().st_mtime >= oldest:
            return False
        return all(entry.lstat().st_mtime < oldest for entry in path.rglob("*")) if path.is_dir() else True
    except OSError:
        return False


def check_leftovers(workspace: Workspace) -> Check:
    """How much killed programs left behind, by kind."""
    found = find_leftovers(workspace)
    if not found:
        return Check("leftovers", "Leftovers", "good", "none of killed programs")
    kinds = Counter(leftover.kind for leftover in found)
    size = sum(leftover.size for leftover in found)
    told = ", ".join(plural(count, kind) for kind, count in kinds.items())
    todo = "Clean up here, or with 'doctor --clean': only what nobody works on is taken away, and runs go to the trash."
    return Check("leftovers", "Leftovers", "note", f"{told} ({gigabytes(size)})", todo)


# ---- finding ------------------------------------------------------------------------------------------------------------


def _temporary_files(workspace: Workspace, oldest: float) -> Iterator[Leftover]:
    """What writers begin beside a file and give its name at their end."""
    for path in housekeeping.find_leftovers(workspace):
        if workspace.trash not in path.parents and _is_old(path, oldest):
            yield _leftover(workspace, "temporary file", path, _lock_over(workspace, path))


def _lock_over(workspace: Workspace, path: Path) -> Path | None:
    """The lock under which a file of a run or of a half-made data set is written."""
    parts = path.relative_to(workspace.home).parts
    if parts[0] == workspace.experiments.name and len(parts) > 3:
        return RunDir(workspace.experiments / parts[1] / parts[2]).lock_file
    if parts[0] == workspace.datasets.name and len(parts) > 2:
        return workspace.datasets / f"{_building_lock(parts[1])}"
    return None


def _building_lock(name: str) -> str:
    """``.name.lock`` of a data set ``name`` or its unfinished ``.name.tmp``."""
    return f".{name.removeprefix('.').removesuffix('.tmp')}.lock"


def _half_made_folders(workspace: Workspace, oldest: float) -> Iterator[Leftover]:
    """Data sets, splits, measurements, opened uploads and erasures that were begun and never came to their end."""
    locked = [(path, workspace.datasets / _building_lock(path.name)) for path in workspace.datasets.glob(f".*{LEFTOVER_SUFFIX}")]
    locked += [(path, workspace.splits / ".lock") for path in workspace.splits.glob(f".*{LEFTOVER_SUFFIX}")]
    for path in (workspace.cache / "thumbnails").glob("*"):
        if is_allowed_name(path.name) and not workspace.dataset(path.name).exists():
            locked.append((path, workspace.datasets / _building_lock(path.name)))
    for path, lock in locked:
        if path.is_dir() and not path.is_symlink():
            yield _leftover(workspace, "half-made folder", path, lock)
    embedding = workspace.embeddings.glob(f".*{LEFTOVER_SUFFIX}")
    erased = [
        *workspace.home.glob(f"{housekeeping.doomed_front(workspace)}*{LEFTOVER_SUFFIX}"),
        *workspace.cache.glob(f"{CLEARED}*{LEFTOVER_SUFFIX}"),
    ]
    for path in (*(workspace.cache / "probes").glob("now_*"), *workspace.home.glob(f"{OPENED}*"), *embedding, *erased):
        if path.is_dir() and _is_old(path, oldest):
            yield _leftover(workspace, "half-made folder", path)


def _empty_runs(workspace: Workspace, oldest: float) -> Iterator[Leftover]:
    """Run directories whose launch was cut off before they had a configuration: no list shows them."""
    for folder in workspace.experiments.glob("*/*"):
        if not (folder.is_dir() and is_allowed_name(folder.name) and is_allowed_name(folder.parent.name)):
            continue
        names = {entry.name for entry in folder.iterdir()}
        begun = {
            name
            for name in names
            if name in BEFORE_TRAINING or (name.startswith(".") and name.endswith((LEFTOVER_SUFFIX, ".lock")))
        }
        if names == begun and _is_old(folder, oldest):
            yield _leftover(workspace, "empty run", folder, RunDir(folder).lock_file)


def _uploads(workspace: Workspace, oldest: float) -> Iterator[Leftover]:
    """Uploaded films and models that no page reads any more and no request is about."""
    wanted = {
        value
        for request in queue.list_requests(workspace)
        if request.state in ("waiting", "running")
        for value in request.arguments.values()
        if isinstance(value, str)
    }
    for pattern in ("*.film", "*.upload"):
        for path in uploads_folder(workspace).glob(pattern):
            if path.is_file() and _is_old(path, oldest) and str(path) not in wanted:
                yield _leftover(workspace, "upload", path)


def _old_requests(workspace: Workspace) -> list[Leftover]:
    return [Leftover("old request", request.title) for request in queue.ended_long_ago(workspace)]


def _processes() -> list[Leftover]:
    """Processes of this app that read films and whose parent is gone; they end by themselves unless a decoder hangs."""
    import psutil  # only here: the first page must not wait for it

    return [
        Leftover("process", f"a film reader (process {process.pid})", pid=process.pid)
        for process in psutil.process_iter()
        if _is_orphan(process)
    ]


def _is_orphan(process: psutil.Process) -> bool:
    """Whether it was started to read films for a process that is not its parent any more: then that one is dead.

    Of a process in a container, or outside of ours, nothing can be told: its parent has another number here.
    """
    import psutil

    try:
        if WORKER not in process.cmdline():
            return False
        mark = process.environ().get(PARENT, "")
        parent = int(mark.partition("@")[0] or "0")
        return mark == process_mark(parent) and parent > 0 and (process.ppid() != parent or not psutil.pid_exists(parent))
    except (psutil.Error, ValueError):
        return False  # another user's, or ended meanwhile


# ---- taking away ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cleaning:
    """What was done, one sentence each, and how many bytes are free again."""

    done: tuple[str, ...]
    problems: tuple[str, ...]
    freed: int


def clean(workspace: Workspace) -> Cleaning:
    """Take away what :func:`find_leftovers` finds at this moment: runs go to the trash, the rest is erased."""
    found = find_leftovers(workspace)
    gone: list[Leftover] = []
    problems: list[str] = []
    for leftover in found:
        if leftover.kind == "old request":
            continue
        try:
            if _take_away(workspace, leftover):
                gone.append(leftover)
        except MammoError as error:
            problems.append(str(error))
        except OSError as error:
            problems.append(f"{leftover.name} could not be taken away ({error.strerror or type(error).__name__}).")
    forgotten = queue.clear_ended(workspace)
    words = [f"{plural(forgotten, 'request')} that ended long ago forgotten."] if forgotten else []
    for kind, ending in ENDINGS.items():
        names = [leftover.name for leftover in gone if leftover.kind == kind]
        if names:
            more = f" and {len(names) - 5} more" if len(names) > 5 else ""
            words.append(f"{plural(len(names), kind)} {ending}: {', '.join(names[:5])}{more}.")
    return Cleaning(tuple(words), tuple(problems), sum(leftover.size for leftover in gone if leftover.kind != "empty run"))


ENDINGS: dict[Kind, str] = {
    "temporary file": "erased",
    "half-made folder": "erased",
    "upload": "erased",
    "empty run": "moved to the trash",
    "process": "ended",
}


def _take_away(workspace: Workspace, leftover: Leftover) -> bool:
    """Whether it was there and could be taken in hand."""
    if leftover.pid is not None:
        return _end(leftover.pid)
    if leftover.path is None:
        return False
    with contextlib.ExitStack() as stack:
        if leftover.kind == "empty run":
            housekeeping.move_to_trash(workspace, RunDir(leftover.path))
            return True
        if leftover.lock is not None and leftover.lock.exists():
            try:
                stack.enter_context(lock_of(leftover.lock).acquire(timeout=0))
            except TimeoutError:
                return False
        if leftover.path.is_dir():
            shutil.rmtree(leftover.path)
        else:
            leftover.path.unlink()
    return True


def _end(pid: int) -> bool:
    import psutil

    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        if _is_orphan(process):
            process.kill()
            return True
    return False
