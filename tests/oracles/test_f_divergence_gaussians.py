"""The variational bounds between two Gaussians against closed forms and quadrature."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm

import genloss.losses as losses

MEAN, DEVIATION = 0.5, 0.8  # of the model; the data are standard normal


def kl(mean_1, deviation_1, mean_2, deviation_2):
    return math.log(deviation_2 / deviation_1) + (deviation_1**2 + (mean_1 - mean_2) ** 2) / (2 * deviation_2**2) - 0.5


def power_integral(order):
    """Returns the integral of real^order fake^(1 - order) of the two Gaussians, where it exists."""
    precision = order + (1 - order) / DEVIATION**2
    mean = (1 - order) * MEAN / DEVIATION**2 / precision
    exponent = 0.5 * (precision * mean**2 - (1 - order) * MEAN**2 / DEVIATION**2)
    return DEVIATION ** (order - 1) / math.sqrt(precision) * math.exp(exponent)


def integral(function):
    return quad(lambda x: function(norm.pdf(x), norm.pdf(x, MEAN, DEVIATION)), -10, 10, limit=200)[0]


def jensen_shannon():
    return integral(
        lambda p, q: 0.5 * (p * math.log(2 * p / (p + q)) + q * math.log(2 * q / (p + q))) if p + q else 0.0
    )


def alpha_divergence(alpha):
    return (power_integral(alpha) - 1) / (alpha * (alpha - 1))


BOUNDS = [
    (losses.FKullbackLeibler(), kl(0, 1, MEAN, DEVIATION)),
    (losses.FReverseKullbackLeibler(), kl(MEAN, DEVIATION, 0, 1)),
    (losses.FPearson(), power_integral(2) - 1),
    (losses.FNeyman(), power_integral(-1) - 1),
    (losses.FHellinger(), 2 - 2 * power_integral(0.5)),
    (losses.FJensenShannon(), 2 * jensen_shannon()),
    (losses.FGan(), 2 * jensen_shannon() - 2 * math.log(2)),
    (losses.FTotalVariation(), integral(lambda p, q: 0.5 * abs(p - q))),
    (losses.FAlpha(alpha=0.5), alpha_divergence(0.5)),
    (losses.FAlpha(alpha=0.9), alpha_divergence(0.9)),
    (losses.FAlpha(alpha=-1.0), alpha_divergence(-1.0)),
    (losses.FAlpha(alpha=1.5), alpha_divergence(1.5)),
    (losses.FAlpha(alpha=2.0), alpha_divergence(2.0)),
]


def grid():
    """Returns points, their weights under the data and the model, and the density ratio."""
    x = torch.linspace(-9.0, 9.0, 2001, dtype=torch.float64)
    real, fake = (
        torch.distributions.Normal(*map(torch.tensor, pair)).log_prob(x).double()
        for pair in ((0.0, 1.0), (MEAN, DEVIATION))
    )
    step = (x[1] - x[0]).item()
    return x, real.exp() * step, fake.exp() * step, (real - fake).exp()


def bound(loss, scores, real_weight, fake_weight):
    """Returns the negative expected loss of the discriminator; its two terms are apart, each is one dot product."""
    fixed = scores[len(scores) // 2].expand_as(scores)
    on_real = loss.discriminator(scores, fixed)
    on_fake = loss.discriminator(fixed, scores) - loss.discriminator(fixed, fixed)
    return -(real_weight @ on_real + fake_weight @ on_fake).item()


@pytest.mark.parametrize(("loss", "divergence"), BOUNDS, ids=lambda value: str(value))
def test_the_best_critic_reaches_the_divergence(loss, divergence):
    _, real_weight, fake_weight, ratio = grid()
    low, high = loss.score_range() or (-1e9, 1e9)
    scores = loss.optimal_score(ratio).clamp(low, high)
    assert bound(loss, scores, real_weight, fake_weight) == pytest.approx(divergence, abs=2e-4, rel=2e-4)
    # f itself says the same
    assert (fake_weight * loss.convex_function(ratio)).sum().item() == pytest.approx(divergence, abs=2e-4, rel=2e-4)


@pytest.mark.parametrize(("loss", "divergence"), BOUNDS, ids=lambda value: str(value))
def test_every_other_critic_stays_below(loss, divergence):
    x, real_weight, fake_weight, ratio = grid()
    best = loss.optimal_score(ratio).clamp(-60, 3)
    for other in (best + 0.1, best - 0.1, 0.9 * best, best + 0.1 * x.sin(), torch.zeros_like(best)):
        assert bound(loss, other, real_weight, fake_weight) < divergence - 1e-6


def test_the_divergences_of_equal_distributions_are_zero():
    one = torch.ones(1, dtype=torch.float64)
    for loss, _ in BOUNDS:
        at_one = loss.convex_function(one).item()
        assert at_one == pytest.approx(-2 * math.log(2) if isinstance(loss, losses.FGan) else 0.0, abs=1e-12)


def test_the_trick_and_the_conjugate_of_the_gan_are_the_two_losses_of_the_first_paper():
    scores = torch.linspace(-5, 5, 11)
    trick, conjugate = losses.FGan(), losses.FGan(generator_form="conjugate")
    torch.testing.assert_close(trick.generator(scores), losses.NonSaturating().generator(scores))
    torch.testing.assert_close(conjugate.generator(scores), losses.Minimax().generator(scores))
    torch.testing.assert_close(
        trick.discriminator(scores, scores.flip(0)), losses.Minimax().discriminator(scores, scores.flip(0))
    )


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([loss for loss, _ in BOUNDS]), st.floats(-1.0, 1.0), st.floats(0.85, 1.15))
def test_the_bound_is_the_divergence_of_its_own_generator_function(loss, mean, deviation):
    """For any two Gaussians, by quadrature of the definition and of the best critic's loss."""
    x = torch.linspace(-12.0, 12.0, 6001, dtype=torch.float64)
    real, fake = (
        torch.distributions.Normal(*(torch.tensor(v, dtype=torch.float64) for v in pair)).log_prob(x)
        for pair in ((0.0, 1.0), (mean, deviation))
    )
    step = (x[1] - x[0]).item()
    ratio = (real - fake).exp()
    low, high = loss.score_range() or (-1e9, 1e9)
    scores = loss.optimal_score(ratio).clamp(low, high)
    definition = (fake.exp() * step * loss.convex_function(ratio)).sum().item()
    assert bound(loss, scores, real.exp() * step, fake.exp() * step) == pytest.approx(definition, abs=1e-4, rel=1e-4)
