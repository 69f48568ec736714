"""The Frechet distance: closed forms to rounding, also without full rank, and scipy as oracle."""

import numpy as np
import pytest
import scipy.linalg
import torch

from genloss.errors import InputError
from genloss.metrics import frechet_distance


def normal(n, d, seed):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def with_moments(mean, root, n=200, seed=0):
    """Samples whose mean is exactly `mean` and whose covariance is exactly `root.T @ root`."""
    z = normal(n, len(root), seed)
    white = torch.linalg.qr(z - z.mean(0)).Q * (n - 1) ** 0.5
    return white @ root + mean


def distance(fake, real):
    return frechet_distance(fake, real, features="values").value


DIAGONALS = [
    ([1.0, 1.0, 1.0], [1.0, 1.0, 1.0]),
    ([1.0, 2.0, 3.0], [0.5, 2.0, 4.0]),
    ([1.0, 0.0, 2.0], [0.0, 1.0, 2.0]),
    ([0.0, 0.0, 1.0], [0.0, 0.0, 0.0]),
    ([1e-6, 1.0, 1e3], [1e-3, 1.0, 1e3]),
]


@pytest.mark.parametrize(("a", "b"), DIAGONALS)
def test_commuting_covariances_have_a_closed_form_also_without_full_rank(a, b):
    a, b = (torch.tensor(values, dtype=torch.float64) for values in (a, b))
    turn = torch.linalg.qr(normal(3, 3, 5)).Q
    shift = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    fake = with_moments(torch.zeros(3), a.diag() @ turn, seed=1)
    real = with_moments(shift, b.diag() @ turn, n=150, seed=2)
    expected = shift.square().sum() + (a - b).square().sum()
    rounding = 1e-14 * float(a.square().sum() + b.square().sum())
    assert distance(fake, real) == pytest.approx(float(expected), rel=1e-12, abs=rounding)


def test_one_dimension():
    fake = with_moments(torch.tensor([3.0]), torch.tensor([[2.0]], dtype=torch.float64))
    real = with_moments(torch.tensor([1.0]), torch.tensor([[0.5]], dtype=torch.float64), seed=1)
    assert distance(fake, real) == pytest.approx(4.0 + 2.25, rel=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_the_matrix_root_of_scipy(seed):
    fake, real = normal(80, 6, seed) @ normal(6, 6, 10 + seed), normal(90, 6, 20 + seed)
    x, y = fake.numpy(), real.numpy()
    cov_x, cov_y = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    trace = scipy.linalg.sqrtm(cov_x @ cov_y).real.trace()
    expected = np.square(x.mean(0) - y.mean(0)).sum() + cov_x.trace() + cov_y.trace() - 2 * trace
    assert distance(fake, real) == pytest.approx(expected, rel=1e-10)


def test_a_set_has_no_distance_to_itself_even_with_dependent_features():
    x = normal(100, 4, 1)
    x = torch.cat((x, x @ normal(4, 30, 2), torch.zeros(100, 5)), dim=1)
    scale = float(x.var(0).sum())
    assert 0.0 <= distance(x, x) < 1e-12 * scale


def test_rounding_never_makes_a_distance_negative():
    sets = [normal(50, 8, seed) for seed in range(20)]
    assert all(0.0 <= distance(x, x.flip(0)) < 1e-12 for x in sets)


def test_features_scale_the_distance_quadratically():
    fake, real = normal(80, 3, 1), normal(80, 3, 2) + 1.0
    assert distance(10 * fake, 10 * real) == pytest.approx(100 * distance(fake, real), rel=1e-10)


def test_bias_of_equal_distributions_is_the_known_one():
    # About 2.2 for 64 features and 1000 samples; it falls with their number.
    few, many = distance(normal(500, 64, 1), normal(500, 64, 2)), distance(normal(1000, 64, 1), normal(1000, 64, 2))
    assert many == pytest.approx(2.2, rel=0.05)
    assert few > 1.7 * many


@pytest.mark.parametrize(("n", "m"), [(3, 50), (50, 3)])
def test_not_more_samples_than_features_is_an_error(n, m):
    with pytest.raises(InputError, match="expected more samples than features"):
        distance(normal(n, 3, 1), normal(m, 3, 2))


def test_few_samples_a_feature_are_noted():
    enough = frechet_distance(normal(30, 3, 1), normal(30, 3, 2), features="values")
    few = frechet_distance(normal(29, 3, 1), normal(30, 3, 2), features="values")
    assert enough.note == ""
    assert "29 samples for 3 features" in few.note
