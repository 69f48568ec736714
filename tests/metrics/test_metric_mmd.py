"""mmd2: no bias, closed forms, and a plain double sum as oracle."""

import math

import pytest
import torch

from genloss.errors import InputError
from genloss.metrics import fixed_bandwidths, mmd2


def normal(n, d, seed):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_equals_the_double_sum_of_the_definition():
    fake, real, widths = normal(9, 2, 1), normal(7, 2, 2) + 1.0, (0.3, 1.0, 4.0)

    def kernel(a, b):
        return sum(math.exp(-float((a - b).square().sum()) / (2 * s**2)) for s in widths)

    within = [
        sum(kernel(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j) / (len(x) * (len(x) - 1))
        for x in (fake, real)
    ]
    between = sum(kernel(a, b) for a in fake for b in real) / (len(fake) * len(real))
    assert mmd2(fake, real, widths, "values").value == pytest.approx(sum(within) - 2 * between, rel=1e-10)


def test_has_mean_zero_for_equal_distributions():
    values = torch.tensor([mmd2(normal(8, 2, i), normal(6, 2, 1000 + i), (1.0,), "values").value for i in range(400)])
    error = values.std() / len(values) ** 0.5
    assert values.mean().abs() < 4 * error
    assert error < 0.01  # the biased estimate would lie 0.2 above 0
    assert (values < 0).any()


def test_approaches_the_closed_form_for_two_normals():
    shift, width = 1.0, 1.0
    fake, real = normal(4000, 2, 1), normal(4000, 2, 2)
    fake[:, 0] += shift
    spread = width**2 + 2.0
    expected = width**2 / spread * 2.0 * (1.0 - math.exp(-(shift**2) / (2.0 * spread)))
    assert mmd2(fake, real, (width,), "values").value == pytest.approx(expected, rel=0.1)


def test_bandwidths_come_from_the_median_distance_of_the_real_data():
    real = normal(50, 3, 1)
    median = float(torch.pdist(real).median())
    assert fixed_bandwidths(real, torch.Generator()) == pytest.approx((median / 2, median, 2 * median), rel=1e-6)


def test_bandwidths_of_a_large_set_depend_on_the_generator_alone():
    real = normal(3000, 2, 1)
    first, again, other = (fixed_bandwidths(real, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert first == again
    assert first != other
    assert first == pytest.approx(other, rel=0.05)


@pytest.mark.parametrize("bandwidths", [(), (0.0,), (1.0, -1.0), (math.nan,)])
def test_bad_bandwidths_are_refused(bandwidths):
    with pytest.raises(InputError, match="mmd2 cannot use these bandwidths"):
        mmd2(normal(5, 2, 1), normal(5, 2, 2), bandwidths, "values")


@pytest.mark.parametrize("offset", [1e3, 1e8])
@pytest.mark.parametrize("together", [True, False])
def test_far_from_the_origin_and_from_each_other_no_digit_is_lost(offset, together):
    rng = torch.Generator().manual_seed(0)
    fake, real = (torch.randn(n, 2, generator=rng, dtype=torch.float64) for n in (300, 520))
    far = mmd2(fake + offset, real + (offset if together else 0.0), (1.0,), "values").value
    near = mmd2(fake, real + (0.0 if together else 1e3), (1.0,), "values").value
    assert far == pytest.approx(near, rel=1e-6, abs=1e-9)
