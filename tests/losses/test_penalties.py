"""Penalties and constraints: closed forms on critics whose slope is known. Their laws are in tests/laws."""

import copy
import math

import pytest
import torch
from torch import nn

from genloss.losses import (
    R1,
    R2,
    Consistency,
    Dragan,
    FeatureMatching,
    GradientPenalty,
    HistoricalAverage,
    LatentConsistency,
    LeCam,
    OrthogonalPenalty,
    PullingAway,
    VirtualAdversarial,
    WassersteinDivergence,
    WeightClip,
    WeightDecay,
    ZeroCentred,
)
from genloss.losses._penalty import CriticView


def stream(seed=0):
    return torch.Generator().manual_seed(seed)


def quadratic(x):
    """A critic with gradient x."""
    return 0.5 * x.flatten(1).square().sum(1)


def linear(x):
    """A critic with gradient (3, 4), length 5, everywhere."""
    return x.flatten(1) @ torch.tensor([3.0, 4.0], dtype=x.dtype)


def pairs(*shape, dtype=torch.float64):
    rng = stream(7)
    return torch.randn(shape, generator=rng, dtype=dtype), torch.randn(shape, generator=rng, dtype=dtype)


def test_r1_and_r2_are_half_the_squared_slope():
    real, fake = pairs(5, 2, 3)
    expected = 0.5 * real.flatten(1).square().sum(1)
    torch.testing.assert_close(R1()(quadratic, real, fake, stream()), expected)
    expected = 0.5 * fake.flatten(1).square().sum(1)
    torch.testing.assert_close(R2()(quadratic, real, fake, stream()), expected)


@pytest.mark.parametrize(
    ("penalty", "expected"),
    [
        (GradientPenalty(), 16.0),
        (GradientPenalty(target=0.0), 25.0),
        (GradientPenalty(target=7.0), 4.0),
        (GradientPenalty(target=7.0, one_sided=True), 0.0),
        (GradientPenalty(one_sided=True), 16.0),
        (R1(), 12.5),
        (R2(), 12.5),
        (ZeroCentred(), 25.0),
        (Dragan(target=2.0), 9.0),
        (WassersteinDivergence(), 2 * 5.0**6),
        (WassersteinDivergence(coefficient=1.0, power=1.5), 5.0**1.5),
    ],
    ids=lambda value: str(value),
)
def test_values_for_a_critic_of_slope_five(penalty, expected):
    real, fake = pairs(3, 2)
    torch.testing.assert_close(penalty(linear, real, fake, stream()), torch.full((3,), expected, dtype=torch.float64))


def test_the_norm_runs_over_all_axes_of_a_sample():
    real = torch.zeros(2, 3, 4, 4)
    value = GradientPenalty(target=0.0)(lambda x: x.flatten(1).sum(1), real, real, stream())
    torch.testing.assert_close(value, torch.full((2,), 48.0))  # per channel or per row it would be 16 or 4


def test_interpolates_have_one_uniform_weight_per_sample():
    real, fake = torch.ones(4000, 2), torch.zeros(4000, 2)
    view = CriticView(critic=linear, real=real, fake=fake, rng=stream())
    points = view.interpolates()
    assert points[:, 0].equal(points[:, 1])
    weights = points[:, 0]
    assert weights.min() >= 0
    assert weights.max() <= 1
    assert weights.unique().numel() > 3900
    # the mean of 4000 uniform numbers has standard deviation 0.0046
    assert weights.mean().item() == pytest.approx(0.5, abs=0.02)
    assert weights.var().item() == pytest.approx(1 / 12, abs=0.01)


def test_dragan_looks_around_the_real_samples():
    points = []

    def critic(x):
        points.append(x.detach())
        return x.sum(1)

    real, fake = torch.full((4000, 2), 5.0), torch.zeros(4000, 2)
    Dragan(deviation=0.3)(critic, real, fake, stream())
    assert points[0].mean().item() == pytest.approx(5.0, abs=0.02)
    assert points[0].std().item() == pytest.approx(0.3, abs=0.02)


def test_a_relu_critic_at_a_point_of_zero_slope_has_finite_second_derivatives():
    critic = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1))
    for parameter in critic.parameters():
        nn.init.constant_(parameter, -1.0)
    real = torch.ones(3, 2)
    for penalty in (GradientPenalty(), WassersteinDivergence(), Dragan()):
        critic.zero_grad()
        value = penalty(critic, real, real, stream())
        value.sum().backward()
        assert value.isfinite().all()
        assert all(p.grad is None or p.grad.isfinite().all() for p in critic.parameters())


def test_scores_handed_over_must_come_from_samples_that_require_a_gradient():
    real, fake = pairs(3, 2)
    with pytest.raises(ValueError, match=r"do not require a gradient; call samples.requires_grad_\(\)"):
        R1()(linear, real, fake, stream(), real_scores=linear(real))
    real.requires_grad_()
    with pytest.raises(ValueError, match="do not depend on its samples"):
        R1()(linear, real, fake, stream(), real_scores=linear(real).detach())
    with pytest.raises(ValueError, match="one score a sample"):
        R1()(linear, real, fake, stream(), real_scores=linear(real)[:2])


def test_scores_of_half_precision_are_refused():
    real = torch.zeros(3, 2, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        scores = nn.Linear(2, 1)(real)
    assert scores.dtype == torch.bfloat16
    with pytest.raises(TypeError, match="run the critic outside autocast"):
        R1()(linear, real, real.detach(), stream(), real_scores=scores)


@pytest.mark.parametrize(
    "penalty", [GradientPenalty(), R1(), LeCam(), Dragan()], ids=lambda value: type(value).__name__
)
def test_samples_that_do_not_pair_are_refused(penalty):
    with pytest.raises(ValueError, match=r"shapes differ: real \(3, 2\), fake \(4, 2\)"):
        penalty(linear, torch.zeros(3, 2), torch.zeros(4, 2), stream())
    with pytest.raises(TypeError, match="dtypes or devices differ"):
        penalty(linear, torch.zeros(3, 2), torch.zeros(3, 2).double(), stream())


def test_a_critic_that_returns_one_number_for_the_batch_is_refused():
    real = torch.zeros(3, 2)
    with pytest.raises(ValueError, match=r"scores have shape \(\) for samples of shape \(3, 2\)"):
        R1()(lambda x: x.sum(), real, real, stream())


def test_a_constant_critic_is_refused_with_a_reason():
    real = torch.zeros(3, 2)
    with pytest.raises(ValueError, match="do not depend on its samples"):
        R1()(lambda x: torch.ones(3, requires_grad=True), real, real, stream())


def test_frozen_critics_and_no_grad_still_give_the_value():
    critic = nn.Linear(2, 1).requires_grad_(False)
    real = torch.zeros(3, 2)
    expected = 0.5 * critic.weight.square().sum()
    torch.testing.assert_close(R1()(critic, real, real, stream()), expected.expand(3))
    with torch.no_grad():
        value = R1()(critic, real, real, stream())
    assert not value.requires_grad
    torch.testing.assert_close(value, expected.expand(3))


def test_lecam_pulls_each_side_to_the_other_average():
    penalty = LeCam(decay=0.9)
    real, fake = pairs(4, 2)
    state = penalty.init_state()
    for _ in range(3):
        state = penalty.next_state(state, linear(real), linear(fake))
    share = 1 - 0.9**3
    assert state["real"].item() == pytest.approx(share * linear(real).mean().item())
    assert state["fake"].item() == pytest.approx(share * linear(fake).mean().item())
    expected = (linear(real) - state["fake"]).square() + (linear(fake) - state["real"]).square()
    torch.testing.assert_close(penalty(linear, real, fake, stream(), state=state), expected)


PATCHES = torch.tensor([[2.0, -2.0]])


@pytest.mark.parametrize(
    ("penalty", "expected"),
    [
        (LeCam(), 8.0),  # the mean of the squares, 4 on each side; the square of the mean would be 0
        (GradientPenalty(target=0.0), 0.0),  # the slope of the mean, which is flat
        (Consistency(flip=False, shift=0, deviation=1.0), None),
        (LatentConsistency(deviation=1.0), None),
        (VirtualAdversarial(), None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_patches_are_averaged_after_the_comparison_and_before_the_slope(penalty, expected):
    x = torch.zeros(1, 1)
    value = penalty(lambda x: PATCHES * (1.0 + x), x, x, stream())  # the mean score is 0 at every x
    if expected is None:
        assert value.item() > 0.01
    else:
        assert value.item() == expected


@pytest.mark.parametrize("penalty", [GradientPenalty(), Dragan(), Consistency(), VirtualAdversarial()], ids=repr)
@pytest.mark.parametrize("rng", [None, 0])
def test_random_numbers_must_come_from_a_generator(penalty, rng):
    x = torch.zeros(2, 1, 8, 8)
    with pytest.raises(TypeError, match=rf"rng is {rng}, expected a torch\.Generator; pass torch\.Generator\(\)"):
        penalty(lambda x: x.flatten(1).sum(1), x, x, rng)


def test_a_penalty_that_draws_nothing_needs_no_generator():
    x = torch.ones(2, 3)
    torch.testing.assert_close(R1()(quadratic, x, x, None), torch.full((2,), 1.5))


def test_a_memory_that_was_not_started_is_refused():
    x, weights = torch.zeros(2, 2), [torch.ones(2)]
    wrong = r"the state holds nothing, expected .* start it with init_state\(\.\.\.\)"
    for call in (
        lambda: LeCam()(linear, x, x, stream(), state={}),
        lambda: LeCam().next_state({}, linear(x), linear(x)),
        lambda: HistoricalAverage()(weights, state={}),
        lambda: HistoricalAverage().next_state({}, weights),
    ):
        with pytest.raises(ValueError, match=wrong):
            call()
    with pytest.raises(TypeError, match=r"real_scores has dtype torch\.int64"):
        LeCam().next_state(LeCam().init_state(), torch.ones(2).long(), torch.ones(2))
    with pytest.raises(ValueError, match="the state holds real, expected fake too"):
        LeCam()(linear, x, x, stream(), state={"real": torch.zeros(())})


def test_weight_decay_orthogonality_and_history_have_their_closed_forms():
    weights = [torch.tensor([[3.0, 4.0], [0.0, 2.0]]), torch.tensor([1.0])]
    assert WeightDecay()(weights).item() == pytest.approx(0.5 * (9 + 16 + 4 + 1))
    assert OrthogonalPenalty()(weights).item() == pytest.approx(2 * 8.0**2)
    assert OrthogonalPenalty(unit_norm=True)(weights).item() == pytest.approx(2 * 64 + 24**2 + 3**2)
    tall = torch.eye(4, 2)
    assert OrthogonalPenalty(unit_norm=True)([tall]).item() == 0.0
    assert OrthogonalPenalty()([torch.eye(4).view(4, 1, 2, 2)]).item() == 0.0
    with pytest.raises(ValueError, match="no parameter has two or more axes"):
        OrthogonalPenalty()([torch.ones(3)])


def test_historical_average_is_the_mean_of_the_past():
    penalty = HistoricalAverage()
    past = [torch.tensor([1.0, 5.0]), torch.tensor([2.0, 3.0]), torch.tensor([6.0, 1.0])]
    state = penalty.init_state([past[0]])
    assert penalty([past[0]], state=state).item() == 0.0
    for weights in past:
        state = penalty.next_state(state, [weights])
    torch.testing.assert_close(state["mean"], torch.tensor([3.0, 3.0]))
    assert penalty([torch.tensor([4.0, 5.0])], state=state).item() == pytest.approx(1 + 4)
    with pytest.raises(ValueError, match="remembers 2 numbers and the parameters are 3"):
        penalty([torch.zeros(3)], state=state)


def test_historical_average_does_not_grow_with_other_parameters():
    penalty = HistoricalAverage()
    state = penalty.init_state([torch.zeros(1)])
    with pytest.raises(ValueError, match="remembers 1 numbers and the parameters are 3; start the state anew"):
        penalty.next_state(state, [torch.zeros(3)])


@pytest.mark.parametrize(
    "call", [WeightDecay(), OrthogonalPenalty(), HistoricalAverage(), WeightClip().apply_], ids=repr
)
@pytest.mark.parametrize("module", [nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 2))], ids=repr)
def test_a_module_is_not_its_parameters(call, module):
    with pytest.raises(TypeError, match=r"parameters are a (Linear|Sequential), .*; pass module\.parameters\(\)"):
        call(module)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("penalty", [R1(), GradientPenalty(), LeCam()], ids=repr)
@pytest.mark.parametrize(
    "layer", [nn.Linear(3, 1), nn.Conv1d(1, 1, 3), nn.Conv1d(1, 1, 3, bias=False), nn.LayerNorm(3)]
)
def test_a_critic_of_another_dtype_is_told_to_stay_in_float32(layer, penalty, dtype):
    x = torch.ones(2, 1, 3)
    with pytest.raises(TypeError, match=r"samples of torch\.float32 \(.*Keep the critic's parameters there.*autocast"):
        penalty(copy.deepcopy(layer).to(dtype), x, x, stream())


def test_another_error_of_a_critic_is_its_own():
    x = torch.ones(2, 3)
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        R1()(nn.Linear(2, 1), x, x, stream())


def test_parameters_must_be_there_and_floating():
    spent = iter([])
    with pytest.raises(ValueError, match="there is no parameter"):
        WeightDecay()(spent)
    with pytest.raises(TypeError, match=r"parameters\[0\] has dtype torch.int64"):
        WeightDecay()([torch.ones(2, dtype=torch.int64)])


def test_feature_matching_and_pulling_away_have_their_closed_forms():
    real = torch.tensor([[1.0, 0.0], [3.0, 2.0]])
    fake = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    assert FeatureMatching()(real, fake).item() == pytest.approx(1.5**2)
    assert PullingAway()(real, fake).tolist() == [0.0, 0.0]
    assert PullingAway()(fake, torch.tensor([[2.0, 0.0], [-5.0, 0.0]])).tolist() == [1.0, 1.0]
    for size in (1e20, 1e-25):
        assert PullingAway()(fake, torch.tensor([[size, 0.0], [size, 0.0]])).tolist() == [1.0, 1.0]
    rng = stream()
    code = torch.randn(10, 6, generator=rng, dtype=torch.float64)
    unit = code / code.norm(dim=1, keepdim=True)
    total = sum((unit[i] @ unit[j]) ** 2 for i in range(10) for j in range(10) if i != j)
    torch.testing.assert_close(PullingAway()(code, code).mean(), total / 90)
    with pytest.raises(ValueError, match="a single sample"):
        PullingAway()(code[:1], code[:1])
    with pytest.raises(ValueError, match="at least one feature axis"):
        PullingAway()(code[:, 0], code[:, 0])


def test_weight_clip_clips_parameters_in_place_and_keeps_their_gradient():
    critic = nn.Linear(3, 2)
    critic(torch.ones(1, 3)).sum().backward()
    before = critic.weight.grad.clone()
    WeightClip(bound=0.05).apply_(critic.parameters())
    assert all(parameter.abs().max() <= 0.05 for parameter in critic.parameters())
    assert critic.weight.requires_grad
    assert critic.weight.grad.equal(before)
    with pytest.raises(ValueError, match="there is no parameter"):
        WeightClip().apply_(iter([]))


@pytest.mark.parametrize(
    ("cls", "fields", "message"),
    [
        (GradientPenalty, {"target": -1.0}, "target is -1.0"),
        (Dragan, {"target": math.nan}, "target is nan"),
        (Dragan, {"deviation": 0.0}, "deviation is 0.0"),
        (WassersteinDivergence, {"power": 1.0}, "power is 1.0"),
        (WassersteinDivergence, {"coefficient": 0.0}, "coefficient is 0.0"),
        (LeCam, {"decay": 1.0}, "decay is 1.0"),
        (VirtualAdversarial, {"radius": 0.0}, "radius is 0.0"),
        (VirtualAdversarial, {"iterations": 0}, "iterations is 0"),
        (Consistency, {"shift": -1}, "shift is -1"),
        (Consistency, {"deviation": -1.0}, "deviation is -1.0"),
        (Consistency, {"flip": False, "shift": 0}, "all off"),
        (LatentConsistency, {"deviation": 0.0}, "deviation is 0.0"),
        (WeightClip, {"bound": 0.0}, "bound is 0.0"),
        (WeightClip, {"bound": "x"}, "bound is 'x', expected a positive finite number"),
        (GradientPenalty, {"one_sided": "yes"}, "one_sided is 'yes', expected True or False"),
        (GradientPenalty, {"target": "1"}, "target is '1', expected a finite number"),
        (LeCam, {"decay": "x"}, "decay is 'x', expected a finite number"),
        (VirtualAdversarial, {"iterations": 1.5}, "iterations is 1.5, expected a whole number"),
        (Consistency, {"shift": 1.5}, "shift is 1.5, expected a whole number"),
        (Consistency, {"balanced": 1}, "balanced is 1, expected True or False"),
        (OrthogonalPenalty, {"unit_norm": "no"}, "unit_norm is 'no', expected True or False"),
        (WassersteinDivergence, {"power": "6"}, "power is '6', expected a positive finite number"),
    ],
)
def test_a_field_out_of_its_range_is_refused(cls, fields, message):
    with pytest.raises(ValueError, match=message):
        cls(**fields)
