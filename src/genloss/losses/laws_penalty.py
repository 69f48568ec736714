"""The laws of penalties on a critic, on parameters and on features, and of constraints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from genloss.losses._law_tools import (
    derivatives_agree,
    finite,
    memory_is_sound,
    number,
    same,
    same_under_autocast,
    seeded,
)
from genloss.losses._penalty import Penalty
from genloss.losses.feature_penalties import FeaturePenalty
from genloss.losses.laws import LawBroken, law
from genloss.losses.parameter_penalties import Constraint, ParameterPenalty

__all__: list[str] = []

_BATCH = 4
_SHAPE = (1, 6, 6)  # images, since some penalties shift them


@dataclass
class _Critic:
    """A small smooth critic that remembers where it was called.

    Args:
        inner: `(values, hidden)`.
        outer: `(hidden,)`.
        patches: equal scores a sample; 0 gives one score without a patch axis.
        linear: leave out the hyperbolic tangent.
        called: the samples of every call.
    """

    inner: Tensor
    outer: Tensor
    patches: int = 0
    linear: bool = False
    called: list[Tensor] = field(default_factory=list)

    def __call__(self, samples: Tensor) -> Tensor:
        self.called.append(samples.detach().clone())
        hidden = samples.flatten(1) @ self.inner
        scores = (hidden if self.linear else hidden.tanh()) @ self.outer
        return scores[:, None].expand(-1, self.patches) if self.patches else scores


def _critic(dtype: torch.dtype = torch.float64, *, patches: int = 0, linear: bool = False) -> _Critic:
    rng = seeded(1)
    inner, outer = (torch.randn(shape, generator=rng, dtype=torch.float64) for shape in ((36, 2), (2,)))
    inner, outer = (0.3 * inner).to(dtype).requires_grad_(), outer.to(dtype).requires_grad_()
    return _Critic(inner, outer, patches=patches, linear=linear)


def _samples(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    rng = seeded(2)
    real, fake = (torch.randn((_BATCH, *_SHAPE), generator=rng, dtype=torch.float64) for _ in range(2))
    return real.to(dtype), (fake + 1.0).to(dtype)


def _call(penalty: Penalty, critic: _Critic, real: Tensor, fake: Tensor, **scores: Tensor) -> Tensor:
    """Returns the penalty with its own random stream and a memory that has seen an update."""
    state = penalty.next_state(penalty.init_state(), torch.full((_BATCH,), 2.0), torch.full((_BATCH,), -1.0))
    return penalty(critic, real, fake, seeded(3), state=state, **scores)


@law("penalty")
def _shape(penalty: Penalty) -> str:
    """The penalty is one number a sample, not negative, in float32 or better."""
    for dtype, expected in ((torch.bfloat16, torch.float32), (torch.float64, torch.float64)):
        values = _call(penalty, _critic(expected), *_samples(dtype))
        if values.shape != (_BATCH,):
            raise LawBroken(
                f"{_BATCH} samples give the shape {tuple(values.shape)}, expected ({_BATCH},): a norm, mean or sum was "
                "taken over the batch."
            )
        if values.dtype != expected:
            raise LawBroken(f"samples of {dtype} give {values.dtype}, expected {expected}.")
        if not bool((values >= 0).all()):
            raise LawBroken(f"the values are {number(values)}, expected none below 0.")
    return f"values {number(values)}"


@law("penalty")
def _coupling(penalty: Penalty) -> str:
    """A sample's penalty depends on the others of its batch if and only if couples_batch says so."""
    real, fake = _samples()
    others_real, others_fake = torch.cat((real[:1], 3.0 * real[1:])), torch.cat((fake[:1], 3.0 * fake[1:]))
    before, after = _call(penalty, _critic(), real, fake)[0], _call(penalty, _critic(), others_real, others_fake)[0]
    change = (before - after).abs().item()
    if (change > 1e-9) != penalty.couples_batch:
        raise LawBroken(
            f"the first sample's penalty is {number(before)}, and {number(after)} when only the other samples change; "
            f"couples_batch is {penalty.couples_batch}."
        )
    return f"change {change:.1e} when the others change"


@law("penalty")
def _own_points(penalty: Penalty) -> str | None:
    """Every sample draws random numbers of its own."""
    if not penalty.points & {"interpolates", "noise"}:
        return None
    real, fake = (samples[:1].expand(8, *_SHAPE).contiguous() for samples in _samples())
    critic = _critic()
    _call(penalty, critic, real, fake)
    drawn = [points.double() for points in critic.called if not (points.equal(real) or points.equal(fake))]
    if not drawn:
        raise LawBroken(f"points names {sorted(penalty.points)}, and the critic was called at real and fake only.")
    for points in drawn:
        if "interpolates" in penalty.points:
            _on_the_line(points, real, fake)
        distinct = points.flatten(1).unique(dim=0).shape[0]
        if distinct == 1:
            weight = ((points - fake) / (real - fake)).flatten(1)[:, 0]
            raise LawBroken(
                f"8 equal pairs of samples share 1 point (its weight between them is {number(weight)}), expected a "
                "random number for each sample."
            )
    return f"{distinct} distinct points for 8 equal pairs of samples"


def _on_the_line(points: Tensor, real: Tensor, fake: Tensor) -> None:
    """Raises LawBroken unless every point lies between its pair."""
    weights = ((points - fake) / (real - fake)).flatten(1)
    spread = (weights - weights[:, :1]).abs().max().item()
    if spread > 1e-6 or weights.min() < -1e-6 or weights.max() > 1 + 1e-6:
        raise LawBroken(
            f"within a sample the weights between real and fake are {number(weights[0])}, expected one weight in "
            "[0, 1] for the whole sample."
        )


@law("penalty")
def _flat(penalty: Penalty) -> str:
    """Where the critic is flat, value and gradient are finite."""
    critic = _critic()
    critic.outer = torch.zeros_like(critic.outer).requires_grad_()
    values = _call(penalty, critic, *_samples())
    finite("for a flat critic the penalty is", values)
    if not values.requires_grad:
        raise LawBroken("for a flat critic the penalty has no graph, expected one: it could never leave that point.")
    for gradient in torch.autograd.grad(values.sum(), (critic.inner, critic.outer), allow_unused=True):
        if gradient is not None:
            finite("for a flat critic the gradient in its parameters is", gradient)
    return f"values {number(values)}"


@law("penalty")
def _derivatives(penalty: Penalty) -> str:
    """Its gradient in the critic's parameters is that of its value."""
    critic = _critic(linear=penalty.follows_critic)
    real, fake = _samples()
    # Where the points follow the critic, the penalty holds its scores of the real samples constant.
    held = {"real_scores": critic(real).detach()} if penalty.follows_critic else {}

    def compute(inner: Tensor, outer: Tensor) -> Tensor:
        return _call(penalty, _Critic(inner, outer, linear=critic.linear), real, fake, **held)

    message = derivatives_agree("the penalty", compute, (critic.inner, critic.outer), second=False)
    slopes = torch.autograd.grad(compute(critic.inner, critic.outer).sum(), (critic.inner, critic.outer))
    if not any(bool(slope.any()) for slope in slopes):
        raise LawBroken("its gradient in the critic's parameters is 0, expected one that trains the critic.")
    return message


@law("penalty")
def _handed_over(penalty: Penalty) -> str:
    """Scores handed over change nothing, and save a pass of the critic."""
    real, fake = _samples()
    alone = _critic()
    expected = _call(penalty, alone, real, fake)
    real, fake, critic = real.requires_grad_(), fake.requires_grad_(), _critic()
    real_scores, fake_scores = critic(real), critic(fake)
    critic.called.clear()
    found = _call(penalty, critic, real, fake, real_scores=real_scores, fake_scores=fake_scores)
    same("with scores handed over the penalty is", found, expected)
    again = [points for points in critic.called if points.equal(real) or points.equal(fake)]
    if again:
        raise LawBroken(f"with scores handed over the critic ran {len(again)} more times on those samples, expected 0.")
    return f"{len(critic.called)} passes instead of {len(alone.called)}"


@law("penalty")
def _isolation(penalty: Penalty) -> str:
    """It leaves samples, the critic's stored gradients and the generator's graph alone."""
    critic, (real, noise) = _critic(), _samples()
    weight = torch.ones((), dtype=torch.float64, requires_grad=True)
    before = real.clone()
    fake = noise * weight
    _call(penalty, critic, real, fake).sum().backward()
    if weight.grad is not None:
        raise LawBroken(f"the generator got the gradient {number(weight.grad)}, expected none: detach the samples.")
    critic.inner.grad = critic.outer.grad = None
    with torch.no_grad():
        values = _call(penalty, critic, real, fake)
    if values.requires_grad or critic.inner.grad is not None or not real.equal(before):
        raise LawBroken(
            "under no_grad it kept a graph, stored gradients or changed the samples; expected a value only."
        )
    same("under no_grad the penalty is", values, _call(penalty, critic, real, fake))
    return "nothing but the value"


@law("penalty")
def _patches(penalty: Penalty) -> str:
    """A critic with equal patch scores has the penalty of one with that score."""
    samples = _samples()
    error = same(
        "with 3 equal patches it is", _call(penalty, _critic(patches=3), *samples), _call(penalty, _critic(), *samples)
    )
    return f"largest difference {error:.1e}"


@law("penalty")
def _autocast(penalty: Penalty) -> str:
    """Autocast changes nothing."""
    real, fake = _samples(torch.float32)
    return same_under_autocast("the penalty", lambda: _call(penalty, _critic(torch.float32), real, fake))


@law("penalty")
def _refuses(penalty: Penalty) -> str:
    """Real and fake samples that cannot be paired are refused."""
    real, fake = _samples()
    for what, pair in {"3 fakes for 4 real samples": (real, fake[:3]), "integers": (real.long(), fake.long())}.items():
        try:
            _call(penalty, _critic(), *pair)
        except (ValueError, TypeError):
            continue
        raise LawBroken(f"{what} were taken, expected a ValueError or TypeError.")
    return "refuses unequal batches and integers"


@law("penalty")
def _memory(penalty: Penalty) -> str | None:
    """A memory keeps its names and shapes, is detached, and is not changed in place."""
    scores = [torch.ones(_BATCH, requires_grad=True) for _ in range(2)]
    return memory_is_sound(penalty.init_state(), lambda state: penalty.next_state(state, *scores))


def _weights(dtype: torch.dtype = torch.float64) -> list[Tensor]:
    rng = seeded(4)
    shapes = ((3, 4), (5, 2, 2), (3,))
    return [torch.randn(shape, generator=rng, dtype=torch.float64).to(dtype) for shape in shapes]


def _remembered(penalty: ParameterPenalty) -> dict[str, Tensor]:
    """Returns a memory that has seen two updates."""
    state = penalty.next_state(penalty.init_state(_weights()), [weight + 1.0 for weight in _weights()])
    return penalty.next_state(state, [2.0 * weight for weight in _weights()])


@law("parameter_penalty")
def _parameter_value(penalty: ParameterPenalty) -> str:
    """The penalty is a scalar, not negative, with the derivatives of its value."""
    state = _remembered(penalty)
    value = penalty(_weights(), state=state)
    if value.shape != ():
        raise LawBroken(f"the shape is {tuple(value.shape)}, expected ().")
    if not value >= 0:
        raise LawBroken(f"the value is {number(value)}, expected none below 0.")
    half = penalty(_weights(torch.bfloat16), state=state)
    if half.dtype == torch.bfloat16:
        raise LawBroken("bfloat16 parameters give bfloat16, expected float32 or better.")
    derivatives_agree("the penalty", lambda *ws: penalty(ws, state=state), tuple(_weights()), second=True)
    return f"value {number(value)}"


@law("parameter_penalty")
def _parameter_autocast(penalty: ParameterPenalty) -> str:
    """Autocast changes nothing."""
    weights, state = _weights(torch.float32), _remembered(penalty)
    return same_under_autocast("the penalty", lambda: penalty(weights, state=state))


@law("parameter_penalty")
def _parameter_refuses(penalty: ParameterPenalty) -> str:
    """No parameters are refused."""
    return _refuses_nothing(penalty)


@law("parameter_penalty")
def _parameter_memory(penalty: ParameterPenalty) -> str | None:
    """A memory keeps its names and shapes, is detached, and is not changed in place."""
    weights = [weight.requires_grad_() for weight in _weights()]
    return memory_is_sound(penalty.init_state(weights), lambda state: penalty.next_state(state, weights))


@law("feature_penalty")
def _feature_value(penalty: FeaturePenalty) -> str:
    """The penalty is one number a batch or a sample, not negative, with the derivatives of its value."""
    real, fake = (samples[:, 0, :2] for samples in _samples())
    values = penalty(real, fake)
    if values.shape not in ((), (_BATCH,)):
        raise LawBroken(f"the shape is {tuple(values.shape)}, expected () or ({_BATCH},).")
    if not bool((values >= 0).all()):
        raise LawBroken(f"the values are {number(values)}, expected none below 0.")
    derivatives_agree("the penalty", lambda f: penalty(real, f), (fake,), second=True)
    return f"values {number(values)}"


@law("feature_penalty")
def _feature_zero(penalty: FeaturePenalty) -> str:
    """At features of 0, value and gradient are finite."""
    real = torch.zeros(_BATCH, 3)
    fake = torch.zeros(_BATCH, 3, requires_grad=True)
    values = penalty(real, fake)
    finite("at features of 0 the penalty is", values)
    finite("at features of 0 the gradient is", torch.autograd.grad(values.sum(), fake)[0])
    return f"values {number(values)}"


@law("feature_penalty")
def _feature_order(penalty: FeaturePenalty) -> str:
    """The order of the samples does not change its mean."""
    real, fake = _samples()
    order = torch.tensor([2, 0, 3, 1])
    found, expected = penalty(real[order], fake[order]).mean(), penalty(real, fake).mean()
    return f"difference {same('in another order the mean is', found, expected):.1e}"


@law("feature_penalty")
def _feature_autocast(penalty: FeaturePenalty) -> str:
    """Autocast changes nothing."""
    real, fake = _samples(torch.float32)
    return same_under_autocast("the penalty", lambda: penalty(real, fake))


@law("constraint")
def _constraint_twice(constraint: Constraint) -> str:
    """Applied twice it does what it does once, in place, and keeps shapes."""
    weights = [(10.0 * weight).requires_grad_() for weight in _weights()]
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
