"""The training step as one CUDA graph: a network of small kernels is otherwise bound by launching them.

A graph replays the very kernels that were captured, on the same memory, so its input has one shape; a batch of another shape (the
last of an epoch) is stepped without it. With ``compiled`` the model's kernels are fused first.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from mammo_core.training.steps import StepInput, Stepper

WARM_UP_STEPS = 3
"""Kernels are chosen and buffers made in the first steps; neither can happen while a graph is captured."""


@dataclass
class GraphStepper(Stepper):
    """A :class:`Stepper` that captures its first batch of full size and replays it."""

    batch: int = 0
    """Films of a full batch in this process."""
    _graph: torch.cuda.CUDAGraph | None = field(default=None, init=False)
    _given: StepInput | None = field(default=None, init=False)

    def step(self, given: StepInput) -> None:
        if len(given.films) != self.batch:
            super().step(given)
            return
        if self._graph is None:
            self._capture(given)
        if self._graph is None or self._given is None:
            raise RuntimeError("the graph was not captured")
        self._given.copy_from(given)
        self._graph.replay()

    def close(self) -> None:
        """A captured graph holds NCCL's communicator, whose end would wait for it for ever."""
        if self._graph is not None:
            torch.cuda.synchronize()
            self._graph.reset()
            self._graph = None

    def _capture(self, given: StepInput) -> None:
        model = torch.compile(self.model, dynamic=False) if self.plan.graphs == "compiled" else self.model
        self._given = given.clone()
        kept = _Kept(self)

        def whole() -> None:
            self.optimizer.zero_grad(set_to_none=True)
            self._passes(self._given, model)  # type: ignore[arg-type]
            self._join()
            self.update()

        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(WARM_UP_STEPS):
                whole()
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        self.optimizer.zero_grad(set_to_none=True)
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):  # NCCL has a watching thread of its own
            whole()
        torch.cuda.synchronize()
        kept.put_back(self)
        self._graph = graph


class _Kept:
    """Model, optimiser and random state as they were before the warm-up, which must not count as training."""

    def __init__(self, stepper: Stepper) -> None:
        self._model = {name: value.clone() for name, value in stepper.model.state_dict().items()}
        self._optimizer: dict[int, dict[str, Any]] = {
            id(parameter): {name: value.clone() for name, value in state.items()}
            for parameter, state in stepper.optimizer.state.items()
        }
        self._random = torch.cuda.get_rng_state()

    def put_back(self, stepper: Stepper) -> None:
        with torch.no_grad():
            for name, value in stepper.model.state_dict().items():
                value.copy_(self._model[name])
            for parameter, state in stepper.optimizer.state.items():
                before = self._optimizer.get(id(parameter))
                for name, value in state.items():  # a fresh optimiser begins with zeros
                    value.copy_(before[name]) if before else value.zero_()
        torch.cuda.set_rng_state(self._random)
        torch.cuda.synchronize()
