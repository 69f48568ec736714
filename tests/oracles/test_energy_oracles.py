"""Energy losses against enumeration (a small Boltzmann machine) and quadrature (a density on the line)."""

import itertools

import pytest
import torch
from torch.nn.functional import softplus

from genloss.losses import ContrastiveDivergence, DenoisingScoreMatching, Gibbs, ScoreMatching

VISIBLE, HIDDEN = 6, 8


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


class Machine(torch.nn.Module):
    """A restricted Boltzmann machine with its free energy, small enough to sum over all states."""

    def __init__(self):
        super().__init__()
        draw = rng(1)
        self.weight = torch.nn.Parameter(0.5 * torch.randn(VISIBLE, HIDDEN, generator=draw, dtype=torch.float64))
        self.visible = torch.nn.Parameter(0.3 * torch.randn(VISIBLE, generator=draw, dtype=torch.float64))
        self.hidden = torch.nn.Parameter(0.3 * torch.randn(HIDDEN, generator=draw, dtype=torch.float64))

    def forward(self, visible):
        return -visible @ self.visible - softplus(visible @ self.weight + self.hidden).sum(1)

    def sample_hidden(self, visible, rng):
        return torch.bernoulli((visible @ self.weight + self.hidden).sigmoid(), generator=rng)

    def sample_visible(self, hidden, rng):
        return torch.bernoulli((hidden @ self.weight.mT + self.visible).sigmoid(), generator=rng)


STATES = torch.tensor(list(itertools.product((0.0, 1.0), repeat=VISIBLE)), dtype=torch.float64)
DATA = STATES[torch.randint(0, 20, (64,), generator=rng(2))]


def exact_gradient(machine):
    """Gradient of the negative log-likelihood, with the exact normaliser."""
    log_normaliser = (-machine(STATES)).logsumexp(0)
    return torch.autograd.grad((machine(DATA) + log_normaliser).mean(), list(machine.parameters()))


def close(found, exact):
    """Relative error of the whole gradient."""
    flat = [torch.cat([g.flatten() for g in gradients]) for gradients in (found, exact)]
    return ((flat[0] - flat[1]).norm() / flat[1].norm()).item()


def test_gibbs_chains_reach_the_models_probabilities():
    machine = Machine()
    chains = Gibbs().run(machine, torch.zeros(20000, VISIBLE).double(), 50, rng())
    index = (chains @ (2.0 ** torch.arange(VISIBLE - 1, -1, -1).double())).long()
    share = torch.bincount(index, minlength=len(STATES)) / len(chains)
    exact = (-machine(STATES)).softmax(0)
    assert (share - exact).abs().sum().item() < 0.1


def test_contrastive_divergence_with_many_steps_is_the_exact_gradient():
    machine = Machine()
    data = DATA.repeat(300, 1)
    errors = []
    for steps in (1, 50):
        terms = ContrastiveDivergence(steps=steps)(machine, data, rng=rng(), sampler=Gibbs())
        errors.append(
            close(torch.autograd.grad(terms.surrogate.mean(), list(machine.parameters())), exact_gradient(machine))
        )
    assert errors[1] < 0.05
    assert errors[0] > 3.0 * errors[1]  # CD-1 is biased


def test_persistent_chains_forget_their_start():
    machine, sampler = Machine(), Gibbs()
    loss = ContrastiveDivergence(steps=1, persistent=True, chains=20000, restart=0.0)
    data = DATA.repeat(300, 1)
    state = loss.init_state(data, sampler, rng())
    for seed in range(60):
        terms = loss(machine, data, rng=rng(seed), sampler=sampler, state=state)
        state = terms.state
    found = torch.autograd.grad(terms.surrogate.mean(), list(machine.parameters()))
    assert close(found, exact_gradient(machine)) < 0.05


GRID = torch.linspace(-6.0, 6.0, 6001, dtype=torch.float64)


def data_energy(x):
    """A double well: two modes, no closed form."""
    return (x.square() - 2.0).square().flatten(1).sum(1) / 4.0


def model_energy(x, scale):
    return (0.5 * x.square() * scale + 0.3 * (2.0 * x).cos()).flatten(1).sum(1)


def fisher(weights, scale):
    """Half the expected squared difference of the scores, by quadrature."""
    x = GRID[:, None].clone().requires_grad_()
    (data,) = torch.autograd.grad(data_energy(x).sum(), x)
    (model,) = torch.autograd.grad(model_energy(x, scale).sum(), x)
    return 0.5 * (weights * (model - data).square()[:, 0]).sum(), 0.5 * (weights * data.square()[:, 0]).sum()


@pytest.mark.parametrize("scale", [0.3, 1.0, 3.0])
def test_score_matching_is_half_the_fisher_divergence_less_a_constant(scale):
    weights = (-data_energy(GRID[:, None])).softmax(0)
    terms = ScoreMatching()(lambda x: model_energy(x, scale), GRID[:, None], rng=rng())
    divergence, constant = fisher(weights, scale)
    assert (weights * terms.surrogate).sum().item() == pytest.approx((divergence - constant).item(), rel=1e-6)


def test_denoising_score_matching_orders_energies_as_the_noisy_fisher_divergence_does():
    # Data of two points with noise: the noisy density is a mixture of two normals, known exactly.
    sigma, points = 0.5, torch.tensor([-1.0, 1.0]).double()
    real = points.repeat(20000)[:, None]

    def truth(x):
        return -torch.logsumexp(-0.5 * ((x - points) / sigma) ** 2, dim=1)

    weights = (-truth(GRID[:, None])).softmax(0)
    values, divergences = [], []
    for scale in (0.0, 0.5, 2.0):
        energy = lambda x, scale=scale: truth(x) + scale * 0.5 * x.square().sum(1)  # noqa: E731
        loss = DenoisingScoreMatching(sigmas=(sigma,))
        values.append(loss(energy, real, rng=rng()).surrogate.mean().item())
        divergences.append(0.5 * (weights * (scale * GRID) ** 2).sum().item())  # the scores differ by scale * x
    gained = [value - values[0] for value in values]
    assert gained == pytest.approx([sigma**2 * d for d in divergences], rel=0.05, abs=0.01)
