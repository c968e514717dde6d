"""The app as a user starts it, in a process of its own, and everything that it and its children tried to speak to."""

from __future__ import annotations

import ipaddress
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from mammo_core.settings import HOME_VARIABLE, PROJECT_ROOT, Workspace

START_SECONDS = 90
END_SECONDS = 40

WATCHER = """
import os, sys

_file = os.open(os.path.join({folder!r}, f"{{os.getpid()}}.connections"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

def _note(event, arguments):
    if event in ("socket.connect", "socket.sendto") and isinstance(arguments[1], tuple):
        os.write(_file, f"{{event}} {{arguments[1][0]}} {{arguments[1][1]}}\\n".encode())
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        os.write(_file, f"{{event}} {{arguments[0]}} 0\\n".encode())

sys.addaudithook(_note)
"""
"""Loaded by every Python process below the app before anything else: no connection and no look-up of a name escapes it."""


@dataclass(frozen=True)
class RunningApp:
    url: str
    port: int
    process: psutil.Popen
    log: Path
    """What it wrote on stdout and stderr."""
    watched: Path
    """Folder of the lists of connections, one file a process."""

    def processes(self) -> list[psutil.Process]:
        """The server and everything below it."""
        return [self.process, *self.process.children(recursive=True)]

    def connections(self) -> list[Any]:
        """Network connections of every process, as psutil lists them."""
        found = []
        for process in self.processes():
            with suppress(psutil.NoSuchProcess):
                found += process.net_connections("inet")
        return found

    def listening(self) -> list[tuple[str, int]]:
        return [(c.laddr.ip, c.laddr.port) for c in self.connections() if c.status == psutil.CONN_LISTEN]

    def elsewhere(self) -> list[str]:
        """Connections that are open now and lead to another machine."""
        return [f"{c.raddr.ip}:{c.raddr.port}" for c in self.connections() if c.raddr and not is_here(c.raddr.ip)]

    def tried(self) -> list[str]:
        """Every other machine and name that any process asked for since the start, with the process that did."""
        found = []
        for path in sorted(self.watched.glob("*.connections")):
            for line in path.read_text().splitlines():
                event, host, port = line.rsplit(" ", 2)
                if not is_here(host):
                    found.append(f"{event} {host}:{port} by {path.stem}")
        return found

    def watched_processes(self) -> int:
        return len(list(self.watched.glob("*.connections")))


def is_here(host: str) -> bool:
    if host in ("localhost", "", "None"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def running_app(workspace: Workspace, *options: str, port: int | None = None, **environment: str) -> Iterator[RunningApp]:
    """The app on ``workspace`` until the block ends; it and every child are ended then."""
    port = port or free_port()
    watched = workspace.home.parent / f"watched_{port}"
    watched.mkdir()
    (watched / "sitecustomize.py").write_text(WATCHER.format(folder=str(watched)))
    log = watched / "app.log"
    command = [sys.executable, "-m", "mammo_core", "app", "--port", str(port), "--no-browser", *options]
    settings = {**os.environ, HOME_VARIABLE: str(workspace.home), "PYTHONPATH": str(watched), **environment}
    with log.open("wb") as file:
        process = psutil.Popen(
            command, cwd=PROJECT_ROOT, env=settings, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
        )
        app = RunningApp(f"http://localhost:{port}", port, process, log, watched)
        try:
            _wait_for(app)
            yield app
        finally:
            _end(app)


def _wait_for(app: RunningApp) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if app.process.poll() is not None:
            raise RuntimeError(f"the app ended while it started: {app.log.read_text()[-2000:]}")
        try:
            with urllib.request.urlopen(f"{app.url}/_stcore/health", timeout=2):
                return
        except urllib.error.HTTPError:
            return  # it answers; a lab server knows itself by another name
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"the app did not answer within {START_SECONDS} s: {app.log.read_text()[-2000:]}")


def _end(app: RunningApp) -> None:
    below = app.process.children(recursive=True) if app.process.is_running() else []
    app.process.send_signal(signal.SIGTERM)
    try:
        app.process.wait(timeout=END_SECONDS)
    except psutil.TimeoutExpired:
        app.process.kill()
        app.process.wait()
    for child in below:
        try:
            child.terminate()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(below, timeout=10)
