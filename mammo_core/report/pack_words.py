"""Words that captions, tables and cards of a report pack share: how intervals were made, and what another tool's files say."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mammo_core.analysis.metrics import TITLES
from mammo_core.analysis.variance import Spread
from mammo_core.report.privacy import cleaned
from mammo_core.report.run_facts import NOT_RECORDED, RunFacts
from mammo_core.runs.run_dir import RunDir
from mammo_core.runs.schema import MetricValue

STATED = {
    "seed": "Seed",
    "planned_epochs": "Planned epochs",
    "class_names": "Classes",
    "patience": "Patience of early stopping, epochs",
    "warmup_epochs": "Warm-up, epochs",
    "label_smoothing": "Label smoothing",
    "n_val": "Validation cases",
}
"""What the files of another tool may say of a run beside its curves."""


# ---- intervals ------------------------------------------------------------------------------------------------------------


def interval_words(columns: Mapping[str, Iterable[MetricValue | int | None]]) -> str:
    """How the intervals of a table or caption were made, by column where the columns differ; nothing without an interval."""
    kinds: dict[str, dict[str, None]] = {}
    for title, values in columns.items():
        for value in values:
            if isinstance(value, MetricValue) and value.ci_low is not None:
                kinds.setdefault(_interval_kind(value.method), {})[title] = None
    told = [kind if len(kinds) == 1 else f"{kind} ({', '.join(titles)})" for kind, titles in kinds.items()]
    return f"95 % intervals: {'; '.join(told)}." if told else ""


def _interval_kind(method: str) -> str:
    found = re.search(r"95 % interval: ([^;]*)", method)
    return re.sub(r"n = \d+ patients.*", "n = patients", found[1].strip()) if found else f"method {NOT_RECORDED}"


def mean_interval(spread: Spread, has_folds: bool) -> str:
    """The interval of a mean over runs; for folds it says that it is wider for the training films that they share."""
    if spread.ci_low is None or spread.ci_high is None:
        return ""
    folds = ", widened for the training films that folds share (Nadeau and Bengio)" if has_folds else ""
    return f"95 % t interval of the mean {spread.ci_low:.3f} to {spread.ci_high:.3f}{folds}"


# ---- runs that another tool trained ---------------------------------------------------------------------------------------


def origin(facts: RunFacts) -> str:
    """``imported from log.csv (Keras CSVLogger)``."""
    record = facts.import_record
    file, source = cleaned(record.get("file") or ""), record.get("source")
    return f"imported from {file or 'another tool'}" + (f" ({source})" if source else "")


def stated_rows(facts: RunFacts) -> dict[str, str]:
    """What the other tool's files say, in words; everything else ``not recorded``."""
    return {title: _stated(facts.stated.get(key)) for key, title in STATED.items()}


def _stated(value: Any) -> str:
    if value is None or value in ([], {}, ""):
        return NOT_RECORDED
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def stated_metrics(facts: RunFacts) -> dict[str, float]:
    """The other tool's own evaluation, under this app's metric names."""
    found = facts.stated.get("metrics")
    pairs = found.items() if isinstance(found, Mapping) else ()
    return {name: float(value) for name, value in pairs if isinstance(value, int | float) and not isinstance(value, bool)}


def stated_results(facts: RunFacts) -> str:
    """The same as a sentence, or ``not recorded``."""
    told = ", ".join(f"{TITLES.get(name, name)} {value:.3f}" for name, value in stated_metrics(facts).items())
    where = "as the other tool's own evaluation says; which cases and which epoch"
    return f"{told} ({where}: {NOT_RECORDED})" if told else NOT_RECORDED


def imported_note(runs: Sequence[RunDir]) -> str:
    """What a reader of means over imported runs must know; nothing where all runs are this app's."""
    found = [run.name for run in runs if RunFacts(run).is_imported]
    if not found:
        return ""
    which = "The runs were" if len(found) == len(runs) else f"{', '.join(found)} were"
    return (
        f" {which} trained by another tool: the numbers are as its files give them; films and settings are {NOT_RECORDED}, and "
        "seeds where its files do not name them."
    )
