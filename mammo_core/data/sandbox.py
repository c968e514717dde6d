"""Reading films in disposable child processes with limits of time and memory.

A damaged film can abort, hang or exhaust the process that decodes it; here that costs one film. Everything that comes from
outside (uploads, imported folders) is read this way.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from mammo_core.data.film import Film, FilmFacts
from mammo_core.data.masks import LesionMask
from mammo_core.data.preprocess import Geometry, PreparedFilm, check_canvas
from mammo_core.data.spare_worker import keep_spare_worker, take_worker
from mammo_core.data.worker_process import WorkerDied, WorkerProcess
from mammo_core.errors import FilmUnreadable

FILMS_PER_WORKER = 200
"""A worker is replaced after this many films, because a decoder leaks memory."""
STOPPED = "The film was not read because the work was stopped."
DEFAULT_SECONDS = 30.0
DEFAULT_MEMORY = 3 * 2**30
"""Bytes. A film of 100 million pixels needs about half of it."""


@dataclass(frozen=True)
class Job:
    """One file to be read. ``facts`` gives a :class:`FilmSummary`, ``prepare`` a PreparedFilm, ``film`` a Film, ``mask`` a
    LesionMask (the file is a lesion outline, see :func:`mammo_core.data.masks.read_mask`).

    Raises
    ------
    ConfigError
        The canvas cannot be used.
    """

    kind: Literal["facts", "prepare", "film", "mask"]
    path: Path
    canvas: tuple[int, int] | None = None
    """Height and width of the model's input; for ``prepare``."""
    tag: str = ""
    """Anything the caller wants back with the result, such as the image id."""

    def __post_init__(self) -> None:
        if (self.kind == "prepare") != (self.canvas is not None):
            raise ValueError("a job of kind 'prepare' has a canvas, and no other kind has one")
        if self.canvas is not None:
            check_canvas(self.canvas)


@dataclass(frozen=True, eq=False)
class FilmSummary:
    """What an import keeps of a film: its facts, a small picture, and a hash of its display values."""

    facts: FilmFacts
    thumbnail: npt.NDArray[np.uint8]
    """Longest side at most 256 pixels."""
    pixel_sha256: str


Result: TypeAlias = FilmSummary | PreparedFilm | Film | LesionMask


class DecodePool:
    """Worker processes that read films. Use it as a context manager: leaving it ends every worker.

    Workers start when the first job comes. Any thread may use the pool.

    Parameters
    ----------
    workers : how many films are read at once
    seconds_per_film : after this long a film is given up and its worker is replaced
    memory_bytes : address space of one worker (enforced on Linux)
    """

    def __init__(self, workers: int = 1, seconds_per_film: float = DEFAULT_SECONDS, memory_bytes: int = DEFAULT_MEMORY) -> None:
        self._seats = [_Seat(seconds_per_film, memory_bytes) for _ in range(max(1, workers))]
        self._free: queue.SimpleQueue[_Seat] = queue.SimpleQueue()
        for seat in self._seats:
            self._free.put(seat)
        self._threads = ThreadPoolExecutor(len(self._seats), thread_name_prefix="decode")

    def __enter__(self) -> DecodePool:
        return self

    def __exit__(self, *_: object) -> None:
        for seat in self._seats:
            seat.close()
        self._threads.shutdown(cancel_futures=True)

    def map(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, Result | FilmUnreadable]]:
        """Read films, yielding each job with its result **in the order of the jobs**.

        Lazy: jobs are drawn, and results held, only a few ahead of the one being yielded. An unreadable film is a result,
        not an exception.

        Raises
        ------
        MammoError
            The worker process itself cannot start.
        """
        pending: deque[tuple[Job, Future[Result | FilmUnreadable]]] = deque()
        try:
            for job in jobs:
                pending.append((job, self._threads.submit(self._run, job)))
                if len(pending) > 2 * len(self._seats):
                    done, future = pending.popleft()
                    yield done, _outcome(future)
            while pending:
                done, future = pending.popleft()
                yield done, _outcome(future)
        finally:
            for _, future in pending:
                future.cancel()

    def run(self, job: Job) -> Result:
        """Read one film.

        Raises
        ------
        FilmUnreadable
            With the reason.
        """
        result = _outcome(self._threads.submit(self._run, job))
        if isinstance(result, FilmUnreadable):
            raise result
        return result

    def pids(self) -> list[int]:
        """Process ids of the workers that are alive."""
        return [pid for seat in self._seats if (pid := seat.pid) is not None]

    def _run(self, job: Job) -> Result | FilmUnreadable:
        seat = self._free.get()  # never waits: there are as many seats as threads
        try:
            return seat.do(job)
        except FilmUnreadable as error:
            return error
        finally:
            self._free.put(seat)


def _outcome(future: Future[Result | FilmUnreadable]) -> Result | FilmUnreadable:
    try:
        return future.result()
    except CancelledError:  # another thread has closed the pool
        return FilmUnreadable(STOPPED)


def expect_uploads() -> None:
    """Have a worker for :func:`read_film_safely` or a default pool started in the background; it saves the first film a second.

    See :mod:`mammo_core.data.spare_worker`. A page calls this when it is opened; it returns at once.
    """
    keep_spare_worker(DEFAULT_SECONDS, DEFAULT_MEMORY)


def read_film_safely(path: Path, seconds: float = DEFAULT_SECONDS) -> Film:
    """Read one film in a child process that serves nothing else: for uploads.

    Raises
    ------
    FilmUnreadable
        As :func:`mammo_core.data.reader.read_film`; also where the decoder crashed or took too long.
    """
    with DecodePool(1, seconds) as pool:
        result = pool.run(Job("film", path))
    if not isinstance(result, Film):
        raise TypeError(f"a job of kind 'film' gave a {type(result).__name__}")
    return result


class _Seat:
    """A place for one worker process, filled when needed and again after it died. One thread works at it, any may close it."""

    def __init__(self, seconds: float, memory_bytes: int) -> None:
        self._seconds = seconds
        self._memory_bytes = memory_bytes
        self._worker: WorkerProcess | None = None
        self._films = 0
        self._closed = False
        self._lock = threading.Lock()

    @property
    def pid(self) -> int | None:
        worker = self._worker
        return worker.pid if worker is not None else None

    def do(self, job: Job) -> Result:
        """Have one film read; ``FilmUnreadable`` with the reason where that fails."""
        worker = self._filled()
        message = {"kind": job.kind, "path": str(job.path.absolute()), "canvas": job.canvas}
        try:
            header, arrays = worker.ask(message, self._seconds)
            self._films += 1
            if "error" in header:
                raise FilmUnreadable(str(header["error"]))
            return _result(job, header, arrays)
        except WorkerDied as death:
            raise FilmUnreadable(self._told(job, death)) from death
        except (ValueError, KeyError, TypeError) as error:
            worker.close()
            raise FilmUnreadable(_crashed(job, "its answer made no sense")) from error

    def close(self) -> None:
        """End the process; a job under way then fails at once. None starts after this."""
        with self._lock:
            self._closed = True
            if self._worker is not None:
                self._worker.close()

    def _filled(self) -> WorkerProcess:
        with self._lock:
            if self._closed:
                raise FilmUnreadable(STOPPED)
            worker = self._worker
            if worker is not None and (self._films >= FILMS_PER_WORKER or worker.pid is None):
                worker.close()
                worker = None
            if worker is None:
                worker, self._films = take_worker(self._seconds, self._memory_bytes), 0
                self._worker = worker
            return worker

    def _told(self, job: Job, death: WorkerDied) -> str:
        if self._closed:
            return STOPPED
        if death.timed_out:
            return (
                f"{job.path.name} cannot be used: reading it took longer than {self._seconds:g} seconds, so it was stopped. "
                "The file is damaged or very large; export it again."
            )
        return _crashed(job, str(death))


def _result(job: Job, header: dict[str, Any], arrays: dict[str, npt.NDArray[Any]]) -> Result:
    if job.kind == "film":
        return Film(arrays["pixels"], FilmFacts.from_dict(header["facts"]))
    if job.kind == "facts":
        return FilmSummary(FilmFacts.from_dict(header["facts"]), arrays["thumbnail"], str(header["pixel_sha256"]))
    if job.kind == "mask":
        return LesionMask(arrays["mask"])
    geometry = Geometry.from_dict(header["geometry"])
    return PreparedFilm(arrays["pixels"], arrays["breast_mask"], geometry, tuple(header["warnings"]), tuple(header["steps"]))


def _crashed(job: Job, how: str) -> str:
    return f"{job.path.name} cannot be used: the decoder crashed on it ({how}). The file is damaged; export or copy it again."
