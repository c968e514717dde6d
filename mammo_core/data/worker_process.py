"""One child process that reads films: starting it, asking it with a time limit, ending it without leaving anything behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from mammo_core.data.decode_worker import Message, read_message, write_message
from mammo_core.errors import MammoError

IMPORT_ROOT = Path(__file__).resolve().parents[2]
PARENT = "MAMMOTRACE_READS_FOR"
"""Names, in a worker's environment, the process that started it (:func:`process_mark`): a worker whose parent is another one has
lost its own."""
START_SECONDS = 120.0
"""Given to a worker for its imports; they take one second, but a cold disk and a busy machine take many."""
EXIT_SECONDS = 2.0
"""Given to a worker that has closed its answers, to end by itself."""
ProtocolFault = (EOFError, OSError, ValueError, KeyError, TypeError)
"""What reading or writing a message raises when the other side has died or answers nonsense."""


class WorkerDied(Exception):
    """The process ended without an answer. Its text says how: a signal or an exit code."""

    def __init__(self, how: str, *, timed_out: bool = False) -> None:
        super().__init__(how)
        self.timed_out = timed_out


def process_mark(pid: int) -> str:
    """``<pid>@<namespace>``: a container has numbers of its own, so a number names a process only where it was given."""
    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:  # no Linux
        namespace = ""
    return f"{pid}@{namespace}"


class WorkerProcess:
    """A running worker.

    ``-P`` keeps the current folder off its import path: a stray module there can break a decoder, or run in its place.

    Raises
    ------
    MammoError
        It does not start.
    """

    def __init__(self, seconds: float, memory_bytes: int) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(IMPORT_ROOT), os.environ.get("PYTHONPATH")]))
        environment[PARENT] = process_mark(os.getpid())
        command = [sys.executable, "-P", "-m", "mammo_core.data.decode_worker", str(memory_bytes), str(seconds)]
        with tempfile.TemporaryFile() as errors:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                cwd=IMPORT_ROOT,
                env=environment,
                start_new_session=True,  # Ctrl-C in a terminal goes to the parent alone, which then ends its workers
            )
            try:
                self._receive(START_SECONDS)
            except WorkerDied as error:
                raise MammoError(
                    f"The process that reads films did not start ({_last_line(errors) or error}). Check the installation."
                ) from error

    @property
    def pid(self) -> int | None:
        """Process id, or ``None`` once it has ended."""
        return self._process.pid if self._process.poll() is None else None

    def ask(self, job: Mapping[str, Any], seconds: float) -> Message:
        """Send one job and wait for its answer.

        Raises
        ------
        WorkerDied
            No answer came, or none in time; the process is ended.
        """
        return self._receive(seconds, job)

    def close(self) -> None:
        """End the process, collect it and close its pipes. May be called from another thread, and twice."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):  # bytes that the process never took are still in the buffer
                    pipe.close()

    def _receive(self, seconds: float, job: Mapping[str, Any] | None = None) -> Message:
        watch = _Watch(self._process, seconds)
        try:
            if job is not None:
                write_message(_stream(self._process.stdin), job)
            return read_message(_stream(self._process.stdout))
        except ProtocolFault as error:
            timed_out = watch.end()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(EXIT_SECONDS)  # else its own way to end would be hidden by ours
            self.close()
            raise WorkerDied(_how_it_ended(self._process.returncode), timed_out=timed_out) from error
        finally:
            watch.end()


class _Watch:
    """Kills a process after some seconds, unless :meth:`end` comes first."""

    def __init__(self, process: subprocess.Popen[bytes], seconds: float) -> None:
        self._process = process
        self._lock = threading.Lock()
        self._over = False
        self._fired = False
        self._timer = threading.Timer(seconds, self._fire)
        self._timer.daemon = True
        self._timer.start()

    def _fire(self) -> None:
        with self._lock:
            if not self._over:
                self._fired = True
                self._process.kill()

    def end(self) -> bool:
        """Stop watching; whether the process had been killed before."""
        with self._lock:
            self._over = True
        self._timer.cancel()
        return self._fired


def _stream(pipe: IO[bytes] | None) -> Any:
    if pipe is None:
        raise TypeError("the process was started without a pipe")
    return pipe


def _last_line(errors: IO[bytes]) -> str:
    errors.seek(0)
    lines = errors.read().decode(errors="replace").strip().splitlines()
    return lines[-1][:200] if lines else ""


def _how_it_ended(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
