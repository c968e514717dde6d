"""The words of a report pack: a caption for every figure, and the two documents that hold them."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from mammo_core.analysis.variance import SD_DEFINITION
from mammo_core.report.charts_history import lowest_epoch
from mammo_core.runs.run_dir import RunDir
from mammo_core.runs.schema import MetricsFile
from mammo_core.settings import RESEARCH_ONLY


def train_caption(run: RunDir, frame: pd.DataFrame) -> str:
    """What the training figure shows, and whether its two losses may be compared."""
    config = run.config()
    fold = "" if config.fold is None else f", fold {config.fold}"
    weighted = ", class-weighted" if config.class_weights != "none" else ""
    return (
        f"Training history of {run.id} (seed {config.seed}{fold}): loss above, accuracy below; training films blue, validation "
        f"films orange. {len(frame)} of {config.epochs} planned epochs; best epoch {lowest_epoch(frame, 'val_loss')} by "
        f"validation loss. Training curves are measured during the epoch (weights moving, augmentation as set{weighted}), the "
        "validation curves after it: the gap between them is no measure of overfitting."
    )


def confusion_caption(run: RunDir, metrics: MetricsFile, words: str) -> str:
    return (
        f"Confusion matrix of {run.id} on {metrics.n} {words} films of {metrics.patients} patients at epoch {metrics.epoch}: "
        "films, and their share of the true class."
    )


def gradcam_caption(run: RunDir) -> str:
    return (
        f"Grad-CAM of {run.id}: where evidence for the predicted class came from, at the coarse scale of the network's last "
        "layer. It is not a lesion detection, and colours are relative within each film."
    )


def seeds_caption(run_ids: Sequence[str]) -> str:
    return (
        f"Validation loss of {', '.join(run_ids)}: each run thin, their mean bold, mean ± SD as a band where at least two runs "
        f"have the epoch. {SD_DEFINITION}, n = {len(run_ids)}."
    )


def source_note(run: RunDir) -> str:
    """What a figure keeps inside: run, code version, that nothing was smoothed, and the notice."""
    summary = run.summary()
    commit = (summary.git_commit if summary else None) or "not recorded"
    return f"MammoTrace, run {run.id}, code {commit}, not smoothed. {RESEARCH_ONLY}."


def captions_document(captions: Sequence[str], runs: Sequence[RunDir]) -> str:
    """``captions.md``."""
    listed = ", ".join(run.id for run in runs)
    head = f"# Captions\n\n**{RESEARCH_ONLY}**\n\nRuns (n = {len(runs)}): {listed}. {SD_DEFINITION}.\n\n"
    return head + "\n\n".join(captions) + "\n"


def readme_document(files: Sequence[str], problems: Sequence[str], runs: Sequence[RunDir], formats: Sequence[str]) -> str:
    """``README.md``: what is in the folder, how to make it again, and what is missing."""
    arguments = " ".join(f"--run {run.id}" for run in runs)
    listed = "".join(f"- {name}\n" for name in sorted(files))
    missing = "".join(f"- {problem}\n" for problem in problems) or "- Nothing.\n"
    return (
        f"# Report pack\n\n**{RESEARCH_ONLY}**\n\n"
        f"Made by MammoTrace from {len(runs)} run(s). Figures are 85 mm wide; PNG has 300 pixels per inch. The text of each "
        "figure is in captions.md; the run and the code version also stand inside PNG and SVG files.\n\n"
        "To make it again:\n\n"
        f"    python -m mammo_core report-pack {arguments} --assets-dir DIR --format {','.join(formats)}\n\n"
        f"## Files\n\n{listed}\n## What is missing\n\n{missing}"
    )
