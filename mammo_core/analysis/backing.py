"""What the validation films say of a model's scores: a temperature that corrects them, and what each threshold gave there.

A score that is shown for a new film is worth what this says. It is computed once for a model, goes into its exported file, and
is quoted beside every prediction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict

from mammo_core.analysis.levels import PLURALS
from mammo_core.analysis.operating_points import RULES, YOUDEN
from mammo_core.analysis.temperature import scale
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
    model_config = ConfigDict(frozen=True, extra="ignore")


class Point(_Record):
    """A threshold chosen on the validation films, and what it gave there."""

    rule: str
    """A key of ``operating_points.RULES``."""
    threshold: float | None
    """A case is called positive from this score on; ``None`` where no score is high enough to keep the rule's promise."""
    sensitivity: MetricValue
    specificity: MetricValue


class LevelBacking(_Record):
    """The thresholds at one unit of analysis."""

    level: str
    """``film``, ``breast``, ``exam`` or ``patient``."""
    cases: int = 0
    patients: int = 0
    positives: int = 0
    points: tuple[Point, ...] = ()
    """Empty where ``problem`` says why."""
    problem: str = ""

    def point(self, rule: str) -> Point | None:
        return next((point for point in self.points if point.rule == rule), None)


class Scaling(_Record):
    """A temperature and the calibration that backs it, on the validation films it was fitted on."""

    temperature: float
    """Applied to every probability: ``p ** (1 / temperature)``, scaled to sum 1."""
    words: str
    films: int
    patients: int
    log_loss_before: float
    log_loss_after: float
    """Nats."""
    error_before: float
    error_after: float
    """Calibration error of the called class (ECE, 15 bins of equal mass)."""
    error_if_perfect: tuple[float, float]
    """The middle 95 % of that error for a perfectly calibrated model on as many films."""


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
        return found or LevelBacking(level=name, problem=self.problem or "the validation films do not say it")

    @property
    def scaling_words(self) -> str:
        """Whether and why the scores are scaled, one or two sentences."""
        found = self.scaling
        if found is None:
            return f"The scores are not temperature-scaled: {self.problem or self.unscaled_because}."
        low, high = found.error_if_perfect
        return (
            f"The scores are temperature-scaled (temperature {found.temperature:.2f}, {found.words}), fitted on {found.films} "
            f"validation films of {found.patients} patients: log loss {found.log_loss_before:.3f} before and "
            f"{found.log_loss_after:.3f} after, calibration error {found.error_before:.3f} before and {found.error_after:.3f} "
            f"after (a perfectly calibrated model would show {low:.3f} to {high:.3f} on so few films)."
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

    @property
    def called(self) -> bool:
        return self.point.threshold is not None and self.score >= self.point.threshold

    @property
    def words(self) -> str:
        """Score, threshold, call, and what the threshold gave on the validation cases; whole sentences."""
        positive, others = " or ".join(self.question.positive), " or ".join(self.question.negative)
        call = f"at or above it: called {positive}" if self.called else f"below it: called {others}"
        limit = self.point.threshold
        threshold = "no score is high enough for the threshold" if limit is None else f"the threshold is {limit:.2f}"
        units = PLURALS[self.level.level]
        return (
            f"Score for {positive} {score_text(self.score)}; {threshold} ({RULES[self.point.rule]}), so this is {call}. On "
            f"{self.level.cases} validation {units} of {self.level.patients} patients it had sensitivity "
            f"{_interval(self.point.sensitivity)} and specificity {_interval(self.point.specificity)}. {FLATTERED}"
            f"{self._contrary}"
        )

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


def judge(backing: Backing, level: str, rule: str, probabilities: Mapping[str, float]) -> Judgement | str:
    """Hold a case's (scaled) probabilities against the threshold of a rule, or say why that cannot be done."""
    if backing.question is None:
        return backing.problem or "The classes of this model suggest no yes-or-no question, so it has no threshold."
    found = backing.level(level)
    point = found.point(rule)
    if point is None:
        article = "an" if level == "exam" else "a"
        return f"There is no threshold for {article} {level}: {found.problem or 'the validation films do not determine it'}."
    most_probable = max(probabilities, key=lambda name: probabilities[name])
    return Judgement(backing.question, found, point, backing.question.score(probabilities), most_probable)


def _interval(metric: MetricValue) -> str:
    if metric.value is None:
        return "undefined"
    if metric.ci_low is None or metric.ci_high is None:
        return f"{metric.value:.2f}"
    return f"{metric.value:.2f} ({metric.ci_low:.2f} to {metric.ci_high:.2f})"
