"""Checkpoints that describe themselves, load without running code, and refuse to load half.

A checkpoint holds the weights and everything that prediction needs to treat a film as training did. It loads with
``torch.load(weights_only=True)``: no object of ours or of NumPy is inside.
"""

from __future__ import annotations

import pickle
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mammo_core.config import TrainConfig
from mammo_core.errors import CheckpointMismatch, ConfigError
from mammo_core.storage import write_atomic
from mammo_core.training.fusion import EMBEDDER_PREFIX, EmbedderSpec
from mammo_core.training.models import Normalisation, complete_model

FORMAT = "mammotrace-checkpoint"
FORMAT_VERSION = 2
"""2 came with embeddings; a model without them is written as 1, which older programs read."""
LOAD_FAULTS = (
    ArithmeticError, AssertionError, AttributeError, EOFError, ImportError, LookupError, MemoryError, OSError, RuntimeError,
    TypeError, ValueError, pickle.UnpicklingError, struct.error, zipfile.BadZipFile,
)  # fmt: skip
"""What torch raises on a damaged or hostile file, found by fuzzing."""


@dataclass(frozen=True)
class Checkpoint:
    """What stands in ``best_model.pth`` and ``final_model.pth``."""

    weights: dict[str, torch.Tensor]
    config: TrainConfig
    normalisation: Normalisation
    preprocessing_version: int
    epoch: int
    metrics: dict[str, float | None]
    origin: dict[str, Any]
    """Where it comes from: run id, data set, split hash, training films, date."""
    embedder: EmbedderSpec | None = None
    """The frozen network whose features join the film's; its tensors are among ``weights``."""

    @property
    def trained_weights(self) -> dict[str, torch.Tensor]:
        """The tensors that training changed."""
        return {name: value for name, value in self.weights.items() if not name.startswith(EMBEDDER_PREFIX)}

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.config.class_names

    def build_model(self) -> nn.Module:
        """The model with these weights, in eval mode on the CPU.

        Raises
        ------
        CheckpointMismatch
            Not one tensor may be missing, left over or of another shape.
        """
        try:
            with torch.device("meta"):  # without memory: a small file may name a model of gigabytes
                outline = complete_model(self.config, self.normalisation, self.embedder)
            outline.load_state_dict(self.weights, strict=True, assign=True)
            model = complete_model(self.config, self.normalisation, self.embedder)
            model.load_state_dict(self.weights, strict=True)
        except RuntimeError as error:
            first = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
            raise CheckpointMismatch(
                f"The checkpoint's weights do not fit {self.config.arch} with {len(self.class_names)} classes ({first[:160]}). "
                "Nothing was loaded; use the checkpoint as its run wrote it."
            ) from error
        return model.eval()


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write atomically.

    Raises
    ------
    DiskFull
        The file that stood there before is untouched.
    """
    content = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION if checkpoint.embedder else 1,
        "model_state": checkpoint.weights,
        "config": checkpoint.config.without_places().to_dict(),
        "class_names": list(checkpoint.class_names),
        "normalisation": checkpoint.normalisation.to_dict(),
        "preprocessing_version": checkpoint.preprocessing_version,
        "epoch": checkpoint.epoch,
        "metrics": checkpoint.metrics,
        "origin": checkpoint.origin,
        **({"embedder": checkpoint.embedder.to_dict()} if checkpoint.embedder else {}),
    }
    write_atomic(path, lambda file: torch.save(content, file))


def load_plain(path: Path) -> Any:
    """Whatever a file of torch holds, if it is tensors and plain values; raises one of :data:`LOAD_FAULTS`.

    A compressed part is refused: torch writes none, and a file of 3 MB could unfold to 3 GB.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if any(info.compress_type != zipfile.ZIP_STORED for info in archive.infolist()):
                raise zipfile.BadZipFile("it has compressed parts")
    return torch.load(path, map_location="cpu", weights_only=True)


def load_tensors(path: Path) -> dict[str, Any]:
    """Load a file of tensors and plain values, never code.

    Raises
    ------
    FileNotFoundError
    CheckpointMismatch
        It is broken, or holds anything but tensors and plain values.
    """
    try:
        content = load_plain(path)
    except FileNotFoundError:
        raise
    except LOAD_FAULTS as error:
        raise CheckpointMismatch(
            f"{path.name} is not a checkpoint that can be loaded safely (broken, half-written, or it holds program code). "
            "Use another run, or train this one again."
        ) from error
    if not isinstance(content, dict):
        raise CheckpointMismatch(
            f"{path.name} holds a {type(content).__name__}, expected a MammoTrace checkpoint. Use another file."
        )
    return content


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint of this app.

    Raises
    ------
    CheckpointMismatch
        Missing, broken, of another program, or made by a newer version; the text says which.
    """
    try:
        content = load_tensors(path)
    except FileNotFoundError as error:
        raise CheckpointMismatch(
            f"There is no {path.name} yet; it is written after a run's first epoch. Wait, or choose another run."
        ) from error
    if content.get("format") != FORMAT:
        raise CheckpointMismatch(
            f"{path.name} was not written by MammoTrace; expected the best_model.pth or final_model.pth of a run. "
            "To start from foreign weights, name the file in 'weights' of a new training."
        )
    version = content.get("format_version", 0)
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise CheckpointMismatch(f"{path.name} has format {version}, expected at most {FORMAT_VERSION}. Update MammoTrace.")
    try:
        return Checkpoint(
            weights=_table_of_tensors(content["model_state"]),
            config=TrainConfig.from_dict(content["config"], source=path.name),
            normalisation=Normalisation.from_dict(content["normalisation"]),
            preprocessing_version=int(content["preprocessing_version"]),
            epoch=int(content["epoch"]),
            metrics=dict(content["metrics"]),
            origin=dict(content["origin"]),
            embedder=EmbedderSpec.from_dict(content["embedder"]) if content.get("embedder") else None,
        )
    except (KeyError, TypeError, ValueError, ConfigError) as error:
        raise CheckpointMismatch(
            f"{path.name} lacks or distorts {error}; expected a complete MammoTrace checkpoint. Use another run."
        ) from error


def _table_of_tensors(state: Any) -> dict[str, torch.Tensor]:
    if not isinstance(state, dict) or not all(isinstance(key, str) and isinstance(state[key], torch.Tensor) for key in state):
        raise TypeError("its weights, which are no table of tensors")
    return state


def cpu_copy(model: nn.Module) -> dict[str, torch.Tensor]:
    """The model's tensors on the CPU, apart from those that go on training."""
    return {key: value.detach().to("cpu", copy=True).contiguous() for key, value in model.state_dict().items()}
