"""Mode statistics: counts and divergences by hand, and true samples as the row to compare with."""

import math

import pytest
import torch

from genloss.errors import InputError
from genloss.metrics import count_modes, mode_statistics

TAIL = math.exp(-4.5)  # of a two-dimensional normal beyond three sigma


def ring(modes=8):
    angles = torch.arange(modes, dtype=torch.float64) * (2 * math.pi / modes)
    return torch.stack((angles.cos(), angles.sin()), dim=1)


def draw(means, sigma, n, seed=0):
    rng = torch.Generator().manual_seed(seed)
    chosen = torch.randint(len(means), (n,), generator=rng)
    return means[chosen] + sigma * torch.randn(n, means.shape[1], generator=rng, dtype=torch.float64)


def values(samples, means, sigma):
    return {value.name: value.value for value in mode_statistics(samples, means, sigma)}


def test_true_samples_cover_all_with_the_known_quality_and_spread():
    found = values(draw(ring(), 0.01, 20_000), ring(), 0.01)
    assert found["modes"] == 8
    assert found["high_quality"] == pytest.approx(1 - TAIL, abs=0.002)
    assert found["kl"] < 0.001
    assert found["sigma_ratio"] == pytest.approx(1.0, abs=0.01)


def test_kl_by_hand():
    means = torch.tensor([[0.0, 0.0], [10.0, 0.0]])
    samples = torch.tensor([[0.0, 0.0], [0.5, 0.0], [10.0, 0.0], [5.0, 5.0]])
    target = (1 - TAIL) / 2
    expected = 0.5 * math.log(0.5 / target) + 0.25 * math.log(0.25 / target) + 0.25 * math.log(0.25 / TAIL)
    assert values(samples, means, 1.0)["kl"] == pytest.approx(expected, rel=1e-12)


def test_one_mode_of_k_costs_the_logarithm_of_k():
    found = values(ring()[:1].repeat(50, 1), ring(), 0.01)
    assert found["modes"] == 1
    assert found["high_quality"] == 1
    assert found["kl"] == pytest.approx(math.log(8 / (1 - TAIL)), rel=1e-12)
    assert found["sigma_ratio"] == 0


def test_missing_every_mode_is_finite():
    found = values(torch.zeros(50, 2), ring(), 0.01)
    assert found == {"modes": 0.0, "high_quality": 0.0, "kl": pytest.approx(4.5, rel=1e-12)}


def test_shrunken_modes_show_in_the_spread_though_quality_is_above_the_truth():
    found = values(draw(ring(), 0.005, 4000), ring(), 0.01)
    assert found["high_quality"] == 1
    assert found["sigma_ratio"] == pytest.approx(0.5 / 0.9744, rel=0.02)


def test_one_dimension_has_its_own_tail():
    samples = torch.full((10, 1), 99.0)
    expected = -math.log(math.erfc(3 / math.sqrt(2)))
    assert values(samples, torch.zeros(1, 1), 1.0)["kl"] == pytest.approx(expected, rel=1e-10)


def test_three_sigma_is_inside_and_a_little_more_is_not():
    samples = torch.tensor([[3.0, 0.0], [3.0001, 0.0], [0.0, -3.0]], dtype=torch.float64)
    found = count_modes(samples, torch.zeros(1, 2), 1.0)
    assert found.counts.tolist() == [2]
    assert found.off == 1


def test_modes_of_different_spread_are_measured_in_their_own_sigma():
    means, sigma = torch.tensor([[0.0], [5.0]]), torch.tensor([2.0, 0.1])
    found = count_modes(torch.tensor([[4.0], [4.9]]), means, sigma)  # 4.0 is nearer to 5, but 10 of its sigmas away
    assert found.counts.tolist() == [1, 1]
    assert found.off == 0


def test_spread_of_each_mode_and_nan_where_it_is_unknown():
    samples = torch.tensor([[-0.1], [0.1], [5.0]], dtype=torch.float64)
    found = count_modes(samples, torch.tensor([[0.0], [5.0], [9.0]]), 0.2)
    cut = 1 - 3 * math.sqrt(2 / math.pi) * math.exp(-4.5) / math.erf(3 / math.sqrt(2))
    assert found.sigma_ratio[0].item() == pytest.approx(math.sqrt(0.02 / cut) / 0.2, rel=1e-10)
    assert found.sigma_ratio[1:].isnan().all()


def test_order_of_samples_and_of_modes_does_not_matter():
    means = ring()
    samples = draw(means, 0.05, 500)
    order = torch.randperm(8, generator=torch.Generator().manual_seed(1))
    assert values(samples.flip(0), means[order], 0.05) == pytest.approx(values(samples, means, 0.05))


def test_every_sample_is_counted_once():
    samples = draw(ring(), 0.3, 1000)
    found = count_modes(samples, ring(), 0.3)  # overlapping modes
    assert int(found.counts.sum()) + found.off == 1000


@pytest.mark.parametrize(
    ("samples", "means", "sigma", "message"),
    [
        (torch.zeros(5, 3), torch.zeros(2, 2), 1.0, "samples have 3 dimensions and means 2"),
        (torch.zeros(5, 2), torch.zeros(2, 2), 0.0, "sigma is 0.0, expected a positive number"),
        (torch.zeros(5, 2), torch.zeros(2, 2), math.inf, "sigma is inf"),
        (torch.zeros(5, 2), torch.zeros(2, 2), torch.ones(3), r"one for each of the 2 modes, shape \(2,\)"),
        (torch.full((5, 2), math.nan), torch.zeros(2, 2), 1.0, "samples holds NaN"),
        (torch.zeros(5, 2), torch.full((2, 2), math.inf), 1.0, "means holds NaN or infinity"),
    ],
)
def test_wrong_input_is_refused(samples, means, sigma, message):
    with pytest.raises(InputError, match=message):
        mode_statistics(samples, means, sigma)
