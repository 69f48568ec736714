"""Identities, estimators and errors of the variational losses."""

import itertools
import math

import pytest
import torch

from genloss.losses import (
    ELBO,
    IWAE,
    MMD,
    WAE,
    BetaTCVAE,
    DiagonalNormal,
    FreeBits,
    InfoVAE,
    VariationalTerms,
    find_loss,
    permuted_latents,
)
from genloss.losses.aggregate_posterior import _stratified_log_weights
from tests.losses.latents import BATCH, DIM, normal, posterior, prior, rng, setting

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


def test_a_loss_gets_its_distributions_in_float32():
    class HandWritten(ELBO):
        def _terms(self, posterior, prior, z, log_likelihood, rng):
            kl = 0.5 * (posterior.log_variance.exp() + posterior.mean**2 - 1.0 - posterior.log_variance).sum(-1)
            assert prior.mean.dtype == posterior.mean.dtype == z.dtype
            return VariationalTerms(surrogate=kl, bound=-kl, parts={"kl": kl})

    q = posterior()
    half = DiagonalNormal(mean=q.mean.bfloat16(), log_variance=q.log_variance.bfloat16())
    full = DiagonalNormal(mean=half.mean.double(), log_variance=half.log_variance.double())
    z = half.sample(rng(), 1)
    found, expected = (
        HandWritten()(each, DiagonalNormal.standard_like(each), z.to(dtype), torch.zeros(1, BATCH, dtype=dtype))
        for each, dtype in ((half, torch.bfloat16), (full, torch.float64))
    )
    torch.testing.assert_close(found.surrogate, expected.surrogate.float())


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
    for loss, divergence in ((InfoVAE, "mmd"), (WAE, None), (WAE, MMD)):
        with pytest.raises(TypeError, match=r"divergence is .*, expected a SampleDistance; pass an instance"):
            loss(divergence=divergence)
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
    with pytest.raises(TypeError, match=r"rng is None, expected a torch\.Generator"):
        permuted_latents(torch.ones(4, 2), None)
    with pytest.raises(TypeError, match=r"z is a list, expected a torch\.Tensor"):
        permuted_latents([[1.0]], rng())
