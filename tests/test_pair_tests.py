"""The tests between two groups, against scipy, statsmodels, published numbers and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from mammo_core.analysis.pair_tests import cochran_q, corrected_t, holm, mcnemar, probability_of_superiority, welch


def flags(*counts: tuple[bool, int]) -> np.ndarray:
    return np.concatenate([np.full(count, value) for value, count in counts])


def test_mcnemar_is_the_binomial_test_of_the_films_that_only_one_got_right():
    a, b = flags((True, 60), (True, 12), (False, 4), (False, 24)), flags((True, 60), (False, 12), (True, 4), (False, 24))
    found = mcnemar(a, b)
    assert (found["only_a"], found["only_b"]) == (12, 4)
    assert found["p"] == pytest.approx(stats.binomtest(4, 16, 0.5).pvalue)
    assert found["difference"] == pytest.approx(0.08)
    assert found["ci_high"] - found["difference"] == pytest.approx(1.96 * np.sqrt(16 - 64 / 100) / 100, rel=1e-3)


def test_models_that_are_right_on_the_same_films_have_no_p():
    a = flags((True, 6), (False, 4))
    found = mcnemar(a, a)
    assert (found["difference"], found["p"], found["ci_low"]) == (0.0, None, None)


def test_three_models_that_agree_everywhere_have_no_q():
    a = flags((True, 6), (False, 4))
    assert cochran_q([a, a, a]) is None
    assert cochran_q([a, ~a, a]) < 1


def test_three_folds_get_the_corrected_and_not_the_naive_width():
    """Accuracy over three folds with SD 0.024: naive ± 0.060, corrected ± 0.094."""
    values = np.array([-1.0, 0.0, 1.0]) * 0.024
    found = corrected_t(values + 0.1, 1 / 2)
    assert (found["ci_high"] - found["ci_low"]) / 2 == pytest.approx(0.094, abs=5e-4)
    naive = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (naive.high - naive.low) / 2 == pytest.approx(0.060, abs=5e-4)


def test_without_shared_training_films_the_corrected_test_is_the_plain_t_test():
    values = np.random.default_rng(0).normal(0.3, 1, 9)
    found, plain = corrected_t(values.tolist(), 0.0), stats.ttest_1samp(values, 0)
    assert found["p"] == pytest.approx(plain.pvalue)


def test_equal_or_single_differences_are_not_tested():
    assert corrected_t([0.1, 0.1, 0.1], 0.5) is None
    assert corrected_t([0.1], 0.5) is None


def test_welch_equals_scipy():
    a, b = [0.70, 0.72, 0.69, 0.74], [0.66, 0.71, 0.60]
    expected = stats.ttest_ind(a, b, equal_var=False)
    interval = expected.confidence_interval(0.95)
    found = welch(a, b)
    assert (found["p"], found["df"]) == pytest.approx((expected.pvalue, expected.df))
    assert (found["ci_low"], found["ci_high"]) == pytest.approx((interval.low, interval.high))


def test_welch_needs_two_values_in_each_group():
    assert welch([0.7], [0.6, 0.5]) is None
    assert welch([0.7, 0.7], [0.5, 0.5]) is None
    assert welch([0.7, None, 0.8], [0.5, float("nan")]) is None


def test_the_probability_of_superiority_is_the_mann_whitney_share():
    a, b = [0.7, 0.8, 0.75], [0.7, 0.6, 0.65, 0.72]
    expected = stats.mannwhitneyu(a, b).statistic / 12
    found = probability_of_superiority(a, b)
    assert found["value"] == pytest.approx(expected)
    assert found["ci_low"] <= found["value"] <= found["ci_high"]


def test_a_better_group_is_named_only_when_the_interval_leaves_one_half():
    assert probability_of_superiority([0.8, 0.81, 0.82, 0.83, 0.84], [0.7, 0.71, 0.72, 0.73, 0.74])["better"] == "a"
    assert probability_of_superiority([0.7, 0.9, 0.6], [0.72, 0.65, 0.8])["better"] is None
    assert probability_of_superiority([0.2, 0.21, 0.22], [0.3, 0.31, 0.32], lower_is_better=True)["better"] == "a"
    assert probability_of_superiority([0.7], [0.6, 0.5]) is None


def test_holm_multiplies_the_smallest_by_their_number_and_keeps_order():
    assert holm([0.04, None, 0.01, 0.03]) == pytest.approx([0.06, None, 0.03, 0.06])
    assert holm([0.04]) == [0.04]


def test_fold_wise_equal_models_are_called_different_about_as_rarely_as_the_level_says():
    """Folds whose differences share a part, as overlapping training films make them share; the plain t test fails here."""
    generator = np.random.default_rng(0)
    corrected = plain = 0
    for _ in range(600):
        common, own = generator.normal(scale=np.sqrt(1 / 3)), generator.normal(scale=np.sqrt(2 / 3), size=3)
        differences = (common + own).tolist()
        corrected += corrected_t(differences, 0.5)["p"] < 0.05
        plain += stats.ttest_1samp(differences, 0).pvalue < 0.05
    assert corrected / 600 <= 0.07
    assert plain / 600 > 0.09
