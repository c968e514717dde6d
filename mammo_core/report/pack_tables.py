"""The tables of a report pack, each as CSV with everything, and as Markdown and LaTeX for reading."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from mammo_core.analysis.metrics import TITLES
from mammo_core.analysis.variance import SD_DEFINITION, describe, summarise_experiment
from mammo_core.report.run_facts import PARTS, RunFacts
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
    caption, table = seed_caption(summary), seed_table(summary)
    warnings = "".join(f"- {warning}\n" for warning in summary["warnings"])
    markdown = f"{caption}\n\n{to_markdown(table)}\n{warnings}".encode()
    latex = to_latex(table, caption, f"tab:{runs[0].experiment}").encode()
    return Tables((safe_csv(seed_numbers(summary)), markdown, latex), caption)


def class_tables(study: Sequence[RunFacts]) -> Tables:
    """Sensitivity, specificity, PPV and AUC of each class on validation and, where there are results, test films."""
    numbers = pd.DataFrame([row for facts in study for on in PARTS for row in _class_rows(facts, on)])
    shown = pd.DataFrame([_shown(part) for _, part in numbers.groupby(["films of", "class"], sort=False)])
    runs = ", ".join(facts.run.id for facts in study)
    spread = f"mean ± SD over the runs, {SD_DEFINITION}, n = {len(study)}" if len(study) > 1 else "95 % intervals in brackets"
    caption = (
        f"Metrics of each class against the rest at each run's best epoch; runs: {runs}; {spread}. The best epoch was chosen on "
        f"the validation films. {RESEARCH_ONLY}."
    )
    latex = to_latex(shown, caption, f"tab:{study[0].run.experiment}_classes", has_total=False)
    markdown = f"{caption}\n\n{to_markdown(shown, words=['Films of'])}"
    return Tables((safe_csv(numbers.assign(note=RESEARCH_ONLY)), markdown.encode(), latex.encode()), caption)


def _class_rows(facts: RunFacts, on: str) -> list[dict[str, Any]]:
    metrics = facts.metrics(on)
    rows = []
    for name, values in metrics.per_class.items() if metrics else ():
        row: dict[str, Any] = {"run": facts.run.id, "films of": PARTS[on], "class": name, "films": values.get("n")}
        for column in CLASS_COLUMNS:
            found = values.get(column)
            value = found if isinstance(found, MetricValue) else MetricValue(value=None)
            row |= {column: value.value, f"{column}_low": value.ci_low, f"{column}_high": value.ci_high}
        rows.append(row)
    return rows


def _shown(part: pd.DataFrame) -> dict[str, str]:
    first = part.iloc[0]
    counts = sorted({int(count) for count in part["films"].dropna()})
    row = {
        "Class": str(first["class"]),
        "Films of": str(first["films of"]),
        "Films": " to ".join(map(str, counts[:1] + counts[1:][-1:])),
    }
    for column, title in CLASS_COLUMNS.items():
        row[title] = _cell(part, column)
    return row


def _cell(part: pd.DataFrame, column: str) -> str:
    values = part[column].dropna().tolist()
    if not values:
        return "undefined"
    if len(part) > 1:
        spread = describe(values)
        return f"{spread.mean:.3f}" + ("" if spread.sd is None else f" ± {spread.sd:.3f}") + _of(spread.n, len(part))
    low, high = part.iloc[0][f"{column}_low"], part.iloc[0][f"{column}_high"]
    return f"{values[0]:.3f}" + ("" if pd.isna(low) else f" ({low:.3f} to {high:.3f})")


def _of(n: int, runs: int) -> str:
    return "" if n == runs else f" (n = {n})"


def comparison_tables(groups: Mapping[str, Sequence[RunDir]]) -> Tables:
    """Several experiments side by side: mean and SD of the headline metrics on their own validation films."""
    summaries = {name: summarise_experiment(runs) for name, runs in groups.items()}
    shown = [metric for metric in HEADLINE_METRICS if any(metric in found["metrics"] for found in summaries.values())]
    rows, numbers = [], []
    for name, summary in summaries.items():
        row = {"Experiment": name, "n": str(summary["n"])}
        for metric in shown:
            spread = describe(summary["metrics"].get(metric, {}).get("values", []))
            row[TITLES.get(metric, metric)] = spread.text().replace(f" (n = {summary['n']}, SD n-1)", "")
            numbers.append(
                {"experiment": name, "metric": metric, "n": spread.n, "mean": spread.mean, "sd": spread.sd}
                | {"ci_low": spread.ci_low, "ci_high": spread.ci_high, "split_sha256": " ".join(summary["split_sha256"])}
            )
        rows.append(row)
    splits = {sha for found in summaries.values() for sha in found["split_sha256"]}
    same = "All on the same split." if len(splits) == 1 else "The experiments used different splits, so their films differ."
    caption = (
        f"Validation metrics at each run's best epoch, mean ± SD; {SD_DEFINITION}. {same} A table is no test: see the Compare "
        f"page. {RESEARCH_ONLY}."
    )
    table = pd.DataFrame(rows)
    contents = (
        safe_csv(pd.DataFrame(numbers).assign(note=RESEARCH_ONLY)),
        f"{caption}\n\n{to_markdown(table)}".encode(),
        to_latex(table, caption, "tab:comparison", has_total=False).encode(),
    )
    return Tables(contents, caption)
