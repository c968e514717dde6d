"""Fixtures for every test: a workspace in a temporary folder, and no test that touches the user's own."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# Before torch is imported: one thread a process, since two processes share the tests, and none that spins while it waits.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from mammo_core.settings import HOME_VARIABLE, Workspace, open_workspace


@pytest.fixture(autouse=True)
def own_main() -> Iterator[None]:
    """Put ``__main__`` back: AppTest leaves its script there, and a worker process that is spawned later would run it."""
    main = sys.modules["__main__"]
    yield
    sys.modules["__main__"] = main


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "runs"))
    return open_workspace()
