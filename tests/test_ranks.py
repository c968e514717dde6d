"""Several processes train one model: the same gradients, every film judged once. Real processes, joined by gloo."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from make_engines import WITHOUT_BATCH_NORM, engine, numbers
from mammo_core.training.ranks import Ranks

SIZES = (1, 7, 97, 101)
"""Validation films: odd numbers, fewer than a batch, and one alone."""
RECIPE = {"arch": WITHOUT_BATCH_NORM, "dropout": 0.0, "epochs": 2, "class_weights": (1.0, 2.0)}


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _launch(count: int, out: Path) -> None:
    """Start ``count`` processes of this file as ``torchrun`` would: their places stand in the environment."""
    here = Path(__file__).resolve()
    common = {
        **os.environ,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(_free_port()),
        "WORLD_SIZE": str(count),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(here.parent), str(here.parent.parent)]),
    }
    processes = [
        subprocess.Popen([sys.executable, str(here), str(out)], env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank in range(count)
    ]
    try:
        codes = [process.wait(timeout=180) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert codes == [0] * count


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


def _main(out: Path) -> None:
    from mammo_core.training.ranks import join_ranks

    torch.set_num_threads(1)
    with join_ranks("cpu") as ranks:
        (out / f"{ranks.rank}.json").write_text(json.dumps(_train_all(ranks)))


@pytest.fixture(scope="module")
def in_two(tmp_path_factory) -> list[dict]:
    out = tmp_path_factory.mktemp("ranks")
    _launch(2, out)
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


def _train_one(size: int) -> dict:
    trained = engine((11, size), **RECIPE)
    outcomes = list(trained.fit())
    return {
        "history": numbers(trained),
        "probabilities": outcomes[-1].validation.probabilities,
        "weights": [float(value.double().sum()) for value in trained.model.state_dict().values()],
    }


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
