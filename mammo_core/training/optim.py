"""The optimiser, its learning rate as a pure function of progress, and class weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from mammo_core.config import TrainConfig
from mammo_core.errors import ConfigError
from mammo_core.training.fusion import new_layers


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
    groups = _parameter_groups(model, config)
    device = next(model.parameters()).device
    kind = torch.optim.Adam if config.optimizer == "adam" else torch.optim.AdamW
    if device.type != "cuda":
        return kind(groups, lr=config.lr)
    for group in groups:  # a rate that lies on the device can change while a captured graph uses it
        group["lr"] = torch.tensor(group["lr"], device=device)
    return kind(groups, fused=True, capturable=True)


def _parameter_groups(model: nn.Module, config: TrainConfig) -> list[dict[str, Any]]:
    """Groups by weight decay and, where the backbone learns more slowly, by its share ``rate`` of the head's learning rate."""
    slower = config.backbone_lr_factor != 1
    head = {id(parameter) for parameter in new_layers(model).parameters()} if slower else set()
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for parameter in model.parameters():
        rate = config.backbone_lr_factor if slower and id(parameter) not in head else 1.0
        spared = config.optimizer == "adamw" and parameter.ndim <= 1
        groups.setdefault((rate, 0.0 if spared else config.weight_decay), []).append(parameter)
    return [
        {"params": chosen, "lr": config.lr * rate, "weight_decay": decay, "rate": rate}
        for (rate, decay), chosen in groups.items()
    ]


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set the head's rate; groups of the backbone get their share of it."""
    for group in optimizer.param_groups:
        rate = lr * group.get("rate", 1.0)
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def place_rates(optimizer: torch.optim.Optimizer, device: torch.device) -> None:
    """After loading a state: rates as :func:`build_optimizer` makes them, tensors on CUDA and plain numbers elsewhere."""
    for group in optimizer.param_groups:
        rate = float(group["lr"])
        group["lr"] = torch.tensor(rate, device=device) if device.type == "cuda" else rate


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
