"""A model's answers on films, in eval mode; every film is looked at once, whatever the number of processes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from mammo_core.training.batches import BatchLoader, cut
from mammo_core.training.models import Normalisation, features_and_logits, normalise, to_float
from mammo_core.training.ranks import ALONE, Ranks
from mammo_core.training.steps import StepPlan

EVAL_BATCH_FACTOR = 2
"""Evaluation keeps no gradients, so its batches may be larger."""


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
    plan: StepPlan | None = None,
    ranks: Ranks = ALONE,
) -> Inference:
    """Run ``model`` in eval mode over ``loader``'s films, without gradients; the answers stand in the films' order.

    Parameters
    ----------
    plan : precision of the model's pass, and how many films training sends through it at once; float32 and whole batches where
        left out. Logits are float32 and probabilities float64 whatever the plan.
    """
    model.eval()
    probabilities, features, losses, places = [], [], [], []
    with torch.inference_mode():
        for batch in loader.batches():
            if not len(batch.indices):
                continue
            answers = []
            for part in cut(len(batch.films), EVAL_BATCH_FACTOR * plan.micro_batch if plan else len(batch.films)):
                with torch.autocast(device.type, torch.bfloat16, enabled=plan is not None and plan.precision == "bfloat16"):
                    films = normalise(to_float(batch.films[part], device), normalisation)
                    embeddings = None if batch.embeddings is None else batch.embeddings[part].to(device)
                    answers.append([answer.float().cpu() for answer in features_and_logits(model, films, embeddings)])
            count = int(batch.counted.sum())  # films that only fill the batch stand at its end
            pooled, logits = (torch.cat(kind)[:count] for kind in zip(*answers, strict=True))
            logits = logits.double()
            losses.append(nn.functional.cross_entropy(logits, batch.labels[:count], reduction="none").numpy())
            probabilities.append(logits.softmax(1).numpy())
            features.append(pooled.numpy())
            places.append(batch.indices[:count])
    parts = ranks.gather((places, probabilities, features, losses))
    in_order = np.argsort(np.concatenate([place for part in parts for place in part[0]]), kind="stable")

    def join(number: int) -> npt.NDArray[np.float64]:
        joined: npt.NDArray[np.float64] = np.concatenate([array for part in parts for array in part[number]])[in_order]
        return joined

    return Inference(join(1), join(2).astype(np.float32, copy=False), float(join(3).mean()))
