"""Learning rate and class weights against closed forms and scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight

from mammo_core.config import TrainConfig
from mammo_core.errors import ConfigError
from mammo_core.training.optim import build_optimizer, class_weights, learning_rate


def test_the_rate_rises_in_a_line_and_falls_in_half_a_cosine():
    config = TrainConfig(epochs=20, warmup_epochs=2, lr=1e-3, min_lr=1e-6)
    assert learning_rate(1, config) == pytest.approx(5e-4)
    assert learning_rate(2, config) == pytest.approx(1e-3)
    assert learning_rate(11, config) == pytest.approx(1e-6 + (1e-3 - 1e-6) / 2)
    assert learning_rate(20, config) == pytest.approx(1e-6)


def test_the_rate_equals_torchs_cosine_over_the_planned_epochs():
    config = TrainConfig(epochs=50, warmup_epochs=0, lr=1e-3, min_lr=1e-6)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=50, eta_min=1e-6)
    for epoch in range(1, 51):
        optimizer.step()
        schedule.step()
        assert learning_rate(epoch, config) == pytest.approx(schedule.get_last_lr()[0], rel=1e-9)


def test_the_rate_never_rises_again_after_the_warm_up():
    config = TrainConfig(epochs=7, warmup_epochs=1.5)
    rates = [learning_rate(done, config) for done in np.arange(1.5, 9, 0.1)]
    assert all(later <= earlier for earlier, later in zip(rates, rates[1:], strict=False))
    assert all(rate >= config.min_lr for rate in rates)


def test_automatic_weights_are_scikit_learns_balanced_ones():
    counts = [8, 73, 170, 67]
    labels = np.repeat(np.arange(4), counts)
    config = TrainConfig(class_names=tuple("ABCD"))
    expected = compute_class_weight("balanced", classes=np.arange(4), y=labels)
    assert class_weights(config, counts) == pytest.approx(expected.tolist())


def test_an_empty_class_has_no_finite_weight_and_is_named():
    with pytest.raises(ConfigError, match="no film of class B"):
        class_weights(TrainConfig(class_names=("A", "B")), [3, 0])
    assert class_weights(TrainConfig(class_names=("A", "B"), class_weights="none"), [3, 0]) is None
    assert class_weights(TrainConfig(class_names=("A", "B"), class_weights=(1.0, 2.0)), [3, 0]) == [1.0, 2.0]


def test_adamw_spares_biases_and_norms_and_adam_decays_all():
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    decay = {id(p): g["weight_decay"] for g in build_optimizer(model, TrainConfig()).param_groups for p in g["params"]}
    assert [decay[id(p)] for p in model.parameters()] == [0.01, 0.0, 0.0, 0.0]
    adam = build_optimizer(model, TrainConfig(optimizer="adam", weight_decay=1e-4))
    assert isinstance(adam, torch.optim.Adam)
    assert [group["weight_decay"] for group in adam.param_groups] == [1e-4]
    assert math.isclose(adam.param_groups[0]["lr"], TrainConfig().lr)
