"""What the machine decides about a run's steps: precision, graphs, and how many films go through the model at once."""

from __future__ import annotations

import copy
import logging
import os
from typing import Any, Literal

import psutil
import torch
from torch import nn

from mammo_core.config import TrainConfig
from mammo_core.training.fusion import embedding_width
from mammo_core.training.steps import StepPlan

log = logging.getLogger("mammo_core.run")

CPU_BUDGET = 5 * 2**30
"""Bytes for a step on a CPU at most, so that a run of the usual size fits beside the app in 8 GB."""
FREE_SHARE = 0.6
"""Of the memory that is free when the run starts."""
GPU_SHARE = 0.8
OVERHEAD = 1.25
"""Beyond what autograd keeps: gradients of activations, and the convolutions' working memory."""
COPIES = 4
"""Of the weights: themselves, gradients, and the two moments of Adam."""
COMPILE_SECONDS = 10.0
"""What fusing adds to the first epoch, measured beside an H100 with 16 processor cores; fewer cores take longer."""
SAVED_SECONDS_PER_PIXEL = 1.5e-9
"""What fused kernels save of one film's step on an H100 with EfficientNet-B0: 0.36 ms at 512 px and 0.09 ms at 224 px."""
REPAYS = 1.5
"""Compiling must save this many times what it takes."""


def plan_steps(config: TrainConfig, model: nn.Module, device: torch.device, films: int, share: int, threads: int) -> StepPlan:
    """Decide once, at a run's start; a resume repeats what was decided.

    Parameters
    ----------
    films : of the training split
    share : films of a full batch in one process
    """
    precision = _precision(config, device)
    limit = config.micro_batch or fitting_micro_batch(model, config, device, share, precision)
    parts = -(-share // max(1, limit))
    micro_batch = -(-share // parts)
    if micro_batch < share:
        log.info("A batch of %d films goes through the model in %d parts of at most %d.", share, parts, micro_batch)
    return StepPlan(precision, micro_batch, _graphs(config, device, films), threads)


def only_deterministic() -> None:
    """Let torch use nothing but algorithms that give the same result each time, for the rest of this process; what has none
    raises. To be called before the first product on a CUDA device."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)


def _precision(config: TrainConfig, device: torch.device) -> Literal["float32", "bfloat16"]:
    if config.precision != "auto":
        return config.precision
    return "bfloat16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "float32"


def _graphs(config: TrainConfig, device: torch.device, films: int) -> Literal["off", "graph", "compiled"]:
    if device.type != "cuda" or config.deterministic:
        return "off"
    if config.graphs != "auto":
        return config.graphs
    saved = films * config.epochs * config.image_size[0] * config.image_size[1] * SAVED_SECONDS_PER_PIXEL
    return "compiled" if saved > REPAYS * COMPILE_SECONDS else "graph"


def fitting_micro_batch(
    model: nn.Module, config: TrainConfig, device: torch.device, share: int, precision: Literal["float32", "bfloat16"]
) -> int:
    """How many films fit into the memory that may be used, by what one film's pass really keeps."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        budget = GPU_SHARE * free
    else:
        budget = min(CPU_BUDGET, FREE_SHARE * psutil.virtual_memory().available)
    weights = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    each = OVERHEAD * bytes_kept(model, config.image_size) * (0.5 if precision == "bfloat16" else 1.0)
    return max(1, min(share, int((budget - COPIES * weights) / each)))


def bytes_kept(model: nn.Module, image_size: tuple[int, int]) -> int:
    """Bytes that autograd keeps of one film's float32 pass through ``model``, measured on two films on the CPU."""
    probe = copy.deepcopy(model).cpu().train()
    seen: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    def same(tensor: Any) -> Any:
        return tensor

    given = [torch.zeros(2, 3, *image_size).contiguous(memory_format=torch.channels_last)]
    if width := embedding_width(model):
        given.append(torch.zeros(2, width))
    weights = {parameter.untyped_storage().data_ptr() for parameter in probe.parameters()}
    with torch.random.fork_rng(devices=[]), torch.autograd.graph.saved_tensors_hooks(note, same):
        kept = probe(*given)  # its graph keeps every tensor alive, so no address is used twice
    total = sum(size for address, size in seen.items() if address not in weights)
    del kept
    return max(1, total // 2)
