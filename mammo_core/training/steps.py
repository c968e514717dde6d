"""One optimiser step: augmentation, the model's passes in micro-batches, gradients of all processes, the update."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import torch
from torch import nn

from mammo_core.config import TrainConfig
from mammo_core.training.augment import augment
from mammo_core.training.batches import cut
from mammo_core.training.losses import TrainingLoss
from mammo_core.training.models import Normalisation
from mammo_core.training.ranks import ALONE, Ranks


@dataclass(frozen=True)
class StepPlan:
    """What the machine decided and a resume must repeat."""

    precision: Literal["float32", "bfloat16"] = "float32"
    micro_batch: int = 1
    """Films that go through the model at once in one process."""
    graphs: Literal["off", "graph", "compiled"] = "off"
    threads: int = 1

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class StepInput:
    """One process's share of a batch, on the device.

    ``films`` uint8 (B, 1, H, W), ``labels`` int64 (B,), ``counted`` float32 (B,), 0 for films that only fill the batch, ``draws``
    float32 (B, DRAWS); scalars: ``scale``, one over the whole batch's sum of class weights, and ``share`` of each film in its
    mixture. ``embeddings`` float32 (B, F) for a model that joins them to the film's features.
    """

    films: torch.Tensor
    labels: torch.Tensor
    counted: torch.Tensor
    draws: torch.Tensor
    scale: torch.Tensor
    share: torch.Tensor
    embeddings: torch.Tensor | None = None

    def copy_from(self, other: StepInput) -> None:
        for name, value in vars(other).items():
            if value is not None:
                getattr(self, name).copy_(value, non_blocking=True)

    def clone(self) -> StepInput:
        return replace(self, **{name: value.clone() for name, value in vars(self).items() if value is not None})


def send(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A tensor on the device; to CUDA from pinned memory, so that the copy does not wait for the steps before it."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


@dataclass
class Stepper:
    """Steps one model; what they lost and hit is added up on the device, so that no step waits to be read.

    ``loss`` and ``correct`` are this process's share of the last step.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    loss_of: TrainingLoss
    config: TrainConfig
    normalisation: Normalisation
    plan: StepPlan
    device: torch.device
    ranks: Ranks = ALONE
    loss: torch.Tensor = field(init=False)
    correct: torch.Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.loss = torch.zeros((), device=self.device)
        self.correct = torch.zeros((), device=self.device, dtype=torch.int64)
        self._mean = torch.tensor(self.normalisation.mean, device=self.device).view(1, 3, 1, 1)
        self._std = torch.tensor(self.normalisation.std, device=self.device).view(1, 3, 1, 1)

    def gradients(self, given: StepInput) -> None:
        """Set the gradients of the whole batch, and ``loss`` and ``correct``."""
        self.optimizer.zero_grad(set_to_none=True)
        self._passes(given, self.model)
        self._join()

    def update(self) -> None:
        """Let the optimiser use the gradients."""
        self.optimizer.step()

    def step(self, given: StepInput) -> None:
        """Gradients and update, whatever the loss was."""
        self.gradients(given)
        self.update()

    def close(self) -> None:
        """Let go of what must not outlive the other processes."""

    def _join(self) -> None:
        if self.ranks.count > 1:
            for parameter in self.model.parameters():  # a process without a film of this batch has none
                if parameter.grad is None and parameter.requires_grad:
                    parameter.grad = torch.zeros_like(parameter)
            self.ranks.add_gradients(self.model.parameters())

    def _passes(self, given: StepInput, model: Callable[..., torch.Tensor]) -> None:
        self.loss.zero_()
        self.correct.zero_()
        if not len(given.films):  # a short last batch does not reach every process
            return
        inputs, extra = self.prepared(given), self.extra(given)
        for part in cut(len(inputs), self.plan.micro_batch):
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.plan.precision == "bfloat16"):
                logits = model(inputs[part], *(values[part] for values in extra))
            labels, logits = given.labels[part], logits.float()
            numerators = self.loss_of.numerators(logits, labels)
            if self.config.mixup:
                others = given.labels.flip(0)[part]
                numerators = given.share * numerators + (1 - given.share) * self.loss_of.numerators(logits, others)
            loss = (numerators * given.counted[part]).sum() * given.scale
            loss.backward()  # type: ignore[no-untyped-call]
            self.loss += loss.detach()
            self.correct += ((logits.detach().argmax(1) == labels) & (given.counted[part] > 0)).sum()

    def extra(self, given: StepInput) -> tuple[torch.Tensor, ...]:
        """What the model is given beside films; mixed as they are."""
        if given.embeddings is None:
            return ()
        if not self.config.mixup:
            return (given.embeddings,)
        return (given.share * given.embeddings + (1 - given.share) * given.embeddings.flip(0),)

    def prepared(self, given: StepInput) -> torch.Tensor:
        """Model input (B, 3, H, W), channels last in memory."""
        films = given.films.float().div_(255)
        if self.config.augment != "none":
            films = augment(films, given.draws, self.config.augment)
        if self.config.mixup:
            films = given.share * films + (1 - given.share) * films.flip(0)
        return ((films - self._mean) / self._std).contiguous(memory_format=torch.channels_last)
