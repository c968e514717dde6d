"""Results by centre, device, view, age band and any other column of the manifest.

Subgroups chosen after looking at the data show differences by chance, so there is an interval for each and no p-value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mammo_core.analysis.bootstrap import Weights, jackknife, replicate
from mammo_core.analysis.estimates import estimate
from mammo_core.analysis.formulas import Floats, accuracy, balanced_accuracy, weighted_kappa
from mammo_core.analysis.metrics import TITLES, class_aucs, share_metrics, weighted_confusion
from mammo_core.analysis.predictions import PROBABILITY_PREFIX, Cases, cases_of
from mammo_core.analysis.questions import Question, answers_of, questions_of
from mammo_core.runs.schema import MetricValue

LEAST_CASES = 10
"""Cases of a needed class below which a metric is hidden: its interval would span nearly everything."""
MOST_GROUPS = 12
MOST_VALUES = 30
"""Text columns with more values than this are names, not groups."""
NOT_STATED = "not stated"
AGE_EDGES = (40, 50, 60, 70)
NEVER = frozenset({"image_id", "patient_id", "exam_id", "y_true", "y_pred", "label"})
WARNING = (
    "Subgroups were not chosen beforehand: with many looks one of them differs by chance. Intervals are for each group alone; "
    "there are no p-values. An interval that covers the value of all cases says nothing against it."
)


@dataclass(frozen=True)
class Subgroup:
    """One row: everybody, or one value of a column."""

    name: str
    films: int
    patients: int
    per_class: Mapping[str, int]
    value: MetricValue
    """``None`` with the reason where hidden or undefined."""


def subgroup_columns(table: pd.DataFrame) -> dict[str, str]:
    """Columns by which a table of ``levels.with_facts`` can be divided, and why each of the others cannot."""
    reasons = {}
    for name in map(str, table.columns):
        if name in NEVER or name.startswith(PROBABILITY_PREFIX):
            continue
        values = table[name].astype(str)
        distinct = values[values != ""].nunique()
        if distinct < 2:
            reasons[name] = "the same for all" if distinct else "empty"
        elif distinct > MOST_VALUES and _numbers(values) is None:
            reasons[name] = f"{distinct} different values"
        else:
            reasons[name] = ""
    return reasons


def banded(values: pd.Series, name: str) -> pd.Series:
    """Group of each case: the value itself, a band of a numeric column, the year of a date, or ``not stated``.

    Ages are cut at 40, 50, 60 and 70 years, other numbers with more than six values at their quartiles.
    """
    text = values.astype(str).str.strip()
    stated = (text != "") & (text != "nan")
    years = text.str.extract(r"^((?:19|20)\d\d)-?\d\d-?\d\d$")[0]
    if stated.any() and years[stated].notna().all():
        text = years.fillna("")
    numbers = _numbers(text)
    if numbers is not None and numbers.nunique() > 6:
        edges = AGE_EDGES if re.search(r"(^|_)age($|_)", name.lower()) else tuple(np.unique(numbers.quantile([0.25, 0.5, 0.75])))
        text = _bands(numbers, edges)
    return text.where(stated, NOT_STATED)


def _numbers(text: pd.Series) -> pd.Series | None:
    """The values as numbers where all that are stated are; DICOM ages (``054Y``) count as years."""
    stripped = text.str.replace(r"^0*(\d+)Y$", r"\1", regex=True)
    numbers = pd.to_numeric(stripped.where(stripped != ""), errors="coerce")
    stated = (text != "") & (text != "nan")
    return numbers if stated.any() and numbers[stated].notna().all() else None


def _bands(numbers: pd.Series, edges: Sequence[float]) -> pd.Series:
    names = [f"below {_short(edges[0])}"]
    names += [f"{_short(low)} to below {_short(high)}" for low, high in zip(edges[:-1], edges[1:], strict=True)]
    names.append(f"{_short(edges[-1])} and above")
    places = np.searchsorted(np.asarray(edges, dtype=np.float64), numbers.to_numpy(dtype=np.float64), side="right")
    return pd.Series(np.array(names, dtype=object)[places], index=numbers.index)


def _short(value: float) -> str:
    return f"{value:g}"


# ---- metrics --------------------------------------------------------------------------------------------------------------

Statistic = Callable[[Cases, Weights], Floats]


@dataclass(frozen=True)
class SubgroupMetric:
    """A metric and what a group must have for it."""

    key: str
    title: str
    statistic: Statistic
    lacks: Callable[[Cases], str]
    """Why a group of these cases is too small, or nothing."""


def subgroup_metrics(class_names: Sequence[str], ordinal: bool) -> dict[str, SubgroupMetric]:
    """The metrics offered: AUC of each question first, then those of the calls."""
    found = []
    for question in questions_of(class_names, ordinal):
        lacks = _needs_both(question.positive, question.negative)
        found.append(SubgroupMetric(question.key, f"AUC: {question.title}", _auc_of(question), lacks))
    found.append(SubgroupMetric("accuracy", TITLES["accuracy"], _accuracy, lambda cases: _few(len(cases.labels), "cases")))
    found.append(SubgroupMetric("balanced_accuracy", TITLES["balanced_accuracy"], _balanced, _needs_each))
    if ordinal:
        found.append(SubgroupMetric("kappa_quadratic", TITLES["kappa_quadratic"], _kappa, _needs_two_classes))
    found.append(SubgroupMetric("auc_ovr_macro", TITLES["auc_ovr_macro"], _macro_auc, _needs_each))
    return {metric.key: metric for metric in found}


def _auc_of(question: Question) -> Statistic:
    def auc(cases: Cases, weights: Weights) -> Floats:
        answers = answers_of(cases, question)
        asked = np.isin(cases.labels, [cases.class_names.index(name) for name in (*question.positive, *question.negative)])
        return Weights(weights.counts, weights.patient_of[asked]).auc(answers.scores, answers.positive)

    return auc


def _accuracy(cases: Cases, weights: Weights) -> Floats:
    return accuracy(weighted_confusion(cases, weights))


def _balanced(cases: Cases, weights: Weights) -> Floats:
    return balanced_accuracy(weighted_confusion(cases, weights), cases.occurring)


def _kappa(cases: Cases, weights: Weights) -> Floats:
    return weighted_kappa(weighted_confusion(cases, weights), "quadratic")


def _macro_auc(cases: Cases, weights: Weights) -> Floats:
    return np.asarray(class_aucs(cases, weights)[:, cases.occurring].mean(axis=1))


def _few(count: int, what: str) -> str:
    return f"{count} {what}, fewer than {LEAST_CASES}" if count < LEAST_CASES else ""


def _needs_both(positive: tuple[str, ...], negative: tuple[str, ...]) -> Callable[[Cases], str]:
    def lacks(cases: Cases) -> str:
        sides = (" or ".join(positive), _count(cases, positive)), (" or ".join(negative), _count(cases, negative))
        return "; ".join(reason for words, count in sides if (reason := _few(count, f"of {words}")))

    return lacks


def _needs_each(cases: Cases) -> str:
    reasons = (_few(_count(cases, (name,)), f"of {name}") for name in cases.class_names)
    return "; ".join(reason for reason in reasons if reason)


def _needs_two_classes(cases: Cases) -> str:
    enough = sum(_count(cases, (name,)) >= LEAST_CASES for name in cases.class_names)
    return "" if enough >= 2 else f"fewer than two classes with {LEAST_CASES} cases"


def _count(cases: Cases, names: Sequence[str]) -> int:
    return int(np.isin(cases.labels, [cases.class_names.index(name) for name in names]).sum())


# ---- the table ------------------------------------------------------------------------------------------------------------


def subgroups_of(
    table: pd.DataFrame, column: str, metric: SubgroupMetric, class_names: Sequence[str], ordinal: bool, *, bootstrap: int = 2000
) -> list[Subgroup]:
    """The metric for all cases (first row) and for each group of ``column``, with intervals from resampled patients.

    At most ``MOST_GROUPS`` groups, the largest; the rest together as ``all others``. Bands come in their order, text by name.

    Raises
    ------
    DataError
        As ``cases_of``.
    """
    groups = banded(table[column], column)
    sizes = groups.value_counts()
    if len(sizes) > MOST_GROUPS:
        groups = groups.where(groups.isin(sizes.index[: MOST_GROUPS - 1]), "all others")
    rows = [_subgroup("All", table, metric, (class_names, ordinal), bootstrap)]
    for name in sorted(groups.unique(), key=_natural):
        rows.append(_subgroup(name, table[groups == name], metric, (class_names, ordinal), bootstrap))
    return rows


def _natural(name: str) -> tuple[int, float, str]:
    """Bands and numbers by size, then text, then what is not stated."""
    if name in (NOT_STATED, "all others"):
        return 2, 0.0, name
    number = re.match(r"^(below )?(-?\d+(?:\.\d+)?)(?= |$)", name)
    return (1, 0.0, name) if number is None else (0, float(number[2]) - (0.5 if number[1] else 0.0), name)


def _subgroup(
    name: str, part: pd.DataFrame, metric: SubgroupMetric, task: tuple[Sequence[str], bool], bootstrap: int
) -> Subgroup:
    class_names, ordinal = task
    cases = cases_of(part, class_names, ordinal)
    counts = dict(zip(class_names, np.bincount(cases.labels, minlength=len(class_names)).tolist(), strict=True))
    lacking = metric.lacks(cases)
    if lacking:
        value = MetricValue(value=None, method=f"hidden: {lacking}")
    else:

        def of(weights: Weights) -> dict[str, Floats]:
            return {"value": metric.statistic(cases, weights)}

        found = replicate(cases.patients, of, bootstrap)["value"]
        left_out = jackknife(cases.patients, of)["value"] if bootstrap else None
        value = estimate(found, left_out, undefined="undefined in this group")
        value = share_metrics(cases, {metric.key: value}).get(metric.key, value)
    return Subgroup(name, len(cases.labels), len(set(cases.patients)), counts, value)
