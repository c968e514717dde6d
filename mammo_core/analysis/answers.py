"""The comparison in one sentence: who is ahead, by how much, and whether these runs can tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mammo_core.analysis.comparability import unlike
from mammo_core.analysis.groups import Group
from mammo_core.analysis.metrics import TITLES
from mammo_core.analysis.variance import FEW_SEEDS, describe, is_lower_better

LEVEL = 0.05


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
    lead = abs((ranked[0][0] or 0.0) - (ranked[1][0] or 0.0))
    if lead == 0:
        return f"{first.name} and {second.name} have the same {title}, {ranked[0][0]:.3f}."
    ahead = f"{first.name} is ahead of {second.name} in {title} by {lead:.3f}"
    test = _between(tests, first.name, second.name, metric)
    if test is None or test["ci_low"] is None:
        return f"{ahead}; nothing here can tell whether that is more than chance."
    return _judged(ahead, (first, second), test, _between(superiority, first.name, second.name, metric))


def _between(entries: Sequence[Mapping[str, Any]], one: str, other: str, metric: str) -> Mapping[str, Any] | None:
    return next((entry for entry in entries if entry["metric"] == metric and {entry["a"], entry["b"]} == {one, other}), None)


def _judged(ahead: str, pair: tuple[Group, Group], test: Mapping[str, Any], superiority: Mapping[str, Any] | None) -> str:
    first, second = pair
    swapped = (test["a"] != first.name) != is_lower_better(test["metric"])
    low, high = (-test["ci_high"], -test["ci_low"]) if swapped else (test["ci_low"], test["ci_high"])
    interval = f"95 % interval {low:.3f} to {high:.3f}"
    runs = min(len(first.members), len(second.members))
    if low <= 0:
        return f"{ahead}, but {_runs_words(runs)} cannot tell them apart: {interval}."
    if not test["paired"]:
        return f"{ahead} ({interval}), but on different films: a description, not a test."
    if runs < FEW_SEEDS:
        return f"{ahead} ({interval}); with fewer than {FEW_SEEDS} runs each, take it as a description."
    if (test.get("p_holm") or 0.0) >= LEVEL:
        return f"{ahead} ({interval}), but not after correcting for the number of comparisons (p = {test['p_holm']:.3f})."
    if superiority is not None and superiority["better"] is None:
        share = max(superiority["value"], 1 - superiority["value"])
        return f"{ahead} ({interval}), but a run of {first.name} beats one of {second.name} in only {share:.0%} of pairs."
    return f"{ahead.replace(' is ahead of ', ' is better than ', 1)}: {interval}."


def _runs_words(runs: int) -> str:
    return "one run each" if runs == 1 else f"{runs} runs each"
