"""Sinkhorn's iteration: in the log domain where potentials move far, as products with a kept kernel where they do not."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from genloss.losses._pairwise import rows_of_a_tile, squared_distances

__all__ = ["Solution", "Target", "solve"]

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
class Target:
    """Which gradients are wanted."""

    x: bool
    y: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class Solution:
    """The transport cost, its gradients where wanted, the plan's marginal error, and the iterations made."""

    value: Tensor
    on_x: Tensor | None
    on_y: Tensor | None
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
        self.costs, self.epsilon = costs, epsilon
        self.turned = _Costs(costs.y, costs.x, costs.p)

    def over_y(self, g: Tensor) -> Tensor:
        return torch.cat([_plan_rows(tile, g, self.epsilon)[0] for _, tile in self.costs.tiles()])

    def over_x(self, f: Tensor) -> Tensor:
        return torch.cat([_plan_rows(tile, f, self.epsilon)[0] for _, tile in self.turned.tiles()])

    def drift(self, g: Tensor) -> Tensor:
        """Returns 0: nothing was kept that could have become too old."""
        return g.new_zeros(())


class _Kernel:
    r"""Soft minima as products with the kept kernel $e^{(f^0_i+g^0_j-C_{ij})/\varepsilon}$, its rows of sum 1.

    Exact for potentials near $(f^0,g^0)$, where nothing of weight has underflowed.
    """

    def __init__(self, costs: _Costs, epsilon: float, g: Tensor) -> None:
        self.epsilon, self.g = epsilon, g
        self.kernel = costs.x.new_empty(len(costs.x), len(costs.y))
        parts = []
        for rows, tile in costs.tiles():
            minimum, self.kernel[rows] = _plan_rows(tile, g, epsilon)
            parts.append(minimum)
        self.f = torch.cat(parts)

    def over_y(self, g: Tensor) -> Tensor:
        return self._soft_minimum(self.kernel @ self._factor(g - self.g), self.f)

    def over_x(self, f: Tensor) -> Tensor:
        # The kernel's rows are those of a plan from n points of weight 1 / n to m of weight 1 / m.
        share = len(self.g) / len(self.f)
        return self._soft_minimum(self.kernel.mT @ self._factor(f - self.f) * share, self.g)

    def drift(self, g: Tensor) -> Tensor:
        """Returns how many epsilons the potential has moved away from where the kernel was built."""
        return (g - self.g).abs().max() / self.epsilon

    def _factor(self, moved: Tensor) -> Tensor:
        return (moved / self.epsilon).clamp_(-_LARGEST_DRIFT, _LARGEST_DRIFT).exp_()

    def _soft_minimum(self, mass: Tensor, around: Tensor) -> Tensor:
        return around - self.epsilon * mass.clamp(min=torch.finfo(mass.dtype).tiny).log()
