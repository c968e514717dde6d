"""Calibration against scikit-learn, scipy and a simulation; the null band against known figures."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn import metrics as sk
from sklearn.calibration import calibration_curve

from mammo_core.analysis.calibration import calibration_of, equal_mass_bins
from mammo_core.analysis.temperature import apply_temperature, fit_temperature
from test_metrics import DENSITY, LESION, draw, table_of


def calibrated(n: int, seed: int, concentration: float = 0.4, k: int = 4):
    """Labels drawn from the probabilities themselves."""
    generator = np.random.default_rng(seed)
    probabilities = generator.dirichlet(np.full(k, concentration), n)
    labels = (generator.random((n, 1)) > probabilities.cumsum(axis=1)).sum(axis=1).clip(0, k - 1)
    return labels, probabilities


@pytest.mark.parametrize("key", ["dense", "class:A", "from:B"])
def test_bins_equal_the_quantile_bins_of_scikit_learn(key):
    labels, probabilities = draw(0, n=15 * 20)
    curve = calibration_of(table_of(labels, probabilities, DENSITY), DENSITY, True).curve(key)
    first = {"dense": 2, "from:B": 1}.get(key)
    scores = probabilities[:, 0] if first is None else probabilities[:, first:].sum(axis=1)
    truth = labels == 0 if first is None else labels >= first
    observed, mean = calibration_curve(truth, scores, n_bins=15, strategy="quantile")
    assert [b.observed for b in curve.bins] == pytest.approx(observed.tolist())
    assert [b.mean_probability for b in curve.bins] == pytest.approx(mean.tolist())
    assert {b.films for b in curve.bins} == {20}
    assert curve.error == pytest.approx(np.abs(observed - mean).mean())
    assert sum(curve.histogram) == len(labels)


def test_ties_stay_in_one_bin_and_few_cases_make_few_bins():
    order, starts = equal_mass_bins(np.array([0.5] * 10 + [0.9]))
    assert len(starts) <= 2
    sizes = np.diff(np.append(starts, 11))
    assert sizes.sum() == 11
    assert len(equal_mass_bins(np.array([0.1, 0.2, 0.3]))[1]) == 3


def test_the_bar_of_a_bin_counts_patients_and_not_films():
    labels, probabilities = draw(1, n=60)
    many = table_of(np.repeat(labels, 4), np.repeat(probabilities, 4, axis=0), DENSITY, films_each=4)
    one, four = (calibration_of(t, DENSITY, True).called for t in (table_of(labels, probabilities, DENSITY), many))
    assert [b.patients for b in four.bins] == [b.patients for b in one.bins]
    assert [b.low for b in four.bins] == pytest.approx([b.low for b in one.bins])
    assert [b.high for b in four.bins] == pytest.approx([b.high for b in one.bins])
    assert four.null_mean == pytest.approx(one.null_mean), "four films of a patient say no more than one"


def test_films_of_a_patient_with_different_truths_are_drawn_apart():
    probabilities = np.repeat(calibrated(300, 2)[1], 4, axis=0)
    labels = np.arange(1200) % 4
    alone = calibration_of(table_of(labels, probabilities, DENSITY), DENSITY, True).called
    shared = calibration_of(table_of(labels, probabilities, DENSITY, films_each=4), DENSITY, True).called
    assert {b.patients for b in shared.bins} != {b.patients for b in alone.bins}
    assert (shared.null_mean, shared.null_high) == pytest.approx((alone.null_mean, alone.null_high), rel=0.05)


def test_a_perfectly_calibrated_model_shows_the_known_errors_and_they_shrink_with_n():
    # 0.075, 0.048 and 0.024 at n = 200, 500 and 2000 were computed for a four-class model whose sharpness is not recorded;
    # the concentration that gives the first must give the others
    found = {}
    for n in (200, 500, 2000):
        errors = []
        for seed in range(8):
            labels, probabilities = calibrated(n, seed, 0.18)
            errors.append(calibration_of(table_of(labels, probabilities, DENSITY), DENSITY, replicates=60).called.null_mean)
        found[n] = float(np.mean(errors))
    assert found == pytest.approx({200: 0.075, 500: 0.048, 2000: 0.024}, abs=0.003)


def test_the_null_band_holds_calibrated_models_about_19_times_in_20():
    inside = 0
    for seed in range(100):
        labels, probabilities = calibrated(150, seed)
        called = calibration_of(table_of(labels, probabilities, DENSITY), DENSITY, replicates=200).called
        inside += called.null_low <= called.error <= called.null_high
    assert 0.88 <= inside / 100 <= 1


def test_an_overconfident_model_lies_above_the_band_and_a_temperature_brings_it_back():
    labels, probabilities = calibrated(1500, 3)
    sharp = probabilities**2.5
    table = table_of(labels, sharp / sharp.sum(axis=1, keepdims=True), DENSITY)
    found = calibration_of(table, DENSITY)
    assert found.called.above_null
    temperature = fit_temperature(table, DENSITY)
    assert temperature.value == pytest.approx(2.5, rel=0.15)
    after = calibration_of(apply_temperature(table, DENSITY, temperature.value), DENSITY)
    assert after.called.error < found.called.error / 2
    assert after.log_loss == pytest.approx(temperature.log_loss_after)
    assert not after.called.above_null


@pytest.mark.parametrize("seed", range(3))
def test_the_temperature_is_the_minimum_that_scipy_finds(seed):
    labels, probabilities = draw(seed)
    logits = np.log(probabilities)

    def loss(log_temperature):
        scaled = np.exp(logits / np.exp(log_temperature[0]))
        return sk.log_loss(labels, scaled / scaled.sum(axis=1, keepdims=True))

    best = minimize(loss, [0.0], method="Nelder-Mead").x[0]
    found = fit_temperature(table_of(labels, probabilities, DENSITY), DENSITY)
    assert found.value == pytest.approx(np.exp(best), rel=1e-3)
    assert not found.at_limit


def test_a_temperature_changes_no_call_and_1_changes_nothing():
    labels, probabilities = draw(4)
    table = table_of(labels, probabilities, DENSITY)
    columns = [f"prob_{name}" for name in DENSITY]
    assert apply_temperature(table, DENSITY, 1.0)[columns].to_numpy() == pytest.approx(probabilities)
    scaled = apply_temperature(table, DENSITY, 3.0)[columns].to_numpy()
    assert (scaled.argmax(axis=1) == probabilities.argmax(axis=1)).all()
    assert scaled.sum(axis=1) == pytest.approx(1)


def test_films_all_called_rightly_do_not_determine_a_temperature():
    probabilities = np.tile([0.1, 0.7, 0.2], (10, 1))
    found = fit_temperature(table_of([1] * 10, probabilities, LESION), LESION)
    assert found.at_limit
    assert "do not determine" in found.words


def test_brier_and_log_loss_and_their_skills_equal_scikit_learn():
    labels, probabilities = draw(5)
    found = calibration_of(table_of(labels, probabilities, DENSITY), DENSITY)
    shares = np.tile(np.bincount(labels, minlength=4) / len(labels), (len(labels), 1))
    brier, quoting = (sk.brier_score_loss(labels, p, scale_by_half=False) for p in (probabilities, shares))
    assert (found.brier, found.brier_skill) == pytest.approx((brier, 1 - brier / quoting))
    assert found.log_loss_skill == pytest.approx(1 - sk.log_loss(labels, probabilities) / sk.log_loss(labels, shares))


@pytest.mark.parametrize("n", [1, 2, 8])
def test_a_handful_of_films_of_one_class_gives_numbers_or_nan_and_no_crash(n):
    found = calibration_of(table_of([1] * n, np.tile([0.2, 0.5, 0.3], (n, 1)), LESION), LESION)
    assert found.called.films == n
    assert np.isnan(found.brier_skill)
    assert np.isnan(found.log_loss_skill)


def test_probabilities_of_0_and_1_are_handled():
    table = table_of([0, 1, 2, 2], np.eye(3)[[0, 1, 2, 0]], LESION)
    assert np.isfinite(calibration_of(table, LESION).log_loss)
    assert np.isfinite(fit_temperature(table, LESION).log_loss_after)
