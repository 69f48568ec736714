"""The laws on generated cases: hyperparameters that nobody chose, scores, sets, masks and latents of every size."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import genloss.losses as losses
from tests.laws.mistakes import keeps

few = settings(max_examples=6, deadline=None, derandomize=True)
many = settings(max_examples=25, deadline=None, derandomize=True)

share = st.floats(0.05, 1.0)
size = st.floats(0.2, 5.0)


def least_squares(fake, real):
    """The generator aims where the critic wants real samples, as it should."""
    return losses.LeastSquares(fake_target=fake, real_target=real, generator_target=real)


HYPERPARAMETERS = [
    st.builds(losses.NonSaturating, real_label=st.floats(0.6, 1.0), real_weight=size, fake_weight=size),
    st.builds(losses.Minimax, real_label=st.floats(0.6, 1.0)),
    st.builds(least_squares, st.floats(-2.0, 0.0), size),
    st.builds(losses.EnergyBased, margin=size),
    st.builds(losses.BoundaryEquilibrium, gamma=share, gain=st.floats(0.001, 0.1)),
    st.builds(losses.FAlpha, alpha=st.floats(-2.0, -0.2) | st.floats(0.1, 0.9) | st.floats(1.1, 3.0)),
    st.builds(losses.GradientPenalty, target=st.floats(0.0, 2.0)),
    st.builds(losses.WassersteinDivergence, power=st.floats(1.5, 6.0)),
    st.builds(losses.MMD, bandwidths=st.lists(size, min_size=1, max_size=3).map(tuple)),
    st.builds(losses.SlicedWasserstein, p=st.sampled_from([1.0, 2.0, 3.0]), projections=st.integers(1, 20)),
    st.builds(losses.ELBO, beta=st.floats(0.2, 8.0), samples=st.integers(1, 4)),
    st.builds(losses.IWAE, samples=st.integers(1, 8)),
    st.builds(losses.Gaussian, scale=st.floats(0.3, 2.0)),
    st.builds(losses.Categorical, levels=st.integers(2, 9)),
    st.builds(losses.NoiseContrastive, ratio=st.integers(1, 4)),
    st.builds(losses.DenoisingScoreMatching, sigmas=st.tuples(st.floats(0.4, 1.0))),
    st.builds(losses.TokenCrossEntropy, label_smoothing=st.floats(0.0, 0.9)),
    st.builds(losses.EditInvariant, sizes=st.lists(st.integers(1, 6), min_size=1, max_size=3).map(tuple)),
    st.builds(losses.MinimumRisk, alpha=st.floats(0.05, 10.0)),
    st.builds(losses.ContrastiveDivergence, persistent=st.booleans(), penalty=st.floats(0.0, 1.0)),
    st.builds(losses.OptimalCompletion, end=st.integers(0, 9)),
]


@pytest.mark.parametrize("strategy", HYPERPARAMETERS, ids=lambda strategy: str(strategy).split("(")[1].split(",")[0])
@given(data=st.data())
@few
def test_any_hyperparameters_keep_every_law(strategy, data):
    keeps(data.draw(strategy))


ADVERSARIAL = [cls() for cls in losses.catalogue("adversarial").values()]


def scores(loss, draw, n):
    """Returns n real and n fake scores, up to 20 from 0 within the loss's range."""
    low, high = loss.score_range() or (-20.0, 20.0)
    low = 0.0 if loss.energies else max(low, -20.0)
    drawn = draw(st.lists(st.floats(low + 0.01, min(high, 20.0) - 0.01), min_size=2 * n, max_size=2 * n))
    return torch.tensor(drawn, dtype=torch.float64).split(n)


@pytest.mark.parametrize("loss", ADVERSARIAL, ids=lambda loss: loss.card.name)
@given(data=st.data())
@many
def test_a_batch_is_its_samples_in_any_order(loss, data):
    n = data.draw(st.integers(1, 6))
    real, fake = scores(loss, data.draw, n)
    order = torch.tensor(data.draw(st.permutations(range(n))))
    state = loss.init_state()
    discriminator = loss.discriminator(real, fake, state=state)
    torch.testing.assert_close(loss.discriminator(real[order], fake[order], state=state), discriminator[order])
    generator = loss.generator(fake, real)
    torch.testing.assert_close(loss.generator(fake[order], real[order]), generator[order])
    assert discriminator.isfinite().all()
    assert generator.isfinite().all()
    if not loss.couples_batch:
        one = [loss.discriminator(r, f, state=state) for r, f in zip(real.split(1), fake.split(1), strict=True)]
        torch.testing.assert_close(torch.cat(one), discriminator)


@pytest.mark.parametrize("loss", ADVERSARIAL, ids=lambda loss: loss.card.name)
@given(data=st.data())
@many
def test_pushing_scores_to_the_real_side_never_hurts_the_generator_at_first_order(loss, data):
    (real, fake) = scores(loss, data.draw, 1)
    if loss.couples_batch or type(loss) is losses.LeastSquares:
        return  # judged against the other side, or against a target that a score may pass
    fake.requires_grad_()
    (slope,) = torch.autograd.grad(loss.generator(fake, real).sum(), fake)
    assert slope * (-1.0 if loss.energies else 1.0) <= 0.0


BIASED = [losses.MMD(estimator="biased"), losses.EnergyDistance(estimator="biased"), losses.Wasserstein1D()]


@pytest.mark.parametrize("loss", [*BIASED, losses.EarthMover()], ids=repr)
@given(data=st.data())
@many
def test_a_distance_is_symmetric_not_negative_and_zero_for_one_set(loss, data):
    n = data.draw(st.integers(2, 8))
    values = st.lists(st.floats(-50.0, 50.0), min_size=n, max_size=n)
    x, y = (torch.tensor(data.draw(values), dtype=torch.float64)[:, None] for _ in range(2))
    there, back = loss(x, y), loss(y, x)
    torch.testing.assert_close(there, back)
    assert there >= -1e-9
    assert loss(x, x).abs() < 1e-6
    order = torch.tensor(data.draw(st.permutations(range(n))))
    torch.testing.assert_close(loss(x[order], y), there)


@given(
    lengths=st.lists(st.integers(1, 6), min_size=1, max_size=4),
    vocabulary=st.integers(2, 7),
    seed=st.integers(0, 99),
    loss=st.sampled_from([losses.TokenCrossEntropy(), losses.TokenCrossEntropy(label_smoothing=0.2)]),
)
@many
def test_padding_of_any_length_counts_nothing(lengths, vocabulary, seed, loss):
    rng = torch.Generator().manual_seed(seed)
    longest = max(lengths) + 3
    logits = torch.randn(len(lengths), longest, vocabulary, generator=rng, dtype=torch.float64)
    targets = torch.randint(vocabulary, (len(lengths), longest), generator=rng)
    mask = torch.arange(longest) < torch.tensor(lengths)[:, None]
    whole = loss(logits, targets, mask)
    for row, length in enumerate(lengths):
        cut = loss(logits[row : row + 1, :length], targets[row : row + 1, :length], mask[row : row + 1, :length])
        torch.testing.assert_close(cut, whole[row : row + 1])


@given(samples=st.integers(1, 12), batch=st.integers(1, 5), seed=st.integers(0, 99))
@many
def test_the_importance_weighted_bound_lies_between_the_mean_and_the_largest_weight(samples, batch, seed):
    rng = torch.Generator().manual_seed(seed)
    mean, log_variance = torch.randn(2, batch, 3, generator=rng, dtype=torch.float64)
    posterior = losses.DiagonalNormal(mean=mean, log_variance=log_variance)
    prior = losses.DiagonalNormal.standard_like(posterior)
    z = posterior.sample(rng, samples)
    log_likelihood = 10.0 * torch.randn(samples, batch, generator=rng, dtype=torch.float64)
    bound = losses.IWAE(samples=samples)(posterior, prior, z, log_likelihood).bound
    log_weights = log_likelihood + prior.log_prob(z) - posterior.log_prob(z)
    assert (bound >= log_weights.mean(0) - 1e-9).all()
    assert (bound <= log_weights.amax(0) + 1e-9).all()


@pytest.mark.parametrize(
    "penalty", [losses.R1(), losses.R2(), losses.GradientPenalty(), losses.ZeroCentred()], ids=repr
)
@given(slope=st.lists(st.floats(-5.0, 5.0), min_size=3, max_size=3), n=st.integers(1, 5), seed=st.integers(0, 99))
@many
def test_at_a_linear_critic_a_penalty_is_that_of_its_slope(penalty, slope, n, seed):
    weights = torch.tensor(slope, dtype=torch.float64)
    rng = torch.Generator().manual_seed(seed)
    real, fake = torch.randn(2, n, 3, generator=rng, dtype=torch.float64)
    found = penalty(lambda x: x @ weights, real, fake, rng)
    norm = weights.norm()
    expected = (norm - 1.0).square() if isinstance(penalty, losses.GradientPenalty) else norm.square()
    if isinstance(penalty, losses.R1 | losses.R2):
        expected = 0.5 * expected
    torch.testing.assert_close(found, expected.expand(n))
