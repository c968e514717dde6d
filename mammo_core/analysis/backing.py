"""What the validation films say of a model's scores: a temperature that corrects them, and what each threshold gave there.

A score that is shown for a new film is worth what this says. It is computed once for a model, goes into its exported file, and
is quoted beside every prediction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from mammo_core.analysis.levels import PLURALS
from mammo_core.analysis.operating_points import RULES, YOUDEN
from mammo_core.analysis.temperature import HIGHEST, LOWEST, scale
from mammo_core.runs.schema import MetricValue

DEFAULT_RULE = YOUDEN
"""Taken where the reader has chosen none."""
FLATTERED = "Chosen and measured on the same films, so a little better than on new ones."


def score_text(score: float) -> str:
    """``0.73``; ``> 0.99`` and ``< 0.01`` at the ends, since no score is a certainty."""
    if score > 0.99:
        return "> 0.99"
    return "< 0.01" if score < 0.01 else f"{score:.2f}"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class Rate(MetricValue):
    """A share of cases with its interval, in [0, 1]."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)
    value: float | None = Field(ge=0, le=1)
    ci_low: float | None = Field(default=None, ge=0, le=1)
    ci_high: float | None = Field(default=None, ge=0, le=1)


class Point(_Record):
    """A threshold chosen on the validation films, and what it gave there."""

    rule: Literal["fixed_50", "youden", "sensitivity_90", "sensitivity_80", "specificity_90", "specificity_80"]
    """A key of ``operating_points.RULES``."""
    threshold: float | None = Field(ge=0, le=1)
    """Of scores before any temperature; a case is called positive from this score on. ``None`` where no score is high enough to
    keep the rule's promise."""
    sensitivity: Rate
    specificity: Rate


class LevelBacking(_Record):
    """The thresholds at one unit of analysis."""

    level: Literal["film", "breast", "exam", "patient"]
    cases: int = Field(default=0, ge=0)
    patients: int = Field(default=0, ge=0)
    positives: int = Field(default=0, ge=0)
    usual_films: int = Field(default=1, ge=1)
    """How many films most of the cases have."""
    points: tuple[Point, ...] = ()
    """Empty where ``problem`` says why."""
    problem: str = ""

    def point(self, rule: str) -> Point | None:
        return next((point for point in self.points if point.rule == rule), None)


class Scaling(_Record):
    """A temperature and the calibration that backs it, on the validation films it was fitted on."""

    temperature: float = Field(ge=LOWEST, le=HIGHEST)
    """Applied to every probability: ``p ** (1 / temperature)``, scaled to sum 1."""
    words: str
    films: int
    patients: int
    log_loss_before: float
    log_loss_after: float
    """Nats, on the films it was fitted on."""
    gain: MetricValue
    """By how much the log loss fell on films of patients that the temperature was not fitted on; above 0 with its interval."""
    error_before: float
    error_after: float
    """Calibration error of the called class (ECE, 15 bins of equal mass)."""
    perfect_before: tuple[float, float]
    perfect_after: tuple[float, float]
    """The middle 95 % of those errors for a perfectly calibrated model on as many films."""


class Asked(_Record):
    """The yes-or-no question that matters for the task."""

    key: str
    title: str
    """``C or D against the rest``."""
    positive: tuple[str, ...]
    negative: tuple[str, ...]

    def score(self, probabilities: Mapping[str, float]) -> float:
        """Probability of "yes", in [0, 1]."""
        return float(sum(probabilities[name] for name in self.positive))


class Backing(_Record):
    """Everything that backs a model's scores."""

    joined: str
    """How the runs' validation predictions became one table, in words."""
    scaling: Scaling | None = None
    unscaled_because: str = ""
    """Why there is no temperature; empty where there is one."""
    question: Asked | None = None
    """``None`` where the classes suggest no question."""
    levels: tuple[LevelBacking, ...] = ()
    problem: str = ""
    """Why nothing backs the scores at all; everything else is then empty."""

    @property
    def temperature(self) -> float:
        """1 where nothing is scaled."""
        return self.scaling.temperature if self.scaling is not None else 1.0

    def scaled(self, probabilities: Mapping[str, float]) -> dict[str, float]:
        """A film's class probabilities after the temperature; the call stays the same."""
        if self.scaling is None:
            return dict(probabilities)
        values = scale(np.array([list(probabilities.values())], dtype=np.float64), self.temperature)[0]
        return dict(zip(probabilities, values.tolist(), strict=True))

    def level(self, name: str) -> LevelBacking:
        found = next((level for level in self.levels if level.level == name), None)
        return found or LevelBacking(level=name, problem=self.problem or "the validation films do not say it")  # type: ignore[arg-type]

    @property
    def scaling_words(self) -> str:
        """Whether and why the scores are scaled, one or two sentences."""
        found = self.scaling
        if found is None:
            return f"The scores are not temperature-scaled: {self.problem or self.unscaled_because}."
        return (
            f"The scores are temperature-scaled (temperature {found.temperature:.2f}, {found.words}), fitted on {found.films} "
            f"validation films of {found.patients} patients; on patients left out of the fit the log loss fell by "
            f"{_interval(found.gain, 3)}. On the films of the fit, which flatters it: calibration error {found.error_before:.3f} "
            f"before ({_band(found.perfect_before)} if calibration were perfect) and {found.error_after:.3f} after "
            f"({_band(found.perfect_after)})."
        )


def no_backing(why: str) -> Backing:
    """The backing of a model of whose validation nothing is known."""
    return Backing(joined="", problem=why)


@dataclass(frozen=True)
class Judgement:
    """A score held against a threshold."""

    question: Asked
    level: LevelBacking
    point: Point
    score: float
    most_probable: str
    """The class of the largest probability, which the threshold can contradict."""
    is_scaled: bool
    """Whether the scores that are shown elsewhere are scaled; these never are."""

    @property
    def called(self) -> bool:
        return self.point.threshold is not None and self.score >= self.point.threshold

    @property
    def words(self) -> str:
        """Score, threshold, call, and what the threshold gave on the validation cases; whole sentences."""
        positive, others = " or ".join(self.question.positive), " or ".join(self.question.negative)
        call = f"at or above it: called {positive}" if self.called else f"below it: called {others}"
        limit = self.point.threshold
        threshold = "no score is high enough for the threshold" if limit is None else f"the threshold is {limit:.3f}"
        units = PLURALS[self.level.level]
        return (
            f"Score for {positive} {self.score:.3f}{self.before}; {threshold} ({RULES[self.point.rule]}), so this is {call}. On "
            f"{self.level.cases} validation {units} of {self.level.patients} patients it had sensitivity "
            f"{_interval(self.point.sensitivity)} and specificity {_interval(self.point.specificity)}. {FLATTERED}"
            f"{self._contrary}"
        )

    @property
    def before(self) -> str:
        """What tells the score from those that are shown."""
        return " before temperature scaling" if self.is_scaled else ""

    @property
    def _contrary(self) -> str:
        if (self.most_probable in self.question.positive) == self.called:
            return ""
        return f" The most probable single class, {self.most_probable}, lies on the other side: the case is a close one."

    def to_json(self) -> dict[str, object]:
        return {
            "question": self.question.title,
            "score": self.score,
            "called": self.called,
            "rule": self.point.rule,
            "threshold": self.point.threshold,
            "sensitivity": self.point.sensitivity.model_dump(),
            "specificity": self.point.specificity.model_dump(),
            "level": self.level.level,
            "validation_cases": self.level.cases,
            "validation_patients": self.level.patients,
        }


def judge(backing: Backing, level: str, rule: str, probabilities: Mapping[str, float], films: int = 1) -> Judgement | str:
    """Hold a case against the threshold of a rule, or say why that cannot be done.

    Parameters
    ----------
    probabilities : of each class, **before** any temperature: thresholds are chosen on such scores, here as on Evaluate
    films : of how many films the case is the mean. One film is always judged as a film; a breast or exam only where it has as
        many films as those of the validation films.
    """
    if backing.question is None:
        if backing.problem:
            return f"There is no threshold: {backing.problem.rstrip('.')}."
        return "The classes of this model suggest no yes-or-no question, so it has no threshold."
    level = "film" if films == 1 else level
    article = "an" if level == "exam" else "a"
    found = backing.level(level)
    point = found.point(rule)
    if point is None:
        return f"There is no threshold for {article} {level}: {found.problem or 'the validation films do not determine it'}."
    if level in ("breast", "exam") and films != found.usual_films:
        return (
            f"There is no threshold for {article} {level} of {films} films: on the validation films it was chosen for "
            f"{found.usual_films}."
        )
    most_probable = max(probabilities, key=lambda name: probabilities[name])
    score = backing.question.score(probabilities)
    return Judgement(backing.question, found, point, score, most_probable, backing.scaling is not None)


def threshold_facts(
    backing: Backing, level: str, rule: str, raw_probabilities: Mapping[str, float], films: int = 1
) -> dict[str, Any]:
    """``threshold`` (``Judgement.to_json``) and ``threshold_reason``, why there is none; one of them is always ``None``.

    Parameters
    ----------
    raw_probabilities : before any temperature
    films : of how many films they are the mean
    """
    judged = judge(backing, level, rule, raw_probabilities, films)
    if isinstance(judged, str):
        return {"threshold": None, "threshold_reason": judged}
    return {"threshold": judged.to_json(), "threshold_reason": None}


def _band(band: tuple[float, float]) -> str:
    return f"{band[0]:.3f} to {band[1]:.3f}"


def _interval(metric: MetricValue, digits: int = 2) -> str:
    if metric.value is None:
        return "undefined"
    value = f"{metric.value:.{digits}f}"
    if metric.ci_low is None or metric.ci_high is None:
        return value
    return f"{value} ({metric.ci_low:.{digits}f} to {metric.ci_high:.{digits}f})"
