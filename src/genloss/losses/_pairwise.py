"""Sums of a kernel over all pairs of two sets, with the gradient, in memory linear in the number of samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

__all__ = ["PairFunction", "pair_sum", "row_sum", "rows_of_a_tile", "squared_distances", "with_gradient"]

# Elements of one tile: small enough for a processor's cache, large enough that a GPU needs few launches.
_TILE_CPU = 1 << 18
_TILE_GPU = 1 << 26
# Thinner tiles make matrix products of many features slow; memory stays linear in the number of samples.
_LEAST_ROWS = 128


@dataclass(frozen=True)
class PairFunction:
    """A function of two points through their squared distance or their inner product.

    Args:
        evaluate: maps a tile `t` (its own to overwrite) and whether the derivative is wanted to the sum of `f(t)` over
            the tile and, if wanted, `f'(t)`.
        radial: `t` is the squared distance; otherwise the inner product.
        at_zero: `f(0)`.
        invariant: moving all points changes no discrepancy, so that they may be centred.
        precise: wants float64: a root of the squared distance, under which the Gram expansion leaves an error of the
            rounding times the squared norm, or a power of the inner product, whose sums cancel.
    """

    evaluate: Callable[[Tensor, bool], tuple[Tensor, Tensor | None]]
    radial: bool = True
    at_zero: float = 0.0
    invariant: bool = True
    precise: bool = False


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """Returns `(n, m)` squared distances by the Gram expansion, never negative; centre both sets by one point first."""
    tile = torch.addmm(y.square().sum(1), x, y.mT, alpha=-2.0)
    return tile.add_(x.square().sum(1, keepdim=True)).clamp_(min=0.0)


def rows_of_a_tile(device: torch.device, columns: int) -> int:
    """Returns how many rows of this many columns make a tile of good size for the device."""
    return max(_LEAST_ROWS, (_TILE_CPU if device.type == "cpu" else _TILE_GPU) // columns)


class _WithGradient(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, value: Tensor, x: Tensor, y: Tensor | None, on_x: Tensor | None, on_y: Tensor | None
    ) -> Tensor:
        ctx.save_for_backward(on_x, on_y)
        return value.clone()

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():  # the saved gradient would pass for a constant
            raise RuntimeError(
                "a sample distance was differentiated with create_graph=True, but its gradient is computed beside its "
                "value and has no derivative of its own; expected create_graph=False."
            )
        on_x, on_y = (None if gradient is None else gradient * upstream for gradient in ctx.saved_tensors)
        return None, on_x, on_y, None, None


def with_gradient(value: Tensor, x: Tensor, y: Tensor | None, on_x: Tensor | None, on_y: Tensor | None) -> Tensor:
    """Returns the value as a function of `x` and `y` with these gradients, differentiable once."""
    result: Tensor = _WithGradient.apply(value, x, y, on_x, on_y)  # type: ignore[no-untyped-call]
    return result


def _parts(x: Tensor, columns: int) -> Iterator[tuple[slice, Tensor]]:
    rows = rows_of_a_tile(x.device, columns)
    for start in range(0, len(x), rows):
        part = slice(start, start + rows)
        yield part, x[part]


def _tile(x: Tensor, y: Tensor, function: PairFunction) -> Tensor:
    return squared_distances(x, y) if function.radial else x @ y.mT


def _on_rows(slope: Tensor, x: Tensor, y: Tensor, function: PairFunction) -> Tensor:
    """Returns the gradient in `x`, from d f(|x - y|^2) / dx = 2 f' (x - y) or d f(x . y) / dx = f' y."""
    mixed = slope @ y
    return 2.0 * (slope.sum(1, keepdim=True) * x - mixed) if function.radial else mixed


def _between(
    x: Tensor, y: Tensor, function: PairFunction, wants: tuple[bool, bool]
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    total = x.new_zeros(())
    on_x, on_y = (torch.zeros_like(z) if wanted else None for z, wanted in zip((x, y), wants, strict=True))
    for rows, part in _parts(x, len(y)):
        value, slope = function.evaluate(_tile(part, y, function), any(wants))
        total += value
        if slope is not None and on_x is not None:
            on_x[rows] = _on_rows(slope, part, y, function)
        if slope is not None and on_y is not None:
            on_y += _on_rows(slope.mT, y, part, function)
    return total, on_x, on_y


def _within(x: Tensor, function: PairFunction, wanted: bool) -> tuple[Tensor, Tensor | None]:
    total, on_x = x.new_zeros(()), torch.zeros_like(x) if wanted else None
    for rows, part in _parts(x, len(x)):
        n, others = len(part), x[rows.start :]
        tile = _tile(part, others, function)
        tile[:, :n].triu_(1)  # each pair once; what is not above the diagonal counts as f(0), taken off below
        value, slope = function.evaluate(tile, wanted)
        total += value - (n * (n + 1) // 2) * function.at_zero
        if slope is not None and on_x is not None:
            slope[:, :n].triu_(1)
            on_x[rows] += _on_rows(slope, part, others, function)
            on_x[rows.start :] += _on_rows(slope.mT, others, part, function)
    return 2.0 * total, on_x if on_x is None else 2.0 * on_x


def pair_sum(x: Tensor, y: Tensor | None, function: PairFunction) -> Tensor:
    """Returns the sum of `function` over all pairs of `x` `(n, d)` and `y` `(m, d)`, or over pairs of `x` with itself.

    With `y=None` the sum is over ordered pairs of different samples. Differentiable once; the gradient comes from the
    same pass. Memory beside the inputs and gradients is one tile.
    """
    grad = torch.is_grad_enabled()
    wants = (grad and x.requires_grad, grad and y is not None and y.requires_grad)
    on_y = None
    with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
        if y is None:
            total, on_x = _within(x, function, wants[0])
        else:
            total, on_x, on_y = _between(x, y, function, wants)
    return with_gradient(total, x, y, on_x, on_y)


def row_sum(x: Tensor, y: Tensor, function: PairFunction) -> Tensor:
    """Returns the sum of `function` over the pairs of equal rows of `x` and `y`, both `(n, d)`."""
    values = (x - y).square().sum(1) if function.radial else (x * y).sum(1)
    with torch.no_grad():
        total, slope = function.evaluate(values.clone(), values.requires_grad)
    return with_gradient(total, values, None, slope, None)
