"""Yes-or-no questions that a list of classes allows, such as dense against non-dense or malignant against the rest.

Every question turns class probabilities into one score in [0, 1], the probability of "yes", and films into yes and no.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mammo_core.analysis.formulas import Floats
from mammo_core.analysis.predictions import Cases

MALIGNANT_WORDS = frozenset({"malignant", "malign", "cancer"})
NORMAL_WORDS = frozenset({"normal", "negative", "healthy"})
BENIGN_WORDS = frozenset({"benign"})


@dataclass(frozen=True)
class Question:
    """One question: is the film of one of the ``positive`` classes, rather than of one of the ``negative`` ones?"""

    key: str
    """Stable name: ``dense``, ``from:B``, ``malignant``, ``abnormal``, ``malignant_vs_benign`` or ``class:<name>``."""
    title: str
    """For the reader: ``C or D against the rest``."""
    positive: tuple[str, ...]
    negative: tuple[str, ...]

    @property
    def positive_words(self) -> str:
        """``C or D``: what "yes" means."""
        return " or ".join(self.positive)


@dataclass(frozen=True)
class Answers:
    """The cases that a question is about, in their order."""

    scores: Floats
    """Probability of "yes" among the classes of the question, in [0, 1], shape ``(n,)``."""
    positive: npt.NDArray[np.bool_]
    """Shape ``(n,)``."""
    patients: tuple[str, ...]


def questions_of(class_names: Sequence[str], ordinal: bool) -> tuple[Question, ...]:
    """All questions of a class list, the one that matters most first; none twice, none with only one kind of answer.

    An ordered scale is cut at each of its steps (the cut in the middle first: ``dense``); a list with a malignant class asks
    for malignant, abnormal, and malignant among lesions; every list asks for each class against the rest.
    """
    names = tuple(class_names)
    found = _cuts(names) if ordinal else _lesion_questions(names)
    found += [_against_rest(f"class:{name}", (name,), names) for name in names]
    kept: dict[tuple[tuple[str, ...], tuple[str, ...]], Question] = {}
    for question in found:
        if question.positive and question.negative:
            kept.setdefault((question.positive, question.negative), question)
    return tuple(kept.values())


def _cuts(names: tuple[str, ...]) -> list[Question]:
    middle = (len(names) + 1) // 2
    places = [middle, *(place for place in range(1, len(names)) if place != middle)] if len(names) > 1 else []
    return [_against_rest("dense" if place == middle else f"from:{names[place]}", names[place:], names) for place in places]


def _lesion_questions(names: tuple[str, ...]) -> list[Question]:
    malignant, benign, normal = (
        tuple(name for name in names if _word(name) in words) for words in (MALIGNANT_WORDS, BENIGN_WORDS, NORMAL_WORDS)
    )
    found = []
    if malignant:
        found.append(_against_rest("malignant", malignant, names))
    if normal:
        found.append(_against_rest("abnormal", tuple(name for name in names if name not in normal), names))
    if malignant and benign:
        title = f"{' or '.join(malignant)} against {' or '.join(benign)}, among lesions"
        found.append(Question("malignant_vs_benign", title, malignant, benign))
    return found


def _against_rest(key: str, positive: tuple[str, ...], names: tuple[str, ...]) -> Question:
    negative = tuple(name for name in names if name not in positive)
    return Question(key, f"{' or '.join(positive)} against {_rest(negative)}", positive, negative)


def _rest(negative: tuple[str, ...]) -> str:
    return negative[0] if len(negative) == 1 else "the rest"


def _word(name: str) -> str:
    return name.strip().lower()


def severity_order(class_names: Sequence[str]) -> tuple[int, ...] | None:
    """How bad each class is (larger is worse) where the list has a malignant class; ``None`` for any other list."""
    words = [_word(name) for name in class_names]
    if not MALIGNANT_WORDS & set(words):
        return None
    last = len(words)
    rank = {word: -1 for word in NORMAL_WORDS} | {word: 2 * last for word in MALIGNANT_WORDS}
    return tuple(rank.get(word, place) for place, word in enumerate(words))


def answers_of(cases: Cases, question: Question) -> Answers:
    """The scores and truths of a question; films of classes that it does not name are left out.

    Where some classes are left out, the score is the probability of "yes" given that it is one of the classes asked about;
    0.5 where the model gives none of them any probability.
    """
    place = {name: index for index, name in enumerate(cases.class_names)}
    yes, no = [place[name] for name in question.positive], [place[name] for name in question.negative]
    scores = cases.probabilities[:, yes].sum(axis=1)
    truth = np.isin(cases.labels, yes)
    if len(yes) + len(no) == len(cases.class_names):
        return Answers(scores, truth, cases.patients)
    asked = truth | np.isin(cases.labels, no)
    whole = scores + cases.probabilities[:, no].sum(axis=1)
    given = np.divide(scores, whole, out=np.full(len(scores), 0.5), where=whole > 0)
    patients = tuple(patient for patient, counted in zip(cases.patients, asked, strict=True) if counted)
    return Answers(given[asked], truth[asked], patients)
