"""Closed forms, limits, gradients and convergence of the transport distances."""

import itertools
import math
import warnings

import pytest
import torch

from genloss.losses import EarthMover, EnergyDistance, Sinkhorn, SlicedWasserstein, Wasserstein1D
from genloss.losses import _pairwise as pairwise
from genloss.losses import _sinkhorn as sinkhorn_module


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=rng(seed), dtype=dtype)


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0])
def test_a_shift_is_as_far_as_it_says(p):
    x = normal(12, 1)
    assert Wasserstein1D(p=p)(x, x + 1.5).item() == pytest.approx(1.5)
    assert EarthMover(p=p)(x, x + 1.5).item() == pytest.approx(1.5)


@pytest.mark.parametrize("p", [1.0, 2.0])
def test_unequal_numbers_equal_repeated_samples(p):
    x, y = normal(4, 1, seed=1), normal(6, 1, seed=2)
    repeated = Wasserstein1D(p=p)(x.repeat(3, 1), y.repeat(2, 1))
    torch.testing.assert_close(Wasserstein1D(p=p)(x, y), repeated)
    torch.testing.assert_close(EarthMover(p=p)(x, y), repeated)


def test_earth_mover_is_the_best_of_all_permutations():
    x, y = normal(5, 2, seed=1), normal(5, 2, seed=2)
    cost = torch.cdist(x, y)
    best = min(sum(cost[i, j] for i, j in enumerate(p)).item() / 5 for p in itertools.permutations(range(5)))
    assert EarthMover()(x, y).item() == pytest.approx(best)


@pytest.mark.parametrize(
    "loss", [Wasserstein1D(), Wasserstein1D(p=2.0), EarthMover(), EarthMover(p=2.0), SlicedWasserstein(projections=4)]
)
def test_gradcheck(loss):
    x, y = normal(5, 1, seed=3).requires_grad_(), normal(3, 1, seed=4).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: loss(a, b, rng=rng()), (x, y))


@pytest.mark.parametrize("loss", [Wasserstein1D(p=2.0), EarthMover(p=2.0), SlicedWasserstein(), EarthMover()])
def test_equal_sets_are_at_distance_zero_with_a_finite_gradient(loss):
    x = normal(6, 1).requires_grad_()
    value = loss(x, x.detach().clone(), rng=rng())
    (gradient,) = torch.autograd.grad(value, x)
    assert value.item() == 0.0
    assert gradient.isfinite().all()


def test_sliced_is_the_root_of_the_mean_over_projections():
    # For a shift by d, the projected distance is |theta . d|, whose mean square is |d|^2 / dim.
    x = normal(10, 3)
    found = SlicedWasserstein(projections=20000)(x, x + torch.tensor([3.0, 0.0, 0.0]).double(), rng=rng()).item()
    assert found == pytest.approx(3.0 / math.sqrt(3.0), rel=0.02)


def test_sliced_draws_from_its_generator_alone():
    x, y = normal(8, 3, seed=1), normal(8, 3, seed=2)
    state = torch.get_rng_state()
    first = SlicedWasserstein(projections=4)(x, y, rng=rng(7))
    assert torch.equal(state, torch.get_rng_state())
    assert first == SlicedWasserstein(projections=4)(x, y, rng=rng(7))
    assert first != SlicedWasserstein(projections=4)(x, y, rng=rng(8))
    with pytest.raises(ValueError, match="got no rng"):
        SlicedWasserstein()(x, y)


@pytest.mark.parametrize("p", [1, 2])
def test_sinkhorn_of_a_set_with_itself_is_zero(p):
    x = normal(20, 3)
    assert Sinkhorn(blur=1.0, p=p, tolerance=1e-9)(x, x.clone()).item() == pytest.approx(0.0, abs=1e-8)
    assert Sinkhorn(blur=0.3, p=p, debias=False)(x, x.clone()).item() > 1e-3


@pytest.mark.parametrize("p", [1, 2])
def test_sinkhorn_tends_to_exact_transport_for_a_small_blur(p):
    x, y = normal(12, 2, seed=1), normal(12, 2, seed=2) + 1.0
    exact = EarthMover(p=float(p))(x, y).item() ** p / p
    found = Sinkhorn(blur=0.02 if p == 2 else 0.002, p=p, iterations=20000, tolerance=1e-4)(x, y).item()
    assert found == pytest.approx(exact, rel=5e-3)


def test_sinkhorn_tends_to_kernel_distances_for_a_large_blur():
    x, y = normal(12, 2, seed=1), normal(9, 2, seed=2) + 1.0
    means = 0.5 * (x.mean(0) - y.mean(0)).square().sum().item()
    assert Sinkhorn(blur=1000.0, p=2)(x, y).item() == pytest.approx(means, rel=1e-3)
    energy = 0.5 * EnergyDistance(estimator="biased")(x, y).item()
    assert Sinkhorn(blur=10000.0, p=1)(x, y).item() == pytest.approx(energy, rel=1e-3)


@pytest.mark.parametrize("debias", [True, False])
@pytest.mark.parametrize("p", [1, 2])
def test_sinkhorn_gradient_is_that_of_its_value(p, debias):
    x, y = normal(5, 2, seed=1).requires_grad_(), normal(4, 2, seed=2).requires_grad_()
    loss = Sinkhorn(blur=0.5, p=p, debias=debias, tolerance=1e-11, iterations=20000)
    assert torch.autograd.gradcheck(lambda a, b: loss(a, b), (x, y), eps=1e-5, atol=1e-5)


def test_sinkhorn_in_tiles_equals_sinkhorn_at_once(monkeypatch):
    x, y = normal(15, 2, seed=1).requires_grad_(), normal(11, 2, seed=2).requires_grad_()
    loss = Sinkhorn(blur=0.2)
    whole = loss(x, y)
    expected = torch.autograd.grad(whole, (x, y))
    monkeypatch.setattr(sinkhorn_module, "_KEPT", 0)
    monkeypatch.setattr(pairwise, "_TILE_CPU", 40)  # several tiles
    monkeypatch.setattr(pairwise, "_LEAST_ROWS", 1)
    tiled = loss(x, y)
    torch.testing.assert_close(tiled, whole)
    torch.testing.assert_close(torch.autograd.grad(tiled, (x, y)), expected)


def plain_sinkhorn(x, y, epsilon, p):
    """Both potentials' means by the plain iteration in the log domain, all costs at once."""
    cost = torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist").pow(p) / p
    f, g, now = x.new_zeros(len(x)), y.new_zeros(len(y)), cost.max().item()
    while True:
        now = max(0.5 * now, epsilon)
        for _ in range(3000 if now == epsilon else 3):
            f = now * (math.log(len(y)) - ((g - cost) / now).logsumexp(1))
            g = now * (math.log(len(x)) - ((f[:, None] - cost) / now).logsumexp(0))
        if now == epsilon:
            return (f.mean() + g.mean()).item()


@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_sinkhorn_equals_the_plain_iteration_where_potentials_move_far(p, dtype):
    # Mass has to change clusters: potentials travel many epsilons, and the kept kernel is built anew on the way.
    x = torch.cat((normal(10, 2, seed=1), normal(10, 2, seed=2) + 10.0))
    y = torch.cat((normal(5, 2, seed=3) - 6.0, normal(9, 2, seed=4) + 12.0))
    found = Sinkhorn(blur=0.3, p=p, debias=False, tolerance=1e-5, iterations=20000).solve(x.to(dtype), y.to(dtype))
    assert found.converged
    assert found.value.item() == pytest.approx(plain_sinkhorn(x, y, 0.3**p, p), rel=1e-5)


def test_sinkhorn_says_when_it_did_not_converge():
    x, y = normal(30, 2, seed=1), normal(30, 2, seed=2) * 3.0
    hasty = Sinkhorn(blur=0.01, iterations=2)
    solution = hasty.solve(x, y)
    assert not solution.converged
    assert solution.marginal_error > hasty.tolerance
    assert solution.iterations == 2
    with pytest.warns(RuntimeWarning, match="marginal error"):
        hasty(x, y)
    patient = Sinkhorn(blur=0.3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        patient(x, y)
    assert patient.solve(x, y).converged


def test_sinkhorn_survives_a_tiny_blur_in_float32():
    x, y = normal(16, 2, seed=1, dtype=torch.float32), normal(16, 2, seed=2, dtype=torch.float32) + 100.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        value = Sinkhorn(blur=1e-3, iterations=50)(x.requires_grad_(), y)
    (gradient,) = torch.autograd.grad(value, x)
    assert value.isfinite()
    assert gradient.isfinite().all()


def test_errors_say_what_to_do():
    with pytest.raises(ValueError, match="use SlicedWasserstein"):
        Wasserstein1D()(torch.zeros(3, 2), torch.zeros(3, 2))
    with pytest.raises(ValueError, match="use Sinkhorn"):
        EarthMover()(torch.zeros(2000, 1), torch.zeros(2000, 1))
    with pytest.raises(ValueError, match="at least 1"):
        Wasserstein1D(p=0.5)
    with pytest.raises(ValueError, match="expected 1 or 2"):
        Sinkhorn(p=3)
    with pytest.raises(ValueError, match="blur"):
        Sinkhorn(blur=0.0)
    with pytest.raises(ValueError, match="projections"):
        SlicedWasserstein(projections=0)


@pytest.mark.parametrize("scale", [1.0, 1e-3])
@pytest.mark.parametrize("blur", [20.0, 200.0, 2000.0])
@pytest.mark.parametrize("p", [1, 2])
def test_sinkhorn_keeps_its_digits_where_the_blur_is_large(scale, blur, p):
    rng = torch.Generator().manual_seed(0)
    x, y = torch.rand(50, 2, generator=rng).requires_grad_(), torch.rand(60, 2, generator=rng) + 0.1
    loss = Sinkhorn(blur=blur * scale, p=p)
    value, exact = loss(scale * x, scale * y), loss(scale * x.double(), scale * y.double())
    assert value.dtype == torch.float32
    torch.testing.assert_close(value.double(), exact, rtol=1e-5, atol=0.0)
    assert value > 0.0
    assert torch.autograd.grad(value, x)[0].isfinite().all()


def test_exact_transport_is_exact_in_float64():
    rng = torch.Generator().manual_seed(0)
    x, y = (torch.randn(5, 1, generator=rng, dtype=torch.float64) for _ in range(2))
    torch.testing.assert_close(EarthMover()(x, y), Wasserstein1D()(x, y), rtol=1e-14, atol=0.0)


def test_sets_of_different_sizes_are_limited_to_what_takes_seconds():
    with pytest.raises(ValueError, match="got 512 x 513 pairs, expected at most 262144"):
        EarthMover()(torch.zeros(512, 1), torch.zeros(513, 1))
