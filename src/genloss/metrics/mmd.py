"""The squared maximum mean discrepancy, with a kernel that the real data fix."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from genloss.errors import InputError
from genloss.losses import MMD, median_bandwidth
from genloss.losses._kernels import kernel_function
from genloss.losses._pairwise import PairFunction, pair_sum
from genloss.metrics.base import MetricValue, as_samples, checked_pair, signature

__all__ = ["fixed_bandwidths", "mmd2"]

_LARGEST_BLOCK = 250
_BLOCK_VALUES = 1 << 17  # of one block: 1 MiB in float64


def mmd2(fake: Tensor, real: Tensor, bandwidths: Sequence[float], features: str) -> MetricValue:
    r"""Estimates the squared maximum mean discrepancy with a sum of Gaussian kernels, without bias.

    $$\mathrm{MMD}^2=E\,k(x,x')+E\,k(y,y')-2E\,k(x,y),\qquad
    k(x,y)=\sum_\sigma\exp\bigl(-\tfrac{\lVert x-y\rVert^2}{2\sigma^2}\bigr)$$

    Zero only for equal distributions, and the estimate has mean 0 for them whatever the number of samples: so it is
    negative about half of the time at the optimum. Use it by default: it needs no more samples than features. It sees
    nothing at scales far from the bandwidths, and its size means little without the value of real against real.

    Args:
        fake: generated features `(n, d)`, n at least 2.
        real: real features `(m, d)`, m at least 2.
        bandwidths: the $\sigma$, in the units of the features, positive; from `fixed_bandwidths`.
        features: the name of the feature space, for the signature.

    Returns:
        The estimate, computed in float64; memory beside the samples does not grow with their number.

    Raises:
        InputError: fewer than 2 samples, values that are not finite, shapes that do not match, or a bad bandwidth.

    Example:
        >>> rng = torch.Generator().manual_seed(0)
        >>> fake, real = torch.randn(200, 2, generator=rng) + 3.0, torch.randn(200, 2, generator=rng)
        >>> mmd2(fake, real, (1.0,), "values").value > 0.5
        True

    Source: Gretton et al. 2012, equation 3.
    """
    x, y = checked_pair(fake, real)
    if min(len(x), len(y)) < 2:
        raise InputError(
            f"mmd2 was given {len(x)} fake and {len(y)} real samples, expected at least 2 of each: the unbiased "
            "estimate leaves out a sample's pair with itself."
        )
    try:
        MMD(kernel="gaussian", bandwidths=tuple(bandwidths))
    except ValueError as error:
        raise InputError(f"mmd2 cannot use these bandwidths: {error}") from error
    value = _unbiased(x, y, kernel_function("gaussian", tuple(bandwidths), x.shape[1]))
    line = signature(
        "mmd2",
        kernel="gaussian",
        bandwidths=tuple(bandwidths),
        estimator="unbiased",
        features=features,
        n=len(x),
        real=len(y),
    )
    return MetricValue(name="mmd2", value=value, n=len(x), signature=line, higher_is_better=False, real=len(y))


def _unbiased(x: Tensor, y: Tensor, kernel: PairFunction) -> float:
    """Sums the kernel over pairs of blocks, so that few samples at a time are copied to float64."""
    n, m = len(x), len(y)
    size = max(1, min(_LARGEST_BLOCK, _BLOCK_VALUES // x.shape[1]))
    x_blocks, y_blocks = x.split(size), y.split(size)
    # A point among each set: far from the origin the Gram expansion of distances cancels.
    at_x, at_y = x_blocks[0].double().mean(0), y_blocks[0].double().mean(0)

    def total(part: Tensor, others: Sequence[Tensor], centre: Tensor) -> Tensor:
        near = part - centre
        return sum((pair_sum(near, other - centre, kernel) for other in others), start=centre.new_zeros(()))

    def within(blocks: Sequence[Tensor], centre: Tensor) -> Tensor:
        own = sum((pair_sum(part - centre, None, kernel) for part in blocks), start=centre.new_zeros(()))
        return own + 2.0 * sum(total(part, blocks[place + 1 :], centre) for place, part in enumerate(blocks))

    between = sum(total(part, y_blocks, 0.5 * (at_x + at_y)) for part in x_blocks)
    alone = within(x_blocks, at_x) / (n * (n - 1)) + within(y_blocks, at_y) / (m * (m - 1))
    return float(alone - 2.0 * between / (n * m))


def fixed_bandwidths(real: Tensor, rng: torch.Generator) -> tuple[float, ...]:
    """Returns half, one and two times the median distance between real samples.

    Real data alone decide, once, so that the metric is the same for every model that is measured against them.

    Args:
        real: real features `(m, d)`, m at least 2; of more than 2000, `rng` draws 2000.
        rng: draws those.

    Returns:
        Three bandwidths in the units of the features.

    Raises:
        InputError: fewer than 2 samples, values that are not finite, or more than half of the pairs equal.

    Example:
        >>> fixed_bandwidths(torch.tensor([[0.0], [3.0], [4.0]]), torch.Generator())
        (1.5, 3.0, 6.0)

    Source: Gretton et al. 2012, section 8 (the median heuristic).
    """
    samples = as_samples("real", real)
    try:
        median = median_bandwidth(samples, rng)
    except ValueError as error:
        raise InputError(f"the real features give no bandwidth: {error}") from error
    return 0.5 * median, median, 2.0 * median
