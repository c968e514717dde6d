"""Making a :class:`~mammo_core.analysis.backing.Backing` from the validation predictions of a model's runs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from mammo_core.analysis.backing import Asked, Backing, LevelBacking, Point, Rate, Scaling, no_backing
from mammo_core.analysis.bootstrap import Weights, replicate
from mammo_core.analysis.calibration import calibration_errors
from mammo_core.analysis.estimates import estimate
from mammo_core.analysis.formulas import Floats, ratio
from mammo_core.analysis.levels import KEYS, LEVELS, PLURALS, at_level, missing_levels, with_facts
from mammo_core.analysis.operating_points import RULES, apply_threshold, threshold_of
from mammo_core.analysis.predictions import PROBABILITY_PREFIX, cases_of, probability_columns
from mammo_core.analysis.questions import Question, answers_of, questions_of
from mammo_core.analysis.temperature import SMALLEST, Temperature, apply_temperature, fit_temperature, scale
from mammo_core.errors import DataError
from mammo_core.runs.schema import MetricValue

LEAST_FILMS = 30
"""Fewer validation films give a temperature that is mostly chance: a rule of thumb."""
LEAST_PATIENTS = 10
PARTS = 5
"""Of the patients, each scaled by a temperature that was fitted on the others."""
FOLDS = (
    "its runs are folds, which validate on other films each; what single folds scored says little about their mean. Predict with "
    "one of them to see its own temperature and thresholds"
)
LEAST_OF_A_KIND = 10
"""Fewer positive or negative cases say next to nothing about sensitivity or specificity."""


def backing_of(
    tables: Sequence[pd.DataFrame], class_names: Sequence[str], ordinal: bool, manifest: pd.DataFrame | None = None
) -> Backing:
    """What backs the mean of several runs, from their own validation predictions.

    Parameters
    ----------
    tables : one table of predictions a run, as ``RunDir.predictions("val")`` gives them
        Runs that validate on other films (folds) back nothing together: what single folds scored says little about their mean.
    manifest : DataFrame, optional
        What the data set says of the films; without it there are thresholds for single films only.

    Raises
    ------
    DataError
        As ``cases_of``; no table; runs that give one film other true classes.
    """
    films, joined, are_folds = join_validation(tables)
    if are_folds:
        return no_backing(FOLDS)
    scaling, unscaled_because = _scaling(films, class_names)
    question = question_that_matters(class_names, ordinal)
    return Backing(
        joined=joined,
        scaling=scaling,
        unscaled_because=unscaled_because,
        question=None
        if question is None
        else Asked(key=question.key, title=question.title, positive=question.positive, negative=question.negative),
        levels=() if question is None else _levels(with_facts(films, manifest), class_names, ordinal, question),
    )


def join_validation(tables: Sequence[pd.DataFrame]) -> tuple[pd.DataFrame, str, bool]:
    """The runs' validation predictions as one table, one row a film; how that was done in words; whether the runs are folds.

    A film that several runs validate on has the mean of their probabilities.

    Raises
    ------
    DataError
        No table; tables with other classes, or with another true class for the same film.
    """
    if not tables:
        raise DataError("There are no validation predictions; expected those of at least one run. Evaluate the run first.")
    columns = probability_columns(tables[0])
    if any(set(probability_columns(table)) != set(columns) for table in tables):
        raise DataError("The runs' validation predictions have other classes; expected the same. Choose runs of one task.")
    every = pd.concat(tables, ignore_index=True)
    if len(tables) == 1:
        return every, "the run's own validation predictions", False
    by_film = every.groupby("image_id", sort=False)
    if (by_film["y_true"].nunique() > 1).any():
        raise DataError("The runs' validation predictions name other true classes for one film. Evaluate them on one data set.")
    joined = by_film.first().reset_index()
    joined[columns] = by_film[columns].mean().to_numpy()
    names = np.array([column.removeprefix(PROBABILITY_PREFIX) for column in columns])
    joined["y_pred"] = names[joined[columns].to_numpy(dtype=np.float64).argmax(axis=1)]
    if (by_film.size() == len(tables)).all():
        return joined, f"the mean of {len(tables)} runs on the same validation films", False
    return joined, f"{len(joined)} films, each judged by the runs that did not learn from it", True


def question_that_matters(class_names: Sequence[str], ordinal: bool) -> Question | None:
    """Dense or not, malignant or not, abnormal or not; of two classes the second. ``None`` where no class stands out."""
    questions = questions_of(class_names, ordinal)
    whole = [question for question in questions if len(question.positive) + len(question.negative) == len(class_names)]
    named = [question for question in whole if not question.key.startswith("class:")]
    if named:
        return named[0]
    return whole[-1] if len(class_names) == 2 else None


def _scaling(films: pd.DataFrame, class_names: Sequence[str]) -> tuple[Scaling | None, str]:
    patients = films["patient_id"].nunique()
    if len(films) < LEAST_FILMS or patients < LEAST_PATIENTS:
        return None, (
            f"{len(films)} validation films of {patients} patients are too few to fit a temperature, at least {LEAST_FILMS} of "
            f"{LEAST_PATIENTS} are needed"
        )
    found: Temperature = fit_temperature(films, class_names)
    if found.at_limit:
        return None, f"the best temperature lies {found.words}"
    gain = _gain(films, class_names)
    if gain.value is None or gain.ci_low is None or gain.ci_high is None or gain.ci_low <= 0:
        shown = "cannot be told" if gain.value is None else f"{gain.value:+.3f} ({gain.ci_low:+.3f} to {gain.ci_high:+.3f})"
        return None, (
            f"no gain is shown: on patients left out of the fit a temperature changed the log loss for the better by {shown}, an "
            "interval that must lie above 0"
        )
    before = calibration_errors(cases_of(films, class_names, ordinal=False))["ece"]
    scaled = apply_temperature(films, class_names, found.value)
    after = calibration_errors(cases_of(scaled, class_names, ordinal=False))["ece"]
    return Scaling(
        temperature=found.value,
        words=found.words,
        films=found.films,
        patients=found.patients,
        log_loss_before=found.log_loss_before,
        log_loss_after=found.log_loss_after,
        gain=gain,
        error_before=before[0],
        error_after=after[0],
        perfect_before=(before[1], before[2]),
        perfect_after=(after[1], after[2]),
    ), ""


def _gain(films: pd.DataFrame, class_names: Sequence[str]) -> MetricValue:
    """Mean fall of the log loss, each patient's films scaled by a temperature fitted on other patients; 95 % interval."""
    patients = sorted(films["patient_id"].astype(str).unique())
    part_of = dict(zip(np.random.default_rng(0).permutation(patients), itertools.cycle(range(PARTS)), strict=False))
    parts = films["patient_id"].astype(str).map(part_of).to_numpy()
    gains = np.zeros(len(films))
    for part in range(PARTS):
        held = parts == part
        temperature = fit_temperature(films[~held], class_names).value
        before = cases_of(films[held], class_names, ordinal=False)
        after = scale(before.probabilities, temperature)
        rows = np.arange(len(before.labels))
        gains[held] = np.log(np.clip(after[rows, before.labels], SMALLEST, None)) - np.log(
            np.clip(before.probabilities[rows, before.labels], SMALLEST, None)
        )

    def mean(weights: Weights) -> dict[str, Floats]:
        return {"gain": ratio(weights.total(gains), weights.total(np.ones(len(gains))))}

    return estimate(replicate(films["patient_id"].astype(str).tolist(), mean)["gain"], how="mean over films")


def _levels(films: pd.DataFrame, class_names: Sequence[str], ordinal: bool, question: Question) -> tuple[LevelBacking, ...]:
    missing = missing_levels(films)
    found = []
    for level in LEVELS:
        if level in missing:
            found.append(LevelBacking(level=level, problem=missing[level]))  # type: ignore[arg-type]
            continue
        usual = 1 if level == "film" else int(films.groupby(list(KEYS[level])).size().mode().iloc[0])
        found.append(_level(at_level(films, level, class_names, ordinal).table, (level, usual), class_names, question))
    return tuple(found)


def _level(table: pd.DataFrame, unit: tuple[str, int], class_names: Sequence[str], question: Question) -> LevelBacking:
    level, usual = unit
    answers = answers_of(cases_of(table, class_names, ordinal=False), question)
    n, positives = len(answers.positive), int(answers.positive.sum())
    found = LevelBacking(
        level=level,  # type: ignore[arg-type]
        cases=n,
        patients=len(set(answers.patients)),
        positives=positives,
        usual_films=usual,
    )
    if min(positives, n - positives) < LEAST_OF_A_KIND:
        why = (
            f"{positives} positive and {n - positives} negative validation {PLURALS[level]} are too few, at least "
            f"{LEAST_OF_A_KIND} of each are needed"
        )
        return found.model_copy(update={"problem": why})
    points = []
    for rule in RULES:
        threshold = threshold_of(rule, answers)
        if threshold is not None:
            made = apply_threshold(answers, threshold)
            limit = None if math.isinf(threshold) else threshold
            rates = {name: Rate(**getattr(made, name).model_dump()) for name in ("sensitivity", "specificity")}
            points.append(Point(rule=rule, threshold=limit, **rates))  # type: ignore[arg-type]
    return found.model_copy(update={"points": tuple(points)})
