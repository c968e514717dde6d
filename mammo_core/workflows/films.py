"""The films of a run, prepared once and cached, ready for training or evaluation."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mammo_core.config import TrainConfig
from mammo_core.data.cache import FilmCache, prepare_all
from mammo_core.data.embeddings import EmbeddingTable
from mammo_core.data.manifest import Dataset, load_dataset
from mammo_core.data.split_files import read_split
from mammo_core.errors import DataError
from mammo_core.runs.run_dir import RunDir
from mammo_core.settings import Workspace, physical_cores
from mammo_core.training.batches import FilmSet

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class CachedFilms:
    """Loads a prepared film by its image id; picklable, so that worker processes can use it."""

    cache: FilmCache
    keys: dict[str, str]

    def __call__(self, image_id: str) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        film = self.cache.get(self.keys[image_id])
        if film is None:
            raise DataError(
                f"The prepared film {image_id} is gone from the cache; it was there when the run began. Resume the run."
            )
        return film


@dataclass(frozen=True)
class PreparedSplit:
    """The rows of some split parts whose films could be prepared, and those left out with the reason."""

    table: pd.DataFrame
    load: CachedFilms
    class_names: tuple[str, ...]
    left_out: Sequence[tuple[str, str]]
    synthetic: bool
    embeddings: EmbeddingTable | None = None

    def rows(self, part: str) -> pd.DataFrame:
        return self.table[self.table["split"] == part]

    def part(self, part: str) -> FilmSet:
        rows = self.rows(part)
        labels = np.array([self.class_names.index(label) for label in rows["label"]], dtype=np.int64)
        ids = rows["image_id"].tolist()
        embeddings = None if self.embeddings is None else self.embeddings.rows(ids, self.load.keys)
        return FilmSet(ids, labels, self.load, embeddings)

    def class_counts(self) -> dict[str, dict[str, int]]:
        """Films of each class in each split part."""
        return {
            str(part): {name: int((rows["label"] == name).sum()) for name in self.class_names}
            for part, rows in self.table.groupby("split", sort=False)
        }

    def content_sha256(self) -> str:
        """Hash of which films are used, with which labels and pixels, in which part."""
        lines = (
            f"{row.image_id} {row.label} {row.split} {self.load.keys[str(row.image_id)]}"
            for row in self.table.itertuples(index=False)
        )
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def prepare_split(
    workspace: Workspace, run: RunDir, config: TrainConfig, progress: Progress, parts: Sequence[str] = ("train", "val")
) -> PreparedSplit:
    """Decode and cache the films of ``parts`` of the run's own split.

    Raises
    ------
    DataError
        A film of the split is not in the data set, or a part has no readable film left.
    """
    dataset = load_dataset(workspace, config.dataset)
    table = read_split(run.path).table  # one that was changed since the launch was never proven, and is refused
    rows = table[table["split"].isin(parts)].merge(dataset.manifest(), on="image_id", how="left", suffixes=("", "_manifest"))
    lost = int(rows["label"].isna().sum())
    if lost:
        raise DataError(
            f"{lost} film(s) of the run's split are no longer in the data set {dataset.name!r}; expected all. Import it again."
        )
    return prepare_rows(workspace, dataset, rows, config, progress)


def prepare_rows(
    workspace: Workspace, dataset: Dataset, rows: pd.DataFrame, config: TrainConfig, progress: Progress
) -> PreparedSplit:
    """Decode and cache the films of ``rows`` (manifest columns and ``split``)."""
    cache = FilmCache(workspace.cache)
    paths = dataset.film_paths()
    items = [(image_id, paths[image_id]) for image_id in rows["image_id"]]
    index = prepare_all(cache, items, config.image_size, workers=physical_cores(), progress=progress)
    kept = rows[rows["image_id"].isin(index.keys)].reset_index(drop=True)
    prepared = PreparedSplit(
        kept, CachedFilms(cache, dict(index.keys)), config.class_names, index.failures, dataset.record.synthetic
    )
    for part in rows["split"].unique():
        if prepared.rows(part).empty:
            first = index.failures[0][1] if index.failures else "there are none"
            raise DataError(
                f"Not one film of the {part} part could be read ({first}); expected the films where they were imported from. "
                "If the folder moved, relink the data set on the Films page."
            )
    return prepared
