"""Closed forms, estimators, gradients and invariances of the kernel distances."""

import math

import pytest
import torch

from genloss.losses import MMD, DenoisingScoreMatching, EnergyDistance, Sinkhorn, median_bandwidth
from genloss.losses import _pairwise as pairwise
from genloss.losses._kernels import KERNELS

ALPHAS = (0.2, 0.5, 1.0, 2.0, 5.0)
BANDWIDTHS = (0.7, 2.0)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=rng(seed), dtype=dtype)


def dense_kernel(name, x, y):
    """The kernel as its definition says, all pairs at once, by plain autograd."""
    squared = (x[:, None] - y[None]).square().sum(-1)
    inner = x @ y.mT
    total = 0.0
    for s in BANDWIDTHS:
        total = (
            total
            + {
                "gaussian": lambda s=s: torch.exp(-squared / (2 * s**2)),
                "rational_quadratic": lambda s=s: sum((1 + squared / (2 * a * s**2)) ** -a for a in ALPHAS),
                "laplace": lambda s=s: torch.exp(-torch.linalg.vector_norm(x[:, None] - y[None], dim=-1) / s),
                "inverse_multiquadric": lambda s=s: s**2 / (s**2 + squared),
                "linear": lambda s=s: inner / s**2,
                "polynomial": lambda s=s: (1 + inner / (s**2 * x.shape[1])) ** 3,
            }[name]()
        )
    return total


def dense_mmd(name, x, y, estimator):
    n, m = len(x), len(y)
    xx, yy, xy = dense_kernel(name, x, x), dense_kernel(name, y, y), dense_kernel(name, x, y)
    if estimator == "biased":
        return xx.mean() + yy.mean() - 2 * xy.mean()
    if estimator == "linear_time":
        i = torch.arange(0, n, 2)
        return (xx[i, i + 1] + yy[i, i + 1] - xy[i, i + 1] - xy[i + 1, i]).mean()
    return (xx.sum() - xx.trace()) / (n * (n - 1)) + (yy.sum() - yy.trace()) / (m * (m - 1)) - 2 * xy.mean()


@pytest.mark.parametrize("estimator", ["unbiased", "biased", "linear_time"])
@pytest.mark.parametrize("kernel", KERNELS)
def test_value_and_gradient_equal_the_dense_definition(kernel, estimator, monkeypatch):
    monkeypatch.setattr(pairwise, "_TILE_CPU", 25)  # several tiles
    monkeypatch.setattr(pairwise, "_LEAST_ROWS", 1)
    x, y = normal(8, 3, seed=1).requires_grad_(), normal(8, 3, seed=2).add(0.5).requires_grad_()
    loss = MMD(kernel=kernel, bandwidths=BANDWIDTHS, estimator=estimator)
    ours, dense = loss(x, y), dense_mmd(kernel, x, y, estimator)
    torch.testing.assert_close(ours, dense, rtol=1e-10, atol=1e-12)
    expected = torch.autograd.grad(dense, (x, y))
    found = torch.autograd.grad(ours, (x, y))
    # the dense Laplace kernel has no derivative at a sample's distance to itself, where torch puts 0
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("loss", [MMD(kernel=k, bandwidths=BANDWIDTHS) for k in KERNELS] + [EnergyDistance()], ids=repr)
def test_gradcheck_with_unequal_numbers(loss):
    x, y = normal(5, 2, seed=3).requires_grad_(), normal(3, 2, seed=4).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: loss(a, b), (x, y))


def test_rooted_gradcheck_and_value():
    x, y = normal(5, 2, seed=3).requires_grad_(), normal(4, 2, seed=4).requires_grad_()
    rooted = MMD(estimator="biased", root=True)
    assert torch.autograd.gradcheck(lambda a, b: rooted(a, b), (x, y))
    torch.testing.assert_close(rooted(x, y) ** 2, MMD(estimator="biased")(x, y) + 1e-8)


def test_root_of_equal_sets_has_a_finite_gradient():
    x = normal(6, 2).requires_grad_()
    (gradient,) = torch.autograd.grad(MMD(estimator="biased", root=True)(x, x.detach().clone()), x)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("estimator", ["unbiased", "biased"])
def test_gaussian_mmd_of_two_normals_has_its_closed_form(estimator):
    shift, sigma, n, dim = 1.5, 1.2, 3000, 1
    x, y = normal(n, dim, seed=5), normal(n, dim, seed=6) + shift
    # E k(x, y) of N(0, 1) and N(d, 1): sqrt(s^2 / (s^2 + 2)) exp(-d^2 / (2 (s^2 + 2))).
    wide = sigma**2 + 2.0
    exact = 2.0 * math.sqrt(sigma**2 / wide) * (1.0 - math.exp(-(shift**2) / (2.0 * wide)))
    found = MMD(bandwidths=(sigma,), estimator=estimator)(x, y).item()
    assert found == pytest.approx(exact, rel=0.06)


def test_energy_distance_of_two_points_and_of_normals():
    one, other = torch.zeros(2, 3), torch.full((2, 3), 2.0)
    assert EnergyDistance()(one, other).item() == pytest.approx(2.0 * math.sqrt(12.0), rel=1e-6)
    # E|x - y| of N(0, 1) and N(d, 1) is the folded normal's mean with variance 2.
    d, n = 1.0, 4000
    x, y = normal(n, 1, seed=7), normal(n, 1, seed=8) + d
    folded = 2.0 / math.sqrt(math.pi) * math.exp(-(d**2) / 4.0) + d * math.erf(d / 2.0)
    exact = 2.0 * folded - 2.0 * 2.0 / math.sqrt(math.pi)
    assert EnergyDistance()(x, y).item() == pytest.approx(exact, abs=0.03)


@pytest.mark.parametrize("loss", [MMD(), MMD(estimator="linear_time"), EnergyDistance()], ids=repr)
def test_unbiased_estimates_have_mean_zero_for_equal_distributions(loss):
    values = torch.stack([loss(normal(8, 2, seed=s), normal(8, 2, seed=1000 + s)) for s in range(400)])
    error = values.std().item() / math.sqrt(len(values))
    assert abs(values.mean().item()) < 4.0 * error
    assert (values < 0).any()


def test_the_biased_estimate_is_positive_and_zero_on_equal_sets():
    for loss in (MMD(estimator="biased"), EnergyDistance(estimator="biased")):
        x = normal(9, 2)
        assert loss(x, x).item() == pytest.approx(0.0, abs=1e-12)
        assert all(loss(normal(4, 2, seed=s), normal(5, 2, seed=50 + s)).item() > 0.0 for s in range(20))


@pytest.mark.parametrize("kernel", KERNELS)
def test_rounding_never_makes_the_biased_estimate_negative(kernel):
    # The same points in another order: 0 but for rounding, of which the plain sum of three means is negative as often.
    loss = MMD(kernel=kernel, bandwidths=(0.5, 2.0), estimator="biased")
    for seed in range(20):
        x = normal(200, 5, seed=seed, dtype=torch.float32)
        value = loss(x.requires_grad_(), x.detach().roll(7, 0))
        assert 0.0 <= value.item() < 1e-3
        assert value.requires_grad


@pytest.mark.parametrize("loss", [MMD(bandwidths=(1.0, 4.0)), MMD(kernel="laplace"), EnergyDistance()], ids=repr)
def test_far_from_the_origin_nothing_cancels(loss):
    # The bare Gram expansion, |x|^2 + |y|^2 - 2 x y, loses all digits in float32 at an offset of 1000.
    x, y = normal(64, 4, seed=1, dtype=torch.float32), normal(64, 4, seed=2, dtype=torch.float32) + 1.0
    near = loss(x.double(), y.double())
    torch.testing.assert_close(loss(x + 1000.0, y + 1000.0).double(), near, rtol=2e-3, atol=2e-3)
    torch.testing.assert_close(loss(x, y).double(), near, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("loss", [MMD(kernel="laplace", estimator="biased"), EnergyDistance()], ids=repr)
def test_equal_points_push_nowhere(loss):
    x = torch.zeros(3, 2, requires_grad=True)
    (gradient,) = torch.autograd.grad(loss(x, torch.zeros(3, 2)), x)
    assert (gradient == 0).all()


def test_symmetric_and_blind_to_order_and_motion():
    x, y = normal(7, 3, seed=1), normal(6, 3, seed=2) + 1.0
    turn = torch.linalg.qr(normal(3, 3, seed=3)).Q
    for loss in (MMD(), EnergyDistance(), MMD(kernel="rational_quadratic"), MMD(kernel="laplace")):
        value = loss(x, y)
        torch.testing.assert_close(loss(y, x), value)
        torch.testing.assert_close(loss(x.flip(0), y.roll(2, 0)), value)
        torch.testing.assert_close(loss(x @ turn + 5.0, y @ turn + 5.0), value)


def test_scaling_the_data_scales_bandwidth_and_energy():
    x, y = normal(7, 3, seed=1), normal(6, 3, seed=2) + 1.0
    torch.testing.assert_close(MMD(bandwidths=(3.0,))(3 * x, 3 * y), MMD()(x, y))
    torch.testing.assert_close(EnergyDistance()(3 * x, 3 * y), 3 * EnergyDistance()(x, y))


def test_the_numbers_of_gmmn_are_reached_by_converting():
    x, y = normal(10, 4, seed=1), normal(10, 4, seed=2)
    sigmas = (2.0, 5.0, 10.0)
    squared = lambda a, b: torch.cdist(a, b).square()  # noqa: E731
    theirs = lambda a, b: sum(torch.exp(-squared(a, b) / (2 * s)) for s in sigmas).mean()  # noqa: E731
    ours = MMD(bandwidths=tuple(math.sqrt(s) for s in sigmas), estimator="biased")(x, y)
    torch.testing.assert_close(ours, theirs(x, x) + theirs(y, y) - 2 * theirs(x, y))


def test_memory_is_linear_in_the_number_of_samples():
    n = 3000
    x, y = normal(n, 2, seed=1, dtype=torch.float32).requires_grad_(), normal(n, 2, seed=2, dtype=torch.float32)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        MMD()(x, y).backward()
    largest = max(event.cpu_memory_usage for event in profile.events())
    assert largest < n * n * 4 / 20  # a matrix of all pairs takes n * n * 4 bytes


def test_images_are_flattened_and_half_precision_is_computed_in_float32():
    x, y = normal(6, 1, 4, 4, dtype=torch.float32), normal(6, 1, 4, 4, seed=1, dtype=torch.float32)
    torch.testing.assert_close(MMD()(x, y), MMD()(x.flatten(1), y.flatten(1)))
    assert MMD()(x.bfloat16(), y.bfloat16()).dtype == torch.float32
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(MMD()(x, y), MMD()(x, y))
        mixed = MMD(bandwidths=(4.0,))(x, y)
    assert mixed.dtype == torch.float32
    assert mixed.item() == MMD(bandwidths=(4.0,))(x, y).item()


def test_errors_say_what_to_do():
    x = torch.zeros(4, 2)
    with pytest.raises(ValueError, match="compares like with like"):
        MMD()(x, torch.zeros(4, 3))
    with pytest.raises(ValueError, match="at least 2 of each"):
        MMD()(x[:1], x)
    with pytest.raises(ValueError, match="even number"):
        MMD(estimator="linear_time")(x[:3], x[:3])
    with pytest.raises(TypeError, match="floating"):
        MMD()(x.long(), x)
    with pytest.raises(TypeError, match="dtypes or devices"):
        MMD()(x.double(), x)
    with pytest.raises(ValueError, match="at least one sample"):
        MMD()(x[:0], x)
    with pytest.raises(ValueError, match="needs estimator='biased'"):
        MMD(root=True)
    with pytest.raises(ValueError, match="expected one of gaussian"):
        MMD(kernel="rbf")
    with pytest.raises(ValueError, match="bandwidths"):
        MMD(bandwidths=(0.0,))
    with pytest.raises(ValueError, match="bandwidths"):
        MMD(bandwidths=())
    with pytest.raises(ValueError, match="estimator"):
        EnergyDistance(estimator="linear_time")


def test_a_second_derivative_is_refused_and_not_wrong():
    x = normal(4, 2).requires_grad_()
    for loss in (MMD(), MMD(estimator="linear_time"), EnergyDistance(), Sinkhorn(blur=1.0)):
        with pytest.raises(RuntimeError, match="create_graph=False"):
            torch.autograd.grad(loss(x, normal(4, 2, seed=1)), x, create_graph=True)


def test_median_bandwidth():
    assert median_bandwidth(torch.tensor([[0.0], [3.0], [4.0]])) == 3.0
    many = normal(2500, 3, seed=1)
    assert median_bandwidth(many) == pytest.approx(math.sqrt(2.0 * 2.37), rel=0.05)  # median of chi-squared of 3
    assert median_bandwidth(many, rng()) == median_bandwidth(many, rng())
    assert median_bandwidth(many, rng()) == pytest.approx(median_bandwidth(many), rel=0.05)
    with pytest.raises(ValueError, match="their median distance is 0"):
        median_bandwidth(torch.zeros(3, 2))
    with pytest.raises(ValueError, match="at least 2"):
        median_bandwidth(torch.zeros(1, 2))


@pytest.mark.parametrize("estimator", ["unbiased", "biased", "linear_time"])
@pytest.mark.parametrize("kernel", ["gaussian", "laplace", "rational_quadratic", "inverse_multiquadric", "linear"])
def test_far_from_the_origin_float32_keeps_its_digits(kernel, estimator):
    x, y = normal(40, 2).float() + 1e4, normal(40, 2, seed=1).float() + 1e4 + 1.0
    loss = MMD(kernel=kernel, estimator=estimator)
    assert loss(x, y).item() == pytest.approx(loss(x.double(), y.double()).item(), rel=1e-5)


def test_the_polynomial_kernel_sums_in_float64():
    x, y = normal(40, 2).float() + 1e4, normal(40, 2, seed=1).float() + 1e4 + 1.0
    loss = MMD(kernel="polynomial")
    assert loss(x, y).item() == pytest.approx(loss(x.double(), y.double()).item(), rel=1e-5)
    assert loss(x, y).dtype == torch.float32


def test_flags_are_flags():
    for make in (lambda: MMD(estimator="biased", root="no"), lambda: Sinkhorn(debias="yes")):
        with pytest.raises(ValueError, match="expected True or False"):
            make()


@pytest.mark.parametrize("bandwidth", [1e200, 1e-200, 1e-30])
def test_bandwidths_that_float32_cannot_square_are_refused(bandwidth):
    with pytest.raises(ValueError, match=r"bandwidths is \(.*\), expected each from 1e-15 to 1e\+15"):
        MMD(bandwidths=(bandwidth,))


@pytest.mark.parametrize(("cls", "field"), [(MMD, "bandwidths"), (DenoisingScoreMatching, "sigmas")])
def test_a_list_is_kept_as_a_tuple(cls, field):
    listed, tuple_given = cls(**{field: [1.0, 2.0]}), cls(**{field: (1.0, 2.0)})
    assert listed == tuple_given
    assert hash(listed) == hash(tuple_given)
