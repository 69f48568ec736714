"""importance_estimates: exact in a linear-Gaussian model, equal to all weights at once, bounded in memory."""

import math

import pytest
import torch
from torch.distributions import MultivariateNormal

from genloss.errors import InputError
from genloss.losses import DiagonalNormal, Gaussian
from genloss.metrics import importance_estimates, log_likelihood_statistics

SCALE, LATENT, DATA = 0.8, 2, 4


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


# p(z) = N(0, I), p(x|z) = N(W z, s^2 I), with orthogonal columns, so that the true posterior is diagonal.
W = torch.linalg.qr(torch.randn(DATA, LATENT, generator=rng(1), dtype=torch.float64)).Q
X = torch.randn(7, DATA, generator=rng(2), dtype=torch.float64)
VARIANCE = 1.0 / (1.0 + 1.0 / SCALE**2)


def evidence():
    covariance = W @ W.mT + SCALE**2 * torch.eye(DATA, dtype=torch.float64)
    return MultivariateNormal(torch.zeros(DATA).double(), covariance).log_prob(X)


def posterior(shift=0.0, widen=1.0):
    def infer(x):
        mean = VARIANCE * x @ W / SCALE**2 + shift
        return DiagonalNormal(mean=mean, log_variance=torch.full_like(mean, math.log(VARIANCE * widen)))

    return infer


def log_joint(x, z):
    zero = torch.zeros_like(z[0])
    return DiagonalNormal(mean=zero, log_variance=zero).log_prob(z) + Gaussian(scale=SCALE).log_prob(x, z @ W.mT)


@pytest.mark.parametrize(("samples", "batch_size"), [(1, 1), (7, 3), (5, 100)])
def test_the_true_posterior_gives_the_evidence_with_every_sample_effective(samples, batch_size):
    found = importance_estimates(X, posterior(), log_joint, rng=rng(), samples=samples, batch_size=batch_size)
    torch.testing.assert_close(found.log_likelihood, evidence())
    torch.testing.assert_close(found.effective_samples, torch.full((len(X),), float(samples)).double())


def test_a_rough_posterior_gives_it_within_the_error_that_the_effective_samples_tell():
    samples = 20000
    found = importance_estimates(X, posterior(0.3, 1.3), log_joint, rng=rng(), samples=samples, batch_size=1000)
    error = (1.0 / found.effective_samples - 1.0 / samples).sqrt()
    assert (error > 1e-3).all()
    assert ((found.log_likelihood - evidence()).abs() < 5.0 * error).all()


def test_it_is_low_in_the_mean_and_rises_with_the_samples():
    gaps = []
    for samples in (1, 10, 1000):
        found = importance_estimates(X.repeat(300, 1), posterior(0.3, 1.3), log_joint, rng=rng(), samples=samples)
        gaps.append((found.log_likelihood.reshape(300, -1).mean(0) - evidence()).mean().item())
    assert gaps[0] < gaps[1] < gaps[2] < 0.01
    assert gaps[0] < -0.1


@pytest.mark.parametrize("offset", [0.0, 1e5, -1e5])
@pytest.mark.parametrize("batch_size", [1, 13, 64, 1000])
def test_the_stream_equals_all_weights_at_once(batch_size, offset):
    seen = []
    infer, samples = posterior(0.5, 2.0), 64

    def recorded(x, z):
        joint = 30.0 * log_joint(x, z) + offset  # weights that differ by many orders of magnitude
        seen.append((joint - infer(x).log_prob(z)).mT)
        return joint

    found = importance_estimates(X, infer, recorded, rng=rng(), samples=samples, batch_size=batch_size)
    weights = torch.cat([part.flatten() for part in seen]).reshape(len(X), samples)
    torch.testing.assert_close(found.log_likelihood, weights.logsumexp(1) - math.log(samples))
    torch.testing.assert_close(found.effective_samples, 1.0 / weights.softmax(1).square().sum(1))


@pytest.mark.parametrize("samples", [50, 5000])
def test_memory_does_not_grow_with_the_samples(samples):
    images, latents = [], []

    def recorded(x, z):
        images.append(len(x))
        latents.append(z.shape[0] * z.shape[1])
        return log_joint(x, z)

    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        importance_estimates(X, posterior(), recorded, rng=rng(), samples=samples, batch_size=100)
    assert max(latents) <= 100
    assert sum(latents) == samples * len(X)
    assert max(images) == (2 if samples == 50 else 1)  # as many data points at a time as fit
    largest = max(event.cpu_memory_usage for event in profile.events())
    assert largest < 100 * DATA * 8 * 4  # all samples at once take 5000 * DATA * 8 bytes


def test_float32_and_the_global_stream():
    state = torch.get_rng_state()
    found = importance_estimates(
        X.float(), lambda x: as_float(posterior()(x.double())), joint_in_float, rng=rng(), samples=20
    )
    assert torch.equal(state, torch.get_rng_state())
    assert found.log_likelihood.dtype == torch.float64
    torch.testing.assert_close(found.log_likelihood, evidence(), rtol=1e-5, atol=1e-5)


def as_float(q):
    return DiagonalNormal(mean=q.mean.float(), log_variance=q.log_variance.float())


def joint_in_float(x, z):
    return log_joint(x.double(), z.double()).float()


def test_impossible_data_and_wrong_input():
    nowhere = importance_estimates(X, posterior(), lambda x, z: log_joint(x, z) - math.inf, rng=rng(), samples=20)
    assert (nowhere.log_likelihood == -math.inf).all()
    assert (nowhere.effective_samples == 0.0).all()
    with pytest.raises(InputError, match="are NaN, the first of point 0"):
        importance_estimates(X, posterior(), lambda x, z: log_joint(x, z) * math.nan, rng=rng(), samples=20)
    with pytest.raises(InputError, match="sum it over the data axes"):
        importance_estimates(X, posterior(), lambda x, z: z, rng=rng(), samples=20)
    with pytest.raises(InputError, match="at least 1 of each"):
        importance_estimates(X, posterior(), log_joint, rng=rng(), samples=0)
    with pytest.raises(InputError, match="at least one data point"):
        importance_estimates(X[:0], posterior(), log_joint, rng=rng())


def test_the_summary_warns_of_points_that_rest_on_few_samples():
    sound = importance_estimates(X, posterior(), log_joint, rng=rng(), samples=50)
    value, effective = log_likelihood_statistics(sound, samples=50, data="linear")
    assert value.value == pytest.approx(evidence().mean().item())
    assert (effective.value, value.note) == (pytest.approx(50.0), "")
    assert "samples:50" in value.signature
    poor = importance_estimates(X, posterior(5.0), log_joint, rng=rng(), samples=50)
    assert "7 of 7 points have fewer than 10" in log_likelihood_statistics(poor, samples=50, data="linear")[0].note
