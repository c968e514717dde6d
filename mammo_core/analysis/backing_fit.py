"""Making a :class:`~mammo_core.analysis.backing.Backing` from the validation predictions of a model's runs."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from mammo_core.analysis.backing import Asked, Backing, LevelBacking, Point, Scaling
from mammo_core.analysis.calibration import calibration_errors
from mammo_core.analysis.levels import LEVELS, PLURALS, at_level, missing_levels, with_facts
from mammo_core.analysis.operating_points import RULES, apply_threshold, threshold_of
from mammo_core.analysis.predictions import PROBABILITY_PREFIX, cases_of, probability_columns
from mammo_core.analysis.questions import Question, answers_of, questions_of
from mammo_core.analysis.temperature import Temperature, apply_temperature, fit_temperature
from mammo_core.errors import DataError

LEAST_FILMS = 30
"""Fewer validation films give a temperature that is mostly chance: a rule of thumb."""
LEAST_PATIENTS = 10
LEAST_OF_A_KIND = 10
"""Fewer positive or negative cases say next to nothing about sensitivity or specificity."""


def backing_of(
    tables: Sequence[pd.DataFrame], class_names: Sequence[str], ordinal: bool, manifest: pd.DataFrame | None = None
) -> Backing:
    """What backs the mean of several runs, from their own validation predictions.

    Parameters
    ----------
    tables : one table of predictions a run, as ``RunDir.predictions("val")`` gives them
        A film that several runs validate on has the mean of their probabilities. Where runs are folds, each film is judged
        only by the runs that did not learn from it.
    manifest : DataFrame, optional
        What the data set says of the films; without it there are thresholds for single films only.

    Raises
    ------
    DataError
        As ``cases_of``; no table; runs that give one film other true classes.
    """
    films, joined = join_validation(tables)
    scaling, unscaled_because = _scaling(films, class_names)
    if scaling is not None:
        films = apply_temperature(films, class_names, scaling.temperature)
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


def join_validation(tables: Sequence[pd.DataFrame]) -> tuple[pd.DataFrame, str]:
    """The runs' validation predictions as one table, one row a film, and how that was done in words.

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
        return every, "the run's own validation predictions"
    by_film = every.groupby("image_id", sort=False)
    if (by_film["y_true"].nunique() > 1).any():
        raise DataError("The runs' validation predictions name other true classes for one film. Evaluate them on one data set.")
    joined = by_film.first().reset_index()
    joined[columns] = by_film[columns].mean().to_numpy()
    names = np.array([column.removeprefix(PROBABILITY_PREFIX) for column in columns])
    joined["y_pred"] = names[joined[columns].to_numpy(dtype=np.float64).argmax(axis=1)]
    judges = by_film.size()
    if (judges == len(tables)).all():
        return joined, f"the mean of {len(tables)} runs on the same validation films"
    return joined, (
        f"{len(joined)} films, each judged by the {_range(judges)} of {len(tables)} runs that did not learn from it; the mean of "
        "all runs, which judges new films, may be a little better"
    )


def _range(counts: pd.Series[int]) -> str:
    low, high = int(counts.min()), int(counts.max())
    return str(low) if low == high else f"{low} to {high}"


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
        error_before=before[0],
        error_after=after[0],
        error_if_perfect=(after[1], after[2]),
    ), ""


def _levels(films: pd.DataFrame, class_names: Sequence[str], ordinal: bool, question: Question) -> tuple[LevelBacking, ...]:
    missing = missing_levels(films)
    found = []
    for level in LEVELS:
        if level in missing:
            found.append(LevelBacking(level=level, problem=missing[level]))
        else:
            found.append(_level(at_level(films, level, class_names, ordinal).table, level, class_names, question))
    return tuple(found)


def _level(table: pd.DataFrame, level: str, class_names: Sequence[str], question: Question) -> LevelBacking:
    answers = answers_of(cases_of(table, class_names, ordinal=False), question)
    n, positives = len(answers.positive), int(answers.positive.sum())
    found = LevelBacking(level=level, cases=n, patients=len(set(answers.patients)), positives=positives)
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
            points.append(
                Point(
                    rule=rule,
                    threshold=None if math.isinf(threshold) else threshold,
                    sensitivity=made.sensitivity,
                    specificity=made.specificity,
                )
            )
    return found.model_copy(update={"points": tuple(points)})
