"""Signs, memories, samplers and errors of the energy losses."""

import math

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


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=rng(seed), dtype=torch.float64)


def bowl(x):
    return 0.5 * x.flatten(1).square().sum(1)


class Quadratic(torch.nn.Module):
    """E(x) = |x|^2 / (2 exp(log_variance)) + offset."""

    def __init__(self, log_variance=0.0):
        super().__init__()
        self.log_variance = torch.nn.Parameter(torch.tensor(log_variance, dtype=torch.float64))
        self.offset = torch.nn.Parameter(torch.tensor(0.0, dtype=torch.float64))

    def forward(self, x):
        return bowl(x) * (-self.log_variance).exp() + self.offset


def test_the_models_term_has_a_minus():
    # One source prints a plus: both energies then fall without bound.
    energy = Quadratic(log_variance=1.0)  # wider than the data, which are standard normal
    terms = ContrastiveDivergence(steps=50)(energy, normal(500, 2), rng=rng(), sampler=Langevin(step_size=0.5))
    torch.testing.assert_close(terms.surrogate, terms.parts["real_energy"] - terms.parts["model_energy"])
    on_variance, on_offset = torch.autograd.grad(terms.surrogate.mean(), (energy.log_variance, energy.offset))
    assert on_variance > 0  # a step narrows the model
    assert on_offset.item() == pytest.approx(0.0, abs=1e-12)  # a constant does not matter


def test_the_penalty_is_on_both_energies():
    arguments = {"rng": rng(), "sampler": Langevin(noise=0.0)}
    plain = ContrastiveDivergence(steps=1)(bowl, normal(5, 2), **arguments)
    penalised = ContrastiveDivergence(steps=1, penalty=0.1)(bowl, normal(5, 2), **arguments)
    real, model = plain.parts["real_energy"], plain.parts["model_energy"]
    torch.testing.assert_close(penalised.surrogate, real - model + 0.1 * (real**2 + model**2))


def test_a_value_that_is_not_finite_stays_so():
    # One library replaces it by 0.1 and trains on.
    terms = ContrastiveDivergence(steps=1)(lambda x: bowl(x) * math.inf, normal(3, 2), rng=rng(), sampler=Langevin())
    assert not terms.surrogate.isfinite().any()


def test_samples_carry_no_graph_and_parameters_get_no_gradient_from_the_chain():
    energy = Quadratic()
    found = Langevin().run(energy, normal(4, 2), 3, rng())
    assert not found.requires_grad
    assert energy.log_variance.grad is None


def test_langevin_draws_from_its_density():
    chains = Langevin(step_size=0.3).run(lambda x: bowl(x) / 4.0, torch.zeros(20000, 1), 200, rng())
    assert chains.mean().item() == pytest.approx(0.0, abs=0.06)
    assert chains.var().item() == pytest.approx(4.0, rel=0.05)


def test_langevin_bounds_clip_and_fresh_starts():
    steep = Langevin(step_size=1.0, noise=0.0, gradient_clip=0.1)
    assert steep.step(lambda x: 1e6 * x.sum(1), torch.zeros(1, 1), rng()).item() == pytest.approx(-0.05)
    bounded = Langevin(low=-1.0, high=1.0, step_size=10.0)
    assert bounded.run(bowl, torch.zeros(100, 2), 3, rng()).abs().max() <= 1.0
    fresh = bounded.fresh(torch.zeros(1000, 2), rng())
    assert -1.0 <= fresh.min() < -0.9
    assert 0.9 < fresh.max() <= 1.0
    assert Langevin(low=0.0).run(bowl, torch.zeros(50, 2), 2, rng()).min() >= 0.0


def test_persistent_chains_are_kept_moved_and_not_changed_in_place():
    loss, sampler, real = (
        ContrastiveDivergence(steps=2, persistent=True, chains=20, restart=0.0),
        Langevin(),
        normal(8, 3),
    )
    start = loss.init_state(real, sampler, rng())
    kept = start["chains"].clone()
    terms = loss(bowl, real, rng=rng(1), sampler=sampler, state=start)
    assert torch.equal(start["chains"], kept)
    moved = (terms.state["chains"] != kept).any(1)
    assert moved.sum() == 8
    torch.testing.assert_close(
        bowl(terms.state["chains"][moved]).sort().values, terms.parts["model_energy"].sort().values
    )
    assert not terms.state["chains"].requires_grad
    assert ContrastiveDivergence().init_state(real, sampler, rng()) == {}


def test_restarted_chains_start_afresh():
    loss = ContrastiveDivergence(steps=1, persistent=True, chains=8, restart=1.0)
    far = {"chains": torch.full((8, 2), 1e3).double()}
    terms = loss(bowl, normal(8, 2), rng=rng(), sampler=Langevin(), state=far)
    assert terms.state["chains"].abs().max() < 10.0


def test_one_seed_gives_one_result():
    loss = ContrastiveDivergence(steps=3)
    first, second = (loss(bowl, normal(4, 2), rng=rng(5), sampler=Langevin()).surrogate for _ in range(2))
    assert torch.equal(first, second)


def test_noise_contrastive_at_the_truth_and_far_away():
    noise = NormalNoise(mean=torch.zeros(2).double(), root=torch.eye(2).double())
    truth = lambda x: bowl(x) + math.log(2 * math.pi)  # noqa: E731
    for ratio in (1, 4):
        terms = NoiseContrastive(ratio=ratio)(truth, normal(7, 2), rng=rng(), noise=noise)
        expected = (1 + ratio) * math.log(1 + ratio) - ratio * math.log(ratio)
        torch.testing.assert_close(terms.surrogate, torch.full((7,), expected).double())
    far = NoiseContrastive()(lambda x: -1e4 * torch.ones(len(x)).double(), normal(3, 2), rng=rng(), noise=noise)
    assert far.surrogate.isfinite().all()


def test_noise_contrastive_learns_the_normaliser():
    energy = Quadratic(log_variance=0.0)
    real = 1.5 * normal(20000, 1, seed=1)
    noise = NormalNoise(mean=torch.zeros(1).double(), root=2.0 * torch.eye(1).double())
    optimiser = torch.optim.LBFGS(energy.parameters(), max_iter=50)

    def closure():
        optimiser.zero_grad()
        value = NoiseContrastive(ratio=2)(energy, real, rng=rng(), noise=noise).surrogate.mean()
        value.backward()
        return value

    optimiser.step(closure)
    assert energy.log_variance.exp().item() == pytest.approx(2.25, rel=0.05)
    assert energy.offset.item() == pytest.approx(0.5 * math.log(2 * math.pi * 2.25), abs=0.03)


def test_fitted_noise_has_the_moments_of_the_data_and_torchs_density():
    real = normal(3000, 2, 2) @ torch.tensor([[2.0, 0.0], [1.0, 0.5]]).double() + 3.0
    noise = NormalNoise.fit(real)
    drawn = noise.sample(20000, rng(3))
    assert drawn.shape == (20000, 2, 2)
    torch.testing.assert_close(drawn.mean(0), real.mean(0), atol=0.1, rtol=0)
    torch.testing.assert_close(drawn.flatten(1).mT.cov(), real.flatten(1).mT.cov(), atol=0.25, rtol=0)
    theirs = torch.distributions.MultivariateNormal(noise.mean.flatten(), scale_tril=noise.root)
    torch.testing.assert_close(noise.log_prob(real), theirs.log_prob(real.flatten(1)))


SCORES = [ScoreMatching(), SlicedScoreMatching(), SlicedScoreMatching(projections=3)]


@pytest.mark.parametrize("loss", SCORES, ids=repr)
def test_scores_of_a_normal_energy_have_their_closed_form(loss):
    # E = |x|^2 / (2 v) in D dimensions: |x|^2 / (2 v^2) - D / v, the trace undivided by D.
    x, variance, dimensions = normal(5, 2, 4), 1.7, 8
    terms = loss(lambda u: bowl(u) / variance, x, rng=rng())
    torch.testing.assert_close(terms.surrogate, bowl(x) / variance**2 - dimensions / variance)
    torch.testing.assert_close(terms.parts["trace"], torch.full((5,), -dimensions / variance).double())


def test_sliced_is_exact_in_the_mean_and_with_signs_on_diagonals():
    root = normal(3, 3)
    energy = lambda x: (x @ root).tanh().sum(1) + bowl(x)  # noqa: E731
    x = normal(1, 3, seed=1)
    exact = ScoreMatching()(energy, x, rng=rng()).surrogate.item()
    many = SlicedScoreMatching()(energy, x.expand(20000, 3), rng=rng()).surrogate
    assert many.mean().item() == pytest.approx(exact, abs=5.0 * many.std().item() / math.sqrt(20000))
    assert many.std() > 0.01


@pytest.mark.parametrize(
    ("loss", "variance"), [*((loss, 2.25) for loss in SCORES), (DenoisingScoreMatching(sigmas=(0.5,)), 2.5)], ids=repr
)
def test_score_losses_recover_a_variance(loss, variance):
    # The denoising one learns that of the noisy data. One library divides the trace by the dimension and learns D
    # times the variance.
    energy = Quadratic()
    real = 1.5 * normal(4000, 8, seed=1)
    optimiser = torch.optim.LBFGS(energy.parameters(), max_iter=30)

    def closure():
        optimiser.zero_grad()
        value = loss(energy, real, rng=rng()).surrogate.mean()
        value.backward()
        return value

    optimiser.step(closure)
    assert energy.log_variance.exp().item() == pytest.approx(variance, rel=0.05)


def test_denoising_at_its_optimum_leaves_what_cannot_be_told():
    # Data N(0, 1) with noise s: the best score is -x / (1 + s^2), and E |s * score + e|^2 / 2 = D / (2 (1 + s^2)).
    sigma, dimensions = 0.7, 3
    best = lambda x: bowl(x) / (1 + sigma**2)  # noqa: E731
    value = DenoisingScoreMatching(sigmas=(sigma,))(best, normal(40000, dimensions), rng=rng(1)).surrogate.mean()
    assert value.item() == pytest.approx(dimensions / (2 * (1 + sigma**2)), rel=0.02)


def test_denoising_with_several_levels_tells_the_energy_which():
    seen = []

    def energy(x, sigma):
        seen.append(sigma)
        return bowl(x) / (1 + sigma**2)

    terms = DenoisingScoreMatching(sigmas=(0.1, 1.0))(energy, normal(64, 2), rng=rng())
    assert terms.surrogate.shape == (64,)
    assert set(seen[0].tolist()) == {0.1, 1.0}


@pytest.mark.parametrize("loss", [*SCORES, DenoisingScoreMatching()], ids=repr)
def test_score_losses_see_samples_apart_and_work_without_grad_mode(loss):
    root = normal(2, 2)
    energy = lambda x: (x @ root).tanh().square().sum(1)  # noqa: E731
    with torch.no_grad():
        whole = loss(energy, normal(4, 2), rng=rng()).surrogate
    assert whole.shape == (4,)
    if isinstance(loss, ScoreMatching):
        alone = loss(energy, normal(4, 2)[1:2], rng=rng()).surrogate
        torch.testing.assert_close(alone, whole[1:2])


def test_an_energy_without_curvature_has_trace_zero():
    terms = ScoreMatching()(lambda x: x.sum(1), normal(3, 2), rng=rng())
    torch.testing.assert_close(terms.surrogate, torch.ones(3).double())


def test_errors_say_what_to_do():
    x = normal(3, 2)
    with pytest.raises(ValueError, match=r"sampler=Langevin\(\)"):
        ContrastiveDivergence()(bowl, x, rng=rng())
    with pytest.raises(ValueError, match=r"NormalNoise.fit"):
        NoiseContrastive()(bowl, x, rng=rng())
    with pytest.raises(ValueError, match="one number a sample"):
        ContrastiveDivergence(steps=1)(lambda u: u.square().sum(1, keepdim=True), x, rng=rng(), sampler=Langevin())
    with pytest.raises(ValueError, match="start with init_state"):
        ContrastiveDivergence(persistent=True)(bowl, x, rng=rng(), sampler=Langevin())
    small = {"chains": x[:1]}
    with pytest.raises(ValueError, match="at least 3 chains"):
        ContrastiveDivergence(persistent=True)(bowl, x, rng=rng(), sampler=Langevin(), state=small)
    with pytest.raises(TypeError, match="sample_hidden"):
        Gibbs().step(bowl, x, rng())
    with pytest.raises(TypeError, match="floating"):
        ScoreMatching()(bowl, torch.zeros(2, 2).long(), rng=rng())
    for wrong in (
        lambda: ContrastiveDivergence(steps=0),
        lambda: ContrastiveDivergence(restart=2.0),
        lambda: ContrastiveDivergence(penalty=-1.0),
        lambda: Langevin(step_size=0.0),
        lambda: Langevin(noise=-1.0),
        lambda: Langevin(low=1.0, high=0.0),
        lambda: Langevin(gradient_clip=0.0),
        lambda: SlicedScoreMatching(projections=0),
        lambda: DenoisingScoreMatching(sigmas=()),
        lambda: DenoisingScoreMatching(sigmas=(0.0,)),
        lambda: NoiseContrastive(ratio=0),
    ):
        with pytest.raises(ValueError, match="expected"):
            wrong()


def number_energy(x):
    return 0.5 * x.square() + x.cos()


@pytest.mark.parametrize(
    "loss", [ScoreMatching(), SlicedScoreMatching(), DenoisingScoreMatching(sigmas=(0.1,)), NoiseContrastive()]
)
def test_data_of_one_number_a_sample(loss):
    x = torch.randn(5, generator=rng())
    noise = NormalNoise(mean=torch.zeros(()), root=torch.ones(1, 1))
    flat = loss(number_energy, x, rng=rng(), noise=noise).surrogate
    noise = NormalNoise(mean=torch.zeros(1), root=torch.ones(1, 1))
    column = loss(lambda u: number_energy(u.squeeze(1)), x.unsqueeze(1), rng=rng(), noise=noise).surrogate
    torch.testing.assert_close(flat, column)


def test_persistent_chains_of_half_precision_data_run_in_float32():
    loss, energy = ContrastiveDivergence(steps=1, persistent=True, chains=8), torch.nn.Linear(2, 1)
    real = torch.randn(4, 2, generator=rng()).bfloat16()
    state = loss.init_state(real, Langevin(), rng())
    terms = loss(lambda u: energy(u).squeeze(1), real, rng=rng(), sampler=Langevin(), state=state)
    assert terms.surrogate.dtype == terms.state["chains"].dtype == torch.float32


def test_noise_that_does_not_fit():
    root = torch.eye(2)
    upper = torch.tensor([[1.0, 0.5], [0.0, 1.0]])
    for wrong, sentence in ((upper, "not lower triangular"), (torch.eye(3), r"expected \(2, 2\)")):
        with pytest.raises(ValueError, match=sentence):
            NormalNoise(mean=torch.zeros(2), root=wrong)
    with pytest.raises(ValueError, match="not lower triangular with a positive diagonal"):
        NormalNoise(mean=torch.zeros(2), root=0.0 * root)
    with pytest.raises(ValueError, match="one sample of the noise has shape"):
        NoiseContrastive()(
            lambda u: u.square().sum(1), torch.zeros(3, 4), rng=rng(), noise=NormalNoise(mean=torch.zeros(2), root=root)
        )


@pytest.mark.parametrize("loss", [ScoreMatching(), ContrastiveDivergence(steps=1)])
def test_an_energy_without_a_gradient_is_a_sentence(loss):
    with pytest.raises(ValueError, match="the energy has no gradient: it is constant, or detached"):
        loss(lambda u: torch.zeros(len(u)), torch.zeros(3, 2), rng=rng(), sampler=Langevin())


def test_steps_are_not_negative():
    with pytest.raises(ValueError, match="steps is -1"):
        Langevin().run(number_energy, torch.zeros(3), -1, rng())
