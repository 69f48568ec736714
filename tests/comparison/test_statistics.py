"""Means and intervals against scipy, and what they allow to say."""

import math

import numpy as np
import pytest
from scipy import stats

from genloss.comparison.statistics import Failure, Standing, Summary, standing, t_interval


@pytest.mark.parametrize("n", [2, 3, 10])
def test_the_interval_is_scipys(n):
    values = np.random.default_rng(n).normal(5.0, 2.0, n)
    expected = stats.t.interval(0.95, n - 1, loc=values.mean(), scale=stats.sem(values))
    assert t_interval(values.tolist()) == pytest.approx(expected, rel=1e-12)


def test_the_interval_by_hand():
    # t(0.975, 2) = 4.302652..., s = 1, n = 3
    low, high = t_interval([1.0, 2.0, 3.0])
    assert (high - low) / 2 == pytest.approx(4.302652729911275 / math.sqrt(3))
    assert (low + high) / 2 == pytest.approx(2.0)


def test_one_value_has_no_interval_and_equal_values_an_empty_one():
    assert t_interval([1.0]) is None
    assert t_interval([]) is None
    assert t_interval([0.5, 0.5, 0.5]) == (0.5, 0.5)


def test_the_interval_moves_and_scales_with_its_values():
    values = [0.3, -1.2, 4.0, 2.2]
    low, high = t_interval(values)
    moved = t_interval([10 * value - 7 for value in values])
    assert moved == pytest.approx((10 * low - 7, 10 * high - 7))


def test_a_failed_seed_leaves_the_mean_to_the_others_and_stays_in_view():
    summary = Summary("a", (1.0, None, 3.0), (Failure(1, "died", "killed"),))
    assert summary.mean == 2.0
    assert summary.interval == pytest.approx(t_interval([1.0, 3.0]))
    assert summary.values == (1.0, None, 3.0)
    assert Summary("b", (None,), (Failure(0, "died", "killed"),)).mean is None


def test_intervals_that_overlap_do_not_separate():
    near, far = Summary("near", (1.0, 1.2, 1.1)), Summary("far", (9.0, 9.1, 9.2))
    close, gone = Summary("close", (1.1, 1.3, 1.2)), Summary("gone", (None, None, None))
    found = standing([far, close, gone, near], higher_is_better=False)
    assert found == Standing("near", ("close",), ("far",), ("gone",))
    assert standing([far, close, near], higher_is_better=True) == Standing("far", (), ("close", "near"), ())


def test_a_single_finished_seed_is_best_only_among_its_like():
    lone, better = Summary("lone", (0.1, None, None)), Summary("better", (0.05, None, None))
    assert standing([lone, Summary("two", (1.0, 2.0, None))], higher_is_better=False) == Standing(
        "two", (), (), ("lone",)
    )
    assert standing([lone, better], higher_is_better=False) == Standing("better", (), (), ("lone",))
    assert standing([Summary("gone", (None,))], higher_is_better=True) == Standing(None, (), (), ("gone",))


def test_touching_intervals_are_not_apart():
    assert standing([Summary("a", (0.0, 0.0)), Summary("b", (0.0, 0.0))], higher_is_better=False).similar == ("b",)
