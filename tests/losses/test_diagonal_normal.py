"""The normal distributions that are posteriors and priors."""

import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from genloss.losses import DiagonalNormal
from tests.losses.latents import BATCH, DIM, normal, posterior, prior, rng


def test_diagonal_normal_is_a_product_of_normals():
    q, p = posterior(), prior()
    reference = Normal(q.mean, (0.5 * q.log_variance).exp())
    other = Normal(p.mean, (0.5 * p.log_variance).exp())
    z = normal(4, BATCH, DIM, seed=9)
    torch.testing.assert_close(q.log_prob(z), reference.log_prob(z).sum(-1))
    torch.testing.assert_close(q.kl(p), kl_divergence(reference, other).sum(-1))
    standard = DiagonalNormal.standard_like(q)
    torch.testing.assert_close(standard.log_prob(z), Normal(0.0, 1.0).log_prob(z).sum(-1))


def test_samples_have_the_moments_and_come_from_the_generator():
    q = posterior()
    state = torch.get_rng_state()
    z = q.sample(rng(), 40000)
    assert torch.equal(state, torch.get_rng_state())
    torch.testing.assert_close(z.mean(0), q.mean, atol=0.05, rtol=0)
    torch.testing.assert_close(z.var(0).log(), q.log_variance, atol=0.05, rtol=0)
    assert torch.equal(z, q.sample(rng(), 40000))


def test_detached_distribution_keeps_the_path_through_z_alone():
    q = posterior(requires_grad=True)
    z = q.sample(rng(), 2)
    (gradient,) = torch.autograd.grad(q.detach().log_prob(z).sum(), q.mean)
    assert gradient.abs().sum() > 0  # through z
    assert not q.detach().mean.requires_grad


def test_kl_gradient_norm_is_the_norm_of_the_gradient_and_zero_at_the_prior():
    q, p = posterior(requires_grad=True), prior()
    on_mean, on_log_variance = torch.autograd.grad(q.kl(p).sum(), (q.mean, q.log_variance))
    torch.testing.assert_close(q.kl_gradient_norm(p), torch.cat((on_mean, on_log_variance), 1).norm(dim=1))
    (again,) = torch.autograd.grad(p_like(p).kl_gradient_norm(p).sum(), p_like.leaf)
    assert again.isfinite().all()


def p_like(p):
    """The prior itself as a posterior with a gradient."""
    p_like.leaf = p.mean.clone().requires_grad_()
    return DiagonalNormal(mean=p_like.leaf, log_variance=p.log_variance)


def test_kl_gradient_over_the_decoder_would_be_zero():
    # One source prints the norm of the KL's gradient over the decoder's parameters: with a fixed prior it does not
    # depend on them. Ours does not vanish away from the prior.
    decoder = torch.ones(2, dtype=torch.float64, requires_grad=True)
    q = posterior(requires_grad=True)
    assert torch.autograd.grad(q.kl(prior()).sum(), decoder, allow_unused=True)[0] is None
    assert (q.kl_gradient_norm(prior()) > 0).all()


@pytest.mark.parametrize("shape", [(3,)])
def test_a_distribution_has_one_row_a_sample(shape):
    with pytest.raises(ValueError, match=r"expected \(batch, dim\).*unsqueeze\(0\)"):
        DiagonalNormal(mean=torch.zeros(shape), log_variance=torch.zeros(shape))


def test_samples_are_drawn_from_a_generator_and_at_least_one():
    with pytest.raises(TypeError, match=r"rng is None, expected a torch\.Generator"):
        posterior().sample(None, 1)
    for samples in (0, 1.5):
        with pytest.raises(ValueError, match=f"samples is {samples}, expected a whole number of at least 1"):
            posterior().sample(rng(), samples)


def test_a_latent_of_another_shape_or_dtype_does_not_broadcast():
    q = DiagonalNormal(mean=torch.zeros(3, 2), log_variance=torch.zeros(3, 2))
    for shape in ((3, 1), (2,), (1, 2), (3, 2, 1)):
        with pytest.raises(ValueError, match=r"expected \(\.\.\., 3, 2\) as the mean; .*nothing broadcasts"):
            q.log_prob(torch.zeros(shape))
    with pytest.raises(TypeError, match=r"z has dtype torch\.int64, expected a floating dtype"):
        q.log_prob(torch.zeros(3, 2).long())
    with pytest.raises(TypeError, match=r"dtypes or devices differ: z torch\.float64"):
        q.log_prob(torch.zeros(3, 2).double())
    assert q.log_prob(torch.zeros(4, 3, 2).bfloat16()).dtype == torch.float32


def test_the_gradient_of_the_kl_mixes_no_dtypes():
    q = DiagonalNormal(mean=torch.ones(3, 2), log_variance=torch.zeros(3, 2))
    other = DiagonalNormal(mean=q.mean.double(), log_variance=q.mean.double())
    with pytest.raises(TypeError, match="dtypes or devices differ"):
        q.kl_gradient_norm(other)
    half = DiagonalNormal(mean=q.mean.bfloat16() / 3, log_variance=q.mean.bfloat16() / 3)
    full = DiagonalNormal(mean=half.mean.float(), log_variance=half.log_variance.float())
    torch.testing.assert_close(q.kl_gradient_norm(half), q.kl_gradient_norm(full))


@pytest.mark.parametrize("log_variance", [-100.0, -200.0, -1000.0])
def test_a_very_narrow_distribution_is_at_its_own_mean(log_variance):
    narrow = DiagonalNormal(mean=torch.ones(1, 2), log_variance=torch.full((1, 2), log_variance, requires_grad=True))
    expected = -log_variance - math.log(2.0 * math.pi)
    value = narrow.log_prob(narrow.mean)
    torch.testing.assert_close(value, torch.tensor([expected]))
    torch.testing.assert_close(torch.autograd.grad(value, narrow.log_variance)[0], torch.full((1, 2), -0.5))
    assert narrow.kl(narrow).item() == 0.0
    assert narrow.kl_gradient_norm(narrow).item() == 0.0
    assert narrow.log_prob(torch.zeros(1, 2)).item() < -1e30
