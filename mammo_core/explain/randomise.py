"""A model whose weights are replaced by noise, part by part from the head down: what the randomisation test compares with."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mammo_core.training.fusion import FusedClassifier

INPUT_STAGE = "class token and positions"


def stages(model: nn.Module) -> tuple[str, ...]:
    """Names of the parts of a model that hold weights, from the head down to the input.

    Of a model with embeddings these are its new layers and its backbone's: the network that embeds is frozen, and no map is taken
    from it.
    """
    if isinstance(model, FusedClassifier):
        return ("head", "projection", *(f"backbone.{name}" for name in stages(model.backbone) if name != INPUT_STAGE))
    names: list[str] = []
    for name, child in model.named_children():
        parts = list(child.named_children()) if isinstance(child, nn.Sequential | nn.ModuleList) else []
        found = [f"{name}.{part}" for part, module in parts if _has_weights(module)]
        names += found or ([name] if _has_weights(child) else [])
    own = [INPUT_STAGE] if next(model.parameters(recurse=False), None) is not None else []
    return (*reversed(names), *own)


def _has_weights(module: nn.Module) -> bool:
    return next(module.parameters(), None) is not None


def cascade(model: nn.Module, seed: int, batch: torch.Tensor) -> Iterator[tuple[str, nn.Module]]:
    """A copy of the model with its stages randomised one after another, the earlier ones staying so; ``model`` never changes.

    Matrices and kernels are drawn anew from a normal distribution with their own mean and SD, vectors (biases, the scales of
    norms) are shuffled; batch normalisation measures its means and variances again on ``batch``. Activations so keep a usable
    size: with fresh initial values they vanish in a deep network, every map is empty, and the test is passed for that reason.

    Yields
    ------
    The stage's name and the copy, in eval mode; the copy is the same object each time.
    """
    generator = torch.Generator().manual_seed(seed)
    changed = copy.deepcopy(model).eval()
    done: list[nn.Module] = []
    for stage in stages(model):
        if stage == INPUT_STAGE:
            _redraw(changed.parameters(recurse=False), generator)
        else:
            done.append(changed.get_submodule(stage))
            _redraw(done[-1].parameters(), generator)
        _measure_norms(changed, done, batch)
        yield stage, changed


def _redraw(parameters: Iterator[nn.Parameter], generator: torch.Generator) -> None:
    with torch.no_grad():
        for parameter in parameters:
            values = parameter.detach().float().cpu()
            if values.ndim >= 2:
                drawn = torch.randn(values.shape, generator=generator) * values.std(correction=0) + values.mean()
            else:
                drawn = values.flatten()[torch.randperm(values.numel(), generator=generator)].reshape(values.shape)
            parameter.copy_(drawn)


def _measure_norms(model: nn.Module, randomised: Sequence[nn.Module], batch: torch.Tensor) -> None:
    norms = [norm for module in randomised for norm in module.modules() if isinstance(norm, _BatchNorm)]
    norms = [norm for norm in norms if norm.track_running_stats]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean of what it sees
        norm.train()
    with torch.no_grad():
        model(batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()
