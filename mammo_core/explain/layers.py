"""Which layer of a model a class activation map is taken from, and how its output becomes a grid of cells.

The layer is the last one that still knows where things are. Everything after it pools the cells into one vector, so a map
taken there says which cells moved the score.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from timm.models.convnext import ConvNeXt
from timm.models.densenet import DenseNet
from timm.models.efficientnet import EfficientNet
from timm.models.eva import Eva
from timm.models.resnet import ResNet
from timm.models.swin_transformer import SwinTransformer
from timm.models.swin_transformer_v2 import SwinTransformerV2
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from mammo_core.errors import ConfigError
from mammo_core.training.fusion import backbone_of

Reshape = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class TargetLayer:
    """The layer to take a map from."""

    module: nn.Module
    name: str
    """Its name in the model, such as ``bn2`` or ``layer4.1``."""
    reshape: Reshape | None
    """Turns its output into ``(B, C, rows, columns)``; ``None`` where it is that already."""


def target_layer(model: nn.Module, input_size: tuple[int, int], stride: int | None = None) -> TargetLayer:
    """The layer for a timm model whose input has ``input_size`` (height, width), pixels.

    Without ``stride`` it is the last one:

    - EfficientNet (also Lite): ``bn2``, normalisation and activation after the last convolution; variants without it: the
      last block.
    - ResNet: the last block of ``layer4``. DenseNet: ``features.norm5``. ConvNeXt: the last stage (its norm sits behind the
      pooling).
    - ViT, DeiT, EVA: where the head reads the class token, the first norm of the last block, because the block's own output
      gets no gradient on the patches; where the head pools the patches, the last block. Prefix tokens (class, distillation,
      registers) are dropped and the grid is the one of this input, not 14 x 14.
    - Swin: the final norm; timm's Swin is channels-last, ``(B, rows, columns, C)``.
    - Others: the last feature layer that timm names.

    With ``stride`` (pixels of the input for each cell, less than the last layer has) it is the last one of that stride:

    - EfficientNet, ResNet, ConvNeXt, Swin and others: the stage that timm names; for 16 these are ``blocks.4`` of
      EfficientNet-B0, ``layer3``, ``stages.2`` and ``layers.2``.
    - DenseNet: norm and activation of the transition behind the block, as ``norm5`` stands behind the last one.
    - ViT and its like have one grid throughout, so they have no such layer.

    Of a model that joins embeddings to the film's features it is the backbone's layer: a map cannot show what those do.

    Raises
    ------
    ConfigError
        The architecture gives no hint where its last map is, or has no layer of this stride before it.
    """
    model = backbone_of(model)
    name, reshape = _choose(model, input_size) if stride is None else _choose_finer(model, stride)
    return TargetLayer(model.get_submodule(name), name, reshape)


def _choose(model: nn.Module, input_size: tuple[int, int]) -> tuple[str, Reshape | None]:
    if isinstance(model, EfficientNet):
        return (_last_of(model, "blocks") if isinstance(model.bn2, nn.Identity) else "bn2"), None
    if isinstance(model, ResNet):
        return _last_of(model, "layer4"), None
    if isinstance(model, ConvNeXt):
        return _last_of(model, "stages"), None
    if isinstance(model, DenseNet):
        return "features.norm5", None
    if isinstance(model, VisionTransformer | Eva):
        rows, columns = model.patch_embed.dynamic_feat_size(input_size)
        reshape = functools.partial(tokens_to_grid, prefix=model.num_prefix_tokens, rows=rows, columns=columns)
        last = _last_of(model, "blocks")
        return (f"{last}.norm1" if model.global_pool == "token" else last), reshape
    if isinstance(model, SwinTransformer | SwinTransformerV2):
        return "norm", channels_first
    return _last_feature_layer(model)


def _choose_finer(model: nn.Module, stride: int) -> tuple[str, Reshape | None]:
    infos = getattr(model, "feature_info", None)
    named = [(info.get("reduction"), str(info.get("module"))) for info in infos] if isinstance(infos, list) else []
    strides = [found for found, name in named if name in dict(model.named_modules())]
    if stride not in strides or strides[-1] <= stride:
        only = f"its last layer has stride {strides[-1]} already" if strides and strides[-1] <= stride else "timm names none"
        raise ConfigError(
            f"{type(model).__name__} has no layer of stride {stride} before its last one ({only}), so there is no finer map; "
            "expected an EfficientNet, ResNet, ConvNeXt, DenseNet or Swin. Choose LayerCAM or HiResCAM without the finer layer."
        )
    name = next(name for found, name in reversed(named) if found == stride)
    if isinstance(model, DenseNet):
        name = f"{name.replace('denseblock', 'transition')}.norm"
    is_channels_last = isinstance(model, SwinTransformer | SwinTransformerV2) or getattr(model, "output_fmt", "NCHW") == "NHWC"
    return name, channels_first if is_channels_last else None


def _last_of(model: nn.Module, name: str) -> str:
    """Name of the last child of a sequence of layers."""
    return f"{name}.{len(list(model.get_submodule(name).children())) - 1}"


def _last_feature_layer(model: nn.Module) -> tuple[str, Reshape | None]:
    infos = getattr(model, "feature_info", None)
    name = str(infos[-1].get("module")) if isinstance(infos, list) and infos else ""
    if not name or name not in dict(model.named_modules()):
        raise ConfigError(
            f"For the architecture {type(model).__name__} no layer for a map is known; expected EfficientNet, ResNet, ConvNeXt, "
            "DenseNet, ViT, Swin or another one whose feature layers timm names. Train one of these to see maps."
        )
    return name, channels_first if getattr(model, "output_fmt", "NCHW") == "NHWC" else None


def tokens_to_grid(tokens: torch.Tensor, prefix: int, rows: int, columns: int) -> torch.Tensor:
    """Tokens ``(B, prefix + rows * columns, C)``, row by row, as ``(B, C, rows, columns)``."""
    patches = tokens[:, prefix:]
    return patches.reshape(len(tokens), rows, columns, -1).permute(0, 3, 1, 2)


def channels_first(maps: torch.Tensor) -> torch.Tensor:
    """``(B, rows, columns, C)`` as ``(B, C, rows, columns)``."""
    return maps.permute(0, 3, 1, 2)
