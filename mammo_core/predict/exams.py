"""The films of one exam as one answer: the mean over the views of each breast and over all films of the exam.

The rule is the one by which :func:`mammo_core.analysis.levels.at_level` judges breasts and exams on validation data, so that
what was measured there holds here: a breast is the mean over its films, an exam the mean over its **films** (not over its
breasts), and the class is that of the largest mean. A temperature is applied to each film before, as it is there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mammo_core.analysis.backing import Backing, score_text
from mammo_core.analysis.questions import severity_order
from mammo_core.errors import DataError
from mammo_core.predict.ensemble import combine, spread_over_runs
from mammo_core.predict.exam_films import SIDES, Basis, ExamFilm, Group, LeftOut, group_films, standard_films
from mammo_core.predict.exam_words import ViewOpinion, disagreement, names, words

if TYPE_CHECKING:
    from mammo_core.predict.predictor import Prediction  # imports torch, which averaging does not need

DILUTED = "The mean over both breasts waters down what is seen in one of them: judge each breast."


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
    """Mean over the films of each film's mean over the runs, after the temperature; sums to 1."""
    raw_probabilities: dict[str, float]
    """The same before any temperature: what thresholds are held against."""
    predicted: str
    """The class of the largest mean."""
    per_run: dict[str, dict[str, float]]
    """Each run's mean over the films, before any temperature."""
    spread: float | None
    """SD (n-1) over the runs of the predicted class's mean; ``None`` for one run."""
    agreement: str
    """Whether the runs agree, one sentence; empty for one run."""
    view_range: tuple[float, float] | None
    """Smallest and largest probability of the predicted class over the films; ``None`` for one film."""
    disagreement: str
    """What the views say where they differ, one sentence; empty where they agree."""
    unfamiliar: bool | None
    """``False``, or ``None`` where any film could not be judged; a film that is flagged does not count."""
    warnings: tuple[str, ...]
    """Those of the films, each once; one that does not hold for all films begins with the films that it is about."""
    words: str
    """What was averaged, as sentences."""

    @property
    def title(self) -> str:
        return self.exam if self.side is None else f"{self.exam}, {SIDES[self.side]} breast"


@dataclass(frozen=True)
class JudgedBy:
    """Which model has judged, as results that are kept say it."""

    runs: tuple[str, ...]
    model_id: str
    origins: tuple[dict[str, Any], ...]
    made_at: str
    """Local date and time, ISO 8601 without zone."""
    backing: Backing


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
    """About the grouping, to be shown before anything else; those of the films stand with the opinions."""
    judged_by: JudgedBy = field(repr=False)

    @property
    def shown(self) -> tuple[GroupOpinion, ...]:
        """The exam and its breasts; of one film the exam alone, since its breast would say the same again."""
        if self.whole is None:
            return ()
        return (self.whole,) if len(self.whole.views) == 1 else (self.whole, *self.breasts)

    @property
    def indices(self) -> tuple[int, ...]:
        """Of all its films, those left out too."""
        counted = [view.index for view in self.whole.views] if self.whole else []
        return tuple(sorted([*counted, *(film.index for film in self.left_out)]))


def exam_opinions(films: Sequence[ExamFilm], one_exam: bool = False) -> tuple[ExamOpinion, ...]:
    """Average films to breasts and exams.

    Films belong together that name one study and one patient, or that the caller groups. A film without either stands alone.
    Left out, with the reason, are files of another modality, special views (magnification, spot compression, ...), films that
    are unlike those the model knows, and second copies of one picture.

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
    return ExamOpinion(
        title=title,
        basis=group.basis,
        whole=whole,
        breasts=tuple(breasts),
        left_out=left_out,
        differing=_differing(breasts),
        warnings=group.warnings,
        judged_by=_judged_by(group.films[0].prediction),
    )


def _judged_by(answer: Prediction) -> JudgedBy:
    return JudgedBy(answer.runs, answer.model_id, answer.origins, answer.made_at, answer.backing)


def _opinion(level: Literal["breast", "exam"], exam: str, side: str | None, films: Sequence[ExamFilm]) -> GroupOpinion:
    answers = [film.prediction for film in films]
    probabilities = mean_over_films(answer.probabilities for answer in answers)
    predicted = max(probabilities, key=probabilities.__getitem__)  # the first of equals, as argmax
    per_run = {run: mean_over_films(answer.per_run[run] for answer in answers) for run in answers[0].runs}
    of_predicted = [answer.probabilities[predicted] for answer in answers]
    views = tuple(_view(film) for film in films)
    return GroupOpinion(
        level=level,
        exam=exam,
        side=side,
        views=views,
        probabilities=probabilities,
        raw_probabilities=mean_over_films(answer.raw_probabilities or answer.probabilities for answer in answers),
        predicted=predicted,
        per_run=per_run,
        spread=spread_over_runs(per_run, predicted),
        agreement=combine(per_run).agreement,
        view_range=(min(of_predicted), max(of_predicted)) if len(films) > 1 else None,
        disagreement=disagreement(views, level),
        unfamiliar=None if None in [view.unfamiliar for view in views] else False,
        warnings=_warnings(films, views),
        words=words(views, level),
    )


def _view(film: ExamFilm) -> ViewOpinion:
    answer, facts = film.prediction, film.facts
    score, flagged = answer.probabilities[answer.predicted], answer.unfamiliar.flagged
    return ViewOpinion(film.index, answer.film_id, facts.laterality, facts.view, answer.predicted, score, flagged)


def _warnings(films: Sequence[ExamFilm], views: Sequence[ViewOpinion]) -> tuple[str, ...]:
    about: dict[str, list[int]] = {}
    for place, film in enumerate(films):
        for warning in dict.fromkeys(film.prediction.warnings):
            about.setdefault(warning, []).append(place)
    return tuple(
        text if len(places) == len(films) else f"About {names([views[place] for place in places])}. {text}"
        for text, places in about.items()
    )


def _differing(breasts: Sequence[GroupOpinion]) -> str:
    if len({breast.predicted for breast in breasts}) < 2:
        return ""
    left, right = breasts
    text = (
        f"The left breast is called {left.predicted} ({score_text(left.probabilities[left.predicted])}), "
        f"the right {right.predicted} ({score_text(right.probabilities[right.predicted])})."
    )
    return text if severity_order(list(left.probabilities)) is None else f"{text} {DILUTED}"
