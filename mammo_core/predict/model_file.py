"""Writing a trained model into one file, and loading it again safely: nothing in it can run, and nothing is loaded in part."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from mammo_core.config import TrainConfig
from mammo_core.errors import CheckpointMismatch, ConfigError
from mammo_core.predict.members import Member, check_alike, member_of, weights_sha256
from mammo_core.predict.model_record import (
    CARD_PART,
    FORMAT_VERSION,
    MAX_PART_BYTES,
    MAX_TEXT_BYTES,
    RECORD_PART,
    MemberRecord,
    ModelRecord,
    guard_part,
    opened,
    read_part,
    record_in,
    weights_part,
)
from mammo_core.predict.unfamiliar import MIN_FILMS, FeatureGuard
from mammo_core.storage import write_atomic
from mammo_core.training.checkpoint import Checkpoint
from mammo_core.training.fusion import EmbedderSpec
from mammo_core.training.models import Normalisation, features_and_logits, normalise

REFERENCE = "reference"
"""Name of the guard's tensor."""
WHEN = (1980, 1, 1, 0, 0, 0)
"""Of every part: the same model gives the same bytes."""


@dataclass(frozen=True, eq=False)
class LoadedFile:
    """A model file, read and checked."""

    record: ModelRecord
    members: tuple[Member, ...]


def member_record(member: Member) -> MemberRecord:
    """What the file says of one network."""
    checkpoint, guard = member.checkpoint, member.guard
    return MemberRecord(
        id=member.id,
        config=checkpoint.config.without_places().to_dict(),
        normalisation=checkpoint.normalisation.to_dict(),
        preprocessing_version=checkpoint.preprocessing_version,
        epoch=checkpoint.epoch,
        metrics=checkpoint.metrics,
        origin=checkpoint.origin,
        weights_sha256=member.weights_sha256,
        guard_threshold=None if isinstance(guard, str) else guard.threshold,
        guard_missing=guard if isinstance(guard, str) else "",
        embedder=checkpoint.embedder.to_dict() if checkpoint.embedder else None,
        doubt=member.doubt,
    )


def write_model_file(path: Path, record: ModelRecord, members: Sequence[Member], card: str) -> ModelRecord:
    """Write atomically; returns the record as it stands in the file, with the hashes of the parts.

    Parameters
    ----------
    record : its ``members`` belong to ``members`` in their order; its ``parts`` are filled in here
    card : Markdown

    Raises
    ------
    DiskFull
        A file that stood there before is untouched.
    """
    contents: dict[str, bytes] = {CARD_PART: card.encode()}
    for number, member in enumerate(members, start=1):
        contents[weights_part(number)] = save_tensors(dict(member.checkpoint.weights))
        if isinstance(member.guard, FeatureGuard):
            reference = torch.from_numpy(np.ascontiguousarray(member.guard.reference))
            contents[guard_part(number)] = save_tensors({REFERENCE: reference})
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    version = FORMAT_VERSION if any(member.checkpoint.embedder for member in members) else 1
    whole = record.model_copy(update={"parts": hashes, "format_version": version})
    parts = {RECORD_PART: (whole.model_dump_json(indent=1) + "\n").encode(), **contents}

    def write(file: object) -> None:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:  # type: ignore[call-overload]
            for name, content in parts.items():
                archive.writestr(zipfile.ZipInfo(name, WHEN), content)

    write_atomic(path, write)
    return whole


def load_model_file(path: Path, device: torch.device) -> LoadedFile:
    """Read a model file whole: every part against its hash, every tensor strictly.

    Raises
    ------
    CheckpointMismatch
        Broken, altered, of a newer version, of an unknown architecture, or prepared for other films; nothing is loaded then.
    """
    with opened(path) as archive:
        record = record_in(archive, path.name)
        _checked(archive, CARD_PART, record, path.name, MAX_TEXT_BYTES)
        members = tuple(_member(archive, record, number, path.name, device) for number in range(1, len(record.members) + 1))
    first = members[0].checkpoint.config
    if (first.task, first.class_names, first.ordinal) != (record.task, record.class_names, record.ordinal):
        raise CheckpointMismatch(
            f"{path.name} says that it judges {record.task} ({', '.join(record.class_names)}), but its network judges "
            f"{first.task} ({', '.join(first.class_names)}); expected the same. Export the model again."
        )
    check_alike(members)
    return LoadedFile(record, members)


def check_answers(loaded: LoadedFile, name: str) -> None:
    """Let each network answer once, on a blank film; ``CheckpointMismatch`` where what comes is no finite score a class."""
    for member in loaded.members:
        config = member.checkpoint.config
        blank = torch.zeros(1, 1, *config.image_size)
        with torch.inference_mode():
            _, logits = features_and_logits(member.model, normalise(blank, member.checkpoint.normalisation))
        if logits.shape != (1, len(config.class_names)) or not torch.isfinite(logits).all():
            raise CheckpointMismatch(
                f"{member.id} in {name} does not answer with a finite score for each class, so its weights are damaged. Export "
                "the model again."
            )


def _checked(archive: zipfile.ZipFile, part: str, record: ModelRecord, name: str, limit: int = MAX_PART_BYTES) -> bytes:
    content = read_part(archive, part, name, limit)
    if hashlib.sha256(content).hexdigest() != record.parts.get(part):
        raise CheckpointMismatch(
            f"{part} in {name} was changed since it was exported (its SHA-256 is not that of the record). Export or copy it "
            "again."
        )
    return content


def _tensors(archive: zipfile.ZipFile, part: str, record: ModelRecord, name: str) -> dict[str, torch.Tensor]:
    try:
        return load_tensors(_checked(archive, part, record, name))
    except (SafetensorError, ValueError) as error:
        raise CheckpointMismatch(f"{part} in {name} is no readable safetensors file. Export the model again.") from error


def _member(archive: zipfile.ZipFile, record: ModelRecord, number: int, name: str, device: torch.device) -> Member:
    own = record.members[number - 1]
    try:
        checkpoint = Checkpoint(
            weights=_tensors(archive, weights_part(number), record, name),
            config=TrainConfig.from_dict(own.config, source=name),
            normalisation=Normalisation.from_dict(own.normalisation),
            preprocessing_version=own.preprocessing_version,
            epoch=own.epoch,
            metrics=dict(own.metrics),
            origin=dict(own.origin),
            embedder=EmbedderSpec.from_dict(own.embedder) if own.embedder else None,
        )
        if weights_sha256(checkpoint) != own.weights_sha256:
            raise CheckpointMismatch(f"The weights of {own.id} in {name} are not those of its record. Export the model again.")
        return member_of(own.id, checkpoint, _guard(archive, record, number, name), device, own.doubt)
    except (KeyError, TypeError, ValueError, ConfigError) as error:
        raise CheckpointMismatch(
            f"What {name} says of {own.id} cannot be used ({error}); expected a model file of this or an older version of "
            "MammoTrace. Export the model again."
        ) from error


def _guard(archive: zipfile.ZipFile, record: ModelRecord, number: int, name: str) -> FeatureGuard | str:
    own = record.members[number - 1]
    if own.guard_threshold is None:
        return own.guard_missing or f"{own.id} came without features of its validation films."
    reference = _tensors(archive, guard_part(number), record, name)[REFERENCE].numpy()
    if reference.ndim != 2 or len(reference) < MIN_FILMS or not np.isfinite(reference).all():
        raise CheckpointMismatch(
            f"{guard_part(number)} in {name} is not a table of finite numbers of at least {MIN_FILMS} films. Export the model "
            "again."
        )
    return FeatureGuard(reference.astype(np.float64), own.guard_threshold)
