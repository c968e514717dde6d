"""All runs at a glance, quickly: a card a run, read again only when one of its files changed."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from mammo_core.config import TrainConfig
from mammo_core.errors import MammoError
from mammo_core.runs.liveness import heartbeat_is_old
from mammo_core.runs.run_dir import RunDir, list_runs
from mammo_core.runs.schema import LIVE_STATES, MetricValue, Notes, State, Status, Summary
from mammo_core.settings import Workspace

T = TypeVar("T")
Stamp = tuple[tuple[int, int] | None, ...]

CARD_FILES = tuple(getattr(RunDir(Path()), f"{name}_file").name for name in ("status", "summary", "config", "notes", "stop"))


@dataclass(frozen=True)
class RunCard:
    """What lists and pickers show of a run. ``problem`` says what cannot be read; the other fields then hold what could."""

    run: RunDir
    state: State
    task: str = ""
    class_names: tuple[str, ...] = ()
    dataset: str = ""
    split: str = ""
    arch: str = ""
    seed: int | None = None
    fold: int | None = None
    status: Status | None = None
    summary: Summary | None = None
    notes: Notes = field(default_factory=Notes)
    changed_at: float = 0.0
    problem: str | None = None

    @property
    def id(self) -> str:
        return self.run.id

    def metric(self, name: str) -> MetricValue | None:
        """A validation metric at the best epoch; ``None`` before the run ended."""
        return self.summary.metrics.get(name) if self.summary else None


_cards: dict[Path, tuple[Stamp, RunCard]] = {}
_lock = threading.Lock()


def list_cards(workspace: Workspace, *, archived: bool = False) -> list[RunCard]:
    """Cards of all runs, newest experiment first; archived runs only where asked for.

    A run that cannot be read is listed with its problem: it never hides the others.
    """
    cards = [_card(run) for run in list_runs(workspace)]
    return [card for card in cards if archived or not card.notes.archived]


def _card(run: RunDir) -> RunCard:
    stamp = _stamp(run)
    with _lock:
        known = _cards.get(run.path)
    if known and known[0] == stamp:
        card = known[1]
        if not _may_have_turned(card):
            return card
        card = replace(card, state=_attempt(run.state, []) or card.state)
    else:
        card = _read_card(run)
    with _lock:
        _cards[run.path] = (stamp, card)
    return card


def _stamp(run: RunDir) -> Stamp:
    """Time and size of the files that a card is made of; by plain text paths, which take half the time of ``Path`` objects."""
    folder = f"{run.path}{os.sep}"
    return tuple(_stamp_of(folder + name) for name in CARD_FILES)


def _stamp_of(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return status.st_mtime_ns, status.st_size


def _may_have_turned(card: RunCard) -> bool:
    """Whether the state has to be asked for again although no file changed: only a lock tells a silent run from a dead one."""
    if card.status is None:
        return card.state in LIVE_STATES
    return card.status.state in LIVE_STATES and heartbeat_is_old(card.status, time.time())


def _read_card(run: RunDir) -> RunCard:
    """Read as much as there is; the first problem is kept and the rest goes on."""
    problems: list[str] = []
    status = _attempt(run.status, problems)
    summary = _attempt(run.summary, problems)
    config_problems: list[str] = []
    config = _attempt(lambda: _config(run, summary), config_problems)
    notes = _attempt(run.notes, problems)
    state = _attempt(run.state, problems)
    changed_at = (status.heartbeat_at or status.created_at or 0.0) if status else 0.0
    card = RunCard(
        run=run,
        state=state or "failed",
        status=status,
        summary=summary,
        notes=notes or Notes(),
        changed_at=changed_at,
        problem=next(iter([*config_problems, *problems]), None),
    )
    if config is None:
        return card
    return replace(
        card,
        task=config.task,
        class_names=config.class_names,
        dataset=config.dataset,
        split=config.split,
        arch=config.arch,
        seed=config.seed,
        fold=config.fold,
    )


def _config(run: RunDir, summary: Summary | None) -> TrainConfig:
    """The run's settings: of a finished run those in its summary, since YAML takes most of the time of a long list.

    Not where ``config.yaml`` was touched since: then somebody changed it by hand, and the list must say what is wrong with it.
    """
    changed, ended = _stamp_of(str(run.config_file)), _stamp_of(str(run.summary_file))
    if summary is None or not summary.hyperparameters or changed is None or ended is None or changed[0] > ended[0]:
        return run.config()
    return TrainConfig.from_dict(summary.hyperparameters, source=run.summary_file.name)


def _attempt(read: Callable[[], T], problems: list[str]) -> T | None:
    try:
        return read()
    except MammoError as error:
        problems.append(str(error))
        return None
