"""The tables of a report pack, each as CSV with everything, and as Markdown and LaTeX for reading."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from mammo_core.analysis.experiment_summary import summarise_experiment
from mammo_core.analysis.finished import FinishedRun, finished_runs
from mammo_core.analysis.metrics import TITLES
from mammo_core.analysis.variance import SD_DEFINITION, describe, metric_names, metric_spread
from mammo_core.report.pack_words import imported_note, interval_words
from mammo_core.report.plain_text import plain_in_file
from mammo_core.report.run_facts import NOT_RECORDED, PARTS, RunFacts
from mammo_core.report.tables import safe_csv, seed_caption, seed_numbers, seed_table, to_latex, to_markdown
from mammo_core.runs.run_dir import RunDir
from mammo_core.runs.schema import HEADLINE_METRICS, MetricValue
from mammo_core.settings import RESEARCH_ONLY

CLASS_COLUMNS = {"sensitivity": "Sensitivity", "specificity": "Specificity", "ppv": "PPV", "auc": "AUC"}


@dataclass(frozen=True)
class Tables:
    """One table in three forms."""

    contents: tuple[bytes, bytes, bytes]
    """CSV, Markdown, LaTeX."""
    caption: str


def seed_tables(runs: Sequence[RunDir]) -> Tables:
    """Every finished run with its validation metrics, then mean and SD."""
    summary = summarise_experiment(runs)
    table = seed_table(summary)
    caption = f"{seed_caption(summary)} {_means(bool(summary['folds']))}{imported_note(runs)}"
    warnings = "".join(f"- {plain_in_file(warning)}\n" for warning in summary["warnings"])
    markdown = f"{plain_in_file(caption)}\n\n{to_markdown(table)}\n{warnings}".encode()
    latex = to_latex(table, caption, f"tab:{runs[0].experiment}").encode()
    return Tables((safe_csv(seed_numbers(summary)), markdown, latex), caption)


def _means(has_folds: bool) -> str:
    folds = ", widened for the training films that folds share (Nadeau and Bengio)" if has_folds else ""
    return f"Intervals of means (in the CSV): 95 %, t over the runs{folds}."


def class_tables(study: Sequence[RunFacts]) -> Tables:
    """Sensitivity, specificity, PPV and AUC of each class on validation and, where there are results, test films."""
    numbers = pd.DataFrame([row for facts in study for on in PARTS for row in _class_rows(facts, on)])
    shown = pd.DataFrame([_shown(part, len(study)) for _, part in numbers.groupby(["films of", "class"], sort=False)])
    runs = ", ".join(facts.run.id for facts in study)
    spread = f"mean ± SD over the runs, {SD_DEFINITION}, n = {len(study)}" if len(study) > 1 else class_intervals(study[0])
    caption = (
        f"Metrics of each class against the rest at each run's best epoch; runs: {runs}; {spread}. The best epoch was chosen on "
        f"the validation films. {RESEARCH_ONLY}."
    )
    latex = to_latex(shown, caption, f"tab:{study[0].run.experiment}_classes", has_total=False)
    markdown = f"{plain_in_file(caption)}\n\n{to_markdown(shown, words=['Films of'])}"
    return Tables((safe_csv(numbers.assign(note=RESEARCH_ONLY)), markdown.encode(), latex.encode()), caption)


def class_intervals(facts: RunFacts) -> str:
    """How the intervals of the class metrics of a run were made, by column."""
    found: dict[str, list[MetricValue | int | None]] = {title: [] for title in CLASS_COLUMNS.values()}
    for metrics in filter(None, map(facts.metrics, PARTS)):
        for column, title in CLASS_COLUMNS.items():
            found[title] += [values.get(column) for values in metrics.per_class.values()]
    return interval_words(found).rstrip(".") or "no intervals"


def _class_rows(facts: RunFacts, on: str) -> list[dict[str, Any]]:
    metrics = facts.metrics(on)
    rows = []
    for name, values in metrics.per_class.items() if metrics else ():
        row: dict[str, Any] = {"run": facts.run.id, "films of": PARTS[on], "class": name, "films": values.get("n")}
        for column in CLASS_COLUMNS:
            found = values.get(column)
            value = found if isinstance(found, MetricValue) else MetricValue(value=None)
            row |= {column: value.value, f"{column}_low": value.ci_low, f"{column}_high": value.ci_high}
            row[f"{column}_how"] = value.method
        rows.append(row)
    return rows


def _shown(part: pd.DataFrame, runs: int) -> dict[str, str]:
    first = part.iloc[0]
    counts = sorted({int(count) for count in part["films"].dropna()})
    row = {
        "Class": str(first["class"]),
        "Films of": str(first["films of"]),
        "Films": " to ".join(map(str, counts[:1] + counts[1:][-1:])),
    }
    for column, title in CLASS_COLUMNS.items():
        row[title] = _cell(part, column, runs)
    return row


def _cell(part: pd.DataFrame, column: str, runs: int) -> str:
    values = part[column].dropna().tolist()
    if not values:
        return "undefined"
    if runs > 1:
        spread = describe(values)
        return f"{spread.mean:.3f}" + ("" if spread.sd is None else f" ± {spread.sd:.3f}") + _of(spread.n, runs)
    low, high = part.iloc[0][f"{column}_low"], part.iloc[0][f"{column}_high"]
    return f"{values[0]:.3f}" + ("" if pd.isna(low) else f" ({low:.3f} to {high:.3f})")


def _of(n: int, runs: int) -> str:
    return "" if n == runs else f" (n = {n})"


def comparison_tables(groups: Mapping[str, Sequence[RunDir]]) -> Tables:
    """Several experiments side by side: mean and SD of the headline metrics on their own validation films."""
    counted = {name: finished_runs(runs)[0] for name, runs in groups.items()}
    found = metric_names([finished.metrics for kept in counted.values() for finished in kept])
    shown = [metric for metric in HEADLINE_METRICS if metric in found]
    rows, numbers = [], []
    for name, kept in counted.items():
        row = {"Experiment": name, "n": str(len(kept))}
        for metric in shown:
            spread = metric_spread(kept, metric)
            row[TITLES.get(metric, metric)] = spread.text().replace(f" (n = {len(kept)}, SD n-1)", "")
            numbers.append(
                {"experiment": name, "metric": metric, "n": spread.n, "mean": spread.mean, "sd": spread.sd}
                | {"ci_low": spread.ci_low, "ci_high": spread.ci_high}
            )
        rows.append(row)
    has_folds = any(finished.config.fold is not None for kept in counted.values() for finished in kept)
    notes = "".join(f" {name}:{note}" for name, runs in groups.items() if (note := imported_note(runs)))
    caption = (
        f"Validation metrics at each run's best epoch, mean ± SD; {SD_DEFINITION}. {_means(has_folds)} {judged_alike(counted)} A "
        f"table is no test: see the Compare page.{notes} {RESEARCH_ONLY}."
    )
    table = pd.DataFrame(rows)
    contents = (
        safe_csv(pd.DataFrame(numbers).assign(note=RESEARCH_ONLY)),
        f"{plain_in_file(caption)}\n\n{to_markdown(table)}".encode(),
        to_latex(table, caption, "tab:comparison", has_total=False).encode(),
    )
    return Tables(contents, caption)


def judged_alike(groups: Mapping[str, Sequence[FinishedRun]]) -> str:
    """Whether the experiments were judged on the same films with the same labels, from the films that were judged."""
    films = {name: _films_judged(kept) for name, kept in groups.items()}
    unknown = [name for name, found in films.items() if found is None]
    if unknown:
        return f"Whether all were judged on the same films: {NOT_RECORDED} (no predictions of {', '.join(unknown)})."
    differing = [f"{a} and {b}" for a, b in itertools.combinations(films, 2) if films[a] != films[b]]
    return f"Judged on different films: {'; '.join(differing)}." if differing else "All were judged on the same films."


def _films_judged(kept: Sequence[FinishedRun]) -> frozenset[tuple[str, str]] | None:
    """Every validation film with its label, over all runs; ``None`` where a run keeps no predictions."""
    tables = [finished.run.predictions("val") for finished in kept]
    if not tables or any(table is None for table in tables):
        return None
    pairs = (zip(table["image_id"], table["y_true"], strict=True) for table in tables if table is not None)
    return frozenset(itertools.chain.from_iterable(pairs))
