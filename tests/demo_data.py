"""The demo's films and split: made once while the tests run, and copied into the workspace of each file that trains on them."""

from __future__ import annotations

import os
import shutil

import pytest

from mammo_core.data.cache import FilmCache, prepare_all
from mammo_core.data.manifest import load_dataset, relink
from mammo_core.settings import Workspace, open_workspace
from mammo_core.storage import lock_of
from mammo_core.workflows.demo_data import make_demo_data

IMAGES = 64
SIDE = 48
"""Pixels of the films that the cache holds; another size is decoded anew."""


def demo_workspace(factory: pytest.TempPathFactory, name: str) -> Workspace:
    """A workspace of its own with the data set ``demo`` and its split of that name.

    Its films are its own, and the cache holds them as a training on ``SIDE`` x ``SIDE`` pixels needs them.
    """
    base = factory.getbasetemp()
    made = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "demo_data"
    with lock_of(made / ".lock"):
        if not (made / "complete").exists():
            _make(open_workspace(made / "runs"))
            (made / "complete").touch()
    workspace = open_workspace(shutil.copytree(made / "runs", factory.mktemp(name) / "runs"))
    relink(load_dataset(workspace, "demo"), workspace.home / "phantoms" / "demo")
    return workspace


def _make(workspace: Workspace) -> None:
    dataset, _ = make_demo_data(workspace, images=IMAGES, progress=lambda done, total, message="": None)
    films = list(load_dataset(workspace, dataset).film_paths().items())
    prepare_all(FilmCache(workspace.cache), films, (SIDE, SIDE))
