"""Checklist sentences on results: performance, calibration, thresholds, subgroups, robustness, failures."""

from __future__ import annotations

from mammo_core.analysis.finished import finished_runs
from mammo_core.analysis.metrics import TITLES
from mammo_core.analysis.variance import SD_DEFINITION, metric_spread
from mammo_core.report.checklist_answers import Study, each
from mammo_core.report.pack_words import interval_words, mean_interval, stated_results
from mammo_core.report.run_facts import NOT_RECORDED, PARTS, RunFacts, value_text
from mammo_core.runs.schema import HEADLINE_METRICS, MetricsFile


def performance(study: Study) -> str:
    if any(facts.is_imported for facts in study):
        return f"{each(study, stated_results)}."
    parts = [told for on in PARTS if (told := _performance(study, on))]
    absent = "" if any(facts.metrics("test") for facts in study) else " Test films: not evaluated."
    return (" ".join(parts) or f"{NOT_RECORDED}.") + absent


def _performance(study: Study, on: str) -> str:
    found = {facts.run.id: metrics for facts in study if (metrics := facts.metrics(on)) is not None}
    if not found:
        return ""
    words = "Validation films (the best epoch was chosen on them)" if on == "val" else "Test films"
    told = [f"{run}, {metrics.n} films of {metrics.patients} patients: {_headlines(metrics)}" for run, metrics in found.items()]
    how = interval_words({TITLES[name]: [m.metrics.get(name) for m in found.values()] for name in HEADLINE_METRICS})
    return f"{words}: {'; '.join(told)}. {how}".rstrip()


def _headlines(metrics: MetricsFile) -> str:
    return ", ".join(
        f"{TITLES[name]} {value_text(metrics.metrics[name])}" for name in HEADLINE_METRICS if name in metrics.metrics
    )


def calibration(study: Study) -> str:
    def tell(facts: RunFacts) -> str:
        if not facts.calibration or facts.temperature is None:
            return NOT_RECORDED
        told = [
            f"{PARTS[on]}: expected calibration error {found.called.error:.3f} (if calibrated: {found.called.null_low:.3f} "
            f"to {found.called.null_high:.3f}; {found.scheme}), Brier {found.brier:.3f} (0 to 2), log loss {found.log_loss:.3f}"
            for on, found in facts.calibration.items()
        ]
        told.append(
            f"temperature {facts.temperature.value:.2f} (fitted on {facts.temperature.films} validation films), "
            f"{facts.temperature.words}"
        )
        if facts.scaled_calibration is not None:
            told.append(f"test after scaling: {facts.scaled_calibration.called.error:.3f}")
        return "; ".join(told)

    return f"{each(study, tell)}."


def thresholds(study: Study) -> str:
    def tell(facts: RunFacts) -> str:
        if not facts.thresholds or facts.question is None:
            return NOT_RECORDED
        told = [
            f"{threshold.rule}: {threshold.text}"
            + "".join(
                f", {PARTS[on]} sensitivity {value_text(point.sensitivity)} and specificity {value_text(point.specificity)}"
                for on, point in threshold.points.items()
            )
            for threshold in facts.thresholds
            if threshold.value is not None
        ]
        return f"{facts.question.title}, chosen on validation films: {'; '.join(told)}"

    points = [point for facts in study for threshold in facts.thresholds for point in threshold.points.values()]
    how = interval_words({"sensitivity": [p.sensitivity for p in points], "specificity": [p.specificity for p in points]})
    return f"{each(study, tell)}. {how}{' ' if how else ''}Runs as such call the class with the highest probability."


def two_by_two(study: Study) -> str:
    def tell(facts: RunFacts) -> str:
        if not facts.thresholds or facts.question is None:
            return NOT_RECORDED
        told = [
            f"{PARTS[on]}, threshold {threshold.text} ({threshold.rule}): {point.true_positives} true positive, "
            f"{point.false_positives} false positive, {point.false_negatives} false negative, "
            f"{point.true_negatives} true negative"
            for threshold in facts.thresholds
            for on, point in threshold.points.items()
        ]
        return f"{facts.question.title}: {'; '.join(told)}"

    return f"{each(study, tell)}."


def subgroups(study: Study) -> str:
    def tell(facts: RunFacts) -> str:
        told = [
            f"{PARTS[on]}: "
            + ", ".join(
                f"{'all' if index == 0 else f'centre {group.name}'} {value_text(group.value)} "
                f"[n = {group.films} films, {group.patients} patients]"
                for index, group in enumerate(groups)
            )
            for on, groups in facts.centres.items()
        ]
        return f"{facts.centre_metric}. {'. '.join(told)}" if told else f"{NOT_RECORDED}: no partition holds films of two centres"

    return f"{each(study, tell)}. {centre_intervals(study)}".rstrip()


def centre_intervals(study: Study) -> str:
    """How the intervals by centre were made; those of all films may come from the metrics file."""
    tables = [groups for facts in study for groups in facts.centres.values()]
    return interval_words(
        {
            "all films": [groups[0].value for groups in tables],
            "each centre": [group.value for groups in tables for group in groups[1:]],
        }
    )


def robustness(study: Study) -> str:
    kept, left_out = finished_runs([facts.run for facts in study])
    not_counted = "".join(f" Not counted: {entry['run']} ({entry['reason'].rstrip('.')})." for entry in left_out)
    if len(kept) < 2:
        return f"{len(kept)} finished run(s): the part of chance is {NOT_RECORDED}.{not_counted}"
    has_folds = any(finished.config.fold is not None for finished in kept)
    told = []
    for name in HEADLINE_METRICS:
        if any(name in finished.metrics for finished in kept):
            spread = metric_spread(kept, name)
            interval = mean_interval(spread, has_folds)
            told.append(f"{TITLES[name]} {spread.text()}" + (f", {interval}" if interval else ""))
    kind = "folds" if has_folds else "seeds"
    held = " Test centres were never seen in training." if any(facts.is_held_out for facts in study) else ""
    return f"Validation films, {len(kept)} runs ({kind}): {'; '.join(told)}. {SD_DEFINITION}.{held}{not_counted}"


def looks(study: Study) -> str:
    return f"{each(study, looks_words)}."


def looks_words(facts: RunFacts) -> str:
    """How often the test films were looked at: counted in a file of its own, which older runs and copies may lack."""
    if not facts.run.test_looks_file.exists():
        return "Test films: not evaluated" if facts.metrics("test") is None else f"Looks {NOT_RECORDED}"
    count = len(facts.run.test_looks())
    return f"Test films looked at {count} time{'' if count == 1 else 's'}"


def failures(study: Study) -> str:
    def tell(facts: RunFacts) -> str:
        found = []
        for on in PARTS:
            metrics = facts.metrics(on)
            if metrics is not None:
                wrong = metrics.n - sum(row[index] for index, row in enumerate(metrics.confusion_matrix))
                found.append(f"{PARTS[on]}: {wrong} of {metrics.n} films called wrongly")
        return "; ".join(found) or NOT_RECORDED

    return f"{each(study, tell)}. The films themselves are on the Evaluate and Grad-CAM pages, not in this pack."


def explainability(study: Study) -> str:
    if not any(facts.run.best_model.exists() for facts in study):
        return f"Grad-CAM figures: {NOT_RECORDED} (no checkpoint)."
    return "Grad-CAM of the network's last layer (figures *_gradcam_*); no sanity check of the maps is part of this pack."


def indeterminate(study: Study) -> str:
    return "Every readable film gets a class; there is no indeterminate result. Unreadable films are counted with those left out."
