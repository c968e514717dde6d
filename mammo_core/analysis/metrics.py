"""From predictions to metrics with intervals, and the quick numpy-only metrics of one epoch.

Names are those of ``runs/schema``. Every ``*_score``-like metric is better when higher, every ``*_loss``, ``brier`` and ``mae_*``
when lower. An undefined metric is ``None`` and its ``method`` says why.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mammo_core.analysis import formulas
from mammo_core.analysis.binary_metrics import (
    BINARY_TITLES,
    Thresholds,
    binary_definition,
    binary_proportions,
    binary_statistics,
    choose_thresholds,
)
from mammo_core.analysis.bootstrap import Weights, jackknife, replicate
from mammo_core.analysis.calibration import SCHEME, SHARED_TRUTH, calibration_errors
from mammo_core.analysis.estimates import estimate
from mammo_core.analysis.formulas import Floats, Labels
from mammo_core.analysis.operating_points import patients_among, proportion
from mammo_core.analysis.predictions import Cases, cases_of, ensemble_predictions
from mammo_core.runs.schema import MetricsFile, MetricValue

__all__ = ["TITLES", "ensemble_predictions", "epoch_metrics", "evaluate_predictions", "statistics"]

SMALLEST_PROBABILITY = float(np.finfo(np.float64).eps)
"""Floor under the logarithm, as scikit-learn's ``log_loss`` has it: a certain mistake costs 36 nats, not infinity."""

LOWER_IS_BETTER = frozenset({"log_loss", "brier", "mae_classes", "ece", "ece_classwise"})

TITLES = {
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "kappa_quadratic": "Kappa (quadratic)",
    "kappa_linear": "Kappa (linear)",
    "kappa_unweighted": "Kappa (unweighted)",
    "macro_f1": "Macro-F1",
    "auc_ovr_macro": "AUC (macro, one-vs-rest)",
    "log_loss": "Log loss",
    "brier": "Brier score (0 to 2)",
    "log_loss_skill": "Log-loss skill (0 is quoting class shares)",
    "brier_skill": "Brier skill (0 is quoting class shares)",
    "ece": "Calibration error of the called class",
    "ece_classwise": "Calibration error, mean of the classes",
    "within_one": "Within one class",
    "mae_classes": "Mean error in classes",
    **BINARY_TITLES,
}
"""What a reader sees for each metric name."""


# ---- one block of replicates ----------------------------------------------------------------------------------------------


def statistics(cases: Cases, weights: Weights, thresholds: Thresholds | None = None) -> dict[str, Floats]:
    """Every metric of every replicate, shape ``(b,)`` each; per-class ones are named ``f1:<class>`` and ``auc:<class>``.

    ``thresholds`` of yes-or-no questions are chosen on ``cases`` themselves where left out.
    """
    confusion = weighted_confusion(cases, weights)
    aucs = class_aucs(cases, weights)
    found = headline_statistics(cases, confusion, aucs)
    found["kappa_linear"] = formulas.weighted_kappa(confusion, "linear")
    found["kappa_unweighted"] = formulas.weighted_kappa(confusion, "none")
    found["log_loss"] = weights.mean(losses(cases.labels, cases.probabilities))
    truth = np.eye(len(cases.class_names))[cases.labels]
    found["brier"] = weights.mean(((cases.probabilities - truth) ** 2).sum(axis=1))
    found |= _skills(confusion, found["log_loss"], found["brier"])
    if cases.ordinal:
        steps_off = np.abs(cases.labels - cases.predicted).astype(np.float64)
        found["within_one"] = weights.mean((steps_off <= 1).astype(np.float64))
        found["mae_classes"] = weights.mean(steps_off)
    found |= binary_statistics(cases, weights, thresholds or choose_thresholds(cases, None))
    f1 = formulas.f1_scores(confusion)
    for position, name in enumerate(cases.class_names):
        found[f"f1:{name}"] = f1[:, position]
        found[f"auc:{name}"] = aucs[:, position]
    return found


def _skills(confusion: Floats, log_loss: Floats, brier: Floats) -> dict[str, Floats]:
    """Loss against that of always quoting the class shares of the same films; NaN where they are of one class."""
    shares = formulas.ratio(confusion.sum(axis=2), confusion.sum(axis=(1, 2))[:, None])
    entropy = -(shares * np.log(np.where(shares > 0, shares, 1.0))).sum(axis=1)
    return {
        "log_loss_skill": 1 - formulas.ratio(log_loss, entropy),
        "brier_skill": 1 - formulas.ratio(brier, 1 - (shares**2).sum(axis=1)),
    }


def headline_statistics(cases: Cases, confusion: Floats, aucs: Floats) -> dict[str, Floats]:
    """The metrics of ``schema.HEADLINE_METRICS``, shape ``(b,)`` each."""
    occurring = cases.occurring
    ranked = aucs[:, occurring]
    return {
        "accuracy": formulas.accuracy(confusion),
        "balanced_accuracy": formulas.balanced_accuracy(confusion, occurring),
        "kappa_quadratic": formulas.weighted_kappa(confusion, "quadratic"),
        "macro_f1": formulas.macro_f1(confusion, occurring),
        "auc_ovr_macro": ranked.mean(axis=1) if ranked.shape[1] else np.full(len(aucs), np.nan),
    }


def weighted_confusion(cases: Cases, weights: Weights) -> Floats:
    """Shape ``(b, K, K)``."""
    k = len(cases.class_names)
    cells = np.eye(k * k)[cases.labels * k + cases.predicted]
    return weights.total(cells).reshape(-1, k, k)


def class_aucs(cases: Cases, weights: Weights) -> Floats:
    """One-vs-rest AUC of each class, shape ``(b, K)``."""
    columns = [weights.auc(cases.probabilities[:, k], cases.labels == k) for k in range(len(cases.class_names))]
    return np.stack(columns, axis=1)


def losses(labels: Labels, probabilities: Floats) -> Floats:
    """Cross-entropy of each film, nats, shape ``(n,)``."""
    of_truth = probabilities[np.arange(len(labels)), labels]
    return np.asarray(-np.log(np.clip(of_truth, SMALLEST_PROBABILITY, 1.0)))


# ---- the metrics file -----------------------------------------------------------------------------------------------------

Resampled = tuple[Mapping[str, Floats], Mapping[str, Floats]]
"""Replicates, and values with one patient left out."""


def evaluate_predictions(  # noqa: PLR0913  (all but two are keywords that every caller names)
    table: pd.DataFrame,
    class_names: Sequence[str],
    ordinal: bool,
    *,
    epoch: int,
    split_sha256: str | None,
    bootstrap: int = 2000,
    validation: pd.DataFrame | None = None,
    on: str = "val",
) -> MetricsFile:
    """All metrics of one table of predictions, with 95 % intervals from resampled patients.

    Parameters
    ----------
    table : DataFrame
        As ``RunDir.predictions`` gives it: one row a film.
    class_names : sequence of str
        In label order; classes without films keep their place.
    ordinal : bool
        Whether the order has a meaning; adds ``within_one``, ``mae_classes`` and ``dense_auc``.
    epoch : int
        Epoch of the weights that made the predictions.
    split_sha256 : str or None
        Which split the films come from.
    bootstrap : int
        Replicates; 0 leaves out the bootstrap intervals.
    validation : DataFrame, optional
        The same run's predictions on validation films, which choose the thresholds of yes-or-no questions.
    on : {"val", "test"}
        Which films these are. Without ``validation`` films, validation films choose their thresholds themselves, and the
        methods say so; on test films nobody chooses them, and what needs them is undefined.

    Raises
    ------
    DataError
        As :func:`cases_of`.
    """
    cases = cases_of(table, class_names, ordinal)
    thresholds = choose_thresholds(cases, None if validation is None else cases_of(validation, class_names, ordinal), on == "val")

    def of(weights: Weights) -> dict[str, Floats]:
        return statistics(cases, weights, thresholds)

    found = replicate(cases.patients, of, bootstrap)
    left_out = jackknife(cases.patients, of) if bootstrap else {}
    confusion = formulas.confusion_matrix(cases.labels, cases.predicted, len(class_names))
    metrics = _metrics(cases, thresholds, (found, left_out))
    wilson = formulas.wilson_interval(float(np.trace(confusion)), len(cases.labels))
    if wilson is not None:
        low, high = wilson
        extra = {"wilson_low": low, "wilson_high": high, "wilson_method": "Wilson interval as if films were independent"}
        metrics["accuracy"] = MetricValue(**(metrics["accuracy"].model_dump() | extra))
    return MetricsFile(
        n=len(cases.labels),
        patients=len(set(cases.patients)),
        epoch=epoch,
        split_sha256=split_sha256,
        metrics=metrics,
        per_class={
            name: _class_values(position, cases, confusion, (found, left_out)) for position, name in enumerate(class_names)
        },
        confusion_matrix=confusion.astype(int).tolist(),
        class_names=list(class_names),
    )


def _metrics(cases: Cases, thresholds: Thresholds, resampled: Resampled) -> dict[str, MetricValue]:
    """Every metric that is not of one class, in the order of ``TITLES``."""
    metrics = {}
    for name in resampled[0]:
        if ":" in name:
            continue
        how = _definition(name, cases) or binary_definition(name, cases, thresholds)
        metrics[name] = _metric_value(name, resampled, how, thresholds.missing(name))
    metrics |= share_metrics(cases, metrics) | binary_proportions(cases, thresholds) | _calibration_metrics(cases)
    place = {name: index for index, name in enumerate(TITLES)}
    return dict(sorted(metrics.items(), key=lambda item: place.get(item[0], len(place))))


def share_metrics(cases: Cases, metrics: Mapping[str, MetricValue]) -> dict[str, MetricValue]:
    """Those of ``accuracy`` and ``within_one`` that resampling gives no interval, since all films are right: Wilson's."""
    counted = {"accuracy": 0, "within_one": 1}
    steps_off, everyone = np.abs(cases.labels - cases.predicted), np.ones(len(cases.labels), dtype=bool)
    return {
        name: proportion(cases.patients, steps_off <= most, everyone, "no films")
        for name, most in counted.items()
        if name in metrics and metrics[name].value in (0.0, 1.0) and "no interval" in metrics[name].method
    }


def _calibration_metrics(cases: Cases) -> dict[str, MetricValue]:
    """Calibration errors, which are never 0 in a finite sample, beside what a perfectly calibrated model would show."""
    return {
        name: MetricValue(
            value=error,
            method=f"{SCHEME}; a perfectly calibrated model of this n would show {low:.3f} to {high:.3f}, if {SHARED_TRUTH}",
        )
        for name, (error, low, high) in calibration_errors(cases).items()
    }


def _metric_value(name: str, resampled: Resampled, how: str = "", missing: str = "") -> MetricValue:
    found, left_out = resampled
    return estimate(found[name], left_out.get(name), how, f"undefined: {missing or _why_undefined(name)}")


def _why_undefined(name: str) -> str:
    if "kappa" in name:
        return "all true and predicted classes are one class"
    if "auc" in name:
        return "needs films of the class and films of the others"
    if name.endswith("_skill"):
        return "all films are of one class, so quoting its share is perfect"
    if name.endswith("_ap"):
        return "needs films of both kinds"
    return "the class neither occurs nor is predicted" if name.startswith("f1:") else "no films"


def _definition(name: str, cases: Cases) -> str:
    absent = [title for title, occurs in zip(cases.class_names, cases.occurring, strict=True) if not occurs]
    without = f" (no films of {', '.join(absent)})" if absent else ""
    return {
        "balanced_accuracy": f"mean recall of the classes that occur{without}",
        "macro_f1": f"unweighted mean of the classes that occur or are predicted{without}",
        "auc_ovr_macro": f"unweighted mean of the one-vs-rest AUC of the classes that occur{without}",
        "log_loss": "natural logarithm",
        "brier": "mean of the summed squared errors of all classes, 0 to 2",
        "log_loss_skill": "1 - log loss / log loss of always quoting the class shares",
        "brier_skill": "1 - Brier score / Brier score of always quoting the class shares",
    }.get(name, "")


def _class_values(k: int, cases: Cases, confusion: Floats, resampled: Resampled) -> dict[str, MetricValue | int]:
    is_class, called = cases.labels == k, cases.predicted == k
    name = cases.class_names[k]
    return {
        "n": int(is_class.sum()),
        "patients": patients_among(cases.patients, is_class),
        "sensitivity": proportion(cases.patients, called, is_class, "no films of this class"),
        "specificity": proportion(cases.patients, ~called, ~is_class, "no films of other classes"),
        "ppv": proportion(cases.patients, is_class, called, "this class was never predicted"),
        "f1": _metric_value(f"f1:{name}", resampled),
        "auc": _metric_value(f"auc:{name}", resampled),
    }


# ---- one epoch ------------------------------------------------------------------------------------------------------------


def epoch_metrics(labels: npt.ArrayLike, probabilities: npt.ArrayLike, class_names: Sequence[str]) -> dict[str, Any]:
    """The validation metrics of an :class:`~mammo_core.runs.schema.EpochRecord`, point values only.

    Parameters
    ----------
    labels : int array, shape (n,)
        Class index of each film.
    probabilities : float array, shape (n, K)
        Softmax outputs. Where one is not finite, nothing can be ranked and every value is ``None``.

    Returns
    -------
    dict
        ``val_balanced_acc, val_kappa_quadratic, val_macro_f1, val_auc_ovr, val_recall {class: r}, predicted_share {class: s}``;
        floats, or ``None`` where undefined.
    """
    truth, scores = np.asarray(labels, dtype=np.intp), np.asarray(probabilities, dtype=np.float64)
    n, k = len(truth), len(class_names)
    if n == 0 or not np.isfinite(scores).all():
        nothing = dict.fromkeys(class_names)
        names = ("val_balanced_acc", "val_kappa_quadratic", "val_macro_f1", "val_auc_ovr")
        return {**dict.fromkeys(names), "val_recall": nothing, "predicted_share": dict(nothing)}
    cases = Cases(truth, scores.argmax(axis=1), scores, tuple(map(str, range(n))), tuple(class_names), False)
    everyone = Weights(np.ones((1, n)), np.arange(n))
    confusion = formulas.confusion_matrix(truth, cases.predicted, k)[None]
    found = headline_statistics(cases, confusion, class_aucs(cases, everyone))
    recall, share = formulas.recalls(confusion)[0], confusion[0].sum(axis=0) / n
    return {
        "val_balanced_acc": _or_none(found["balanced_accuracy"][0]),
        "val_kappa_quadratic": _or_none(found["kappa_quadratic"][0]),
        "val_macro_f1": _or_none(found["macro_f1"][0]),
        "val_auc_ovr": _or_none(found["auc_ovr_macro"][0]),
        "val_recall": {name: _or_none(recall[index]) for index, name in enumerate(class_names)},
        "predicted_share": {name: float(share[index]) for index, name in enumerate(class_names)},
    }


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
