"""Checkpoints that describe themselves, load without running code, and refuse to load half.

A checkpoint holds the weights and everything that prediction needs to treat a film as training did. It loads with
``torch.load(weights_only=True)``: no object of ours or of NumPy is inside.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mammo_core.config import TrainConfig
from mammo_core.errors import CheckpointMismatch, ConfigError
from mammo_core.storage import write_atomic
from mammo_core.training.models import Normalisation, build_model

FORMAT = "mammotrace-checkpoint"
FORMAT_VERSION = 1


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
        model = build_model(self.config.arch, len(self.class_names), self.config.dropout)
        try:
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
        "format_version": FORMAT_VERSION,
        "model_state": checkpoint.weights,
        "config": checkpoint.config.to_dict(),
        "class_names": list(checkpoint.class_names),
        "normalisation": checkpoint.normalisation.to_dict(),
        "preprocessing_version": checkpoint.preprocessing_version,
        "epoch": checkpoint.epoch,
        "metrics": checkpoint.metrics,
        "origin": checkpoint.origin,
    }
    write_atomic(path, lambda file: torch.save(content, file))


def load_tensors(path: Path) -> dict[str, Any]:
    """Load a file of tensors and plain values, never code.

    Raises
    ------
    FileNotFoundError
    CheckpointMismatch
        It is broken, or holds anything but tensors and plain values.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, ValueError, OSError) as error:
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
    if content.get("format_version", 0) > FORMAT_VERSION:
        raise CheckpointMismatch(
            f"{path.name} has format {content['format_version']}, expected at most {FORMAT_VERSION}. Update MammoTrace."
        )
    try:
        return Checkpoint(
            weights=content["model_state"],
            config=TrainConfig.from_dict(content["config"], source=path.name),
            normalisation=Normalisation.from_dict(content["normalisation"]),
            preprocessing_version=int(content["preprocessing_version"]),
            epoch=int(content["epoch"]),
            metrics=dict(content["metrics"]),
            origin=dict(content["origin"]),
        )
    except (KeyError, TypeError, ValueError, ConfigError) as error:
        raise CheckpointMismatch(
            f"{path.name} lacks or distorts {error}; expected a complete MammoTrace checkpoint. Use another run."
        ) from error


def cpu_copy(model: nn.Module) -> dict[str, torch.Tensor]:
    """The model's tensors on the CPU, apart from those that go on training."""
    return {key: value.detach().to("cpu", copy=True).contiguous() for key, value in model.state_dict().items()}
