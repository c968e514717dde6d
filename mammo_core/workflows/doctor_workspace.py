"""What the doctor asks of the workspace: free disk, write rights, locks and who holds them, the clock."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from mammo_core.errors import DiskFull, WriteFailed
from mammo_core.runs.listing import RunCard, list_cards
from mammo_core.runs.liveness import DEAD_AFTER_SECONDS
from mammo_core.runs.queue import list_requests
from mammo_core.runs.run_dir import list_runs
from mammo_core.runs.schema import LIVE_STATES
from mammo_core.settings import Workspace
from mammo_core.storage import LEFTOVER_SUFFIX, is_locked, lock_of, write_text
from mammo_core.workflows.doctor_check import Check
from mammo_core.workflows.overview import LOW_DISK_BYTES, plural
from mammo_core.workflows.slots import slots_of

USUAL_CHECKPOINT = 200 * 2**20
"""Bytes of ``resume.pt`` of an EfficientNet-B0 with its optimiser and running mean, rounded up; before any run is there."""
DISK_MARGIN = 512 * 2**20
"""For everything of a run that is no checkpoint, and for what else the machine writes."""
SILENT_SECONDS = 600.0
"""A training that holds its lock writes its heartbeat every two seconds; a stalled disk or a sleeping machine shows so."""
CLOCK_SECONDS = 5.0
"""Clocks of a machine and its file server differ by less than this."""


# ---- disk ---------------------------------------------------------------------------------------------------------------


def check_disk(workspace: Workspace, free: int | None = None) -> Check:
    """Free disk against what a run writes: two checkpoints (one replaces the other only once it is whole), and a margin."""
    left = shutil.disk_usage(workspace.home).free if free is None else free
    largest = max((_size(run.resume_file) for run in list_runs(workspace)), default=0)
    needed = 2 * (largest or USUAL_CHECKPOINT) + DISK_MARGIN
    found = f"{gigabytes(left)} free; a run needs about {gigabytes(needed)}"
    if left < needed:
        todo = "Free some disk space before training: empty the trash, clear the cache, or move the workspace to a larger disk."
        return Check("disk", "Free disk", "broken", found, todo)
    if left < LOW_DISK_BYTES:
        return Check("disk", "Free disk", "note", found, "Free some soon: prepared films of a large data set take many GB.")
    return Check("disk", "Free disk", "good", found)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def gigabytes(size: float) -> str:
    return f"{size / 2**30:.1f} GB" if size >= 2**30 else f"{size / 2**20:.0f} MB"


# ---- writing ------------------------------------------------------------------------------------------------------------


def check_writing(workspace: Workspace) -> list[Check]:
    """Whether each folder takes a file, replaces it in one step and lets go of it; whether locks hold; whether the clocks agree.

    Writes a few bytes under names of its own and takes them away again.
    """
    folders = [workspace.home, *sorted(path for path in workspace.home.iterdir() if path.is_dir() and not path.is_symlink())]
    problems = {folder.name: problem for folder in folders if (problem := _write_problem(folder))}
    if problems:
        told = ", ".join(f"'{name}' ({problem})" for name, problem in problems.items())
        todo = "Give the user who runs the app the right to write there (files made by another user, or as root, cause this)."
        return [Check("writing", "Writing", "broken", f"cannot write in {told}", todo)]
    found = f"files are written and replaced in one step in {plural(len(folders), 'folder')}"
    return [Check("writing", "Writing", "good", found), _check_locking(workspace), _check_clock(workspace)]


@contextlib.contextmanager
def _probe(folder: Path) -> Iterator[Path]:
    path = folder / f".doctor_{os.getpid()}_{secrets.token_hex(4)}{LEFTOVER_SUFFIX}"
    try:
        yield path
    finally:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def _write_problem(folder: Path) -> str:
    """What goes wrong when a file is written, replaced and removed; empty where nothing does."""
    try:
        with _probe(folder) as path:
            write_text(path, "old")
            write_text(path, "new")
            if path.read_text(encoding="utf-8") != "new":
                return "a replaced file keeps its old content"
            path.unlink()
    except DiskFull:
        return "no space is left"
    except WriteFailed as error:
        return str(getattr(error.__cause__, "strerror", None) or "the system refuses")
    except OSError as error:
        return error.strerror or type(error).__name__
    return ""


def _check_locking(workspace: Workspace) -> Check:
    """Some network file systems grant a lock to everybody: then two programs could train one run."""
    todo = "Put the workspace on a local disk (--home), or have the file server support flock."
    try:
        with _probe(workspace.home) as path, lock_of(path).acquire(timeout=0):
            holds = is_locked(path)
    except (OSError, NotImplementedError, TimeoutError) as error:
        return Check("locking", "File locks", "broken", f"cannot be taken ({type(error).__name__})", todo)
    if not holds:
        return Check("locking", "File locks", "broken", "a lock that is held was granted a second time", todo)
    return Check("locking", "File locks", "good", "a held lock is refused to others")


def disk_now(workspace: Workspace) -> float:
    """Seconds since 1970 by the clock of the disk, which may be a server's; ages of files are reckoned from it."""
    with _probe(workspace.home) as path:
        path.touch()
        return path.stat().st_mtime


def _check_clock(workspace: Workspace) -> Check:
    """The disk's clock against this machine's, and heartbeats against now."""
    ahead = disk_now(workspace) - time.time()
    if abs(ahead) > CLOCK_SECONDS:
        todo = "Let both take the time from one server (NTP); until then dead runs may be told late."
        way = "ahead of" if ahead > 0 else "behind"
        found = f"the disk's clock is {abs(ahead):.0f} seconds {way} this machine's"
        return Check("clock", "Clock", "note", found, todo)
    future = [card.id for card in list_cards(workspace, archived=True) if _beats_in_the_future(card)]
    if future:
        todo = "Set the clocks of the machines that share this workspace right (NTP); until then dead runs may be told late."
        return Check("clock", "Clock", "note", f"the heartbeat of {', '.join(future[:3])} lies in the future", todo)
    return Check("clock", "Clock", "good", "this machine's, the disk's and the runs' agree")


def _beats_in_the_future(card: RunCard) -> bool:
    beat = card.status.heartbeat_at if card.status and card.state in LIVE_STATES else None
    return beat is not None and beat > time.time() + DEAD_AFTER_SECONDS


# ---- locks --------------------------------------------------------------------------------------------------------------


def check_locks(workspace: Workspace) -> Check:
    """Who serves the queue, who trains, and whether anybody holds a lock without a sign of life."""
    cards = list_cards(workspace, archived=True)
    told = [_queue_words(workspace)]
    told += [f"{card.id} is held by {holder_words(card.run.lock_file)}, {_beat_words(card)}" for card in _live(cards)]
    held = [lock for lock in slots_of(workspace).locks if is_locked(lock)]
    if held and not _live(cards):
        told.append(f"the training slot is held by {holder_words(held[0])}")
    silent = [card.id for card in _live(cards) if _silence(card) > SILENT_SECONDS and is_locked(card.run.lock_file)]
    dead = [card.id for card in cards if card.state == "interrupted"]
    found = "; ".join(told)
    if silent:
        todo = f"Look at the log of {', '.join(silent[:3])}; if nothing moves, stop it on the Queue page, then resume it."
        return Check("locks", "Locks", "note", found, todo)
    if dead:
        more = f" and {len(dead) - 3} more" if len(dead) > 3 else ""
        todo = "Resume on the Queue page or with 'resume': nothing is lost up to the last whole epoch."
        return Check("locks", "Locks", "note", f"{found}; interrupted: {', '.join(dead[:3])}{more}", todo)
    waiting = [request for request in list_requests(workspace) if request.state in ("waiting", "running")]
    if waiting and not is_locked(workspace.supervisor_lock):
        todo = "Start the app: what waits is begun as soon as it runs."
        return Check("locks", "Locks", "note", f"{found}; {plural(len(waiting), 'request')} in the queue", todo)
    return Check("locks", "Locks", "good", found)


def _live(cards: Iterable[RunCard]) -> Sequence[RunCard]:
    return [card for card in cards if card.state in LIVE_STATES]


def _queue_words(workspace: Workspace) -> str:
    if not is_locked(workspace.supervisor_lock):
        return "nobody serves the queue"
    return f"the queue is served by {holder_words(workspace.supervisor_lock)}"


def _silence(card: RunCard) -> float:
    return time.time() - (card.status.heartbeat_at or 0.0) if card.status else 0.0


def _beat_words(card: RunCard) -> str:
    seconds = max(0.0, _silence(card))
    return f"last heard of {seconds:.0f} s ago" if seconds < 120 else f"last heard of {seconds / 60:.0f} min ago"


def holder_words(path: Path) -> str:
    """Who holds the lock on ``path``, as far as the system says: ``this program``, ``the app (process 123)``, ``a program``."""
    pid = lock_holder(path)
    if pid is None:
        return "a program" if is_locked(path) else "nobody"
    if pid == os.getpid():
        return "this program"
    return f"{_role(pid)} (process {pid})"


def _role(pid: int) -> str:
    import psutil  # only here: the first page must not wait for it

    try:
        words = psutil.Process(pid).cmdline()
    except psutil.Error:
        return "a program"
    if "mammo_core" not in words and not any("streamlit" in word for word in words):
        return "another program"
    return "a training" if {"train", "resume"} & set(words) else "the app" if "job" not in words else "a job of the app"


def lock_holder(path: Path) -> int | None:
    """Process id of who holds the ``flock`` on ``path``; ``None`` where nobody does, or the system (not Linux) does not say."""
    try:
        found, lines = path.stat(), Path("/proc/locks").read_text().splitlines()
    except OSError:
        return None
    device = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    for line in lines:
        words = line.split()  # 1: FLOCK ADVISORY WRITE 4711 08:01:123456 0 EOF; a waiting one has -> after its number
        if len(words) >= 6 and words[1] == "FLOCK" and words[5] == device and int(words[4]) > 0:
            return int(words[4])
    return None
