"""Small engines on made films, for tests in one process and in several."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from mammo_core.config import TrainConfig
from mammo_core.training.batches import FilmSet
from mammo_core.training.engine import Engine
from mammo_core.training.models import Normalisation, new_model
from mammo_core.training.ranks import ALONE, Ranks
from mammo_core.training.steps import StepPlan
from striped_films import SIDE, film

WITHOUT_BATCH_NORM = "test_convnext"
"""A tiny timm model with layer normalisation: its gradients do not depend on which films go through it together."""


def films(first: int, n: int) -> FilmSet:
    return FilmSet([str(i) for i in range(first, first + n)], np.arange(first, first + n, dtype=np.int64) % 2, film)


def engine(
    sizes: tuple[int, int] = (25, 12),
    ranks: Ranks = ALONE,
    plan: StepPlan | None = None,
    on_step: Callable[[int, int], None] = lambda step, steps: None,
    **changes: Any,
) -> Engine:
    """An engine for ``sizes`` training and validation films."""
    settings = {"arch": "resnet10t", "weights": "none", "image_size": (SIDE, SIDE), "class_names": ("A", "B"), "epochs": 3}
    config = TrainConfig(**{**settings, "warmup_epochs": 0.5, "lr": 1e-3, "batch_size": 8, "dropout": 0.3, **changes})
    normalisation = Normalisation((0.5,) * 3, (0.25,) * 3)
    parts = (films(0, sizes[0]), films(100, sizes[1]))
    return Engine(config, new_model(config), normalisation, *parts, torch.device("cpu"), on_step=on_step, ranks=ranks, plan=plan)


def numbers(made: Engine) -> list[dict[str, Any]]:
    """The history without what differs from run to run."""
    hidden = {"seconds", "images_per_second", "resumed"}
    return [record.model_dump(exclude=hidden) for record in made.history]
