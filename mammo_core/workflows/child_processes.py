"""Children of the server that work on its queue: how they are started, found again and ended, and what an exit code says."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess

from mammo_core.settings import HOME_VARIABLE, PROJECT_ROOT, Workspace, physical_cores
from mammo_core.workflows.exit_codes import DISK_FULL

NICENESS = 10
"""Pages go before training; see bench/pages.py for what a rerun costs while a child trains."""

KILLED = 9
"""SIGKILL, which Windows does not name; a system without memory ends programs with it."""


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
            creationflags=_windows_flags() if os.name == "nt" else 0,
        )


def _windows_flags() -> int:
    """Low priority, and a group that Ctrl-C in the app's window does not reach."""
    return getattr(subprocess, "BELOW_NORMAL_PRIORITY_CLASS", 0) | getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)


def _nice(command: list[str]) -> list[str]:
    """Prefix with nice(1) where there is one: ``preexec_fn`` is not safe in a process with threads."""
    nice = shutil.which("nice")
    return [nice, "-n", str(NICENESS), *command] if nice else command


def end_with_children(pid: int) -> None:
    """Kill a child of :func:`start_child` and all of its own: as safe as a power cut, and heard by a process that is held."""
    import psutil

    with contextlib.suppress(psutil.Error):
        for process in (*psutil.Process(pid).children(recursive=True), psutil.Process(pid)):
            with contextlib.suppress(psutil.Error):
                process.kill()


def some_process_has(argument: str) -> bool:
    """Whether any process of this machine was started with this argument."""
    import psutil

    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if argument in process.cmdline():
                return True
    return False


def describe_exit(code: int | None) -> str:
    """One sentence on a child that ended without a word of its own."""
    if code is None:
        return "The program that worked on this ended while the app was closed. Resume it, or start it again."
    if code == -KILLED:
        return "The process was killed (signal 9), most often because memory ran out. Lower the batch or image size, then resume."
    if code == DISK_FULL:
        return "The disk is full, or the workspace cannot be written. What was kept before is unharmed: make room, then resume."
    if code < 0:
        return f"The process died of signal {-code}. Resume it; if that happens again, the log in the queue folder says more."
    return f"The process ended with exit code {code}. The log in the queue folder says more; resume it or start it again."
