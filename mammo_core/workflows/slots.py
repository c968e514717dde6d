"""The training slots of a machine: one for each graphics card, one where there is none.

A slot is a lock in the workspace, so trainings of the app and of the command line share them, and one that dies frees its own. A
training that takes a slot sees that slot's card only.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from mammo_core.errors import RunBusy
from mammo_core.settings import Workspace
from mammo_core.storage import is_locked, lock_of, writing

LOCK_SECONDS = 2.0
"""A reader that probes a lock holds it for an instant; a trainer outwaits that, not another trainer."""
VISIBLE = "CUDA_VISIBLE_DEVICES"


def graphics_cards() -> list[str]:
    """The names of NVIDIA cards, found out without loading torch."""
    found = sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
    lines = [line for path in found for line in path.read_text(errors="replace").splitlines()]
    cards = [line.split(":", 1)[1].strip() for line in lines if line.startswith("Model:")]
    return cards or (["CUDA"] if shutil.which("nvidia-smi") else [])


def usable_cards() -> tuple[str, ...]:
    """The cards that processes of this one may use, as ``CUDA_VISIBLE_DEVICES`` names them."""
    there, told = graphics_cards(), os.environ.get(VISIBLE)
    if not there or told is None:
        return tuple(map(str, range(len(there))))
    return tuple(name.strip() for name in told.split(",") if name.strip())


@dataclass
class Slots:
    """The slots of one workspace on this machine, as one process sees them."""

    workspace: Workspace
    cards: tuple[str, ...]
    mine: int | None = None
    """The slot that this process took first; CUDA cannot change its card later."""

    @property
    def count(self) -> int:
        return max(1, len(self.cards))

    @property
    def locks(self) -> list[Path]:
        return [self.workspace.slot_lock, *(self.workspace.home / f".slot_{number}.lock" for number in range(1, self.count))]

    @property
    def taken(self) -> int:
        """How many are held by a training."""
        return sum(map(is_locked, self.locks))

    @contextlib.contextmanager
    def take(self, every: bool = False) -> Iterator[None]:
        """Hold a free slot, or all of them for a training that uses every card.

        Raises
        ------
        RunBusy
            There is none.
        """
        numbers = [self.mine] if self.mine is not None else list(range(self.count))
        held: list[FileLock] = []
        try:
            for number in range(self.count) if every else numbers:
                lock = _held(self.locks[number], LOCK_SECONDS if every or number == numbers[-1] else 0.0)
                if lock is not None:
                    held.append(lock)
                    if not every:
                        self._settle(number)
                        break
            if len(held) < (self.count if every else 1):
                slots = "Another training holds this machine's training slot" if self.count == 1 else (
                    f"Other trainings hold the training slots of this machine's {self.count} graphics cards"
                )  # fmt: skip
                raise RunBusy(f"{slots}. Wait for it to end, or stop it on the Queue page.")
            yield
        finally:
            for lock in held:
                lock.release()

    def _settle(self, number: int) -> None:
        self.mine = number
        if len(self.cards) > 1:
            os.environ[VISIBLE] = self.cards[number]


def _held(path: Path, seconds: float) -> FileLock | None:
    lock = lock_of(path)
    try:
        with writing(path.name):
            lock.acquire(timeout=seconds)
    except TimeoutError:
        return None
    return lock


_of_this_process: dict[Path, Slots] = {}


def slots_of(workspace: Workspace) -> Slots:
    """The slots of this machine; which cards there are is asked once, since a training then hides the others from itself."""
    known = _of_this_process.get(workspace.home)
    if known is None:
        known = _of_this_process[workspace.home] = Slots(workspace, usable_cards())
    return known
