"""The toys: mass 1, samples that follow the density, known entropies, and sums done another way."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.integrate
import scipy.stats
import sklearn.datasets
import torch
from torch import Tensor
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from genloss.data import Checkerboard, GaussianMixture, Grid, Pinwheel, Ring, SwissRoll, ToyDensity, TwoMoons, make_toy
from genloss.data.curves import NoisyCurve
from genloss.data.toys import TOY_SIZES, TOYS, toy_dataset
from genloss.errors import InputError

# Wide enough that a lattice of step 0.1 resolves them to more digits than the tests ask for.
WIDE = [
    Ring(radius=4 / math.sqrt(2), sigma=0.5 / math.sqrt(2)),
    Ring(count=3, sigma=0.3),
    Grid(side=3, spacing=1.5, sigma=0.25),
    GaussianMixture(means=[[-2, 0], [1, 1]], scales=[0.3, 0.8], weights=[1, 3]),
    TwoMoons(),
    SwissRoll(),
    Pinwheel(),
    Checkerboard(),
]
CURVES = [TwoMoons(), SwissRoll(), Pinwheel(), TwoMoons(sigma=0.05), SwissRoll(sigma=0.05), Pinwheel(sigma=0.05)]
STEP = 0.1


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def lattice() -> Tensor:
    """Midpoints of cells of side 0.1 that cover [-5, 5)^2, `(100, 100, 2)`."""
    ticks = torch.arange(-5, 5, STEP, dtype=torch.float64) + STEP / 2
    return torch.stack(torch.meshgrid(ticks, ticks, indexing="ij"), -1)


def mass(density: ToyDensity) -> Tensor:
    """Probability of each cell of the lattice, by the midpoint rule."""
    return density.log_prob(lattice().reshape(-1, 2)).exp().reshape(100, 100) * STEP**2


@pytest.mark.parametrize("density", WIDE, ids=repr)
def test_mass_is_one_and_samples_follow_the_density(density: ToyDensity) -> None:
    cells = mass(density)
    assert cells.sum().item() == pytest.approx(1, abs=1e-6)
    # Cells of side 1, so that few have little mass: Pearson's test over them.
    expected = cells.reshape(10, 10, 10, 10).sum((1, 3)).flatten().numpy()
    points = density.draw(20_000, rng())[0].numpy()
    found = np.histogram2d(points[:, 0], points[:, 1], bins=10, range=[[-5, 5]] * 2)[0].ravel()
    likely = expected > 5e-4
    observed = np.append(found[likely], 20_000 - found[likely].sum())
    wanted = np.append(expected[likely], max(1 - expected[likely].sum(), 1e-9)) * 20_000
    enough = wanted > 1
    assert (observed[~enough] <= 5).all()
    statistic = ((observed - wanted) ** 2 / wanted)[enough].sum()
    assert scipy.stats.chi2.sf(statistic, enough.sum() - 1) > 1e-3


@pytest.mark.parametrize(
    ("density", "entropy"),
    [
        (Ring(radius=4 / 1.414, sigma=0.5 / 1.414), 2.8319),
        (TwoMoons(), 2.3938),
        (Checkerboard(), math.log(32)),
    ],
    ids=["eight Gaussians", "two moons", "checkerboard"],
)
def test_entropy_is_the_published_one(density: ToyDensity, entropy: float) -> None:
    cells = mass(density)
    assert -torch.special.xlogy(cells, cells / STEP**2).sum().item() == pytest.approx(entropy, abs=1e-4)


def test_curves_are_those_of_scikit_learn() -> None:
    """Their generator's points have our entropy as their mean of -log p: the cross-entropy is least at equality."""
    moons = sklearn.datasets.make_moons(4000, noise=0.1, random_state=0)[0] * 2 - [1, 0.2]
    roll = sklearn.datasets.make_swiss_roll(4000, noise=1.0, random_state=0)[0][:, [0, 2]] / 5
    for density, points in ((TwoMoons(), moons), (SwissRoll(), roll)):
        cells = mass(density)
        entropy = -torch.special.xlogy(cells, cells / STEP**2).sum().item()
        surprise = -density.log_prob(torch.from_numpy(points))
        assert surprise.mean().item() == pytest.approx(entropy, abs=4 * surprise.std().item() / math.sqrt(4000))


@pytest.mark.parametrize("density", CURVES, ids=repr)
def test_curve_density_equals_adaptive_quadrature(density: NoisyCurve) -> None:
    low, high = density.interval
    points = torch.cat((density.draw(2, rng(1))[0], torch.tensor([[0.0, 0.0], [4.0, -4.0]], dtype=torch.float64)))
    for point, found in zip(points, density.log_prob(points).tolist(), strict=True):

        def exponent(t: float | Tensor, branch: int, point: Tensor = point) -> Tensor:
            places = torch.atleast_1d(torch.as_tensor(t, dtype=torch.float64))
            away = (point - density.curve(places, torch.full(places.shape, branch))) / density.sigma
            return density.log_density_of_place(places) - 0.5 * away.square().sum(1)

        ticks = torch.linspace(low, high, 101, dtype=torch.float64)
        heights = torch.stack([exponent(ticks, branch) for branch in range(density.branches)])
        top = heights.max().item()
        total = 0.0
        for branch, left in (torch.maximum(heights[:, 1:], heights[:, :-1]) > top - 50).nonzero().tolist():
            part = scipy.integrate.quad(
                lambda t, branch=branch, top=top: math.exp(exponent(t, branch) - top),
                ticks[left].item(),
                ticks[left + 1].item(),
                epsabs=1e-12,
                epsrel=1e-11,
            )
            total += part[0]
        expected = top + math.log(total / density.branches) - math.log(2 * math.pi * density.sigma**2)
        assert found == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("density", [Ring(), Grid(), GaussianMixture(means=[[0], [5]], scales=0.1, weights=[1, 9])])
def test_mixture_equals_torch(density: Ring | Grid | GaussianMixture) -> None:
    means, sigma, weights = density.components()
    parts = Independent(Normal(means, sigma[:, None].expand_as(means)), 1)
    oracle = MixtureSameFamily(Categorical(weights), parts)
    points = torch.cat((density.draw(50, rng())[0], torch.full((1, means.shape[1]), 30.0, dtype=torch.float64)))
    torch.testing.assert_close(density.log_prob(points), oracle.log_prob(points), rtol=1e-12, atol=1e-10)


def test_ring_has_eight_distinct_modes() -> None:
    modes = Ring().modes
    assert modes is not None
    distances = torch.pdist(modes.means.double())
    assert len(modes.means) == 8
    assert distances.min().item() == pytest.approx(2 * math.sin(math.pi / 8), abs=1e-6)
    torch.testing.assert_close(modes.means.norm(dim=1), torch.ones(8))
    assert modes.sigma == 0.01


def test_grid_has_the_25_published_modes() -> None:
    modes = Grid().modes
    assert modes is not None
    assert {tuple(mean) for mean in modes.means.tolist()} == {(x, y) for x in range(-4, 5, 2) for y in range(-4, 5, 2)}
    assert modes.sigma == 0.05


def test_modes_are_none_where_they_cannot_be_counted() -> None:
    for name in ("two_moons", "swiss_roll", "pinwheel", "checkerboard"):
        assert make_toy(name).modes is None
    assert GaussianMixture(means=[[0], [1]], scales=[1, 2]).modes is None
    assert GaussianMixture(means=[[0], [1]], weights=[1, 2]).modes is None
    assert GaussianMixture(means=[[0], [1]], scales=2).modes is not None


def test_a_mixture_takes_arrays() -> None:
    lists = GaussianMixture(means=[[0, 0], [3, 1]], scales=[1, 2], weights=[1, 3])
    for kind in (np.array, torch.tensor):
        arrays = GaussianMixture(means=kind([[0, 0], [3, 1]]), scales=kind([1, 2]), weights=kind([1, 3]))
        assert arrays == lists
        assert str(arrays) == str(lists)
        for found, expected in zip(arrays.components(), lists.components(), strict=True):
            assert torch.equal(found, expected)


def test_samples_carry_the_mode_they_came_from() -> None:
    density = Ring()
    points, labels = density.draw(4000, rng())
    means = density.components()[0]
    assert torch.equal(torch.cdist(points, means).argmin(1), labels)
    assert torch.bincount(labels, minlength=8).min() > 400
    spread = ((points - means[labels]) / 0.01).std().item()
    assert spread == pytest.approx(1, abs=0.05)


def test_checkerboard_labels_are_its_squares() -> None:
    points, labels = Checkerboard().draw(4000, rng())
    squares = {(int(label), *(point // 2).int().tolist()) for point, label in zip(points, labels, strict=True)}
    assert len(squares) == 8
    assert len({square[1:] for square in squares}) == 8
    assert Checkerboard().log_prob(points).exp().unique().tolist() == [pytest.approx(1 / 32)]
    edges = (points % 2 == 0) | (points.float() != points)
    assert not edges.any()


def test_log_prob_has_the_right_gradient() -> None:
    points = torch.randn(5, 2, generator=rng(), dtype=torch.float64, requires_grad=True)
    for density in (Ring(sigma=0.3), Pinwheel()):
        assert torch.autograd.gradcheck(density.log_prob, (points,))


def test_far_and_no_points() -> None:
    far = torch.tensor([[1e3, -1e3]])
    for density in (Ring(), Grid(), TwoMoons(), SwissRoll(), Pinwheel()):
        assert density.log_prob(far).isfinite().all()
        assert density.log_prob(torch.zeros(0, 2)).shape == (0,)
        assert density.log_prob(far).dtype == torch.float64
    assert Checkerboard().log_prob(far).item() == -math.inf


@pytest.mark.parametrize("name", sorted(set(TOYS) - {"gaussian_mixture"}))
def test_toy_dataset(name: str) -> None:
    density = make_toy(name)
    data = toy_dataset(name, density, seed=3)
    assert {part: len(split) for part, split in data.splits.items()} == TOY_SIZES
    batch = data.all("test")
    assert batch.x.shape == (10_000, 2)
    assert batch.x.dtype == torch.float32
    assert density.log_prob(batch.x[:500]).isfinite().all()
    again = toy_dataset(name, density, seed=3, limit=50)
    assert torch.equal(again.all("train").x, data.all("train", limit=50).x)
    assert torch.equal(again.all("test").x, batch.x)
    assert not torch.equal(toy_dataset(name, density, seed=4).all("test").x, batch.x)
    assert (batch.labels is None) == (name == "swiss_roll") == (data.class_names == ())


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("rings", {}, "Did you mean 'ring'"),
        ("ring", {"modes": 4}, "no option 'modes'"),
        ("checkerboard", {"sigma": 1}, "It has no options"),
        ("ring", {"count": 1}, "2 or more"),
        ("ring", {"count": 2.5}, "whole number"),
        ("ring", {"sigma": 0}, "positive"),
        ("grid", {"spacing": "wide"}, "positive"),
        ("grid", {"sigma": math.nan}, "positive"),
        ("two_moons", {"sigma": 0.01}, "0.05 or more"),
        ("gaussian_mixture", {}, r"needs its means: data\.options=\{means: \[\[0, 0\], \[3, 0\]\]\}"),
        ("gaussian_mixture", {"means": []}, "one point per component"),
        ("gaussian_mixture", {"means": [1, 2]}, "one point per component"),
        ("gaussian_mixture", {"means": [[1], [2, 3]]}, "equal length"),
        ("gaussian_mixture", {"means": [[1], [2]], "scales": [1, 2, 3]}, "2 positive numbers"),
        ("gaussian_mixture", {"means": [[1], [2]], "scales": -1}, "positive"),
        ("gaussian_mixture", {"means": [[1], [2]], "weights": 0.5}, "2 positive numbers"),
        ("gaussian_mixture", {"means": [[1], [2]], "weights": [1, 0]}, "positive"),
        ("gaussian_mixture", {"means": [["1"], ["2"]]}, "numbers only"),
        ("gaussian_mixture", {"means": [[1], [2]], "scales": "2"}, "numbers only"),
        ("gaussian_mixture", {"means": [[1], [2]], "weights": ["1", "2"]}, "numbers only"),
        ("gaussian_mixture", {"means": [[1], [2]], "weights": [1, None]}, "numbers only"),
        ("gaussian_mixture", {"means": [[1], [2]], "weights": np.array([1, -1])}, "positive"),
    ],
)
def test_wrong_toys_say_what_is_wrong(name: str, options: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        make_toy(name, **options)


@pytest.mark.parametrize("density", [Ring(), TwoMoons(), Checkerboard()], ids=repr)
@pytest.mark.parametrize("points", [torch.zeros(2), torch.zeros(2, 3), torch.zeros(2, 2, dtype=torch.int64)])
def test_log_prob_refuses_other_points(density: ToyDensity, points: Tensor) -> None:
    with pytest.raises(InputError, match="expects floating points of shape"):
        density.log_prob(points)
