"""One more run, differences worth looking for, and numbers of runs: against published figures and simulation."""

from __future__ import annotations

import numpy as np
import pytest

from mammo_core.analysis.expectation import expected, runs_for_half_width, sd_interval, smallest_visible_difference

ACCURACY = [0.676, 0.733, 0.679]


def test_three_reference_seeds_expect_a_new_one_between_their_prediction_limits():
    found = expected(ACCURACY, 0.66)
    assert (found.low, found.high) == pytest.approx((0.537, 0.855), abs=6e-4)
    assert found.inside
    assert "too unsure, to call a run an outlier" in found.text


def test_the_printed_two_sigma_limits_of_the_reference_would_flag_its_own_best_seed_and_ours_do_not():
    printed_low, printed_high = 0.67, 0.73
    flagged = [value for value in ACCURACY if not printed_low <= value <= printed_high]
    assert flagged == [0.733]
    assert all(expected(ACCURACY, value).inside for value in flagged)


def test_a_run_far_from_many_others_is_outside():
    values = (0.70 + 0.01 * np.linspace(-1, 1, 10)).tolist()
    found = expected(values, 0.80)
    assert found.inside is False
    assert "lies outside" in found.text
    assert "outlier" not in found.text


def test_one_run_expects_nothing():
    found = expected([0.7], 0.1)
    assert found.inside is None
    assert "two or more are needed" in found.text


def test_a_new_run_of_the_same_kind_lies_outside_in_one_case_of_twenty():
    generator = np.random.default_rng(0)
    for n in (3, 10):
        draws = generator.normal(size=(1500, n + 1))
        outside = sum(expected(row[:n].tolist(), float(row[n])).inside is False for row in draws)
        assert outside / 1500 == pytest.approx(0.05, abs=0.018)


@pytest.mark.parametrize(("n", "difference"), [(3, 0.099), (5, 0.065), (10, 0.043), (20, 0.030)])
def test_the_smallest_visible_difference_is_the_published_one(n, difference):
    assert smallest_visible_difference(0.032, n, n) == pytest.approx(difference, abs=1.1e-3)


def test_one_run_a_side_shows_no_difference_at_all():
    assert smallest_visible_difference(0.032, 1, 5) is None


@pytest.mark.parametrize(("half", "runs"), [(0.03, 7), (0.02, 13)])
def test_the_number_of_runs_for_a_width_is_the_published_one(half, runs):
    assert runs_for_half_width(0.032, half) == runs


def test_a_width_that_no_sensible_number_of_runs_gives_is_said_to_have_none():
    assert runs_for_half_width(1.0, 0.001) is None


def test_the_interval_of_a_standard_deviation_is_the_published_one():
    assert sd_interval(0.0321, 3) == pytest.approx((0.017, 0.202), abs=5e-4)
    assert sd_interval(0.0321, 1) is None
