"""Tests of trained models one against one: McNemar and DeLong on the same films, and folds against folds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from mammo_core.analysis.delong import compare_aucs
from mammo_core.analysis.groups import Group
from mammo_core.analysis.pair_tests import cochran_q, corrected_t, mcnemar
from mammo_core.analysis.predictions import Cases
from mammo_core.analysis.resampling import Resampled
from mammo_core.errors import UndefinedMetric

MOST_PAIRS = 20
"""Pairs of models that are tested one against one; more would be a search for the lucky one."""


def model_tests(a: Resampled, b: Resampled) -> Iterator[dict[str, Any]]:
    """McNemar (accuracy) and DeLong (AUC of each class) for models of the same seed and fold, or for the only one of each group.

    They speak of these trained models, not of their settings. Nothing where the films differ, or where folds were joined.
    """
    if a.films != b.films or max(a.folds, b.folds) > 1:
        return
    for label_a, label_b, one, other in _matched(a, b):
        models = f"{label_a} against {label_b}"
        independent = len(set(one.patients)) == len(one.labels)
        found = mcnemar(one.predicted == one.labels, other.predicted == other.labels)
        caution = "" if independent else "; films of a patient are not independent, so this p is too small"
        yield {"metric": "accuracy", "models": models, **found, "method": found["method"] + caution}
        yield from ({"models": models, **test} for test in _delong(one, other, independent))


def _matched(a: Resampled, b: Resampled) -> list[tuple[str, str, Cases, Cases]]:
    if a.passes == b.passes == 1:
        return [(a.labels[0], b.labels[0], a.cases[0], _in_order(a.cases[0], b.cases[0], a, b))]
    other = dict(zip(b.labels, b.cases, strict=True))
    pairs = [(label, one) for label, one in zip(a.labels, a.cases, strict=True) if label in other]
    return [(label, label, one, _in_order(one, other[label], a, b)) for label, one in pairs[:MOST_PAIRS]]


def _in_order(one: Cases, other: Cases, a: Resampled, b: Resampled) -> Cases:
    """``other`` in the film order of ``one``."""
    if a.film_order == b.film_order:
        return other
    place = {film: index for index, film in enumerate(b.film_order)}
    order = np.array([place[film] for film in a.film_order], dtype=np.intp)
    return other.take(order)


def _delong(one: Cases, other: Cases, independent: bool) -> Iterator[dict[str, Any]]:
    clustered = "" if independent else ", films of a patient taken together (Obuchowski)"
    for k, name in enumerate(one.class_names):
        try:
            found = compare_aucs(one.labels == k, one.probabilities[:, k], other.probabilities[:, k], one.patients)
        except UndefinedMetric:
            continue  # no films of the class: the class table says so
        yield {
            "test": "delong",
            "metric": f"auc:{name}",
            "difference": found.difference,
            "ci_low": found.ci_low,
            "ci_high": found.ci_high,
            "p": found.p,
            "method": f"DeLong{clustered}: AUC of {name} against the rest, {found.auc_a:.3f} and {found.auc_b:.3f}",
        }


def fold_tests(a: Group, b: Group, metrics: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Nadeau and Bengio's corrected t test over the folds that both groups have on the same split."""
    theirs = {(m.seed, m.fold, digest): m for m, digest in zip(b.members, b.split_hashes, strict=True)}
    pairs = [
        (member, theirs[(member.seed, member.fold, digest)])
        for member, digest in zip(a.members, a.split_hashes, strict=True)
        if digest is not None and (member.seed, member.fold, digest) in theirs
    ]
    ratio = a.judged_to_learnt
    if ratio is None:
        return
    for metric in metrics:
        values = [(one.metrics.get(metric), other.metrics.get(metric)) for one, other in pairs]
        differences = [x.value - y.value for x, y in values if x and y and x.value is not None and y.value is not None]
        found = corrected_t(differences, ratio)
        if found is not None:
            yield {"metric": metric, **found}


def q_test(models: Sequence[Resampled]) -> dict[str, Any] | None:
    """Cochran's Q over three or more single models on the same films."""
    if len(models) < 3 or any(model.films != models[0].films for model in models):
        return None
    first = models[0]
    ordered = [_in_order(first.cases[0], model.cases[0], first, model) for model in models]
    p = cochran_q([cases.predicted == cases.labels for cases in ordered])
    method = f"Cochran's Q: whether {len(models)} models are right equally often on the same films"
    nothing = {"difference": None, "ci_low": None, "ci_high": None}
    return {"test": "cochran_q", "metric": "accuracy", **nothing, "p": p, "method": method}
