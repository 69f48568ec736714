"""Closed forms, bounds and identities of the divergences, and where the textbook's claims hold."""

import math

import pytest
import torch
from torch.distributions import Categorical, MultivariateNormal, Normal, kl_divergence

from genloss.losses import (
    f_divergence,
    forward_kl,
    hellinger,
    jensen_shannon,
    kl_diagonal_normal,
    kl_normal,
    minimax_value,
    monte_carlo_jensen_shannon,
    monte_carlo_kl,
    non_saturating_value,
    optimal_discriminator,
    reverse_kl,
    total_variation,
)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=rng(seed), dtype=torch.float64)


def pair():
    return normal(6, 5, seed=1).softmax(-1), normal(6, 5, seed=2).softmax(-1)


LEFT, RIGHT = torch.tensor([0.5, 0.5, 0.0, 0.0]), torch.tensor([0.0, 0.0, 0.1, 0.9])
DIVERGENCES = [forward_kl, reverse_kl, jensen_shannon, total_variation, hellinger]


def test_diagonal_kl_equals_torch_and_is_exact_near_zero():
    mean, log_variance, other, other_log_variance = (normal(4, 3, seed=s) for s in range(4))
    p, q = Normal(mean, (0.5 * log_variance).exp()), Normal(other, (0.5 * other_log_variance).exp())
    torch.testing.assert_close(
        kl_diagonal_normal(mean, log_variance, other, other_log_variance), kl_divergence(p, q).sum(-1)
    )
    standard = kl_divergence(p, Normal(0.0, 1.0)).sum(-1)
    torch.testing.assert_close(kl_diagonal_normal(mean, log_variance), standard)
    # exp(t) - 1 - t in float32 gives 0 or a negative number here; right is t^2 / 4.
    tiny = kl_diagonal_normal(torch.zeros(1, 1), torch.full((1, 1), 1e-3))
    assert tiny.item() == pytest.approx(0.25e-6, rel=1e-2)


def test_full_kl_equals_torch_and_the_diagonal_one():
    mean, other, root, other_root = normal(3, seed=1), normal(3, seed=2), normal(3, 3, seed=3), normal(3, 3, seed=4)
    covariance, other_covariance = (r @ r.mT + torch.eye(3) for r in (root, other_root))
    p, q = MultivariateNormal(mean, covariance), MultivariateNormal(other, other_covariance)
    torch.testing.assert_close(kl_normal(mean, covariance, other, other_covariance), kl_divergence(p, q))
    log_variance = normal(3, seed=5)
    diagonal = kl_normal(mean, torch.diag(log_variance.exp()), torch.zeros(3).double(), torch.eye(3).double())
    torch.testing.assert_close(diagonal, kl_diagonal_normal(mean, log_variance))


def test_discrete_kl_equals_torch():
    p, q = pair()
    torch.testing.assert_close(forward_kl(p, q), kl_divergence(Categorical(p), Categorical(q)))
    torch.testing.assert_close(reverse_kl(p, q), kl_divergence(Categorical(q), Categorical(p)))


@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_positive_and_zero_for_equal_ones(divergence):
    p, q = pair()
    assert (divergence(p, q) > 0).all()
    assert divergence(p, p).abs().max() < 1e-12


def test_disjoint_supports():
    assert jensen_shannon(LEFT, RIGHT).item() == pytest.approx(math.log(2.0))
    assert total_variation(LEFT, RIGHT).item() == pytest.approx(1.0)
    assert hellinger(LEFT, RIGHT).item() == pytest.approx(1.0)
    assert forward_kl(LEFT, RIGHT).item() == math.inf
    assert minimax_value(LEFT, RIGHT).item() == pytest.approx(0.0, abs=1e-6)


def test_bounds_between_divergences():
    p, q = pair()
    tv, h, js = total_variation(p, q), hellinger(p, q), jensen_shannon(p, q)
    assert (js <= math.log(2.0) * tv + 1e-12).all()
    assert (h**2 <= tv + 1e-12).all()
    assert (tv <= math.sqrt(2.0) * h + 1e-12).all()
    assert (2.0 * tv**2 <= forward_kl(p, q) + 1e-12).all()  # Pinsker


GENERATORS = {
    "kl": lambda u: u * u.log(),
    "reverse_kl": lambda u: -u.log(),
    "pearson": lambda u: (u - 1) ** 2,
    "neyman": lambda u: (1 - u) ** 2 / u,
    "squared_hellinger": lambda u: (u.sqrt() - 1) ** 2,
    "jensen_shannon": lambda u: -(u + 1) * ((1 + u) / 2).log() + u * u.log(),
    "gan": lambda u: u * u.log() - (u + 1) * (u + 1).log(),
    "total_variation": lambda u: 0.5 * (u - 1).abs(),
}


@pytest.mark.parametrize("name", GENERATORS)
def test_f_divergences_equal_their_generator_functions(name):
    p, q = pair()
    torch.testing.assert_close(f_divergence(name, p, q), (q * GENERATORS[name](p / q)).sum(-1))


@pytest.mark.parametrize("alpha", [-1.5, 0.3, 0.5, 2.0, 3.0])
def test_alpha_divergences_equal_their_generator_functions(alpha):
    p, q = pair()
    u = p / q
    generator = (u**alpha - 1.0 - alpha * (u - 1.0)) / (alpha * (alpha - 1.0))
    torch.testing.assert_close(f_divergence("alpha", p, q, alpha=alpha), (q * generator).sum(-1))


@pytest.mark.parametrize(
    ("alpha", "missed", "invented"),
    # of the model that misses half of the data, and of the one that invents as much as there is
    [(-1.0, 0.5, math.inf), (0.5, 4.0 * (1.0 - math.sqrt(0.5)), 4.0 * (1.0 - math.sqrt(0.5))), (2.0, math.inf, 0.5)],
)
def test_alpha_divergences_where_one_side_never_is(alpha, missed, invented):
    whole, half = torch.tensor([0.5, 0.5]), torch.tensor([1.0, 0.0])
    assert f_divergence("alpha", whole, half, alpha=alpha).item() == pytest.approx(missed)
    assert f_divergence("alpha", half, whole, alpha=alpha).item() == pytest.approx(invented)


def on_a_grid(mean, dtype=torch.float32):
    """A normal density on points so far out that it rounds to 0 there."""
    x = torch.linspace(-30.0, 30.0, 601, dtype=dtype)
    density = (-0.5 * (x - mean).square()).exp()
    return density / density.sum()


SMOOTH = [jensen_shannon, hellinger, minimax_value]
SMOOTH += [lambda p, q, name=name: f_divergence(name, p, q) for name in ("squared_hellinger", "jensen_shannon")]


@pytest.mark.parametrize("divergence", SMOOTH)
def test_values_and_gradients_where_probabilities_round_to_nothing(divergence):
    found = []
    for dtype in (torch.float32, torch.float64):
        mean = torch.tensor(-1.25, dtype=dtype, requires_grad=True)
        value = divergence(on_a_grid(torch.tensor(1.25, dtype=dtype), dtype), on_a_grid(mean, dtype))
        found.append((value.item(), torch.autograd.grad(value, mean)[0].item()))
    assert found[0] == pytest.approx(found[1], rel=1e-5)


@pytest.mark.parametrize("divergence", [forward_kl, reverse_kl, *SMOOTH, non_saturating_value, total_variation])
def test_an_outcome_that_never_is_pulls_at_no_logit(divergence):
    logits = torch.tensor([0.0, -200.0, 1.0], requires_grad=True)
    (gradient,) = torch.autograd.grad(divergence(torch.tensor([0.5, 0.0, 0.5]), logits.softmax(0)), logits)
    alone = logits.detach()[[0, 2]].requires_grad_()
    (wanted,) = torch.autograd.grad(divergence(torch.tensor([0.5, 0.5]), alone.softmax(0)), alone)
    torch.testing.assert_close(gradient[[0, 2]], wanted)
    assert gradient[1] == 0.0


def test_the_smallest_numbers_do_not_make_infinity():
    least = torch.tensor([1.0, 1.4e-45])
    assert jensen_shannon(least, torch.tensor([1.0, 0.0])).item() == pytest.approx(0.0, abs=1e-7)
    assert f_divergence("pearson", torch.tensor([1.0, 1e-30]), torch.tensor([1.0, 0.0])).item() == math.inf
    assert f_divergence("neyman", torch.tensor([1.0, 0.0]), torch.tensor([1.0, 1e-30])).item() == math.inf


def test_half_precision_is_promoted_before_anything_is_taken_off():
    mean, prior_mean = (torch.tensor([[value]]).bfloat16() for value in (30.0, 0.1))
    exact = 0.5 * (mean.double() - prior_mean.double()).square().item()
    zero, one = torch.zeros(1, 1).bfloat16(), torch.ones(1, 1, 1).bfloat16()
    assert kl_diagonal_normal(mean, zero, prior_mean, zero).item() == pytest.approx(exact, rel=1e-6)
    assert kl_normal(mean, one, prior_mean, one).item() == pytest.approx(exact, rel=1e-6)
    assert optimal_discriminator(mean, mean).dtype == torch.float32


def test_very_narrow_normals():
    mean, narrow = torch.ones(1, 1), torch.full((1, 1), -120.0)
    assert kl_diagonal_normal(mean, narrow, mean, narrow).item() == 0.0


def test_densities_near_the_ends_of_float32_have_their_best_discriminator():
    least, most = torch.tensor([1.4e-45]), torch.tensor([3e38])
    for density in (least, most):
        assert optimal_discriminator(density, density).item() == 0.5
    assert optimal_discriminator(most, least).item() == 1.0
    assert optimal_discriminator(least, most).item() == 0.0
    real = torch.tensor([0.3], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda r: optimal_discriminator(r, torch.full_like(r, 0.1)), real)


@pytest.mark.parametrize("alpha", [1e-6, 1e-7, -1e-7, 1.0 + 1e-7, 1.0 - 1e-7, 0.5, 3.0, -2.0])
def test_alpha_divergences_keep_their_digits_near_their_limits(alpha):
    real, model = torch.tensor([0.7, 0.2, 0.1]), torch.tensor([0.2, 0.3, 0.5])
    value = f_divergence("alpha", real, model, alpha=alpha)
    exact = f_divergence("alpha", real.double(), model.double(), alpha=alpha)
    torch.testing.assert_close(value, exact.float(), rtol=1e-5, atol=0.0)
    if limit := {0: reverse_kl, 1: forward_kl}.get(round(alpha, 4)):
        torch.testing.assert_close(value, limit(real, model), rtol=1e-5, atol=0.0)


def test_what_is_no_density_is_refused():
    with pytest.raises(ValueError, match=r"real holds -2, expected densities of at least 0; take exp"):
        optimal_discriminator(torch.tensor([-2.0]), torch.tensor([1.0]))
    with pytest.raises(TypeError, match="dtypes or devices differ"):
        kl_diagonal_normal(torch.zeros(1, 2), torch.zeros(1, 2, dtype=torch.float64))
    with pytest.raises(ValueError, match="at least one sample"):
        kl_diagonal_normal(torch.zeros(0, 2), torch.zeros(0, 2))


def test_the_order_goes_with_the_name_alpha():
    p, _ = pair()
    for name, alpha in (("kl", 0.5), ("alpha", None)):
        with pytest.raises(ValueError, match="expected an order for the name 'alpha' and no other"):
            f_divergence(name, p, p, alpha=alpha)
    with pytest.raises(ValueError, match="alpha is 'x', expected a finite number"):
        f_divergence("alpha", p, p, alpha="x")
    with pytest.raises(ValueError, match=r"alpha is 1.0, expected a finite number other than 0 and 1"):
        f_divergence("alpha", p, p, alpha=1.0)


def test_f_divergences_on_zeros():
    p = torch.tensor([0.5, 0.5, 0.0])
    assert f_divergence("pearson", p, p).item() == 0.0
    assert f_divergence("pearson", p, torch.tensor([1.0, 0.0, 0.0])).item() == math.inf
    with pytest.raises(ValueError, match="expected one of kl"):
        f_divergence("chi", p, p)


def test_the_optimal_discriminator_maximises_the_game_and_gives_its_value():
    p, q = pair()
    best = optimal_discriminator(p, q)

    def value(d):
        return (p * d.log() + q * (1 - d).log()).sum(-1)

    torch.testing.assert_close(value(best), minimax_value(p, q))
    for seed in range(5):
        other = (best + 0.05 * normal(6, 5, seed=seed)).clamp(1e-3, 1 - 1e-3)
        assert (value(other) < value(best)).all()


def test_the_value_identity_of_the_non_saturating_generator():
    p, q = pair()
    best = optimal_discriminator(p, q)
    identity = -reverse_kl(p, q) + 2 * jensen_shannon(p, q) - 2 * math.log(2.0) - (p * best.log()).sum(-1)
    torch.testing.assert_close(non_saturating_value(p, q), identity)


def test_its_gradient_is_that_of_reverse_kl_less_twice_js_only_with_the_discriminator_frozen():
    p, logits = normal(5, seed=1).softmax(-1), normal(5, seed=2).requires_grad_()
    q = logits.softmax(-1)
    frozen = optimal_discriminator(p, q).detach()
    (with_frozen,) = torch.autograd.grad(-(q * frozen.log()).sum(), logits, retain_graph=True)
    (claimed,) = torch.autograd.grad(reverse_kl(p, q) - 2 * jensen_shannon(p, q), logits, retain_graph=True)
    torch.testing.assert_close(with_frozen, claimed)
    (whole,) = torch.autograd.grad(-non_saturating_value(p, q), logits)
    assert (whole - claimed).abs().max() > 1e-3  # "the last two terms do not depend on the generator" is wrong


def test_forward_kl_covers_and_reverse_kl_seeks_a_mode():
    grid = torch.linspace(-20.0, 20.0, 801).double()

    def density(mean, log_scale):
        return (-0.5 * ((grid - mean) / log_scale.exp()) ** 2).softmax(0)

    two = 0.5 * (density(torch.tensor(-3.0), torch.tensor(0.0)) + density(torch.tensor(3.0), torch.tensor(0.0)))
    fitted = {}
    for divergence in (forward_kl, reverse_kl):
        parameters = torch.tensor([1.5, 0.0], dtype=torch.float64, requires_grad=True)
        optimiser = torch.optim.Adam([parameters], lr=0.05)
        for _ in range(400):
            optimiser.zero_grad()
            divergence(two, density(*parameters)).backward()
            optimiser.step()
        fitted[divergence] = (parameters[0].item(), parameters[1].exp().item())
    mean, scale = fitted[forward_kl]
    assert mean == pytest.approx(0.0, abs=0.05)
    assert scale == pytest.approx(math.sqrt(10.0), rel=0.05)  # between and around both
    mean, scale = fitted[reverse_kl]
    assert mean == pytest.approx(3.0, abs=0.1)
    assert scale == pytest.approx(1.0, rel=0.1)


def test_monte_carlo_estimates_have_the_right_mean():
    p, q = Normal(torch.tensor(0.0).double(), 1.0), Normal(torch.tensor(0.3).double(), 0.95)
    at_p, at_q = normal(40000, seed=1), 0.3 + 0.95 * normal(40000, seed=2)
    exact = kl_divergence(p, q).item()
    plain = monte_carlo_kl(p.log_prob(at_p), q.log_prob(at_p))
    controlled = monte_carlo_kl(p.log_prob(at_p), q.log_prob(at_p), controlled=True)
    assert plain.mean().item() == pytest.approx(exact, abs=0.01)
    assert controlled.mean().item() == pytest.approx(exact, abs=0.01)
    assert (controlled >= 0).all()
    assert (plain < 0).any()
    assert controlled.std() < plain.std()
    grid = torch.linspace(-12.0, 12.0, 24001).double()
    weights = [(d.log_prob(grid)).softmax(0) for d in (p, q)]
    found = monte_carlo_jensen_shannon(p.log_prob(at_p), q.log_prob(at_p), p.log_prob(at_q), q.log_prob(at_q))
    assert found.item() == pytest.approx(jensen_shannon(*weights).item(), abs=0.005)


def test_log_densities_are_of_one_dtype():
    single, double, half = torch.zeros(2), torch.zeros(2).double(), torch.zeros(2).bfloat16()
    for place in range(4):
        given = [single] * 4
        given[place] = double
        with pytest.raises(TypeError, match="dtypes or devices differ"):
            monte_carlo_jensen_shannon(*given)
        given[place] = half
        assert monte_carlo_jensen_shannon(*given).item() == 0.0


def test_errors_say_what_to_do():
    with pytest.raises(ValueError, match="no probability vector"):
        forward_kl(torch.tensor([0.5, 0.6]), torch.tensor([0.5, 0.5]))
    with pytest.raises(ValueError, match="no probability vector"):
        jensen_shannon(torch.tensor([0.5, 0.5]), torch.tensor([-0.5, 1.5]))
    with pytest.raises(ValueError, match="shapes differ"):
        total_variation(torch.tensor([0.5, 0.5]), torch.tensor([1.0]))
    eye = torch.eye(2)
    with pytest.raises(ValueError, match="not positive definite"):
        kl_normal(torch.zeros(2), -eye, torch.zeros(2), eye)
    with pytest.raises(ValueError, match="not symmetric"):
        kl_normal(torch.zeros(2), eye + torch.tensor([[0.0, 1.0], [0.0, 0.0]]), torch.zeros(2), eye)
    zero = torch.tensor(0.0)
    with pytest.raises(ValueError, match=r"mean has shape \(\), expected \(batch, \.\.\.\)"):
        kl_normal(zero, zero, zero, zero)
    with pytest.raises(ValueError, match="to fit mean"):
        kl_normal(torch.zeros(3), eye, torch.zeros(3), eye)
