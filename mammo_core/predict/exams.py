"""The films of one exam as one answer: the mean over the views of each breast and over all films of the exam.

The rule is the one by which :func:`mammo_core.analysis.levels.at_level` judges breasts and exams on validation data, so that
what was measured there holds here: a breast is the mean over its films, an exam the mean over its **films** (not over its
breasts), and the class is that of the largest mean. A temperature is applied to each film before, as it is there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from mammo_core.analysis.questions import severity_order
from mammo_core.errors import DataError
from mammo_core.predict.ensemble import combine, spread_over_runs
from mammo_core.predict.exam_films import SIDES, Basis, ExamFilm, Group, LeftOut, group_films, standard_films, view_name

MAX_LISTED = 4
"""Views whose answers are told one by one; more are counted by class."""
DILUTED = "The mean over both breasts waters down what is seen in one of them: judge each breast."


@dataclass(frozen=True)
class ViewOpinion:
    """One film among those of its breast and exam."""

    index: int
    film_id: str
    side: str | None
    """``L``, ``R`` or ``None``."""
    view: str | None
    predicted: str
    score: float
    """Probability of the film's own predicted class."""
    unfamiliar: bool | None
    """``None`` where it could not be judged."""

    @property
    def name(self) -> str:
        """``L CC``; what is unknown is said to be so."""
        return view_name(self.side, self.view)


@dataclass(frozen=True)
class GroupOpinion:
    """The mean over the films of one breast or one exam."""

    level: Literal["breast", "exam"]
    exam: str
    """``Exam 1``, ... in the order in which the exams first appear."""
    side: str | None
    """``L`` or ``R`` for a breast, ``None`` for an exam."""
    views: tuple[ViewOpinion, ...]
    probabilities: dict[str, float]
    """Mean over the films of each film's mean over the runs; sums to 1."""
    predicted: str
    """The class of the largest mean."""
    per_run: dict[str, dict[str, float]]
    """Each run's mean over the films."""
    spread: float | None
    """SD (n-1) over the runs of the predicted class's mean; ``None`` for one run."""
    agreement: str
    """Whether the runs agree, one sentence; empty for one run."""
    view_range: tuple[float, float] | None
    """Smallest and largest probability of the predicted class over the films; ``None`` for one film."""
    disagreement: str
    """What the views say where they differ, one sentence; empty where they agree."""
    unfamiliar: bool | None
    """The worst of the films: True where any is flagged, else ``None`` where any could not be judged."""
    warnings: tuple[str, ...]
    """Those of the films, each once; one that does not hold for all films begins with the views that it is about."""
    words: str
    """What was averaged, as sentences."""

    @property
    def title(self) -> str:
        return self.exam if self.side is None else f"{self.exam}, {SIDES[self.side]} breast"


@dataclass(frozen=True)
class ExamOpinion:
    """One exam with its breasts."""

    title: str
    basis: Basis
    whole: GroupOpinion | None
    """``None`` where every film is left out."""
    breasts: tuple[GroupOpinion, ...]
    """Left before right; a film that does not state its side is in none."""
    left_out: tuple[LeftOut, ...]
    differing: str
    """What the breasts say where they differ; empty where they agree."""
    warnings: tuple[str, ...]
    """About the grouping; those of the films stand with the opinions."""

    @property
    def indices(self) -> tuple[int, ...]:
        """Of all its films, those left out too."""
        counted = [view.index for view in self.whole.views] if self.whole else []
        return tuple(sorted([*counted, *(film.index for film in self.left_out)]))


def exam_opinions(films: Sequence[ExamFilm], one_exam: bool = False) -> tuple[ExamOpinion, ...]:
    """Average films to breasts and exams.

    Films belong together that name one study and one patient, or that the caller groups. A film without either stands alone.
    Special views (magnification, spot compression, ...) and second copies of one picture are left out, with the reason.

    Parameters
    ----------
    films : all answered by the same runs
    one_exam : whether the caller says that all of them are one woman's exam

    Returns
    -------
    tuple of ExamOpinion
        In the order in which the exams first appear; every film is in one of them.

    Raises
    ------
    DataError
        The films were answered by different runs or with different classes.
    """
    for film in films[1:]:
        answer, first = film.prediction, films[0].prediction
        if answer.runs != first.runs or list(answer.probabilities) != list(first.probabilities):
            raise DataError(
                "Films that different runs have judged cannot be averaged; expected one choice of runs for all of them. "
                "Predict on them together."
            )
    return tuple(_exam(f"Exam {number}", group) for number, group in enumerate(group_films(films, one_exam), start=1))


def mean_over_films(values: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Mean of each class over films, which must be at least one and name the same classes; sums to 1 where each does."""
    rows = list(values)
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def _exam(title: str, group: Group) -> ExamOpinion:
    counted, left_out = standard_films(group.films)
    breasts = []
    for side in SIDES:
        of_side = [film for film in counted if film.facts.laterality == side]
        if of_side:
            breasts.append(_opinion("breast", title, side, of_side))
    whole = _opinion("exam", title, None, counted) if counted else None
    return ExamOpinion(title, group.basis, whole, tuple(breasts), left_out, _differing(breasts), group.warnings)


def _opinion(level: Literal["breast", "exam"], exam: str, side: str | None, films: Sequence[ExamFilm]) -> GroupOpinion:
    answers = [film.prediction for film in films]
    probabilities = mean_over_films(answer.probabilities for answer in answers)
    predicted = max(probabilities, key=probabilities.__getitem__)  # the first of equals, as argmax
    per_run = {run: mean_over_films(answer.per_run[run] for answer in answers) for run in answers[0].runs}
    of_predicted = [answer.probabilities[predicted] for answer in answers]
    views = tuple(_view(film) for film in films)
    flags = [view.unfamiliar for view in views]
    return GroupOpinion(
        level=level,
        exam=exam,
        side=side,
        views=views,
        probabilities=probabilities,
        predicted=predicted,
        per_run=per_run,
        spread=spread_over_runs(per_run, predicted),
        agreement=combine(per_run).agreement,
        view_range=(min(of_predicted), max(of_predicted)) if len(films) > 1 else None,
        disagreement=_disagreement(views, level),
        unfamiliar=True if True in flags else None if None in flags else False,
        warnings=_warnings(films, views),
        words=_words(views, level),
    )


def _view(film: ExamFilm) -> ViewOpinion:
    answer, facts = film.prediction, film.facts
    score, flagged = answer.probabilities[answer.predicted], answer.unfamiliar.flagged
    return ViewOpinion(film.index, answer.film_id, facts.laterality, facts.view, answer.predicted, score, flagged)


def _disagreement(views: Sequence[ViewOpinion], level: str) -> str:
    """``The CC view says B (0.61), the MLO view C (0.55).``"""
    votes = Counter(view.predicted for view in views)
    if len(votes) < 2:
        return ""
    if len(views) > MAX_LISTED:
        parts = ", ".join(f"{count} say {name}" for name, count in votes.most_common())
        return f"The {len(views)} views disagree: {parts}."
    labels = [_label(view, views, level) for view in views]
    parts = ", ".join(
        f"{label}{' says' if number == 0 else ''} {view.predicted} ({view.score:.2f})"
        for number, (label, view) in enumerate(zip(labels, views, strict=True))
    )
    return f"{parts[0].upper()}{parts[1:]}."


def _label(view: ViewOpinion, views: Sequence[ViewOpinion], level: str) -> str:
    """``the CC view``, with its film's number where that does not tell it apart."""
    if view.view is None or view.side is None:
        return f"film {view.index + 1}"
    name = f"the {view.view if level == 'breast' else view.name} view"
    return name if [other.name for other in views].count(view.name) == 1 else f"{name} (film {view.index + 1})"


def _warnings(films: Sequence[ExamFilm], views: Sequence[ViewOpinion]) -> tuple[str, ...]:
    about: dict[str, list[int]] = {}
    for place, film in enumerate(films):
        for warning in dict.fromkeys(film.prediction.warnings):
            about.setdefault(warning, []).append(place)
    return tuple(
        text if len(places) == len(films) else f"{_names([views[place] for place in places])}: {text}"
        for text, places in about.items()
    )


def _names(views: Sequence[ViewOpinion]) -> str:
    """``L CC, 2 x L MLO, unknown view``, in order of first appearance."""
    counts = Counter(view.name for view in views)
    return ", ".join(name if count == 1 else f"{count} x {name}" for name, count in counts.items())


def _words(views: Sequence[ViewOpinion], level: str) -> str:
    n = len(views)
    text = f"Mean of {n} films: {_names(views)}." if n > 1 else f"One film only: {_names(views)}."
    repeated = [name for name, count in Counter(view.name for view in views if view.view and view.side).items() if count > 1]
    if repeated:
        text += f" {', '.join(repeated)} was taken more than once; each of these films counts."
    if level == "breast":
        return text
    sides = Counter(view.side for view in views)
    for side, other in (("L", "R"), ("R", "L")):
        if sides[side] > sides[other] > 0:
            text += f" The {SIDES[side]} breast has more films ({sides[side]} of {n}), so it counts more."
    if sides[None]:
        text += f" Films that do not state their side count for the exam but for no breast: {sides[None]}."
    return text


def _differing(breasts: Sequence[GroupOpinion]) -> str:
    if len({breast.predicted for breast in breasts}) < 2:
        return ""
    left, right = breasts
    text = (
        f"The left breast is called {left.predicted} ({left.probabilities[left.predicted]:.2f}), "
        f"the right {right.predicted} ({right.probabilities[right.predicted]:.2f})."
    )
    return text if severity_order(list(left.probabilities)) is None else f"{text} {DILUTED}"


def exam_row(exam: ExamOpinion) -> dict[str, Any]:
    """One exam as JSON-able values; nothing in it names a file, a study or a patient."""
    return {
        "exam": exam.title,
        "basis": exam.basis,
        "films": [index + 1 for index in exam.indices],
        "whole": None if exam.whole is None else group_row(exam.whole),
        "breasts": [group_row(breast) for breast in exam.breasts],
        "breasts_differ": exam.differing,
        "left_out": [
            {"film": film.index + 1, "film_id": film.film_id, "name": film.name, "reason": film.reason} for film in exam.left_out
        ],
        "warnings": list(exam.warnings),
    }


def group_row(opinion: GroupOpinion) -> dict[str, Any]:
    """One breast's or exam's mean as JSON-able values."""
    return {
        "level": opinion.level,
        "exam": opinion.exam,
        "side": opinion.side,
        "predicted": opinion.predicted,
        "probabilities": opinion.probabilities,
        "per_run": opinion.per_run,
        "spread": opinion.spread,
        "agreement": opinion.agreement,
        "view_range": None if opinion.view_range is None else list(opinion.view_range),
        "disagreement": opinion.disagreement,
        "unfamiliar": opinion.unfamiliar,
        "views": [
            {
                "film": view.index + 1,
                "film_id": view.film_id,
                "name": view.name,
                "predicted": view.predicted,
                "score": view.score,
                "unfamiliar": view.unfamiliar,
            }
            for view in opinion.views
        ],
        "warnings": list(opinion.warnings),
        "words": opinion.words,
    }
