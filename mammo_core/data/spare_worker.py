"""A process that reads films, started before it is needed: the second that its start takes is then no part of an upload.

A spare has read nothing. The pool that takes it is the only one that ever uses it, and ends it as it ends its own workers: no
film meets what another upload left behind, and no two threads talk to one process.
"""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable

from mammo_core.data.worker_process import WorkerProcess
from mammo_core.errors import MammoError

REST_SECONDS = 4.0
"""Between the taking of a spare and the start of the next one, which would slow down what the first was taken for."""
IDLE_SECONDS = 900.0
"""A spare that nobody takes ends after this long; it holds some 100 MB. The next :meth:`SpareWorker.keep` starts another."""


class SpareWorker:
    """At most one started process that has read nothing yet. Any thread may call any method."""

    def __init__(self, seconds: float, memory_bytes: int, rest_seconds: float = REST_SECONDS) -> None:
        self._limits = (seconds, memory_bytes)
        self._rest_seconds = rest_seconds
        self._lock = threading.Lock()
        self._worker: WorkerProcess | None = None
        self._is_coming = False
        self._is_closed = False
        self._timer: threading.Timer | None = None
        """Starts the next spare, or ends one that nobody takes."""

    @property
    def pid(self) -> int | None:
        """Process id of the spare that is ready."""
        worker = self._worker
        return worker.pid if worker is not None else None

    def keep(self) -> None:
        """Have one started, unless one is ready or on its way; returns at once."""
        with self._lock:
            if not self._is_coming and self.pid is None:
                self._is_coming = True
                self._later(0, self._start)

    def take(self) -> WorkerProcess | None:
        """The spare, which is the caller's from now on, or ``None`` where none is ready. Another follows after a rest."""
        with self._lock:
            worker, self._worker = self._worker, None
            if worker is None:
                return None
            self._is_coming = True
            self._later(self._rest_seconds, self._start)
        if worker.pid is not None:
            return worker
        worker.close()
        return None

    def close(self) -> None:
        """End the spare; none is started after this."""
        with self._lock:
            self._is_closed = True
            if self._timer is not None:
                self._timer.cancel()
        self._retire()

    def _later(self, seconds: float, work: Callable[[], None]) -> None:
        """Do this on another thread, instead of what was planned before; the lock is held."""
        if self._timer is not None:
            self._timer.cancel()
        if not self._is_closed:
            self._timer = threading.Timer(seconds, work)
            self._timer.daemon = True
            self._timer.start()

    def _start(self) -> None:
        worker = None
        try:
            worker = WorkerProcess(*self._limits)
        except MammoError:
            return  # the pool that needs a process starts its own, and says why it cannot
        finally:
            with self._lock:
                self._is_coming = False
                if not self._is_closed:
                    self._worker, worker = worker, None
                    self._later(IDLE_SECONDS, self._retire)
            if worker is not None:
                worker.close()

    def _retire(self) -> None:
        with self._lock:
            worker, self._worker = self._worker, None
        if worker is not None:
            worker.close()


_SPARES: dict[tuple[float, int], SpareWorker] = {}
_LOCK = threading.Lock()


def keep_spare_worker(seconds: float, memory_bytes: int) -> None:
    """Keep one process with these limits ready in this program from now on. Returns at once, and may be called often."""
    with _LOCK:
        spare = _SPARES.get((seconds, memory_bytes))
        if spare is None:
            spare = _SPARES[(seconds, memory_bytes)] = SpareWorker(seconds, memory_bytes)
            atexit.register(spare.close)
    spare.keep()


def close_spares() -> None:
    """End every spare of this program; the next call of :func:`keep_spare_worker` starts another."""
    with _LOCK:
        spares = list(_SPARES.values())
        _SPARES.clear()
    for spare in spares:
        spare.close()
        atexit.unregister(spare.close)


def take_worker(seconds: float, memory_bytes: int) -> WorkerProcess:
    """The spare with these limits where one is ready, else a process started now.

    Raises
    ------
    MammoError
        It does not start.
    """
    spare = _SPARES.get((seconds, memory_bytes))
    ready = spare.take() if spare is not None else None
    return ready or WorkerProcess(seconds, memory_bytes)
