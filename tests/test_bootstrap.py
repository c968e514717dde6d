"""The bootstrap of patients: weights against literal resampling, intervals against their nominal coverage."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from mammo_core.analysis.bootstrap import Weights, bca_interval, jackknife, percentile_interval, replicate, two_sided_p


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


def bca_of(values: np.ndarray, replicates: int, statistic) -> tuple[float, float]:
    patients = [str(i) for i in range(len(values))]
    found = replicate(patients, lambda w: {"s": statistic(w, values)}, replicates)
    left = jackknife(patients, lambda w: {"s": statistic(w, values)})
    interval = bca_interval(found["s"], left["s"])
    assert "BCa" in interval.note
    return interval.low, interval.high


def test_the_bca_interval_of_a_skewed_mean_is_that_of_scipy():
    values = np.random.default_rng(3).exponential(size=40)
    low, high = bca_of(values, 20_000, lambda w, v: w.mean(v))
    expected = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="BCa", rng=1).confidence_interval
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=0.02)
    plain = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=1).confidence_interval
    assert abs(plain.high - high) > 0.02, "the data are skewed enough to tell the two apart"


def test_leaving_out_a_patient_leaves_out_all_of_her_films():
    left = jackknife(["a", "a", "b", "c"], lambda w: {"mean": w.mean(np.array([1.0, 3.0, 5.0, 7.0]))})
    assert left["mean"].tolist() == pytest.approx([6.0, 11 / 3, 3.0])


def test_the_percentiles_stand_in_where_the_correction_is_undefined():
    values = np.array([1.0, *np.linspace(0.5, 0.9, 99)])  # the data lie above every replicate
    assert "percentile" in bca_interval(values, np.linspace(0.9, 1.0, 30)).note
    assert "percentile" in bca_interval(np.linspace(0.4, 0.9, 100), np.array([0.5, np.nan])).note
    assert bca_interval(np.ones(50), np.ones(10)).low is None


def test_bca_covers_a_high_accuracy_at_least_as_often_as_the_percentiles():
    generator = np.random.default_rng(0)
    covered = {"BCa": 0, "percentile": 0}
    for _ in range(150):
        right = (generator.random(60) < 0.93).astype(float)
        patients = [str(i) for i in range(60)]
        found = replicate(patients, lambda w, right=right: {"s": w.mean(right)}, 400)["s"]
        left = jackknife(patients, lambda w, right=right: {"s": w.mean(right)})["s"]
        for name, interval in (("BCa", bca_interval(found, left)), ("percentile", percentile_interval(found[1:]))):
            covered[name] += interval.low is not None and interval.low <= 0.93 <= interval.high
    assert covered["BCa"] >= covered["percentile"]
    assert covered["BCa"] >= 0.90 * 150
