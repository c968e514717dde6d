"""Requests for long work: one JSON file each in ``runs/queue/``, taken one after another by the supervisor.

Pages and the command line add, cancel and reorder requests; the supervisor and the job it started report on them. All changes
go through one short lock, so that two browser tabs cannot undo each other.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pydantic

from mammo_core.errors import CorruptRunFile, MammoError
from mammo_core.reading import read_json
from mammo_core.runs.schema import Request
from mammo_core.settings import Workspace
from mammo_core.storage import held, write_json, writing

TRAINING_KINDS = frozenset({"train", "resume"})
"""Requests that need the training slot; the others run beside it, one at a time."""

STOPPED_WORDS = "Stopped on request."
KEEP_ENDED_SECONDS = 14 * 86400.0
LOCK_TIMEOUT_SECONDS = 10.0

_who_asks: Callable[[], str] = str
"""E-mail address of the person who asks now; empty on a desktop, where there is only one."""


def name_who_asks(who: Callable[[], str]) -> None:
    """Let requests of this process name the person who made them, as a server for several people needs it."""
    global _who_asks
    _who_asks = who


def enqueue(workspace: Workspace, kind: str, arguments: dict[str, Any], title: str) -> Request:
    """Add a request at the end of the queue and return it."""
    now = time.time()
    request = Request(
        id=f"{int(now * 1000)}-{secrets.token_hex(3)}",
        kind=kind,
        arguments=arguments,
        title=title,
        order=now,
        created_at=now,
        asked_by=_who_asks(),
    )
    _make_folder(workspace)
    write_json(_file(workspace, request.id), request.to_json())
    return request


def enqueue_once(workspace: Workspace, kind: str, arguments: dict[str, Any], title: str, since: float = 0.0) -> Request:
    """The same, unless such a request waits or runs already, which is returned then: two clicks are one wish.

    To train and to resume a run are the same wish.

    Parameters
    ----------
    since : seconds since 1970; one that started earlier has done its work, though it may not have ended yet, and is none
    """
    kinds = TRAINING_KINDS if kind in TRAINING_KINDS else {kind}
    _make_folder(workspace)
    with _lock(workspace):
        for request in list_requests(workspace):
            goes_on = request.state == "running" and request.asked_to_stop is None and (request.started_at or 0.0) >= since
            is_due = goes_on or request.state == "waiting"
            if is_due and request.kind in kinds and request.arguments == arguments:
                return request
        return enqueue(workspace, kind, arguments, title)


def _make_folder(workspace: Workspace) -> None:
    with writing(workspace.queue.name):
        workspace.queue.mkdir(parents=True, exist_ok=True)


def list_requests(workspace: Workspace) -> list[Request]:
    """All requests, in the order in which they start; files that are no request are left out."""
    requests = []
    for path in workspace.queue.glob("*.json") if workspace.queue.is_dir() else ():
        try:
            requests.append(Request.model_validate(read_json(path)))
        except (FileNotFoundError, CorruptRunFile, pydantic.ValidationError):
            continue  # cancelled a moment ago, or not ours: nothing that could be started
    return sorted(requests, key=lambda request: request.order)


def find_request(workspace: Workspace, request_id: str) -> Request | None:
    return next((request for request in list_requests(workspace) if request.id == request_id), None)


def latest_request(workspace: Workspace, kind: str, **arguments: Any) -> Request | None:
    """The request of that kind that was asked for last, whatever became of it; with these arguments, where any are named."""
    asked = [
        request
        for request in list_requests(workspace)
        if request.kind == kind and all(request.arguments.get(name) == value for name, value in arguments.items())
    ]
    return max(asked, key=lambda request: request.created_at, default=None)


def update(workspace: Workspace, request_id: str, **changes: Any) -> Request:
    """Change fields of one request and return it.

    Raises
    ------
    MammoError
        The request is gone.
    """
    return _change(workspace, request_id, lambda request: request.model_copy(update=changes))


def start(workspace: Workspace, request_id: str) -> bool:
    """Mark a waiting request as running; ``False`` where it no longer waits, because it was cancelled a moment ago.

    Raises
    ------
    MammoError
        The request is gone.
    """
    now = time.time()

    def change(request: Request) -> Request:
        waits = request.state == "waiting"
        return request.model_copy(update={"state": "running", "started_at": now, "message": ""}) if waits else request

    changed = _change(workspace, request_id, change)
    return changed.state == "running" and changed.started_at == now


def cancel(workspace: Workspace, request_id: str) -> Request:
    """Cancel a request that waits. A training that runs is asked to stop by the STOP file of its run, other work by :func:`stop`.

    Raises
    ------
    MammoError
        It is gone or has started.
    """

    def change(request: Request) -> Request:
        if request.state != "waiting":
            raise MammoError(f"'{request.title}' is {request.state} and no longer waits; stop it on the Queue page instead.")
        return request.model_copy(update={"state": "cancelled", "finished_at": time.time()})

    return _change(workspace, request_id, change)


def stop(workspace: Workspace, request_id: str) -> Request:
    """Ask work that is no training to stop, or cancel it where it still waits; one that has ended stays as it is.

    The work hears it when it next tells how far it is, and the supervisor ends one that does not.

    Raises
    ------
    MammoError
        It is gone.
    """
    now = time.time()

    def change(request: Request) -> Request:
        if request.state == "waiting":
            return request.model_copy(update={"state": "cancelled", "finished_at": now})
        asks = request.state == "running" and request.asked_to_stop is None
        return request.model_copy(update={"asked_to_stop": now}) if asks else request

    return _change(workspace, request_id, change)


def move(workspace: Workspace, request_id: str, places: int) -> None:
    """Move a waiting request up (negative) or down (positive) among the waiting ones."""
    with _lock(workspace):
        waiting = [request for request in list_requests(workspace) if request.state == "waiting"]
        index = next((i for i, request in enumerate(waiting) if request.id == request_id), None)
        if index is None:
            raise MammoError("That request no longer waits, so its place cannot change. Reload the page.")
        orders = [request.order for request in waiting]
        moved = waiting.pop(index)
        waiting.insert(min(max(index + places, 0), len(waiting)), moved)
        for request, order in zip(waiting, orders, strict=True):
            write_json(_file(workspace, request.id), request.model_copy(update={"order": order}).to_json())


def ended_long_ago(workspace: Workspace, older_than_seconds: float = KEEP_ENDED_SECONDS) -> list[Request]:
    """Requests that nobody needs any more."""
    return [
        request
        for request in list_requests(workspace)
        if request.state in ("done", "failed", "cancelled") and time.time() - (request.finished_at or 0) >= older_than_seconds
    ]


def clear_ended(workspace: Workspace, older_than_seconds: float = KEEP_ENDED_SECONDS) -> int:
    """Forget requests that ended long ago; returns how many. The runs they made are not touched."""
    old = ended_long_ago(workspace, older_than_seconds)
    for request in old:
        _file(workspace, request.id).unlink(missing_ok=True)
    return len(old)


def pause(workspace: Workspace) -> None:
    """Let no further training start; what runs goes on, and other work is not held up. It lasts until :func:`go_on`."""
    with writing(workspace.queue.name):
        workspace.queue.mkdir(parents=True, exist_ok=True)
    write_json(_pause_file(workspace), {"paused_at": time.time()})


def go_on(workspace: Workspace) -> None:
    """End a pause."""
    with writing(workspace.queue.name):
        _pause_file(workspace).unlink(missing_ok=True)


def is_paused(workspace: Workspace) -> bool:
    return _pause_file(workspace).exists()


def _pause_file(workspace: Workspace) -> Path:
    return workspace.queue / "PAUSED"


def _change(workspace: Workspace, request_id: str, change: Callable[[Request], Request]) -> Request:
    with _lock(workspace):
        request = find_request(workspace, request_id)
        if request is None:
            raise MammoError("That request is no longer in the queue. Reload the page.")
        changed = change(request)
        write_json(_file(workspace, request_id), changed.to_json())
    return changed


def _lock(workspace: Workspace) -> AbstractContextManager[object]:
    seconds = LOCK_TIMEOUT_SECONDS
    busy = MammoError(f"The queue has been in use by another program for {seconds:.0f} s; expected an instant. Try again.")
    return held(workspace.queue / ".lock", seconds, workspace.queue.name, busy)


def _file(workspace: Workspace, request_id: str) -> Path:
    return workspace.queue / f"{request_id}.json"
