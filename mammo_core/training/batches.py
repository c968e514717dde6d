"""Films in batches, in an order that is counted, not remembered.

The order of an epoch is a function of (seed, epoch). Nothing depends on how many numbers were drawn before, so a run is the same
with or without worker processes and after a resume.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Dataset

from mammo_core.training.ranks import ALONE, Ranks

ORDER_STREAM = 1
"""Keeps the order's random stream apart from the others of one (seed, epoch)."""


@dataclass(frozen=True)
class FilmSet(Dataset[npt.NDArray[np.uint8]]):
    """The prepared films of one split part.

    ``load(image_id)`` returns the film as uint8 of shape (H, W); it must be picklable where worker processes are used.
    """

    image_ids: Sequence[str]
    labels: npt.NDArray[np.int64]
    load: Callable[[str], npt.NDArray[np.uint8]]
    embeddings: npt.NDArray[np.float32] | None = None
    """``(n, F)``, rows as ``image_ids``: features of another network, for models that join them to the film's."""

    def __len__(self) -> int:
        return len(self.image_ids)

    def __getitem__(self, index: int) -> npt.NDArray[np.uint8]:
        return self.load(self.image_ids[index])

    def chosen(self, places: npt.NDArray[np.int64]) -> FilmSet:
        """The films at ``places``, in that order."""
        embeddings = None if self.embeddings is None else self.embeddings[places]
        return FilmSet([self.image_ids[place] for place in places], self.labels[places], self.load, embeddings)


@dataclass(frozen=True)
class Batch:
    """This process's share of a batch.

    ``films`` uint8 (B, 1, H, W), ``labels`` int64 (B,); ``indices`` and ``repeats`` int64 (B,): places in the film set, and how
    often each film came before in this pass; ``counted`` float32 (B,) is 0 for films that only fill the batch. ``whole_labels``
    int64 are those of the whole batch, over all processes, without such films. ``embeddings`` float32 (B, F), where the film set
    has them.
    """

    films: torch.Tensor
    labels: torch.Tensor
    indices: npt.NDArray[np.int64]
    repeats: npt.NDArray[np.int64]
    counted: torch.Tensor
    whole_labels: torch.Tensor
    embeddings: torch.Tensor | None = None


def epoch_order(n: int, seed: int, epoch: int) -> npt.NDArray[np.int64]:
    """A permutation of ``range(n)`` that depends on nothing but its arguments."""
    return np.random.default_rng([seed, epoch, ORDER_STREAM]).permutation(n)


def balanced_order(labels: npt.NDArray[np.int64], seed: int, epoch: int) -> npt.NDArray[np.int64]:
    """``len(labels)`` places in which every class that there is comes equally often, give or take one, in a mixed order.

    A class goes round its films as often as needed, each round in an order of its own: no film of it comes twice more often than
    another.
    """
    rng = np.random.default_rng([seed, epoch, ORDER_STREAM])
    classes = rng.permutation(np.unique(labels))
    wanted = [len(labels) // len(classes) + (place < len(labels) % len(classes)) for place in range(len(classes))]
    chosen = []
    for name, count in zip(classes, wanted, strict=True):
        films = np.flatnonzero(labels == name)
        rounds = [rng.permutation(films) for _ in range(-(-count // len(films)))]
        chosen.append(np.concatenate(rounds)[:count])
    order: npt.NDArray[np.int64] = rng.permutation(np.concatenate(chosen))
    return order


def repeats_of(order: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """How often each entry came before in ``order``."""
    sorting = np.argsort(order, kind="stable")
    _, starts, counts = np.unique(order[sorting], return_index=True, return_counts=True)
    repeats = np.empty(len(order), dtype=np.int64)
    repeats[sorting] = np.arange(len(order)) - np.repeat(starts, counts)
    return repeats


def batch_slices(n: int, batch_size: int) -> list[slice]:
    """Consecutive slices of at most ``batch_size``; a last film alone joins the batch before it.

    A batch of one has no variance for batch normalisation to use.
    """
    starts = list(range(0, n, batch_size))
    if len(starts) > 1 and n - starts[-1] == 1:
        starts.pop()
    return [slice(start, end) for start, end in zip(starts, [*starts[1:], n], strict=True)]


def cut(count: int, size: int) -> Iterator[slice]:
    """Slices of nearly equal length, at most ``size``: a small remainder would spoil the statistics of batch normalisation."""
    pieces = -(-count // size)
    start = 0
    for piece in range(pieces):
        end = start + count // pieces + (piece < count % pieces)
        yield slice(start, end)
        start = end


@dataclass(frozen=True)
class Share:
    """One process's part of one batch of an epoch's order."""

    indices: npt.NDArray[np.int64]
    repeats: npt.NDArray[np.int64]
    whole: npt.NDArray[np.int64]
    fillers: int = 0
    """How many films at the end only fill the batch."""

    @property
    def counted(self) -> torch.Tensor:
        counted = torch.ones(len(self.indices))
        counted[len(self.indices) - self.fillers :] = 0
        return counted


def largest_share(batch_size: int, ranks: Ranks) -> int:
    """Films of a full batch in the process that gets most of them."""
    return -(-batch_size // ranks.count)


def shares(order: npt.NDArray[np.int64], batch_size: int, ranks: Ranks) -> list[Share]:
    """Every batch of ``order``, cut for this process."""
    repeats = repeats_of(order)
    return [
        Share(ranks.share(order[part]), ranks.share(repeats[part]), order[part]) for part in batch_slices(len(order), batch_size)
    ]


def full_shares(order: npt.NDArray[np.int64], batch_size: int, ranks: Ranks) -> list[Share]:
    """As :func:`shares`, every one of the same size: the short ones are filled with the first films of ``order``.

    On a device that prepares its kernels for each shape anew, one batch of another size can cost more than an epoch.
    """
    repeats, size, found = repeats_of(order), largest_share(batch_size, ranks), []
    for start in range(0, len(order), batch_size):
        part = slice(start, start + batch_size)
        mine, seen = ranks.share(order[part]), ranks.share(repeats[part])
        fillers = np.resize(order, size - len(mine))
        zeros = np.zeros(len(fillers), dtype=np.int64)
        found.append(Share(np.concatenate([mine, fillers]), np.concatenate([seen, zeros]), order[part], len(fillers)))
    return found


class BatchLoader:
    """Loads the batches of any order; its worker processes, if any, live as long as it does.

    ``_cut`` is how an order becomes batches: :func:`shares`, or :func:`full_shares` where every batch must have one size.

    Parameters
    ----------
    batch_size : films of a whole batch, over all processes
    """

    _cut = staticmethod(shares)

    def __init__(self, films: FilmSet, batch_size: int, num_workers: int = 0, ranks: Ranks = ALONE) -> None:
        self.films = films
        self._batch_size = batch_size
        self._ranks = ranks
        self._shares: list[Share] = []
        self._loader: DataLoader[npt.NDArray[np.uint8]] = DataLoader(
            films,
            batch_sampler=_Order(self),
            num_workers=num_workers,
            persistent_workers=num_workers > 0,
            # A fork of a process with running torch threads can hang; spawn cannot.
            multiprocessing_context="spawn" if num_workers else None,
            collate_fn=_stack,
            worker_init_fn=_in_a_group_of_its_own if num_workers else None,
            # Without its own generator every new iterator would draw from torch's global one and shift dropout.
            generator=torch.Generator(),
        )

    def __len__(self) -> int:
        """Batches of a pass over as many films as there are."""
        return len(self._cut(np.arange(len(self.films)), self._batch_size, self._ranks))

    def batches(self, order: npt.NDArray[np.int64] | None = None) -> Iterator[Batch]:
        """One pass over the films, in ``order`` or as they stand; a process without a film of a batch gets an empty one."""
        order = np.arange(len(self.films)) if order is None else order
        self._shares = self._cut(order, self._batch_size, self._ranks)
        films = iter(self._loader)
        for share in self._shares:
            stacked = next(films) if len(share.indices) else _stack([self.films[int(share.whole[0])]])[:0]
            yield self._batch(stacked, share)

    def _batch(self, films: torch.Tensor, share: Share) -> Batch:
        labels, embeddings = self.films.labels, self.films.embeddings
        return Batch(
            films,
            torch.from_numpy(labels[share.indices]),
            share.indices,
            share.repeats,
            share.counted,
            torch.from_numpy(labels[share.whole]),
            None if embeddings is None else torch.from_numpy(embeddings[share.indices]),
        )

    @property
    def current_order(self) -> list[list[int]]:
        return [share.indices.tolist() for share in self._shares if len(share.indices)]


class _Order:
    """The batch sampler that DataLoader asks; it lives in the main process, so workers only ever load.

    It does not keep the loader alive: that would be a circle, and the workers would go on until the next round of collection.
    """

    def __init__(self, loader: BatchLoader) -> None:
        self._loader = weakref.proxy(loader)

    def __iter__(self) -> Iterator[list[int]]:
        order: list[list[int]] = self._loader.current_order
        return iter(order)

    def __len__(self) -> int:
        return len(self._loader)


def _in_a_group_of_its_own(worker: int) -> None:
    """Ctrl-C and the like reach a whole process group; the trainer ends its batch first and needs its films for that."""
    if hasattr(os, "setpgrp"):
        os.setpgrp()


def _stack(films: list[npt.NDArray[np.uint8]]) -> torch.Tensor:
    return torch.from_numpy(np.stack(films)[:, None])
