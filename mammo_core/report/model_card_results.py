"""The parts of a model card that hold numbers: performance, calibration, thresholds and centres."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from mammo_core.analysis.calibration import Calibration
from mammo_core.analysis.metrics import TITLES
from mammo_core.analysis.subgroups import WARNING
from mammo_core.report.checklist_results import centre_intervals, looks_words
from mammo_core.report.pack_words import interval_words
from mammo_core.report.plain_text import plain_in_file
from mammo_core.report.run_facts import NOT_RECORDED, PARTS, RunFacts, interval_text, value_text
from mammo_core.report.tables import to_markdown
from mammo_core.runs.schema import MetricsFile, MetricValue

CLASS_COLUMNS = {"sensitivity": "Sensitivity", "specificity": "Specificity", "ppv": "PPV", "auc": "AUC"}


def performance(facts: RunFacts) -> str:
    """Metrics of all films and of each class, on validation and test films."""
    parts = ["## Performance"]
    for on, title in (("val", "Validation films (the best epoch was chosen on them, so these flatter)"), ("test", "Test films")):
        metrics = facts.metrics(on)
        if metrics is None:
            parts.append(f"### {title}\n\nNot evaluated." if on == "test" else f"### {title}\n\nNo metrics yet.")
            continue
        note = f" {looks_words(facts)}." if on == "test" else ""
        parts.append(f"### {title}\n\n{metrics.n} films of {metrics.patients} patients, epoch {metrics.epoch}.{note}")
        parts.append(_metric_table(facts.metric_values(on)) + "\n" + _class_table(metrics))
    return "\n\n".join(part.rstrip("\n") for part in parts)


def _metric_table(metrics: Mapping[str, MetricValue]) -> str:
    rows = [
        {
            "Metric": TITLES.get(name, name),
            "Value": "undefined" if found.value is None else f"{found.value:.3f}",
            "95 % interval": interval_text(found),
            "How": found.method,
        }
        for name, found in metrics.items()
    ]
    return to_markdown(pd.DataFrame(rows), words=["How"])


def _class_table(metrics: MetricsFile) -> str:
    rows = []
    for name, values in metrics.per_class.items():
        cells = {title: value_text(values.get(column)) for column, title in CLASS_COLUMNS.items()}
        rows.append({"Class": name, "Films": values.get("n", "")} | cells)
    how = interval_words({title: [v.get(c) for v in metrics.per_class.values()] for c, title in CLASS_COLUMNS.items()})
    return to_markdown(pd.DataFrame(rows)) + (f"\n{how}\n" if how else "")


def calibration(facts: RunFacts) -> str:
    """Calibration error beside its null band, Brier score, and the temperature."""
    found = facts.temperature
    if not facts.calibration or found is None:
        return f"## Calibration\n\n{NOT_RECORDED[:1].upper()}{NOT_RECORDED[1:]}: there are no validation predictions."
    rows = [_calibration_row(f"{PARTS[on]} films", part) for on, part in facts.calibration.items()]
    if facts.scaled_calibration is not None:
        rows.append(_calibration_row("test films, after temperature scaling", facts.scaled_calibration))
    scheme = next(iter(facts.calibration.values())).scheme
    return (
        "## Calibration\n\n"
        f"Temperature {found.value:.2f}, fitted on {found.films} validation films of {found.patients} patients; {found.words}. "
        f"The calibration error is never 0 in a finite sample: it is to be read beside what a perfectly calibrated model of the "
        f"same size shows ({scheme}).\n\n{to_markdown(pd.DataFrame(rows))}"
    ).rstrip()


def _calibration_row(name: str, found: Calibration) -> dict[str, str]:
    called = found.called
    return {
        "Films": name,
        "Calibration error": f"{called.error:.3f}",
        "If perfectly calibrated": f"{called.null_low:.3f} to {called.null_high:.3f}",
        "Brier (0 to 2)": f"{found.brier:.3f}",
        "Brier skill": f"{found.brier_skill:.3f}",
        "Log loss (nats)": f"{found.log_loss:.3f}",
    }


def thresholds(facts: RunFacts) -> str:
    """Thresholds chosen on validation films, and what they do there and on test films."""
    if not facts.thresholds or facts.question is None:
        return f"## Thresholds\n\n{NOT_RECORDED[:1].upper()}{NOT_RECORDED[1:]}: there are no validation predictions."
    rows = [
        {
            "Rule": threshold.rule,
            "Threshold": threshold.text,
            "On": PARTS[on],
            "Sensitivity": value_text(point.sensitivity),
            "Specificity": value_text(point.specificity),
            "PPV": _short(point.ppv),
            "NPV": _short(point.npv),
        }
        for threshold in facts.thresholds
        for on, point in threshold.points.items()
    ]
    points = [point for threshold in facts.thresholds for point in threshold.points.values()]
    how = interval_words({"Sensitivity": [p.sensitivity for p in points], "Specificity": [p.specificity for p in points]})
    return (
        f"## Thresholds\n\nFor {plain_in_file(facts.question.title)}; chosen on the validation films and applied unchanged. "
        f"Predictive values hold for the share of positives among these films only. {how}\n\n"
        f"{to_markdown(pd.DataFrame(rows), words=['On'])}"
    ).rstrip()


def _short(metric: MetricValue) -> str:
    return "undefined" if metric.value is None else f"{metric.value:.3f}"


def centres(facts: RunFacts) -> str:
    """The main metric for each centre, with n and interval."""
    if not facts.centres:
        return f"## Centres\n\nResults by centre: {NOT_RECORDED}, since no part of the split has films of two centres."
    rows = [
        {
            "Films of": PARTS[on],
            "Centre": "all" if index == 0 else group.name,
            "Films": group.films,
            "Patients": group.patients,
            facts.centre_metric: value_text(group.value),
        }
        for on, groups in facts.centres.items()
        for index, group in enumerate(groups)
    ]
    table = to_markdown(pd.DataFrame(rows), words=["Centre", facts.centre_metric])
    how = centre_intervals([facts])
    return f"## Centres\n\n{table}\n{how} {WARNING}\n\nOther subgroups (age, device, density): see the Evaluate page."
