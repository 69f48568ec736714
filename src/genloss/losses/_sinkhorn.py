"""Sinkhorn's iteration in the log domain, tile by tile."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from genloss.losses._pairwise import first_derivative_only, squared_distances

__all__ = ["Potentials", "soft_minimum", "solve"]

_TILE = 1 << 22  # elements of a tile of costs; a problem that fits keeps its costs between iterations
_SHRINK = 0.5  # factor of the blur from one stage of the epsilon scaling to the next
_MOST_RELAXED = 1.9  # of 2, where the iteration stops converging
_CHECK_EVERY = 10  # iterations between two looks at the error, each of which waits for the device


class Settings(Protocol):
    """What the solver reads of the loss."""

    @property
    def blur(self) -> float: ...
    @property
    def p(self) -> int: ...
    @property
    def tolerance(self) -> float: ...
    @property
    def iterations(self) -> int: ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Potentials:
    """The dual solution `on_x` `(n,)` and `on_y` `(m,)`, its plan's marginal error, and the iterations made."""

    on_x: Tensor
    on_y: Tensor
    marginal_error: float
    iterations: int


def _costs(x: Tensor, y: Tensor, p: int) -> Tensor:
    if p == 2:
        return squared_distances(x, y).mul_(0.5)
    # The root needs more digits than the Gram expansion leaves in float32.
    return squared_distances(x.double(), y.double()).sqrt_().to(x.dtype)


class _Problem:
    """The costs between two sets, kept where they fit into one tile and computed again where they do not."""

    def __init__(self, x: Tensor, y: Tensor, p: int) -> None:
        self.x, self.y, self.p = x, y, p
        self.kept = _costs(x, y, p) if len(x) * len(y) <= _TILE else None

    def soft_minimum_over_y(self, potential: Tensor, epsilon: float) -> Tensor:
        if self.kept is not None:
            return _soft_minimum_of(self.kept, potential, epsilon)
        return _tiled_soft_minimum(self.x, self.y, potential, epsilon, self.p)

    def soft_minimum_over_x(self, potential: Tensor, epsilon: float) -> Tensor:
        if self.kept is not None:
            return _soft_minimum_of(self.kept.mT, potential, epsilon)
        return _tiled_soft_minimum(self.y, self.x, potential, epsilon, self.p)


def _soft_minimum_of(costs: Tensor, potential: Tensor, epsilon: float) -> Tensor:
    """Returns $-\\varepsilon\\log\\frac1m\\sum_j e^{(g_j-C_{ij})/\\varepsilon}$ for every row."""
    logits = torch.sub(potential, costs).div_(epsilon)
    return (logits.logsumexp(1) - math.log(costs.shape[1])).mul_(-epsilon)


def _tiled_soft_minimum(x: Tensor, y: Tensor, potential: Tensor, epsilon: float, p: int) -> Tensor:
    rows = max(1, _TILE // len(y))
    return torch.cat([_soft_minimum_of(_costs(part, y, p), potential, epsilon) for part in x.split(rows)])


def solve(x: Tensor, y: Tensor | None, settings: Settings) -> Potentials:
    """Returns the potentials of two sets of equally weighted points, or of one set with itself (`y=None`)."""
    problem = _Problem(x, x if y is None else y, settings.p)
    points = x if y is None else torch.cat((x, y))
    diameter = float(torch.linalg.vector_norm(points.amax(0) - points.amin(0)))
    f, g = x.new_zeros(len(x)), x.new_zeros(len(problem.y))
    blur = max(diameter, settings.blur)
    while blur > settings.blur:
        f, g = _step(problem, f, g, blur**settings.p, y is None)
        blur = max(blur * _SHRINK, settings.blur)
    return _finish(problem, f, g, settings, y is None)


def _step(problem: _Problem, f: Tensor, g: Tensor, epsilon: float, symmetric: bool) -> tuple[Tensor, Tensor]:
    if symmetric:
        # Averaging converges fast on a set with itself, where the plain step swings.
        f = 0.5 * (f + problem.soft_minimum_over_y(f, epsilon))
        return f, f
    f = problem.soft_minimum_over_y(g, epsilon)
    return f, problem.soft_minimum_over_x(f, epsilon)


def _finish(problem: _Problem, f: Tensor, g: Tensor, settings: Settings, symmetric: bool) -> Potentials:
    """Iterates at the final epsilon until the plan's marginals fit."""
    epsilon = settings.blur**settings.p
    error, done, relaxation = math.inf, 0, 1.0
    while done < settings.iterations and error > settings.tolerance:
        measured = done % _CHECK_EVERY == _CHECK_EVERY - 1 or done + 1 == settings.iterations
        if measured or symmetric:
            f, g = _step(problem, f, g, epsilon, symmetric)
        else:
            f = torch.lerp(f, problem.soft_minimum_over_y(g, epsilon), relaxation)
            g = torch.lerp(g, problem.soft_minimum_over_x(f, epsilon), relaxation)
        done += 1
        if measured:
            # The plan's row sums are exp((f - f') / epsilon) / n with f' the soft minimum that would make them right.
            # After a plain step of two sets the column sums are right and the rows are off; of one set, both alike.
            wanted = problem.soft_minimum_over_y(g, epsilon)
            before, error = error, float(torch.expm1((f - wanted) / epsilon).abs().mean())
            relaxation = _relaxation(before, error, relaxation)
    return Potentials(on_x=f, on_y=g, marginal_error=error, iterations=done)


def _relaxation(before: float, error: float, relaxation: float) -> float:
    """Returns how far beyond the plain step to go, between 1 and 2, from how slowly the error falls.

    For a plain iteration that shrinks the error by a factor r, the best is 2 / (1 + sqrt(1 - r)) near the solution
    (Lehmann et al. 2022). Further away it may overshoot; then start again from the plain one.
    """
    if not error < before < math.inf:
        return 1.0
    if relaxation > 1.0:
        return relaxation
    rate = (error / before) ** (1.0 / _CHECK_EVERY)
    return min(2.0 / (1.0 + math.sqrt(1.0 - rate)), _MOST_RELAXED)


class _SoftMinimum(torch.autograd.Function):
    """The soft minimum of costs with its gradient in `x`, tile by tile: the transport map's displacement."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, potential: Tensor, epsilon: float, p: int) -> Tensor:
        rows = max(1, _TILE // len(y))
        values, slopes = [], []
        for part in x.split(rows):
            costs = _costs(part, y, p)
            value = _soft_minimum_of(costs, potential, epsilon)
            # The plan's rows; for p = 1 the direction of the distance, 0 between equal points.
            plan = torch.sub(potential, costs).add_(value[:, None]).div_(epsilon).exp_().div_(len(y))
            if p == 1:
                plan = plan.div_(costs).masked_fill_(costs == 0.0, 0.0)
            values.append(value)
            slopes.append(plan.sum(1, keepdim=True) * part - plan @ y)
        ctx.save_for_backward(torch.cat(slopes))
        return torch.cat(values)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None, None, None]:
        first_derivative_only()
        (slope,) = ctx.saved_tensors
        return upstream[:, None] * slope, None, None, None, None


def soft_minimum(x: Tensor, y: Tensor, potential: Tensor, epsilon: float, p: int) -> Tensor:
    """Returns the soft minimum over `y` of the costs less the potential, `(n,)`, differentiable once in `x` alone."""
    value: Tensor = _SoftMinimum.apply(x, y, potential, epsilon, p)  # type: ignore[no-untyped-call]
    return value
