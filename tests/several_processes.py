"""Processes for tests, alone or joined as ``torchrun`` joins them, that branch off one which has loaded torch already.

To load it takes ten seconds of a processor's time, to branch off a tenth. Each is a process of its own, with its own memory,
locks, signals and exit code; only the start of Python and the imports are spared. What a program started anew shows beyond that
is tested with ``command_line.run_program``, the supervisor and Slurm.
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Started:
    """A process, and the file in which its standard error lands."""

    process: BaseProcess
    said: Path

    def wait(self, seconds: float = 180) -> tuple[int | None, str]:
        """Its exit code and what it said; killed if it still runs by then."""
        self.process.join(seconds)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        return self.process.exitcode, self.said.read_text()


def start(folder: Path, work: Callable[..., Any], *arguments: Any, **environment: str) -> Started:
    """Do ``work(*arguments)`` in a process with these variables in its environment; it must be importable there."""
    said = folder / f"{len(list(folder.glob('*.stderr')))}.stderr"
    said.touch()
    process = _context().Process(target=_work, args=(environment, said, work, arguments), daemon=True)
    process.start()
    return Started(process, said)


def do_nothing() -> None:
    """To be started: after it, what the others branch off has loaded torch."""


def give_command(*arguments: str) -> None:
    """To be started: ``python -m mammo_core`` with these arguments, after its imports."""
    from mammo_core.cli import main

    sys.argv = ["mammography", *arguments]
    main()


def start_all(count: int, folder: Path, work: Callable[..., Any], *arguments: Any, **environment: str) -> list[Started]:
    """The same ``count`` times at once, joined over loopback: each finds its place in its environment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(count), **environment}
    return [start(folder, work, *arguments, **common, RANK=str(rank), LOCAL_RANK=str(rank)) for rank in range(count)]


def wait_all(started: Sequence[Started], seconds: float = 180) -> list[tuple[int | None, str]]:
    """Exit code and standard error of each; what still runs at the end is killed."""
    return [one.wait(seconds) for one in started]


def _context() -> BaseContext:
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    names = ("commands", "train_run", "launch", "demo_data")
    context.set_forkserver_preload(["mammo_core.cli", *(f"mammo_core.workflows.{name}" for name in names)])
    return context


def _work(environment: dict[str, str], said: Path, work: Callable[..., Any], arguments: Sequence[Any]) -> None:
    os.environ.update(environment)
    with said.open("ab") as file:
        os.dup2(file.fileno(), sys.stderr.fileno())
    work(*arguments)
