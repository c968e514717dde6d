"""The trained runs behind a prediction: loading them, and refusing those that do not belong together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from mammo_core.data.manifest import load_dataset
from mammo_core.data.preprocess import PREPROCESSING_VERSION
from mammo_core.errors import CheckpointMismatch, MammoError
from mammo_core.predict.unfamiliar import FeatureGuard, load_guard
from mammo_core.runs.run_dir import RunDir
from mammo_core.settings import Workspace
from mammo_core.storage import read_text_table
from mammo_core.training.checkpoint import Checkpoint, load_checkpoint


@dataclass(frozen=True, eq=False)
class Member:
    """One run of a predictor."""

    run: RunDir
    checkpoint: Checkpoint
    model: nn.Module
    guard: FeatureGuard | str
    """Or the sentence that says why there is none."""


def load_member(run: RunDir, device: torch.device) -> Member:
    """Load a run's best checkpoint, in eval mode and frozen.

    Raises
    ------
    CheckpointMismatch
        It is missing or broken, names no classes, or was trained with another preprocessing.
    """
    checkpoint = load_checkpoint(run.best_model)
    if checkpoint.preprocessing_version != PREPROCESSING_VERSION:
        raise CheckpointMismatch(
            f"{run.id} was trained on films prepared by version {checkpoint.preprocessing_version}, and this program prepares "
            f"them by version {PREPROCESSING_VERSION}; expected the same. Train it again, or use the MammoTrace it was made with."
        )
    if not checkpoint.class_names:
        raise CheckpointMismatch(f"The checkpoint of {run.id} names no classes, so its scores have no meaning. Use another run.")
    model = checkpoint.build_model().requires_grad_(False).to(device)
    return Member(run, checkpoint, model, load_guard(run))


def check_alike(members: Sequence[Member]) -> None:
    """Refuse (``CheckpointMismatch``) runs of another task or of other classes than the first."""
    first = members[0].checkpoint
    for member in members[1:]:
        other = member.checkpoint
        if (other.config.task, other.class_names) != (first.config.task, first.class_names):
            raise CheckpointMismatch(
                f"{member.run.id} was trained for {other.config.task} ({', '.join(other.class_names)}), but "
                f"{members[0].run.id} for {first.config.task} ({', '.join(first.class_names)}); expected runs of one task. "
                "Predict with each of them apart."
            )


def training_films(workspace: Workspace, members: Sequence[Member]) -> dict[str, list[str]]:
    """Content hash -> runs that were trained on that film, as far as the data set is on this machine."""
    found: dict[str, list[str]] = {}
    for member in members:
        try:
            hashes = load_dataset(workspace, member.checkpoint.config.dataset).pixel_hashes()
            split = read_text_table(member.run.split_table)
        except (MammoError, FileNotFoundError):
            continue  # an imported model comes without its films
        for image_id in split.loc[split["split"] == "train", "image_id"]:
            if image_id in hashes:
                found.setdefault(hashes[image_id], []).append(member.run.id)
    return found


def origin_of(checkpoint: Checkpoint) -> dict[str, Any]:
    """What a result says about the model: architecture, epoch, seed, run, data set, split hash, counts, date."""
    return {"arch": checkpoint.config.arch, "epoch": checkpoint.epoch, "seed": checkpoint.config.seed, **checkpoint.origin}
