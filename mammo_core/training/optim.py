"""The optimiser, its learning rate as a pure function of progress, and class weights."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

from mammo_core.config import TrainConfig
from mammo_core.errors import ConfigError


def learning_rate(epochs_done: float, config: TrainConfig) -> float:
    """The rate of the optimiser step that ends when ``epochs_done`` epochs (with their fraction) are done.

    1. up to ``warmup_epochs``: a straight line from 0 to ``lr``;
    2. then half a cosine from ``lr`` to ``min_lr`` over the epochs that remain of the **planned** ``epochs``;
    3. never below ``min_lr`` afterwards: the rate does not rise again as ``CosineAnnealingLR`` would.

    Parameters
    ----------
    epochs_done : float in (0, epochs]
        ``epoch - 1 + steps_done / steps_per_epoch``.

    Source
    ------
    Cosine decay: Loshchilov and Hutter (2017), SGDR, arXiv:1608.03983, equation 5, without restarts.
    """
    if epochs_done < config.warmup_epochs:
        return config.lr * epochs_done / config.warmup_epochs
    progress = (epochs_done - config.warmup_epochs) / (config.epochs - config.warmup_epochs)
    return config.min_lr + (config.lr - config.min_lr) * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))


def build_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """Adam or AdamW over all weights; with AdamW, biases and normalisation layers are not decayed.

    Adam keeps its classical L2 penalty on every parameter, as the setups that use it were defined.
    """
    if config.optimizer == "adam":
        return torch.optim.Adam(model.parameters(), lr=config.lr, weight_decay=config.weight_decay)
    decayed = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in model.parameters() if parameter.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=config.lr)


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = lr


def class_weights(config: TrainConfig, train_counts: Sequence[int]) -> list[float] | None:
    """Weights of the training loss, one a class; ``None`` for an unweighted loss.

    ``auto`` is ``n / (K n_k)``, scikit-learn's ``class_weight="balanced"``: inverse frequency with a mean of 1 over the films.

    Parameters
    ----------
    train_counts : sequence of K ints
        Films of each class in the training split.

    Raises
    ------
    ConfigError
        A class without a single training film: its weight would be infinite.
    """
    if config.class_weights == "none":
        return None
    if not isinstance(config.class_weights, str):
        return list(config.class_weights)
    empty = [name for name, count in zip(config.class_names, train_counts, strict=True) if count == 0]
    if empty:
        raise ConfigError(
            f"The training split has no film of class {', '.join(empty)}; expected at least one of each for automatic class "
            "weights. Make another split, or leave that class out of the data set."
        )
    total = sum(train_counts)
    return [total / (len(train_counts) * count) for count in train_counts]
