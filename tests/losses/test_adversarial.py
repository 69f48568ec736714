"""Adversarial losses: closed forms, options, and errors. Their laws are in tests/laws."""

import copy
import math
import pickle
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
import torch

from genloss.losses import (
    BoundaryEquilibrium,
    EnergyBased,
    FAlpha,
    FHellinger,
    FKullbackLeibler,
    FPearson,
    Hinge,
    LeastSquares,
    Minimax,
    NonSaturating,
    RelativisticAverage,
    RelativisticAverageLeastSquares,
    RelativisticPaired,
    SoftmaxGAN,
    Wasserstein,
)

REAL = torch.tensor([2.0, -1.0, 0.5], dtype=torch.float64)
FAKE = torch.tensor([-3.0, 1.5, 0.0], dtype=torch.float64)


def softplus(t):
    return np.logaddexp(0.0, t)


def probability(t):
    return 1.0 / (1.0 + np.exp(-t))


R, F = REAL.numpy(), FAKE.numpy()
CLOSED_FORMS = [
    (Minimax(), -np.log(probability(R)) - np.log(1 - probability(F)), np.log(1 - probability(F))),
    (NonSaturating(), -np.log(probability(R)) - np.log(1 - probability(F)), -np.log(probability(F))),
    (
        NonSaturating(real_label=0.9, real_weight=3.0, fake_weight=0.5),
        -3 * (0.9 * np.log(probability(R)) + 0.1 * np.log(1 - probability(R))) - 0.5 * np.log(1 - probability(F)),
        -np.log(probability(F)),
    ),
    (LeastSquares(), 0.5 * (R - 1) ** 2 + 0.5 * F**2, 0.5 * (F - 1) ** 2),
    (
        LeastSquares(fake_target=-1.0, real_target=2.0, generator_target=0.0),
        0.5 * (R - 2) ** 2 + 0.5 * (F + 1) ** 2,
        0.5 * F**2,
    ),
    (Wasserstein(), F - R, -F),
    (Hinge(), np.maximum(0, 1 - R) + np.maximum(0, 1 + F), -F),
    (RelativisticPaired(), softplus(F - R), softplus(R - F)),
    (
        RelativisticAverage(),
        softplus(F.mean() - R) + softplus(F - R.mean()),
        softplus(R - F.mean()) + softplus(R.mean() - F),
    ),
    (
        RelativisticAverageLeastSquares(),
        (R - F.mean() - 1) ** 2 + (F - R.mean() + 1) ** 2,
        (F - R.mean() - 1) ** 2 + (R - F.mean() + 1) ** 2,
    ),
    (
        SoftmaxGAN(),
        np.log(np.exp(np.concatenate((R, F))).sum()) - R,
        np.log(np.exp(np.concatenate((R, F))).sum()) - 0.5 * (R + F),
    ),
    (EnergyBased(margin=1.0), R + np.maximum(0, 1 - F), F),
]


@pytest.mark.parametrize(("loss", "discriminator", "generator"), CLOSED_FORMS, ids=lambda value: str(value)[:60])
def test_values_are_those_of_the_printed_formula(loss, discriminator, generator):
    np.testing.assert_allclose(loss.discriminator(REAL, FAKE).numpy(), discriminator, rtol=1e-12)
    np.testing.assert_allclose(loss.generator(FAKE, REAL).numpy(), generator, rtol=1e-12)


@pytest.mark.parametrize(
    ("loss", "score", "discriminator", "generator"),
    [
        (Minimax(), 0.0, 2 * math.log(2), -math.log(2)),
        (NonSaturating(), 0.0, 2 * math.log(2), math.log(2)),
        (LeastSquares(), 0.5, 0.25, 0.125),
        (Wasserstein(), None, 0.0, None),
        (Hinge(), None, 2.0, None),
        (RelativisticPaired(), None, math.log(2), math.log(2)),
        (RelativisticAverage(), None, 2 * math.log(2), 2 * math.log(2)),
        (EnergyBased(margin=3.0), None, 3.0, None),
        (FKullbackLeibler(), 1.0, 0.0, -1.0),
        (FPearson(), 0.0, 0.0, 0.0),
    ],
)
def test_equilibrium_is_that_of_the_table(loss, score, discriminator, generator):
    found = loss.equilibrium()
    assert found.score == (None if score is None else pytest.approx(score))
    assert found.discriminator == pytest.approx(discriminator)
    assert found.generator == (None if generator is None else pytest.approx(generator))


def test_smoothed_and_weighted_equilibrium_minimises_the_discriminator():
    loss = NonSaturating(real_label=0.8, real_weight=2.0, fake_weight=0.5)
    scores = torch.linspace(-4, 4, 8001, dtype=torch.float64)
    values = loss.discriminator(scores, scores)
    assert scores[values.argmin()].item() == pytest.approx(loss.equilibrium().score, abs=2e-3)
    assert values.min().item() == pytest.approx(loss.equilibrium().discriminator, abs=1e-6)


def test_the_minimax_value_is_twice_js_less_two_log_two():
    real, fake = (torch.tensor(p, dtype=torch.float64) for p in ((0.5, 0.3, 0.2), (0.1, 0.2, 0.7)))
    scores = (real / fake).log()  # the best discriminator is p_r / (p_r + p_g)
    loss = Minimax()
    value = -(real * loss.discriminator(scores, torch.zeros(3).double())).sum() + math.log(2)
    value = value - (fake * loss.discriminator(torch.zeros(3).double(), scores)).sum() + math.log(2)
    middle = 0.5 * (real + fake)
    js = 0.5 * (real * (real / middle).log()).sum() + 0.5 * (fake * (fake / middle).log()).sum()
    torch.testing.assert_close(value, 2 * js - 2 * math.log(2))


def test_a_confident_fake_costs_its_logit_and_has_slope_one():
    # log(1 - sigmoid(20)) in float32 is -inf, and its gradient NaN; cross-entropy on probabilities gives 100 and 0.
    score = torch.tensor([20.0], requires_grad=True)
    value = NonSaturating().discriminator(torch.tensor([100.0]), score)
    value.backward()
    assert value.item() == pytest.approx(20.0)
    assert score.grad.item() == pytest.approx(1.0)


def test_the_saturating_and_the_other_generator_differ_in_gradient_only_away_from_the_fixed_point():
    def slope(loss, at):
        score = torch.tensor([at], dtype=torch.float64, requires_grad=True)
        return torch.autograd.grad(loss.generator(score).sum(), score)[0].item()

    assert slope(Minimax(), 0.0) == pytest.approx(slope(NonSaturating(), 0.0))
    assert slope(Minimax(), -20.0) == pytest.approx(-2.06e-9, rel=1e-2)
    assert slope(NonSaturating(), -20.0) == pytest.approx(-1.0, abs=1e-6)


def test_least_squares_with_pearson_targets_is_half_the_pearson_divergence():
    # b - c = 1 and b - a = 2: 2 C(G) is the Pearson chi-squared of the mixture against twice the model
    real, fake = (torch.tensor(p, dtype=torch.float64) for p in ((0.5, 0.3, 0.2), (0.1, 0.2, 0.7)))
    loss = LeastSquares(fake_target=-1.0, real_target=1.0, generator_target=0.0)
    best = (real - fake) / (real + fake)
    cost = (real * loss.generator(best)).sum() + (fake * loss.generator(best)).sum()
    pearson = ((real + fake - 2 * fake).square() / (real + fake)).sum()
    torch.testing.assert_close(2 * cost, pearson)


def test_the_patch_axes_are_averaged_after_the_loss():
    patches = torch.tensor([[[[-10.0, 10.0]]]])
    assert NonSaturating().generator(patches).item() == pytest.approx(5.0, abs=1e-3)  # not softplus(0) = 0.69


def test_gradients_reach_only_what_is_asked_for():
    real, fake = REAL.clone().requires_grad_(), FAKE.clone().requires_grad_()
    NonSaturating().generator(fake, real).sum().backward()
    assert real.grad is None
    RelativisticPaired().generator(fake, real).sum().backward()
    assert real.grad is not None


@pytest.mark.parametrize("loss", [RelativisticPaired(), RelativisticAverage(), SoftmaxGAN()])
def test_a_generator_without_the_real_scores_that_it_needs_is_refused(loss):
    assert loss.generator_needs_real
    with pytest.raises(ValueError, match=r"got no real_scores.*generator\(fake_scores, real_scores\)"):
        loss.generator(FAKE)


@pytest.mark.parametrize(
    ("real", "fake", "error", "message"),
    [
        (torch.zeros(3), torch.zeros(4), ValueError, r"shapes differ: real_scores \(3,\), fake_scores \(4,\)"),
        (torch.zeros(3, 1), torch.zeros(3), ValueError, "nothing broadcasts"),
        (torch.zeros(0), torch.zeros(0), ValueError, "at least one sample"),
        (torch.zeros(()), torch.zeros(()), ValueError, "at least one sample"),
        (torch.zeros(3), torch.zeros(3, dtype=torch.int64), TypeError, "fake_scores has dtype torch.int64"),
        (torch.zeros(3), torch.zeros(3).double(), TypeError, "dtypes or devices differ"),
        ([0.0], torch.zeros(1), TypeError, "real_scores is a list"),
    ],
)
def test_wrong_scores_are_refused_in_a_sentence(real, fake, error, message):
    with pytest.raises(error, match=message):
        Hinge().discriminator(real, fake)


def test_the_generator_checks_its_scores_too():
    with pytest.raises(ValueError, match="shapes differ"):
        RelativisticPaired().generator(torch.zeros(3), torch.zeros(2))
    with pytest.raises(TypeError, match="fake_scores has dtype"):
        Hinge().generator(torch.zeros(3, dtype=torch.int64))


@pytest.mark.parametrize(
    ("cls", "fields", "message"),
    [
        (NonSaturating, {"real_label": 0.0}, "real_label is 0.0"),
        (NonSaturating, {"real_label": 1.1}, "real_label is 1.1"),
        (Minimax, {"real_weight": -1.0}, "real_weight is -1.0"),
        (Minimax, {"fake_weight": math.nan}, "fake_weight is nan"),
        (LeastSquares, {"real_target": 0.0}, "real_target is 0.0, expected more than fake_target"),
        (LeastSquares, {"generator_target": -1.0}, "generator_target is -1.0"),
        (NonSaturating, {"real_label": "a"}, "real_label is 'a', expected a positive finite number"),
        (LeastSquares, {"real_target": math.inf}, "real_target is inf, expected a finite number"),
        (LeastSquares, {"fake_target": "0"}, "fake_target is '0', expected a finite number"),
        (EnergyBased, {"margin": 0.0}, "margin is 0.0"),
        (EnergyBased, {"margin": "3"}, "margin is '3', expected a positive finite number"),
        (EnergyBased, {"margin": None}, "margin is None, expected a positive finite number"),
        (EnergyBased, {"margin": True}, "margin is True, expected a positive finite number"),
        (BoundaryEquilibrium, {"gamma": "x"}, "gamma is 'x', expected a positive finite number"),
        (BoundaryEquilibrium, {"gain": "x"}, "gain is 'x', expected a positive finite number"),
        (BoundaryEquilibrium, {"gamma": 1.5}, "gamma is 1.5"),
        (BoundaryEquilibrium, {"gain": 0.0}, "gain is 0.0"),
        (FAlpha, {"alpha": 0.0}, "alpha is 0.0.*f_reverse_kl"),
        (FAlpha, {"alpha": 1.0}, "alpha is 1.0.*f_kl"),
        (FAlpha, {"alpha": math.inf}, "alpha is inf"),
        (FAlpha, {"alpha": "x"}, "alpha is 'x', expected a finite number"),
        (FPearson, {"generator_form": "other"}, "expected 'trick' or 'conjugate'"),
    ],
)
def test_a_field_out_of_its_range_is_refused(cls, fields, message):
    with pytest.raises(ValueError, match=message):
        cls(**fields)


def test_fields_are_keyword_only_and_frozen_and_a_schedule_replaces_them():
    with pytest.raises(TypeError):
        NonSaturating(0.9)
    loss = NonSaturating(real_label=0.9)
    with pytest.raises(FrozenInstanceError):
        loss.real_label = 1.0
    assert replace(loss, real_label=1.0) == NonSaturating()
    assert pickle.loads(pickle.dumps(loss)) == copy.deepcopy(loss) == loss


def test_scores_outside_the_range_of_an_exponential_raise_and_say_what_to_do():
    scores = torch.tensor([0.0, 81.0])
    with pytest.raises(ValueError, match=r"fake_scores reach 81.*\[-inf, 80\].*r1"):
        FKullbackLeibler().discriminator(torch.zeros(2), scores)
    with pytest.raises(ValueError, match=r"real_scores reach -81"):
        FHellinger().discriminator(-scores, torch.zeros(2))
    assert FHellinger().generator(torch.tensor([80.0])).isfinite().all()


@pytest.mark.parametrize("loss", [FHellinger(), FKullbackLeibler(), FAlpha(), FAlpha(alpha=2.0), FAlpha(alpha=-1.0)])
def test_scores_that_are_no_numbers_stay_so_for_the_training_loop_to_name(loss):
    scores = torch.tensor([0.0, math.nan])
    for values in (loss.generator(scores), loss.discriminator(scores - 2.0, scores - 2.0)):
        assert values.isnan().tolist() == [False, True]
    with pytest.raises(ValueError, match="fake_scores reach inf"):
        loss.generator(torch.tensor([math.inf, math.nan]))


@pytest.mark.parametrize("alpha", [1.0 + 1e-7, 1.000001, 1.01, 1.5, 2.0, 3.0])
@pytest.mark.parametrize("form", ["trick", "conjugate"])
def test_orders_above_one_are_in_float32_what_they_are_in_float64(alpha, form):
    loss, found = FAlpha(alpha=alpha, generator_form=form), {}
    for dtype in (torch.float32, torch.float64):
        scores = torch.tensor([-200.0, -2.0, -1.0, -0.5, 0.0, 1.0, 5.0], dtype=dtype, requires_grad=True)
        values = torch.stack((loss.discriminator(scores, scores), loss.generator(scores)))
        found[dtype] = torch.cat((values, torch.autograd.grad(values.sum(), scores)[0].unsqueeze(0)))
    torch.testing.assert_close(found[torch.float32], found[torch.float64].float(), rtol=2e-5, atol=1e-6)
    ratio = torch.tensor([0.1, 0.9, 1.0, 2.0])
    for function in (loss.convex_function, loss.optimal_score):
        torch.testing.assert_close(function(ratio), function(ratio.double()).float(), rtol=1e-5, atol=1e-6)


def test_near_one_alpha_is_kullback_leibler():
    value = FAlpha(alpha=1.000001).discriminator(torch.tensor([-2.0]), torch.tensor([1.0]))
    torch.testing.assert_close(value, torch.tensor([2.0 + math.expm1(1.0)]), rtol=1e-5, atol=0.0)


def test_the_range_of_alpha_depends_on_alpha():
    assert FAlpha().score_range() == pytest.approx(FAlpha.card.score_range)
    assert FAlpha(alpha=0.9).score_range()[1] < 10 < FAlpha(alpha=0.5).score_range()[1]
    assert FAlpha(alpha=2.0).score_range()[1] > 1e10


ORDERS = [-1e6, -3.0, -1e-3, 1e-6, 1e-3, 0.05, 0.075, 0.5, 0.9, 0.99, 1.001, 1.1, 3.0]


@pytest.mark.parametrize("alpha", ORDERS)
@pytest.mark.parametrize("form", ["trick", "conjugate"])
def test_every_order_is_finite_within_its_range(alpha, form):
    loss = FAlpha(alpha=alpha, generator_form=form)
    highest = loss.score_range()[1]
    for score in (min(-3.0, highest - 3.0), min(0.0, highest - 1.0), highest - 0.01 if highest < 100.0 else 50.0):
        real, fake = (torch.full((2,), score, requires_grad=True) for _ in range(2))
        values = loss.discriminator(real, fake), loss.generator(fake)
        gradients = *torch.autograd.grad(values[0].sum(), (real, fake)), *torch.autograd.grad(values[1].sum(), fake)
        assert all(tensor.isfinite().all() for tensor in (*values, *gradients))


def test_alpha_of_two_is_half_of_pearson_and_of_a_half_is_twice_hellinger():
    ratio = torch.linspace(0.1, 5.0, 20, dtype=torch.float64)
    torch.testing.assert_close(FAlpha(alpha=2.0).convex_function(ratio), 0.5 * FPearson().convex_function(ratio))
    torch.testing.assert_close(FAlpha(alpha=0.5).convex_function(ratio), 2 * FHellinger().convex_function(ratio))


def test_softmax_is_the_cross_entropy_over_the_batch():
    logits = torch.cat((REAL, FAKE))
    targets = torch.tensor([1 / 3] * 3 + [0.0] * 3, dtype=torch.float64)
    expected = torch.nn.functional.cross_entropy(logits[None], targets[None])
    torch.testing.assert_close(SoftmaxGAN().discriminator(REAL, FAKE).mean(), expected)
    targets = torch.full((6,), 1 / 6, dtype=torch.float64)
    expected = torch.nn.functional.cross_entropy(logits[None], targets[None])
    torch.testing.assert_close(SoftmaxGAN().generator(FAKE, REAL).mean(), expected)
    assert SoftmaxGAN().equilibrium(batch=3).discriminator == pytest.approx(math.log(6))


def test_softmax_weighs_differences_and_its_highest_score_takes_the_batch():
    real = torch.zeros(8, dtype=torch.float64, requires_grad=True)
    fake = torch.tensor([20.0] + [0.0] * 7, dtype=torch.float64, requires_grad=True)
    for role, target in (("discriminator", 1 / 8), ("generator", 1 / 16)):
        values = getattr(SoftmaxGAN(), role)(*((real, fake) if role == "discriminator" else (fake, real)))
        on_real, on_fake = torch.autograd.grad(values.mean(), (real, fake))
        assert on_real.sum().item() == pytest.approx(-on_fake.sum().item())
        assert min(on_real.min().item(), on_fake.min().item()) >= -target
        assert on_fake[0] > 0.9
        assert on_fake[1:].max() < 1e-6


def test_boundary_equilibrium_follows_its_loop():
    loss = BoundaryEquilibrium(gamma=0.5, gain=0.1)
    state = loss.init_state()
    real, fake = torch.tensor([4.0, 2.0]), torch.tensor([1.0, 0.0])
    torch.testing.assert_close(loss.discriminator(real, fake, state=state), real)
    state = loss.next_state(state, real, fake)  # 0.1 * (0.5 * 3 - 0.5)
    assert state["k"].item() == pytest.approx(0.1)
    torch.testing.assert_close(loss.discriminator(real, fake, state=state), real - 0.1 * fake)
    for _ in range(100):
        state = loss.next_state(state, real, fake)
    assert state["k"].item() == 1.0
    for _ in range(100):
        state = loss.next_state(state, fake, real)
    assert state["k"].item() == 0.0


def test_boundary_equilibrium_without_its_memory_is_refused():
    with pytest.raises(ValueError, match=r"got no state.*init_state\(\)"):
        BoundaryEquilibrium().discriminator(REAL, FAKE)
    for call in (BoundaryEquilibrium().next_state, BoundaryEquilibrium().discriminator):
        with pytest.raises(ValueError, match=r"the state holds nothing, expected k too; start it with init_state"):
            call(state={}, real_scores=REAL, fake_scores=FAKE)


def test_the_loop_of_boundary_equilibrium_takes_scores_as_the_loss_does():
    loss = BoundaryEquilibrium(gain=1e-9)
    with pytest.raises(TypeError, match=r"real_scores has dtype torch\.int64"):
        loss.next_state(loss.init_state(), torch.ones(2).long(), FAKE)
    with pytest.raises(ValueError, match="shapes differ"):
        loss.next_state(loss.init_state(), torch.ones(2), torch.ones(3))
    double = torch.full((2,), 1.0, dtype=torch.float64) + 1e-12
    state = loss.next_state(loss.init_state(), double, double * 0.25)
    assert state["k"].item() == pytest.approx(1e-9 * 0.25 * (1.0 + 1e-12), rel=1e-14)


def test_a_loss_without_a_memory_has_an_empty_one():
    loss = Hinge()
    assert loss.next_state(loss.init_state(), REAL, FAKE) == {}
    torch.testing.assert_close(loss.discriminator(REAL, FAKE, state={}), loss.discriminator(REAL, FAKE))
