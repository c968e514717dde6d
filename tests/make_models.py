"""Small models and finished runs with checkpoints, made in a moment and without training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import timm
import torch
from PIL import Image
from timm.models.densenet import DenseNet
from torch import nn

from make_films import drawn_film
from mammo_core.config import TrainConfig
from mammo_core.data.manifest import DatasetRecord
from mammo_core.data.preprocess import PREPROCESSING_VERSION
from mammo_core.runs.run_dir import RunDir
from mammo_core.settings import Workspace
from mammo_core.storage import write_json, write_table, write_yaml
from mammo_core.training.checkpoint import Checkpoint, cpu_copy, save_checkpoint
from mammo_core.training.models import Normalisation, build_model, normalisation_of

ARCH = "test_efficientnet"
"""timm's smallest EfficientNet: a forward pass takes milliseconds."""
CLASSES = ("A", "B", "C")
HALF = Normalisation((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def small_model(family: str, size: tuple[int, int] = (96, 64), n_classes: int = 3) -> nn.Module:
    """A model of each family with random weights that are the same every time, for inputs of ``size``."""
    torch.manual_seed(3)
    makers = {
        "efficientnet": lambda: timm.create_model("test_efficientnet", num_classes=n_classes),
        "efficientnet_lite": lambda: timm.create_model("tf_efficientnet_lite0", num_classes=n_classes),
        "resnet": lambda: timm.create_model("resnet18", num_classes=n_classes),
        "convnext": lambda: timm.create_model("test_convnext", num_classes=n_classes),
        "densenet": lambda: DenseNet(8, (2, 2, 2, 2), num_classes=n_classes),
        "vit": lambda: timm.create_model("test_vit", img_size=size, num_classes=n_classes),
        "vit_registers": lambda: timm.create_model("test_vit", img_size=size, num_classes=n_classes, reg_tokens=4),
        "vit_pooled": lambda: timm.create_model("test_vit2", img_size=size, num_classes=n_classes),
        "swin": lambda: timm.create_model(
            "swin_tiny_patch4_window7_224",
            embed_dim=24,
            depths=(1, 1, 1, 1),
            num_heads=(1, 2, 4, 8),
            img_size=size,
            window_size=2,
            num_classes=n_classes,
        ),
    }
    return makers[family]().eval()


def write_model(run: RunDir, config: TrainConfig, seed: int = 0, **origin: Any) -> Checkpoint:
    """Save a checkpoint with random weights as the run's best model, and its configuration."""
    torch.manual_seed(seed)
    model = build_model(config.arch, len(config.class_names), config.dropout)
    checkpoint = Checkpoint(
        weights=cpu_copy(model),
        config=config,
        normalisation=normalisation_of(model),
        preprocessing_version=PREPROCESSING_VERSION,
        epoch=3,
        metrics={"val_loss": 1.0},
        origin={
            "run": run.id,
            "dataset": config.dataset,
            "synthetic": False,
            "split_sha256": "ab" * 32,
            "train_films": 12,
            "train_patients": 6,
            "created_at": "2026-01-02",
            **origin,
        },
    )
    run.path.mkdir(parents=True, exist_ok=True)
    write_yaml(run.config_file, config.to_dict())
    save_checkpoint(run.best_model, checkpoint)
    return checkpoint


def model_config(**changes: Any) -> TrainConfig:
    settings: dict[str, Any] = {
        "arch": ARCH,
        "class_names": CLASSES,
        "image_size": (96, 96),
        "dataset": "drawn",
        "task": "density",
    }
    return TrainConfig(**{**settings, **changes})


def write_model_run(workspace: Workspace, name: str = "exp/seed_42", seed: int = 0, **changes: Any) -> RunDir:
    """A run of which only the configuration and the best checkpoint exist."""
    experiment, _, run_name = name.partition("/")
    run = RunDir(workspace.experiments / experiment / run_name)
    write_model(run, model_config(**changes), seed)
    return run


def write_drawn_dataset(workspace: Workspace, labels: dict[str, str], class_names: tuple[str, ...], name: str = "drawn") -> Path:
    """A data set of drawn films as PNG, one patient a film, left and right breasts in turn; returns the films' folder."""
    folder = workspace.home.parent / f"films_{name}"
    folder.mkdir()
    for number, image_id in enumerate(labels):
        side = "right" if number % 2 else "left"
        pixels = drawn_film((160, 128), side, reach=0.4 + 0.03 * (number % 10), seed=number)
        Image.fromarray(np.rint(pixels * 255).astype(np.uint8)).save(folder / f"{image_id}.png")
    directory = workspace.dataset(name)
    directory.mkdir(parents=True)
    rows = [(image_id, f"p_{image_id}", f"e_{image_id}", "", "", "1", "", label) for image_id, label in labels.items()]
    columns = ["image_id", "patient_id", "exam_id", "laterality", "view", "center", "vendor", "label"]
    write_table(directory / "manifest.csv", pd.DataFrame(rows, columns=columns))
    paths = pd.DataFrame(
        {"image_id": list(labels), "path": [f"{image_id}.png" for image_id in labels], "mask_path": "", "sha256": "0"}
    )
    write_table(directory / "paths.csv", paths)
    record = DatasetRecord(name=name, root=str(folder), adapter="folders", task="density", class_names=list(class_names))
    write_json(directory / "dataset.json", record.to_json())
    return folder
