"""Checkpoints load whole and without running code, or not at all."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
import torch

from mammo_core.config import TrainConfig
from mammo_core.errors import CheckpointMismatch
from mammo_core.training.checkpoint import Checkpoint, cpu_copy, load_checkpoint, save_checkpoint
from mammo_core.training.models import new_model, normalisation_of
from several_processes import start

CONFIG = TrainConfig(arch="resnet10t", class_names=("A", "B"), image_size=(32, 32))


@pytest.fixture
def checkpoint() -> Checkpoint:
    model = new_model(CONFIG)
    return Checkpoint(
        cpu_copy(model), CONFIG, normalisation_of(model), 1, 3, {"val_loss": 0.5, "val_auc_ovr": None}, {"run": "e/s"}
    )


def test_a_checkpoint_names_files_without_their_places(tmp_path, checkpoint):
    config = checkpoint.config.replace(weights="/home/jane/own weights.pth", embeddings="C:\\Jane\\mammo_vit")
    save_checkpoint(tmp_path / "best.pth", dataclasses.replace(checkpoint, config=config))
    loaded = load_checkpoint(tmp_path / "best.pth").config
    assert (loaded.weights, loaded.embeddings) == ("own weights.pth", "mammo_vit")
    assert b"jane" not in (tmp_path / "best.pth").read_bytes().lower()


def test_a_checkpoint_comes_back_as_it_was_and_gives_valid_probabilities(tmp_path, checkpoint):
    save_checkpoint(tmp_path / "best.pth", checkpoint)
    loaded = load_checkpoint(tmp_path / "best.pth")
    assert (loaded.config, loaded.normalisation, loaded.metrics) == (
        checkpoint.config,
        checkpoint.normalisation,
        checkpoint.metrics,
    )
    films = torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        probabilities = loaded.build_model()(films).softmax(1)
        assert torch.equal(probabilities, checkpoint.build_model()(films).softmax(1))
    assert torch.allclose(probabilities.sum(1), torch.ones(2))


@pytest.mark.parametrize("spoil", ["drop", "add", "shape"])
def test_weights_that_do_not_fit_wholly_are_refused(checkpoint, spoil):
    weights = dict(checkpoint.weights)
    key = next(iter(weights))
    if spoil == "drop":
        del weights[key]
    elif spoil == "add":
        weights["extra"] = torch.zeros(1)
    else:
        weights[key] = torch.zeros(1)
    with pytest.raises(CheckpointMismatch, match="do not fit resnet10t with 2 classes"):
        dataclasses.replace(checkpoint, weights=weights).build_model()


def _build(checkpoint: str, told: str) -> None:
    """To be started: write down what became of the model, and the most memory that took, bytes."""
    before = _most_memory()
    try:
        load_checkpoint(Path(checkpoint)).build_model()
        said = "built"
    except CheckpointMismatch as error:
        said = str(error)
    Path(told).write_text(f"{_most_memory() - before} {said}")


def _most_memory() -> int:
    """Of this process since it began, bytes."""
    return 1024 * int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells the most memory so")
def test_a_small_checkpoint_that_names_a_giant_model_is_refused_without_its_memory(tmp_path, checkpoint):
    giant = dataclasses.replace(checkpoint, config=CONFIG.replace(arch="vit_giant_patch14_dinov2"))
    save_checkpoint(tmp_path / "best.pth", giant)
    start(tmp_path, _build, str(tmp_path / "best.pth"), str(tmp_path / "told")).wait()
    taken, _, said = (tmp_path / "told").read_text().partition(" ")
    assert "do not fit vit_giant_patch14_dinov2" in said
    assert int(taken) < 5e8, "its weights alone take 4.5 GB"


def test_a_checkpoint_cut_off_half_way_is_refused_in_words(tmp_path, checkpoint):
    save_checkpoint(tmp_path / "best.pth", checkpoint)
    whole = (tmp_path / "best.pth").read_bytes()
    for share in (0, 10, len(whole) // 2, len(whole) - 30):
        (tmp_path / "cut.pth").write_bytes(whole[:share])
        with pytest.raises(CheckpointMismatch, match="cut.pth"):
            load_checkpoint(tmp_path / "cut.pth")


class _Code:
    def __reduce__(self):
        return (open, ("/tmp/never-written-by-a-checkpoint", "w"))


@pytest.mark.parametrize(
    "content", [{"format": "mammotrace-checkpoint", "x": _Code()}, {"a": 1}, [1], {"format": "mammotrace-checkpoint"}]
)
def test_a_foreign_or_hostile_checkpoint_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(CheckpointMismatch, match="x.pth"):
        load_checkpoint(tmp_path / "x.pth")


def test_a_missing_checkpoint_says_when_it_comes(tmp_path):
    with pytest.raises(CheckpointMismatch, match="after a run's first epoch"):
        load_checkpoint(tmp_path / "best_model.pth")
