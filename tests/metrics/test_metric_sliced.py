"""Sliced Wasserstein: exact in one dimension, and POT as oracle."""

import ot
import pytest
import torch

from genloss.errors import InputError
from genloss.metrics import sliced_wasserstein
from genloss.metrics.sliced import directions


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(n, d, seed):
    return torch.randn(n, d, generator=rng(seed), dtype=torch.float64)


def distance(fake, real, seed=0, projections=50):
    return sliced_wasserstein(fake, real, features="values", rng=rng(seed), projections=projections).value


def test_one_dimension_is_the_exact_distance_of_sorted_samples():
    fake, real = normal(40, 1, 1), 2.0 * normal(40, 1, 2) + 1.0
    expected = (fake.sort(0).values - real.sort(0).values).square().mean().sqrt().item()
    assert distance(fake, real) == pytest.approx(expected, rel=1e-12)


def test_different_sizes_by_hand():
    # Quantiles 0 | 1 in halves against 0 | 3 | 6 in thirds: pieces 1/3, 1/6, 1/6, 1/3 with gaps 0, 3, 2, 5.
    fake, real = torch.tensor([[0.0], [1.0]]), torch.tensor([[0.0], [3.0], [6.0]])
    expected = (0 / 3 + 9 / 6 + 4 / 6 + 25 / 3) ** 0.5
    assert distance(fake, real) == pytest.approx(expected, rel=1e-12)
    assert distance(real, fake) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("n", "m"), [(30, 30), (30, 17), (12, 60), (1, 5)])
def test_agrees_with_pot_on_the_same_lines(n, m):
    fake, real = normal(n, 4, 1), 1.5 * normal(m, 4, 2) + 0.3
    lines = directions(4, 50, rng())
    expected = ot.sliced_wasserstein_distance(fake.numpy(), real.numpy(), projections=lines.T.numpy(), p=2)
    assert distance(fake, real) == pytest.approx(float(expected), rel=1e-10)


def test_repeating_every_sample_changes_nothing():
    fake, real = normal(20, 3, 1), normal(15, 3, 2)
    assert distance(fake.repeat(3, 1), real) == pytest.approx(distance(fake, real), rel=1e-12)


def test_a_set_has_no_distance_to_itself():
    assert distance(normal(20, 3, 1), normal(20, 3, 1)) == 0


def test_a_shift_shows_its_mean_share_on_a_random_line():
    x, shift = normal(50, 3, 1), torch.tensor([3.0, 0.0, 4.0], dtype=torch.float64)
    # The mean of (theta . shift)^2 over the sphere is |shift|^2 / d.
    assert distance(x + shift, x, projections=4000) == pytest.approx((25 / 3) ** 0.5, rel=0.03)


def test_lines_are_of_unit_length_and_uniform():
    lines = directions(3, 20_000, rng())
    torch.testing.assert_close(lines.norm(dim=1), torch.ones(20_000, dtype=torch.float64))
    torch.testing.assert_close(lines.T @ lines / 20_000, torch.eye(3, dtype=torch.float64) / 3, atol=0.01, rtol=0)


def test_the_generator_alone_decides_the_lines():
    fake, real = normal(30, 4, 1), normal(30, 4, 2)
    assert distance(fake, real, seed=3) == distance(fake, real, seed=3)
    assert distance(fake, real, seed=3) != distance(fake, real, seed=4)


def test_the_split_into_parts_changes_nothing(monkeypatch):
    fake, real = normal(30, 4, 1), normal(25, 4, 2)
    whole = distance(fake, real)
    monkeypatch.setattr("genloss.metrics.sliced.BUDGET", 100)
    assert distance(fake, real) == pytest.approx(whole, rel=1e-13)


def test_no_projection_is_refused():
    with pytest.raises(InputError, match="projections is 0"):
        distance(normal(3, 2, 1), normal(3, 2, 2), projections=0)
