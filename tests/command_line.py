"""Two ways to give a command: as a program of its own, and in this process, which spares a second start of Python and torch.

Both run ``mammo_core.cli.main`` and answer alike. What only a process shows (that nothing but the answer is written to stdout,
whoever writes it; the exit code that a shell sees) is tested with :func:`run_program`.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mammo_core.cli import main
from mammo_core.settings import HOME_VARIABLE, PROJECT_ROOT

Done = subprocess.CompletedProcess[str]


def run_program(home: Path, *arguments: str) -> Done:
    """``python -m mammo_core`` with these arguments and the workspace ``home``, started there."""
    environment = {**os.environ, HOME_VARIABLE: str(home), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(PROJECT_ROOT)}
    command = [sys.executable, "-m", "mammo_core", *arguments]
    return subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, timeout=240, check=False)


def run_command(home: Path, *arguments: str) -> Done:
    """The same in this process, which is left as it was found: folder, environment, logging, threads and hooks."""
    out, err = io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        _as_it_was(),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        patch.setenv(HOME_VARIABLE, str(home))
        patch.setattr(sys, "argv", ["mammography", *arguments])
        patch.setattr(sys, "excepthook", sys.excepthook)  # typer sets its own
        patch.chdir(home)
        try:
            main()
            code: object = 0
        except SystemExit as end:
            code = 0 if end.code is None else end.code
    assert isinstance(code, int), code
    return subprocess.CompletedProcess(["mammography", *arguments], code, out.getvalue(), err.getvalue())


@contextlib.contextmanager
def _as_it_was() -> Iterator[None]:
    """Put logging back, and the number of torch's threads where torch is loaded."""
    logger = logging.getLogger("mammo_core")
    handlers, level = logger.handlers[:], logger.level
    threads = sys.modules["torch"].get_num_threads() if "torch" in sys.modules else int(os.environ.get("OMP_NUM_THREADS", "1"))
    try:
        yield
    finally:
        logger.handlers[:] = handlers
        logger.setLevel(level)
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(threads)


def one_line(stderr: str) -> str:
    """The last line of what a command said on an error, which is all that may be said."""
    lines = [line for line in stderr.splitlines() if line.strip()]
    assert "Traceback" not in stderr
    assert lines[-1].startswith("Error: ")
    return lines[-1]
