"""False alarms and misses of the rules on simulated runs: seeded, small; the large version is a loop over more seeds."""

from __future__ import annotations

import numpy as np
import pytest

from mammo_core.analysis.diagnosis import Context, diagnose
from mammo_core.runs.schema import EpochRecord

E = np.arange(1, 21)
CASE_SD = 0.6
"""SD of one case's cross-entropy; epoch-to-epoch errors of the same cases are 0.3 to 0.5 of the unpaired one."""
RUNS = 30


def simulated(
    rng: np.random.Generator, n: int, rise: float, train_end: float, accuracy_gap: float, paired: float
) -> list[EpochRecord]:
    """A run of 20 epochs: exponential descent to epoch 10, then a straight relative ``rise``; binomial accuracies."""
    val = 0.6 + 0.8 * np.exp(-(E - 1) / 2.5)
    val = val * (1 + rise * np.clip(E - 10, 0, None) / 10)
    noise = paired * CASE_SD / np.sqrt(n)
    val = val + rng.normal(0, noise, len(E))
    train = train_end + (1.35 - train_end) * np.exp(-(E - 1) / 5) + rng.normal(0, 0.004, len(E))
    accuracy = 0.72 - 0.3 * np.exp(-(E - 1) / 2.5)
    # Predictions of neighbouring epochs agree on most cases, so accuracies move by about half their sampling error.
    val_acc = np.clip(accuracy + 0.5 * rng.normal(0, np.sqrt(0.72 * 0.28 / n), len(E)), 0, 1)
    train_acc = np.clip(accuracy + accuracy_gap * (E / 20), 0, 0.999)
    return [
        EpochRecord(epoch=int(e), train_loss=float(t), val_loss=float(v), train_acc=float(a), val_acc=float(b))
        for e, t, v, a, b in zip(E, train, val, train_acc, val_acc, strict=True)
    ]


def verdicts(n: int, own: bool = True, **kind: float) -> list[str]:
    rng = np.random.default_rng(n)
    context = Context(class_names=("A", "B", "C", "D"), n_val=n, own_run=True) if own else Context()
    return [diagnose(simulated(rng, n, **kind), context).verdict for _ in range(RUNS)]


HEALTHY = {"rise": 0.0, "train_end": 0.5, "accuracy_gap": 0.04, "paired": 0.5}
MILD = {"rise": 0.16, "train_end": 0.3, "accuracy_gap": 0.10, "paired": 0.3}
"""Ends a tenth above its best, because the descent still goes on while the rise begins."""
SEVERE = {"rise": 0.6, "train_end": 0.05, "accuracy_gap": 0.27, "paired": 0.5}


@pytest.mark.parametrize("n", [200, 500, 2000])
@pytest.mark.parametrize("own", [True, False], ids=["own", "foreign"])
def test_healthy_noisy_runs_are_hardly_ever_called_overfitted(n, own):
    found = verdicts(n, own, **HEALTHY)
    assert sum(verdict.startswith("OVERFIT") for verdict in found) <= 1
    assert found.count("HEALTHY") >= 0.9 * RUNS


@pytest.mark.parametrize("n", [200, 500, 2000])
@pytest.mark.parametrize("own", [True, False], ids=["own", "foreign"])
def test_severely_overfitted_runs_are_found(n, own):
    assert verdicts(n, own, **SEVERE).count("OVERFIT_SEVERE") >= 0.98 * RUNS


@pytest.mark.parametrize(("n", "least"), [(200, 0.75), (500, 0.95), (2000, 0.98)])
@pytest.mark.parametrize("own", [True, False], ids=["own", "foreign"])
def test_a_rise_of_a_tenth_is_mild(n, least, own):
    assert verdicts(n, own, **MILD).count("OVERFIT_MILD") >= least * RUNS
