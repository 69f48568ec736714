"""Identities, estimators and errors of the variational losses."""

import itertools
import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from genloss.losses import (
    ELBO,
    IWAE,
    MMD,
    WAE,
    BetaTCVAE,
    DiagonalNormal,
    FreeBits,
    InfoVAE,
    find_loss,
    permuted_latents,
)
from genloss.losses.aggregate_posterior import _stratified_log_weights

BATCH, DIM = 6, 3


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=rng(seed), dtype=torch.float64)


def posterior(requires_grad=False, batch=BATCH):
    mean, log_variance = normal(batch, DIM, seed=1), 0.5 * normal(batch, DIM, seed=2)
    return DiagonalNormal(
        mean=mean.requires_grad_(requires_grad), log_variance=log_variance.requires_grad_(requires_grad)
    )


def prior(batch=BATCH):
    return DiagonalNormal(mean=0.3 * normal(batch, DIM, seed=3), log_variance=0.2 * normal(batch, DIM, seed=4))


def setting(samples, requires_grad=False):
    q = posterior(requires_grad)
    z = q.sample(rng(5), samples)
    return q, prior(), z, -z.square().sum(-1) - 1.0


ALL = [
    ELBO(),
    ELBO(beta=3.0, samples=4, kl="monte_carlo"),
    ELBO(beta=100.0, capacity=2.0),
    ELBO(kl_gradient=0.5),
    FreeBits(free=0.3, samples=2),
    IWAE(samples=5),
    IWAE(samples=5, gradient="path"),
    IWAE(samples=5, gradient="doubly_reparameterised"),
    BetaTCVAE(dataset_size=60),
    InfoVAE(),
    WAE(),
]


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


@pytest.mark.parametrize("loss", ALL, ids=repr)
def test_terms_are_per_sample_and_the_bound_is_one_of_them_all(loss):
    terms = loss(*setting(loss.samples), rng=rng())
    for value in (terms.surrogate, terms.bound, *terms.parts.values()):
        assert value.shape == (BATCH,)
        assert value.isfinite().all()
    if not isinstance(loss, IWAE):
        torch.testing.assert_close(terms.bound, terms.parts["reconstruction"] - terms.parts["kl"])


@pytest.mark.parametrize("loss", [loss for loss in ALL if not loss.couples_batch], ids=repr)
def test_a_batch_of_one_gives_the_same_terms(loss):
    q, p, z, log_likelihood = setting(loss.samples)
    whole = loss(q, p, z, log_likelihood)
    one = DiagonalNormal(mean=q.mean[2:3], log_variance=q.log_variance[2:3])
    its_prior = DiagonalNormal(mean=p.mean[2:3], log_variance=p.log_variance[2:3])
    alone = loss(one, its_prior, z[:, 2:3], log_likelihood[:, 2:3])
    torch.testing.assert_close(alone.surrogate, whole.surrogate[2:3])
    torch.testing.assert_close(alone.bound, whole.bound[2:3])


def test_beta_trains_but_does_not_report():
    plain, heavy = ELBO()(*setting(1)), ELBO(beta=10.0)(*setting(1))
    torch.testing.assert_close(plain.surrogate, -plain.bound)
    torch.testing.assert_close(heavy.bound, plain.bound)
    torch.testing.assert_close(heavy.surrogate - plain.surrogate, 9.0 * plain.parts["kl"])


def test_monte_carlo_kl_agrees_with_the_closed_form():
    loss = ELBO(samples=20000, kl="monte_carlo")
    found = loss(*setting(20000)).parts["kl"]
    torch.testing.assert_close(found, posterior().kl(prior()), atol=0.1, rtol=0)


def test_capacity_is_the_distance_to_it():
    terms = ELBO(beta=7.0, capacity=2.0)(*setting(1))
    expected = 7.0 * (terms.parts["kl"] - 2.0).abs() - terms.parts["reconstruction"]
    torch.testing.assert_close(terms.surrogate, expected)


def test_free_bits_take_the_maximum_after_the_batch_mean():
    q, p, z, log_likelihood = setting(1)
    each = q.kl_terms(p)
    free = each.mean(0).median().item()  # between the dimensions, so that both cases occur
    terms = FreeBits(free=free - 1e-9)(q, p, z, log_likelihood)
    wanted = each.mean(0).clamp(min=free - 1e-9).sum()
    torch.testing.assert_close(terms.parts["counted_kl"].mean(), wanted)
    # The maximum of each sample, before the mean, is another number.
    assert abs(each.clamp(min=free).sum(-1).mean() - wanted) > 1e-3
    torch.testing.assert_close(
        FreeBits(free=0.0)(q, p, z, log_likelihood).surrogate, ELBO()(q, p, z, log_likelihood).surrogate
    )


def test_beta_weighs_the_counted_divergence_and_does_not_report():
    plain, warming = FreeBits(free=0.3)(*setting(1)), FreeBits(free=0.3, beta=0.25)(*setting(1))
    torch.testing.assert_close(plain.surrogate - warming.surrogate, 0.75 * plain.parts["counted_kl"])
    torch.testing.assert_close(warming.bound, plain.bound)


def test_free_bits_leave_a_collapsed_dimension_alone():
    q = DiagonalNormal(mean=torch.full((4, 2), 0.1, requires_grad=True), log_variance=torch.zeros(4, 2))
    terms = FreeBits(free=0.5)(q, DiagonalNormal.standard_like(q), q.sample(rng(), 1), torch.zeros(1, 4))
    assert not terms.surrogate.requires_grad or torch.autograd.grad(terms.surrogate.sum(), q.mean)[0].abs().max() == 0


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


def test_beta_tc_terms_add_up_to_the_kl():
    loss = BetaTCVAE(dataset_size=60, alpha=1.0, beta=1.0, gamma=1.0, samples=3)
    q, p, z, log_likelihood = setting(3)
    terms = loss(q, p, z, log_likelihood)
    monte_carlo = (q.log_prob(z) - p.log_prob(z)).mean(0)
    total = terms.parts["mutual_information"] + terms.parts["total_correlation"] + terms.parts["dimension_kl"]
    torch.testing.assert_close(total, monte_carlo)
    torch.testing.assert_close(terms.surrogate, monte_carlo - terms.parts["reconstruction"])


def test_stratified_weights_are_unbiased_over_all_batches():
    # The density of q at a latent of sample i is the plain mean over the data set; enumerate all batches that hold i.
    size, batch = 5, 3
    weights = _stratified_log_weights(normal(1, batch, 2), size).exp()
    densities = normal(size, seed=8).exp()
    found = [
        (weights[0] * densities[[0, *others]]).sum() for others in itertools.permutations(range(1, size), batch - 1)
    ]
    torch.testing.assert_close(torch.stack(found).mean(), densities.mean(), rtol=1e-14, atol=0)
    whole = _stratified_log_weights(normal(1, 4, 2), 4).exp()
    torch.testing.assert_close(whole, torch.full((4, 4), 0.25).double(), rtol=1e-14, atol=0)
    assert _stratified_log_weights(normal(1, 4, 2).float(), 9).dtype == torch.float32


def test_total_correlation_of_a_full_batch_of_independent_and_dependent_latents():
    n = 400
    first = normal(n, 1, seed=1)
    wide = torch.full((n, 2), math.log(0.01)).double()
    dependent = DiagonalNormal(mean=torch.cat((first, first), 1), log_variance=wide)
    independent = DiagonalNormal(mean=torch.cat((first, normal(n, 1, seed=2)), 1), log_variance=wide)
    loss = BetaTCVAE(dataset_size=n)
    values = [
        loss(q, DiagonalNormal.standard_like(q), q.sample(rng(), 1), torch.zeros(1, n).double())
        .parts["total_correlation"]
        .mean()
        .item()
        for q in (dependent, independent)
    ]
    # Normal marginals with variance 1.01 and correlation 1 / 1.01: TC = -log(1 - rho^2) / 2 = 1.96.
    assert values[0] == pytest.approx(-0.5 * math.log(1.0 - (1.0 / 1.01) ** 2), abs=0.25)
    assert values[0] > values[1] + 1.0


def test_the_name_mmd_vae_is_info_vae_without_the_kl():
    q, p, z, log_likelihood = setting(1)
    named = find_loss("mmd_vae")(scale=10.0)(q, p, z, log_likelihood, rng=rng())
    paper = InfoVAE(information=1.0, scale=10.0)(q, p, z, log_likelihood, rng=rng())
    torch.testing.assert_close(named.surrogate, paper.surrogate)


def test_info_vae_spans_elbo_and_mmd_vae():
    q, p, z, log_likelihood = setting(1)
    elbo = ELBO()(q, p, z, log_likelihood)
    half = InfoVAE(information=0.0, scale=1.0)(q, p, z, log_likelihood, rng=rng())
    torch.testing.assert_close(half.surrogate, elbo.surrogate)
    mmd_vae = InfoVAE(information=1.0, scale=10.0)(q, p, z, log_likelihood, rng=rng())
    wae = WAE(scale=10.0)(q, p, z, log_likelihood, rng=rng())
    torch.testing.assert_close(mmd_vae.surrogate, wae.surrogate)
    torch.testing.assert_close(wae.surrogate, 10.0 * wae.parts["aggregate_divergence"] - wae.parts["reconstruction"])


def test_the_aggregate_is_compared_with_draws_of_the_prior():
    n = 500
    standard = DiagonalNormal(mean=torch.zeros(n, 2), log_variance=torch.zeros(n, 2))
    loss = WAE(scale=1.0, divergence=MMD(bandwidths=(1.0,)))
    zeros = torch.zeros(1, n)
    at_prior = loss(standard, standard, standard.sample(rng(1), 1), zeros, rng=rng(2)).surrogate.mean()
    far = loss(standard, standard, standard.sample(rng(1), 1) + 2.0, zeros, rng=rng(2)).surrogate.mean()
    assert abs(at_prior.item()) < 0.01
    assert far.item() > 0.3


def test_a_sure_encoder_does_not_break_wae():
    sure = DiagonalNormal(mean=normal(BATCH, DIM), log_variance=torch.full((BATCH, DIM), -math.inf).double())
    terms = WAE()(sure, DiagonalNormal.standard_like(sure), sure.mean[None], torch.zeros(1, BATCH).double(), rng=rng())
    assert terms.surrogate.isfinite().all()
    assert (terms.bound == -math.inf).all()


def test_half_precision_is_computed_in_float32():
    q = DiagonalNormal(mean=torch.ones(2, 2).bfloat16(), log_variance=torch.zeros(2, 2).bfloat16())
    terms = ELBO()(q, DiagonalNormal.standard_like(q), q.sample(rng(), 1), torch.zeros(1, 2))
    assert terms.surrogate.dtype == torch.float32


def test_errors_say_what_to_do():
    q, p, z, log_likelihood = setting(2)
    with pytest.raises(ValueError, match=r"posterior.sample\(rng, 1\)"):
        ELBO()(q, p, z, log_likelihood)
    with pytest.raises(ValueError, match="sum it over the data axes"):
        ELBO(samples=2)(q, p, z, log_likelihood.sum(1))
    with pytest.raises(ValueError, match="shapes differ"):
        ELBO(samples=2)(q, prior(batch=2), z, log_likelihood)
    with pytest.raises(ValueError, match="got no rng"):
        WAE(samples=2)(q, p, z, log_likelihood)
    with pytest.raises(ValueError, match="dataset_size=3"):
        BetaTCVAE(dataset_size=3, samples=2)(q, p, z, log_likelihood)
    one = posterior(batch=1)
    with pytest.raises(ValueError, match="at least 2 to estimate"):
        BetaTCVAE(dataset_size=5)(one, one, one.sample(rng(), 1), torch.zeros(1, 1).double())
    for wrong in (
        lambda: ELBO(beta=-1.0),
        lambda: ELBO(samples=0),
        lambda: ELBO(kl="exact"),
        lambda: ELBO(capacity=-1.0),
        lambda: FreeBits(free=-0.1),
        lambda: FreeBits(beta=-1.0),
        lambda: IWAE(samples=0),
        lambda: IWAE(gradient="dreg"),
        lambda: BetaTCVAE(dataset_size=0),
        lambda: InfoVAE(information=1.5),
        lambda: InfoVAE(information="1"),
        lambda: InfoVAE(information=-10.0, scale=5.0),
        lambda: InfoVAE(scale=math.inf),
        lambda: WAE(scale=-1.0),
    ):
        with pytest.raises(ValueError, match="expected"):
            wrong()
    with pytest.raises(ValueError, match="shapes differ"):
        DiagonalNormal(mean=torch.zeros(2, 3), log_variance=torch.zeros(2, 2))
    with pytest.raises(TypeError, match="floating"):
        DiagonalNormal(mean=torch.zeros(2, 3).long(), log_variance=torch.zeros(2, 3))


@pytest.mark.parametrize("loss", ALL, ids=repr)
def test_all_tensors_have_one_dtype(loss):
    q, p, z, log_likelihood = setting(loss.samples)
    single = DiagonalNormal(mean=q.mean.float(), log_variance=q.log_variance.float())
    for posterior_, prior_, z_ in ((single, p, z), (q, single, z), (single, p, z.float())):
        with pytest.raises(TypeError, match="dtypes or devices differ: posterior torch"):
            loss(posterior_, prior_, z_, log_likelihood, rng=rng())
    half = DiagonalNormal(mean=q.mean.bfloat16(), log_variance=q.log_variance.bfloat16())
    terms = loss(half, DiagonalNormal.standard_like(half), z.float(), log_likelihood.float(), rng=rng())
    assert terms.surrogate.dtype == torch.float32


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


def permuted_rows(z, rng):
    """The mistake: whole rows change their places, so that the dimensions of each still belong together."""
    return z[torch.randperm(len(z), generator=rng)]


@pytest.mark.parametrize(("permute", "right"), [(permuted_latents, True), (permuted_rows, False)])
def test_latents_are_permuted_across_the_batch_each_dimension_by_itself(permute, right):
    z = normal(2000, 1).expand(-1, 3) + 0.1 * normal(2000, 3, seed=1)
    permuted = permute(z, rng())
    assert torch.equal(permuted.sort(0).values, z.sort(0).values)  # the marginals stay
    correlation = torch.corrcoef(permuted.T) - torch.eye(3)
    assert bool(correlation.abs().max() < 0.1) is right


def test_permuted_latents_say_what_they_take():
    with pytest.raises(ValueError, match=r"z has shape \(1, 4, 2\), expected \(batch, latent\)"):
        permuted_latents(torch.zeros(1, 4, 2), rng())
    assert torch.equal(permuted_latents(torch.ones(1, 2), rng()), torch.ones(1, 2))
