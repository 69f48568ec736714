"""Distances against POT and geomloss."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from genloss.losses import MMD, EarthMover, EnergyDistance, Sinkhorn, SlicedWasserstein, Wasserstein1D

ot = pytest.importorskip("ot")
geomloss = pytest.importorskip("geomloss")


def sets(n=20, m=14, dim=3):
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(n, dim, generator=rng, dtype=torch.float64)
    return x, 1.5 * torch.randn(m, dim, generator=rng, dtype=torch.float64) + 0.5


@pytest.mark.parametrize(("n", "m"), [(12, 12), (12, 9)])
@pytest.mark.parametrize("p", [1, 2])
def test_earth_mover_equals_pot(n, m, p):
    x, y = sets(n, m)
    cost = torch.cdist(x, y).numpy() ** p
    assert EarthMover(p=float(p))(x, y).item() ** p == pytest.approx(ot.emd2(ot.unif(n), ot.unif(m), cost))


@pytest.mark.parametrize("p", [1, 2])
def test_one_dimension_equals_pot(p):
    x, y = sets(dim=1)
    expected = ot.wasserstein_1d(x.numpy(), y.numpy(), p=p)
    assert Wasserstein1D(p=float(p))(x, y).item() ** p == pytest.approx(float(np.squeeze(expected)))


def test_sliced_equals_pot_in_the_limit_of_projections():
    x, y = sets()
    expected = ot.sliced_wasserstein_distance(x.numpy(), y.numpy(), n_projections=20000, p=2, seed=1)
    found = SlicedWasserstein(p=2.0, projections=20000)(x, y, rng=torch.Generator().manual_seed(0))
    assert found.item() == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("debias", [True, False])
@pytest.mark.parametrize("p", [1, 2])
def test_sinkhorn_and_its_gradient_equal_geomloss(p, debias):
    x, y = sets()
    x.requires_grad_()
    ours = Sinkhorn(blur=0.5, p=p, debias=debias, tolerance=1e-9, iterations=5000)(x, y)
    theirs = geomloss.SamplesLoss("sinkhorn", p=p, blur=0.5, scaling=0.999, debias=debias, backend="tensorized")(x, y)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-3)
    (found,), (expected,) = torch.autograd.grad(ours, x), torch.autograd.grad(theirs, x)
    # geomloss changes epsilon until its last step, so its potentials lag behind by about 1 - scaling.
    torch.testing.assert_close(found, expected, rtol=2e-3, atol=2e-3)


def test_sinkhorn_equals_pot():
    x, y = sets()
    epsilon = 0.5**2
    cost = 0.5 * torch.cdist(x, y).numpy() ** 2
    plan = ot.sinkhorn(ot.unif(20), ot.unif(14), cost, epsilon, method="sinkhorn_log", numItermax=5000, stopThr=1e-12)
    kl = (plan * np.log(plan * 20 * 14)).sum()
    x.requires_grad_()
    found = Sinkhorn(blur=0.5, debias=False, tolerance=1e-9, iterations=5000)(x, y)
    assert found.item() == pytest.approx((plan * cost).sum() + epsilon * kl)
    (gradient,) = torch.autograd.grad(found, x)
    torch.testing.assert_close(gradient, x.detach() / 20 - torch.from_numpy(plan) @ y)


@pytest.mark.parametrize(
    ("loss", "name", "factor"),
    [
        (MMD(bandwidths=(0.7,), estimator="biased"), "gaussian", 2.0),
        (MMD(kernel="laplace", bandwidths=(0.7,), estimator="biased"), "laplacian", 2.0),
        (EnergyDistance(estimator="biased"), "energy", 2.0),
    ],
)
def test_kernel_distances_equal_geomloss(loss, name, factor):
    # geomloss computes half of the squared discrepancy.
    x, y = sets()
    theirs = geomloss.SamplesLoss(name, blur=0.7, backend="tensorized")(x, y)
    assert loss(x, y).item() == pytest.approx(factor * theirs.item(), rel=1e-4)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31 - 1), st.integers(1, 9), st.integers(1, 9), st.integers(1, 3), st.sampled_from((1.0, 2.0)))
def test_exact_distances_equal_pot_for_any_sizes(seed, n, m, dim, p):
    rng = torch.Generator().manual_seed(seed)
    x, y = (torch.randn(size, dim, generator=rng, dtype=torch.float64) for size in (n, m))
    expected = ot.emd2(ot.unif(n), ot.unif(m), torch.cdist(x, y).numpy() ** p) ** (1.0 / p)
    assert EarthMover(p=p)(x, y).item() == pytest.approx(expected)
    if dim == 1:
        assert Wasserstein1D(p=p)(x, y).item() == pytest.approx(expected)
    sliced = SlicedWasserstein(p=p, projections=64)(x, y, rng=rng).item()
    assert sliced <= expected * (1.0 + 1e-9)  # a projection shortens every way
