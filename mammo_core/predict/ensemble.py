"""Several runs as one opinion: the mean, how far they spread, and whether they agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mammo_core.errors import DataError
from mammo_core.predict.unfamiliar import Unfamiliar


@dataclass(frozen=True)
class Opinion:
    """What the runs say together about one film."""

    probabilities: dict[str, float]
    """Mean over the runs for each class, sums to 1."""
    predicted: str
    """The class of the largest mean."""
    spread: float | None
    """SD (n-1) of the predicted class's probability over the runs; ``None`` for one run."""
    agreement: str
    """One sentence, empty for one run."""
    is_unanimous: bool


def combine(per_run: Mapping[str, Mapping[str, float]]) -> Opinion:
    """Join the runs' probabilities ``{run id: {class: p}}``; all runs name the same classes in the same order.

    Raises
    ------
    DataError
        No run, or runs with other classes.
    """
    names = list(next(iter(per_run.values()), {}))
    if not names or any(list(row) != names for row in per_run.values()):
        raise DataError("Predictions can be joined only over runs that name the same classes; choose runs of one task.")
    table = np.array([[row[name] for name in names] for row in per_run.values()], dtype=np.float64)
    mean = table.mean(axis=0)
    winner = int(mean.argmax())
    votes = [names[index] for index in table.argmax(axis=1)]
    return Opinion(
        probabilities={name: float(value) for name, value in zip(names, mean, strict=True)},
        predicted=names[winner],
        spread=spread_over_runs(per_run, names[winner]),
        agreement=_in_words(votes) if len(votes) > 1 else "",
        is_unanimous=len(set(votes)) == 1,
    )


def spread_over_runs(per_run: Mapping[str, Mapping[str, float]], class_name: str) -> float | None:
    """SD (n-1) of one class's probability over the runs; ``None`` for one run."""
    values = [row[class_name] for row in per_run.values()]
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def _in_words(votes: Sequence[str]) -> str:
    counts = Counter(votes).most_common()
    if len(counts) == 1:
        return f"All {len(votes)} runs say {counts[0][0]}."
    parts = ", ".join(f"{count} of {len(votes)} say {name}" for name, count in counts)
    return f"The runs disagree: {parts}."


def combine_unfamiliar(verdicts: Mapping[str, Unfamiliar | str]) -> Unfamiliar:
    """Join the runs' verdicts ``{run id: verdict, or why there is none}``.

    Distances in the features of different runs have different scales, so the joint score is the mean over the runs of
    *distance / threshold* and its threshold is 1. One run's verdict is left as it is.
    """
    judged = [verdict for verdict in verdicts.values() if isinstance(verdict, Unfamiliar)]
    if not judged:
        return Unfamiliar(None, None, None, " ".join(str(verdict) for verdict in verdicts.values()))
    if len(judged) == 1:
        return judged[0]
    ratios = [
        verdict.score / verdict.threshold
        for verdict in judged
        if verdict.score is not None and verdict.threshold is not None and verdict.threshold > 0
    ]
    if len(ratios) < len(judged):  # a threshold of 0: all validation films are alike to that run
        flags = [bool(verdict.flagged) for verdict in judged]
        return Unfamiliar(any(flags), None, None, judged[flags.index(any(flags))].reason)
    score = float(np.mean(ratios))
    flagged = not score <= 1
    count = sum(bool(verdict.flagged) for verdict in judged)
    reason = (
        f"{count} of {len(judged)} runs find this film farther from their validation films than 99% of those are to each other; "
        f"on average its distance is {score:.2f} times that limit."
    )
    return Unfamiliar(flagged, score, 1.0, reason)
