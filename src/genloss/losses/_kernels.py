"""The kernels of the maximum mean discrepancy, each with its derivative."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from genloss.losses._pairwise import PairFunction

__all__ = ["KERNELS", "kernel_function"]

KERNELS = ("gaussian",)


def kernel_function(name: str, bandwidths: tuple[float, ...]) -> PairFunction:
    """Returns the sum of the kernels of this name over the bandwidths."""
    return PairFunction(partial(_gaussian, bandwidths), at_zero=len(bandwidths))


def _gaussian(bandwidths: tuple[float, ...], tile: Tensor, with_slope: bool) -> tuple[Tensor, Tensor | None]:
    total = tile.new_zeros(())
    slope = torch.zeros_like(tile) if with_slope else None
    for bandwidth in bandwidths:
        rate = -0.5 / bandwidth**2
        kernel = (tile * rate).exp_()
        total = total + kernel.sum()
        if slope is not None:
            slope.add_(kernel, alpha=rate)
    return total, slope
