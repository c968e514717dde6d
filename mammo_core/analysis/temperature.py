"""Temperature scaling: one number, fitted on validation cases, that changes how sure a model is and never what it calls."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mammo_core.analysis.formulas import Floats, Labels
from mammo_core.analysis.predictions import PROBABILITY_PREFIX, cases_of

LOWEST, HIGHEST = 0.05, 20.0
"""Range searched; a fit that ends at one of its ends is no fit but separable or hopeless data."""
FLAT = 1e-9
"""Nats of log loss that are rounding."""
SMALLEST = 1e-12
"""Floor under a probability before its logarithm is taken."""


@dataclass(frozen=True)
class Temperature:
    """A fitted temperature and what it did on the cases it was fitted on."""

    value: float
    """Above 1: the model was too sure; below 1: not sure enough."""
    films: int
    patients: int
    log_loss_before: float
    log_loss_after: float
    """Nats, on the cases it was fitted on."""
    at_limit: bool
    """Whether the best temperature lies outside the range searched."""

    @property
    def words(self) -> str:
        if self.at_limit:
            return f"at the end of the range searched ({self.value:g}): these cases do not determine it"
        if abs(self.value - 1) < 0.05:
            return "close to 1: the probabilities need no correction"
        return "above 1: the model is too sure of itself" if self.value > 1 else "below 1: the model is not sure enough"


def fit_temperature(table: pd.DataFrame, class_names: Sequence[str]) -> Temperature:
    """The temperature with the smallest log loss on these (validation) predictions.

    Raises
    ------
    DataError
        As ``cases_of``.

    Source
    ------
    Guo et al. (2017), On calibration of modern neural networks, arXiv:1706.04599. Logits are taken as ``log p``, which differ
    from the network's by a constant a film and give the same result; of an ensemble they are the logarithm of the mean.
    """
    cases = cases_of(table, class_names, ordinal=False)
    logits = np.log(np.clip(cases.probabilities, SMALLEST, None))

    def loss(log_temperature: float) -> float:
        return _log_loss(logits / math.exp(log_temperature), cases.labels)

    from scipy.optimize import minimize_scalar  # a third of a second that other views need not wait for

    low, high = math.log(LOWEST), math.log(HIGHEST)
    best = float(minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-6}).x)
    return Temperature(
        value=math.exp(best),
        films=len(cases.labels),
        patients=len(set(cases.patients)),
        log_loss_before=loss(0.0),
        log_loss_after=loss(best),
        # a loss that is as small at an end is flat up to there, and the search stops anywhere on it
        at_limit=min(loss(low), loss(high)) <= loss(best) + FLAT,
    )


def apply_temperature(table: pd.DataFrame, class_names: Sequence[str], temperature: float) -> pd.DataFrame:
    """The predictions with every probability ``p`` replaced by ``p ** (1 / temperature)``, scaled to sum 1; calls stay the same.

    Raises
    ------
    DataError
        As ``cases_of``.
    """
    cases = cases_of(table, class_names, ordinal=False)
    scaled = scale(cases.probabilities, temperature)
    return table.assign(**{f"{PROBABILITY_PREFIX}{name}": scaled[:, k] for k, name in enumerate(class_names)})


def scale(probabilities: Floats, temperature: float) -> Floats:
    """``p ** (1 / temperature)``, rows scaled to sum 1; ``(n, K)`` in and out."""
    logits = np.log(np.clip(probabilities, SMALLEST, None)) / temperature
    grown = np.exp(logits - logits.max(axis=1, keepdims=True))
    scaled: Floats = grown / grown.sum(axis=1, keepdims=True)
    return scaled


def _log_loss(logits: Floats, labels: Labels) -> float:
    shifted = logits - logits.max(axis=1, keepdims=True)
    normaliser = np.log(np.exp(shifted).sum(axis=1))
    return float((normaliser - shifted[np.arange(len(labels)), labels]).mean())
