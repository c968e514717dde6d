"""A model's answers on films, in eval mode; every film is looked at once, whatever the number of processes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from mammo_core.training.batches import BatchLoader
from mammo_core.training.models import Normalisation, features_and_logits, normalise, to_float
from mammo_core.training.ranks import ALONE, Ranks


@dataclass(frozen=True)
class Inference:
    """``probabilities`` float64 (n, K), ``features`` float32 (n, F), ``loss`` the mean unweighted cross-entropy in nats."""

    probabilities: npt.NDArray[np.float64]
    features: npt.NDArray[np.float32]
    loss: float


def infer(
    model: nn.Module,
    loader: BatchLoader,
    normalisation: Normalisation,
    device: torch.device,
    precision: str = "float32",
    ranks: Ranks = ALONE,
) -> Inference:
    """Run ``model`` in eval mode over ``loader``'s films, without gradients; the answers stand in the films' order.

    Parameters
    ----------
    precision : ``float32`` or ``bfloat16``, of the model's pass; logits are float32 and probabilities float64 in both
    """
    model.eval()
    probabilities, features, losses, places = [], [], [], []
    with torch.inference_mode():
        for batch in loader.batches():
            if not len(batch.indices):
                continue
            with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
                pooled, logits = features_and_logits(model, normalise(to_float(batch.films, device), normalisation))
            count = int(batch.counted.sum())  # films that only fill the batch stand at its end
            logits = logits[:count].float().cpu().double()  # MPS has no float64
            losses.append(nn.functional.cross_entropy(logits, batch.labels[:count], reduction="none").numpy())
            probabilities.append(logits.softmax(1).numpy())
            features.append(pooled[:count].float().cpu().numpy())
            places.append(batch.indices[:count])
    parts = ranks.gather((places, probabilities, features, losses))
    in_order = np.argsort(np.concatenate([place for part in parts for place in part[0]]), kind="stable")

    def join(number: int) -> npt.NDArray[np.float64]:
        joined: npt.NDArray[np.float64] = np.concatenate([array for part in parts for array in part[number]])[in_order]
        return joined

    return Inference(join(1), join(2).astype(np.float32, copy=False), float(join(3).mean()))
