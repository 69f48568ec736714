"""The laws of sample distances."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from genloss.losses._law_tools import Setting, derivatives_agree, descend, finite, number, probe, same, seeded
from genloss.losses.distances import SampleDistance
from genloss.losses.laws import LawBroken, LawSkipped, law

__all__: list[str] = []

_SAMPLES = 24
_REPEATS = 40
_PAIRS = 10
_MANY = 300
_ERRORS = 5.0  # standard errors that a mean may be off
_REMAINS = 0.2  # of a distance, after a descent
_UNBIASED = ("unbiased", "linear_time")
_WIDE = 2.0  # times as wide
_ROUNDING = 1e-6  # of a distance
_FAR = 8192.0  # float32 holds multiples of 1/64 there


def _sets(seed: int, shift: float = 0.0, samples: int = _SAMPLES) -> tuple[Tensor, Tensor]:
    """Returns two sets of standard normal numbers, the second one shifted."""
    rng = seeded(seed)
    x, y = (torch.randn(samples, 1, generator=rng, dtype=torch.float64) for _ in range(2))
    return x, y + shift


def _value(loss: SampleDistance, x: Tensor, y: Tensor) -> Tensor:
    return loss(x, y, rng=seeded(9))


def _values(loss: SampleDistance, x_samples: int, y_samples: int) -> Tensor:
    """Returns many estimates between equal distributions."""
    pairs = (_sets(seed, samples=max(x_samples, y_samples)) for seed in range(_MANY))
    return torch.stack([_value(loss, x[:x_samples], y[:y_samples]) for x, y in pairs])


def _fewer(loss: SampleDistance) -> int:
    """Returns how many samples the second set holds beside the first: half as many where the loss takes them."""
    x, y = _sets(0)
    try:
        _value(loss, x, y[: _SAMPLES // 2])
    except ValueError:
        return _SAMPLES
    return _SAMPLES // 2


@probe("distance")
def _probe(loss: SampleDistance, setting: Setting) -> dict[str, Tensor]:
    """Returns the distance and its gradient in the first set."""
    x, y = (setting.tensor(samples) for samples in _sets(1, 1.0))
    value = loss(x.requires_grad_(), y, rng=setting.rng)
    return {"the distance": value.detach(), "gradient": torch.autograd.grad(value, x)[0]}


@law("distance", shape=True)
def returns_one_number(loss: SampleDistance) -> str:
    """Two sets give one finite number in float32 or better."""
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        x, y = (samples.to(dtype) for samples in _sets(0, 1.0))
        value = _value(loss, x, y)
        if value.shape != () or value.dtype not in (torch.float32, torch.float64):
            raise LawBroken(
                f"shape {tuple(value.shape)} and dtype {value.dtype}, expected a scalar of float32 or better."
            )
        finite(f"the distance of {dtype} samples is", value)
    return f"{number(_value(loss, *_sets(0, 1.0)))} for a shift of 1"


@law("distance")
def is_symmetric(loss: SampleDistance) -> str:
    """Exchanging both sets changes nothing."""
    x, y = _sets(1, 1.0)
    error = same("with the sets exchanged", _value(loss, y, x), _value(loss, x, y), relative=1e-3, absolute=1e-6)
    return f"difference {error:.1e}"


@law("distance")
def does_not_read_order(loss: SampleDistance) -> str:
    """The order of the samples does not matter."""
    if loss.pairs_samples:
        raise LawSkipped("it says that it pairs neighbours (pairs_samples)")
    x, y = _sets(2, 1.0)
    error = same("with x turned round", _value(loss, x.flip(0), y), _value(loss, x, y), relative=1e-6, absolute=1e-9)
    return f"difference {error:.1e}"


@law("distance")
def grows_with_the_difference(loss: SampleDistance) -> str:
    """Different distributions are further apart than equal ones, in the mean."""
    near, far = (
        torch.stack([_value(loss, *_sets(seed, shift)) for seed in range(_REPEATS)]).mean() for shift in (0.0, 2.0)
    )
    if not far > near:
        raise LawBroken(f"equal distributions are {number(near)} apart and shifted ones {number(far)}, expected more.")
    return f"{number(near)} for equal distributions, {number(far)} for a shift of 2"


@law("distance")
def is_bounded_below(loss: SampleDistance) -> str:
    """In the mean it is not below 0, and a wider distribution is no nearer than an equal one."""
    equal, wide = (
        torch.stack([_value(loss, width * x, y) for x, y in map(_sets, range(_REPEATS))]) for width in (1.0, _WIDE)
    )
    for values in (equal, wide - equal):
        if not values.mean() >= -_ERRORS * _standard_error(values) - 1e-6:
            raise LawBroken(
                f"equal distributions are {number(equal.mean())} apart in the mean, and {number(wide.mean())} where "
                f"one is {_WIDE:.0f} times as wide, expected at least 0 and no less: the terms within a set and "
                f"between the sets do not balance, and samples run from each other."
            )
    return f"mean {number(equal.mean())} for equal distributions, {number(wide.mean())} for a wider one"


@law("distance")
def pulls_the_sets_together(loss: SampleDistance) -> str:
    """A step down the gradient moves samples towards the other set."""
    x, y = _sets(3, 2.0)
    (gradient,) = torch.autograd.grad(_value(loss, x.requires_grad_(), y), x)
    finite("the gradient is", gradient)
    if not gradient.mean() < 0.0:
        raise LawBroken(
            f"the mean gradient on samples that lie 2 too low is {number(gradient.mean())}, expected less than 0."
        )
    return f"mean gradient {number(gradient.mean())} on samples that lie 2 too low"


@law("distance")
def is_unbiased(loss: SampleDistance) -> str:
    """Between equal distributions an unbiased estimate is 0 in the mean."""
    estimator = getattr(loss, "estimator", None)
    if estimator not in _UNBIASED:
        raise LawSkipped(f"it does not claim to be unbiased (estimator is {estimator!r})")
    values = _values(loss, _SAMPLES, _fewer(loss))
    error = _standard_error(values)
    if abs(float(values.mean())) > _ERRORS * error:
        raise LawBroken(
            f"the mean of {_MANY} estimates between equal distributions is {number(values.mean())} with a standard "
            f"error of {error:.2g}, expected 0: the pairs of a sample with itself do not belong to the sum."
        )
    return f"mean {number(values.mean())}, standard error {error:.2g}"


@law("distance")
def more_samples_are_no_further_apart(loss: SampleDistance) -> str:
    """A set written twice is the same set, or the distance of equal distributions neither grows nor is below 0."""
    estimator = getattr(loss, "estimator", None)
    if estimator in _UNBIASED:
        raise LawSkipped(f"estimator is {estimator!r}: a law of its own holds its mean at 0")
    few = _fewer(loss)
    x, y = _sets(6, 1.0)
    once, twice = _value(loss, x, y[:few]), _value(loss, x.repeat(2, 1), y[:few].repeat(2, 1))
    if math.isclose(once, twice, rel_tol=1e-3, abs_tol=1e-6):
        return f"{number(once)}, and with both sets written twice {number(twice)}"
    small, large = _values(loss, _SAMPLES, few), _values(loss, 2 * _SAMPLES, 2 * few)
    slack = _ERRORS * math.hypot(_standard_error(small), _standard_error(large))
    if not -slack <= float(large.mean()) <= float(small.mean()) + slack:
        raise LawBroken(
            f"with both sets written twice {number(once)} becomes {number(twice)}, and the mean between equal "
            f"distributions is {number(small.mean())} for {_SAMPLES} and {few} samples and {number(large.mean())} for "
            f"twice as many, expected none below 0 and no growth: divide by the number of pairs that are summed."
        )
    return f"mean between equal distributions {number(small.mean())}, with twice as many {number(large.mean())}"


@law("distance")
def compares_every_sample(loss: SampleDistance) -> str:
    """Sets of different sizes are compared whole, or refused."""
    few = _fewer(loss)
    if few == _SAMPLES:
        raise LawSkipped("it takes sets of equal size only")
    x, y = _sets(5, 1.0)
    late = torch.cat((torch.zeros(few, 1), torch.full((_SAMPLES - few, 1), 3.0))).double()
    changes = {
        "x": (_value(loss, x + late, y[:few]), _value(loss, x, y[:few])),
        "y": (_value(loss, x[:few], y + late), _value(loss, x[:few], y)),
    }
    for name, (after, before) in changes.items():
        finite(f"with more samples in {name} the distance is", after)
        if math.isclose(after, before, rel_tol=1e-6, abs_tol=1e-9):
            raise LawBroken(
                f"the distance of {_SAMPLES} samples in {name} from {few} others is {number(before)}, and the same "
                f"after the last {_SAMPLES - few} have moved by 3, expected a change: the surplus is dropped."
            )
    return "samples in surplus count"


def _further(loss: SampleDistance, spread: float, moves: Callable[[Tensor], Tensor]) -> tuple[float, float, bool]:
    """Returns the mean distance of sets with two features before and after one set moves, and whether it has grown.

    The features lie `spread` apart. Every pair of sets has its own random numbers: one random direction may see little.
    """
    near, far = [], []
    for seed in range(_PAIRS):
        x, y = (torch.cat(_sets(start, spread), 1) for start in (seed, seed + _PAIRS))
        try:
            near.append(loss(x, y, rng=seeded(seed)))
        except ValueError as error:
            raise LawSkipped(f"it does not take two features: {error}") from None
        far.append(loss(x, moves(y), rng=seeded(seed)))
    before, after = torch.stack(near), torch.stack(far)
    rounding = _ROUNDING * torch.cat((before, after)).abs().max()
    return float(before.mean()), float(after.mean()), bool(after.mean() - before.mean() > rounding)


@law("distance")
def features_keep_their_places(loss: SampleDistance) -> str:
    """Sets whose features are exchanged are further apart than equal distributions, in the mean."""
    near, far, grown = _further(loss, 3.0, lambda y: y.flip(1))
    if not grown:
        raise LawBroken(
            f"with features around 0 and 3 the distance is {near:.4g}, and {far:.4g} when one set has them around 3 "
            f"and 0, expected more: features are compared each with its own."
        )
    return f"{near:.4g}, with features exchanged {far:.4g}"


@law("distance")
def every_feature_counts(loss: SampleDistance) -> str:
    """A shift of any one feature takes two sets further apart, in the mean."""
    found = []
    for feature in range(2):
        shift = 3.0 * torch.eye(2, dtype=torch.float64)[feature]
        near, far, grown = _further(loss, 0.0, shift.add)
        if not grown:
            raise LawBroken(
                f"with feature {feature} of 2 shifted by 3 the distance goes from {near:.4g} to {far:.4g}, expected "
                f"more: every feature counts."
            )
        found.append(far)
    return f"{near:.4g}, with one feature shifted {found[0]:.4g} and {found[1]:.4g}"


@law("distance")
def rests_at_equal_distributions(loss: SampleDistance) -> str:
    """Between equal distributions the gradient is 0 in the mean, and between equal sets it is finite."""
    shifts = []
    for seed in range(_REPEATS):
        x, y = _sets(seed)
        shifts.append(torch.autograd.grad(_value(loss, x.requires_grad_(), y), x)[0].sum())
    slopes = torch.stack(shifts)
    error = _standard_error(slopes)
    if not abs(float(slopes.mean())) <= _ERRORS * error + 1e-9:
        raise LawBroken(
            f"a shift of one set changes the distance with slope {number(slopes.mean())} in the mean, standard error "
            f"{error:.2g}, expected 0 between equal distributions."
        )
    x = _sets(0)[0].requires_grad_()
    finite("between equal sets the gradient is", torch.autograd.grad(_value(loss, x, x.detach().clone()), x)[0])
    return f"mean slope {number(slopes.mean())}, standard error {error:.2g}"


def _standard_error(values: Tensor) -> float:
    return values.std().item() / math.sqrt(len(values))


@law("distance")
def stays_finite_far_out(loss: SampleDistance) -> str:
    """Sets that lie 1,000 apart have a finite distance and gradient in float32."""
    x, y = (samples.float() for samples in _sets(7, 1000.0))
    value = _value(loss, x.requires_grad_(), y)
    finite("the distance is", value)
    finite("the gradient is", torch.autograd.grad(value, x)[0])
    return f"distance {number(value)}"


@law("distance")
def does_not_cancel_far_out(loss: SampleDistance) -> str:
    """Where moving both sets together changes nothing, it changes nothing far out in float32 either."""
    x, y = ((64.0 * samples).round() / 64.0 for samples in _sets(7, 1.0))
    value, nearby = _value(loss, x, y), _value(loss, x + 1.0, y + 1.0)
    if not math.isclose(value, nearby, rel_tol=1e-6, abs_tol=1e-9):
        raise LawSkipped(f"with both sets moved by 1 it is {number(nearby)} instead of {number(value)}")
    found = _value(loss, (x + _FAR).float(), (y + _FAR).float())
    error = same(
        f"in float32, with both sets moved by {_FAR:.0f}, the distance is", found, value, relative=1e-2, absolute=1e-3
    )
    return f"difference {error:.1e}"


@law("distance")
def brings_the_sets_together(loss: SampleDistance) -> str:
    """Descending it takes one set to the other."""
    x, y = _sets(8, 2.0)
    # What equal sets are apart is no distance left: a transport plan that is blurred costs something there too.
    rest = max(0.0, float(_value(loss, y.clone(), y)))
    first, last = descend(lambda: _value(loss, x, y), [x.requires_grad_()], rate=0.15, steps=60)
    limit = rest + _REMAINS * (first - rest)
    if not last < limit:
        raise LawBroken(
            f"60 steps down the gradient take the distance from {first:.4g} to {last:.4g}, expected less than "
            f"{limit:.4g}."
        )
    return f"from {first:.4g} to {last:.4g}"


@law("distance")
def derivative_is_right(loss: SampleDistance) -> str:
    """The derivative is that of the value."""
    # An iteration that stops at a tolerance has a derivative as exact as that.
    relative = max(1e-4, getattr(loss, "tolerance", 0.0))
    sets = _sets(4, 1.0, samples=6)
    return derivatives_agree("the distance", lambda x, y: _value(loss, x, y), sets, second=False, relative=relative)
