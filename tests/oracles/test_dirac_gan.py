r"""The Dirac-GAN: data at 0, a generator of one point theta, a linear critic psi x.

Gradient descent of both players near (0, 0) turns with the eigenvalues of its Jacobian,
-gamma/2 +- sqrt(gamma^2/4 - d g), where d is the slope of the discriminator's loss in the fake score, -g that of the
generator's, and gamma the weight of R1: without it they are imaginary, and the game circles for ever
(Mescheder et al. 2018, section 2 and appendix D). The slopes below are worked out by hand.
"""

import cmath
import math

import pytest
import torch

import genloss.losses as losses

# loss, slope of the discriminator in the fake score, minus that of the generator, at the equilibrium
SLOPES = [
    (losses.Minimax(), 0.5, 0.5),
    (losses.NonSaturating(), 0.5, 0.5),
    # sigma = 0.9 * 1 / 2 = 0.45 at the equilibrium
    (losses.NonSaturating(real_label=0.9), 0.45, 0.55),
    (losses.LeastSquares(), 0.5, 0.5),
    (losses.LeastSquares(fake_target=-1.0, generator_target=0.0), 1.0, 0.0),
    (losses.Wasserstein(), 1.0, 1.0),
    (losses.Hinge(), 1.0, 1.0),
    (losses.RelativisticPaired(), 0.5, 0.5),
    (losses.RelativisticAverage(), 1.0, 1.0),
    (losses.SoftmaxGAN(), 0.5, 0.0),
    (losses.FKullbackLeibler(), 1.0, 1.0),
    (losses.FReverseKullbackLeibler(), 1.0, 1.0),
    (losses.FPearson(), 1.0, 1.0),
    (losses.FNeyman(), 1.0, 1.0),
    (losses.FHellinger(), 1.0, 1.0),
    (losses.FJensenShannon(), 0.5, 0.5),
    (losses.FGan(), 0.5, 0.5),
    (losses.FTotalVariation(), 0.5, 0.5),
    # g'(v) = sigma(-v) with softplus(-v) = 1 / (1 - 1/2) = 2
    (losses.FAlpha(alpha=0.5), 1.0 - math.exp(-2.0), 1.0 - math.exp(-2.0)),
    (losses.FAlpha(alpha=2.0), 1.0, 1.0),
]


# Energies in place of scores: their margin and their control loop have no equilibrium at a linear critic.
NOT_SMOOTH = {"energy_based", "boundary_equilibrium"}


def measured(loss):
    """Returns the slopes of a loss that has no row above, by finite differences of its values."""
    centre, step = torch.full((1,), loss.equilibrium().score or 0.0, dtype=torch.float64), 1e-5
    up, down = centre + step, centre - step
    discriminator = (loss.discriminator(centre, up) - loss.discriminator(centre, down)) / (2 * step)
    generator = (loss.generator(up, centre) - loss.generator(down, centre)) / (2 * step)
    return loss, discriminator.item(), -generator.item()


OTHERS = set(losses.catalogue("adversarial")) - NOT_SMOOTH - {loss.card.name for loss, *_ in SLOPES}
EVERY = SLOPES + [measured(losses.find_loss(name)()) for name in sorted(OTHERS)]


def field(loss, gamma, parameters):
    """Returns how fast (theta, psi) move: minus each player's gradient of its own loss."""
    theta, psi = parameters
    offset = loss.equilibrium().score or 0.0

    def critic(x):
        return psi * x.flatten() + offset

    real = torch.zeros(1, 1, dtype=torch.float64, requires_grad=True)
    real_scores, fake_scores = critic(real), critic(theta.reshape(1, 1))
    generator = loss.generator(fake_scores, real_scores).sum()
    discriminator = loss.discriminator(real_scores, fake_scores).sum()
    penalty = losses.R1()(critic, real, real.detach(), torch.Generator(), real_scores=real_scores).sum()
    (theta_slope,) = torch.autograd.grad(generator, theta, create_graph=True)
    (psi_slope,) = torch.autograd.grad(discriminator + gamma * penalty, psi, create_graph=True)
    return -torch.stack((theta_slope, psi_slope))


def jacobian(loss, gamma):
    return torch.autograd.functional.jacobian(
        lambda p: field(loss, gamma, p), torch.zeros(2, dtype=torch.float64), create_graph=False
    )


@pytest.mark.parametrize("gamma", [0.0, 0.3, 5.0])
@pytest.mark.parametrize(("loss", "discriminator", "generator"), EVERY, ids=lambda value: str(value))
def test_eigenvalues_are_those_of_the_closed_form(loss, discriminator, generator, gamma):
    root = cmath.sqrt(gamma**2 / 4 - discriminator * generator)
    expected = sorted((-gamma / 2 + root, -gamma / 2 - root), key=lambda value: (value.real, value.imag))
    matrix = jacobian(loss, gamma)
    found = sorted(torch.linalg.eigvals(matrix).tolist(), key=lambda value: (round(value.real, 9), value.imag))
    for value, truth in zip(found, expected, strict=True):
        assert value == pytest.approx(truth, abs=1e-6)


def run(loss, gamma, turns):
    """Returns the distance from the equilibrium after alternating descent from (1, 0)."""
    parameters = torch.tensor([1.0, 0.0], dtype=torch.float64)
    for turn in range(2 * turns):
        leaf = parameters.clone().requires_grad_()
        step = field(loss, gamma, leaf).detach()
        parameters[turn % 2] += 0.2 * step[turn % 2]
    return parameters.norm().item()


def test_the_game_circles_without_the_penalty_and_ends_with_it():
    assert run(losses.NonSaturating(), 0.0, 500) > 0.1
    assert run(losses.NonSaturating(), 1.0, 500) < 1e-6
    assert run(losses.Wasserstein(), 0.0, 500) > 0.5
    assert run(losses.Wasserstein(), 1.0, 500) < 1e-6
