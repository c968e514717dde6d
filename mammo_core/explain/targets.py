"""What a map explains: the score for one class, the answer to a yes-or-no question, or the expected category of a scale.

A map for class C of a density model says what spoke for C and against D alike. Whether a breast is dense is another question:
then C and D stand together, against A and B. Nothing here imports torch, so that pages can list the choices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mammo_core.analysis.questions import Question, questions_of
from mammo_core.errors import ConfigError

if TYPE_CHECKING:
    import torch

EXPECTED = "expected"


@dataclass(frozen=True)
class MapTarget:
    """A number made of a model's logits, whose gradient a map shows. Called as the targets of pytorch-grad-cam are."""

    key: str
    """Stable: ``class:<name>``, the key of a question such as ``dense`` or ``malignant``, or ``expected``."""
    name: str
    """For the reader's choice: ``C``, ``C or D against A or B``, ``Expected category (A to D)``."""
    subject: str
    """What was influenced, within a sentence: ``the score for C``."""
    positive: tuple[int, ...] = ()
    """Indices of the classes that speak for it. None for the expected category."""
    negative: tuple[int, ...] = ()
    """Of those that speak against it. None for a class, whose logit counts alone."""

    def __call__(self, logits: torch.Tensor) -> torch.Tensor:
        """The number, a scalar.

        - A class: its logit.
        - A question: logit of P(yes) among the classes asked about, logsumexp(positive) - logsumexp(negative).
        - The expected category: sum of k p_k, with k from 0. In float64, because of a sure model's float32 probabilities only
          one would be left.

        Parameters
        ----------
        logits : Tensor of shape (K,)
        """
        if not self.positive:
            # On the CPU: MPS has no float64. The gradient goes back to where the logits are.
            exact = logits.cpu().double()
            return (exact.softmax(-1) * exact.new_tensor(range(len(exact)))).sum()
        if not self.negative:
            return logits[self.positive[0]]
        return logits[list(self.positive)].logsumexp(-1) - logits[list(self.negative)].logsumexp(-1)


def class_target(index: int, name: str | None = None) -> MapTarget:
    """The logit of one class."""
    name = name or f"class {index}"
    return MapTarget(f"class:{name}", name, f"the score for {name}", (index,))


def targets_of(class_names: Sequence[str], ordinal: bool) -> tuple[MapTarget, ...]:
    """All targets of a class list: the classes first, then the questions, then for an ordered scale the expected category.

    Of the questions of an ordered scale only the main one is taken (its expected category covers the other cuts). Questions of
    one class against the rest are there only where they are the task's own, such as malignant against the rest.
    """
    names = tuple(class_names)
    found = [class_target(index, name) for index, name in enumerate(names)]
    asked = [question for question in questions_of(names, ordinal) if not question.key.startswith("class:")]
    found += [_of_question(question, names, ordinal) for question in (asked[:1] if ordinal else asked)]
    if ordinal and len(names) > 2:
        scale = f"{names[0]} to {names[-1]}"
        found.append(MapTarget(EXPECTED, f"Expected category ({scale})", f"the expected category on the scale from {scale}"))
    return tuple({target.name: target for target in reversed(found)}.values())[::-1]


def _of_question(question: Question, names: tuple[str, ...], ordinal: bool) -> MapTarget:
    # On an ordered scale both sides are named: "the rest" leaves open which way it goes.
    name = f"{question.positive_words} against {' or '.join(question.negative)}" if ordinal else question.title
    places = [tuple(names.index(one) for one in side) for side in (question.positive, question.negative)]
    return MapTarget(question.key, name, f"the score for {name}", places[0], places[1])


def find_target(wanted: str, class_names: Sequence[str], ordinal: bool) -> MapTarget:
    """The target of this name or key; a class goes before a key that reads alike.

    Raises
    ------
    ConfigError
        There is none.
    """
    targets = targets_of(class_names, ordinal)
    found = next((target for target in targets if target.name == wanted), None)
    found = found or next((target for target in targets if target.key == wanted), None)
    if found is None:
        names = ", ".join(target.name for target in targets)
        raise ConfigError(f"The model knows no class {wanted!r} and no question of that name; expected one of {names}.")
    return found
