"""The bootstrap of patients: weights against literal resampling, intervals against their nominal coverage."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from mammo_core.analysis.bootstrap import Weights, percentile_interval, replicate, two_sided_p


def test_weights_give_what_repeating_the_films_gives():
    generator = np.random.default_rng(0)
    patient_of = np.repeat(np.arange(20), 3)
    values, scores = generator.normal(size=60), generator.normal(size=60).round(1)
    positive = generator.random(60) < 0.4
    counts = generator.multinomial(20, np.full(20, 1 / 20), size=5).astype(float)
    weights = Weights(counts, patient_of)
    means, aucs = weights.mean(values), weights.auc(scores, positive)
    for row, mean, auc in zip(counts, means, aucs, strict=True):
        drawn = np.repeat(np.arange(60), row[patient_of].astype(int))
        assert mean == pytest.approx(values[drawn].mean())
        assert auc == pytest.approx(roc_auc_score(positive[drawn], scores[drawn]))


def test_an_auc_without_positives_is_undefined():
    weights = Weights(np.array([[1.0, 1.0], [2.0, 0.0]]), np.array([0, 1]))
    found = weights.auc(np.array([0.1, 0.9]), np.array([False, True]))
    assert found[0] == 1.0
    assert np.isnan(found[1])


def test_the_first_value_is_of_the_data_and_every_replicate_draws_as_many_patients():
    found = replicate(
        ["a", "a", "b", "c"],
        lambda w: {"films": w.total(np.ones(4)), "patients": w.counts.sum(axis=1), "mean": w.mean(np.array([1.0, 1, 2, 3]))},
        replicates=100,
    )
    assert found["films"][0] == 4
    assert found["mean"][0] == pytest.approx(7 / 4)
    assert set(found["patients"]) == {3.0}
    assert len(set(found["films"])) > 1, "a patient's films come and go together"


def test_the_same_seed_gives_the_same_replicates():
    def once(seed):
        return replicate([str(i) for i in range(30)], lambda w: {"mean": w.mean(np.arange(30.0))}, 50, seed)["mean"]

    assert (once(1) == once(1)).all()
    assert not (once(1) == once(2)).all()


def test_replicates_do_not_depend_on_how_they_are_cut_into_blocks(monkeypatch):
    patients, values = [str(i) for i in range(40)], np.arange(40.0)
    whole = replicate(patients, lambda w: {"mean": w.mean(values)}, 64)["mean"]
    monkeypatch.setattr("mammo_core.analysis.bootstrap.BLOCK_ELEMENTS", 40 * 7)
    assert replicate(patients, lambda w: {"mean": w.mean(values)}, 64)["mean"] == pytest.approx(whole)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    generator = np.random.default_rng(3)
    covered = 0
    for seed in range(200):
        effect = generator.normal(size=40)  # of the patient, shared by their two films
        values = np.repeat(effect, 2) + 0.1 * generator.normal(size=80)
        patients = np.repeat(np.arange(40), 2).astype(str).tolist()
        found = replicate(patients, lambda w, values=values: {"mean": w.mean(values)}, 300, seed)["mean"]
        interval = percentile_interval(found[1:])
        covered += interval.low <= 0 <= interval.high
    assert 0.88 <= covered / 200 <= 0.99  # resampling films instead of patients covers about 0.8


def test_undefined_replicates_are_dropped_and_counted():
    values = np.array([np.nan] * 10 + list(np.linspace(0, 1, 91)))
    interval = percentile_interval(values)
    assert (interval.low, interval.high) == pytest.approx((0.025, 0.975))
    assert "10 of them" in interval.note


def test_mostly_undefined_replicates_give_no_interval():
    interval = percentile_interval(np.array([np.nan] * 60 + [0.1] * 20 + [0.2] * 20))
    assert interval.low is None
    assert "60 of 100" in interval.note


def test_replicates_that_all_agree_give_no_interval():
    assert percentile_interval(np.ones(100)).low is None


def test_the_p_value_is_never_zero_and_never_above_one():
    assert two_sided_p(np.full(999, 0.5)) == pytest.approx(2 / 1000)
    assert two_sided_p(np.zeros(99)) == 1.0
    assert two_sided_p(np.array([np.nan])) is None
