"""What tests leave behind: processes that go on, and files in the folder for temporary files.

Children are found as children; one that was given away (its parent died, or it made itself a daemon) is found by a mark in the
environment that it inherited. Temporary files are attributed by giving this pytest process, and all that it starts, a folder of
its own for them.
"""

from __future__ import annotations

import multiprocessing.forkserver
import multiprocessing.resource_tracker
import multiprocessing.util
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

MARK = "MAMMOTRACE_TEST_SESSION"
GRACE_SECONDS = 10.0
"""Given to processes that are ending; a busy machine takes a while to take down a Python with torch in it."""

KEPT_FILES = ("pymp-", "torchinductor_", "playwright", ".org.chromium", ".com.google", "mammotrace_small_")
"""multiprocessing keeps its folder until its process ends, torch its compiled kernels, the browser its profile, and the crash
scenarios the films that each of them copies. A process that a test kills cannot remove its own (``pymp-``)."""
OF_THE_BROWSER = "playwright"
"""In the command of the driver that serves all tests of a session and whose children are the browser's processes."""


def this_session() -> str:
    return f"{os.getpid()}_{psutil.Process().create_time():.2f}"


@contextmanager
def own_temporary_folder() -> Iterator[Path]:
    """A folder of this session for everything that asks for a temporary one, here and in the processes started here."""
    folder = Path(tempfile.mkdtemp(prefix="mammotrace_tests_"))
    before = tempfile.tempdir
    with pytest.MonkeyPatch.context() as patch:
        for name in ("TMPDIR", "TEMP", "TMP"):
            patch.setenv(name, str(folder))
        patch.setenv(MARK, this_session())
        tempfile.tempdir = str(folder)
        try:
            yield folder
        finally:
            tempfile.tempdir = before
            for finalizer in list(multiprocessing.util._finalizer_registry.values()):
                if finalizer._callback is multiprocessing.util._remove_temp_dir:
                    finalizer()  # takes its folder away now; a process of pytest-xdist ends without doing so
            shutil.rmtree(folder, ignore_errors=True)


def processes() -> dict[tuple[int, float], str]:
    """Every process that this session started and that is alive, with its command."""
    found = {(process.pid, process.create_time()): process for process in _descendants()}
    own = f"{MARK}={this_session()}".encode()
    if sys.platform == "linux":
        for place in Path("/proc").glob("[0-9]*"):
            with suppress(OSError, psutil.Error):
                if own in (place / "environ").read_bytes() and int(place.name) != os.getpid():
                    process = psutil.Process(int(place.name))
                    found[(process.pid, process.create_time())] = process
    return {key: words for key, process in found.items() if (words := _words(process))}


def _descendants() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


def _words(process: psutil.Process) -> str:
    """The command; empty for a process that has ended, collected or not."""
    try:
        return "" if process.status() == psutil.STATUS_ZOMBIE else " ".join(process.cmdline())[:300] or process.name()
    except psutil.Error:
        return ""


def of_multiprocessing() -> set[int]:
    """Two processes that multiprocessing keeps until the end of its own."""
    tracker, server = multiprocessing.resource_tracker._resource_tracker, multiprocessing.forkserver._forkserver
    return {pid for pid in (tracker._pid, server._forkserver_pid) if pid is not None}


def of_the_session() -> set[int]:
    """Those, and the browser with its driver, which serves all tests."""
    kept = of_multiprocessing()
    for child in psutil.Process().children():
        if OF_THE_BROWSER in _words(child):
            with suppress(psutil.Error):
                kept |= {child.pid, *(below.pid for below in child.children(recursive=True))}
    return kept


def files(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir() if not entry.name.startswith(KEPT_FILES)}


def seen(folder: Path) -> tuple[set[tuple[int, float]], set[str]]:
    """The processes and temporary files of this moment."""
    return set(processes()), files(folder)


def complaints(folder: Path, before: tuple[set[tuple[int, float]], set[str]], serving: set[int]) -> list[str]:
    """What is there now, was not ``before`` and is not ``serving`` the session; processes that go on are ended."""

    def left() -> dict[tuple[int, float], str]:
        return {key: words for key, words in processes().items() if key not in before[0] and key[0] not in serving}

    until = time.monotonic() + GRACE_SECONDS
    while (still := left()) and time.monotonic() < until:
        time.sleep(0.05)
    for pid, _ in still:
        with suppress(psutil.Error):
            psutil.Process(pid).kill()  # the next module shall not pay for it
    told = [f"process {pid} goes on: {words}" for (pid, _), words in still.items()]
    return told + [f"temporary file or folder {name}" for name in sorted(files(folder) - before[1])]
