"""Loaded models and films, kept while they are in use. Only this module of the pages loads torch, and only when it is called."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from mammo_core.data.film import Film
from mammo_core.data.manifest import load_dataset
from mammo_core.data.sandbox import read_film_safely
from mammo_core.predict.model_record import REFERENCE_PREFIX, model_path
from mammo_core.runs.run_dir import find_run
from mammo_core.settings import Workspace, open_workspace
from pages.shared.run_files import Stamp, stamp

if TYPE_CHECKING:
    from mammo_core.predict.explaining import Explanation
    from mammo_core.predict.predictor import Predictor

MODELS_KEPT, FILMS_KEPT, MAPS_KEPT = 2, 3, 3
"""A film of 14 million pixels takes 56 MB, and so does its map."""

Version = tuple[Stamp, ...]


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """Runs that are ready to answer, and what tells them from any other."""

    predictor: Predictor
    run_ids: tuple[str, ...]
    version: Version

    @property
    def key(self) -> tuple[tuple[str, ...], Version]:
        return self.run_ids, self.version


def model_version(workspace: Workspace, run_ids: tuple[str, ...]) -> Version:
    """What tells these checkpoints from later ones of the same runs, or this kept model from another of its name."""
    kept = [run_id.removeprefix(REFERENCE_PREFIX) for run_id in run_ids if run_id.startswith(REFERENCE_PREFIX)]
    if kept:
        return tuple(stamp(model_path(workspace, name)) for name in kept)
    runs = [find_run(workspace, run_id) for run_id in run_ids]
    files = (path for run in runs for path in (run.best_model, run.embeddings, run.predictions_file("val")))
    return tuple(map(stamp, files))


def load_model(workspace: Workspace, run_ids: tuple[str, ...]) -> LoadedModel:
    """The runs, loaded and ready; they let one session at a time use them.

    Raises
    ------
    MammoError
        A checkpoint is missing or broken, or the runs do not belong together.
    """
    version = model_version(workspace, run_ids)
    return LoadedModel(_predictor(str(workspace.home), run_ids, version), run_ids, version)


@st.cache_resource(max_entries=MODELS_KEPT, show_spinner="Loading the model ...")
def _predictor(home: str, run_ids: tuple[str, ...], version: Version) -> Predictor:
    from mammo_core.predict.predictor import Predictor

    return Predictor.load(open_workspace(home), run_ids)


def film_of(workspace: Workspace, dataset: str, image_id: str) -> Film:
    """A film of a data set at full resolution, read in a child process.

    Raises
    ------
    MammoError
        No such film, or it cannot be read.
    """
    known = load_dataset(workspace, dataset)
    path = known.film_path(image_id)
    manifest = known.manifest()
    places = manifest.loc[manifest["image_id"] == image_id, ["laterality", "view"]].itertuples(index=False, name=None)
    return _film(str(path), stamp(path)).known_as(*next(places, ("", "")))


@st.cache_resource(max_entries=FILMS_KEPT, show_spinner="Reading the film ...")
def _film(path: str, version: Stamp) -> Film:
    return read_film_safely(Path(path))


def explanation_of(model: LoadedModel, film: Film, film_key: str, class_name: str, method: str) -> Explanation:
    """What influenced the score of ``film`` for a class. ``film_key`` names the film's content.

    Raises
    ------
    MammoError
        Unknown class or method, or no map can be made.
    """
    return _explanation(model.key, film_key, class_name, method, (model, film))


@st.cache_resource(max_entries=MAPS_KEPT, show_spinner="Making the map ...")
def _explanation(
    model_key: tuple[tuple[str, ...], Version], film_key: str, class_name: str, method: str, _made_from: tuple[LoadedModel, Film]
) -> Explanation:
    model, film = _made_from
    return model.predictor.explain(film, class_name, method)
