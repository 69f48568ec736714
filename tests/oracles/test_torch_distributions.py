"""Closed forms against torch.distributions, over generated cases."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Bernoulli, Categorical, Independent, Laplace, MultivariateNormal, Normal, kl_divergence

import genloss.losses as losses

SEEDS = st.integers(0, 2**31 - 1)


def draw(seed, *shape, scale=1.0):
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def diagonal(seed, batch, size, scale):
    mean, log_variance = draw(seed, 2, batch, size, scale=scale)
    return losses.DiagonalNormal(mean=mean, log_variance=log_variance)


def theirs(normal):
    return Independent(Normal(normal.mean, (0.5 * normal.log_variance).exp()), 1)


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.integers(1, 4), st.integers(1, 6), st.floats(1e-3, 3.0))
def test_diagonal_normals(seed, batch, size, scale):
    p, q = diagonal(seed, batch, size, scale), diagonal(seed + 1, batch, size, scale)
    torch.testing.assert_close(p.kl(q), kl_divergence(theirs(p), theirs(q)), rtol=1e-9, atol=1e-12)
    z = draw(seed + 2, 3, batch, size, scale=3.0)
    torch.testing.assert_close(p.log_prob(z), theirs(p).log_prob(z))
    standard = losses.kl_diagonal_normal(p.mean, p.log_variance)
    torch.testing.assert_close(standard, p.kl(losses.DiagonalNormal.standard_like(p)))


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.integers(1, 5), st.floats(0.05, 2.0))
def test_normals_with_full_covariances(seed, size, scale):
    means = draw(seed, 2, 3, size)
    roots = draw(seed + 1, 2, 3, size, size, scale=scale)
    covariances = roots @ roots.mT + 0.1 * torch.eye(size, dtype=torch.float64)
    p, q = (MultivariateNormal(m, c) for m, c in zip(means, covariances, strict=True))
    found = losses.kl_normal(means[0], covariances[0], means[1], covariances[1])
    torch.testing.assert_close(found, kl_divergence(p, q), rtol=1e-8, atol=1e-8)


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.integers(2, 8), st.floats(0.0, 4.0))
def test_divergences_of_probability_vectors(seed, outcomes, scale):
    p, q = draw(seed, 2, 3, outcomes, scale=scale).softmax(-1)
    middle = Categorical(0.5 * (p + q))
    forward, backward = (kl_divergence(Categorical(a), Categorical(b)) for a, b in ((p, q), (q, p)))
    torch.testing.assert_close(losses.forward_kl(p, q), forward, rtol=1e-6, atol=1e-12)
    torch.testing.assert_close(losses.reverse_kl(p, q), backward, rtol=1e-6, atol=1e-12)
    js = 0.5 * (kl_divergence(Categorical(p), middle) + kl_divergence(Categorical(q), middle))
    torch.testing.assert_close(losses.jensen_shannon(p, q), js, rtol=1e-6, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.floats(0.01, 10.0), st.floats(0.1, 30.0))
def test_decoder_densities(seed, scale, spread):
    parameters, x = draw(seed, 2, 4, 3, scale=spread)
    binary = (x > 0).double()
    for ours, distribution, data in (
        (losses.Gaussian(scale=scale), Normal(parameters, scale), x),
        (losses.Laplace(scale=scale), Laplace(parameters, scale), x),
        (losses.Bernoulli(), Bernoulli(logits=parameters, validate_args=False), binary),
    ):
        torch.testing.assert_close(ours.log_prob(data, parameters), distribution.log_prob(data).sum(1))


@pytest.mark.parametrize("seed", range(3))
def test_the_surrogate_of_the_elbo_is_the_kl_and_the_likelihood_of_torch(seed):
    posterior = diagonal(seed, 5, 3, 1.0)
    prior = losses.DiagonalNormal.standard_like(posterior)
    z = posterior.sample(torch.Generator().manual_seed(seed), 2)
    log_likelihood = draw(seed + 1, 2, 5)
    for beta in (0.0, 1.0, 4.0):
        terms = losses.ELBO(beta=beta, samples=2)(posterior, prior, z, log_likelihood)
        kl = kl_divergence(theirs(posterior), theirs(prior))
        torch.testing.assert_close(terms.surrogate, beta * kl - log_likelihood.mean(0))
        torch.testing.assert_close(terms.bound, log_likelihood.mean(0) - kl)
