"""The training loop as a generator: one outcome an epoch, no file touched.

Whoever drives it (a run directory's writer, a test, a cluster job) decides what is written; whatever it needs to go on later is
in :meth:`Engine.state`. All randomness is counted from (seed, epoch, index), so an epoch's result does not depend on how
often the run was interrupted before.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from mammo_core.analysis.metrics import epoch_metrics
from mammo_core.config import TrainConfig
from mammo_core.errors import NonFiniteLoss
from mammo_core.runs.schema import EpochRecord, StopReason
from mammo_core.training.batches import Batch, BatchLoader, FilmSet, augment, epoch_order, to_float
from mammo_core.training.models import Normalisation, features_and_logits, normalise
from mammo_core.training.optim import build_optimizer, class_weights, learning_rate, set_learning_rate

DROPOUT_STREAM = 3
EVAL_BATCH_FACTOR = 2
"""Evaluation keeps no gradients, so its batches may be larger."""


@dataclass(frozen=True)
class Inference:
    """``probabilities`` float64 (n, K), ``features`` float32 (n, F), ``loss`` the mean unweighted cross-entropy in nats."""

    probabilities: npt.NDArray[np.float64]
    features: npt.NDArray[np.float32]
    loss: float


@dataclass(frozen=True)
class EpochOutcome:
    """What one epoch gave: the history record and the model's answers on the validation split."""

    record: EpochRecord
    validation: Inference


class Stopped(Exception):
    """The driver asked for a stop inside an epoch; the last whole epoch stands."""


@dataclass
class Progress:
    """Early stopping and the best epoch so far."""

    best_epoch: int = 0
    best_loss: float = math.inf
    reference_loss: float = math.inf
    """The loss that the next one must beat by ``min_delta`` to reset patience."""
    epochs_without_gain: int = 0

    def update(self, epoch: int, val_loss: float, min_delta: float) -> bool:
        """Take in one epoch; returns whether it has the lowest validation loss so far."""
        if val_loss < self.reference_loss - min_delta:
            self.reference_loss, self.epochs_without_gain = val_loss, 0
        else:
            self.epochs_without_gain += 1
        is_best = val_loss < self.best_loss
        if is_best:
            self.best_loss, self.best_epoch = val_loss, epoch
        return is_best


@dataclass
class Engine:
    """One model in training.

    Parameters
    ----------
    config : TrainConfig
        With ``class_names`` filled in.
    model : Module
        On ``device`` already, with its first weights.
    on_step : callable(step, steps)
        Called after each optimiser update; raises :class:`Stopped` to end inside the epoch.
    """

    config: TrainConfig
    model: nn.Module
    normalisation: Normalisation
    train: FilmSet
    validation: FilmSet
    device: torch.device
    on_step: Callable[[int, int], None] = lambda step, steps: None
    history: list[EpochRecord] = field(default_factory=list)
    progress: Progress = field(default_factory=Progress)

    def __post_init__(self) -> None:
        config = self.config
        self.model.to(device=self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = build_optimizer(self.model, config)
        counts = np.bincount(self.train.labels, minlength=len(config.class_names)).tolist()
        weights = class_weights(config, counts)
        self.train_loss = nn.CrossEntropyLoss(
            weight=None if weights is None else torch.tensor(weights, device=self.device), label_smoothing=config.label_smoothing
        )
        self.train_loader = BatchLoader(self.train, config.batch_size, config.num_workers)
        self.val_loader = BatchLoader(self.validation, config.batch_size * EVAL_BATCH_FACTOR, config.num_workers)
        self.eval_loader = BatchLoader(
            _fixed_subset(self.train, len(self.validation), config.seed), config.batch_size * EVAL_BATCH_FACTOR
        )

    # ---- going on later -----------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Everything an exact resume needs, in types that ``torch.load(weights_only=True)`` accepts."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "history": [record.to_json() for record in self.history],
            "progress": {key: value for key, value in vars(self.progress).items()},
        }

    def load_state(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.history = [EpochRecord.model_validate(record) for record in state["history"]]
        self.progress = Progress(**state["progress"])

    def stop_reason(self) -> StopReason | None:
        """Why no further epoch is due, or ``None``."""
        patience = self.config.early_stopping_patience
        if patience is not None and self.progress.epochs_without_gain >= patience:
            return "early_stopping"
        return "max_epochs" if len(self.history) >= self.config.epochs else None

    # ---- training -----------------------------------------------------------------------------------------------------

    def fit(self) -> Iterator[EpochOutcome]:
        """Train until the planned epochs or early stopping, one outcome an epoch.

        Raises
        ------
        NonFiniteLoss
            Training or validation loss became NaN or infinite; the broken epoch's record is the last of ``history``.
        Stopped
            ``on_step`` raised it; the epoch begun is forgotten.
        """
        resumed = bool(self.history)
        while self.stop_reason() is None:
            outcome = self._epoch(len(self.history) + 1, resumed)
            resumed = False
            yield outcome

    def _epoch(self, epoch: int, resumed: bool) -> EpochOutcome:
        started = time.monotonic()
        record = EpochRecord(epoch=epoch, resumed=resumed)
        try:
            record.train_loss, record.train_acc, record.lr = self._train_epoch(epoch)
            record.images_per_second = len(self.train) / (time.monotonic() - started)
            validation = self.infer(self.val_loader)
            if not math.isfinite(validation.loss):
                raise NonFiniteLoss(
                    f"The validation loss became {validation.loss} at epoch {epoch}; expected a finite number. "
                    "The best checkpoint so far is kept. Lower lr (a tenth is a good start) and train again."
                )
        except NonFiniteLoss:
            self.history.append(record.model_copy(update={"non_finite": True, "seconds": time.monotonic() - started}))
            raise
        judged = epoch_metrics(self.validation.labels, validation.probabilities, self.config.class_names)
        record = record.model_copy(
            update={
                **judged,
                "val_loss": validation.loss,
                "val_acc": float((validation.probabilities.argmax(1) == self.validation.labels).mean()),
                "lr_next": self._next_rate(epoch),
                "train_loss_eval": self.infer(self.eval_loader).loss,
                "seconds": time.monotonic() - started,
                "is_best": self.progress.update(epoch, validation.loss, self.config.min_delta),
            }
        )
        self.history.append(record)
        return EpochOutcome(record, validation)

    def _next_rate(self, epoch: int) -> float | None:
        return learning_rate(epoch + 1 / len(self.train_loader), self.config) if epoch < self.config.epochs else None

    def _train_epoch(self, epoch: int) -> tuple[float, float, float]:
        """Train one pass; returns mean loss, accuracy and the last step's learning rate."""
        config, steps = self.config, len(self.train_loader)
        # Dropout draws from torch's global generator: seeding it here makes it a function of (seed, epoch).
        torch.manual_seed(int(np.random.default_rng([config.seed, epoch, DROPOUT_STREAM]).integers(2**62)))
        self.model.train()
        loss_sum, correct, lr = 0.0, 0, 0.0
        for step, batch in enumerate(self.train_loader.batches(epoch_order(len(self.train), config.seed, epoch)), start=1):
            lr = learning_rate(epoch - 1 + step / steps, config)
            set_learning_rate(self.optimizer, lr)
            loss, logits = self._step(batch, epoch)
            if not math.isfinite(loss):
                ids = ", ".join(self.train.image_ids[index] for index in batch.indices[:8])
                raise NonFiniteLoss(
                    f"The training loss became {loss} at epoch {epoch}, step {step} of {steps} (films {ids} ...); expected a "
                    "finite number. The best checkpoint so far is kept. Lower lr (a tenth is a good start) and train again."
                )
            loss_sum += loss * len(batch.indices)
            correct += int((logits.argmax(1).cpu() == batch.labels).sum())
            self.on_step(step, steps)
        return loss_sum / len(self.train), correct / len(self.train), lr

    def _step(self, batch: Batch, epoch: int) -> tuple[float, torch.Tensor]:
        films = to_float(batch.films, self.device)
        if self.config.augment == "light":
            films = augment(films, batch.indices, self.config.seed, epoch)
        self.optimizer.zero_grad(set_to_none=True)
        logits = self.model(normalise(films, self.normalisation))
        loss = self.train_loss(logits, batch.labels.to(self.device))
        loss.backward()
        value = float(loss.detach())
        if math.isfinite(value):  # a step on NaN gradients would spoil the weights for good
            self.optimizer.step()
        return value, logits.detach()

    def infer(self, loader: BatchLoader) -> Inference:
        """Probabilities, pooled features and unweighted loss on the films of ``loader``, in eval mode."""
        return infer(self.model, loader, self.normalisation, self.device)


def infer(model: nn.Module, loader: BatchLoader, normalisation: Normalisation, device: torch.device) -> Inference:
    """Run ``model`` in eval mode over ``loader``'s films, in their order, without gradients."""
    model.eval()
    probabilities, features, losses = [], [], []
    with torch.inference_mode():
        for batch in loader.batches():
            pooled, logits = features_and_logits(model, normalise(to_float(batch.films, device), normalisation))
            logits = logits.cpu().double()  # MPS has no float64
            losses.append(nn.functional.cross_entropy(logits, batch.labels, reduction="none"))
            probabilities.append(logits.softmax(1))
            features.append(pooled.float().cpu())
    return Inference(torch.cat(probabilities).numpy(), torch.cat(features).numpy(), float(torch.cat(losses).mean()))


def _fixed_subset(films: FilmSet, size: int, seed: int) -> FilmSet:
    """At most ``size`` films of the training split, the same ones in every epoch."""
    chosen = np.sort(np.random.default_rng([seed, 0, DROPOUT_STREAM]).permutation(len(films))[:size])
    return FilmSet([films.image_ids[index] for index in chosen], films.labels[chosen], films.load)
