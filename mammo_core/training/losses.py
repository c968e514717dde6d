"""The losses of training, film by film, so that batches can be cut and shared without changing their gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import nn


class TrainingLoss:
    """A weighted loss as numerators and a denominator.

    The loss of a batch is ``sum(numerators) / sum(weights)``, which for the cross-entropy equals
    ``torch.nn.CrossEntropyLoss(weight=..., label_smoothing=...)``. Parts of a batch each give their numerators over the whole
    batch's denominator, and the gradients add up to the whole batch's. ``ordinal`` adds the squared earth mover's distance, with
    the same weights: alone it has hardly any gradient where a new head is sure and wrong.
    """

    def __init__(
        self,
        kind: Literal["cross_entropy", "ordinal"],
        class_weights: Sequence[float] | None,
        n_classes: int,
        label_smoothing: float = 0.0,
        device: torch.device | None = None,
    ) -> None:
        self._kind = kind
        self._smoothing = label_smoothing
        self._host_weights = torch.tensor(class_weights or [1.0] * n_classes, dtype=torch.float32)
        self._weights = self._host_weights.to(device)

    def weights(self, labels: torch.Tensor) -> torch.Tensor:
        """The weight of each film's class, (B,)."""
        return self._weights[labels]

    def total(self, labels: torch.Tensor) -> float:
        """The denominator of a batch with these labels, which lie on the CPU so that no device is waited for."""
        return float(self._host_weights[labels].sum())

    def numerators(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Weight times loss of each film, (B,).

        Parameters
        ----------
        logits : float32 Tensor of shape (B, K)
        labels : int64 Tensor of shape (B,)
        """
        entropy = nn.functional.cross_entropy(
            logits, labels, weight=self._weights, label_smoothing=self._smoothing, reduction="none"
        )
        return entropy if self._kind == "cross_entropy" else entropy + self.weights(labels) * squared_emd(logits, labels)


def squared_emd(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Squared earth mover's distance between the predicted distribution and the label on an ordered scale, film by film.

    The sum over classes of the squared difference of the two cumulative distributions: 0 for a sure and right answer, ``d`` for a
    sure answer that is ``d`` classes off.

    Parameters
    ----------
    logits : Tensor of shape (B, K)
    labels : int64 Tensor of shape (B,)

    Source
    ------
    Hou, Yu and Samaras (2016), Squared earth mover's distance-based loss, arXiv:1611.05916, equation 3 with l = 2 and no mean.
    """
    steps = torch.arange(logits.shape[1], device=logits.device)
    # As a product: torch's cumulative sum has no deterministic form on CUDA.
    predicted = logits.softmax(1) @ (steps[:, None] <= steps[None, :]).to(logits.dtype)
    wanted = (steps[None, :] >= labels[:, None]).to(predicted.dtype)
    return ((predicted - wanted) ** 2).sum(1)
