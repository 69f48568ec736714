"""A linear-Gaussian model, whose evidence and posterior are exact: p(z) = N(0, I), p(x|z) = N(W z, s^2 I)."""

import itertools
import math

import pytest
import torch
from torch.distributions import MultivariateNormal

from genloss.losses import ELBO, IWAE, DiagonalNormal, Gaussian, kl_normal

SCALE = 0.8
LATENT, DATA, BATCH = 2, 4, 3


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


W = torch.randn(DATA, LATENT, generator=rng(1), dtype=torch.float64)
X = torch.randn(BATCH, DATA, generator=rng(2), dtype=torch.float64)
EYE = torch.eye(LATENT, dtype=torch.float64)
LIKELIHOOD = Gaussian(scale=SCALE)


def log_evidence():
    covariance = W @ W.mT + SCALE**2 * torch.eye(DATA, dtype=torch.float64)
    return MultivariateNormal(torch.zeros(DATA).double(), covariance).log_prob(X)


def true_posterior():
    covariance = torch.linalg.inv(EYE + W.mT @ W / SCALE**2)
    return X @ W @ covariance / SCALE**2, covariance


def rough(repeats=1, requires_grad=False):
    """A posterior that is wrong in mean and variance, of the data repeated, one row for each draw."""
    mean = (true_posterior()[0] + 0.3).repeat(repeats, 1)
    log_variance = torch.full_like(mean, math.log(0.3))
    return DiagonalNormal(
        mean=mean.requires_grad_(requires_grad), log_variance=log_variance.requires_grad_(requires_grad)
    )


def run(loss, q, seed, weights=W):
    z = q.sample(rng(seed), loss.samples)
    x = X.repeat(len(q.mean) // BATCH, 1)
    decoded = (weights @ z.unsqueeze(-1)).squeeze(-1)
    return loss(q, DiagonalNormal.standard_like(q), z, LIKELIHOOD.log_prob(x, decoded))


def test_the_gap_of_the_elbo_is_the_kl_to_the_true_posterior():
    q = rough()
    # E_q log p(x|z) is quadratic in z, hence exact.
    mean, variance = q.mean, q.log_variance.exp()
    spread = (variance * W.square().sum(0)).sum(-1) / (2.0 * SCALE**2)
    expected = LIKELIHOOD.log_prob(X, mean @ W.mT) - spread - q.kl(DiagonalNormal.standard_like(q))
    true_mean, true_covariance = true_posterior()
    covariance = torch.diag_embed(variance)
    gap = kl_normal(mean, covariance, true_mean, true_covariance.expand_as(covariance))
    torch.testing.assert_close(log_evidence() - expected, gap)
    loss = ELBO(samples=40000)
    torch.testing.assert_close(run(loss, q, 3).bound, expected, atol=0.05, rtol=0)
    torch.testing.assert_close(run(ELBO(samples=40000, kl="monte_carlo"), q, 3).bound, expected, atol=0.05, rtol=0)


def test_iwae_rises_with_its_samples_to_the_evidence():
    means = []
    for samples in (1, 5, 50, 2000):
        repeats = 40000 // samples
        means.append(run(IWAE(samples=samples), rough(repeats), samples).bound.reshape(repeats, BATCH).mean(0))
    evidence = log_evidence()
    for lower, higher in itertools.pairwise(means[:3]):
        assert (higher > lower).all()
    assert (means[2] < evidence).all()
    torch.testing.assert_close(means[3], evidence, atol=0.1, rtol=0)


def gradients(loss, repeats=3000, seed=0):
    """Gradients of the encoder and the decoder, a row for each independent draw."""
    q = rough(repeats, requires_grad=True)
    weights = W.repeat(repeats * BATCH, 1, 1).requires_grad_()
    on_mean, on_log_variance, on_weights = torch.autograd.grad(
        run(loss, q, seed, weights).surrogate.sum(), (q.mean, q.log_variance, weights)
    )
    return torch.cat((on_mean, on_log_variance), 1).reshape(repeats, -1), on_weights.reshape(repeats, -1)


def agree(a, b):
    """Means within 5 standard errors."""
    error = (a.var(0) / len(a) + b.var(0) / len(b)).sqrt()
    return bool(((a.mean(0) - b.mean(0)).abs() < 5.0 * error + 1e-12).all())


def test_doubly_reparameterised_gradients_have_the_same_mean_and_less_noise():
    standard = gradients(IWAE(samples=8))
    doubly = gradients(IWAE(samples=8, gradient="doubly_reparameterised"))
    assert agree(standard[0], doubly[0])
    torch.testing.assert_close(standard[1], doubly[1])  # the decoder's gradient is untouched, draw by draw
    assert doubly[0].var(0).sum() < 0.5 * standard[0].var(0).sum()


def test_the_path_gradient_is_biased_for_many_samples_and_not_for_one():
    one = gradients(IWAE(samples=1)), gradients(IWAE(samples=1, gradient="path"))
    assert agree(one[0][0], one[1][0])
    many = gradients(IWAE(samples=8)), gradients(IWAE(samples=8, gradient="path"))
    assert not agree(many[0][0], many[1][0])


def test_the_path_gradient_is_free_of_noise_at_the_true_posterior():
    # With orthogonal columns the true posterior is diagonal.
    weights = torch.linalg.qr(W).Q
    covariance = torch.linalg.inv(EYE + weights.mT @ weights / SCALE**2)
    mean = (X @ weights @ covariance / SCALE**2).requires_grad_()
    log_variance = covariance.diagonal().log().expand_as(mean).clone().requires_grad_()
    q = DiagonalNormal(mean=mean, log_variance=log_variance)
    for gradient, samples in (("path", 1), ("doubly_reparameterised", 4)):
        surrogate = run(IWAE(samples=samples, gradient=gradient), q, 0, weights).surrogate.sum()
        for found in torch.autograd.grad(surrogate, (mean, log_variance)):
            torch.testing.assert_close(found, torch.zeros_like(found), atol=1e-10, rtol=0)
    noisy = run(IWAE(samples=4), q, 0, weights).surrogate.sum()
    assert torch.autograd.grad(noisy, mean)[0].abs().max() > 1e-2


@pytest.mark.parametrize("gradient", ["standard", "doubly_reparameterised"])
def test_gradients_are_those_of_the_expected_bound(gradient):
    """Finite differences of the expected bound, with common draws, for the encoder and the decoder."""
    repeats, step = 20000, 1e-3
    analytic = gradients(IWAE(samples=3, gradient=gradient), repeats)[0][:, 0]
    values = []
    for sign in (1.0, -1.0):
        q = rough(repeats)
        q.mean[::BATCH, 0] += sign * step
        values.append(run(IWAE(samples=3), q, 0).bound[::BATCH])
    changes = (values[1] - values[0]) / (2.0 * step)
    error = ((analytic.var() + changes.var()) / repeats).sqrt()
    assert abs(analytic.mean() - changes.mean()) < 5.0 * error
    assert abs(analytic.mean()) > 10.0 * error


def test_more_samples_drown_the_standard_gradient_of_the_encoder():
    """Its signal fades faster than its noise (Rainforth et al. 2018); the doubly reparameterised stays far above."""

    def signal_to_noise(gradient, samples):
        encoder, _ = gradients(IWAE(samples=samples, gradient=gradient), repeats=2000)
        return (encoder.mean(0).norm() / encoder.var(0).sum().sqrt()).item()

    few, many = (signal_to_noise("standard", samples) for samples in (2, 128))
    assert many < 0.5 * few
    assert signal_to_noise("doubly_reparameterised", 128) > 2.5 * many


def test_the_gradient_of_the_elbo_loses_noise_with_its_samples():
    one, many = (gradients(ELBO(samples=samples))[0].var(0) for samples in (1, 16))
    torch.testing.assert_close(many, one / 16.0, rtol=0.2, atol=0.0)  # independent draws
