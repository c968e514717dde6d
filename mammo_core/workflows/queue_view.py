"""What the Queue page shows: requests and runs joined into what runs, waits and has ended, with the reason in one sentence."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

from mammo_core.runs.listing import RunCard
from mammo_core.runs.queue import TRAINING_KINDS, is_paused, list_requests
from mammo_core.runs.schema import LIVE_STATES, RESUMABLE_STATES, Request, Status
from mammo_core.settings import Workspace

ETA_AFTER_EPOCHS = 2
"""Before that the time of an epoch has not settled, and a time to go would mislead."""

INTERRUPTED_WORDS = (
    "The process that trained it is gone (computer off, killed, or out of memory). Resume goes on from the last whole epoch."
)
UNQUEUED_WORDS = "It was cancelled before it started."
LIGHT_ENDS = {"done": "finished", "failed": "failed", "cancelled": "cancelled"}


@dataclass(frozen=True)
class EndedItem:
    """Something that no longer runs or waits."""

    title: str
    state: str
    reason: str
    ended_at: float
    card: RunCard | None = None
    request: Request | None = None

    @property
    def can_resume(self) -> bool:
        return self.card is not None and self.card.problem is None and self.state in RESUMABLE_STATES

    @property
    def can_queue(self) -> bool:
        """Whether the run never started and no longer waits."""
        return self.card is not None and self.card.problem is None and self.state == "queued"


@dataclass(frozen=True)
class QueueView:
    """Everything in the queue, as it stands now."""

    running: tuple[RunCard, ...]
    starting: tuple[Request, ...]
    """Trainings whose process has been started and has not written its state yet."""
    jobs: tuple[Request, ...]
    """Light work that runs: imports, evaluations, reports, demo films."""
    waiting: tuple[Request, ...]
    """In the order in which they will start."""
    ended: tuple[EndedItem, ...]
    """Newest first."""
    paused: bool = False
    """Whether no further training starts until a person lets it."""

    @property
    def is_live(self) -> bool:
        return bool(self.running or self.starting or self.jobs or self.waiting)

    @property
    def signature(self) -> tuple[tuple[str, ...], ...]:
        """Changes when something starts, ends, comes or moves, but not with mere progress."""
        requests = tuple(request.id for group in (self.starting, self.jobs, self.waiting) for request in group)
        places = tuple(str(len(group)) for group in (self.starting, self.jobs, self.waiting))
        runs = tuple(f"{card.id} {card.state}" for card in self.running)
        ended = tuple(f"{item.title} {item.state}" for item in self.ended)
        return ("paused",) if self.paused else (), requests, places, runs, ended


def queue_view(workspace: Workspace, cards: Sequence[RunCard]) -> QueueView:
    """Join the requests of the queue with the runs they are about."""
    requests = list_requests(workspace)
    by_id = {card.id: card for card in cards}
    active = {request.arguments.get("run") for request in requests if request.state in ("waiting", "running")}
    live = tuple(card for card in cards if card.state in LIVE_STATES)
    running = [request for request in requests if request.state == "running"]
    starting = tuple(
        request
        for request in running
        if request.kind in TRAINING_KINDS and not _is_live(by_id.get(str(request.arguments.get("run"))))
    )
    messages = {str(request.arguments.get("run")): request.message for request in requests if request.state == "failed"}
    ended = [_ended_run(card, messages.get(card.id, "")) for card in cards if card not in live and card.id not in active]
    ended += [_ended_job(request) for request in requests if request.kind not in TRAINING_KINDS and request.state in LIGHT_ENDS]
    return QueueView(
        running=live,
        starting=starting,
        jobs=tuple(request for request in running if request.kind not in TRAINING_KINDS),
        waiting=tuple(request for request in requests if request.state == "waiting"),
        ended=tuple(sorted(ended, key=lambda item: item.ended_at, reverse=True)),
        paused=is_paused(workspace),
    )


def _is_live(card: RunCard | None) -> bool:
    return card is not None and card.state in LIVE_STATES


def _ended_run(card: RunCard, message: str) -> EndedItem:
    status = card.status
    ended_at = (status.finished_at or card.changed_at) if status else card.changed_at
    return EndedItem(card.id, card.state, _reason(card, message), ended_at, card)


def _reason(card: RunCard, message: str) -> str:
    if card.problem:
        return card.problem
    if card.state == "queued":
        return UNQUEUED_WORDS
    if card.state == "interrupted":
        return message or INTERRUPTED_WORDS
    return (card.status.message if card.status else "") or message


def _ended_job(request: Request) -> EndedItem:
    return EndedItem(
        request.title,
        LIGHT_ENDS[request.state],
        request.message if request.state != "done" else "",
        request.finished_at or request.created_at,
        None,
        request,
    )


# ---- how far a run is -------------------------------------------------------------------------------------------------


def run_progress(status: Status) -> float:
    """Share of the planned steps that are done, in [0, 1]."""
    if not status.epochs:
        return 0.0
    inside = status.step / status.steps if status.steps else 0.0
    return min(1.0, (status.epoch + inside) / status.epochs)


def job_progress(request: Request) -> float | None:
    """Share of the items that are done, in [0, 1]; ``None`` where the number of items is not known yet."""
    return min(1.0, request.done / request.total) if request.total else None


def seconds_left(status: Status, now: float | None = None) -> float | None:
    """Time to go, seconds; ``None`` in the first two epochs. The estimate ages from the moment it was written."""
    if status.eta_seconds is None or status.epoch < ETA_AFTER_EPOCHS or not math.isfinite(status.eta_seconds):
        return None
    age = (time.time() if now is None else now) - (status.heartbeat_at or 0.0)
    return max(0.0, status.eta_seconds - max(0.0, age))


def finish_clock(seconds: float | None, now: float | None = None) -> str:
    """``16:40``, with the day where it is not today; empty where unknown."""
    if seconds is None:
        return ""
    start = time.time() if now is None else now
    end, today = time.localtime(start + seconds), time.localtime(start)
    same_day = (end.tm_year, end.tm_yday) == (today.tm_year, today.tm_yday)
    return time.strftime("%H:%M" if same_day else "%a %H:%M", end)
