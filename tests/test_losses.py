"""Losses against torch and against values worked out by hand."""

from __future__ import annotations

import pytest
import torch

from mammo_core.training.losses import TrainingLoss, squared_emd

LOGITS = torch.tensor([[2.0, 0.5, -1.0, 0.0], [0.1, 0.2, 0.3, 0.4], [-1.0, 3.0, 0.0, 1.0]])
LABELS = torch.tensor([0, 3, 2])


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", [None, [0.5, 2.0, 1.0, 0.7]])
def test_parts_of_a_batch_add_up_to_torchs_cross_entropy_and_its_gradient(weights, smoothing):
    given = None if weights is None else torch.tensor(weights)
    whole = LOGITS.clone().requires_grad_()
    expected = torch.nn.CrossEntropyLoss(weight=given, label_smoothing=smoothing)(whole, LABELS)
    expected.backward()
    loss = TrainingLoss("cross_entropy", weights, 4, smoothing)
    total = loss.weights(LABELS).sum()
    ours, value = LOGITS.clone().requires_grad_(), 0.0
    for part in (slice(0, 1), slice(1, 3)):
        share = loss.numerators(ours[part], LABELS[part]).sum() / total
        share.backward()
        value += float(share.detach())
    assert value == pytest.approx(float(expected.detach()), rel=1e-6)
    assert torch.allclose(ours.grad, whole.grad, atol=1e-7)


def test_the_squared_distance_counts_classes_between_answer_and_label():
    sure = torch.full((4, 4), -50.0)
    sure.fill_diagonal_(50.0)
    for label in range(4):
        distances = squared_emd(sure, torch.full((4,), label))
        assert distances.tolist() == pytest.approx([abs(answer - label) for answer in range(4)], abs=1e-6)
    even = squared_emd(torch.zeros(1, 4), torch.tensor([0]))  # cumulative 1/4, 1/2, 3/4, 1 against 1, 1, 1, 1
    assert float(even) == pytest.approx(9 / 16 + 1 / 4 + 1 / 16)


def test_the_ordinal_loss_is_cross_entropy_and_squared_distance_weighted_by_class():
    weights = [1.0, 1.0, 3.0, 1.0]
    loss, plain = (TrainingLoss(kind, weights, 4) for kind in ("ordinal", "cross_entropy"))
    distance = squared_emd(LOGITS, LABELS) * torch.tensor([1.0, 1.0, 3.0])  # of classes 0, 3 and 2
    assert torch.allclose(loss.numerators(LOGITS, LABELS), plain.numerators(LOGITS, LABELS) + distance)
