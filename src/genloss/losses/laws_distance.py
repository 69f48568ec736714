"""The laws of sample distances."""

from __future__ import annotations

import torch
from torch import Tensor

from genloss.losses._law_tools import derivatives_agree, finite, number, same, same_under_autocast, seeded
from genloss.losses.distances import SampleDistance
from genloss.losses.laws import LawBroken, law

__all__: list[str] = []

_SAMPLES = 24
_REPEATS = 40


def _sets(seed: int, shift: float = 0.0, samples: int = _SAMPLES) -> tuple[Tensor, Tensor]:
    """Returns two sets of standard normal numbers, the second one shifted."""
    rng = seeded(seed)
    x, y = (torch.randn(samples, 1, generator=rng, dtype=torch.float64) for _ in range(2))
    return x, y + shift


def _value(loss: SampleDistance, x: Tensor, y: Tensor) -> Tensor:
    return loss(x, y, rng=seeded(9))


@law("distance")
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
def does_not_read_order(loss: SampleDistance) -> str | None:
    """The order of the samples does not matter."""
    if loss.pairs_samples:
        return None
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
def derivative_is_right(loss: SampleDistance) -> str:
    """The derivative is that of the value."""
    return derivatives_agree("the distance", lambda x, y: _value(loss, x, y), _sets(4, 1.0, samples=6), second=False)


@law("distance")
def ignores_autocast(loss: SampleDistance) -> str:
    """bfloat16 autocast changes nothing."""
    x, y = (samples.float() for samples in _sets(5, 1.0))
    return same_under_autocast("the distance", lambda: _value(loss, x, y))


@law("distance")
def draws_from_its_generator(loss: SampleDistance) -> str:
    """One seed gives one value, and the global generator is left alone."""
    before = torch.get_rng_state()
    x, y = _sets(6, 1.0)
    same("with the same seed", _value(loss, x, y), _value(loss, x, y))
    if not torch.equal(before, torch.get_rng_state()):
        raise LawBroken("the global generator moved, expected all numbers to come from rng.")
    return "the global generator stands still"
