"""The words of a report pack: a caption for every figure, and the two documents that hold them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from mammo_core.analysis.calibration import Reliability
from mammo_core.analysis.thresholds import RankingCurve
from mammo_core.analysis.variance import SD_DEFINITION
from mammo_core.report.pack_words import imported_note, interval_words, origin
from mammo_core.report.plain_text import plain_in_file
from mammo_core.report.run_facts import NOT_RECORDED, PARTS, RunFacts, value_text
from mammo_core.runs.history import best_epoch, epoch_word
from mammo_core.runs.run_dir import RunDir
from mammo_core.runs.schema import MetricsFile
from mammo_core.settings import RESEARCH_ONLY

SMOOTHING = "Smoothing: none."
CHOSEN_ON = "The best epoch was chosen on these films, so the numbers flatter."


def figure_caption(finding: str, note: str) -> str:
    """The caption of a figure that a page offers: what it shows, where it comes from, and that nothing was smoothed."""
    smoothed = "" if "smooth" in note.lower() else f" {SMOOTHING}"
    return f"{finding} {note.rstrip('. ')}.{smoothed} {RESEARCH_ONLY}.".strip() + "\n"


def train_caption(facts: RunFacts, frame: pd.DataFrame) -> str:
    """What the training figure shows, and whether its two losses may be compared."""
    run = facts.run
    best = best_epoch(run.history())
    chosen = f"best {epoch_word(best)} by validation loss" if best else "no best epoch, since no validation loss is recorded"
    if facts.is_imported:
        return _imported_caption(facts, frame, chosen)
    weighted = ", class-weighted" if facts.config.class_weights != "none" else ""
    return (
        f"Training history of {run.id} ({facts.seed_words}): loss above, accuracy below; training films blue, validation films "
        f"orange. {len(frame)} of {facts.config.epochs} planned epochs; {chosen}. Training curves are measured during the epoch "
        f"(weights moving, augmentation as set{weighted}), the validation curves after it: the gap between them is no measure "
        f"of overfitting. n = 1 run, so no SD. {SMOOTHING}"
    )


def _imported_caption(facts: RunFacts, frame: pd.DataFrame, chosen: str) -> str:
    planned = facts.planned_epochs
    epochs = f"{len(frame)} epochs (how many were planned: {NOT_RECORDED})"
    if planned is not None:
        epochs = f"{len(frame)} of {planned} planned epochs"
    return (
        f"Training history of {facts.run.id}, {origin(facts)}; {facts.seed_words}. Training curves blue, validation curves "
        f"orange. {epochs}; {chosen}. The unit of the loss, the films, the settings, and whether training curves were measured "
        f"during or after the epoch: {NOT_RECORDED}; the gap between the curves is no measure of overfitting. n = 1 run, so no "
        f"SD. {SMOOTHING}"
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
    how = interval_words({curve.title: [curve.auc] for curve in curves})
    return (
        f"Receiver operating characteristic of {facts.run.id} on the {_films(facts, on)}: {'; '.join(told)}. "
        f"{how}{' ' if how else ''}Dotted: chance. {SMOOTHING}{_flattered(on)}"
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


def curves_caption(title: str, runs: Sequence[RunDir]) -> str:
    return (
        f"{title} of {_listed(runs)}: each run thin, their mean bold, mean ± SD as a band where at least two runs "
        f"have the epoch. {SD_DEFINITION}, n = {len(runs)}.{imported_note(runs)} {SMOOTHING}"
    )


def dots_caption(runs: Sequence[RunDir]) -> str:
    return (
        f"Validation metrics of {_listed(runs)}, each at its best epoch: every run a ring, their mean a diamond, mean ± SD "
        f"a line. {SD_DEFINITION}, n = {len(runs)}.{imported_note(runs) or f' {CHOSEN_ON}'}"
    )


def comparison_caption(groups: Mapping[str, Sequence[RunDir]]) -> str:
    told = "; ".join(f"{name}: {', '.join(run.name for run in runs)} (n = {len(runs)})" for name, runs in groups.items())
    notes = "".join(f" {name}:{note}" for name, runs in groups.items() if (note := imported_note(runs)))
    return f"{told}. {SD_DEFINITION}.{notes} {SMOOTHING}"


def _listed(runs: Sequence[RunDir]) -> str:
    return ", ".join(run.id for run in runs)


def source_note(facts: RunFacts) -> str:
    """What a figure keeps inside: run, where it comes from, that nothing was smoothed, and the notice."""
    came = origin(facts) if facts.is_imported else f"code {(facts.summary.git_commit if facts.summary else None) or NOT_RECORDED}"
    return f"MammoTrace, run {facts.run.id}, {came}, not smoothed. {RESEARCH_ONLY}."


def captions_document(captions: Sequence[str], runs: Sequence[RunDir], counted: Sequence[RunDir]) -> str:
    """``captions.md``; ``counted`` are the runs that stand in tables and figures over runs."""
    names = dict.fromkeys(run.experiment for run in counted)
    groups = {name: [run.name for run in counted if run.experiment == name] for name in names}
    told = "; ".join(f"{name}: {', '.join(members)} (n = {len(members)})" for name, members in groups.items()) or "none"
    head = (
        f"# Captions\n\n**{RESEARCH_ONLY}**\n\nRuns in this pack: {_listed(runs)}. Counted in means and SDs: {told}. "
        f"{SD_DEFINITION}.\n\n"
    )
    return head + "\n\n".join(captions) + "\n"


def readme_document(files: Sequence[str], problems: Sequence[str], runs: Sequence[RunDir], how: tuple[str, str]) -> str:
    """``README.md``: what is in the folder, how to make it again, and what is missing.

    ``how`` holds the size of the figures in words, and the options of the command that makes the pack.
    """
    arguments = " ".join(f"--run {run.id}" for run in runs)
    listed = "".join(f"- {name}\n" for name in sorted(files))
    missing = "".join(f"- {plain_in_file(problem)}\n" for problem in problems) or "- Nothing.\n"
    return (
        f"# Report pack\n\n**{RESEARCH_ONLY}**\n\n"
        f"Made by MammoTrace from {len(runs)} run(s). Figures are {how[0]}; the letters (Liberation Sans, as wide as "
        "Arial) are inside PDF and SVG. The text of each figure is in captions.md, the numbers behind it in data/; run and "
        "code version also stand inside PNG, SVG and PDF files. What journals ask for is sorted in checklists/; reproduce/ says "
        "how to train again and how to check that no file was changed.\n\n"
        "To make it again:\n\n"
        f"    python -m mammo_core report-pack {arguments} --assets-dir DIR {how[1]}\n\n"
        f"## Files\n\n{listed}\n## What is missing, and remarks\n\n{missing}"
    )
