"""Fixtures for every test: a workspace in a temporary folder, and no test that touches the user's own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "2")  # before torch is imported; spinning threads slow everything else down

from mammo_core.settings import HOME_VARIABLE, Workspace, open_workspace


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "runs"))
    return open_workspace()
