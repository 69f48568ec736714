"""The decoder densities against torch.distributions, their sums, extremes and samples."""

import math

import pytest
import torch
from torch import distributions as reference
from torch.nn.functional import logsigmoid, softplus

from genloss.losses import Bernoulli, Categorical, DiscretisedLogisticMixture, Gaussian, Laplace, catalogue


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=rng(seed), dtype=torch.float64)


def binary(*shape):
    return (normal(*shape) > 0).double()


def on_grid(levels, *shape):
    return torch.randint(0, levels, shape, generator=rng()).double() / (levels - 1)


ROWS = [
    (Bernoulli(), binary(4, 3)),
    (Gaussian(), normal(4, 3)),
    (Gaussian(variance="shared"), normal(4, 3)),
    (Gaussian(variance="predicted", scale=0.5), normal(4, 3)),
    (Laplace(scale=2.0), normal(4, 3)),
    (Laplace(variance="shared"), normal(4, 3)),
    (Laplace(variance="predicted"), normal(4, 3)),
    (Categorical(levels=5), on_grid(5, 4, 3)),
    (DiscretisedLogisticMixture(levels=5, components=2), on_grid(5, 4, 3)),
]


def parameters_for(density, *data, seed=1):
    values = density.parameters_per_value + density.shared_parameters
    return normal(*data, *((values,) if values > 1 else ()), seed=seed)


def test_every_likelihood_of_the_catalogue_is_tested():
    assert {density.card.name for density, _ in ROWS} == set(catalogue("likelihood"))


@pytest.mark.parametrize(("density", "x"), ROWS, ids=lambda v: repr(v) if not torch.is_tensor(v) else "")
def test_shapes_and_sums(density, x):
    parameters = parameters_for(density, 2, *x.shape)
    value = density.log_prob(x, parameters)
    assert value.shape == (2, 4)
    assert density.mean(parameters).shape == (2, 4, 3)
    assert density.sample(parameters, rng()).shape == (2, 4, 3)
    # One sample of the latent, one of the batch, one value at a time.
    torch.testing.assert_close(density.log_prob(x, parameters[1]), value[1])
    torch.testing.assert_close(density.log_prob(x[2:3], parameters[:, 2:3]), value[:, 2:3])
    single = sum(density.log_prob(x[:, i], parameters[:, :, i]) for i in range(3))
    torch.testing.assert_close(single, value)
    image = density.log_prob(x.reshape(4, 3, 1), parameters.unsqueeze(3))
    torch.testing.assert_close(image.reshape(value.shape), value)


@pytest.mark.parametrize(("density", "x"), ROWS, ids=lambda v: repr(v) if not torch.is_tensor(v) else "")
def test_gradcheck(density, x):
    parameters = parameters_for(density, *x.shape).requires_grad_()
    assert torch.autograd.gradcheck(lambda p: density.log_prob(x, p), (parameters,))


@pytest.mark.parametrize("density", [d for d, _ in ROWS if not isinstance(d, DiscretisedLogisticMixture)], ids=repr)
def test_samples_have_the_mean_and_come_from_the_generator(density):
    parameters = parameters_for(density, 1)[:1]
    many = parameters.expand(60000, *parameters.shape[1:])
    state = torch.get_rng_state()
    drawn = density.sample(many, rng(3))
    assert torch.equal(state, torch.get_rng_state())
    error = drawn.std().item() / math.sqrt(len(drawn))
    assert abs(drawn.mean().item() - density.mean(parameters).item()) < 5.0 * error
    assert density.log_prob(drawn, many).isfinite().all()


def test_bernoulli_equals_torch_and_keeps_its_gradient_far_out():
    x, logits = binary(4, 3), normal(4, 3, seed=1)
    expected = reference.Bernoulli(logits=logits).log_prob(x).sum(1)
    torch.testing.assert_close(Bernoulli().log_prob(x, logits), expected)
    # A sigmoid followed by the cross-entropy of probabilities gives 100 here, with gradient 0.
    far = torch.tensor([[20.0]], requires_grad=True)
    value = Bernoulli().log_prob(torch.zeros(1, 1), far)
    assert value.item() == pytest.approx(-20.0)
    assert torch.autograd.grad(value, far)[0].item() == pytest.approx(-1.0)
    assert Bernoulli().log_prob(torch.ones(1, 1), torch.full((1, 1), -1e4)).item() == -1e4


@pytest.mark.parametrize("x", [0.0, 1.0, 0.5, 0.01, 0.99])
@pytest.mark.parametrize("logit", [12.0, -12.0, 0.0, 5.0, -5.0, 80.0, -80.0])
def test_bernoulli_keeps_its_digits_where_a_logit_is_sure(x, logit):
    found, exact = (
        torch.full((1, 784), logit, dtype=dtype, requires_grad=True) for dtype in (torch.float32, torch.float64)
    )
    value = Bernoulli().log_prob(torch.full((1, 784), x), found)
    data = torch.tensor(x).double()  # as float32 has it
    expected = (data * logsigmoid(exact) + (1.0 - data) * logsigmoid(-exact)).sum(1)
    torch.testing.assert_close(value, expected.float(), rtol=2e-5, atol=0.0)
    gradients = (torch.autograd.grad(v.sum(), at)[0].double() for v, at in ((value, found), (expected, exact)))
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("ours", "theirs"), [(Gaussian, reference.Normal), (Laplace, reference.Laplace)])
def test_location_scale_densities_equal_torch(ours, theirs):
    x, location, s = normal(4, 3), normal(4, 3, seed=1), 0.3 * normal(4, 3, seed=2)
    torch.testing.assert_close(ours(scale=0.7).log_prob(x, location), theirs(location, 0.7).log_prob(x).sum(1))
    predicted = ours(variance="predicted", scale=0.7)
    scale = predicted.log_scale(s).exp()
    expected = theirs(location, scale).log_prob(x).sum(1)
    torch.testing.assert_close(predicted.log_prob(x, torch.stack((location, s), -1)), expected)
    shared = ours(variance="shared", scale=0.7)
    same = torch.stack((location, torch.full_like(location, 0.2)), -1)
    expected = theirs(location, shared.log_scale(torch.tensor(0.2)).exp()).log_prob(x).sum(1)
    torch.testing.assert_close(shared.log_prob(x, same), expected, rtol=1e-6, atol=1e-6)


def test_a_learned_scale_starts_at_scale_and_stops_at_its_floor():
    density = Gaussian(variance="predicted", scale=0.5, minimum_scale=1e-3)
    assert density.log_scale(torch.tensor(0.0)).exp().item() == pytest.approx(0.5 + 1e-3)
    floor = density.log_scale(torch.tensor(-1e4)).exp().item()
    assert floor == pytest.approx(1e-3, rel=1e-5)
    perfect = torch.tensor([[[0.0, -1e4]]])
    assert density.log_prob(torch.zeros(1, 1), perfect).item() == pytest.approx(-math.log(1e-3) - 0.9189, abs=1e-3)


def test_how_many_numbers_the_decoder_puts_out():
    sizes = {
        Bernoulli(): (1, 0),
        Gaussian(): (1, 0),
        Gaussian(variance="shared"): (1, 1),
        Gaussian(variance="predicted"): (2, 0),
        Categorical(levels=7): (7, 0),
        DiscretisedLogisticMixture(components=4): (12, 0),
    }
    for density, expected in sizes.items():
        assert (density.parameters_per_value, density.shared_parameters) == expected


def test_categorical_equals_torch_and_knows_its_levels():
    density = Categorical(levels=4, low=-1.0, high=1.0)
    logits = normal(5, 2, 4, seed=1)
    index = torch.randint(0, 4, (5, 2), generator=rng())
    x = -1.0 + index.double() * 2.0 / 3.0
    torch.testing.assert_close(density.log_prob(x, logits), reference.Categorical(logits=logits).log_prob(index).sum(1))
    levels = torch.tensor([-1.0, -1 / 3, 1 / 3, 1.0]).double()
    torch.testing.assert_close(density.mean(logits), (logits.softmax(-1) * levels).sum(-1))
    drawn = density.sample(logits, rng())
    assert torch.isin((drawn * 3).round(), (levels * 3).round()).all()


@pytest.mark.parametrize("log_scale", [-12.0, -6.0, -2.0, 1.0, 6.0])
def test_discretised_logistic_sums_to_one(log_scale):
    density = DiscretisedLogisticMixture(components=2, levels=256, low=-1.0, high=1.0)
    x = torch.linspace(-1.0, 1.0, 256).double()[:, None]
    parameters = torch.tensor([0.3, -0.2, 0.111, -1.7, log_scale, log_scale + 0.5]).double().expand(256, 1, 6)
    log_prob = density.log_prob(x, parameters)
    assert log_prob.logsumexp(0).item() == pytest.approx(0.0, abs=1e-9)
    single = density.log_prob(x.float(), parameters.float())
    assert single.isfinite().all()
    torch.testing.assert_close(single.double(), log_prob, rtol=1e-3, atol=1e-3)


def test_discretised_logistic_is_the_difference_of_sigmoids():
    density = DiscretisedLogisticMixture(components=1, levels=11, minimum_scale=1e-6)
    x, mean, s = torch.tensor([[0.4]]).double(), 0.37, -2.0
    # softplus is the identity to 1e-5 this far above the floor
    value = density.log_prob(x, torch.tensor([[[0.0, mean, s]]]).double()).exp().item()
    upper, lower = ((0.4 + half - mean) / math.exp(s) for half in (0.05, -0.05))
    assert value == pytest.approx(1 / (1 + math.exp(-upper)) - 1 / (1 + math.exp(-lower)), rel=1e-4)


def test_discretised_logistic_far_from_its_mean_keeps_value_and_gradient():
    # The difference of two sigmoids rounds to 0 here.
    density = DiscretisedLogisticMixture(components=1)
    parameters = torch.tensor([[[0.0, 30.0, -2.0]]], requires_grad=True)
    value = density.log_prob(torch.tensor([[0.50196078431]]), parameters)
    (gradient,) = torch.autograd.grad(value, parameters)
    assert -300.0 < value.item() < -150.0
    assert gradient[0, 0, 1] < -1.0


def test_discretised_logistic_samples_follow_its_probabilities():
    density = DiscretisedLogisticMixture(components=2, levels=6)
    parameters = torch.tensor([0.5, -0.5, 0.2, 0.9, -2.0, -1.0]).double()
    drawn = density.sample(parameters.expand(40000, 6), rng())
    grid = torch.linspace(0.0, 1.0, 6).double()
    share = torch.stack([((drawn - level).abs() < 1e-6).double().mean() for level in grid])
    expected = density.log_prob(grid[:, None], parameters.expand(6, 1, 6)).exp()
    torch.testing.assert_close(share, expected, atol=0.015, rtol=0)
    assert density.mean(parameters.expand(1, 6)).item() == pytest.approx((expected * grid).sum().item())


def test_half_precision_is_computed_in_float32():
    logits = torch.full((1, 4), 3.14159).bfloat16()
    value = Bernoulli().log_prob(torch.zeros(1, 4), logits)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, -4.0 * softplus(logits[0, :1].float()))


@pytest.mark.parametrize("density", [density for density, _ in ROWS], ids=repr)
def test_samples_are_drawn_from_a_generator(density):
    with pytest.raises(TypeError, match=r"rng is None, expected a torch\.Generator"):
        density.sample(parameters_for(density, 4, 3), None)


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-1.0, 1.0)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_levels_that_float32_rounds_are_on_their_grid(low, high, dtype):
    exact = torch.arange(65536, dtype=torch.float64) / 65535 * (high - low) + low
    x = exact.float().to(dtype).unsqueeze(1)
    density = DiscretisedLogisticMixture(levels=65536, components=1, low=low, high=high)
    assert density.log_prob(x, torch.zeros(65536, 1, 3, dtype=dtype)).isfinite().all()
    with pytest.raises(ValueError, match="off the grid"):
        density.log_prob(x[:5] + 0.1 * density.step, torch.zeros(5, 1, 3, dtype=dtype))


def test_errors_say_what_to_do():
    with pytest.raises(ValueError, match=r"rescale the data, for \[-1, 1\] by"):
        Bernoulli().log_prob(torch.full((1, 2), -1.0), torch.zeros(1, 2))
    with pytest.raises(ValueError, match="parameters_per_value"):
        Gaussian(variance="predicted").log_prob(torch.zeros(2, 3), torch.zeros(2, 3))
    with pytest.raises(ValueError, match="parameters_per_value"):
        Gaussian().log_prob(torch.zeros(2, 3), torch.zeros(1, 3))
    with pytest.raises(ValueError, match="last axis of 2"):
        Gaussian(variance="predicted").mean(torch.zeros(2, 3))
    with pytest.raises(TypeError, match="floating"):
        Bernoulli().log_prob(torch.zeros(2, 3).long(), torch.zeros(2, 3))
    with pytest.raises(ValueError, match="off the grid"):
        Categorical(levels=3).log_prob(torch.full((1, 1), 0.3), torch.zeros(1, 1, 3))
    with pytest.raises(ValueError, match="off the grid"):
        Categorical(levels=3).log_prob(torch.full((1, 1), 1.5), torch.zeros(1, 1, 3))
    for wrong in (
        lambda: Gaussian(scale=0.0),
        lambda: Gaussian(variance="learned"),
        lambda: Laplace(variance="shared", minimum_scale=2.0),
        lambda: Gaussian(minimum_scale=-1.0),
        lambda: Categorical(levels=1),
        lambda: Categorical(low=1.0, high=0.0),
        lambda: Categorical(low="a"),
        lambda: Categorical(high=None),
        lambda: DiscretisedLogisticMixture(components=0),
        lambda: DiscretisedLogisticMixture(minimum_scale=0.0),
    ):
        with pytest.raises(ValueError, match="expected"):
            wrong()


@pytest.mark.parametrize("options", [{}, {"components": 1}, {"components": 2, "levels": 5, "low": -1.0, "high": 2.0}])
def test_the_mixtures_mean_is_that_of_its_probabilities(options):
    density = DiscretisedLogisticMixture(**options)
    parameters = torch.randn(3, density.parameters_per_value, generator=rng(), dtype=torch.float64)
    levels = density.levels_of_data()
    shares = torch.stack([density.log_prob(level.expand(3), parameters).exp() for level in levels])
    torch.testing.assert_close(density.mean(parameters), levels @ shares)


@pytest.mark.parametrize("x", [0.0, 1.0])
def test_a_huge_scale_leaves_finite_gradients(x):
    parameters = torch.tensor([[[0.0, 0.5, 100.0]]], requires_grad=True)
    value = DiscretisedLogisticMixture(components=1).log_prob(torch.tensor([[x]]), parameters)
    assert value.item() == pytest.approx(-math.log(2.0))
    assert torch.autograd.grad(value.sum(), parameters)[0].isfinite().all()
