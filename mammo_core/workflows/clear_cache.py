"""Freeing the space of prepared films, which are made again when a training needs them."""

from __future__ import annotations

import contextlib
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from mammo_core.errors import RunBusy
from mammo_core.runs import queue
from mammo_core.runs.run_dir import list_runs
from mammo_core.settings import Workspace
from mammo_core.storage import LEFTOVER_SUFFIX, folder_size, is_locked, writing
from mammo_core.workflows.film_readers import are_read, door_to_films
from mammo_core.workflows.slots import slots_of
from mammo_core.workflows.uploads import uploads_folder

THUMBNAILS = "thumbnails"
"""Small, and made only at import."""
CLEARED = ".cleared."
"""How the folder in the cache begins in which films wait to be erased; a killed program may leave it."""
TRAINS = "A training is running and needs the prepared films; expected none. Clear the cache when it has ended."


def clear_cache(workspace: Workspace) -> int:
    """Erase the prepared films; returns the bytes freed. Thumbnails, uploads, data sets and runs are not touched.

    Raises
    ------
    RunBusy
        A training, an evaluation or a job of the queue is at work: it would miss its films.
    WriteFailed
        The system refused to erase something.
    """
    if not workspace.cache.is_dir():
        return 0
    with _no_training(workspace), writing(workspace.cache.name):
        with door_to_films(workspace):
            _refuse_if_needed(workspace)
            place = _moved_aside(workspace)
        if place is None:
            return 0
        freed = folder_size(place)
        shutil.rmtree(place)
        return freed


def _refuse_if_needed(workspace: Workspace) -> None:
    at_work = next((request for request in queue.list_requests(workspace) if request.state == "running"), None)
    if at_work is not None:
        raise RunBusy(
            f"'{at_work.title}' is running and may need the prepared films; expected no work. Clear the cache when it has ended."
        )
    if are_read(workspace):
        raise RunBusy("An evaluation or an embedding reads the prepared films; expected none. Clear the cache when it has ended.")


@contextlib.contextmanager
def _no_training(workspace: Workspace) -> Iterator[None]:
    """Let no training of this machine begin, and make sure that none is at work; those of a cluster hold their run alone."""
    slots = slots_of(workspace)
    if slots.taken or any(is_locked(run.lock_file) for run in list_runs(workspace)):
        raise RunBusy(TRAINS)
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(slots.take(every=True))
        except RunBusy as error:
            raise RunBusy(TRAINS) from error
        yield


def _moved_aside(workspace: Workspace) -> Path | None:
    """Where all that goes lies now. It takes an instant; work that begins then finds no film and makes those that it needs."""
    kept = {THUMBNAILS, uploads_folder(workspace).name}
    gone = [entry for entry in workspace.cache.iterdir() if entry.name not in kept and not _is_asked(entry)]
    if not gone:
        return None
    place = workspace.cache / f"{CLEARED}{secrets.token_hex(4)}{LEFTOVER_SUFFIX}"
    place.mkdir()
    for entry in gone:
        with contextlib.suppress(FileNotFoundError):  # a writer's temporary file that has its name by now
            entry.rename(place / entry.name)
    return place


def _is_asked(entry: Path) -> bool:
    """Whether a page measures at this moment what a training would cost, and waits for the answer in this folder."""
    return entry.name == "probes" and any(entry.glob("now_*"))
