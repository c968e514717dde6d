"""May these groups be compared? What limits a comparison, in sentences, and the settings in which groups differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from mammo_core.analysis.finished import VARYING_SETTINGS, differing_settings
from mammo_core.analysis.groups import Group, same_predictions
from mammo_core.analysis.resampling import Resampled
from mammo_core.analysis.variance import FEW_SEEDS


def group_warnings(groups: Sequence[Group]) -> list[str]:
    """Sentences on what limits each group by itself."""
    warnings = []
    for group in groups:
        if group.left_out:
            listed = "; ".join(f"{entry['run'].rpartition('/')[2]} ({entry['reason']})" for entry in group.left_out)
            warnings.append(f"{group.name}: {len(group.left_out)} run(s) left out: {listed}.")
        if not group.members:
            continue
        if len(group.members) < FEW_SEEDS:
            warnings.append(f"{group.name}: {len(group.members)} run(s), descriptive only; {FEW_SEEDS} or more judge the spread.")
        warnings += [*_leak_warnings(group), *_best_epoch_warning(group), *_mixture_warnings(group)]
    return warnings


def _leak_warnings(group: Group) -> list[str]:
    """Why a leaking split was trained on, in the words of whoever did it."""
    reasons = (member.finished.run.split_info().get("override_reason") for member in group.members)
    told = dict.fromkeys(" ".join(str(reason).split()) for reason in reasons if reason)
    return [f"{group.name}: its split leaks and was used for this reason: {reason.rstrip('.')}." for reason in told]


def _best_epoch_warning(group: Group) -> list[str]:
    last = [member for member in group.members if member.finished.best_epoch >= member.finished.epochs_run]
    if not last:
        return []
    return [
        f"{group.name}: the best epoch is the last one in {len(last)} of {len(group.members)} runs; they may not have converged, "
        "and longer training could change the order."
    ]


def _mixture_warnings(group: Group) -> list[str]:
    warnings = []
    differing = differing_settings([member.finished.config for member in group.members if not member.finished.imported])
    if differing:
        warnings.append(f"{group.name}: its runs differ in more than seed and fold ({', '.join(differing)}).")
    if group.has_folds:
        warnings.append(
            f"{group.name}: folds share most of their training films, so the SD between them is not that of fresh trainings, and "
            "the t interval is widened for it."
        )
    elif len(set(group.split_hashes) - {None}) > 1:
        warnings.append(f"{group.name}: its runs used different splits, so their spread mixes training chance with other films.")
    if group.is_imported:
        warnings.append(
            f"{group.name}: trained by another tool; its numbers are those of its history, without intervals over patients, and "
            "its films and split cannot be checked here."
        )
    return warnings


def pair_warnings(groups: Sequence[Group], resampled: Mapping[str, Resampled]) -> list[str]:
    """Sentences on what is unlike between the groups."""
    warnings = []
    if len({group.task for group in groups if not group.is_imported}) > 1:
        warnings.append(f"The groups learnt different tasks ({', '.join(f'{g.name}: {g.task}' for g in groups)}).")
    if unlike(groups):
        warnings.append("The groups have different classes, so their numbers do not mean the same and are not tested.")
    warnings += [f"{run} stands in more than one group." for run in _in_several(groups)]
    for a, b in combinations(groups, 2):
        if a.class_names == b.class_names and not unknown([a, b]):
            warnings += _films_warning(a, b, resampled)
    return warnings


def _films_warning(a: Group, b: Group, resampled: Mapping[str, Resampled]) -> list[str]:
    if not {a.name, b.name} <= set(resampled):
        differ = set(a.split_hashes) != set(b.split_hashes)
        return [f"{a.name} and {b.name} used different splits: each number comes from its own films."] if differ else []
    films_a, films_b = set(resampled[a.name].films), set(resampled[b.name].films)
    if films_a != films_b:
        shared = len(films_a & films_b)
        return [
            f"{a.name} and {b.name} were not measured on the same films ({shared} shared of {len(films_a)} and {len(films_b)}), "
            "so no paired test is possible; the difference is a description."
        ]
    if set(a.split_hashes) != set(b.split_hashes):
        return [f"{a.name} and {b.name} were judged on the same films but used different splits, so they learnt from others."]
    return []


def _in_several(groups: Sequence[Group]) -> list[str]:
    """Runs, or copies of them, that stand in more than one group."""
    found = []
    for a, b in combinations(groups, 2):
        found += [
            one.run.id for one in a.members if any(one.run == other.run or same_predictions(one, other) for other in b.members)
        ]
    return list(dict.fromkeys(found))


def unknown(groups: Sequence[Group]) -> bool:
    """Whether another tool trained a group and does not say what its classes are, so that it can be ranked with nobody."""
    return len(groups) > 1 and any(group.is_imported and not group.class_names for group in groups)


def unlike(groups: Sequence[Group]) -> bool:
    """Whether two groups are known to tell apart different classes; what another tool does not say is not held against it."""
    return len({group.class_names for group in groups if group.class_names}) > 1


def config_differences(groups: Sequence[Group]) -> list[dict[str, Any]]:
    """Settings whose values are not the same in all groups: ``{"setting", "values": {group: [...]}}``.

    Groups that another tool trained are left out: their settings are not known.
    """
    rows = {
        group.name: [member.finished.config.to_dict() for member in group.members if not member.finished.imported]
        for group in groups
    }
    rows = {name: configs for name, configs in rows.items() if configs}
    if not rows:
        return []
    keys = [key for key in next(iter(rows.values()))[0] if key not in VARYING_SETTINGS]
    found = []
    for key in keys:
        values = {name: _distinct([row[key] for row in configs]) for name, configs in rows.items()}
        if any(value != next(iter(values.values())) for value in values.values()):
            found.append({"setting": key, "values": values})
    return found


def _distinct(values: Sequence[Any]) -> list[Any]:
    return [value for index, value in enumerate(values) if value not in values[:index]]
