"""Checklist sentences on results: performance, calibration, thresholds, subgroups, robustness, failures."""

from __future__ import annotations

from mammo_core.analysis.metrics import TITLES
from mammo_core.analysis.variance import SD_DEFINITION, describe, highest_of
from mammo_core.report.checklist_answers import Study, each
from mammo_core.report.run_facts import NOT_RECORDED, PARTS, RunFacts, value_text
from mammo_core.runs.schema import HEADLINE_METRICS, MetricsFile


def performance(study: Study) -> str:
    parts = [told for on in PARTS if (told := _performance(study, on))]
    absent = "" if any(facts.metrics("test") for facts in study) else " Test films: not evaluated."
    return (" ".join(parts) or f"{NOT_RECORDED}.") + absent


def _performance(study: Study, on: str) -> str:
    found = {facts.run.id: metrics for facts in study if (metrics := facts.metrics(on)) is not None}
    if not found:
        return ""
    words = "Validation films (the best epoch was chosen on them)" if on == "val" else "Test films"
    told = [f"{run}, {metrics.n} films of {metrics.patients} patients: {_headlines(metrics)}" for run, metrics in found.items()]
    return f"{words}: {'; '.join(told)}. Intervals: 95 %, patients resampled."


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

    return f"{each(study, tell)}. Runs as such call the class with the highest probability."


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

    return f"{each(study, tell)}."


def robustness(study: Study) -> str:
    finished = [facts for facts in study if facts.summary]
    if len(finished) < 2:
        return f"{len(finished)} finished run(s): the part of chance is {NOT_RECORDED}."
    names = [
        name for name in HEADLINE_METRICS if any(name in (facts.summary.metrics if facts.summary else {}) for facts in finished)
    ]
    told = []
    for name in names:
        values = [facts.summary.metrics[name].value for facts in finished if facts.summary and name in facts.summary.metrics]
        spread = describe(values, highest_of(name))
        told.append(f"{TITLES[name]} {spread.text()}")
    kind = "folds" if any(facts.config.fold is not None for facts in finished) else "seeds"
    held = "Test centres were never seen in training." if any(facts.is_held_out for facts in study) else ""
    return f"Validation films, {len(finished)} runs ({kind}): {'; '.join(told)}. {SD_DEFINITION}. {held}".rstrip()


def looks(study: Study) -> str:
    def tell(facts: RunFacts) -> str:
        counted = len(facts.run.test_looks())
        return str(counted) if counted or facts.metrics("test") is None else NOT_RECORDED

    return f"{each(study, tell)}."


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
