"""The order of films depends on (seed, epoch) and on nothing else."""

from __future__ import annotations

import os

import numpy as np
import psutil
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mammo_core.training.batches import (
    BatchLoader,
    FilmSet,
    balanced_order,
    batch_slices,
    epoch_order,
    full_shares,
    largest_share,
    repeats_of,
)
from mammo_core.training.models import to_float
from mammo_core.training.ranks import Ranks


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


@given(st.lists(st.integers(0, 3), min_size=1, max_size=60), st.integers(1, 5))
def test_a_balanced_epoch_has_each_class_equally_often_and_uses_films_evenly(labels, epoch):
    order = balanced_order(np.array(labels), 3, epoch)
    assert len(order) == len(labels)
    drawn = np.array(labels)[order]
    counts = [int((drawn == name).sum()) for name in set(labels)]
    assert max(counts) - min(counts) <= 1
    for name in set(labels):
        uses = [int((order == place).sum()) for place in np.flatnonzero(np.array(labels) == name)]
        assert max(uses) - min(uses) <= 1
    assert order.tolist() == balanced_order(np.array(labels), 3, epoch).tolist()


@given(st.lists(st.integers(0, 5), max_size=30))
def test_repeats_count_what_came_before(order):
    assert repeats_of(np.array(order, dtype=np.int64)).tolist() == [
        order[:place].count(value) for place, value in enumerate(order)
    ]


@pytest.mark.parametrize("count", [2, 3])
def test_processes_share_every_batch_and_know_the_whole_of_it(count):
    order = epoch_order(7, 5, 1)
    mine = [list(BatchLoader(_films(7), 3, ranks=Ranks(rank, count)).batches(order)) for rank in range(count)]
    alone = list(BatchLoader(_films(7), 3).batches(order))
    for step, whole in enumerate(alone):
        assert torch.equal(torch.cat([batches[step].films for batches in mine]), whole.films)
        assert np.concatenate([batches[step].indices for batches in mine]).tolist() == whole.indices.tolist()
        assert all(torch.equal(batches[step].whole_labels, whole.labels) for batches in mine)


@given(st.integers(1, 40), st.integers(1, 9), st.integers(1, 4))
def test_filled_batches_have_one_size_and_count_every_film_once(n, batch_size, count):
    order = epoch_order(n, 1, 1)
    counted = []
    for rank in range(count):
        cut = full_shares(order, batch_size, Ranks(rank, count))
        assert {len(share.indices) for share in cut} == {largest_share(batch_size, Ranks(rank, count))}
        counted += [index for share in cut for index in share.indices[share.counted.numpy() > 0]]
    assert sorted(counted) == list(range(n))


def test_pixels_reach_the_model_between_zero_and_one():
    assert to_float(torch.tensor([[0, 255]], dtype=torch.uint8), torch.device("cpu")).tolist() == [[0.0, 1.0]]


def _is_alive(process: psutil.Process) -> bool:
    """Not one of an earlier test that has ended and that nobody has asked about yet."""
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


@pytest.mark.skipif(not hasattr(os, "getpgid"), reason="there are no process groups here")
def test_a_signal_to_the_trainers_group_does_not_reach_the_loading_processes():
    loader = BatchLoader(_films(8), 2, num_workers=1)
    batches = loader.batches()
    next(batches)
    children = {child.pid: " ".join(child.cmdline()) for child in psutil.Process().children() if _is_alive(child)}
    workers = [pid for pid, command in children.items() if "spawn_main" in command]
    assert workers
    assert all(os.getpgid(pid) != os.getpgrp() for pid in workers)
    assert [len(batch.labels) for batch in batches] == [2, 2, 2]
