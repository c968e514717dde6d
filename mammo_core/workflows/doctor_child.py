"""The child process that the doctor asks about PyTorch: ``python -m mammo_core.workflows.doctor_child`` prints one JSON document.

A PyTorch that does not fit its torchvision or its driver can raise almost anything or end its process; that costs one answer.
"""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any

from mammo_core.config import TrainConfig
from mammo_core.errors import WeightsNotFound
from mammo_core.presets import list_presets
from mammo_core.report.privacy import without_places

MODULES = ("torch", "torchvision", "timm")
ImportFault = (ImportError, OSError, RuntimeError, AttributeError, TypeError, ValueError)
"""What importing a damaged or ill-matched one raises; a torchvision made for another torch raises ``RuntimeError``."""


def look() -> dict[str, Any]:
    """Versions, presets with the source of their weights, and the graphics card; or ``problem`` alone, a sentence's part."""
    versions = {}
    for name in MODULES:
        try:
            versions[name] = str(importlib.import_module(name).__version__)
        except ImportFault as error:
            return {"problem": f"{name}: {_told(error)}"}
    try:
        _compute("cpu")
    except RuntimeError as error:
        return {"problem": f"it cannot compute: {_told(error)}"}
    card, problem = _card()
    return {"versions": versions, "presets": _presets(), "card": card, "card_problem": problem}


def _told(error: BaseException) -> str:
    return " ".join(without_places(f"{type(error).__name__}: {error}").split())[:200]


def _compute(device: str) -> None:
    """A convolution whose result is known, and an operation that torchvision adds to torch."""
    import torch
    from torchvision.ops import nms  # type: ignore[import-untyped]

    ones = torch.ones(1, 1, 3, 3, device=device)
    boxes = torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 1.0]], device=device)
    kept = nms(boxes, torch.tensor([0.5, 0.9], device=device), 0.5)
    if float(torch.nn.functional.conv2d(ones, ones)) != 9 or kept.tolist() != [1]:
        raise RuntimeError("3 x 3 ones do not sum up to 9")


def _card() -> tuple[str, str]:
    """Name of the graphics card, and what it fails with; both empty where there is none."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else ""
    if not device:
        return "", ""
    try:
        name = torch.cuda.get_device_name() if device == "cuda" else "Apple graphics (MPS)"
        _compute(device)
    except RuntimeError as error:
        return "", _told(error)
    return name, ""


def _presets() -> list[dict[str, Any]]:
    from mammo_core.training.weights import find_weights

    found = []
    for preset in list_presets():
        config = TrainConfig.from_dict(dict(preset.settings), source=preset.name)
        try:
            source: str | None = find_weights(config.arch, config.weights).text
        except WeightsNotFound:
            source = None
        found.append({"preset": preset.name, "arch": config.arch, "source": source})
    return found


if __name__ == "__main__":
    sys.stdout.write(json.dumps(look()))
