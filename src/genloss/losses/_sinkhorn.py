"""Sinkhorn's iteration: in the log domain while potentials move far, then as products with a kept kernel."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from genloss.losses._pairwise import rows_of_a_tile, squared_distances

__all__ = ["Solution", "diameter", "solve"]

_KEPT = 1 << 24  # pairs whose costs and kernel are kept; beyond, tiles of costs are computed again each time
_SHRINK = 0.5  # factor of the blur from one stage of the epsilon scaling to the next
_MOST_RELAXED = 1.9  # of 2, where the iteration stops converging
_CHECK_EVERY = 10  # iterations between two looks at the error, each of which waits for the device
_DRIFT = 20.0  # epsilons that a potential may move before the kernel is built anew around it
_LARGEST_DRIFT = 40.0  # where it is held until then: float32 ends at a factor of exp(88)


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
class Solution:
    """The transport cost, its gradients (0 where not wanted), the plan's marginal error, and the iterations made."""

    value: Tensor
    on_x: Tensor
    on_y: Tensor
    marginal_error: float
    iterations: int


class _Costs:
    """The costs between two sets, kept where they fit and computed again tile by tile where they do not."""

    def __init__(self, x: Tensor, y: Tensor, p: int) -> None:
        self.x, self.y, self.p = x, y, p
        self.rows = rows_of_a_tile(x.device, len(y))
        self.kept: Tensor | None = None
        if len(x) * len(y) <= _KEPT:
            kept = x.new_empty(len(x), len(y))
            for rows, tile in self.tiles():
                kept[rows] = tile
            self.kept = kept

    def tiles(self) -> Iterator[tuple[slice, Tensor]]:
        """Yields the costs of some rows at a time; they are not to be overwritten."""
        for start in range(0, len(self.x), self.rows):
            rows = slice(start, start + self.rows)
            yield rows, self._of(self.x[rows]) if self.kept is None else self.kept[rows]

    def _of(self, x: Tensor) -> Tensor:
        if self.p == 2:
            return squared_distances(x, self.y).mul_(0.5)
        # The root needs more digits than the Gram expansion leaves in float32.
        return squared_distances(x.double(), self.y.double()).sqrt_().to(x.dtype)


def _plan_rows(costs: Tensor, potential: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """Returns the soft minimum of every row, and the row of the plan that it makes, of sum 1.

    The soft minimum is $-\\varepsilon\\log\\frac1m\\sum_j e^{(g_j-C_{ij})/\\varepsilon}$.
    """
    logits = torch.sub(potential, costs).div_(epsilon)
    largest = logits.amax(1, keepdim=True)
    plan = logits.sub_(largest).exp_()
    total = plan.sum(1, keepdim=True)
    minimum = (largest + total.log() - math.log(costs.shape[1])).mul_(-epsilon).squeeze(1)
    return minimum, plan.div_(total)


class _Tiles:
    """Soft minima in the log domain, tile by tile, in memory linear in the number of points."""

    def __init__(self, costs: _Costs, epsilon: float) -> None:
        self.epsilon, self.costs, self.turned = epsilon, costs, _Costs(costs.y, costs.x, costs.p)

    def over_y(self, g: Tensor) -> Tensor:
        return torch.cat([_plan_rows(tile, g, self.epsilon)[0] for _, tile in self.costs.tiles()])

    def over_x(self, f: Tensor) -> Tensor:
        return torch.cat([_plan_rows(tile, f, self.epsilon)[0] for _, tile in self.turned.tiles()])

    def near(self, g: Tensor) -> _Tiles:
        """Returns what is exact near this potential."""
        return self


class _Kernel:
    r"""Soft minima as products with the kept kernel $e^{(f^0_i+g^0_j-C_{ij})/\varepsilon}/m$, whose rows have sum 1.

    Exact for potentials near $(f^0,g^0)$, where nothing of weight has underflowed; finite everywhere.
    """

    def __init__(self, costs: _Costs, epsilon: float, g: Tensor) -> None:
        self.costs, self.epsilon, self.g = costs, epsilon, g
        self.kernel = costs.x.new_empty(len(costs.x), len(costs.y))
        minima = []
        for rows, tile in costs.tiles():
            minimum, self.kernel[rows] = _plan_rows(tile, g, epsilon)
            minima.append(minimum)
        self.f = torch.cat(minima)

    def over_y(self, g: Tensor) -> Tensor:
        return self._soft_minimum(self.f, self.kernel @ self._factor(g - self.g))

    def over_x(self, f: Tensor) -> Tensor:
        mass = self.kernel.mT @ self._factor(f - self.f)
        return self._soft_minimum(self.g, mass.mul_(len(self.g) / len(self.f)))

    def near(self, g: Tensor) -> _Kernel:
        """Returns what is exact near this potential."""
        moved = float((g - self.g).abs().max()) / self.epsilon
        return self if moved <= _DRIFT else _Kernel(self.costs, self.epsilon, g)

    def _factor(self, moved: Tensor) -> Tensor:
        return moved.div_(self.epsilon).clamp_(-_LARGEST_DRIFT, _LARGEST_DRIFT).exp_()

    def _soft_minimum(self, around: Tensor, mass: Tensor) -> Tensor:
        return torch.sub(around, mass.clamp_(min=torch.finfo(mass.dtype).tiny).log_(), alpha=self.epsilon)


def solve(x: Tensor, y: Tensor | None, settings: Settings, wants: tuple[bool, bool]) -> Solution:
    """Returns the transport cost of two sets of equally weighted points, or of one set with itself (`y=None`).

    Args:
        x: `(n, d)`, without a graph, near the origin.
        y: `(m, d)`, likewise.
        settings: the blur, the order and when to stop.
        wants: whether the gradients in `x` and in `y` are wanted.
    """
    costs = _Costs(x, x if y is None else y, settings.p)
    f, g = x.new_zeros(len(x)), x.new_zeros(len(costs.y))
    # A set with itself is near its solution from the start.
    blur = settings.blur if y is None else diameter(x, costs.y)
    if not blur < torch.finfo(x.dtype).max ** (1.0 / settings.p):  # NaN, or costs that overflow: the value is NaN
        on_x, on_y = (torch.full_like(points, math.nan) for points in (x, costs.y))
        return Solution(value=f.sum() + math.nan, on_x=on_x, on_y=on_y, marginal_error=math.nan, iterations=0)
    while blur > settings.blur:
        f, g = _sweep(_around(costs, blur**settings.p, g), f, g, 1.0, False)
        blur *= _SHRINK
    f, g, error, iterations = _converge(costs, f, g, settings, y is None)
    value, on_x, on_y = _value_and_gradient(costs, g, settings.blur**settings.p, wants)
    if y is None:
        on_x *= 2.0  # a point is on either side of its pairs
    return Solution(value=value, on_x=on_x, on_y=on_y, marginal_error=error, iterations=iterations)


def diameter(x: Tensor, y: Tensor) -> float:
    """Returns the diagonal of the box around both sets."""
    lowest, highest = torch.minimum(x.amin(0), y.amin(0)), torch.maximum(x.amax(0), y.amax(0))
    return float(torch.linalg.vector_norm(highest - lowest))


def _around(costs: _Costs, epsilon: float, g: Tensor) -> _Kernel | _Tiles:
    return _Tiles(costs, epsilon) if costs.kept is None else _Kernel(costs, epsilon, g)


def _sweep(kernel: _Kernel | _Tiles, f: Tensor, g: Tensor, relaxation: float, symmetric: bool) -> tuple[Tensor, Tensor]:
    """Makes one iteration, of both potentials in turn."""
    if symmetric:
        # Averaging converges fast on a set with itself, where the plain step swings.
        f = 0.5 * (f + kernel.over_y(f))
        return f, f
    f = torch.lerp(f, kernel.over_y(g), relaxation)
    return f, torch.lerp(g, kernel.over_x(f), relaxation)


def _converge(
    costs: _Costs, f: Tensor, g: Tensor, settings: Settings, symmetric: bool
) -> tuple[Tensor, Tensor, float, int]:
    """Iterates at the final epsilon until the plan's marginals fit; returns their error and the iterations too."""
    epsilon = settings.blur**settings.p
    kernel = _around(costs, epsilon, g)
    error, done, relaxation = math.inf, 0, 1.0
    while done < settings.iterations and error > settings.tolerance:
        count = min(_CHECK_EVERY, settings.iterations - done)
        for _ in range(count - 1):
            f, g = _sweep(kernel, f, g, relaxation, symmetric)
        f, g = _sweep(kernel, f, g, 1.0, symmetric)
        done += count
        kernel = kernel.near(g)
        # The plan's row sums are exp((f - f') / epsilon) / n with f' the soft minimum that would make them right. After
        # a plain step of two sets the column sums are right and the rows are off; of one set, both alike.
        before, error = error, float(torch.expm1((f - kernel.over_y(g)) / epsilon).abs().mean())
        relaxation = _relaxation(before, error, relaxation)
    return f, g, error, done


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


def _value_and_gradient(
    costs: _Costs, g: Tensor, epsilon: float, wants: tuple[bool, bool]
) -> tuple[Tensor, Tensor, Tensor]:
    r"""Returns the semi-dual $\frac1n\sum_if_i+\frac1m\sum_jg_j$, with $f$ the soft minimum of $C-g$, and its gradient.

    By the envelope theorem $g$ counts as a constant; the error of the value is quadratic in that of $g$.
    """
    on_x, on_y = torch.zeros_like(costs.x), torch.zeros_like(costs.y)
    minima = []
    for rows, tile in costs.tiles():
        minimum, plan = _plan_rows(tile, g, epsilon)
        minima.append(minimum)
        if costs.p == 1:  # the direction of the distance, 0 between equal points
            plan = plan.div_(tile).masked_fill_(tile == 0.0, 0.0)
        part = costs.x[rows]
        if wants[0]:
            on_x[rows] = plan.sum(1, keepdim=True) * part - plan @ costs.y
        if wants[1]:
            on_y += plan.sum(0)[:, None] * costs.y - plan.mT @ part
    n = len(costs.x)
    return torch.cat(minima).mean() + g.mean(), on_x / n, on_y / n
