"""Several processes that train one model: who takes which films, and how sums come together.

Started by ``torchrun`` or ``accelerate launch``, each process finds its rank in the environment (``RANK``, ``WORLD_SIZE``). A
batch of the configuration is shared among them, so the gradients are those of one process but for batch normalisation, which sees
the films of its own process; every film of an evaluation is looked at once.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import distributed

Value = TypeVar("Value")
WAIT = timedelta(minutes=30)
"""How long a process waits for the others: reading the films of a large data set is done by the first one while they wait."""


@dataclass(frozen=True)
class Ranks:
    """This process among all; one process alone where ``count`` is 1."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes the run's files."""
        return self.rank == 0

    def share(self, indices: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """This process's consecutive part; parts differ by one film at most, and may be empty."""
        return np.array_split(indices, self.count)[self.rank]

    def add(self, tensor: torch.Tensor) -> torch.Tensor:
        """The sum over all processes, in place."""
        if self.count > 1:
            distributed.all_reduce(tensor)
        return tensor

    def add_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Sum the gradients of all processes, as one message."""
        if self.count == 1:
            return
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        distributed.all_reduce(flat)
        start = 0
        for gradient in gradients:
            gradient.copy_(flat[start : start + gradient.numel()].view_as(gradient))
            start += gradient.numel()

    def copy_from_first(self, tensors: Iterable[torch.Tensor]) -> None:
        """Overwrite tensors with those of the first process."""
        if self.count > 1:
            for tensor in tensors:
                distributed.broadcast(tensor, src=0)

    def gather(self, value: Value) -> list[Value]:
        """The values of all processes, in their order, in every process; plain values and CPU tensors only."""
        if self.count == 1:
            return [value]
        gathered: list[Value | None] = [None] * self.count
        distributed.all_gather_object(gathered, value)
        return gathered  # type: ignore[return-value]

    def tell(self, value: Value) -> Value:
        """The first process's value, in every process."""
        if self.count == 1:
            return value
        box = [value]
        distributed.broadcast_object_list(box, src=0)
        return box[0]

    def wait(self) -> None:
        if self.count > 1:
            distributed.barrier()


ALONE = Ranks()


def is_launched() -> bool:
    """Whether this process was started as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and "RANK" in os.environ


@contextlib.contextmanager
def join_ranks(device: str) -> Iterator[Ranks]:
    """Meet the other processes of this launch, or be alone.

    Parameters
    ----------
    device : ``auto``, ``cuda``, ``mps`` or ``cpu``
    """
    if not is_launched():
        yield ALONE
        return
    on_gpu = device != "cpu" and torch.cuda.is_available()
    if on_gpu:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    distributed.init_process_group("nccl" if on_gpu else "gloo", timeout=WAIT)
    try:
        yield Ranks(distributed.get_rank(), distributed.get_world_size())
    finally:
        distributed.destroy_process_group()
