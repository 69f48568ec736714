"""The laws of penalties on parameters and on features, and of constraints."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from genloss.losses._law_tools import (
    Setting,
    derivatives_agree,
    falls,
    finite,
    memory_is_sound,
    number,
    probe,
    same,
)
from genloss.losses.feature_penalties import FeaturePenalty
from genloss.losses.laws import LawBroken, law
from genloss.losses.parameter_penalties import Constraint, ParameterPenalty

__all__: list[str] = []

_BATCH = 4
_SHAPES = ((3, 4), (5, 2, 2), (3,))


def _weights() -> list[Tensor]:
    return [Setting().normal(*shape, seed=index) for index, shape in enumerate(_SHAPES)]


def _remembered(penalty: ParameterPenalty) -> dict[str, Tensor]:
    """Returns a memory that has seen two updates."""
    state = penalty.next_state(penalty.init_state(_weights()), [weight + 1.0 for weight in _weights()])
    return penalty.next_state(state, [2.0 * weight for weight in _weights()])


@probe("parameter_penalty")
def _parameter_probe(penalty: ParameterPenalty, setting: Setting) -> dict[str, Tensor]:
    """Returns the penalty and its gradient."""
    weights = [setting.tensor(weight).requires_grad_() for weight in _weights()]
    state = {name: value.to(setting.device) for name, value in _remembered(penalty).items()}
    value = penalty(weights, state=state)
    gradients = torch.autograd.grad(value, weights, allow_unused=True)
    flat = [torch.zeros_like(w) if g is None else g for g, w in zip(gradients, weights, strict=True)]
    return {"the penalty": value.detach(), "gradient": torch.cat([gradient.flatten() for gradient in flat])}


@law("parameter_penalty", shape=True)
def _parameter_value(penalty: ParameterPenalty) -> str:
    """The penalty is a scalar, not negative, with the derivatives of its value."""
    state = _remembered(penalty)
    value = penalty(_weights(), state=state)
    if value.shape != ():
        raise LawBroken(f"the shape is {tuple(value.shape)}, expected ().")
    if not value >= 0:
        raise LawBroken(f"the value is {number(value)}, expected none below 0.")
    half = penalty([weight.bfloat16() for weight in _weights()], state=state)
    if half.dtype == torch.bfloat16:
        raise LawBroken("bfloat16 parameters give bfloat16, expected float32 or better.")
    derivatives_agree("the penalty", lambda *ws: penalty(ws, state=state), tuple(_weights()), second=True)
    return f"value {number(value)}"


@law("parameter_penalty")
def _parameter_optimum(penalty: ParameterPenalty) -> str:
    """Descending it lowers it towards 0, and at parameters of 0 its gradient is finite."""
    weights, state = [weight.requires_grad_() for weight in _weights()], _remembered(penalty)
    zeros = [torch.zeros_like(weight, requires_grad=True) for weight in weights]
    for gradient in torch.autograd.grad(penalty(zeros, state=state), zeros, allow_unused=True):
        if gradient is not None:
            finite("at parameters of 0 the gradient is", gradient)
    return falls(lambda: penalty(weights, state=state), weights)


@law("parameter_penalty")
def _parameter_refuses(penalty: ParameterPenalty) -> str:
    """No parameters are refused."""
    return _refuses_nothing(penalty)


@law("parameter_penalty")
def _parameter_memory(penalty: ParameterPenalty) -> str:
    """A memory keeps its names and shapes, is detached, and is not changed in place."""
    weights = [weight.requires_grad_() for weight in _weights()]
    return memory_is_sound(penalty.init_state(weights), lambda state: penalty.next_state(state, weights))


def _features() -> tuple[Tensor, Tensor]:
    """Returns features of real and fake samples, more of them than samples, so that samples can be orthogonal."""
    return Setting().normal(_BATCH, 6, seed=1), Setting().normal(_BATCH, 6, seed=2) + 1.0


@probe("feature_penalty")
def _feature_probe(penalty: FeaturePenalty, setting: Setting) -> dict[str, Tensor]:
    """Returns the penalty and its gradient in the fake features."""
    real, fake = (setting.tensor(features) for features in _features())
    values = penalty(real, fake.requires_grad_())
    return {"the penalty": values.detach(), "gradient": torch.autograd.grad(values.sum(), fake)[0]}


@law("feature_penalty", shape=True)
def _feature_value(penalty: FeaturePenalty) -> str:
    """The penalty is one number a batch or a sample, not negative, with the derivatives of its value."""
    real, fake = _features()
    values = penalty(real, fake)
    if values.shape not in ((), (_BATCH,)):
        raise LawBroken(f"the shape is {tuple(values.shape)}, expected () or ({_BATCH},).")
    if not bool((values >= 0).all()):
        raise LawBroken(f"the values are {number(values)}, expected none below 0.")
    derivatives_agree("the penalty", lambda f: penalty(real, f), (fake,), second=True)
    return f"values {number(values)}"


@law("feature_penalty")
def _feature_extremes(penalty: FeaturePenalty) -> str:
    """At features of 0 and of 10,000, value and gradient are finite in float32."""
    for size in (0.0, 1e4):
        real, fake = (size * features.float() for features in _features())
        values = penalty(real, fake.requires_grad_())
        finite(f"at features of {size:.0f} the penalty is", values)
        finite(f"at features of {size:.0f} the gradient is", torch.autograd.grad(values.sum(), fake)[0])
    return f"values {number(values)}"


@law("feature_penalty")
def _feature_order(penalty: FeaturePenalty) -> str:
    """The order of the samples does not change its mean."""
    real, fake = _features()
    order = torch.tensor([2, 0, 3, 1])
    found, expected = penalty(real[order], fake[order]).mean(), penalty(real, fake).mean()
    return f"difference {same('in another order the mean is', found, expected):.1e}"


@law("feature_penalty")
def _feature_optimum(penalty: FeaturePenalty) -> str:
    """Descending it lowers it towards 0."""
    real, fake = _features()
    return falls(lambda: penalty(real, fake).mean(), [fake.requires_grad_()])


@probe("constraint")
def _constraint_probe(constraint: Constraint, setting: Setting) -> dict[str, Tensor]:
    """Returns the parameters after it."""
    weights = [setting.tensor(10.0 * weight) for weight in _weights()]
    constraint.apply_(weights)
    return {"the parameters after it": torch.cat([weight.flatten() for weight in weights])}


@law("constraint")
def _constraint_twice(constraint: Constraint) -> str:
    """Applied twice it does what it does once, in place, and keeps shapes."""
    weights = [(1e6 * weight).requires_grad_() for weight in _weights()]  # beyond any bound
    before = [weight.detach().clone() for weight in weights]
    constraint.apply_(weights)
    once = [weight.detach().clone() for weight in weights]
    if all(a.equal(b) for a, b in zip(before, once, strict=True)):
        raise LawBroken(f"weights of up to {number(max(w.abs().max() for w in before))} did not change.")
    constraint.apply_(weights)
    error = max(same("applied twice a weight is", w, o) for w, o in zip(weights, once, strict=True))
    return f"largest difference {error:.1e}"


@law("constraint")
def _constraint_refuses(constraint: Constraint) -> str:
    """No parameters are refused."""
    return _refuses_nothing(constraint.apply_)


def _refuses_nothing(function: Callable[[list[Tensor]], object]) -> str:
    """Returns a message; raises LawBroken unless an empty list of parameters is refused."""
    try:
        function([])
    except ValueError:
        return "refuses an empty list"
    raise LawBroken("no parameters were taken in silence, expected a ValueError: an iterator was spent.")
