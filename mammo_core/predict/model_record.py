"""A trained model as one file that travels: what stands in it, and reading that without loading a weight.

A model file is a ZIP archive, stored and not compressed, with the suffix ``.mammotrace``::

    model.json              what the model is, what backs its scores, SHA-256 of the other parts
    model_card.md           the same for people
    weights_1.safetensors   weights of the first run, weights_2 ... of further ones
    guard_1.safetensors     what its validation films look like to it, for recognising unlike films

It holds no film, no table of patients and no program code, and parts are read by their known names only, so that nothing in it
can name a place outside.
"""

from __future__ import annotations

import hashlib
import json
import struct
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mammo_core.analysis.backing import Backing
from mammo_core.analysis.metrics import TITLES
from mammo_core.errors import CheckpointMismatch
from mammo_core.settings import RESEARCH_ONLY, Workspace
from mammo_core.storage import check_name

SUFFIX = ".mammotrace"
REFERENCE_PREFIX = "model:"
"""``model:<name>`` stands for a kept model wherever a run can be named; no run's name holds a colon."""
FORMAT = "mammotrace-model"
FORMAT_VERSION = 2
"""2 came with embeddings; a model without them is written as 1, which older programs read."""
RECORD_PART = "model.json"
CARD_PART = "model_card.md"
MOST_MEMBERS = 64
MAX_TEXT_BYTES = 8 * 2**20
MAX_PART_BYTES = 2 * 2**30
"""Of weights: no timm classifier that fits a hospital's machine is larger."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class MemberRecord(_Record):
    """One trained network of the model."""

    id: str
    """``<experiment>/<run>`` where it was trained."""
    config: dict[str, Any]
    """``TrainConfig.to_dict`` without places on the machine it was trained on."""
    normalisation: dict[str, list[float]]
    preprocessing_version: int
    epoch: int
    metrics: dict[str, float | None]
    origin: dict[str, Any]
    weights_sha256: str
    """As ``predict.members.weights_sha256``."""
    guard_threshold: float | None = Field(default=None, gt=0)
    guard_missing: str = ""
    """Why there is no guard; empty where there is one."""
    embedder: dict[str, Any] | None = None
    """Of a model that joins features of a frozen network to its own: ``EmbedderSpec.to_dict``."""
    doubt: str = ""
    """As ``predict.members.Member.doubt``."""


class ModelRecord(_Record):
    """``model.json``."""

    format: str = FORMAT
    format_version: int = FORMAT_VERSION
    name: str
    description: str = ""
    """What its maker says of it."""
    notice: str = RESEARCH_ONLY
    made_at: str
    """ISO 8601 date."""
    task: str
    class_names: tuple[str, ...]
    ordinal: bool
    dataset: str
    synthetic: bool
    """Whether it was trained on films made by a program."""
    train_films: int | None = None
    train_patients: int | None = None
    val_films: int | None = None
    quality: dict[str, str] = Field(default_factory=dict)
    """Name of a metric -> validation value of the whole model with its interval, in words."""
    single_runs: dict[str, str] = Field(default_factory=dict)
    """Name of a metric -> mean and SD over its runs, each by itself, in words; empty for one run."""
    verdicts: tuple[str, ...] = ()
    """Of each run, whether it converged: the headline."""
    members: tuple[MemberRecord, ...] = Field(min_length=1, max_length=MOST_MEMBERS)
    backing: Backing
    parts: dict[str, str] = Field(default_factory=dict)
    """Name of each other part -> SHA-256 of its bytes."""

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        asked = self.backing.question
        unknown = [name for name in (*self.quality, *self.single_runs) if name not in TITLES]
        if unknown:
            raise ValueError(f"there is no metric {unknown[0]!r}")
        if asked is not None and (
            not asked.positive or not asked.negative or sorted((*asked.positive, *asked.negative)) != sorted(self.class_names)
        ):
            raise ValueError("the question does not part the classes into yes and no")
        return self

    @property
    def model_id(self) -> str:
        """As :func:`model_id_of`."""
        return model_id_of([member.weights_sha256 for member in self.members])


def model_id_of(weights_sha256: Sequence[str]) -> str:
    """The first digits of a hash over the weights of all networks of a model: the same model under any name, 12 digits."""
    return hashlib.sha256("\n".join(sorted(weights_sha256)).encode()).hexdigest()[:12]


def weights_part(number: int) -> str:
    """Name of the part with the weights of the member ``number`` (from 1)."""
    return f"weights_{number}.safetensors"


def guard_part(number: int) -> str:
    return f"guard_{number}.safetensors"


def model_path(workspace: Workspace, name: str) -> Path:
    """Where the kept model of that name lies, whether or not it is there; ``NameNotAllowed`` where it cannot be a name."""
    return workspace.models / f"{check_name(name, 'model name')}{SUFFIX}"


def read_record(path: Path) -> ModelRecord:
    """What a model file says of itself. Weights are neither read nor checked.

    Raises
    ------
    CheckpointMismatch
        No model file, broken, or made by a newer version; the text says which.
    """
    with opened(path) as archive:
        return record_in(archive, path.name)


def read_card(path: Path) -> str:
    """The model card, Markdown; raises as :func:`read_record`."""
    with opened(path) as archive:
        return read_part(archive, CARD_PART, path.name, MAX_TEXT_BYTES).decode("utf-8", errors="replace")


@contextmanager
def opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """The archive, open for reading; ``CheckpointMismatch`` where it is none."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except FileNotFoundError as error:
        raise CheckpointMismatch(f"There is no file {path.name}; expected a model file ({SUFFIX}). Check its name.") from error
    except (zipfile.BadZipFile, EOFError, NotImplementedError, OSError, UnicodeDecodeError, struct.error) as error:
        raise CheckpointMismatch(
            f"{path.name} is not a model file, or only a part of one; expected a {SUFFIX} file as MammoTrace exports it. Export "
            "or copy it again."
        ) from error


def record_in(archive: zipfile.ZipFile, name: str) -> ModelRecord:
    """The record in an open archive; raises as :func:`read_record`."""
    content = read_part(archive, RECORD_PART, name, MAX_TEXT_BYTES)
    try:
        raw = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise CheckpointMismatch(f"{RECORD_PART} in {name} is not readable as JSON. Export the model again.") from error
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        raise CheckpointMismatch(f"{name} was not exported by MammoTrace; expected a {SUFFIX} file. Choose another file.")
    version = raw.get("format_version")
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise CheckpointMismatch(f"{name} has format {version}, expected at most {FORMAT_VERSION}. Update MammoTrace.")
    try:
        return ModelRecord.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise CheckpointMismatch(
            f"{RECORD_PART} in {name} is wrong at {where!r} ({first['msg']}); expected a record as MammoTrace writes it. Export "
            "the model again."
        ) from error


def read_part(archive: zipfile.ZipFile, part: str, name: str, limit: int) -> bytes:
    """The bytes of one part, at most ``limit``.

    Raises
    ------
    CheckpointMismatch
        It is missing, compressed (so that a small file could unfold to gigabytes), encrypted, or too large.
    """
    try:
        info = archive.getinfo(part)
    except KeyError as error:
        raise CheckpointMismatch(f"{name} has no part {part}; expected a complete model file. Export it again.") from error
    if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1 or info.file_size > limit:
        raise CheckpointMismatch(
            f"{part} in {name} is compressed, encrypted or larger than {limit // 2**20} MB; expected a plain part as MammoTrace "
            "writes it. Export the model again."
        )
    return archive.read(info)
