"""Any classifier that timm knows, with a new head for our classes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import timm
import torch
from timm.data.config import resolve_model_data_config
from torch import nn

from mammo_core.config import TrainConfig
from mammo_core.errors import ConfigError
from mammo_core.training.fusion import Embedder, EmbedderSpec, FusedClassifier, backbone_of, pooled_features


@dataclass(frozen=True)
class Normalisation:
    """Mean and SD for each of the three input channels, on the scale of pixels in [0, 1]."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def to_dict(self) -> dict[str, list[float]]:
        return {"mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Normalisation:
        mean, std = tuple(map(float, raw["mean"])), tuple(map(float, raw["std"]))
        if len(mean) != 3 or len(std) != 3 or not all(map(math.isfinite, (*mean, *std))) or min(std) <= 0:
            raise ValueError("mean and SD must be three finite numbers each, the SD above 0")
        return cls(mean, std)


def build_model(arch: str, n_classes: int, dropout: float = 0.0) -> nn.Module:
    """A timm classifier with random weights and ``n_classes`` outputs (logits).

    The head's first values come from torch's global generator: seed it before.

    Raises
    ------
    ConfigError
        timm knows no such architecture; the nearest names are listed.
    """
    if not timm.is_model(arch):
        close = timm.list_models(f"*{arch.split('.')[0]}*")[:4] or ["efficientnet_b0", "resnet50", "tf_efficientnet_lite0"]
        raise ConfigError(f"timm knows no model {arch!r}; expected a name such as {', '.join(close)}. Correct 'arch'.")
    model: nn.Module = timm.create_model(arch, pretrained=False, num_classes=n_classes, drop_rate=dropout)
    return model


def normalisation_of(model: nn.Module) -> Normalisation:
    """The mean and SD with which timm's weights of this architecture were trained."""
    config = resolve_model_data_config(backbone_of(model))  # type: ignore[no-untyped-call]
    return Normalisation(tuple(config["mean"]), tuple(config["std"]))


def to_float(films: torch.Tensor, device: torch.device) -> torch.Tensor:
    """uint8 films to float32 in [0, 1] on ``device``."""
    return films.to(device, non_blocking=True).float().div_(255)


def normalise(films: torch.Tensor, normalisation: Normalisation) -> torch.Tensor:
    """Turn grey films into model input.

    Parameters
    ----------
    films : float Tensor of shape (B, 1, H, W), in [0, 1]

    Returns
    -------
    float Tensor of shape (B, 3, H, W), channels last in memory
    """
    mean = films.new_tensor(normalisation.mean).view(1, 3, 1, 1)
    std = films.new_tensor(normalisation.std).view(1, 3, 1, 1)
    return ((films - mean) / std).contiguous(memory_format=torch.channels_last)  # broadcasting makes the three channels


def choose_device(wanted: str) -> torch.device:
    """``auto`` takes CUDA, else Apple MPS, else the CPU.

    Raises
    ------
    ConfigError
        The named device is not there.
    """
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if wanted == "auto":
        return torch.device(next(name for name in ("cuda", "mps", "cpu") if available[name]))
    if not available[wanted]:
        usable = ", ".join(name for name, there in available.items() if there)
        raise ConfigError(f"device is {wanted!r}, which this machine does not have; expected auto or {usable}.")
    return torch.device(wanted)


def new_model(config: TrainConfig, width: int = 0) -> nn.Module:
    """The model of ``config`` with its new layers seeded by ``config.seed``.

    Parameters
    ----------
    width : features of an embedding that join the film's; 0 for a plain classifier
    """
    torch.manual_seed(config.seed)
    if not width:
        return build_model(config.arch, len(config.class_names), config.dropout)
    return FusedClassifier(build_model(config.arch, 0, config.dropout), width, len(config.class_names), config.dropout)


def complete_model(config: TrainConfig, normalisation: Normalisation, embedder: EmbedderSpec | None) -> nn.Module:
    """A model that needs nothing but films, with random weights: one with embeddings has the network that makes them."""
    model = new_model(config, embedder.width if embedder else 0)
    if embedder is not None and isinstance(model, FusedClassifier):
        model.embedder = Embedder(build_model(embedder.arch, 0), embedder, normalisation.mean, normalisation.std)
    return model


def features_and_logits(
    model: nn.Module, batch: torch.Tensor, embeddings: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Pooled features ``(B, F)`` and logits ``(B, K)`` of one forward pass."""
    if isinstance(model, FusedClassifier):
        return model.features_and_logits(batch, embeddings)
    features = pooled_features(model, batch)
    return features, model.get_classifier()(features)  # type: ignore[operator]
