"""Where the workspace lies and what its folders are called (design: one folder holds everything the app writes)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from mammo_core.errors import MammoError
from mammo_core.storage import check_name

HOME_VARIABLE = "MAMMOTRACE_HOME"
PROJECT_ROOT = Path(__file__).resolve().parent.parent
RESEARCH_ONLY = "Research use only - not for diagnosis"


@dataclass(frozen=True)
class Workspace:
    """The folder under which everything is written. Each property is a path; nothing is created by asking for one."""

    home: Path

    @property
    def datasets(self) -> Path:
        return self.home / "datasets"

    @property
    def splits(self) -> Path:
        return self.home / "splits"

    @property
    def experiments(self) -> Path:
        return self.home / "experiments"

    @property
    def imported(self) -> Path:
        return self.home / "imported"

    @property
    def models(self) -> Path:
        """Models that were kept under a name or imported, one file each."""
        return self.home / "models"

    @property
    def embeddings(self) -> Path:
        """Features of frozen networks, a folder for each data set and network."""
        return self.home / "embeddings"

    @property
    def cache(self) -> Path:
        return self.home / "cache"

    @property
    def queue(self) -> Path:
        return self.home / "queue"

    @property
    def reports(self) -> Path:
        return self.home / "reports"

    @property
    def trash(self) -> Path:
        return self.home / "trash"

    @property
    def slot_lock(self) -> Path:
        """Held by the one process that trains; a second heavy job waits or exits 75."""
        return self.home / ".slot.lock"

    @property
    def supervisor_lock(self) -> Path:
        """Held by the one server whose background thread serves the queue."""
        return self.home / ".supervisor.lock"

    def dataset(self, name: str) -> Path:
        return self.datasets / check_name(name, "data set name")

    def split(self, name: str) -> Path:
        return self.splits / check_name(name, "split name")

    def experiment(self, name: str) -> Path:
        return self.experiments / check_name(name, "experiment name")


def open_workspace(home: str | Path | None = None) -> Workspace:
    """The workspace at ``home``, else at ``$MAMMOTRACE_HOME``, else ``runs/`` beside the app; made if missing.

    Raises
    ------
    MammoError
        The folder cannot be made or is a file.
    """
    chosen = Path(home or os.environ.get(HOME_VARIABLE) or PROJECT_ROOT / "runs").expanduser().resolve()
    try:
        chosen.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MammoError(
            f"The workspace folder cannot be used ({error.strerror}); expected a folder with write access. "
            f"Name another one with --home or {HOME_VARIABLE}."
        ) from error
    return Workspace(chosen)


def physical_cores() -> int:
    """Number of physical cores this process may use, at least 1: the default number of torch threads."""
    import psutil  # only needed here; keeps the first page quick

    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(psutil.cpu_count(logical=False) or allowed, allowed))
