"""Energy losses against enumeration (a small Boltzmann machine) and quadrature (a density on the line)."""

import itertools
import math

import pytest
import torch

from genloss.losses import ContrastiveDivergence, DenoisingScoreMatching, Gibbs, ScoreMatching
from genloss.networks import RBM

VISIBLE, HIDDEN = 6, 12


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def make_machine(hidden=HIDDEN):
    machine = RBM((VISIBLE,), hidden).double()
    draw = rng(1)
    for parameter, deviation in zip(machine.parameters(), (0.5, 0.3, 0.3), strict=True):
        torch.nn.init.normal_(parameter, std=deviation, generator=draw)
    return machine


STATES = torch.tensor(list(itertools.product((0.0, 1.0), repeat=VISIBLE)), dtype=torch.float64)
DATA = STATES[torch.randint(0, 20, (64,), generator=rng(2))]


def exact_gradient(machine):
    """Gradient of the negative log-likelihood, with the exact normaliser."""
    log_normaliser = (-machine(STATES)).logsumexp(0)  # over the visible states; the machine sums over the smaller layer
    return torch.autograd.grad((machine(DATA) + log_normaliser).mean(), list(machine.parameters()))


def close(found, exact):
    """Relative error of the whole gradient."""
    flat = [torch.cat([g.flatten() for g in gradients]) for gradients in (found, exact)]
    return ((flat[0] - flat[1]).norm() / flat[1].norm()).item()


def test_gibbs_chains_reach_the_models_probabilities():
    machine = make_machine()
    chains = Gibbs().run(machine, torch.zeros(20000, VISIBLE).double(), 50, rng())
    index = (chains @ (2.0 ** torch.arange(VISIBLE - 1, -1, -1).double())).long()
    share = torch.bincount(index, minlength=len(STATES)) / len(chains)
    exact = (-machine(STATES)).softmax(0)
    assert (share - exact).abs().sum().item() < 0.1


def test_contrastive_divergence_with_many_steps_is_the_exact_gradient():
    machine = make_machine()
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
    machine, sampler = make_machine(), Gibbs()
    loss = ContrastiveDivergence(steps=1, persistent=True, chains=20000, restart=0.0)
    data = DATA.repeat(300, 1)
    state = loss.init_state(data, sampler, rng())
    for seed in range(60):
        terms = loss(machine, data, rng=rng(seed), sampler=sampler, state=state)
        state = terms.state
    found = torch.autograd.grad(terms.surrogate.mean(), list(machine.parameters()))
    assert close(found, exact_gradient(machine)) < 0.05


@pytest.mark.parametrize("hidden", [1, 5, 12])
def test_the_machines_normaliser_is_the_sum_over_visible_states(hidden):
    machine = make_machine(hidden)
    torch.testing.assert_close(machine.log_normaliser(), (-machine(STATES)).logsumexp(0))
    assert machine.log_prob(STATES).exp().sum().item() == pytest.approx(1.0)


@pytest.mark.parametrize("persistent", [False, True])
def test_training_raises_the_exact_log_likelihood(persistent):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        machine = RBM((VISIBLE,), HIDDEN).double()
    loss = ContrastiveDivergence(steps=1, persistent=persistent, chains=256, restart=0.0)
    sampler, draw = Gibbs(), rng()
    state = loss.init_state(DATA, sampler, draw)
    optimiser = torch.optim.Adam(machine.parameters(), lr=0.02)
    before = machine.log_prob(DATA).mean().item()
    assert before == pytest.approx(-VISIBLE * math.log(2.0), abs=0.05)  # it starts uniform
    for _ in range(400):
        terms = loss(machine, DATA, rng=draw, sampler=sampler, state=state)
        state = terms.state
        optimiser.zero_grad()
        terms.surrogate.mean().backward()
        optimiser.step()
    # No model gives the data more than minus their entropy; half of the way from uniform is well within reach.
    share = DATA.unique(dim=0, return_counts=True)[1].double() / len(DATA)
    best = (share * share.log()).sum().item()
    after = machine.log_prob(DATA).mean().item()
    assert before + 0.5 * (best - before) < after < best


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
