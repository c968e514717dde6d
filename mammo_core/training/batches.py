"""Films in batches, in an order and with augmentation that are counted, not remembered.

The order of an epoch is a function of (seed, epoch) and the augmentation of a film one of (seed, epoch, index). Nothing depends
on how many numbers were drawn before, so a run is the same with or without worker processes and after a resume.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Dataset

ORDER_STREAM, AUGMENT_STREAM = 1, 2
"""Keep the random streams of one (seed, epoch) apart."""

MAX_ROTATION_DEGREES = 10.0
MAX_SHIFT = 0.05
"""Of the canvas side."""
SCALE_RANGE = (0.92, 1.08)
MAX_BRIGHTNESS = 0.08
"""Added to pixels in [0, 1]."""
CONTRAST_RANGE = (0.85, 1.15)


@dataclass(frozen=True)
class FilmSet(Dataset[tuple[int, npt.NDArray[np.uint8]]]):
    """The prepared films of one split part.

    ``load(image_id)`` returns the film as uint8 of shape (H, W); it must be picklable where worker processes are used.
    """

    image_ids: Sequence[str]
    labels: npt.NDArray[np.int64]
    load: Callable[[str], npt.NDArray[np.uint8]]

    def __len__(self) -> int:
        return len(self.image_ids)

    def __getitem__(self, index: int) -> tuple[int, npt.NDArray[np.uint8]]:
        return index, self.load(self.image_ids[index])


@dataclass(frozen=True)
class Batch:
    """``films`` uint8 (B, 1, H, W), ``labels`` int64 (B,), ``indices`` int64 (B,) into the film set."""

    films: torch.Tensor
    labels: torch.Tensor
    indices: npt.NDArray[np.int64]


def epoch_order(n: int, seed: int, epoch: int) -> npt.NDArray[np.int64]:
    """A permutation of ``range(n)`` that depends on nothing but its arguments."""
    return np.random.default_rng([seed, epoch, ORDER_STREAM]).permutation(n)


def batch_slices(n: int, batch_size: int) -> list[slice]:
    """Consecutive slices of at most ``batch_size``; a last film alone joins the batch before it.

    A batch of one has no variance for batch normalisation to use.
    """
    starts = list(range(0, n, batch_size))
    if len(starts) > 1 and n - starts[-1] == 1:
        starts.pop()
    return [slice(start, end) for start, end in zip(starts, [*starts[1:], n], strict=True)]


class BatchLoader:
    """Loads the batches of any order; its worker processes, if any, live as long as it does."""

    def __init__(self, films: FilmSet, batch_size: int, num_workers: int = 0) -> None:
        self.films = films
        self._order: list[list[int]] = []
        self._slices = batch_slices(len(films), batch_size)
        self._loader: DataLoader[tuple[int, npt.NDArray[np.uint8]]] = DataLoader(
            films,
            batch_sampler=_Order(self),
            num_workers=num_workers,
            persistent_workers=num_workers > 0,
            # A fork of a process with running torch threads can hang; spawn cannot.
            multiprocessing_context="spawn" if num_workers else None,
            collate_fn=_stack,
            # Without its own generator every new iterator would draw from torch's global one and shift dropout.
            generator=torch.Generator(),
        )

    def __len__(self) -> int:
        return len(self._slices)

    def batches(self, order: npt.NDArray[np.int64] | None = None) -> Iterator[Batch]:
        """One pass over the films, in ``order`` or as they stand."""
        order = np.arange(len(self.films)) if order is None else order
        self._order = [order[part].tolist() for part in self._slices]
        for films, indices in self._loader:
            yield Batch(films, torch.from_numpy(self.films.labels[indices]), indices)

    @property
    def current_order(self) -> list[list[int]]:
        return self._order


class _Order:
    """The batch sampler that DataLoader asks; it lives in the main process, so workers only ever load."""

    def __init__(self, loader: BatchLoader) -> None:
        self._loader = loader

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self._loader.current_order)

    def __len__(self) -> int:
        return len(self._loader)


def _stack(items: list[tuple[int, npt.NDArray[np.uint8]]]) -> tuple[torch.Tensor, npt.NDArray[np.int64]]:
    films = torch.from_numpy(np.stack([film for _, film in items])[:, None])
    return films, np.array([index for index, _ in items], dtype=np.int64)


def to_float(films: torch.Tensor, device: torch.device) -> torch.Tensor:
    """uint8 films to float32 in [0, 1] on ``device``."""
    return films.to(device, non_blocking=True).float().div_(255)


def augment(films: torch.Tensor, indices: npt.NDArray[np.int64], seed: int, epoch: int) -> torch.Tensor:
    """Light augmentation of a batch, each film by its own (seed, epoch, index).

    Rotation, shift and scale about the middle of the chest-wall side's canvas, then brightness and contrast; no left-right
    flip, because films are oriented with the chest wall on the left. What comes in from outside is background.

    Parameters
    ----------
    films : float Tensor of shape (B, 1, H, W), in [0, 1]
    """
    draws = torch.tensor(
        np.stack([_draws(seed, epoch, int(index)) for index in indices]), dtype=torch.float32, device=films.device
    )
    height, width = films.shape[-2:]
    angle = draws[:, 0] * math.radians(MAX_ROTATION_DEGREES)
    scale = SCALE_RANGE[0] + (draws[:, 1] + 1) / 2 * (SCALE_RANGE[1] - SCALE_RANGE[0])
    cos, sin = torch.cos(angle) / scale, torch.sin(angle) / scale
    aspect = height / width  # affine_grid's coordinates run from -1 to 1 on both axes
    rows = [
        torch.stack([cos, -sin * aspect, draws[:, 2] * 2 * MAX_SHIFT], dim=1),
        torch.stack([sin / aspect, cos, draws[:, 3] * 2 * MAX_SHIFT], dim=1),
    ]
    grid = torch.nn.functional.affine_grid(torch.stack(rows, dim=1), list(films.shape), align_corners=False)
    moved = torch.nn.functional.grid_sample(films, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    contrast = CONTRAST_RANGE[0] + (draws[:, 4] + 1) / 2 * (CONTRAST_RANGE[1] - CONTRAST_RANGE[0])
    brightness = draws[:, 5] * MAX_BRIGHTNESS
    changed = (moved - 0.5) * contrast.view(-1, 1, 1, 1) + 0.5 + brightness.view(-1, 1, 1, 1)
    return torch.where(moved > 0, changed, moved).clamp_(0, 1)  # the background stays black


def _draws(seed: int, epoch: int, index: int) -> npt.NDArray[np.float64]:
    return np.random.default_rng([seed, epoch, AUGMENT_STREAM, index]).uniform(-1, 1, size=6)
