"""Groups of runs side by side: is the difference real, and may they be compared at all?"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from mammo_core.analysis.answers import answer, metric_title
from mammo_core.analysis.centres import centre_rows, split_gaps
from mammo_core.analysis.comparability import config_differences, group_warnings, pair_warnings, unknown
from mammo_core.analysis.expectation import runs_for_half_width, sd_interval, smallest_visible_difference
from mammo_core.analysis.formulas import Z_95
from mammo_core.analysis.groups import Group, load_group, primary_metric, shared_metrics
from mammo_core.analysis.model_tests import fold_tests, model_tests, q_test
from mammo_core.analysis.pair_tests import holm, probability_of_superiority, welch
from mammo_core.analysis.resampling import Resampled, difference, group_interval, pooled_value, resample
from mammo_core.analysis.variance import describe, is_lower_better, mean_curve, metric_names
from mammo_core.errors import ConfigError, DataError, MammoError
from mammo_core.runs.run_dir import RunDir
from mammo_core.settings import RESEARCH_ONLY

CURVES = (
    "train_loss",
    "val_loss",
    "train_acc",
    "val_acc",
    "val_balanced_acc",
    "val_kappa_quadratic",
    "val_macro_f1",
    "val_auc_ovr",
)

WANTED_HALF_WIDTH = 0.02
"""Of the interval of a mean: the precision for which the number of runs is worked out."""


def compare(groups: Mapping[str, Sequence[RunDir]], on: str = "val") -> dict[str, Any]:
    """Everything the Compare page and ``compare --json`` show.

    Parameters
    ----------
    groups : mapping of name to runs
        Usually one experiment each; unfinished runs are left out and listed. Runs that another tool trained take part with the
        numbers of their history.
    on : {"val", "test"}
        Which films the numbers come from; test numbers exist only where the run was evaluated on the test split.

    Returns
    -------
    dict
        ``groups`` (``name, runs, n, kind, metrics {m: mean, sd, ci_low, ci_high, values, ...}`` and what they were measured on),
        ``tests`` (one a pair and metric: runs x patients bootstrap), ``further_tests`` (Welch, folds, McNemar, DeLong),
        ``superiority``, ``visibility``, ``centres``, ``split_gaps``, ``warnings``, ``answer`` (one sentence), ``primary_metric``,
        ``curves``, ``config_differences``. ``ci_low`` and ``ci_high`` of a group are the 95 % t interval of the mean over its
        runs (for folds with Nadeau and Bengio's variance); ``films`` holds the interval over runs and patients.

    Raises
    ------
    ConfigError
        ``on`` is neither.
    MammoError
        No group has a finished run.
    """
    if on not in ("val", "test"):
        raise ConfigError(f"{on!r} is no part of a split that runs are compared on; expected val or test.")
    loaded = [load_group(name, runs, on) for name, runs in groups.items()]
    usable = [group for group in loaded if group.members]
    if not usable:
        reasons = [entry["reason"] for group in loaded for entry in group.left_out]
        raise MammoError(
            f"There is nothing to compare yet ({reasons[0] if reasons else 'no runs were given'}); expected at least one "
            f"finished run with {on} metrics. Wait for a run to end, or evaluate it."
        )
    names = metric_names([member.metrics for group in usable for member in group.members])
    primary = primary_metric(usable)
    resampled, obstacles = _resample_all(usable)
    tests = _with_holm(list(_tests(usable, resampled)), primary)
    further = list(_further_tests(usable, resampled))
    superiority = list(_superiority(usable))
    differences = config_differences(usable)
    settings = [str(entry["setting"]) for entry in differences if entry["setting"] != "split"]
    return {
        "on": on,
        "primary_metric": primary,
        "answer": answer(usable, [*tests, *further], superiority, primary),
        "groups": [_group_entry(group, names, resampled.get(group.name)) for group in loaded],
        "tests": tests,
        "further_tests": further,
        "superiority": superiority,
        "visibility": [*_visible_differences(tests, primary), *_visibility(usable, primary)],
        "centres": [row for group in usable if group.name in resampled for row in centre_rows(group)],
        "split_gaps": split_gaps(usable, resampled, settings, primary),
        "warnings": [*group_warnings(loaded), *pair_warnings(usable, resampled), *obstacles],
        "config_differences": differences,
        "curves": {group.name: _curves(group) for group in usable},
        "notice": RESEARCH_ONLY,
    }


def _resample_all(groups: Sequence[Group]) -> tuple[dict[str, Resampled], list[str]]:
    found: dict[str, Resampled] = {}
    obstacles = []
    for group in groups:
        if group.is_imported:
            continue
        try:
            found[group.name] = resample(group)
        except DataError as error:
            obstacles.append(f"{group.name} cannot be resampled, so its intervals know of training chance only ({error})")
    return found, obstacles


# ---- one group ------------------------------------------------------------------------------------------------------------


def _group_entry(group: Group, names: Sequence[str], resampled: Resampled | None) -> dict[str, Any]:
    runs = [member.finished for member in group.members]
    tables = [member.predictions for member in group.members]
    return {
        "name": group.name,
        "kind": group.kind,
        "runs": [finished.run.id for finished in runs],
        "n": len(runs),
        "metrics": {name: _metric_entry(group, name, resampled) for name in names},
        "seeds": [finished.seed for finished in runs],
        "folds": [finished.config.fold for finished in runs],
        "best_epochs": [finished.best_epoch for finished in runs],
        "best_words": [finished.best_text for finished in runs],
        "imported": [finished.imported for finished in runs],
        "films": [None if table is None else len(table) for table in tables],
        "patients": None if resampled is None else resampled.patients,
        "task": group.task,
        "class_names": list(group.class_names),
        "dataset": sorted({finished.config.dataset for finished in runs} - {""}),
        "split": sorted({finished.config.split for finished in runs} - {""}),
        "scheme": group.split_record.get("scheme"),
        "split_sha256": list(group.split_hashes),
        "left_out": [dict(entry) for entry in group.left_out],
    }


def _metric_entry(group: Group, name: str, resampled: Resampled | None) -> dict[str, Any]:
    spread = group.spread(name)
    folds = "; variance stretched for the training films that folds share (Nadeau and Bengio)" if group.has_folds else ""
    entry: dict[str, Any] = {
        "mean": spread.mean,
        "sd": spread.sd,
        "ci_low": spread.ci_low,
        "ci_high": spread.ci_high,
        "values": group.values(name),
        "n": spread.n,
        "prediction_low": spread.prediction_low,
        "prediction_high": spread.prediction_high,
        "sd_interval": None if spread.sd is None else sd_interval(spread.sd, spread.n),
        "population_sd": spread.population_sd,
        "method": f"mean over {spread.n} run(s), SD (n-1), 95 % t interval: training chance on these films only{folds}",
        "films": None,
        "pooled": None,
    }
    if resampled is not None and name in resampled.values:
        entry["films"] = group_interval(resampled, name)
        if resampled.folds > 1:
            entry["pooled"] = pooled_value(resampled, name)
    return entry


def _curves(group: Group) -> dict[str, list[dict[str, Any]]]:
    tables = {column: mean_curve([member.history for member in group.members], column) for column in CURVES}
    return {column: _records(table) for column, table in tables.items() if len(table)}


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {"epoch": int(e), "mean": m, "sd": None if math.isnan(s) else s, "n": int(n)}
        for e, m, s, n in table.itertuples(index=False)
    ]


# ---- pairs of groups ------------------------------------------------------------------------------------------------------


def _pairs(groups: Sequence[Group]) -> Iterator[tuple[Group, Group]]:
    """Pairs whose numbers are known to mean the same."""
    return ((a, b) for a, b in itertools.combinations(groups, 2) if a.class_names == b.class_names and not unknown([a, b]))


def _tests(groups: Sequence[Group], resampled: Mapping[str, Resampled]) -> Iterator[dict[str, Any]]:
    for a, b in _pairs(groups):
        names = {"a": a.name, "b": b.name}
        if a.name in resampled and b.name in resampled:
            for metric in resampled[a.name].values:
                yield names | difference(resampled[a.name], resampled[b.name], metric)
            continue
        for metric in shared_metrics([a, b]):
            found = welch(a.values(metric), b.values(metric))
            if found is not None:
                sizes = {"n_a": len(a.members), "n_b": len(b.members)}
                yield names | {"metric": metric, **found, "paired": False, "patients_only": None, **sizes}


def _with_holm(tests: list[dict[str, Any]], primary: str) -> list[dict[str, Any]]:
    """Adds ``family``: the primary metric of all pairs is tested with Holm's correction (``p_holm``), the rest is exploration."""
    adjusted = iter(holm([test["p"] for test in tests if test["metric"] == primary]))
    return [
        test
        | ({"family": "primary", "p_holm": next(adjusted)} if test["metric"] == primary else {"family": "other", "p_holm": None})
        for test in tests
    ]


def _further_tests(groups: Sequence[Group], resampled: Mapping[str, Resampled]) -> Iterator[dict[str, Any]]:
    for a, b in _pairs(groups):
        names = {"a": a.name, "b": b.name}
        if a.has_folds and b.has_folds:
            yield from (names | found for found in fold_tests(a, b, shared_metrics([a, b])))
        else:
            for metric in shared_metrics([a, b]):
                found = welch(a.values(metric), b.values(metric))
                if found is not None:
                    yield names | {"metric": metric, **found}
        if a.name in resampled and b.name in resampled:
            yield from (names | found for found in model_tests(resampled[a.name], resampled[b.name]))
    single = [resampled[group.name] for group in groups if group.name in resampled and len(group.members) == 1]
    found_q = q_test(single)
    if found_q is not None:
        yield {"a": ", ".join(group.name for group in groups if len(group.members) == 1), "b": "", **found_q}


def _superiority(groups: Sequence[Group]) -> Iterator[dict[str, Any]]:
    for a, b in _pairs(groups):
        for metric in shared_metrics([a, b]):
            lower = is_lower_better(metric)
            found = probability_of_superiority(a.values(metric), b.values(metric), lower_is_better=lower)
            if found is not None:
                yield {"a": a.name, "b": b.name, "metric": metric, **found}


def _visible_differences(tests: Sequence[dict[str, Any]], metric: str) -> Iterator[dict[str, Any]]:
    """What each pair could have shown, from the width of its own interval: 2.8 standard errors are found in 80 % of cases."""
    for test in tests:
        if test["metric"] != metric or test["ci_low"] is None:
            continue
        visible = SEEN_IN_80_PERCENT * (test["ci_high"] - test["ci_low"]) / (2 * Z_95)
        films = "these runs and patients" if test["paired"] else "these runs and films"
        yield {
            "pair": [test["a"], test["b"]],
            "metric": metric,
            "smallest_difference": visible,
            "text": (
                f"{test['a']} against {test['b']}: with {films} only true differences in {metric_title(metric)} above "
                f"{visible:.2f} can be seen in four of five tries."
            ),
        }


SEEN_IN_80_PERCENT = 2.8
"""Standard errors: 1.96 for a two-sided test at 5 %, and 0.84 for a power of 80 %."""


def _visibility(groups: Sequence[Group], metric: str) -> Iterator[dict[str, Any]]:
    """What so many runs can show at all, from their own SD."""
    for group in groups:
        spread = describe(group.values(metric))
        if spread.sd is None or group.has_folds:
            continue
        visible = smallest_visible_difference(spread.sd, spread.n, spread.n)
        needed = runs_for_half_width(spread.sd, WANTED_HALF_WIDTH)
        more = "more than 200 runs" if needed is None else f"{needed} runs"
        yield {
            "group": group.name,
            "metric": metric,
            "n": spread.n,
            "sd": spread.sd,
            "smallest_difference": visible,
            "runs_for_half_width": needed,
            "half_width": WANTED_HALF_WIDTH,
            "text": (
                f"{group.name}: by training chance alone (SD {spread.sd:.3f}), {spread.n} runs a side show differences in "
                f"{metric_title(metric)} above {visible:.2f}, and a mean known to ± {WANTED_HALF_WIDTH} on these films takes "
                f"{more}; other patients add to both."
            ),
        }
