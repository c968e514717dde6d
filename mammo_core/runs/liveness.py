"""Who writes a run, and whether his silence means that he is gone."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

from mammo_core.runs.schema import Status

DEAD_AFTER_SECONDS = 30.0
"""A run whose lock is free is called interrupted only when its heartbeat is older than this."""


def this_process() -> dict[str, Any]:
    """What identifies this process for sure: pid, its start time, boot and host (a pid alone is reused)."""
    import psutil  # only training processes need it

    return {
        "pid": os.getpid(),
        "process_started_at": psutil.Process().create_time(),
        "boot_id": _boot_id(),
        "host": socket.gethostname(),
    }


def heartbeat_is_old(status: Status, now: float) -> bool:
    """Whether whoever wrote ``status`` has been silent for so long that only a lock still speaks for him.

    A heartbeat from the future says that a clock was set back. On this machine it is worth nothing, because a live run holds its
    lock here; that of another machine, whose clock may go ahead a little, counts up to the same limit.
    """
    age = now - (status.heartbeat_at or 0.0)
    if status.host == socket.gethostname():
        return not 0 <= age <= DEAD_AFTER_SECONDS
    return abs(age) > DEAD_AFTER_SECONDS


def _boot_id() -> str | None:
    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text().strip() if path.exists() else None
