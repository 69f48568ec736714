"""The laws of penalties on a critic."""

from __future__ import annotations

import math
from collections.abc import Set
from dataclasses import dataclass, field

import torch
from torch import Tensor

from genloss.losses._law_tools import (
    Setting,
    couples_as_declared,
    derivatives_agree,
    falls,
    finite,
    memory_is_sound,
    number,
    probe,
    same,
    seeded,
)
from genloss.losses._penalty import Penalty
from genloss.losses.laws import LawBroken, LawSkipped, law

__all__: list[str] = []

_BATCH = 4
_SHAPE = (1, 16, 16)  # images, since some penalties shift them
_STEEP = 100.0
_POINTS = {"real", "fake", "interpolates", "noise"}


@dataclass
class _Critic:
    """A small smooth critic that remembers where it was called.

    Args:
        inner: `(values, hidden)`.
        outer: `(hidden,)`.
        patches: equal scores a sample; 0 gives one score without a patch axis.
        linear: leave out the hyperbolic tangent, which bends it; far out it has a slope all the same.
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
        scores = (hidden if self.linear else 0.5 * (hidden + hidden.tanh())) @ self.outer
        return scores[:, None].expand(-1, self.patches) if self.patches else scores


def _critic(
    dtype: torch.dtype = torch.float64,
    device: str = "cpu",
    *,
    patches: int = 0,
    linear: bool = False,
    steepness: float = 1.0,
) -> _Critic:
    rng, values = seeded(1), math.prod(_SHAPE)
    inner, outer = (torch.randn(shape, generator=rng, dtype=torch.float64) for shape in ((values, 2), (2,)))
    inner, outer = 1.8 / values**0.5 * inner, steepness * outer
    inner, outer = (weights.to(device, dtype).requires_grad_() for weights in (inner, outer))
    return _Critic(inner, outer, patches=patches, linear=linear)


def _steep_enough(penalty: Penalty) -> float:
    """Returns a steepness of the critic at which the penalty trains it: some are 0 up to a slope of their choice."""
    for steepness in (2.0**power for power in range(20)):
        critic = _critic(linear=penalty.follows_critic, steepness=steepness)
        values = _call(penalty, critic, *_samples())
        if values.requires_grad and bool(torch.autograd.grad(values.sum(), critic.inner)[0].any()):
            return steepness
    raise LawBroken(
        f"its gradient in the critic's parameters is 0, of critics up to {steepness:.0f} times as steep too, expected "
        "one that trains the critic."
    )


def _samples(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    rng = seeded(2)
    real, fake = (torch.randn((_BATCH, *_SHAPE), generator=rng, dtype=torch.float64) for _ in range(2))
    return real.to(dtype), (fake + 1.0).to(dtype)


def _call(penalty: Penalty, critic: _Critic, real: Tensor, fake: Tensor, **scores: Tensor) -> Tensor:
    """Returns the penalty with its own random stream and a memory that has seen an update."""
    state = penalty.next_state(penalty.init_state(), torch.full((_BATCH,), 2.0), torch.full((_BATCH,), -1.0))
    return penalty(critic, real, fake, seeded(3), state=state, **scores)


@probe("penalty")
def _probe(penalty: Penalty, setting: Setting) -> dict[str, Tensor]:
    """Returns the penalty at a linear critic, and its gradient in the critic's parameters."""
    # At a linear critic, drawn points do not matter. Parameters stay in float32 where samples are in bfloat16.
    critic = _critic(torch.promote_types(setting.dtype, torch.float32), setting.device, linear=True)
    real, fake = (setting.tensor(samples) for samples in _samples())
    values = penalty(critic, real, fake, setting.rng)
    inner, outer = torch.autograd.grad(values.sum(), (critic.inner, critic.outer))
    return {"the penalty": values.detach(), "gradient in the critic": torch.cat((inner.flatten(), outer))}


@law("penalty", shape=True)
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
        if not bool((values >= -1e-6).all()):  # small ones are rounded
            raise LawBroken(f"the values are {number(values)}, expected none below 0.")
    return f"values {number(values)}"


@law("penalty")
def _coupling(penalty: Penalty) -> str:
    """A sample's penalty depends on the others of its batch if and only if couples_batch says so."""
    real, fake = _samples()
    others_real, others_fake = torch.cat((real[:1], 3.0 * real[1:])), torch.cat((fake[:1], 3.0 * fake[1:]))
    before, after = _call(penalty, _critic(), real, fake)[0], _call(penalty, _critic(), others_real, others_fake)[0]
    return couples_as_declared("penalty", before, after, penalty.couples_batch)


@law("penalty")
def _named_points(penalty: Penalty) -> str:
    """points is a set of the names real, fake, interpolates and noise."""
    if not isinstance(penalty.points, Set) or not penalty.points <= _POINTS:
        raise LawBroken(
            f"points is {penalty.points!r}, expected a frozenset of names among {', '.join(sorted(_POINTS))}, such as "
            f"frozenset({{'real'}}): no tuple, list or string."
        )
    return f"points {', '.join(sorted(penalty.points))}"


@law("penalty")
def _no_other_points(penalty: Penalty) -> str:
    """It looks at no samples that points leaves out."""
    # Noise is around real samples where it stands alone.
    points = {"real"} if penalty.points == {"noise"} else set(penalty.points)
    (real, fake), seen = _samples(), []
    value = _call(penalty, _critic(), real, fake)
    for name, others in (("real", (2.0 * real, fake)), ("fake", (real, 2.0 * fake))):
        if {name, "interpolates"} & points:
            seen.append(name)
            continue
        what = f"with other {name} samples, which points {sorted(penalty.points)} leaves out, the penalty is"
        same(what, _call(penalty, _critic(), *others), value)
    return f"looks at {' and '.join(seen)} samples at most"


@law("penalty")
def _own_points(penalty: Penalty) -> str:
    """Every sample draws random numbers of its own."""
    if not {"interpolates", "noise"} & set(penalty.points):
        raise LawSkipped(f"it looks at {', '.join(sorted(penalty.points))} samples, and draws no points")
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
    critic = _critic(linear=penalty.follows_critic, steepness=_steep_enough(penalty))
    real, fake = _samples()
    # Where the points follow the critic, the penalty holds its scores of the real samples constant.
    held = {"real_scores": critic(real).detach()} if penalty.follows_critic else {}

    def compute(inner: Tensor, outer: Tensor) -> Tensor:
        return _call(penalty, _Critic(inner, outer, linear=critic.linear), real, fake, **held)

    return derivatives_agree("the penalty", compute, (critic.inner, critic.outer), second=not penalty.follows_critic)


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
def _order(penalty: Penalty) -> str:
    """Samples in another order give the same values in that order."""
    real, fake = _samples()
    # At a linear critic no drawn point matters, unless the numbers drawn do more than choose it.
    first, second = (penalty(_critic(linear=True), real, fake, seeded(seed)) for seed in (3, 4))
    if not torch.allclose(first, second):
        raise LawSkipped("each place in the batch draws random numbers of its own")
    order = torch.tensor([2, 0, 3, 1])
    found = penalty(_critic(linear=True), real[order], fake[order], seeded(3))
    return f"largest difference {same('in another order it is', found, first[order]):.1e}"


@law("penalty")
def _steep(penalty: Penalty) -> str:
    """Where the critic is steep, value and gradient are finite in float32."""
    critic = _critic(torch.float32, linear=True)
    with torch.no_grad():
        critic.outer.mul_(_STEEP)
    values = _call(penalty, critic, *_samples(torch.float32))
    finite(f"for a critic {_STEEP:.0f} times as steep the penalty is", values)
    for gradient in torch.autograd.grad(values.sum(), (critic.inner, critic.outer), allow_unused=True):
        if gradient is not None:
            finite(f"for a critic {_STEEP:.0f} times as steep the gradient in its parameters is", gradient)
    return f"values {number(values)}"


@law("penalty")
def _optimum(penalty: Penalty) -> str:
    """Descending it lowers it towards 0."""
    critic, (real, fake) = _critic(steepness=_steep_enough(penalty)), _samples()
    return falls(lambda: _call(penalty, critic, real, fake).mean(), [critic.inner, critic.outer])


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
def _memory(penalty: Penalty) -> str:
    """A memory keeps its names and shapes, is detached, and is not changed in place."""
    scores = [torch.ones(_BATCH, requires_grad=True) for _ in range(2)]
    return memory_is_sound(penalty.init_state(), lambda state: penalty.next_state(state, *scores))
