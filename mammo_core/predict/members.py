"""The trained runs behind a prediction: loading them, and refusing those that do not belong together."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
import torch
from torch import nn

from mammo_core.analysis.backing import Backing, no_backing
from mammo_core.analysis.backing_fit import backing_of
from mammo_core.data.manifest import load_dataset
from mammo_core.data.preprocess import PREPROCESSING_VERSION
from mammo_core.data.split_one_view import normal_view
from mammo_core.errors import CheckpointMismatch, MammoError
from mammo_core.predict.unfamiliar import FeatureGuard, load_guard
from mammo_core.reading import read_text_table
from mammo_core.runs.run_dir import RunDir
from mammo_core.settings import Workspace
from mammo_core.training.checkpoint import Checkpoint, load_checkpoint
from mammo_core.training.fusion import features_of

GOOD_ENOUGH = frozenset({"HEALTHY", "INCONCLUSIVE", "PLATEAU", "OVERFIT_MILD"})
"""Verdicts that do not by themselves put a prediction in doubt."""


@dataclass(frozen=True, eq=False)
class Member:
    """One trained network of a predictor."""

    id: str
    """``<experiment>/<run>``."""
    checkpoint: Checkpoint
    model: nn.Module
    guard: FeatureGuard | str
    """Or the sentence that says why there is none."""
    weights_sha256: str
    """Of the weights, names and values: the same wherever they are kept."""
    run: RunDir | None
    """``None`` for a model that was read from a file."""
    doubt: str
    """Why its training is in doubt, a sentence; empty where the verdict on it is good enough to predict with."""


def load_member(run: RunDir, device: torch.device) -> Member:
    """Load a run's best checkpoint, in eval mode and frozen.

    Raises
    ------
    CheckpointMismatch
        It is missing or broken, names no classes, or was trained with another preprocessing.
    """
    member = member_of(run.id, load_checkpoint(run.best_model), load_guard(run), device, doubt_of(run))
    return replace(member, run=run)


def doubt_of(run: RunDir) -> str:
    """What the verdict holds against a finished run; empty for a good one, an unfinished one, or one without a verdict."""
    summary = run.summary()
    if summary is None or summary.verdict is None or summary.verdict in GOOD_ENOUGH:
        return ""
    headline = str((summary.diagnosis or {}).get("headline") or summary.verdict.replace("_", " ").lower())
    return sentence_of(headline)


def sentence_of(headline: str) -> str:
    """A verdict's headline as a sentence; ``So far`` belongs to a run that goes on."""
    text = headline.removeprefix("So far: ").rstrip(".")
    return f"{text[:1].upper()}{text[1:]}."


def member_of(name: str, checkpoint: Checkpoint, guard: FeatureGuard | str, device: torch.device, doubt: str = "") -> Member:
    """A network ready to answer, in eval mode and frozen; ``CheckpointMismatch`` as :func:`load_member`."""
    if checkpoint.preprocessing_version != PREPROCESSING_VERSION:
        raise CheckpointMismatch(
            f"{name} was trained on films prepared by version {checkpoint.preprocessing_version}, and this program prepares "
            f"them by version {PREPROCESSING_VERSION}; expected the same. Train it again, or use the MammoTrace it was made with."
        )
    if not checkpoint.class_names:
        raise CheckpointMismatch(f"The checkpoint of {name} names no classes, so its scores have no meaning. Use another run.")
    model = checkpoint.build_model().requires_grad_(False).to(device)
    width = features_of(model)
    if isinstance(guard, FeatureGuard) and guard.reference.shape[1] != width:
        raise CheckpointMismatch(
            f"{name} keeps {guard.reference.shape[1]} features of each validation film, but its network has {width}; expected as "
            "many. The files do not belong together; use another run."
        )
    return Member(name, checkpoint, model, guard, weights_sha256(checkpoint), None, doubt)


def check_alike(members: Sequence[Member]) -> None:
    """Refuse (``CheckpointMismatch``) runs of another task or of other classes than the first."""
    first = members[0].checkpoint
    for member in members[1:]:
        other = member.checkpoint
        described = [(one.config.task, one.class_names, one.config.ordinal) for one in (other, first)]
        if described[0] != described[1]:
            raise CheckpointMismatch(
                f"{member.id} was trained for {other.config.task} ({', '.join(other.class_names)}), but "
                f"{members[0].id} for {first.config.task} ({', '.join(first.class_names)}); expected runs of one task. "
                "Predict with each of them apart."
            )


def other_view(members: Sequence[Member], view: str | None) -> str:
    """A warning where members that learnt from films of one view only are shown another; empty where none is."""
    shown = normal_view(view or "")
    strangers = [member for member in members if normal_view(member.checkpoint.config.view or shown) != shown]
    if not strangers:
        return ""
    learnt = ", ".join(f"{member.id} from {member.checkpoint.config.view} films only" for member in strangers)
    if not shown:
        return f"The view of this film is not known, so it may be one that was never learnt from ({learnt})."
    return f"This film is of the view {shown}, which was not learnt from ({learnt}), so the answer means little."


def known_films(workspace: Workspace, members: Sequence[Member]) -> dict[str, dict[str, list[str]]]:
    """Content hash -> ``train`` or ``val`` -> runs that used that film so, as far as the data set is on this machine."""
    found: dict[str, dict[str, list[str]]] = {}
    for member in members:
        if member.run is None:
            continue  # its file names no films
        try:
            hashes = load_dataset(workspace, member.checkpoint.config.dataset).pixel_hashes()
            split = read_text_table(member.run.split_table)
        except (MammoError, FileNotFoundError):
            continue  # the data set is no longer on this machine
        used = split[split["split"].isin(["train", "val"])]
        for image_id, part in used[["image_id", "split"]].itertuples(index=False, name=None):
            if image_id in hashes:
                found.setdefault(hashes[image_id], {}).setdefault(part, []).append(member.id)
    return found


def weights_sha256(checkpoint: Checkpoint) -> str:
    """SHA-256 over the tensors in the order of their names: name, shape, type and values."""
    digest = hashlib.sha256()
    for name, tensor in sorted(checkpoint.weights.items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def backing_of_runs(workspace: Workspace, members: Sequence[Member]) -> Backing:
    """What the runs' own validation films say of their scores, or the reason why nothing does."""
    config = members[0].checkpoint.config
    try:
        tables = [member.run.predictions("val") for member in members if member.run is not None]
        known = [table for table in tables if table is not None]
        if len(known) < len(members):
            return no_backing(f"{len(members) - len(known)} of {len(members)} runs keep no predictions on validation films")
        return backing_of(known, config.class_names, config.ordinal, _manifest(workspace, config.dataset))
    except MammoError as error:
        return no_backing(str(error).rstrip("."))


def _manifest(workspace: Workspace, dataset: str) -> pd.DataFrame | None:
    try:
        return load_dataset(workspace, dataset).manifest()
    except MammoError:
        return None  # thresholds are then known for single films only


def origin_of(member: Member) -> dict[str, Any]:
    """What a result says about the model: architecture, epoch, seed, run, data set, split hash, counts, date, weights."""
    config, checkpoint = member.checkpoint.config, member.checkpoint
    known = {"arch": config.arch, "epoch": checkpoint.epoch, "seed": config.seed, **checkpoint.origin}
    return known | {"weights_sha256": member.weights_sha256}
