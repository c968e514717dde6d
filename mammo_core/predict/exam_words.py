"""The views of one breast or exam in words: which films they are, and where they differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from mammo_core.analysis.backing import score_text
from mammo_core.predict.exam_films import SIDES, view_label, view_name

MAX_LISTED = 4
"""Views whose answers are told one by one; more are counted by class."""
MAX_NAMED = 12
"""Films that are named one by one; more are counted by view."""


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

    @property
    def label(self) -> str:
        """``film 3: L CC``."""
        return view_label(self.index, self.name)


def names(views: Sequence[ViewOpinion]) -> str:
    """``film 1: L CC, film 2: L MLO``; of many films ``20 x L CC, 21 x L MLO``, in order of first appearance."""
    if len(views) <= MAX_NAMED:
        return ", ".join(view.label for view in views)
    counts = Counter(view.name for view in views)
    return ", ".join(name if count == 1 else f"{count} x {name}" for name, count in counts.items())


def words(views: Sequence[ViewOpinion], level: str) -> str:
    """What is averaged, as sentences; ``level`` is ``breast`` or ``exam``."""
    n = len(views)
    text = f"Mean of {n} films ({names(views)})." if n > 1 else f"One film only ({names(views)})."
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


def disagreement(views: Sequence[ViewOpinion], level: str) -> str:
    """``The CC view (film 1) says B (0.61), the MLO view (film 2) C (0.55).``; empty where all views say the same."""
    votes = Counter(view.predicted for view in views)
    if len(votes) < 2:
        return ""
    if len(views) > MAX_LISTED:
        parts = ", ".join(_votes_for(name, views) for name, _ in votes.most_common())
        return f"The {len(views)} views disagree: {parts}."
    parts = ", ".join(
        f"{_label(view, level)}{' says' if number == 0 else ''} {view.predicted} ({score_text(view.score)})"
        for number, view in enumerate(views)
    )
    return f"{parts[0].upper()}{parts[1:]}."


def _votes_for(name: str, views: Sequence[ViewOpinion]) -> str:
    """``3 say B (films 1, 2, 4)``."""
    numbers = [str(view.index + 1) for view in views if view.predicted == name]
    word = "says" if len(numbers) == 1 else "say"
    films = "" if len(numbers) > MAX_NAMED else f" (film{'s' * (len(numbers) > 1)} {', '.join(numbers)})"
    return f"{len(numbers)} {word} {name}{films}"


def _label(view: ViewOpinion, level: str) -> str:
    """``the CC view (film 3)``."""
    if view.view is None or view.side is None:
        return f"film {view.index + 1}"
    return f"the {view.view if level == 'breast' else view.name} view (film {view.index + 1})"
