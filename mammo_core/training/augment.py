"""Augmentation of whole batches on the model's device, each film by draws of its own.

A film's draws are a function of (seed, epoch, index, how often it came before in this epoch). They do not depend on the batch it
is in, on the number of processes, or on anything drawn before.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

AUGMENT_STREAM, MIXUP_STREAM = 2, 4
"""Keep the random streams of one (seed, epoch) apart."""
DRAWS = 15
"""Numbers in [-1, 1) for one film; the first six are those of light augmentation."""


@dataclass(frozen=True)
class Strength:
    """How far a film may be changed; each draw is uniform between minus and plus these, or between the two ends."""

    rotation: float
    """Degrees."""
    shift: float
    """Of the canvas side."""
    scale: tuple[float, float]
    brightness: float
    """Added to pixels in [0, 1]."""
    contrast: tuple[float, float]
    gamma: float = 0.0
    """The exponent lies between exp(-gamma) and exp(gamma)."""
    erased: float = 0.0
    """Longest side of an erased rectangle, of the canvas side; two are drawn for a film, each with half a chance to be there."""


STRENGTHS: dict[str, Strength] = {
    "light": Strength(rotation=10, shift=0.05, scale=(0.92, 1.08), brightness=0.08, contrast=(0.85, 1.15)),
    "strong": Strength(rotation=15, shift=0.08, scale=(0.85, 1.15), brightness=0.12, contrast=(0.7, 1.3), gamma=0.3, erased=0.25),
}


def draw(indices: Sequence[int] | npt.NDArray[np.int64], repeats: npt.NDArray[np.int64], seed: int, epoch: int) -> torch.Tensor:
    """The draws of some films of an epoch.

    Parameters
    ----------
    indices : n places of films in their set
    repeats : how often each came before in this epoch

    Returns
    -------
    float32 Tensor of shape (n, DRAWS), in [-1, 1)
    """
    rows = [
        np.random.default_rng([seed, epoch, AUGMENT_STREAM, int(index), *([int(repeat)] if repeat else [])]).uniform(-1, 1, DRAWS)
        for index, repeat in zip(indices, repeats, strict=True)
    ]
    return torch.tensor(np.stack(rows) if rows else np.zeros((0, DRAWS)), dtype=torch.float32)


def augment(films: torch.Tensor, draws: torch.Tensor, kind: Literal["light", "strong"]) -> torch.Tensor:
    """Rotation, shift and scale, then contrast and brightness; with ``strong`` also gamma and erased rectangles.

    What comes in from outside is background, and the background stays black. Films are oriented with the chest wall on the left,
    so none is flipped.

    Parameters
    ----------
    films : float Tensor of shape (B, 1, H, W), in [0, 1]
    draws : float Tensor of shape (B, DRAWS), in [-1, 1), on the same device
    """
    strength = STRENGTHS[kind]
    moved = _move(films, draws, strength)
    shown = moved
    if strength.gamma:
        # The smallest positive number keeps 0 at 0 for every exponent.
        shown = moved.clamp_min(torch.finfo(moved.dtype).tiny) ** torch.exp(draws[:, 6] * strength.gamma).view(-1, 1, 1, 1)
    contrast = _between(draws[:, 4], strength.contrast).view(-1, 1, 1, 1)
    changed = (shown - 0.5) * contrast + 0.5 + (draws[:, 5] * strength.brightness).view(-1, 1, 1, 1)
    changed = torch.where(moved > 0, changed, moved).clamp(0, 1)
    return _erase(changed, draws[:, 7:], strength.erased) if strength.erased else changed


def _between(draws: torch.Tensor, ends: tuple[float, float]) -> torch.Tensor:
    return ends[0] + (draws + 1) / 2 * (ends[1] - ends[0])


def _move(films: torch.Tensor, draws: torch.Tensor, strength: Strength) -> torch.Tensor:
    height, width = films.shape[-2:]
    angle = draws[:, 0] * math.radians(strength.rotation)
    scale = _between(draws[:, 1], strength.scale)
    cos, sin = torch.cos(angle) / scale, torch.sin(angle) / scale
    aspect = height / width  # affine_grid's coordinates run from -1 to 1 on both axes
    rows = [
        torch.stack([cos, -sin * aspect, draws[:, 2] * 2 * strength.shift], dim=1),
        torch.stack([sin / aspect, cos, draws[:, 3] * 2 * strength.shift], dim=1),
    ]
    grid = torch.nn.functional.affine_grid(torch.stack(rows, dim=1), list(films.shape), align_corners=False)
    return torch.nn.functional.grid_sample(films, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _erase(films: torch.Tensor, draws: torch.Tensor, longest: float) -> torch.Tensor:
    """Black rectangles (DeVries and Taylor 2017, arXiv:1708.04552, cut squares)."""
    height, width = films.shape[-2:]
    down = torch.linspace(-1, 1, height, device=films.device, dtype=films.dtype).view(1, 1, -1, 1)
    right = torch.linspace(-1, 1, width, device=films.device, dtype=films.dtype).view(1, 1, 1, -1)
    for first in (0, 4):
        top, left, tall, wide = (draws[:, first + number].view(-1, 1, 1, 1) for number in range(4))
        # One draw gives presence and height: its sign says whether, its size how tall.
        inside = ((down - top).abs() <= tall * longest) & ((right - left).abs() <= wide.abs() * longest)
        films = films.masked_fill(inside & (tall > 0), 0.0)
    return films


def draw_mixing(seed: int, epoch: int, step: int, alpha: float) -> float:
    """The share of the first film in a mixture, at least one half.

    Source: Zhang et al. (2018), mixup, arXiv:1710.09412; the mixture of a batch with its own reverse order.
    """
    share = float(np.random.default_rng([seed, epoch, MIXUP_STREAM, step]).beta(alpha, alpha))
    return max(share, 1 - share)
