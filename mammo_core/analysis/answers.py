"""The comparison in one sentence: who is ahead, by how much, and whether these runs can tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mammo_core.analysis.comparability import unknown, unlike
from mammo_core.analysis.groups import Group
from mammo_core.analysis.metrics import TITLES
from mammo_core.analysis.variance import FEW_SEEDS, describe, is_lower_better

LEVEL = 0.05
Entry = Mapping[str, Any]


def metric_title(metric: str) -> str:
    """What a reader sees for a metric name."""
    return {"val_loss": "Validation loss"}.get(metric) or TITLES.get(metric, metric)


def answer(
    groups: Sequence[Group],
    tests: Sequence[Mapping[str, Any]],
    superiority: Sequence[Mapping[str, Any]],
    metric: str,
) -> str:
    """Which group is ahead in ``metric`` and whether that is more than chance.

    "Better" needs all of: the same films, an interval that leaves out 0, a p below 0.05 after Holm's correction over all pairs,
    at least five runs in each group, and P(A > B) of 0.75 or more with its interval above one half.
    """
    title = metric_title(metric)
    ranked = [(spread.mean, group) for group in groups if (spread := describe(group.values(metric))).mean is not None]
    ranked.sort(key=lambda pair: pair[0] or 0.0, reverse=not is_lower_better(metric))
    if not ranked:
        return f"{title} is undefined in every group."
    first, *others = [group for _, group in ranked]
    if not others:
        return f"{first.name}: {title} {describe(first.values(metric)).text()}."
    second = others[0]
    if unlike(groups):
        return "These groups tell apart different classes; their numbers do not mean the same, so none of them is ahead."
    if unknown(groups):
        names = ", ".join(group.name for group in groups if group.is_imported and not group.class_names)
        return f"What classes and films {names} was judged on is not known here, so none of the groups is ahead of another."
    test = _between(tests, first.name, second.name, metric)
    if test is not None and test["difference"] is not None:
        is_first = (test["difference"] > 0) != is_lower_better(metric)
        if is_first != (test["a"] == first.name) and test["difference"] != 0:
            first, second = second, first  # the test's own difference decides who is ahead
    lead = abs(test["difference"] if test and test["difference"] is not None else (ranked[0][0] or 0.0) - (ranked[1][0] or 0.0))
    if lead == 0:
        return f"{first.name} and {second.name} have the same {title}, {ranked[0][0]:.3f}."
    ahead = f"{first.name} is ahead of {second.name} in {title} by {lead:.3f}"
    if test is None or test["ci_low"] is None:
        return f"{ahead}; nothing here can tell whether that is more than chance."
    others_said = [entry for entry in tests if entry is not test and entry.get("test") == "nadeau_bengio"]
    folds = _between(others_said, first.name, second.name, metric)
    return _judged(ahead, (first, second), test, folds, _between(superiority, first.name, second.name, metric))


def _between(entries: Sequence[Mapping[str, Any]], one: str, other: str, metric: str) -> Mapping[str, Any] | None:
    return next((entry for entry in entries if entry["metric"] == metric and {entry["a"], entry["b"]} == {one, other}), None)


def _judged(ahead: str, pair: tuple[Group, Group], test: Entry, folds: Entry | None, superiority: Entry | None) -> str:
    first, second = pair
    swapped = (test["a"] != first.name) != is_lower_better(test["metric"])
    low, high = (-test["ci_high"], -test["ci_low"]) if swapped else (test["ci_low"], test["ci_high"])
    interval = f"95 % interval {low:.3f} to {high:.3f}"
    runs = (test["n_a"], test["n_b"]) if test["a"] == first.name else (test["n_b"], test["n_a"])
    if low <= 0:
        return f"{ahead}, but {_runs_words(pair, runs)} cannot tell them apart: {interval}."
    if not test["paired"]:
        return f"{ahead} ({interval}), but on different films: a description, not a test."
    if min(runs) < FEW_SEEDS:
        return f"{ahead} ({interval}); with {_runs_words(pair, runs)}, take it as a description."
    if (test.get("p_holm") or 0.0) >= LEVEL:
        return f"{ahead} ({interval}), but not after correcting for the number of comparisons (p = {test['p_holm']:.3f})."
    if folds is not None and (folds["p"] is None or folds["p"] >= LEVEL):
        return f"{ahead} ({interval}), but fold by fold the difference is not more than chance (Nadeau and Bengio)."
    if superiority is not None and superiority["better"] is None:
        share = superiority["value"] if superiority["a"] == first.name else 1 - superiority["value"]
        return f"{ahead} ({interval}), but a run of {first.name} beats one of {second.name} in only {share:.0%} of pairs."
    return f"{ahead.replace(' is ahead of ', ' is better than ', 1)}: {interval}."


def _runs_words(pair: tuple[Group, Group], runs: tuple[int, int]) -> str:
    """How many independent trainings stand behind each side, in words."""
    if any(group.has_folds for group in pair) and max(runs) == 1:
        return "one pass over the folds each"
    if runs[0] == runs[1]:
        return "one run each" if runs[0] == 1 else f"{runs[0]} runs each"
    return f"{runs[0]} and {runs[1]} runs"
