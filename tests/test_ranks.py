"""Several processes train one model: the same gradients, every film judged once. Real processes, joined by gloo."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from make_engines import WITHOUT_BATCH_NORM, engine, numbers
from mammo_core.training.ranks import Ranks, join_ranks
from several_processes import start_all, wait_all

SIZES = (1, 7, 97, 101)
"""Validation films: odd numbers, fewer than a batch, and one alone."""
RECIPE = {"arch": WITHOUT_BATCH_NORM, "dropout": 0.0, "epochs": 2, "class_weights": (1.0, 2.0)}


def _train_all(ranks: Ranks) -> dict[str, object]:
    found: dict[str, object] = {}
    for size in SIZES:
        trained = engine((11, size), ranks=ranks, **RECIPE)
        outcomes = list(trained.fit())
        found[str(size)] = {
            "history": numbers(trained),
            "films": len(outcomes[-1].validation.probabilities),
            "probabilities": outcomes[-1].validation.probabilities.tolist(),
            "weights": [float(value.double().sum()) for value in trained.model.state_dict().values()],
        }
    return found


def _train_joined(out: Path) -> None:
    torch.set_num_threads(1)
    with join_ranks("cpu") as ranks:
        (out / f"{ranks.rank}.json").write_text(json.dumps(_train_all(ranks)))


@pytest.fixture(scope="module")
def in_two(tmp_path_factory) -> list[dict]:
    out = tmp_path_factory.mktemp("ranks")
    ended = wait_all(start_all(2, out, _train_joined, out))
    assert [code for code, _ in ended] == [0, 0], ended
    return [json.loads((out / f"{rank}.json").read_text()) for rank in range(2)]


def test_both_processes_hold_the_same_model_and_see_the_same_history(in_two):
    assert in_two[0] == in_two[1]


@pytest.mark.parametrize("size", SIZES)
def test_every_film_is_judged_once_and_the_numbers_are_those_of_one_process(in_two, size):
    found, expected = in_two[0][str(size)], _train_one(size)
    assert found["films"] == size
    np.testing.assert_allclose(found["probabilities"], expected["probabilities"], atol=1e-5)
    np.testing.assert_allclose(found["weights"], expected["weights"], rtol=1e-4, atol=1e-4)
    for record, wanted in zip(found["history"], expected["history"], strict=True):
        for name in ("train_loss", "val_loss", "train_loss_eval", "train_acc", "val_acc", "lr"):
            assert record[name] == pytest.approx(wanted[name], rel=1e-4, abs=1e-6), name


@pytest.mark.parametrize("augment", ["none", "strong"])
def test_a_process_without_a_film_of_a_batch_adds_nothing_to_it(augment):
    made = engine((11, 7), augment=augment, mixup=0.4, **RECIPE)
    stepper, batch = made._stepper, next(made.train_loader.batches())
    given = made._given(batch, epoch=1, step=1)
    stepper.gradients(given)
    assert float(stepper.loss) > 0
    stepper.gradients(replace(given, **{name: getattr(given, name)[:0] for name in ("films", "labels", "counted", "draws")}))
    assert (float(stepper.loss), int(stepper.correct)) == (0, 0)
    assert all(parameter.grad is None for parameter in made.model.parameters())


def _train_one(size: int) -> dict:
    trained = engine((11, size), **RECIPE)
    outcomes = list(trained.fit())
    return {
        "history": numbers(trained),
        "probabilities": outcomes[-1].validation.probabilities,
        "weights": [float(value.double().sum()) for value in trained.model.state_dict().values()],
    }
