"""The background thread that serves the queue: starts each job as a child process, watches it, starts the next.

Trainings run one for each graphics card, or one at a time; light work runs beside them, one at a time. One supervisor works on a
workspace, held by a lock on disk; it belongs to the server and not to a browser tab. Training runs in a child of its own because
a training thread inside the server makes pages three times slower, shares the random state of the whole process, and dies with
it. A child lives on when the server ends, and is met again by its run's lock.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import time
from dataclasses import dataclass

from filelock import FileLock

from mammo_core.errors import MammoError
from mammo_core.runs import queue
from mammo_core.runs.run_dir import find_run
from mammo_core.runs.schema import LIVE_STATES, Request
from mammo_core.settings import Workspace
from mammo_core.storage import is_locked, lock_of
from mammo_core.workflows.child_processes import describe_exit, end_with_children, some_process_has, start_child
from mammo_core.workflows.exit_codes import BUSY, DONE
from mammo_core.workflows.housekeeping import remove_leftovers
from mammo_core.workflows.slots import slots_of

log = logging.getLogger(__name__)

POLL_SECONDS = 0.5
TROUBLE_SECONDS = 5.0
"""Wait after a round that failed (a full disk): nobody needs two entries a second in the log."""

CLEAR_SECONDS = 3600.0
STOP_SECONDS = 45.0
"""After this long, work that was asked to stop and goes on is ended: it may wait for a slow network. One film may take 30 s."""

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

    @property
    def trains(self) -> bool:
        return self.request.kind in queue.TRAINING_KINDS


class Supervisor(threading.Thread):
    """Serves one workspace's queue until :meth:`stop`."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(name="mammotrace-supervisor", daemon=True)
        self._workspace = workspace
        self._lock: FileLock = lock_of(workspace.supervisor_lock)
        self._end = threading.Event()
        self._slots = slots_of(workspace)
        self._children: list[_Child] = []

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
                _left_behind.extend(child.process for child in self._children)
                self._children.clear()
                self._lock.release()

    def _serve(self) -> None:
        begun, cleared = False, time.monotonic()
        while not self._end.is_set():
            try:
                if not begun:
                    self._begin()
                    begun = True
                if time.monotonic() - cleared > CLEAR_SECONDS:
                    cleared = time.monotonic()
                    queue.clear_ended(self._workspace)
                self._reap()
                self._start_next()
                pause = POLL_SECONDS
            except (MammoError, OSError):  # a full disk or a file changed by hand: the next round tries again
                log.exception("The queue could not be served this time")
                pause = TROUBLE_SECONDS
            self._end.wait(pause)

    def _begin(self) -> None:
        remove_leftovers(self._workspace)
        queue.clear_ended(self._workspace)
        self._adopt_orphans()

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
        if request.pid is None:  # the server was killed between starting the child and noting its number
            return some_process_has(mark)
        import psutil  # only here: the first page must not wait for it

        try:
            return mark in psutil.Process(request.pid).cmdline()
        except (psutil.Error, ValueError):
            return False

    # ---- starting -----------------------------------------------------------------------------------------------------

    def _start_next(self) -> None:
        """Start the first that waits where there is room: trainings have the machine's slots, one light job runs beside them."""
        requests = queue.list_requests(self._workspace)
        self._end_deaf(requests)
        for trains in (True, False):
            mine = [request for request in requests if (request.kind in queue.TRAINING_KINDS) == trains]
            at_work = sum(child.trains == trains for child in self._children) + self._orphans(mine)
            waiting = next((request for request in mine if request.state == "waiting"), None)
            if waiting is not None and at_work < self._room(trains):
                self._start(waiting)

    def _room(self, trains: bool) -> int:
        """How many may be at work now; no training starts beside those that the command line runs in every slot."""
        if not trains:
            return 1
        held_up = queue.is_paused(self._workspace) or self._slots.taken == self._slots.count
        return 0 if held_up else self._slots.count

    def _orphans(self, requests: list[Request]) -> int:
        """How many children of an earlier server are still at work; ends the requests of those that are gone."""
        own, found = {child.request.id for child in self._children}, 0
        for request in requests:
            if request.state == "running" and request.id not in own:
                if self._still_runs(request):
                    found += 1
                else:
                    self._end_request(request, None)
        return found

    def _start(self, request: Request) -> None:
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
        if not queue.start(self._workspace, request.id):
            return
        try:
            process = start_child(command, self._workspace)
        except OSError as error:
            sentence = f"The process could not be started ({error.strerror}). Close other programs, then try again."
            queue.update(self._workspace, request.id, state="failed", message=sentence, finished_at=time.time())
            return
        self._children.append(_Child(request, process))  # before its number is written, which a full disk may refuse
        queue.update(self._workspace, request.id, pid=process.pid)

    # ---- ending -------------------------------------------------------------------------------------------------------

    def _end_deaf(self, requests: list[Request]) -> None:
        mine = {child.request.id for child in self._children}
        for request in requests:
            since, pid = request.asked_to_stop, request.pid
            if request.state != "running" or since is None or pid is None or time.time() - since < STOP_SECONDS:
                continue
            if request.id in mine or self._still_runs(request):
                end_with_children(pid)

    def _reap(self) -> None:
        _left_behind[:] = [process for process in _left_behind if process.poll() is None]
        for child in list(self._children):
            code = child.process.poll()
            if code is not None:
                self._end_request(child.request, code)
                self._children.remove(child)  # not before its end is on disk: a full one lets the next round try again

    def _end_request(self, request: Request, code: int | None) -> None:
        """Record how a child ended; ``code`` is ``None`` where an earlier server started it."""
        current = queue.find_request(self._workspace, request.id)
        if current is None or current.state != "running":
            return  # the job recorded its own end
        if code == BUSY:
            queue.update(
                self._workspace, request.id, state="waiting", started_at=None, pid=None, message="Waiting for the training slot",
                order=time.time(),
            )  # fmt: skip
            return
        if current.asked_to_stop is not None:
            queue.update(self._workspace, request.id, state="cancelled", message=queue.STOPPED_WORDS, finished_at=time.time())
            return
        state, message = self._training_end(request, code) if request.kind in queue.TRAINING_KINDS else ("failed", "")
        if state == "failed" and not message:
            message = describe_exit(code)
        queue.update(self._workspace, request.id, state=state, message=message, finished_at=time.time())

    def _training_end(self, request: Request, code: int | None) -> tuple[str, str]:
        """How the run itself says that it ended; a run whose process died without a word is closed as interrupted."""
        try:
            run = find_run(self._workspace, request.arguments["run"])
            status = run.status()
        except MammoError as error:
            return "failed", str(error)
        if status is None or status.state in LIVE_STATES or status.state == "queued":
            return "failed", ""
        if status.state == "finished" and code != DONE:  # it may have died before it wrote the summary of its experiment
            from mammo_core.analysis.experiment_summary import summarise_where_possible

            summarise_where_possible(self._workspace, run.experiment)
        return ("failed" if status.state == "failed" else "done"), status.message
