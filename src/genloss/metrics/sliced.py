"""The sliced 2-Wasserstein distance."""

from __future__ import annotations

import torch
from torch import Tensor

from genloss.errors import InputError
from genloss.metrics.base import MetricValue, as_pair, signature

__all__ = ["sliced_wasserstein"]

# Projected values held at a time, 8 bytes each.
BUDGET = 1 << 22


def sliced_wasserstein(
    fake: Tensor, real: Tensor, *, features: str, rng: torch.Generator, projections: int = 1000
) -> MetricValue:
    r"""Averages the exact 2-Wasserstein distance over random lines.

    $$\Bigl(\frac1L\sum_{l=1}^L W_2^2(\theta_l^\top x,\theta_l^\top y)\Bigr)^{1/2},\qquad
    W_2^2=\int_0^1\bigl(F_x^{-1}(u)-F_y^{-1}(u)\bigr)^2du$$

    In the units of the features, zero only for equal distributions. Use it for points, tables and features where the
    distance itself should mean something. In d dimensions a random line shows about $1/\sqrt d$ of a shift, and a
    finite sample of the same distribution has a positive distance: compare with real against real.

    Args:
        fake: generated features `(n, d)`.
        real: real features `(m, d)`; for different sizes the quantile functions are integrated exactly.
        features: the name of the feature space, for the signature.
        rng: draws the lines; the same state gives the same lines.
        projections: the number of lines $L$, at least 1.

    Returns:
        The distance $W_2$ (rooted), computed in float64.

    Raises:
        InputError: values that are not finite, shapes that do not match, or projections below 1.

    Example:
        >>> fake, real = torch.tensor([[0.0], [1.0]]), torch.tensor([[3.0], [2.0]])
        >>> round(sliced_wasserstein(fake, real, features="values", rng=torch.Generator()).value, 6)
        2.0

    Source: Bonneel et al. 2015; Peyre & Cuturi 2019, section 2.6 (one dimension).
    """
    x, y = as_pair(fake, real)
    if projections < 1:
        raise InputError(f"projections is {projections}, expected at least 1.")
    rows_x, rows_y, weights = _matching(len(x), len(y), x.device)
    lines = directions(x.shape[1], projections, rng).to(x.device)
    total = 0.0
    for part in lines.split(max(1, BUDGET // len(weights))):
        sorted_x, sorted_y = (part @ x.mT).sort(dim=1).values, (part @ y.mT).sort(dim=1).values
        total += float(((sorted_x[:, rows_x] - sorted_y[:, rows_y]).square() @ weights).sum())
    line = signature(
        "sliced_wasserstein", p=2, projections=projections, root="yes", features=features, n=len(x), real=len(y)
    )
    value = (total / projections) ** 0.5
    return MetricValue(
        name="sliced_wasserstein", value=value, n=len(x), signature=line, higher_is_better=False, real=len(y)
    )


def directions(dimensions: int, count: int, rng: torch.Generator) -> Tensor:
    """Returns unit vectors drawn uniformly from the sphere, float64 `(count, dimensions)`, on the device of `rng`."""
    vectors = torch.randn(count, dimensions, generator=rng, device=rng.device, dtype=torch.float64)
    return torch.nn.functional.normalize(vectors, dim=1)


def _matching(n: int, m: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Returns which sorted values face each other on the pieces of [0, 1] where neither quantile function jumps.

    Breakpoints i/n and j/m are compared as the whole numbers i*m and j*n, so that equal ones are equal.
    """
    steps_x, steps_y = torch.arange(1, n + 1, device=device) * m, torch.arange(1, m + 1, device=device) * n
    ends = torch.cat((steps_x, steps_y)).unique()
    weights = torch.diff(ends, prepend=ends.new_zeros(1)).double() / (n * m)
    return (ends - 1) // m, (ends - 1) // n, weights
