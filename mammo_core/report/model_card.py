"""A model card: what a model is, what it was made from, how good it is and where it must not be used, from the run's own files.

The headings follow Mitchell et al. (2019), doi:10.1145/3287560.3287596. What the files do not say is left for the author and
marked as such, never guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from mammo_core.analysis.finished import finished_runs, split_hash
from mammo_core.analysis.metrics import TITLES
from mammo_core.analysis.variance import metric_spread
from mammo_core.config import TrainConfig
from mammo_core.errors import CorruptRunFile
from mammo_core.reading import read_json
from mammo_core.report.checklist_answers import centres_counted, left_out, preprocessing
from mammo_core.report.checklist_results import failures
from mammo_core.report.model_card_results import calibration, centres, performance, thresholds
from mammo_core.report.pack_words import mean_interval, origin, stated_metrics, stated_rows
from mammo_core.report.plain_text import plain_in_file
from mammo_core.report.privacy import without_places
from mammo_core.report.run_facts import NOT_RECORDED, Known, RunFacts
from mammo_core.report.split_words import override_words, patient_words, shared_words, warning_words
from mammo_core.report.tables import to_markdown
from mammo_core.runs.history import best_epoch, epoch_word
from mammo_core.runs.run_dir import RunDir
from mammo_core.runs.schema import Summary
from mammo_core.settings import RESEARCH_ONLY
from mammo_core.storage import sha256_of

SYNTHETIC = "**The films are synthetic (made by a program); no number here says anything about patients.**"
TO_BE_WRITTEN = "*To be written by the author.*"
SHOWN_SETTINGS = (
    *("arch", "weights", "init_from", "image_size", "augment", "epochs", "warmup_epochs", "early_stopping_patience"),
    *("optimizer", "lr", "min_lr", "weight_decay", "batch_size", "class_weights", "label_smoothing", "dropout"),
    *("view", "sampler", "mixup", "backbone_lr_factor", "ema_decay", "loss", "precision"),
)


def model_card(run: RunDir, dataset: Mapping[str, Any] | None = None) -> str:
    """The model card of one run as Markdown.

    Parameters
    ----------
    dataset : mapping, optional
        The content of the data set's ``dataset.json`` where it is at hand; says whether the films are synthetic.

    Raises
    ------
    CorruptRunFile, ConfigError
        The run's configuration cannot be read. Everything else may be missing and is then said to be.
    """
    return model_card_of(RunFacts(run, Known(dataset or {})))


def model_card_of(facts: RunFacts) -> str:
    """:func:`model_card` from facts that are at hand."""
    title = f"# Model card: {facts.run.id}\n\n**{RESEARCH_ONLY}**"
    if facts.is_imported:
        return without_places(f"{title}\n\n{_imported(facts)}") + "\n"
    parts = [
        title,
        *([SYNTHETIC] if facts.synthetic else []),
        _identity(facts),
        _use(facts.config),
        _data(facts),
        _input(facts),
        _training(facts),
        performance(facts),
        calibration(facts),
        thresholds(facts),
        centres(facts),
        _seeds(facts.run),
        _limits(facts),
        _citation(facts),
    ]
    return without_places("\n\n".join(parts)) + "\n"


def _identity(facts: RunFacts) -> str:
    config, summary, environment = facts.config, facts.summary, facts.environment
    recorded = environment.get("packages")
    packages = recorded if isinstance(recorded, dict) else {}
    versions = ", ".join(f"{name} {packages[name]}" for name in ("torch", "timm", "numpy", "pydicom") if name in packages)
    count, checkpoint = facts.known.parameters, facts.run.best_model
    rows = {
        "Task": plain_in_file(f"{config.task}: {', '.join(config.class_names)}") + (" (ordinal)" if config.ordinal else ""),
        "Architecture": plain_in_file(f"{config.arch}, first weights: {facts.first_weights}"),
        "Parameters": NOT_RECORDED if count is None else f"{count:,}",
        "Seed": str(config.seed) + (f", fold {config.fold}" if config.fold is not None else ""),
        "State": _state(facts.run, summary),
        "Checkpoint": f"best_model.pth of epoch {summary.best_epoch} (lowest validation loss)" if summary else "not finished",
        "SHA-256 of the checkpoint": f"`{sha256_of(checkpoint)}`" if checkpoint.exists() else NOT_RECORDED,
        "Code version": plain_in_file(facts.commit),
        "Software": plain_in_file(versions) or NOT_RECORDED,
        "Device": plain_in_file(environment.get("device", NOT_RECORDED)),
        "Licence and contact": TO_BE_WRITTEN,
    }
    return "## Model\n\n" + "".join(f"- {key}: {value}\n" for key, value in rows.items()).rstrip()


def _state(run: RunDir, summary: Summary | None) -> str:
    if summary is None:
        return run.state()
    return f"{run.state()} after {summary.epochs_run} epochs ({summary.stop_reason.replace('_', ' ')})"


def _imported(facts: RunFacts) -> str:
    history = facts.run.history()
    best = best_epoch(history)
    rows = {
        "Source": origin(facts),
        "Epochs in the history": str(len(history)),
        "Best epoch by validation loss": NOT_RECORDED if best is None else epoch_word(best),
        **stated_rows(facts),
        "Model, data, split, other settings, code and software": NOT_RECORDED,
    }
    listed = "".join(f"- {key}: {plain_in_file(value)}\n" for key, value in rows.items())
    results = "".join(
        f"- {plain_in_file(TITLES.get(name, name))}: {value:.3f}\n" for name, value in stated_metrics(facts).items()
    )
    results = results or f"{NOT_RECORDED}\n"
    where = ""
    if stated_metrics(facts):
        where = f"As the other tool's own evaluation says; which cases and which epoch: {NOT_RECORDED}.\n\n"
    return (
        "## Model\n\nThis is a training history that was imported from another tool; only its curves and what its files say are "
        f"known.\n\n{listed}\n## Performance\n\n{where}{results}\n### Did it converge?\n\n"
        f"{_verdict(facts)}\n\nEverything else: {TO_BE_WRITTEN}"
    )


def _use(config: TrainConfig) -> str:
    return (
        "## Intended use\n\n"
        f"Research on {plain_in_file(config.task)} classification of mammograms prepared as described below: comparing training "
        "set-ups, teaching, and studies with their own reference standard.\n\n"
        "## Out of scope\n\n"
        "Diagnosis, screening, triage or any decision about a patient; films from other modalities, raw (for processing) films, "
        f"tomosynthesis or magnification views; any class other than {plain_in_file(', '.join(config.class_names))}. "
        "The model has not been cleared as a medical device."
    )


def _data(facts: RunFacts) -> str:
    config, summary, split = facts.config, facts.summary, facts.split
    lines = [f"Data set `{config.dataset or NOT_RECORDED}`, split `{config.split or NOT_RECORDED}`. {_origin(facts.synthetic)}"]
    if summary and summary.counts:
        rows = [
            {"Split": part} | {name: counts.get(name, 0) for name in config.class_names} | {"Films": sum(counts.values())}
            for part, counts in summary.counts.items()
        ]
        lines.append(to_markdown(pd.DataFrame(rows)).rstrip())
    lines.append(f"Films of each centre: {plain_in_file(centres_counted([facts]))}")
    lines.append(_proof(facts.run, split))
    lines.append(f"Left out. {plain_in_file(left_out([facts]))}")
    lines.append(f"Eligibility, reference standard and readers: {TO_BE_WRITTEN}")
    return "## Data\n\n" + "\n\n".join(lines)


def _origin(synthetic: bool | None) -> str:
    if synthetic is None:
        return "The run's files do not say whether the films are synthetic."
    return SYNTHETIC if synthetic else "The films are not marked as synthetic."


def _input(facts: RunFacts) -> str:
    return (
        "## Input\n\n"
        "One mammography film (one breast, one view), as stored for presentation. "
        f"{preprocessing([facts])} The output is a probability for each class; the highest is called."
    )


def _proof(run: RunDir, split: Mapping[str, Any]) -> str:
    """How the parts are kept apart, how far that can be trusted, and why a leak was accepted."""
    proof = split.get("proof")
    sha = split_hash(run) or "not recorded"
    if not isinstance(proof, Mapping):
        told = f"Separation of the splits: **not proven in the run's files**. SHA-256 of the split: `{sha}`."
    else:
        shared = plain_in_file(f"(scheme {split.get('scheme', 'not recorded')}): {shared_words(proof)}")
        told = f"Separation of the splits {shared}. SHA-256 of the split: `{sha}`."
    accepted = plain_in_file(override_words(split))
    warnings = "".join(f"\n- {plain_in_file(warning)}" for warning in warning_words(split))
    parts = [
        told,
        plain_in_file(patient_words(split)),
        f"**{accepted}**" if accepted else "",
        f"Warnings:\n{warnings}" if warnings else "",
    ]
    return "\n\n".join(part for part in parts if part)


def _seeds(run: RunDir) -> str:
    """What the other runs of the experiment say about the part of chance, from the summaries beside the run."""
    for name in ("seeds_summary.json", "cv_summary.json"):
        found = _json(run.path.parent / name)
        listed = [entry.get("run") for entry in found.get("runs", [])]
        if run.name in listed:
            kept, _ = finished_runs([RunDir(run.path.parent / str(other)) for other in listed])
            has_folds = any(finished.config.fold is not None for finished in kept)
            spreads = {m: metric_spread(kept, m) for m in found.get("metrics", {}) if m in TITLES}
            rows = "".join(
                f"- {TITLES[m]}: {spread.text()}{f'; {how}' if (how := mean_interval(spread, has_folds)) else ''}\n"
                for m, spread in spreads.items()
            )
            counted = ", ".join(finished.run.name for finished in kept)
            return f"## Variation over {found.get('kind', 'runs')}\n\nRuns: {counted}.\n\n{rows}".rstrip()
    return "## Variation over seeds\n\nThis run is not part of a summary over seeds, so how much chance matters is unknown."


def _training(facts: RunFacts) -> str:
    values = facts.config.to_dict()
    listed = "".join(f"- {key}: {plain_in_file(values[key])}\n" for key in SHOWN_SETTINGS if values[key] is not None)
    return f"## Training\n\n{listed}\n### Did it converge?\n\n{_verdict(facts)}"


def _verdict(facts: RunFacts) -> str:
    found = facts.diagnosis
    if found is None:
        return f"Verdict: {NOT_RECORDED}, since there is no finished epoch."
    told = [
        f"- {finding['severity']}: {plain_in_file(finding['text'])}"
        for finding in found.get("findings", [])
        if finding.get("severity") in ("critical", "error", "warning")
    ]
    verdict, confidence = (plain_in_file(found.get(key, NOT_RECORDED)) for key in ("verdict", "confidence"))
    text = f"Verdict: **{verdict}** ({confidence} confidence). {plain_in_file(found.get('headline', ''))}"
    return "\n".join([text.rstrip(), *(["", *told] if told else [])])


def _limits(facts: RunFacts) -> str:
    config, summary = facts.config, facts.summary
    lines = [
        "The predicted class is the one with the highest score; the thresholds above are not part of the model.",
        "Scores are not calibrated probabilities unless the temperature above is applied.",
        "Validation metrics come from the films on which the best epoch was chosen.",
        "Grad-CAM maps are coarse and are no lesion detection; their sanity checks are not recorded in this card.",
    ]
    if facts.metrics("test") is None:
        lines.append("There is no result on untouched test films.")
    if not facts.is_held_out:
        lines.append("Whether it works on films of another centre: not recorded.")
    if accepted := override_words(facts.split):
        lines.append(plain_in_file(accepted))
    if config.class_weights != "none" and config.class_weights:
        lines.append("The training loss is class-weighted and the validation loss is not; the two curves are not comparable.")
    small = _small_classes(facts)
    if small:
        lines.append(f"Fewer than 30 validation films of {plain_in_file(', '.join(small))}: their numbers are rough.")
    if summary and summary.best_epoch >= summary.epochs_run:
        lines.append("The best epoch is the last one; the run may not have converged.")
    lines += [f"Known failures: {failures([facts])}", f"Fairness, privacy, ethics: {TO_BE_WRITTEN}"]
    return "## Limits\n\n" + "\n".join(f"- {line}" for line in lines)


def _small_classes(facts: RunFacts) -> list[str]:
    metrics = facts.metrics("val")
    if metrics is None:
        return []
    return [name for name, values in metrics.per_class.items() if isinstance(n := values.get("n"), int) and n < 30]


def _citation(facts: RunFacts) -> str:
    sha = split_hash(facts.run)
    split = f"split SHA-256 {sha[:12]}" if sha else "split not recorded"
    config = facts.config
    made = plain_in_file(f"{config.arch}, seed {config.seed}, code {facts.commit[:12]}, {split}")
    return (
        "## How to cite\n\n"
        f"MammoTrace run {facts.run.id} ({made}). "
        f"Authors, title, year and link: {TO_BE_WRITTEN} Cite the data set and the pretrained weights too."
    )


def _json(path: Path) -> dict[str, Any]:
    try:
        value = read_json(path)
    except (FileNotFoundError, CorruptRunFile):
        return {}
    return value if isinstance(value, dict) else {}
