"""A model card: what a model is, what it was made from, how good it is and where it must not be used, from the run's own files.

The headings follow Mitchell et al. (2019), doi:10.1145/3287560.3287596. What the files do not say is left for the author and
marked as such, never guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from mammo_core.analysis.metrics import TITLES
from mammo_core.analysis.variance import Spread, describe, split_hash
from mammo_core.config import TrainConfig
from mammo_core.errors import CorruptRunFile
from mammo_core.report.tables import to_markdown
from mammo_core.runs.run_dir import RunDir
from mammo_core.runs.schema import MetricsFile, MetricValue, Summary
from mammo_core.settings import RESEARCH_ONLY
from mammo_core.storage import read_json

TO_BE_WRITTEN = "*To be written by the author.*"
SHOWN_SETTINGS = (
    *("arch", "weights", "init_from", "image_size", "augment", "epochs", "warmup_epochs", "early_stopping_patience"),
    *("optimizer", "lr", "min_lr", "weight_decay", "batch_size", "class_weights", "label_smoothing", "dropout"),
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
    config, summary = run.config(), run.summary()
    parts = [
        f"# Model card: {run.id}\n\n**{RESEARCH_ONLY}**",
        _identity(run, config, summary),
        _use(config),
        _data(run, config, summary, dataset or {}),
        _metrics(run),
        _seeds(run),
        _settings(config),
        _limits(run, config, summary),
    ]
    return "\n\n".join(parts) + "\n"


def _identity(run: RunDir, config: TrainConfig, summary: Summary | None) -> str:
    environment = _json(run.environment_file)
    commit = (summary.git_commit if summary else None) or environment.get("git_commit") or "not recorded"
    recorded = environment.get("packages")
    packages = recorded if isinstance(recorded, dict) else {}
    versions = ", ".join(f"{name} {packages[name]}" for name in ("torch", "timm", "numpy", "pydicom") if name in packages)
    rows = {
        "Task": f"{config.task}: {', '.join(config.class_names)}" + (" (ordinal)" if config.ordinal else ""),
        "Architecture": f"{config.arch}, started from {config.init_from or config.weights} weights",
        "Seed": str(config.seed) + (f", fold {config.fold}" if config.fold is not None else ""),
        "State": _state(run, summary),
        "Checkpoint": f"best_model.pth of epoch {summary.best_epoch} (lowest validation loss)" if summary else "not finished",
        "Code version": str(commit) + (" with local changes" if environment.get("git_dirty") else ""),
        "Software": versions or "not recorded",
        "Device": str(environment.get("device", "not recorded")),
    }
    return "## Model\n\n" + "".join(f"- {key}: {value}\n" for key, value in rows.items()).rstrip()


def _state(run: RunDir, summary: Summary | None) -> str:
    if summary is None:
        return run.state()
    return f"{run.state()} after {summary.epochs_run} epochs ({summary.stop_reason.replace('_', ' ')})"


def _use(config: TrainConfig) -> str:
    return (
        "## Intended use\n\n"
        f"Research on {config.task} classification of mammograms prepared as described below: comparing training set-ups, "
        "teaching, and studies with their own reference standard.\n\n"
        "## Out of scope\n\n"
        "Diagnosis, screening, triage or any decision about a patient; films from other modalities, raw (for processing) films, "
        f"tomosynthesis or magnification views; any class other than {', '.join(config.class_names)}. "
        "The model has not been cleared as a medical device."
    )


def _data(run: RunDir, config: TrainConfig, summary: Summary | None, dataset: Mapping[str, Any]) -> str:
    split = run.split_info()
    lines = [
        f"Data set `{config.dataset or 'not recorded'}`, split `{config.split or 'not recorded'}`. {_origin(split, dataset)}"
    ]
    if summary and summary.counts:
        rows = [
            {"Split": part} | {name: counts.get(name, 0) for name in config.class_names} | {"Films": sum(counts.values())}
            for part, counts in summary.counts.items()
        ]
        lines.append(to_markdown(pd.DataFrame(rows)).rstrip())
    lines.append(_proof(run, split))
    lines.append(f"Eligibility, reference standard and readers: {TO_BE_WRITTEN}")
    return "## Data\n\n" + "\n\n".join(lines)


def _origin(split: Mapping[str, Any], dataset: Mapping[str, Any]) -> str:
    synthetic = dataset.get("synthetic", split.get("synthetic"))
    if synthetic is True:
        return "**The films are synthetic (made by a program); no number here says anything about patients.**"
    if synthetic is False:
        return "The films are not marked as synthetic."
    return "The run's files do not say whether the films are synthetic."


def _proof(run: RunDir, split: Mapping[str, Any]) -> str:
    proof = split.get("proof")
    sha = split_hash(run) or "not recorded"
    if not isinstance(proof, Mapping):
        return f"Separation of the splits: **not proven in the run's files**. SHA-256 of the split: `{sha}`."
    stated = "; ".join(f"{str(key).replace('_', ' ')}: {_short(value)}" for key, value in proof.items())
    return f"Separation of the splits (scheme {split.get('scheme', 'not recorded')}): {stated}. SHA-256 of the split: `{sha}`."


def _short(value: Any) -> str:
    return str(len(value)) if isinstance(value, list | tuple | dict) else str(value)


def _metrics(run: RunDir) -> str:
    parts = ["## Performance"]
    for on, title in (("val", "Validation films (the best epoch was chosen on them, so these flatter)"), ("test", "Test films")):
        metrics = run.metrics(on)
        if metrics is None:
            parts.append(f"### {title}\n\nNot evaluated." if on == "test" else f"### {title}\n\nNo metrics yet.")
            continue
        looks = len(run.test_looks()) if on == "test" else 0
        note = f" The test films were looked at {looks} time(s)." if looks else ""
        parts.append(f"### {title}\n\n{metrics.n} films of {metrics.patients} patients, epoch {metrics.epoch}.{note}")
        parts.append(_metric_table(metrics) + "\n" + _class_table(metrics))
    return "\n\n".join(part.rstrip("\n") for part in parts)


def _metric_table(metrics: MetricsFile) -> str:
    rows = [
        {"Metric": TITLES.get(name, name), "Value": _value(found), "95 % interval": _interval(found), "How": found.method}
        for name, found in metrics.metrics.items()
    ]
    return to_markdown(pd.DataFrame(rows), words=["How"])


def _class_table(metrics: MetricsFile) -> str:
    columns = {"sensitivity": "Sensitivity", "specificity": "Specificity", "ppv": "PPV", "auc": "AUC"}
    rows = []
    for name, values in metrics.per_class.items():
        cells = {title: _with_interval(values.get(column)) for column, title in columns.items()}
        rows.append({"Class": name, "Films": values.get("n", "")} | cells)
    return to_markdown(pd.DataFrame(rows))


def _value(metric: MetricValue) -> str:
    return "undefined" if metric.value is None else f"{metric.value:.3f}"


def _interval(metric: MetricValue) -> str:
    return "" if metric.ci_low is None or metric.ci_high is None else f"{metric.ci_low:.3f} to {metric.ci_high:.3f}"


def _with_interval(metric: MetricValue | int | None) -> str:
    if not isinstance(metric, MetricValue):
        return "not recorded"
    interval = _interval(metric)
    return f"{_value(metric)} ({interval})" if interval else _value(metric)


def _seeds(run: RunDir) -> str:
    """What the other runs of the experiment say about the part of chance, from the summaries beside the run."""
    for name in ("seeds_summary.json", "cv_summary.json"):
        found = _json(run.path.parent / name)
        listed = [entry.get("run") for entry in found.get("runs", [])]
        if run.name in listed:
            spreads: dict[str, Spread] = {m: describe(v.get("values", [])) for m, v in found.get("metrics", {}).items()}
            rows = "".join(f"- {TITLES.get(m, m)}: {spread.text()}\n" for m, spread in spreads.items() if m in TITLES)
            return f"## Variation over {found.get('kind', 'runs')}\n\nRuns: {', '.join(listed)}.\n\n{rows}".rstrip()
    return "## Variation over seeds\n\nThis run is not part of a summary over seeds, so how much chance matters is unknown."


def _settings(config: TrainConfig) -> str:
    values = config.to_dict()
    return "## Training\n\n" + "".join(f"- {key}: {values[key]}\n" for key in SHOWN_SETTINGS if values[key] is not None).rstrip()


def _limits(run: RunDir, config: TrainConfig, summary: Summary | None) -> str:
    lines = [
        "Thresholds: none were fixed; the predicted class is the one with the highest score.",
        "Scores are not calibrated probabilities unless a calibration is stated.",
        "Validation metrics come from the films on which the best epoch was chosen.",
    ]
    if run.metrics("test") is None:
        lines.append("There is no result on untouched test films.")
    if config.class_weights != "none" and config.class_weights:
        lines.append("The training loss is class-weighted and the validation loss is not; the two curves are not comparable.")
    small = _small_classes(run)
    if small:
        lines.append(f"Fewer than 30 validation films of {', '.join(small)}: their numbers are rough.")
    if summary and summary.best_epoch >= summary.epochs_run:
        lines.append("The best epoch is the last one; the run may not have converged.")
    return "## Limits\n\n" + "\n".join(f"- {line}" for line in lines) + f"\n- Known failures, fairness, privacy: {TO_BE_WRITTEN}"


def _small_classes(run: RunDir) -> list[str]:
    metrics = run.metrics("val")
    if metrics is None:
        return []
    return [name for name, values in metrics.per_class.items() if isinstance(n := values.get("n"), int) and n < 30]


def _json(path: Path) -> dict[str, Any]:
    try:
        value = read_json(path)
    except (FileNotFoundError, CorruptRunFile):
        return {}
    return value if isinstance(value, dict) else {}
