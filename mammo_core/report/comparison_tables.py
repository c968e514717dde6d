"""The result of ``compare`` as tables for screen, spreadsheet and paper; every number carries how it was made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from mammo_core.analysis.answers import metric_title
from mammo_core.analysis.variance import FEW_SEEDS
from mammo_core.runs.schema import HEADLINE_METRICS

Result = Mapping[str, Any]

TEST_NAMES = {
    "bootstrap": "runs x patients bootstrap",
    "independent": "bootstrap, different films",
    "welch": "Welch over runs",
    "nadeau_bengio": "folds, Nadeau and Bengio",
    "mcnemar": "McNemar, exact",
    "delong": "DeLong",
    "cochran_q": "Cochran's Q",
}


def shown_metrics(result: Result) -> list[str]:
    """The headline metrics that a group has, in their order; the validation loss behind them where an imported run has it."""
    found = {name for group in result["groups"] for name, entry in group["metrics"].items() if entry["mean"] is not None}
    return [name for name in (*HEADLINE_METRICS, "val_loss") if name in found]


def group_table(result: Result, metrics: Sequence[str] | None = None) -> pd.DataFrame:
    """One row a metric and group: mean, SD (n-1), n, the 95 % t interval, the interval over runs and patients, the interval for
    one new run, the value of every run, and how these were made. Cells are text but for ``n``."""
    rows = []
    for metric in shown_metrics(result) if metrics is None else metrics:
        for group in result["groups"]:
            found = group["metrics"].get(metric)
            if found is None or found["mean"] is None:
                continue
            films = found["films"] or {"ci_low": None, "ci_high": None, "method": "not available: no predictions at hand"}
            rows.append(
                {
                    "Metric": metric_title(metric),
                    "Group": group["name"],
                    "Mean": number(found["mean"]),
                    "SD (n-1)": "" if found["sd"] is None else number(found["sd"]),
                    "n": found["n"],
                    "95 % mean of runs": interval(found["ci_low"], found["ci_high"]),
                    "95 % runs and patients": interval(films["ci_low"], films["ci_high"]),
                    "Folds joined": number(found["pooled"]["value"]) if found["pooled"] else "",
                    "95 % one new run": interval(found["prediction_low"], found["prediction_high"]),
                    "Runs": ", ".join(number(value) for value in found["values"]),
                    "How": f"{found['method']}. Runs and patients: {films['method']}.{_pooled(found)}",
                }
            )
    table = pd.DataFrame(rows)
    return table if any(row["Folds joined"] for row in rows) else table.drop(columns="Folds joined", errors="ignore")


def _pooled(found: Mapping[str, Any]) -> str:
    return f" Folds joined: {found['pooled']['method']}." if found["pooled"] else ""


def difference_table(result: Result) -> pd.DataFrame:
    """One row a pair and metric: effect and interval first, p last, and which of them answers the question."""
    return pd.DataFrame(
        [
            {
                "Metric": metric_title(test["metric"]),
                "Difference": f"{test['a']} - {test['b']}",
                "Effect": signed(test["difference"]),
                "95 % interval": interval(test["ci_low"], test["ci_high"], plus=True),
                "p": p_text(test["p"]),
                "p (Holm)": p_text(test["p_holm"]),
                "Role": _role(test),
                "How": test["method"],
            }
            for test in result["tests"]
        ]
    )


def _role(test: Mapping[str, Any]) -> str:
    """``decides`` only where the test can carry a decision: the metric fixed beforehand, the same films, enough runs."""
    if test["family"] != "primary":
        return "exploration"
    return "decides" if test["paired"] and min(test["n_a"], test["n_b"]) >= FEW_SEEDS else "describes"


def further_table(result: Result) -> pd.DataFrame:
    """The other tests: over runs only, fold by fold, model by model, and how often one group's run beats the other's."""
    rows = [
        {
            "Test": TEST_NAMES[test["test"]],
            "Metric": class_title(test["metric"]),
            "Compared": _compared(test),
            "Effect": signed(test["difference"]),
            "95 % interval": interval(test["ci_low"], test["ci_high"], plus=True),
            "p": p_text(test["p"]),
            "How": test["method"],
        }
        for test in result["further_tests"]
    ]
    rows += [
        {
            "Test": "P(A > B)",
            "Metric": metric_title(found["metric"]),
            "Compared": f"{found['a']} - {found['b']}",
            "Effect": number(found["value"]),
            "95 % interval": interval(found["ci_low"], found["ci_high"]),
            "p": "",
            "How": "share of pairs of runs in which the first is better; runs drawn anew in each group",
        }
        for found in result["superiority"]
    ]
    return pd.DataFrame(rows)


def _compared(test: Mapping[str, Any]) -> str:
    groups = f"{test['a']} - {test['b']}" if test["b"] else str(test["a"])
    return f"{groups}, {test['models']}" if test.get("models") else groups


def centre_table(result: Result, metric: str) -> pd.DataFrame:
    """One row a group and centre: films, patients and one metric with its interval, or why it is not shown."""
    rows = []
    for row in result["centres"]:
        found = row["metrics"].get(metric)
        rows.append(
            {
                "Group": row["group"],
                "Centre": row["center"],
                "Films": row["films"],
                "Patients": row["patients"],
                metric_title(metric): number(found["value"]) if found else "",
                "95 % interval": interval(found["ci_low"], found["ci_high"]) if found else "",
                "Remark": "" if found else row["why"],
            }
        )
    return pd.DataFrame(rows)


def source_table(result: Result) -> pd.DataFrame:
    """One row a group: data set, split, films and runs that its numbers come from."""
    rows = []
    for group in result["groups"]:
        if not group["n"]:
            continue
        films = sorted({count for count in group["films"] if count is not None})
        rows.append(
            {
                "Group": group["name"],
                "Data set": ", ".join(group["dataset"]) or "not recorded",
                "Split": ", ".join(group["split"]) or "not recorded",
                "Scheme": group["scheme"] or "not recorded",
                "Split SHA-256": ", ".join(sorted({str(value)[:10] for value in group["split_sha256"] if value})),
                "Films a run": " or ".join(map(str, films)) or "not recorded",
                "Patients": "not recorded" if group["patients"] is None else str(group["patients"]),
                "Runs": ", ".join(run.rpartition("/")[2] for run in group["runs"]),
                "Best epochs": ", ".join(words.removeprefix("epoch ") for words in group["best_words"]),
            }
        )
    return pd.DataFrame(rows)


def setting_table(result: Result) -> pd.DataFrame:
    """Settings that are not the same in all groups."""
    return pd.DataFrame(
        [
            {"Setting": entry["setting"]} | {name: ", ".join(map(str, values)) for name, values in entry["values"].items()}
            for entry in result["config_differences"]
        ]
    )


def class_title(metric: str) -> str:
    """Like ``metric_title``, also for the per-class ``auc:<class>``."""
    kind, _, name = metric.partition(":")
    return f"AUC, {name} against the rest" if kind == "auc" and name else metric_title(metric)


def number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"


def signed(value: float | None) -> str:
    return "" if value is None else f"{value:+.3f}"


def interval(low: float | None, high: float | None, plus: bool = False) -> str:
    """``0.616 to 0.776``; empty where there is none."""
    if low is None or high is None:
        return ""
    return f"{low:+.3f} to {high:+.3f}" if plus else f"{low:.3f} to {high:.3f}"


def p_text(p: float | None) -> str:
    return "" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"
