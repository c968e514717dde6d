"""What only a CUDA device can show: graphs, films in its memory, several precisions. Skipped where there is none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from make_engines import films
from mammo_core.config import TrainConfig
from mammo_core.training import device_batches
from mammo_core.training.batches import epoch_order
from mammo_core.training.device_batches import DeviceLoader
from mammo_core.training.engine import Engine
from mammo_core.training.models import Normalisation, new_model
from mammo_core.training.planning import only_deterministic
from mammo_core.training.steps import StepPlan
from striped_films import SIDE, film

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")

PLANS = {
    "plain": StepPlan(micro_batch=8),
    "graph": StepPlan(micro_batch=8, graphs="graph"),
    "parts": StepPlan(micro_batch=4, graphs="graph"),
}


def engine(plan: StepPlan, width: int = 0, **changes) -> Engine:
    settings = {"arch": "resnet10t", "weights": "none", "image_size": (SIDE, SIDE), "class_names": ("A", "B"), "epochs": 3}
    config = TrainConfig(**{**settings, "warmup_epochs": 0.5, "lr": 1e-3, "batch_size": 8, "dropout": 0.3, **changes})
    scale = Normalisation((0.5,) * 3, (0.25,) * 3)
    parts = [films(0, 30), films(100, 13)]
    if width:
        rng = np.random.default_rng(0)
        parts = [replace(part, embeddings=rng.normal(size=(len(part), width)).astype(np.float32)) for part in parts]
    return Engine(config, new_model(config, width), scale, *parts, torch.device("cuda"), plan=plan)


def losses(trained: Engine) -> list[float]:
    list(trained.fit())
    return [value for record in trained.history for value in (record.train_loss, record.val_loss, record.train_loss_eval)]


@pytest.mark.parametrize("changes", [{}, {"augment": "strong", "mixup": 0.3, "ema_decay": 0.9, "backbone_lr_factor": 0.2}])
def test_a_graph_trains_as_the_same_steps_without_it(changes):
    """Without dropout: its draws differ between the two."""
    plain, graph = (losses(engine(PLANS[name], dropout=0.0, **changes)) for name in ("plain", "graph"))
    assert graph == pytest.approx(plain, rel=2e-2)


def test_a_graph_in_parts_trains_too_and_the_short_batch_is_filled():
    trained = engine(PLANS["parts"], dropout=0.0)
    found = losses(trained)
    assert np.isfinite(found).all()
    assert trained.optimizer.state_dict()["state"][0]["step"] == 3 * 4  # 30 films in batches of 8


@pytest.mark.parametrize("name", ["plain", "graph"])
def test_a_resumed_run_goes_on_as_the_uninterrupted_one(name, tmp_path):
    straight = engine(PLANS[name], ema_decay=0.9)
    expected = losses(straight)
    first, second = engine(PLANS[name], ema_decay=0.9), engine(PLANS["plain"], ema_decay=0.9)
    next(first.fit())
    torch.save(first.state(), tmp_path / "resume.pt")
    second.load_state(torch.load(tmp_path / "resume.pt", weights_only=True, map_location="cpu"))
    assert second.plan_in_use.graphs == PLANS[name].graphs  # what was decided at the start holds on
    assert losses(second) == pytest.approx(expected, rel=2e-2)


def test_a_model_in_bfloat16_learns_what_can_be_seen():
    trained = engine(StepPlan(precision="bfloat16", micro_batch=8, graphs="graph"), epochs=10, lr=3e-3)
    list(trained.fit())
    assert trained.history[-1].val_acc >= 0.9


@pytest.fixture
def repeatable() -> Iterator[None]:
    only_deterministic()
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("changes", [{}, {"augment": "strong", "mixup": 0.3, "loss": "ordinal", "ordinal": True, "width": 7}])
def test_the_repeatable_mode_gives_the_same_bits_twice_and_after_a_resume(repeatable, tmp_path, changes):
    plan = StepPlan(precision="bfloat16", micro_batch=8)
    straight = engine(plan, ema_decay=0.9, **changes)
    expected = losses(straight)
    assert losses(engine(plan, ema_decay=0.9, **changes)) == expected
    first, second = engine(plan, ema_decay=0.9, **changes), engine(plan, ema_decay=0.9, **changes)
    next(first.fit())
    torch.save(first.state(), tmp_path / "resume.pt")
    second.load_state(torch.load(tmp_path / "resume.pt", weights_only=True, map_location="cpu"))
    assert losses(second) == expected
    for name, value in straight.judged.state_dict().items():
        assert torch.equal(value, second.judged.state_dict()[name]), name


def test_embeddings_reach_the_model_in_a_graph_too():
    plain, graph = (losses(engine(PLANS[name], width=7, dropout=0.0, mixup=0.2)) for name in ("plain", "graph"))
    assert graph == pytest.approx(plain, rel=2e-2)


@pytest.mark.parametrize("share", [0.4, 0.0])
def test_batches_from_the_devices_memory_and_fetched_ones_are_those_of_the_files(share, monkeypatch):
    monkeypatch.setattr(device_batches, "RESIDENT_SHARE", share)
    loader = DeviceLoader(films(0, 19), 4, torch.device("cuda"))
    for epoch in (1, 2):
        order = epoch_order(19, 3, epoch)
        batches = list(loader.batches(order))
        assert {len(batch.films) for batch in batches} == {4}
        counted = torch.cat([batch.counted for batch in batches]).numpy() > 0
        assert np.concatenate([batch.indices for batch in batches])[counted].tolist() == order.tolist()
        found = torch.cat([batch.films for batch in batches]).cpu().numpy()[counted]
        assert np.array_equal(found[:, 0], np.stack([film(str(index)) for index in order]))
    next(iter(loader.batches(order)))  # a pass that is given up leaves no thread behind


def test_a_loss_that_is_not_a_number_is_noticed():
    from mammo_core.errors import NonFiniteLoss

    trained = engine(PLANS["graph"])
    with torch.no_grad():
        next(trained.model.parameters()).fill_(float("nan"))
    with pytest.raises(NonFiniteLoss, match="epoch 1, step 1 of 4"):
        list(trained.fit())
