"""Augmentation depends on (seed, epoch, index, repeat) and on nothing else, and leaves a film a film."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mammo_core.training.augment import augment, draw, draw_mixing

KINDS = ("light", "strong")


def _draws(n: int, seed: int, epoch: int, repeat: int = 0) -> torch.Tensor:
    return draw(np.arange(n), np.full(n, repeat), seed, epoch)


@pytest.mark.parametrize("kind", KINDS)
def test_a_films_augmentation_does_not_depend_on_its_batch(kind):
    films = torch.rand(5, 1, 32, 24)
    draws = _draws(5, seed=3, epoch=2)
    together = augment(films, draws, kind)
    alone = torch.cat([augment(films[i : i + 1], draw([i], np.zeros(1, np.int64), 3, 2), kind) for i in range(5)])
    assert torch.allclose(together, alone, atol=1e-6)
    assert not torch.allclose(together, augment(films, _draws(5, seed=3, epoch=3), kind), atol=1e-3)


def test_a_film_that_comes_again_in_an_epoch_is_changed_otherwise():
    assert not torch.allclose(_draws(2, 1, 1, repeat=0), _draws(2, 1, 1, repeat=1))


@pytest.mark.parametrize("kind", KINDS)
def test_augmentation_keeps_the_range_and_a_black_background(kind):
    films = torch.zeros(30, 1, 40, 40)
    films[:, :, 10:30, 10:30] = 0.6
    moved = augment(films, _draws(30, seed=1, epoch=1), kind)
    assert moved.min() == 0
    assert moved.max() <= 1
    assert (moved[:, 0, :3, :3] == 0).all()


def test_light_augmentation_moves_a_film_by_a_little_only():
    films = torch.zeros(200, 1, 64, 64)
    films[:, 0, 24:40, 24:40] = 1.0
    moved = augment(films, _draws(200, seed=7, epoch=1), "light")
    rows = torch.arange(64.0)
    mass = (moved > 0.2).float().sum((1, 2, 3))
    centre = ((moved > 0.2).float().sum(3)[:, 0] * rows).sum(1) / mass
    assert (centre - 31.5).abs().max() <= 0.05 * 64 + 1
    assert mass.min() > 0.7 * 256
    assert mass.max() < 1.4 * 256


def test_strong_augmentation_erases_a_part_of_some_films_and_never_most_of_one():
    films = torch.full((300, 1, 48, 48), 0.5)
    moved = augment(films, _draws(300, seed=2, epoch=1), "strong")
    inner = moved[:, 0, 12:36, 12:36]
    gone = (inner == 0).float().mean((1, 2))
    assert 0.2 < float((gone > 0).float().mean()) < 0.8
    assert float(gone.median()) < 0.3


def test_a_mixture_keeps_at_least_half_of_the_first_film():
    shares = [draw_mixing(1, epoch, step, 0.2) for epoch in range(5) for step in range(40)]
    assert min(shares) >= 0.5
    assert max(shares) <= 1
    assert len(set(shares)) > 150
