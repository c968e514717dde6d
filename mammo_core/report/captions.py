"""The words of a report pack: a caption for every figure, and the two documents that hold them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from mammo_core.analysis.calibration import Reliability
from mammo_core.analysis.thresholds import RankingCurve
from mammo_core.analysis.variance import SD_DEFINITION
from mammo_core.report.charts_history import lowest_epoch
from mammo_core.report.run_facts import PARTS, RunFacts, value_text
from mammo_core.runs.run_dir import RunDir
from mammo_core.runs.schema import MetricsFile
from mammo_core.settings import RESEARCH_ONLY

SMOOTHING = "Smoothing: none."
CHOSEN_ON = "The best epoch was chosen on these films, so the numbers flatter."


def figure_caption(finding: str, note: str) -> str:
    """The caption of a figure that a page offers: what it shows, where it comes from, and that nothing was smoothed."""
    smoothed = "" if "smooth" in note.lower() else f" {SMOOTHING}"
    return f"{finding} {note.rstrip('. ')}.{smoothed} {RESEARCH_ONLY}.".strip() + "\n"


def train_caption(run: RunDir, frame: pd.DataFrame) -> str:
    """What the training figure shows, and whether its two losses may be compared."""
    config = run.config()
    fold = "" if config.fold is None else f", fold {config.fold}"
    weighted = ", class-weighted" if config.class_weights != "none" else ""
    return (
        f"Training history of {run.id} (seed {config.seed}{fold}): loss above, accuracy below; training films blue, validation "
        f"films orange. {len(frame)} of {config.epochs} planned epochs; best epoch {lowest_epoch(frame, 'val_loss')} by "
        f"validation loss. Training curves are measured during the epoch (weights moving, augmentation as set{weighted}), the "
        f"validation curves after it: the gap between them is no measure of overfitting. n = 1 run, so no SD. {SMOOTHING}"
    )


def confusion_caption(run: RunDir, metrics: MetricsFile, words: str) -> str:
    return (
        f"Confusion matrix of {run.id} on {metrics.n} {words} films of {metrics.patients} patients at epoch {metrics.epoch}: "
        f"films, and their share of the true class. {CHOSEN_ON if words == 'validation' else ''}".rstrip()
    )


def roc_caption(facts: RunFacts, on: str, curves: Sequence[RankingCurve]) -> str:
    """What each curve is about, with its AUC and interval; curves that are undefined with the reason."""
    told = [
        f"{curve.title}: {f'no curve ({curve.undefined})' if curve.undefined else f'AUC {value_text(curve.auc)}'}"
        f", {curve.positives} of {curve.films} films positive"
        for curve in curves
    ]
    return (
        f"Receiver operating characteristic of {facts.run.id} on the {_films(facts, on)}: {'; '.join(told)}. Intervals: 95 %, "
        f"bootstrap of patients. Dotted: chance. {SMOOTHING}{_flattered(on)}"
    )


def calibration_caption(facts: RunFacts, on: str, curve: Reliability, after: Reliability | None) -> str:
    text = (
        f"Reliability of {facts.run.id} on the {_films(facts, on)}: share of right calls against the probability of the called "
        f"class, in bins of equally many films with 95 % Wilson intervals; below, films by probability. Expected calibration "
        f"error {curve.error:.3f}; a perfectly calibrated model of this n would show {curve.null_low:.3f} to "
        f"{curve.null_high:.3f} (grey band: the same bin by bin)."
    )
    if after is not None and facts.temperature is not None:
        text += (
            f" After temperature scaling (T = {facts.temperature.value:.2f}, fitted on {facts.temperature.films} validation "
            f"films) {after.error:.3f}."
        )
    return f"{text} {SMOOTHING}{_flattered(on)}"


def _films(facts: RunFacts, on: str) -> str:
    table = facts.predictions[on]
    return f"{len(table)} {PARTS[on]} films of {table['patient_id'].nunique()} patients"


def _flattered(on: str) -> str:
    return f" {CHOSEN_ON}" if on == "val" else ""


def gradcam_caption(run: RunDir) -> str:
    return (
        f"Grad-CAM of {run.id}: where evidence for the predicted class came from, at the coarse scale of the network's last "
        "layer. It is not a lesion detection, and colours are relative within each film."
    )


def curves_caption(title: str, run_ids: Sequence[str]) -> str:
    return (
        f"{title} of {', '.join(run_ids)}: each run thin, their mean bold, mean ± SD as a band where at least two runs "
        f"have the epoch. {SD_DEFINITION}, n = {len(run_ids)}. {SMOOTHING}"
    )


def dots_caption(run_ids: Sequence[str]) -> str:
    return (
        f"Validation metrics of {', '.join(run_ids)}, each at its best epoch: every run a ring, their mean a diamond, mean ± SD "
        f"a line. {SD_DEFINITION}, n = {len(run_ids)}. {CHOSEN_ON}"
    )


def comparison_caption(groups: Mapping[str, Sequence[RunDir]]) -> str:
    told = "; ".join(f"{name}: {', '.join(run.name for run in runs)} (n = {len(runs)})" for name, runs in groups.items())
    return f"{told}. {SD_DEFINITION}. {SMOOTHING}"


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


def readme_document(files: Sequence[str], problems: Sequence[str], runs: Sequence[RunDir], how: tuple[str, str]) -> str:
    """``README.md``: what is in the folder, how to make it again, and what is missing.

    ``how`` holds the size of the figures in words, and the options of the command that makes the pack.
    """
    arguments = " ".join(f"--run {run.id}" for run in runs)
    listed = "".join(f"- {name}\n" for name in sorted(files))
    missing = "".join(f"- {problem}\n" for problem in problems) or "- Nothing.\n"
    return (
        f"# Report pack\n\n**{RESEARCH_ONLY}**\n\n"
        f"Made by MammoTrace from {len(runs)} run(s). Figures are {how[0]}; the letters (Liberation Sans, as wide as "
        "Arial) are inside PDF and SVG. The text of each figure is in captions.md, the numbers behind it in data/; run and "
        "code version also stand inside PNG, SVG and PDF files. What journals ask for is sorted in checklists/; reproduce/ says "
        "how to train again and how to check that no file was changed.\n\n"
        "To make it again:\n\n"
        f"    python -m mammo_core report-pack {arguments} --assets-dir DIR {how[1]}\n\n"
        f"## Files\n\n{listed}\n## What is missing\n\n{missing}"
    )
