"""A classifier that sees each film twice: through the backbone that learns, and as features of another, frozen network.

The features were written once by ``embed`` and are read while training; the trained model carries the frozen network along, so
that it can judge a film that nobody has embedded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

PROJECTED = 128
"""Features that the embedding is brought down to, so that it does not outweigh the backbone's."""
EMBEDDER_PREFIX = "embedder.network."
"""Of the frozen network's tensors among those of a trained model."""
MOST_FEATURES = 2**16
LEAST_SD = 1e-6
"""A feature that varies less over the training films is only centred."""


@dataclass(frozen=True)
class EmbedderSpec:
    """Which network the embeddings come from, and how its input is scaled."""

    arch: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    """Of its three input channels, on the scale of pixels in [0, 1]."""
    width: int
    """Features it gives."""

    def to_dict(self) -> dict[str, Any]:
        return {"arch": self.arch, "mean": list(self.mean), "std": list(self.std), "width": self.width}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> EmbedderSpec:
        mean, std = (tuple(float(value) for value in raw[name]) for name in ("mean", "std"))
        if len(mean) != 3 or len(std) != 3 or min(std) <= 0 or not 1 <= int(raw["width"]) <= MOST_FEATURES:
            raise ValueError("the embedder's scaling or width")
        return cls(str(raw["arch"]), mean, std, int(raw["width"]))


class Embedder(nn.Module):
    """The frozen network, fed with what was normalised for another one."""

    def __init__(self, network: nn.Module, spec: EmbedderSpec, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.network = network.requires_grad_(False)
        given_mean, given_std = (torch.tensor(values).view(1, 3, 1, 1) for values in (mean, std))
        own_mean, own_std = (torch.tensor(values).view(1, 3, 1, 1) for values in (spec.mean, spec.std))
        self.register_buffer("scale", given_std / own_std, persistent=False)
        self.register_buffer("shift", (given_mean - own_mean) / own_std, persistent=False)

    def train(self, mode: bool = True) -> Embedder:
        return super().train(False)

    def forward(self, films: torch.Tensor) -> torch.Tensor:
        return pooled_features(self.network, films * self.get_buffer("scale") + self.get_buffer("shift"))


class FusedClassifier(nn.Module):
    """Backbone features and standardised, projected embeddings, joined before one linear head.

    Parameters
    ----------
    backbone : a timm model without a head
    width : features of an embedding
    """

    def __init__(self, backbone: nn.Module, width: int, n_classes: int, dropout: float) -> None:
        super().__init__()
        self.backbone = backbone
        self.projection = nn.Sequential(nn.Linear(width, PROJECTED), nn.GELU(), nn.Dropout(dropout))
        self.num_features = features_of(backbone) + PROJECTED
        self.head = nn.Linear(self.num_features, n_classes)
        self.embedding_width = width
        self.embedder: Embedder | None = None
        self.register_buffer("embedding_mean", torch.zeros(width))
        self.register_buffer("embedding_sd", torch.ones(width))

    def standardise(self, training: torch.Tensor) -> None:
        """Take mean and SD of each feature from the training films' embeddings ``(n, width)``."""
        spread = training.std(0, correction=0)
        self.get_buffer("embedding_mean").copy_(training.mean(0))
        self.get_buffer("embedding_sd").copy_(torch.where(spread < LEAST_SD, torch.ones_like(spread), spread))

    def features_and_logits(
        self, films: torch.Tensor, embeddings: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """As :func:`mammo_core.training.models.features_and_logits`; without ``embeddings`` the frozen network makes them."""
        if embeddings is None:
            if self.embedder is None:
                raise RuntimeError("this model has no network to make embeddings with, and got none")
            embeddings = self.embedder(films)
        standard = (embeddings - self.get_buffer("embedding_mean")) / self.get_buffer("embedding_sd")
        features = torch.cat([pooled_features(self.backbone, films), self.projection(standard)], dim=1)
        return features, self.head(features)

    def forward(self, films: torch.Tensor, embeddings: torch.Tensor | None = None) -> torch.Tensor:
        return self.features_and_logits(films, embeddings)[1]


def pooled_features(model: nn.Module, films: torch.Tensor) -> torch.Tensor:
    """What a timm model's head would see, ``(B, F)``."""
    maps = model.forward_features(films)  # type: ignore[operator]
    pooled: torch.Tensor = model.forward_head(maps, pre_logits=True)  # type: ignore[operator]
    return pooled


def features_of(model: nn.Module) -> int:
    """Width of :func:`pooled_features`."""
    return int(getattr(model, "head_hidden_size", 0) or model.num_features)  # type: ignore[arg-type]


def backbone_of(model: nn.Module) -> nn.Module:
    """The timm model that learns from the film."""
    return model.backbone if isinstance(model, FusedClassifier) else model


def new_layers(model: nn.Module) -> nn.Module:
    """The layers that no pretrained weights fill."""
    if isinstance(model, FusedClassifier):
        return nn.ModuleList([model.projection, model.head])
    head: nn.Module = model.get_classifier()  # type: ignore[operator]
    return head


def embedding_width(model: nn.Module) -> int:
    """Features of an embedding that the model wants beside each film; 0 for a plain classifier."""
    return model.embedding_width if isinstance(model, FusedClassifier) else 0
