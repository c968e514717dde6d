"""What a training process under test does to itself at an exact moment: Python tells of each file that is about to be opened or
renamed (audit events), and the trap then kills the process or fills the disk. Nothing of the program itself is replaced.

An audit hook cannot be removed, so a trap is only ever set in a process that is made for it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

TRACED = {"open": 0, "os.rename": 1, "os.remove": 0}
"""Event -> which of its arguments is the path that counts."""


def on_writing(folder: Path, do: Callable[[str, str], None]) -> None:
    """Call ``do(event, file name)`` before each opening for writing, renaming and removing below ``folder``."""
    front = str(folder) + os.sep

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        place = TRACED.get(event)
        if place is None:
            return
        path = arguments[place]
        if not isinstance(path, str | os.PathLike) or not os.fspath(path).startswith(front):
            return
        if event != "open" or _writes(arguments):
            do(event, os.path.basename(os.fspath(path)))

    sys.addaudithook(hook)


def _writes(arguments: tuple[object, ...]) -> bool:
    """Whether an ``open`` event is for writing; locks are opened below Python's files and have no mode."""
    mode = arguments[1]
    return isinstance(mode, str) and bool(set(mode) & set("wax+"))


def count_moments(home: str, folder: str, out: str) -> None:
    """To be started: train, and write down the moments at which a trap can act, in their order."""
    from reliability.small_runs import train_here

    moments: list[list[str]] = []
    on_writing(Path(folder), lambda event, name: moments.append([event, name]))
    try:
        train_here(home, folder)
    finally:
        Path(out).write_text(json.dumps(moments))


def train_until(home: str, folder: str, moment: int, seconds: float, only: str = "") -> None:
    """To be started: train, and die of ``kill -9`` so long after the moment of this number (from 0).

    ``only`` counts moments of one kind, such as ``os.rename resume.pt``.
    """
    from reliability.small_runs import train_here

    left = [moment]

    def die(event: str, name: str) -> None:
        left[0] -= only in ("", f"{event} {name}")
        if left[0] == -1:
            left[0] = -2
            _kill_after(seconds)

    on_writing(Path(folder), die)
    train_here(home, folder)


def _kill_after(seconds: float) -> None:
    """From outside, so that the process goes on with its write meanwhile."""
    victim = os.getpid()
    if seconds <= 0:
        os.kill(victim, signal.SIGKILL)
    if os.fork() == 0:
        time.sleep(seconds)
        if os.getppid() == victim:  # else it has ended, and its number may be another process's by now
            os.kill(victim, signal.SIGKILL)
        os._exit(0)
