"""DeLong's test against the plain definition, scikit-learn, published numbers and its own false alarms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from mammo_core.analysis.delong import compare_aucs, midranks, placements
from mammo_core.errors import UndefinedMetric


def data(seed: int, n: int = 60, ties: bool = True) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    positive = generator.random(n) < 0.4
    a, b = (generator.normal(size=n) + strength * positive for strength in (1.0, 0.5))
    return positive, (a.round(1), b.round(1))[0] if ties else a, b.round(1) if ties else b


def plain_delong(positive: np.ndarray, a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Difference and its variance by the double loop of the definition."""

    def psi(x: float, y: float) -> float:
        return 1.0 if x > y else 0.5 if x == y else 0.0

    v10, v01 = [], []
    for scores in (a, b):
        x, y = scores[positive], scores[~positive]
        v10.append([np.mean([psi(one, other) for other in y]) for one in x])
        v01.append([np.mean([psi(other, one) for other in x]) for one in y])
    c = np.array([1.0, -1.0])
    covariance = np.cov(v10) / positive.sum() + np.cov(v01) / (~positive).sum()
    return float(np.mean(v10[0]) - np.mean(v10[1])), float(c @ covariance @ c)


@pytest.mark.parametrize("seed", range(4))
def test_one_film_a_patient_gives_delongs_double_loop(seed):
    positive, a, b = data(seed)
    difference, variance = plain_delong(positive, a, b)
    found = compare_aucs(positive, a, b, [str(i) for i in range(len(a))])
    assert found.difference == pytest.approx(difference)
    assert found.se == pytest.approx(np.sqrt(variance))
    assert found.p == pytest.approx(2 * stats.norm.sf(abs(difference) / np.sqrt(variance)))


def test_the_areas_are_those_of_scikit_learn_with_ties():
    positive, a, b = data(7)
    found = compare_aucs(positive, a, b, ["p"] * 30 + ["q"] * 30)
    assert (found.auc_a, found.auc_b) == pytest.approx((roc_auc_score(positive, a), roc_auc_score(positive, b)))
    won, lost = placements(positive, a)
    assert won.mean() == pytest.approx(lost.mean())


def test_midranks_are_those_of_scipy():
    values = np.random.default_rng(1).integers(0, 9, 40).astype(float)
    assert midranks(values).tolist() == stats.rankdata(values).tolist()


def test_copies_of_every_film_do_not_make_the_interval_narrower():
    positive, a, b = data(3)
    patients = [str(i) for i in range(len(a))]
    once = compare_aucs(positive, a, b, patients)
    twice = compare_aucs(np.tile(positive, 2), np.tile(a, 2), np.tile(b, 2), patients * 2)
    as_if_independent = compare_aucs(np.tile(positive, 2), np.tile(a, 2), np.tile(b, 2), [str(i) for i in range(2 * len(a))])
    assert twice.se == pytest.approx(once.se)
    assert as_if_independent.se < 0.8 * once.se


def test_equal_scores_have_no_p_rather_than_zero():
    positive, a, _ = data(2)
    found = compare_aucs(positive, a, a, [str(i) for i in range(len(a))])
    assert (found.difference, found.se, found.p) == (0.0, None, None)


def test_one_class_alone_is_undefined():
    with pytest.raises(UndefinedMetric, match="films of the others"):
        placements(np.ones(5, dtype=bool), np.arange(5.0))


def test_equally_good_models_are_called_different_at_the_level_that_the_test_states():
    generator = np.random.default_rng(0)
    alarms = 0
    for _ in range(400):
        positive = np.repeat(generator.random(40) < 0.5, 2)  # two films a patient, of one class, with a common part
        if positive.all() or not positive.any():
            continue
        common = np.repeat(generator.normal(size=40), 2) + positive
        a, b = (common + np.repeat(generator.normal(size=40), 2) + 0.3 * generator.normal(size=80) for _ in range(2))
        p = compare_aucs(positive, a, b, np.repeat([str(i) for i in range(40)], 2)).p
        alarms += p is not None and p < 0.05
    assert 0.02 <= alarms / 400 <= 0.09
