"""The training loop: exact after a resume, honest about its losses, and deaf to other users of random numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss

from mammo_core.config import TrainConfig
from mammo_core.errors import NonFiniteLoss
from mammo_core.training.batches import FilmSet
from mammo_core.training.engine import Engine, Progress, Stopped
from mammo_core.training.models import Normalisation, new_model

SIDE = 32


def _film(image_id: str) -> np.ndarray:
    """Class 1 films are striped along rows, class 0 along columns; each has noise of its own."""
    number = int(image_id)
    film = np.zeros((SIDE, SIDE), dtype=np.float64)
    film[(slice(None, None, 4), slice(None)) if number % 2 else (slice(None), slice(None, None, 4))] = 160
    return np.clip(film + np.random.default_rng(number).uniform(0, 90, film.shape), 0, 255).astype(np.uint8)


def _films(first: int, n: int) -> FilmSet:
    return FilmSet([str(i) for i in range(first, first + n)], np.arange(first, first + n, dtype=np.int64) % 2, _film)


def _engine(on_step=lambda step, steps: None, **changes) -> Engine:
    settings = {"arch": "resnet10t", "weights": "none", "image_size": (SIDE, SIDE), "class_names": ("A", "B"), "epochs": 3}
    config = TrainConfig(**{**settings, "warmup_epochs": 0.5, "lr": 1e-3, "batch_size": 8, "dropout": 0.3, **changes})
    normalisation = Normalisation((0.5,) * 3, (0.25,) * 3)
    return Engine(config, new_model(config), normalisation, _films(0, 25), _films(100, 12), torch.device("cpu"), on_step=on_step)


def _numbers(engine: Engine) -> list[dict]:
    hidden = {"seconds", "images_per_second", "resumed"}
    return [record.model_dump(exclude=hidden) for record in engine.history]


@pytest.fixture(scope="module")
def whole() -> Engine:
    engine = _engine()
    for _ in engine.fit():
        pass
    return engine


def test_the_same_run_twice_is_the_same(whole):
    again = _engine()
    list(again.fit())
    assert _numbers(again) == _numbers(whole)
    assert all(
        torch.equal(a, b) for a, b in zip(again.model.state_dict().values(), whole.model.state_dict().values(), strict=True)
    )


@pytest.mark.parametrize("cut", [1, 2])
def test_a_resumed_run_gives_the_bits_of_an_uninterrupted_one(whole, cut, tmp_path):
    first = _engine()
    for outcome in first.fit():
        if outcome.record.epoch == cut:
            torch.save(first.state(), tmp_path / "resume.pt")
            break
    second = _engine()
    torch.rand(17)  # whatever the pages draw meanwhile must not matter
    np.random.rand(5)
    second.load_state(torch.load(tmp_path / "resume.pt", weights_only=True))
    outcomes = list(second.fit())
    assert [outcome.record.resumed for outcome in outcomes] == [True] + [False] * (2 - cut)
    assert _numbers(second) == _numbers(whole)
    states = (second.model.state_dict(), whole.model.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(*(state.values() for state in states), strict=True))


def test_worker_processes_do_not_change_the_result(whole):
    engine = _engine(num_workers=1)
    list(engine.fit())
    assert _numbers(engine) == _numbers(whole)


def test_a_stop_inside_an_epoch_forgets_that_epoch_only(whole):
    calls = []

    def stop_in_epoch_two(step, steps):
        calls.append(step)
        if len(calls) == steps + 1:
            raise Stopped

    engine = _engine(stop_in_epoch_two)
    with pytest.raises(Stopped):
        list(engine.fit())
    assert _numbers(engine) == _numbers(whole)[:1]


def test_the_validation_loss_is_the_unweighted_cross_entropy_in_nats(whole):
    outcome = whole.infer(whole.val_loader)
    labels = whole.validation.labels
    assert outcome.loss == pytest.approx(log_loss(labels, outcome.probabilities), abs=1e-9)
    assert whole.history[-1].val_loss == pytest.approx(outcome.loss)
    assert whole.history[-1].val_acc == pytest.approx((outcome.probabilities.argmax(1) == labels).mean())
    assert outcome.probabilities.sum(1) == pytest.approx(np.ones(12))


def test_the_comparable_training_loss_uses_the_same_films_in_every_epoch(whole):
    ids = whole.eval_loader.films.image_ids
    assert len(ids) == len(set(ids)) == 12
    assert set(ids) <= set(whole.train.image_ids)
    assert ids == _engine().eval_loader.films.image_ids


def test_the_learning_rate_is_logged_as_used(whole):
    assert whole.history[-1].lr == pytest.approx(whole.config.min_lr)
    assert whole.history[-1].lr_next is None
    assert whole.optimizer.param_groups[0]["lr"] == whole.history[-1].lr


def test_it_learns_what_can_be_seen():
    engine = _engine(epochs=10, lr=3e-3)
    list(engine.fit())
    assert engine.history[-1].val_acc >= 0.9
    assert engine.history[-1].val_loss < math.log(2)


def test_a_loss_that_is_not_a_number_ends_the_run_with_the_films_named():
    engine = _engine(lr=1.0, optimizer="adam")
    with torch.no_grad():
        next(engine.model.parameters()).fill_(float("nan"))
    with pytest.raises(NonFiniteLoss, match="epoch 1, step 1 of 3 .films "):
        list(engine.fit())
    assert engine.history[-1].non_finite
    assert engine.history[-1].train_loss is None


def test_early_stopping_counts_epochs_without_a_gain_above_min_delta():
    progress = Progress()
    gains = [progress.update(epoch, loss, 0.05) for epoch, loss in enumerate([1.0, 0.98, 0.9, 0.89, 0.91], start=1)]
    assert gains == [True, True, True, True, False]
    assert (progress.best_epoch, progress.best_loss, progress.epochs_without_gain) == (4, 0.89, 2)


def test_a_run_stops_early_and_says_so():
    engine = _engine(epochs=6, early_stopping_patience=1, lr=1e-9, min_lr=0.0, augment="none", dropout=0.0)
    engine.progress = Progress(best_loss=0.0, reference_loss=0.0)
    list(engine.fit())
    assert engine.stop_reason() == "early_stopping"
    assert len(engine.history) == 1
