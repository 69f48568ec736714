"""The importance-weighted bound and its gradients."""

import math

import pytest
import torch

from genloss.losses import ELBO, IWAE, DiagonalNormal
from tests.losses.latents import BATCH, posterior, rng, setting


def test_iwae_with_one_sample_is_the_elbo():
    terms, elbo = IWAE(samples=1)(*setting(1)), ELBO(kl="monte_carlo")(*setting(1))
    torch.testing.assert_close(terms.bound, elbo.bound)
    torch.testing.assert_close(terms.parts["effective_samples"], torch.ones(BATCH).double())


@pytest.mark.parametrize("gradient", ["standard", "path", "doubly_reparameterised"])
def test_iwae_reports_the_bound_whatever_the_gradient(gradient):
    q, p, z, log_likelihood = setting(5, requires_grad=True)
    log_weights = log_likelihood + p.log_prob(z) - q.log_prob(z)
    bound = log_weights.logsumexp(0) - math.log(5)
    terms = IWAE(samples=5, gradient=gradient)(q, p, z, log_likelihood)
    torch.testing.assert_close(terms.bound, bound)
    # Some report the surrogate, the negative weighted mean of log w, which is better than the truth.
    surrogate = (log_weights.softmax(0) * log_weights).sum(0)
    assert (surrogate > bound + 1e-3).all()


def test_iwae_weights_the_likelier_sample_more():
    # One library takes the softmax of the loss instead of its negative: the worst sample then gets all the weight.
    q = posterior(requires_grad=True)
    z = q.sample(rng(), 3)
    log_likelihood = torch.zeros(3, BATCH, dtype=torch.float64, requires_grad=True)
    shifted = log_likelihood + torch.tensor([0.0, 5.0, 10.0]).double()[:, None]
    IWAE(samples=3)(q, q, z, shifted).surrogate.sum().backward()
    weights = -log_likelihood.grad
    torch.testing.assert_close(weights.sum(0), torch.ones(BATCH).double())
    assert (weights[2] > weights[1]).all()
    assert (weights[1] > weights[0]).all()


def test_iwae_survives_extreme_weights():
    q, p, z, _ = setting(4)
    log_likelihood = torch.tensor([-1e4, -2e4, -3e4, -1e5]).double()[:, None].expand(4, BATCH)
    terms = IWAE(samples=4)(q, p, z, log_likelihood)
    assert terms.bound.isfinite().all()
    assert (terms.bound > -1.1e4).all()


def test_doubly_reparameterised_without_gradients_is_only_the_bound():
    with torch.no_grad():
        terms = IWAE(samples=5, gradient="doubly_reparameterised")(*setting(5))
    torch.testing.assert_close(terms.surrogate, -terms.bound)


@pytest.mark.parametrize("gradient", ["standard", "path", "doubly_reparameterised"])
def test_latents_in_half_precision_give_the_gradient_of_float32(gradient):
    weights = torch.linspace(-1.0, 1.0, 3)
    found = {}
    for dtype in (torch.float32, torch.bfloat16):
        mean, log_variance = (v.float().requires_grad_() for v in (posterior().mean, posterior().log_variance))
        q = DiagonalNormal(mean=mean, log_variance=log_variance)
        z = q.sample(rng(5), 5).to(dtype)
        log_likelihood = -(z * weights.to(dtype) - 0.5).float().square().sum(-1) * 3.0
        terms = IWAE(samples=5, gradient=gradient)(q, DiagonalNormal.standard_like(q), z, log_likelihood)
        found[dtype] = torch.cat(torch.autograd.grad(terms.surrogate.sum(), (mean, log_variance)))
    torch.testing.assert_close(found[torch.bfloat16], found[torch.float32], rtol=0.05, atol=0.05)
