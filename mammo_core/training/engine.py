"""The training loop as a generator: one outcome an epoch, no file touched.

Whoever drives it (a run directory's writer, a test, a cluster job) decides what is written; whatever it needs to go on later is
in :meth:`Engine.state`. All randomness is counted from (seed, epoch, index), so an epoch's result does not depend on how
often the run was interrupted before.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from timm.utils.model_ema import ModelEmaV3
from torch import nn

from mammo_core.analysis.metrics import epoch_metrics
from mammo_core.config import TrainConfig
from mammo_core.errors import NonFiniteLoss, OutOfMemory
from mammo_core.runs.schema import EpochRecord, StopReason
from mammo_core.training.augment import draw, draw_mixing
from mammo_core.training.batches import Batch, BatchLoader, FilmSet, balanced_order, epoch_order, largest_share
from mammo_core.training.inference import EVAL_BATCH_FACTOR, Inference, infer
from mammo_core.training.losses import TrainingLoss
from mammo_core.training.models import Normalisation
from mammo_core.training.optim import build_optimizer, class_weights, learning_rate, place_rates, set_learning_rate
from mammo_core.training.ranks import ALONE, Ranks
from mammo_core.training.steps import StepInput, Stepper, StepPlan, send

log = logging.getLogger("mammo_core.run")

DROPOUT_STREAM = 3
LOOK_EVERY = 25
"""Steps between two looks at the loss on a device that runs ahead of us: each look waits for it."""


@dataclass(frozen=True)
class EpochOutcome:
    """What one epoch gave: the history record and the model's answers on the validation split."""

    record: EpochRecord
    validation: Inference


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
        Called after each optimiser update; raises :class:`mammo_core.errors.Stopped` to end inside the epoch.
    ranks : Ranks
        This process among those that train the model; each of them holds an engine and sees the same outcomes.
    """

    config: TrainConfig
    model: nn.Module
    normalisation: Normalisation
    train: FilmSet
    validation: FilmSet
    device: torch.device
    on_step: Callable[[int, int], None] = lambda step, steps: None
    ranks: Ranks = ALONE
    plan: StepPlan | None = None
    """``None``: whole batches in float32, or the configuration's ``micro_batch``."""
    history: list[EpochRecord] = field(default_factory=list)
    progress: Progress = field(default_factory=Progress)

    def __post_init__(self) -> None:
        config = self.config
        self.model.to(device=self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = build_optimizer(self.model, config)
        counts = np.bincount(self.train.labels, minlength=len(config.class_names)).tolist()
        self.weights = class_weights(config, counts)
        self.average = ModelEmaV3(self.model, config.ema_decay, use_warmup=True) if config.ema_decay is not None else None
        self.plan = self.plan or StepPlan(micro_batch=config.micro_batch or config.batch_size)
        self.train_loader = self._loader(self.train, config.batch_size)
        self.val_loader = self._loader(self.validation, config.batch_size * EVAL_BATCH_FACTOR)
        subset = _fixed_subset(self.train, len(self.validation), config.seed)
        self.eval_loader = self._loader(subset, config.batch_size * EVAL_BATCH_FACTOR)
        self._stepper = self._new_stepper(self.plan)

    def _loader(self, films: FilmSet, batch_size: int) -> BatchLoader:
        if self.device.type != "cuda":
            return BatchLoader(films, batch_size, self.config.num_workers, self.ranks)
        from mammo_core.training.device_batches import DeviceLoader

        return DeviceLoader(films, batch_size, self.device, self.config.num_workers, self.ranks)

    def _new_stepper(self, plan: StepPlan) -> Stepper:
        config = self.config
        loss_of = TrainingLoss(config.loss, self.weights, len(config.class_names), config.label_smoothing, self.device)
        parts = (self.model, self.optimizer, loss_of, config, self.normalisation, plan, self.device, self.ranks)
        if plan.graphs == "off":
            return Stepper(*parts)
        from mammo_core.training.graphs import GraphStepper

        return GraphStepper(*parts, batch=largest_share(config.batch_size, self.ranks))

    @property
    def plan_in_use(self) -> StepPlan:
        return self._stepper.plan

    @property
    def judged(self) -> nn.Module:
        """The model that validation and checkpoints see: the running mean of the weights where one is kept."""
        return self.model if self.average is None else self.average.module

    # ---- going on later -----------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Everything an exact resume needs, in types that ``torch.load(weights_only=True)`` accepts."""
        return {
            "model": self.model.state_dict(),
            "average": None if self.average is None else self.average.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "plan": self._stepper.plan.to_dict(),
            "history": [record.to_json() for record in self.history],
            "progress": {key: value for key, value in vars(self.progress).items()},
        }

    def load_weights(self, state: dict[str, Any]) -> None:
        """Of a :meth:`state`, the model's weights and their running means."""
        self.model.load_state_dict(state["model"])
        if self.average is not None:
            self.average.module.load_state_dict(state["average"])

    def load_state(self, state: dict[str, Any]) -> None:
        self.load_weights(state)
        self.optimizer.load_state_dict(state["optimizer"])
        place_rates(self.optimizer, self.device)
        if state.get("plan"):  # what was decided on the first machine, and after a lack of memory, holds on
            self._stepper = self._new_stepper(StepPlan(**state["plan"]))
        self.history = [EpochRecord.model_validate(record) for record in state["history"]]
        self.progress = Progress(**state["progress"])

    def close(self) -> None:
        """To be called before the processes part; the engine can go on afterwards."""
        self._stepper.close()

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
            self.ranks.copy_from_first(self.judged.buffers())
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

    def _order(self, epoch: int) -> npt.NDArray[np.int64]:
        if self.config.sampler == "balanced":
            return balanced_order(self.train.labels, self.config.seed, epoch)
        return epoch_order(len(self.train), self.config.seed, epoch)

    def _train_epoch(self, epoch: int) -> tuple[float, float, float]:
        """Train one pass; returns mean loss, accuracy and the last step's learning rate."""
        config, steps = self.config, len(self.train_loader)
        # Dropout draws from torch's global generator: seeding it here makes it a function of (seed, epoch, rank).
        stream = [config.seed, epoch, DROPOUT_STREAM, *([self.ranks.rank] if self.ranks.rank else [])]
        torch.manual_seed(int(np.random.default_rng(stream).integers(2**62)))
        self.model.train()
        books = _Books(steps, self.device)
        order, lr, looked = self._order(epoch), 0.0, 0
        for step, batch in enumerate(self.train_loader.batches(order), start=1):
            lr = learning_rate(epoch - 1 + step / steps, config)
            set_learning_rate(self.optimizer, lr)
            self._step(batch, epoch, step)
            books.note(step, self._stepper, len(batch.whole_labels))
            if self.average is not None:
                self.average.update(self.model, (epoch - 1) * steps + step)
            if self.device.type == "cpu" or step % LOOK_EVERY == 0 or step == steps:
                self._look(books, (looked, step), epoch, order)
                looked = step
            self.on_step(step, steps)
        loss, correct = (float(value) for value in self.ranks.add(books.totals()))
        return loss / len(order), correct / len(order), lr

    def _step(self, batch: Batch, epoch: int, step: int) -> None:
        """One update; where memory does not suffice, again with fewer films at once."""
        while True:
            try:
                self._attempt(self._given(batch, epoch, step))
                return
            except RuntimeError as error:
                if not _is_out_of_memory(error):
                    raise
            self._take_fewer()

    def _attempt(self, given: StepInput) -> None:
        stepper = self._stepper
        if self.device.type == "cuda":
            stepper.step(given)
            return
        stepper.gradients(given)
        # A step on NaN gradients would spoil the weights for good.
        if math.isfinite(float(self.ranks.add(stepper.loss.clone()))):
            stepper.update()

    def _take_fewer(self) -> None:
        plan = self._stepper.plan
        if plan.micro_batch == 1 or self.ranks.count > 1:
            raise OutOfMemory(
                f"Memory ran out with {plan.micro_batch} film(s) of {' x '.join(map(str, self.config.image_size))} pixels in the "
                "model at once. Choose a smaller image_size, a smaller arch, or set micro_batch."
            )
        fewer = replace(plan, micro_batch=max(1, plan.micro_batch // 2))
        log.warning("Memory ran out with %d films at once; going on with %d.", plan.micro_batch, fewer.micro_batch)
        self.optimizer.zero_grad(set_to_none=True)
        self._stepper = self._new_stepper(fewer)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _given(self, batch: Batch, epoch: int, step: int) -> StepInput:
        config, device = self.config, self.device
        share = draw_mixing(config.seed, epoch, step, config.mixup) if config.mixup else 1.0
        scalars = send(torch.tensor([1 / self._stepper.loss_of.total(batch.whole_labels), share]), device)
        draws = send(draw(batch.indices, batch.repeats, config.seed, epoch), device)
        films, labels, counted = (send(tensor, device) for tensor in (batch.films, batch.labels, batch.counted))
        embeddings = None if batch.embeddings is None else send(batch.embeddings, device)
        return StepInput(films, labels, counted, draws, scalars[0], scalars[1], embeddings)

    def _look(self, books: _Books, span: tuple[int, int], epoch: int, order: npt.NDArray[np.int64]) -> None:
        """Raise :class:`NonFiniteLoss` if a step of ``span`` (after its first, up to its second) had no finite loss."""
        losses = self.ranks.add(books.losses[span[0] : span[1]].clone())
        broken = torch.nonzero(~torch.isfinite(losses)).flatten()
        if not len(broken):
            return
        step = span[0] + int(broken[0]) + 1
        first = (step - 1) * self.config.batch_size
        ids = ", ".join(self.train.image_ids[index] for index in order[first : first + 8])
        raise NonFiniteLoss(
            f"The training loss became {float(losses[int(broken[0])])} at epoch {epoch}, step {step} of {len(self.train_loader)} "
            f"(films {ids} ...); expected a finite number. The best checkpoint so far is kept. Lower lr (a tenth is a good "
            "start) and train again."
        )

    def infer(self, loader: BatchLoader) -> Inference:
        """Probabilities, pooled features and unweighted loss on the films of ``loader``, in eval mode."""
        return infer(self.judged, loader, self.normalisation, self.device, self._stepper.plan, self.ranks)


class _Books:
    """What the steps of an epoch lost and hit, kept on the device so that no step waits to be read."""

    def __init__(self, steps: int, device: torch.device) -> None:
        self.losses = torch.zeros(steps, device=device)
        """This process's share of each step's loss."""
        self._films = [0.0] * steps
        self._correct = torch.zeros((), dtype=torch.float64 if device.type != "mps" else torch.float32, device=device)

    def note(self, step: int, stepper: Stepper, films: int) -> None:
        self.losses[step - 1].copy_(stepper.loss)
        self._films[step - 1] = films  # kept here: a number written into a CUDA tensor waits for all that was asked before
        self._correct += stepper.correct

    def totals(self) -> torch.Tensor:
        """The films' summed loss and the number of right answers, this process's share."""
        films = torch.tensor(self._films, dtype=self._correct.dtype, device=self._correct.device)
        return torch.stack([(self.losses.to(self._correct.dtype) * films).sum(), self._correct])


def _is_out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator: can't allocate memory" in str(error)


def _fixed_subset(films: FilmSet, size: int, seed: int) -> FilmSet:
    """At most ``size`` films of the training split, the same ones in every epoch."""
    chosen = np.sort(np.random.default_rng([seed, 0, DROPOUT_STREAM]).permutation(len(films))[:size])
    return films.chosen(chosen)
