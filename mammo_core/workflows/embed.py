"""Writing the embeddings of a data set: one pass of a frozen, pretrained network over every prepared film."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import nn

from mammo_core.data.cache import FilmCache, PreparedIndex, prepare_all
from mammo_core.data.embeddings import FILMS, NETWORK, RECORD, VALUES, EmbeddingRecord
from mammo_core.data.manifest import Dataset, load_dataset
from mammo_core.errors import ConfigError, DataError
from mammo_core.settings import Workspace, physical_cores
from mammo_core.storage import check_name, new_folder, sha256_of, write_atomic, write_json, write_table
from mammo_core.training.batches import BatchLoader, FilmSet
from mammo_core.training.checkpoint import cpu_copy
from mammo_core.training.fusion import features_of, pooled_features
from mammo_core.training.models import Normalisation, build_model, choose_device, normalisation_of, normalise, to_float
from mammo_core.training.weights import find_weights, load_into
from mammo_core.workflows.film_readers import reading_films
from mammo_core.workflows.films import CachedFilms

Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class EmbedPlan:
    """What to embed, and with which network."""

    dataset: str
    arch: str = "resnet50"
    weights: str = "imagenet"
    """``imagenet`` or a file; random weights have nothing to say about a film."""
    image_size: tuple[int, int] = (512, 512)
    """Height and width, pixels: those of the trainings that will use the features."""
    batch_size: int = 16
    device: str = "auto"
    out: Path | None = None
    """``None``: in the workspace, named after data set and architecture."""


def embed_dataset(workspace: Workspace, plan: EmbedPlan, progress: Progress) -> tuple[Path, EmbeddingRecord]:
    """Embed every readable film; returns the new folder and its record.

    Raises
    ------
    MammoError
        The folder exists, weights are not on this machine, no film could be read, the disk is full.
    """
    dataset = load_dataset(workspace, plan.dataset)
    if plan.weights == "none":
        raise ConfigError("weights is none; expected imagenet or a file, since a network that learnt nothing has no features.")
    folder = plan.out or workspace.embeddings / check_name(f"{plan.dataset}_{plan.arch}", "name of the embeddings")
    if folder.exists():
        raise ConfigError(f"{folder.name} exists already; nothing is overwritten. Name another folder with --out, or remove it.")
    source = find_weights(plan.arch, plan.weights)
    network = build_model(plan.arch, 0)
    load_into(network, plan.arch, source)
    scale = normalisation_of(network)
    with reading_films(workspace):
        films, index = _prepared(workspace, dataset, plan, progress)
        values = _features(network, scale, films, plan, progress)
    with new_folder(folder, alone=False) as place:
        write_atomic(place / VALUES, lambda file: np.save(file, values, allow_pickle=False))
        write_table(
            place / FILMS, pd.DataFrame({"image_id": films.image_ids, "film": [index.keys[name] for name in films.image_ids]})
        )
        write_atomic(place / NETWORK, lambda file: torch.save(cpu_copy(network), file))
        record = EmbeddingRecord(
            dataset=dataset.name,
            arch=plan.arch,
            weights=source.path.name if source.kind == "file" and source.path else plan.weights,
            mean=scale.mean,
            std=scale.std,
            image_size=plan.image_size,
            films=len(films),
            features=features_of(network),
            left_out=tuple(image_id for image_id, _ in index.failures),
            sha256={name: sha256_of(place / name) for name in (VALUES, FILMS, NETWORK)},
            made_at=time.strftime("%Y-%m-%d"),
        )
        write_json(place / RECORD, record.model_dump(mode="json"))
    return folder, record


def _prepared(workspace: Workspace, dataset: Dataset, plan: EmbedPlan, progress: Progress) -> tuple[FilmSet, PreparedIndex]:
    paths, cache = dataset.film_paths(), FilmCache(workspace.cache)
    items = [(str(image_id), paths[str(image_id)]) for image_id in dataset.manifest()["image_id"]]
    index = prepare_all(cache, items, plan.image_size, workers=physical_cores(), progress=progress)
    if not index.keys:
        first = index.failures[0][1] if index.failures else "there are none"
        raise DataError(f"Not one film of {dataset.name} could be read ({first}). If the folder moved, relink the data set.")
    load = CachedFilms(cache, dict(index.keys))
    return FilmSet(list(index.keys), np.zeros(len(index.keys), dtype=np.int64), load), index


def _features(
    network: nn.Module, scale: Normalisation, films: FilmSet, plan: EmbedPlan, progress: Progress
) -> npt.NDArray[np.float32]:
    """``(n, F)`` in the order of ``films``; in float32 on every device."""
    device = choose_device(plan.device)
    torch.set_num_threads(physical_cores())
    network.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    found = np.empty((len(films), features_of(network)), dtype=np.float32)
    done = 0
    with torch.inference_mode():
        for batch in BatchLoader(films, plan.batch_size).batches():
            pooled = pooled_features(network, normalise(to_float(batch.films, device), scale))
            found[batch.indices] = pooled.float().cpu().numpy()
            done += len(batch.indices)
            progress(done, len(films))
    if not np.isfinite(found).all():
        raise DataError(f"{plan.arch} answers with numbers that are not finite, so its weights are damaged. Name others.")
    return found
