"""Order and augmentation depend on (seed, epoch, index) and on nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mammo_core.training.batches import BatchLoader, FilmSet, augment, batch_slices, epoch_order, to_float


def _film(image_id: str) -> np.ndarray:
    return np.full((4, 6), int(image_id), dtype=np.uint8)


def _films(n: int) -> FilmSet:
    return FilmSet([str(number) for number in range(n)], np.arange(n, dtype=np.int64) % 3, _film)


@given(st.integers(1, 200), st.integers(1, 40))
def test_slices_cover_every_film_once_and_leave_none_alone(n, batch_size):
    slices = batch_slices(n, batch_size)
    covered = [index for part in slices for index in range(n)[part]]
    assert covered == list(range(n))
    sizes = [part.stop - part.start for part in slices]
    assert max(sizes) <= batch_size + 1
    assert n == 1 or batch_size == 1 or min(sizes) > 1


def test_the_order_is_a_permutation_of_its_own_for_each_seed_and_epoch():
    orders = {(seed, epoch): tuple(epoch_order(20, seed, epoch)) for seed in (1, 2) for epoch in (1, 2)}
    assert len(set(orders.values())) == 4
    assert all(sorted(order) == list(range(20)) for order in orders.values())
    assert orders[1, 2] == tuple(epoch_order(20, 1, 2))


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_follow_the_order_with_and_without_workers(workers):
    loader = BatchLoader(_films(7), 3, workers)
    for epoch in (1, 2):
        order = epoch_order(7, 5, epoch)
        batches = list(loader.batches(order))
        assert [len(batch.labels) for batch in batches] == [3, 4]
        assert np.concatenate([batch.indices for batch in batches]).tolist() == order.tolist()
        for batch in batches:
            assert batch.films[:, 0, 0, 0].tolist() == batch.indices.tolist()
            assert batch.labels.tolist() == (batch.indices % 3).tolist()


def test_making_batches_draws_nothing_from_the_global_generator():
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    list(BatchLoader(_films(5), 2).batches())
    assert torch.equal(torch.rand(1), expected)


def test_a_films_augmentation_does_not_depend_on_its_batch():
    films = torch.rand(5, 1, 32, 24)
    together = augment(films, np.arange(5), seed=3, epoch=2)
    alone = torch.cat([augment(films[i : i + 1], np.array([i]), seed=3, epoch=2) for i in range(5)])
    assert torch.allclose(together, alone, atol=1e-6)
    assert not torch.allclose(together, augment(films, np.arange(5), seed=3, epoch=3), atol=1e-3)


def test_augmentation_keeps_the_range_and_a_black_background():
    films = torch.zeros(3, 1, 40, 40)
    films[:, :, 10:30, 10:30] = 0.6
    moved = augment(films, np.arange(3), seed=1, epoch=1)
    assert moved.min() == 0
    assert moved.max() <= 1
    assert (moved[:, 0, :3, :3] == 0).all()


def test_augmentation_moves_a_film_by_a_little_only():
    films = torch.zeros(200, 1, 64, 64)
    films[:, 0, 24:40, 24:40] = 1.0
    moved = augment(films, np.arange(200), seed=7, epoch=1)
    rows = torch.arange(64.0)
    mass = (moved > 0.2).float().sum((1, 2, 3))
    centre = ((moved > 0.2).float().sum(3)[:, 0] * rows).sum(1) / mass
    assert (centre - 31.5).abs().max() <= 0.05 * 64 + 1
    assert mass.min() > 0.7 * 256
    assert mass.max() < 1.4 * 256


def test_pixels_reach_the_model_between_zero_and_one():
    assert to_float(torch.tensor([[0, 255]], dtype=torch.uint8), torch.device("cpu")).tolist() == [[0.0, 1.0]]
