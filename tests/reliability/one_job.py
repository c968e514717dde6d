"""One job of a sweep, apart from what starts it: the process that does it imports this module and no other of the tests."""

from __future__ import annotations

from mammo_core.runs.run_dir import RunDir
from mammo_core.settings import Workspace


def train_beside_others(home: Workspace, run: RunDir) -> None:
    """What every launcher starts, with a training slot of its own as on a cluster; the exit code is the process's own."""
    from mammo_core.workflows.train_run import train

    raise SystemExit(train(home, run, slot=run.path.with_name(f".{run.name}.slot.lock")))
