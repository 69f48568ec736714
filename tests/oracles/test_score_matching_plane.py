"""The three score matchings in the plane, against quadrature of the Fisher divergence."""

import pytest
import torch

from genloss.losses import DenoisingScoreMatching, ScoreMatching, SlicedScoreMatching

POINTS = torch.cartesian_prod(
    torch.linspace(-8.0, 8.0, 201, dtype=torch.float64), torch.linspace(-7.0, 18.0, 251, dtype=torch.float64)
)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def data_energy(x):
    """A banana: curved, correlated, no closed form."""
    return 0.5 * (x[:, 0] ** 2 / 1.5 + (x[:, 1] - 0.25 * x[:, 0] ** 2 + 0.4) ** 2)


def model_energy(x, bend, pull):
    return 0.5 * (x[:, 0] ** 2 + (x[:, 1] - bend * x[:, 0]) ** 2) + pull * torch.cos(x[:, 0] + 2.0 * x[:, 1])


def score(energy, x):
    x = x.clone().requires_grad_()
    return -torch.autograd.grad(energy(x).sum(), x)[0]


WEIGHTS = (-data_energy(POINTS)).softmax(0)
DIRECTIONS = 64
# Random signs give the trace exactly where the Jacobian is diagonal; off-diagonals of about 1 leave this much noise.
NOISE = 5.0 * 2.0 * (WEIGHTS.square().sum() / DIRECTIONS).sqrt().item()
MODELS = [(0.0, 0.0), (0.7, 0.0), (-0.5, 0.3)]


def fisher(energy):
    """Half the expected squared error of the score, and half the data's Fisher information."""
    ours, data = score(energy, POINTS), score(data_energy, POINTS)
    return 0.5 * (WEIGHTS @ (ours - data).square().sum(1)), 0.5 * (WEIGHTS @ data.square().sum(1))


@pytest.mark.parametrize(("bend", "pull"), MODELS)
@pytest.mark.parametrize("loss", [ScoreMatching(), SlicedScoreMatching(projections=DIRECTIONS)], ids=repr)
def test_the_value_is_half_the_fisher_divergence_less_a_constant(loss, bend, pull):
    def energy(x):
        return model_energy(x, bend, pull)

    divergence, constant = fisher(energy)
    found = WEIGHTS @ loss(energy, POINTS, rng=rng()).surrogate
    tolerance = 1e-6 if isinstance(loss, ScoreMatching) else NOISE
    assert found.item() == pytest.approx((divergence - constant).item(), abs=tolerance)


@pytest.mark.parametrize("loss", [ScoreMatching(), SlicedScoreMatching(projections=DIRECTIONS)], ids=repr)
def test_the_data_themselves_reach_the_optimum(loss):
    best = (WEIGHTS @ loss(data_energy, POINTS, rng=rng()).surrogate).item()
    assert best == pytest.approx(-fisher(data_energy)[1].item(), abs=1e-6 if isinstance(loss, ScoreMatching) else NOISE)
    for bend, pull in MODELS:
        other = WEIGHTS @ loss(lambda x, b=bend, p=pull: model_energy(x, b, p), POINTS, rng=rng()).surrogate
        assert other.item() > best + 0.05


@pytest.mark.parametrize(("bend", "pull"), MODELS)
def test_denoising_differs_from_the_noisy_fisher_divergence_by_a_constant(bend, pull):
    sigma = 0.4
    centres = torch.tensor([[-1.0, 0.5], [1.5, 0.0], [0.0, -1.5]]).double()
    loss = DenoisingScoreMatching(sigmas=(sigma,))
    real = centres.repeat(30000, 1)

    def noisy_energy(x):  # of the data with the noise: three normals, known exactly
        return -torch.logsumexp(-0.5 * torch.cdist(x, centres).square() / sigma**2, dim=1)

    def energy(x):
        return model_energy(x, bend, pull)

    weights = (-noisy_energy(POINTS)).softmax(0)
    error = 0.5 * (weights @ (score(energy, POINTS) - score(noisy_energy, POINTS)).square().sum(1))
    values = [loss(e, real, rng=rng()).surrogate for e in (energy, noisy_energy)]  # the same noise
    gained = values[0] - values[1]
    spread = gained.std().item() / len(real) ** 0.5
    assert gained.mean().item() == pytest.approx(sigma**2 * error.item(), abs=5.0 * spread)
    assert gained.mean().item() > 20.0 * spread
