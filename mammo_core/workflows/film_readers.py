"""Who reads prepared films at this moment outside a training, so that nobody erases them meanwhile.

A training holds its run and its slot, which says the same. An evaluation or an embedding, from a page or typed, has a lock
file of its own in the cache; a killed one leaves a file that nobody holds, which the next clearing takes along.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from mammo_core.errors import RunBusy
from mammo_core.settings import Workspace
from mammo_core.storage import held, is_locked, lock_of, writing

READERS = "readers"
"""Folder in the cache with a lock file for each."""
WAIT_SECONDS = 10.0


@contextlib.contextmanager
def reading_films(workspace: Workspace) -> Iterator[None]:
    """Keep prepared films, those there and those that are made now, until the block ends."""
    with door_to_films(workspace), writing(workspace.cache.name):
        lock = lock_of(_folder(workspace) / f"{os.getpid()}_{secrets.token_hex(4)}.lock")
        lock.acquire(timeout=0)
    try:
        yield
    finally:
        lock.release()
        with contextlib.suppress(OSError):
            os.unlink(lock.lock_file)


def door_to_films(workspace: Workspace) -> AbstractContextManager[object]:
    """While it is held nobody begins to read prepared films."""
    busy = RunBusy("The prepared films are being erased, or about to be read by many; expected a moment. Try again.")
    return held(workspace.home / ".films.lock", WAIT_SECONDS, workspace.cache.name, busy)


def are_read(workspace: Workspace) -> bool:
    return any(map(is_locked, _folder(workspace).glob("*.lock")))


def _folder(workspace: Workspace) -> Path:
    return workspace.cache / READERS
