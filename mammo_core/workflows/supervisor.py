"""The background thread that serves the queue: starts each job as a child process, watches it, starts the next.

One supervisor works on a workspace, held by a lock on disk; it belongs to the server and not to a browser tab. Training runs in
a child of its own because a training thread inside the server makes pages three times slower, shares the random state of the
whole process, and dies with it. A child lives on when the server ends, and is met again by its run's lock.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field

from filelock import FileLock

from mammo_core.errors import MammoError
from mammo_core.runs import queue
from mammo_core.runs.run_dir import find_run
from mammo_core.runs.schema import LIVE_STATES, Request
from mammo_core.settings import HOME_VARIABLE, PROJECT_ROOT, Workspace, physical_cores
from mammo_core.storage import is_locked, lock_of
from mammo_core.workflows.exit_codes import BUSY

log = logging.getLogger(__name__)

POLL_SECONDS = 0.5
NICENESS = 10
"""Pages go before training; see bench/pages.py for what a rerun costs while a child trains."""

TRAINING_LANE, LIGHT_LANE = "training", "light"

_supervisors: dict[str, Supervisor] = {}
_registry_lock = threading.Lock()
_left_behind: list[subprocess.Popen[bytes]] = []
"""Children of supervisors of this process that ended; kept so that each is reaped and none becomes a zombie."""


def ensure_supervisor(workspace: Workspace) -> Supervisor:
    """The supervisor thread of this process for ``workspace``, started if need be.

    In a second server on the same workspace the thread waits for the lock, and takes over when the first one ends.
    """
    with _registry_lock:
        current = _supervisors.get(str(workspace.home))
        if current is None or not current.is_alive():
            current = Supervisor(workspace)
            current.start()
            _supervisors[str(workspace.home)] = current
        return current


@dataclass
class _Child:
    request: Request
    process: subprocess.Popen[bytes]


@dataclass
class _Lanes:
    """At most one child in each lane: training has the machine's slot, light work runs beside it."""

    children: dict[str, _Child] = field(default_factory=dict)


class Supervisor(threading.Thread):
    """Serves one workspace's queue until :meth:`stop`."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(name="mammotrace-supervisor", daemon=True)
        self._workspace = workspace
        self._lock: FileLock = lock_of(workspace.supervisor_lock)
        self._end = threading.Event()
        self._lanes = _Lanes()

    def stop(self, timeout: float = 10.0) -> None:
        """End the thread; children go on by themselves."""
        self._end.set()
        self.join(timeout)

    def run(self) -> None:
        while not self._end.is_set():
            try:
                self._lock.acquire(timeout=0)
            except TimeoutError:
                self._end.wait(5 * POLL_SECONDS)
                continue
            try:
                self._serve()
            finally:
                _left_behind.extend(child.process for child in self._lanes.children.values())
                self._lanes.children.clear()
                self._lock.release()

    def _serve(self) -> None:
        queue.clear_ended(self._workspace)
        self._adopt_orphans()
        while not self._end.is_set():
            try:
                self._reap()
                self._start_next()
            except (MammoError, OSError):  # a full disk or a file changed by hand: the next round tries again
                log.exception("The queue could not be served this time")
            self._end.wait(POLL_SECONDS)

    def _adopt_orphans(self) -> None:
        """Judge requests that an earlier server left as running: their child may still be at work, or be gone."""
        for request in queue.list_requests(self._workspace):
            if request.state == "running" and not self._still_runs(request):
                self._end_request(request, None)

    def _still_runs(self, request: Request) -> bool:
        """Whether the child of an earlier server is at work: it holds its run's lock, or is a process with that command.

        The command matters for the seconds in which a child has started but not taken its lock yet; a pid alone may be reused.
        """
        mark = request.id
        if request.kind in queue.TRAINING_KINDS:
            try:
                run = find_run(self._workspace, request.arguments["run"])
            except MammoError:
                return False
            if is_locked(run.lock_file):
                return True
            mark = str(run.path)
        import psutil  # only here: the first page must not wait for it

        try:
            return mark in psutil.Process(request.pid or -1).cmdline()
        except (psutil.Error, ValueError):
            return False

    # ---- starting -----------------------------------------------------------------------------------------------------

    def _start_next(self) -> None:
        requests = queue.list_requests(self._workspace)
        for lane in (TRAINING_LANE, LIGHT_LANE):
            mine = [request for request in requests if (request.kind in queue.TRAINING_KINDS) == (lane == TRAINING_LANE)]
            busy = lane in self._lanes.children or self._orphan_runs(mine)
            if not busy and not (lane == TRAINING_LANE and is_locked(self._workspace.slot_lock)):
                waiting = next((request for request in mine if request.state == "waiting"), None)
                if waiting is not None:
                    self._start(waiting, lane)

    def _orphan_runs(self, requests: list[Request]) -> bool:
        """Whether a child of an earlier server is still at work; ends the request of one that is gone."""
        own = {child.request.id for child in self._lanes.children.values()}
        for request in requests:
            if request.state == "running" and request.id not in own:
                if self._still_runs(request):
                    return True
                self._end_request(request, None)
        return False

    def _start(self, request: Request, lane: str) -> None:
        command = [sys.executable, "-m", "mammo_core", "--home", str(self._workspace.home)]
        if request.kind in queue.TRAINING_KINDS:
            try:
                run = find_run(self._workspace, request.arguments["run"])
            except MammoError as error:
                queue.update(self._workspace, request.id, state="failed", message=str(error), finished_at=time.time())
                return
            command += ["train", "--run-dir", str(run.path)]
        else:
            command += ["job", "--request", request.id]
        queue.update(self._workspace, request.id, state="running", started_at=time.time(), message="")
        try:
            process = start_child(command, self._workspace)
        except OSError as error:
            sentence = f"The process could not be started ({error.strerror}). Close other programs, then try again."
            queue.update(self._workspace, request.id, state="failed", message=sentence, finished_at=time.time())
            return
        self._lanes.children[lane] = _Child(queue.update(self._workspace, request.id, pid=process.pid), process)

    # ---- ending -------------------------------------------------------------------------------------------------------

    def _reap(self) -> None:
        _left_behind[:] = [process for process in _left_behind if process.poll() is None]
        for lane, child in list(self._lanes.children.items()):
            code = child.process.poll()
            if code is not None:
                del self._lanes.children[lane]
                self._end_request(child.request, code)

    def _end_request(self, request: Request, code: int | None) -> None:
        """Record how a child ended; ``code`` is ``None`` where an earlier server started it."""
        current = queue.find_request(self._workspace, request.id)
        if current is None or current.state != "running":
            return  # the job recorded its own end
        if code == BUSY:
            queue.update(
                self._workspace, request.id, state="waiting", started_at=None, pid=None, message="Waiting for the training slot"
            )
            return
        state, message = self._training_end(request) if request.kind in queue.TRAINING_KINDS else ("failed", "")
        if state == "failed" and not message:
            message = describe_exit(code)
        queue.update(self._workspace, request.id, state=state, message=message, finished_at=time.time())

    def _training_end(self, request: Request) -> tuple[str, str]:
        """How the run itself says that it ended; a run whose process died without a word is closed as interrupted."""
        try:
            run = find_run(self._workspace, request.arguments["run"])
            status = run.status()
        except MammoError as error:
            return "failed", str(error)
        if status is None or status.state in LIVE_STATES or status.state == "queued":
            return "failed", ""
        return ("failed" if status.state == "failed" else "done"), status.message


def start_child(command: list[str], workspace: Workspace) -> subprocess.Popen[bytes]:
    """Start a job in a process group of its own, at low priority, with capped threads; its output goes to a log file."""
    threads = str(physical_cores())
    environment = {**os.environ, HOME_VARIABLE: str(workspace.home), "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    # Idle OpenMP threads otherwise spin, which starves the pages (and the training itself) when the cores are shared.
    environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(PROJECT_ROOT), os.environ.get("PYTHONPATH", "")]))
    with (workspace.queue / "jobs.log").open("ab") as output:
        return subprocess.Popen(
            _nice(command),
            cwd=workspace.home,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=os.name != "nt",
            creationflags=getattr(subprocess, "BELOW_NORMAL_PRIORITY_CLASS", 0) if os.name == "nt" else 0,
        )


def _nice(command: list[str]) -> list[str]:
    """Prefix with nice(1) where there is one: ``preexec_fn`` is not safe in a process with threads."""
    nice = shutil.which("nice")
    return [nice, "-n", str(NICENESS), *command] if nice else command


def describe_exit(code: int | None) -> str:
    """One sentence on a child that ended without a word of its own."""
    if code is None:
        return "The program that worked on this ended while the app was closed. Resume it, or start it again."
    if code == -signal.SIGKILL:
        return "The process was killed (signal 9), most often because memory ran out. Lower the batch or image size, then resume."
    if code < 0:
        return f"The process died of signal {-code}. Resume it; if that happens again, the log in the queue folder says more."
    return f"The process ended with exit code {code}. The log in the queue folder says more; resume it or start it again."
