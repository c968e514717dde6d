"""Starts a program several times as ``torchrun`` does: each finds its place in the environment."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

TESTS = Path(__file__).resolve().parent


def start_all(count: int, command: Sequence[str], **environment: str) -> list[subprocess.Popen[str]]:
    """``count`` processes of one command, joined over loopback."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    common = {
        **os.environ,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(count),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)]),
        **environment,
    }
    return [
        subprocess.Popen(command, env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)}, stderr=subprocess.PIPE, text=True)
        for rank in range(count)
    ]


def wait_all(processes: Sequence[subprocess.Popen[str]], seconds: float = 180) -> list[tuple[int, str]]:
    """Exit code and standard error of each; what still runs at the end is killed."""
    try:
        told = [process.communicate(timeout=seconds)[1] for process in processes]
        return [(process.returncode, text) for process, text in zip(processes, told, strict=True)]
    finally:
        for process in processes:
            process.kill()
            process.wait()
