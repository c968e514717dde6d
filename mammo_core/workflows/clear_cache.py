"""Freeing the space of prepared films, which are made again when a training needs them."""

from __future__ import annotations

import shutil

from mammo_core.errors import RunBusy
from mammo_core.settings import Workspace
from mammo_core.storage import folder_size
from mammo_core.workflows.slots import slots_of

KEPT_FOLDERS = frozenset({"thumbnails"})
"""Small, and made only at import."""


def clear_cache(workspace: Workspace) -> int:
    """Erase the prepared films; returns the bytes freed. Thumbnails, data sets and runs are not touched.

    Raises
    ------
    RunBusy
        A training is at work: it would miss its films.
    """
    if slots_of(workspace).taken:
        raise RunBusy("A training is running and needs the prepared films; expected none. Clear the cache when it has ended.")
    freed = 0
    for entry in workspace.cache.iterdir() if workspace.cache.is_dir() else ():
        if entry.name in KEPT_FOLDERS:
            continue
        if entry.is_dir() and not entry.is_symlink():
            freed += folder_size(entry)
            shutil.rmtree(entry)
        else:
            freed += entry.lstat().st_size
            entry.unlink()
    return freed
