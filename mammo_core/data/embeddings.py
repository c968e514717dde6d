"""Features of a frozen network for every film of a data set, as ``embed`` writes them and a training reads them.

A folder of embeddings holds::

    embeddings.json   which network, on which films, and SHA-256 of the other files
    embeddings.npy    float32 (n, F), a row a film
    films.csv         image_id, film: which prepared film each row was made from
    embedder.pth      the network's weights, which a model trained on the features takes along
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mammo_core.errors import ConfigError, CorruptRunFile, DataError
from mammo_core.reading import read_json, read_text_table
from mammo_core.settings import Workspace
from mammo_core.storage import is_allowed_name, sha256_of

RECORD, VALUES, FILMS, NETWORK = "embeddings.json", "embeddings.npy", "films.csv", "embedder.pth"


class EmbeddingRecord(BaseModel):
    """``embeddings.json``."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    schema_version: int = Field(default=1, le=1)
    dataset: str
    arch: str
    weights: str
    """``imagenet``, or the name of the file."""
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    """Of the network's input channels, on the scale of pixels in [0, 1]."""
    image_size: tuple[int, int]
    """Height and width of the prepared films, pixels."""
    films: int = Field(ge=1)
    features: int = Field(ge=1, le=2**16)
    left_out: tuple[str, ...] = ()
    """Image ids of films that could not be read."""
    sha256: dict[str, str]
    """Of the other files, by name."""
    made_at: str = ""
    """ISO 8601 date."""


@dataclass(frozen=True, eq=False)
class EmbeddingTable:
    """Embeddings, read and checked."""

    record: EmbeddingRecord
    folder: Path
    values: npt.NDArray[np.float32]
    places: Mapping[str, int]
    """Image id -> row."""
    films: Sequence[str]
    """Of each row, the key of the prepared film it was made from."""

    @property
    def network(self) -> Path:
        return self.folder / NETWORK

    def rows(self, image_ids: Sequence[str], films: Mapping[str, str]) -> npt.NDArray[np.float32]:
        """``(len(image_ids), F)``, in that order.

        Parameters
        ----------
        films : key of the prepared film of each image id, as it is now

        Raises
        ------
        DataError
            An image has no row, or its film is not the one that was embedded.
        """
        missing = [image_id for image_id in image_ids if image_id not in self.places]
        if missing:
            raise DataError(_missing(self.record, missing))
        places = [self.places[image_id] for image_id in image_ids]
        changed = [image_id for image_id, place in zip(image_ids, places, strict=True) if self.films[place] != films[image_id]]
        if changed:
            raise DataError(
                f"The film {changed[0]} is not the one that was embedded ({len(changed)} in all differ: the file, the image size "
                "or the program that reads films changed); expected the same films. Embed the data set again."
            )
        return self.values[places]


def find_embeddings(workspace: Workspace, name: str) -> Path:
    """The folder of ``name``: one in the workspace, or any path.

    Raises
    ------
    ConfigError
        There is none.
    """
    inside = workspace.embeddings / name if is_allowed_name(name) else None
    for folder in (inside, Path(name).expanduser()):
        if folder is not None and (folder / RECORD).is_file():
            return folder.resolve()
    raise ConfigError(
        f"There are no embeddings {Path(name).name!r}; expected a folder that 'embed' wrote, or the name of one in the "
        "workspace. Correct 'embeddings', or make them with 'python -m mammo_core embed DATASET'."
    )


def list_embeddings(workspace: Workspace, dataset: str) -> list[str]:
    """Names of the workspace's embeddings of a data set."""
    found = sorted(path.parent for path in workspace.embeddings.glob(f"*/{RECORD}"))
    return [folder.name for folder in found if _names(folder, dataset)]


def _names(folder: Path, dataset: str) -> bool:
    try:
        return load_record(folder).dataset == dataset
    except (DataError, CorruptRunFile):
        return False  # a launch with it says what is wrong


def load_record(folder: Path) -> EmbeddingRecord:
    """Read what a folder of embeddings says of itself.

    Raises
    ------
    DataError
        The folder has no record, or one that does not say what it must.
    """
    try:
        return EmbeddingRecord.model_validate(read_json(folder / RECORD))
    except FileNotFoundError as error:
        raise DataError(f"{folder.name} holds no {RECORD}; expected a folder that 'embed' wrote. Name another one.") from error
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise DataError(
            f"{folder.name}/{RECORD} cannot be used ({where}: {error.errors()[0]['msg']}); expected what 'embed' writes. Embed "
            "the data set again."
        ) from error


def load_embeddings(folder: Path) -> EmbeddingTable:
    """Read a folder of embeddings, every file held against its hash.

    Raises
    ------
    DataError
        Something is missing, was changed, or is not finite.
    """
    record = load_record(folder)
    for name in (VALUES, FILMS, NETWORK):
        try:
            same = sha256_of(folder / name) == record.sha256.get(name)
        except OSError as error:
            raise DataError(f"{folder.name} lacks {name}; expected what 'embed' wrote. Embed the data set again.") from error
        if not same:
            raise DataError(f"{folder.name}/{name} was changed since it was written. Embed the data set again.")
    values, table = np.load(folder / VALUES, allow_pickle=False), read_text_table(folder / FILMS)
    if values.shape != (record.films, record.features) or len(table) != record.films or not np.isfinite(values).all():
        raise DataError(
            f"{folder.name} holds a table of {' x '.join(map(str, values.shape))} for {len(table)} films; expected "
            f"{record.films} x {record.features} finite numbers. Embed the data set again."
        )
    places = {str(image_id): place for place, image_id in enumerate(table["image_id"])}
    return EmbeddingTable(record, folder, values.astype(np.float32, copy=False), places, table["film"].astype(str).tolist())


def check_embeddings(folder: Path, dataset: str, image_size: tuple[int, int], image_ids: Sequence[str]) -> EmbeddingRecord:
    """Whether a training on these films can use the embeddings, without reading the films; returns their record.

    Raises
    ------
    DataError
        They belong to another data set or image size, or lack a film.
    """
    record = load_record(folder)
    if record.dataset != dataset:
        raise DataError(
            f"The embeddings {folder.name} are of the data set {record.dataset!r}; expected {dataset!r}. Name others, or embed "
            f"this data set: python -m mammo_core embed {dataset} --arch {record.arch}"
        )
    if record.image_size != image_size:
        raise DataError(
            f"The embeddings {folder.name} were made from films of {' x '.join(map(str, record.image_size))} pixels; expected "
            f"{' x '.join(map(str, image_size))}, as the training has them, since the trained model makes both from one film. "
            "Set image_size, or embed again."
        )
    known = {*read_text_table(folder / FILMS)["image_id"].astype(str), *record.left_out}
    missing = [image_id for image_id in image_ids if image_id not in known]
    if missing:
        raise DataError(_missing(record, missing))
    return record


def _missing(record: EmbeddingRecord, missing: Sequence[str]) -> str:
    more = f" and of {len(missing) - 1} more" if len(missing) > 1 else ""
    return (
        f"The embeddings hold no row of film {missing[0]}{more}; expected one of every film that is trained on or judged. Embed "
        f"the data set again: python -m mammo_core embed {record.dataset} --arch {record.arch}"
    )
