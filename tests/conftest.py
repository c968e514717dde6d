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

import left_behind
from mammo_core.settings import HOME_VARIABLE, Workspace, open_workspace


@pytest.fixture(scope="session", autouse=True)
def temporary_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Temporary files of this session lie in a folder of their own; at its end no process of it may go on."""
    tmp_path_factory.getbasetemp()  # pytest's own folders stay where they are
    with left_behind.own_temporary_folder() as folder:
        before = left_behind.seen(folder)
        yield folder
        told = left_behind.complaints(folder, before, serving=left_behind.of_multiprocessing())
    if told:
        pytest.fail("The tests left behind:\n" + "\n".join(told), pytrace=False)


@pytest.fixture(scope="module", autouse=True)
def nothing_left_behind(temporary_folder: Path) -> Iterator[None]:
    """No process and no temporary file outlives the tests of a module; the last of them fails where one does."""
    before = left_behind.seen(temporary_folder)
    yield
    if "mammo_core.data.spare_worker" in sys.modules:
        sys.modules["mammo_core.data.spare_worker"].close_spares()  # else kept ready until the program ends
    told = left_behind.complaints(temporary_folder, before, serving=left_behind.of_the_session())
    if told:
        pytest.fail("The tests of this module left behind:\n" + "\n".join(told), pytrace=False)


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
