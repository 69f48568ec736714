"""What energy losses, samplers and noise refuse, and that their random numbers come from the given stream alone."""

import pytest
import torch

from genloss.losses import (
    ContrastiveDivergence,
    DenoisingScoreMatching,
    Gibbs,
    Langevin,
    NoiseContrastive,
    NormalNoise,
    ScoreMatching,
    SlicedScoreMatching,
)
from genloss.losses.catalogue import find_loss


def rng():
    return torch.Generator().manual_seed(0)


def bowl(x, *sigma):
    return 0.5 * x.square().flatten(1).sum(1)


X = torch.randn(4, 2, generator=rng())
NOISE = NormalNoise(mean=torch.zeros(2), root=torch.eye(2))


@pytest.mark.parametrize(
    "draw",
    [
        lambda g: NoiseContrastive()(bowl, X, rng=g, noise=NOISE),
        lambda g: SlicedScoreMatching()(bowl, X, rng=g),
        lambda g: DenoisingScoreMatching()(bowl, X, rng=g),
        lambda g: ContrastiveDivergence(steps=1)(bowl, X, rng=g, sampler=Langevin()),
        lambda g: ContrastiveDivergence(persistent=True, chains=4).init_state(X, Langevin(), g),
        lambda g: Langevin().run(bowl, X, 1, g),
        lambda g: Langevin().fresh(X, g),
        lambda g: Gibbs().fresh(X, g),
        lambda g: NOISE.sample(1, g),
    ],
)
@pytest.mark.parametrize("wrong", [None, 0])
def test_without_a_stream_nothing_is_drawn(draw, wrong):
    before = torch.get_rng_state()
    with pytest.raises(TypeError, match=f"rng is {wrong}, expected a torch.Generator"):
        draw(wrong)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("loss", [ScoreMatching(), SlicedScoreMatching(), DenoisingScoreMatching()])
def test_an_energy_that_does_not_depend_on_its_input_is_named(loss):
    weight = torch.ones(1, requires_grad=True)
    with pytest.raises(ValueError, match="the energy has no gradient"):
        loss(lambda x: weight.expand(len(x)), X, rng=rng())
    with pytest.raises(ValueError, match="the energy has no gradient"):
        Langevin().run(lambda x: weight.expand(len(x)), X, 1, rng())


@pytest.mark.parametrize(
    ("energy", "error", "message"),
    [
        (lambda x: bowl(x).sum(), ValueError, r"has shape \(\), expected \(4,\)"),
        (lambda x: bowl(x)[:, None], ValueError, r"has shape \(4, 1\), expected \(4,\)"),
        (lambda x: torch.ones(4, dtype=torch.long), TypeError, "energy has dtype torch.int64"),
        (lambda x: 1.0, TypeError, "energy is a float, expected a torch.Tensor"),
    ],
)
def test_an_energy_is_one_number_a_sample_for_samplers_too(energy, error, message):
    with pytest.raises(error, match=message):
        Langevin().run(energy, X, 1, rng())


def test_wrong_parts_are_named():
    with pytest.raises(ValueError, match="got 'langevin' as its sampler; pass sampler=Langevin"):
        ContrastiveDivergence()(bowl, X, rng=rng(), sampler="langevin")
    for fields in ({"low": "a"}, {"high": float("nan")}):
        with pytest.raises(ValueError, match="expected a finite number"):
            Langevin(**fields)
    with pytest.raises(ValueError, match="restart is 'a', expected a finite number"):
        ContrastiveDivergence(restart="a")


def test_no_name_of_another_algorithm():
    with pytest.raises(KeyError, match="no known loss named 'pcd'"):
        find_loss("pcd")


@pytest.mark.parametrize("x", [torch.zeros(4, 1), torch.zeros(5), torch.zeros(4, 3), torch.zeros(2, 3, 4, 4)])
def test_a_density_of_noise_broadcasts_nothing(x):
    with pytest.raises(ValueError, match=r"expected \(n, ...\) with samples of the noise's shape \(2,\)"):
        NOISE.log_prob(x)


def test_a_density_of_noise_keeps_the_digits_of_its_points():
    normal = torch.distributions.Normal(0.0, 1.0)
    found = NOISE.log_prob(X.double())
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, normal.log_prob(X.double()).sum(1), rtol=1e-7, atol=1e-7)
    with pytest.raises(TypeError, match=r"x has dtype torch\.int64"):
        NOISE.log_prob(X.long())


def test_noise_fitted_to_a_flat_set_asks_for_a_floor():
    with pytest.raises(ValueError, match=r"with floor=0.0 added is singular, .* raise the floor"):
        NormalNoise.fit(torch.zeros(5, 2), floor=0.0)
    with pytest.raises(ValueError, match=r"floor is -5\.0, expected a finite number of at least 0"):
        NormalNoise.fit(torch.zeros(5, 2), floor=-5.0)
