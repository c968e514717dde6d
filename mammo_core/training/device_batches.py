"""Batches for a CUDA device that is quicker than files: from its own memory where the films fit, else fetched ahead."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch

from mammo_core.training.batches import Batch, BatchLoader, FilmSet, full_shares
from mammo_core.training.ranks import ALONE, Ranks
from mammo_core.training.steps import send

RESIDENT_SHARE = 0.4
"""Of the device's free memory that films may take; the rest is for the model's passes."""
READERS = 8
AHEAD = 4
"""Batches kept ready in pinned memory."""


class DeviceLoader(BatchLoader):
    """A :class:`BatchLoader` whose batches lie on a CUDA device.

    The films are read from the cache at the first pass and stay on the device as uint8 where they fit; otherwise a thread reads
    ahead into pinned memory. Every batch has the same size.
    """

    _cut = staticmethod(full_shares)

    def __init__(self, films: FilmSet, batch_size: int, device: torch.device, num_workers: int = 0, ranks: Ranks = ALONE) -> None:
        super().__init__(films, batch_size, num_workers, ranks)
        self._device = device
        self._resident: torch.Tensor | None = None
        self._fits: bool | None = None

    def batches(self, order: npt.NDArray[np.int64] | None = None) -> Iterator[Batch]:
        if self._fits is None:
            self._settle()
        if self._resident is None:
            return self._fetched(order)
        return self._from_device(self._resident, np.arange(len(self.films)) if order is None else order)

    def _settle(self) -> None:
        first = self.films[0]
        free, _ = torch.cuda.mem_get_info(self._device)
        self._fits = first.nbytes * len(self.films) <= RESIDENT_SHARE * free
        if self._fits:
            everything = torch.empty((len(self.films), 1, *first.shape), dtype=torch.uint8)
            with ThreadPoolExecutor(READERS) as readers:
                for place, film in enumerate(readers.map(self.films.__getitem__, range(len(self.films)))):
                    everything[place, 0] = torch.from_numpy(film)
            self._resident = everything.to(self._device)

    def _from_device(self, resident: torch.Tensor, order: npt.NDArray[np.int64]) -> Iterator[Batch]:
        for share in full_shares(order, self._batch_size, self._ranks):
            films = resident.index_select(0, send(torch.from_numpy(share.indices), self._device))
            yield self._batch(films, share)

    def _fetched(self, order: npt.NDArray[np.int64] | None) -> Iterator[Batch]:
        ready: queue.Queue[Batch | BaseException | None] = queue.Queue(AHEAD)
        ended = threading.Event()

        def put(item: Batch | BaseException | None) -> None:
            while not ended.is_set():
                with suppress(queue.Full):
                    ready.put(item, timeout=0.1)
                    return

        def fetch() -> None:
            try:
                for batch in super(DeviceLoader, self).batches(order):
                    put(replace(batch, films=batch.films.pin_memory()))
                    if ended.is_set():
                        return
                put(None)
            except BaseException as error:  # noqa: BLE001  raised again where the batches are used
                put(error)

        reader = threading.Thread(target=fetch, name="films", daemon=True)
        reader.start()
        try:
            while (item := ready.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield replace(item, films=item.films.to(self._device, non_blocking=True))
        finally:
            ended.set()
            reader.join()
