"""The negative log-likelihood, bits per dimension and dequantisation."""

import math

import pytest
import torch
from torch.distributions import Normal

from genloss.losses import MaximumLikelihood, bits_per_dimension, dequantise


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def test_its_mean_is_the_forward_kl_plus_the_entropy():
    p, q = Normal(torch.tensor(0.0).double(), 1.0), Normal(torch.tensor(1.0).double(), 2.0)
    x = torch.randn(200000, generator=rng(), dtype=torch.float64)
    expected = torch.distributions.kl_divergence(p, q) + p.entropy()
    assert MaximumLikelihood()(q.log_prob(x)).mean().item() == pytest.approx(expected.item(), abs=0.01)


def test_uniform_data_cost_all_bits():
    assert bits_per_dimension(torch.zeros(2), 10, levels=256).tolist() == [8.0, 8.0]
    discrete = torch.full((1,), 3 * math.log(1.0 / 256.0))
    assert bits_per_dimension(discrete, 3).item() == pytest.approx(8.0)


def test_dequantised_bits_bound_the_discrete_bits_from_above():
    # A density that is constant in each bin reaches the bound.
    probabilities = torch.tensor([0.1, 0.2, 0.3, 0.4]).double()
    x = torch.multinomial(probabilities, 5000, replacement=True, generator=rng())
    spread = dequantise(x.double(), 4, rng(1))
    log_density = (probabilities * 4)[(spread * 4).floor().long()].log()
    discrete = bits_per_dimension(probabilities[x].log(), 1)
    torch.testing.assert_close(bits_per_dimension(log_density, 1, levels=4), discrete)
    # Any other density spends more in the mean.
    tilted = torch.distributions.Beta(2.0, 1.3).log_prob(spread.clamp(1e-6, 1 - 1e-6))
    assert bits_per_dimension(tilted, 1, levels=4).mean() > discrete.mean()


def test_dequantised_values_stay_in_their_bins():
    x = torch.arange(256).repeat(400)
    spread = dequantise(x, 256, rng())
    assert spread.dtype == torch.float32
    assert ((spread * 256).floor() == x).all()
    assert spread.max() < 1.0
    within = (spread.double() * 256) % 1
    assert within.mean().item() == pytest.approx(0.5, abs=0.01)
    assert within.var().item() == pytest.approx(1 / 12, rel=0.03)


def test_errors_say_what_to_do():
    with pytest.raises(ValueError, match=r"expected \(batch,\)"):
        MaximumLikelihood()(torch.zeros(2, 3))
    with pytest.raises(TypeError, match="floating"):
        MaximumLikelihood()(torch.zeros(2).long())
    with pytest.raises(ValueError, match="undo the scaling"):
        dequantise(torch.tensor([0.5]), 256, rng())
    with pytest.raises(ValueError, match="undo the scaling"):
        dequantise(torch.tensor([256]), 256, rng())
    with pytest.raises(ValueError, match="dimensions"):
        bits_per_dimension(torch.zeros(1), 0)
