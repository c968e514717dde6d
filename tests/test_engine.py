"""The training loop: exact after a resume, honest about its losses, and deaf to other users of random numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss

from make_engines import WITHOUT_BATCH_NORM, engine, numbers
from mammo_core.errors import NonFiniteLoss, OutOfMemory, Stopped
from mammo_core.training.engine import Engine, Progress
from mammo_core.training.planning import bytes_kept, plan_steps
from mammo_core.training.steps import StepPlan


@pytest.fixture(scope="module")
def whole() -> Engine:
    trained = engine()
    for _ in trained.fit():
        pass
    return trained


def test_the_same_run_twice_is_the_same(whole):
    again = engine()
    list(again.fit())
    assert numbers(again) == numbers(whole)
    assert all(
        torch.equal(a, b) for a, b in zip(again.model.state_dict().values(), whole.model.state_dict().values(), strict=True)
    )


@pytest.mark.parametrize("cut", [1, 2])
def test_a_resumed_run_gives_the_bits_of_an_uninterrupted_one(whole, cut, tmp_path):
    first = engine()
    for outcome in first.fit():
        if outcome.record.epoch == cut:
            torch.save(first.state(), tmp_path / "resume.pt")
            break
    second = engine()
    torch.rand(17)  # whatever the pages draw meanwhile must not matter
    np.random.rand(5)
    second.load_state(torch.load(tmp_path / "resume.pt", weights_only=True))
    outcomes = list(second.fit())
    assert [outcome.record.resumed for outcome in outcomes] == [True] + [False] * (2 - cut)
    assert numbers(second) == numbers(whole)
    states = (second.model.state_dict(), whole.model.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(*(state.values() for state in states), strict=True))


def test_worker_processes_do_not_change_the_result(whole):
    trained = engine(num_workers=1)
    list(trained.fit())
    assert numbers(trained) == numbers(whole)


def test_a_stop_inside_an_epoch_forgets_that_epoch_only(whole):
    calls = []

    def stop_in_epoch_two(step, steps):
        calls.append(step)
        if len(calls) == steps + 1:
            raise Stopped

    trained = engine(on_step=stop_in_epoch_two)
    with pytest.raises(Stopped):
        list(trained.fit())
    assert numbers(trained) == numbers(whole)[:1]


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
    assert ids == engine().eval_loader.films.image_ids


def test_the_learning_rate_is_logged_as_used(whole):
    assert whole.history[-1].lr == pytest.approx(whole.config.min_lr)
    assert whole.history[-1].lr_next is None
    assert whole.optimizer.param_groups[0]["lr"] == whole.history[-1].lr


def test_it_learns_what_can_be_seen():
    trained = engine(epochs=10, lr=3e-3)
    list(trained.fit())
    assert trained.history[-1].val_acc >= 0.9
    assert trained.history[-1].val_loss < math.log(2)


def test_a_loss_that_is_not_a_number_ends_the_run_with_the_films_named():
    trained = engine(lr=1.0, optimizer="adam")
    with torch.no_grad():
        next(trained.model.parameters()).fill_(float("nan"))
    with pytest.raises(NonFiniteLoss, match="epoch 1, step 1 of 3 .films "):
        list(trained.fit())
    assert trained.history[-1].non_finite
    assert trained.history[-1].train_loss is None


def test_early_stopping_counts_epochs_without_a_gain_above_min_delta():
    progress = Progress()
    gains = [progress.update(epoch, loss, 0.05) for epoch, loss in enumerate([1.0, 0.98, 0.9, 0.89, 0.91], start=1)]
    assert gains == [True, True, True, True, False]
    assert (progress.best_epoch, progress.best_loss, progress.epochs_without_gain) == (4, 0.89, 2)


def test_a_run_stops_early_and_says_so():
    trained = engine(epochs=6, early_stopping_patience=1, lr=1e-9, min_lr=0.0, augment="none", dropout=0.0)
    trained.progress = Progress(best_loss=0.0, reference_loss=0.0)
    list(trained.fit())
    assert trained.stop_reason() == "early_stopping"
    assert len(trained.history) == 1


# ---- cut batches and running means -------------------------------------------------------------------------------------------


def _same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor], tolerance: float = 0.0) -> bool:
    return all(torch.allclose(one[name].double(), other[name].double(), rtol=0, atol=tolerance) for name in one)


@pytest.mark.parametrize("extra", [{}, {"class_weights": (1.0, 3.0), "label_smoothing": 0.1}, {"mixup": 0.4}])
def test_a_batch_in_parts_has_the_gradients_of_the_whole(extra):
    changes = {"arch": WITHOUT_BATCH_NORM, "dropout": 0.0, "epochs": 1, "warmup_epochs": 0, **extra}
    whole, parts = engine(**changes), engine(plan=StepPlan(micro_batch=3), **changes)
    for trained in (whole, parts):
        batch = next(trained.train_loader.batches())
        trained._stepper.gradients(trained._given(batch, 1, 1))
    for one, other in zip(whole.model.parameters(), parts.model.parameters(), strict=True):
        assert torch.allclose(one.grad, other.grad, rtol=1e-4, atol=1e-7)
    assert float(whole._stepper.loss) == pytest.approx(float(parts._stepper.loss), rel=1e-5)


@pytest.mark.parametrize(
    "changes",
    [
        {"ema_decay": 0.9, "sampler": "balanced", "class_weights": "none", "backbone_lr_factor": 0.1},
        {"augment": "strong", "mixup": 0.2, "plan": StepPlan(micro_batch=5)},
        {"loss": "ordinal", "ordinal": True},
    ],
)
def test_every_recipe_resumes_to_the_same_bits(changes, tmp_path):
    straight, first, second = (engine(epochs=2, **changes) for _ in range(3))
    list(straight.fit())
    next(first.fit())
    torch.save(first.state(), tmp_path / "resume.pt")
    second.load_state(torch.load(tmp_path / "resume.pt", weights_only=True))
    list(second.fit())
    assert numbers(second) == numbers(straight)
    assert _same(second.judged.state_dict(), straight.judged.state_dict())
    assert _same(second.model.state_dict(), straight.model.state_dict())


def test_validation_sees_the_running_mean_of_the_weights():
    trained = engine(epochs=2, ema_decay=0.9)
    list(trained.fit())
    assert not _same(trained.judged.state_dict(), trained.model.state_dict(), 1e-5)
    assert trained.infer(trained.val_loader).loss == pytest.approx(trained.history[-1].val_loss)


def test_the_backbone_takes_smaller_steps_than_the_head():
    trained = engine(epochs=1, warmup_epochs=0, backbone_lr_factor=0.01, weight_decay=0.0)
    before = {name: value.detach().clone() for name, value in trained.model.named_parameters()}
    batch = next(trained.train_loader.batches())
    trained._step(batch, 1, 1)
    moved = {name: float((value.detach() - before[name]).abs().max()) for name, value in trained.model.named_parameters()}
    assert moved["fc.weight"] == pytest.approx(1e-3, rel=0.05)  # Adam's first step is the learning rate
    assert moved["conv1.0.weight"] == pytest.approx(1e-5, rel=0.05)


class _Cramped(torch.nn.Module):
    """A model in a memory of its own that holds ``room`` films; beyond that it fails as torch's allocator does."""

    def __init__(self, model: torch.nn.Module, room: int) -> None:
        super().__init__()
        self.model, self.room = model, room

    def __getattr__(self, name: str):
        return super().__getattr__(name) if name in ("model", "room") or name.startswith("_") else getattr(self.model, name)

    def forward(self, films: torch.Tensor) -> torch.Tensor:
        if self.training and len(films) > self.room:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.")
        return self.model(films)


def test_where_memory_runs_out_training_goes_on_with_fewer_films_at_once(caplog):
    trained, free = (engine(epochs=1, arch=WITHOUT_BATCH_NORM, dropout=0.0) for _ in range(2))
    trained.model = _Cramped(trained.model, 3)
    trained._stepper = trained._new_stepper(trained.plan_in_use)
    list(trained.fit())
    list(free.fit())
    assert trained.plan_in_use.micro_batch == 2
    assert trained.history[0].val_loss == pytest.approx(free.history[0].val_loss, rel=1e-3)
    assert "Memory ran out with 8 films at once; going on with 4" in caplog.text


def test_where_one_film_does_not_fit_the_run_says_so():
    trained = engine(epochs=1)
    trained.model = _Cramped(trained.model, 0)
    trained._stepper = trained._new_stepper(trained.plan_in_use)
    with pytest.raises(OutOfMemory, match="1 film.s. of 32 x 32 pixels"):
        list(trained.fit())


def test_what_a_film_keeps_is_measured_and_cuts_the_batch():
    trained = engine()
    each = bytes_kept(trained.model, trained.config.image_size)
    assert each > 32 * 32 * 4 * 8  # more than the input
    assert bytes_kept(trained.model, (64, 64)) == pytest.approx(4 * each, rel=0.2)
    plan = plan_steps(trained.config.replace(micro_batch=3), trained.model, torch.device("cpu"), 25, 8, 1)
    assert (plan.micro_batch, plan.precision, plan.graphs) == (3, "float32", "off")
    assert plan_steps(trained.config, trained.model, torch.device("cpu"), 25, 8, 1).micro_batch == 8
