"""The kernels of the maximum mean discrepancy and the energy distance, each with its derivative."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from genloss.losses._pairwise import PairFunction

__all__ = ["KERNELS", "kernel_function", "negative_distance"]

_ALPHAS = (0.2, 0.5, 1.0, 2.0, 5.0)  # the mixture of Binkowski et al. 2018, section 4
_DEGREE = 3  # of the polynomial kernel, as in the kernel inception distance


def kernel_function(name: str, bandwidths: tuple[float, ...], features: int) -> PairFunction:
    """Returns the sum of the kernels of this name over the bandwidths, for samples with this many features."""
    if name == "polynomial":
        scales = tuple(1.0 / (features * bandwidth**2) for bandwidth in bandwidths)
        polynomial = partial(_polynomial, scales)
        return PairFunction(polynomial, radial=False, at_zero=len(bandwidths), invariant=False, precise=True)
    if name == "linear":
        return PairFunction(partial(_linear, sum(bandwidth**-2 for bandwidth in bandwidths)), radial=False)
    if name == "rational_quadratic":
        return PairFunction(partial(_rational_quadratic, bandwidths), at_zero=len(bandwidths) * len(_ALPHAS))
    return PairFunction(partial(_RADIAL[name], bandwidths), at_zero=len(bandwidths), precise=name == "laplace")


def _gaussian(bandwidths: tuple[float, ...], tile: Tensor, with_slope: bool) -> tuple[Tensor, Tensor | None]:
    total, slope = tile.new_zeros(()), torch.zeros_like(tile) if with_slope else None
    for bandwidth in bandwidths:
        rate = -0.5 / bandwidth**2
        kernel = (tile * rate).exp_()
        total = total + kernel.sum()
        if slope is not None:
            slope.add_(kernel, alpha=rate)
    return total, slope


def _rational_quadratic(bandwidths: tuple[float, ...], tile: Tensor, with_slope: bool) -> tuple[Tensor, Tensor | None]:
    total, slope = tile.new_zeros(()), torch.zeros_like(tile) if with_slope else None
    for bandwidth in bandwidths:
        for alpha in _ALPHAS:
            base = (tile * (0.5 / (alpha * bandwidth**2))).add_(1.0)
            kernel = base.pow(-alpha)
            total = total + kernel.sum()
            if slope is not None:
                slope.sub_(kernel.div_(base), alpha=0.5 / bandwidth**2)
    return total, slope


def _inverse_multiquadric(
    bandwidths: tuple[float, ...], tile: Tensor, with_slope: bool
) -> tuple[Tensor, Tensor | None]:
    total, slope = tile.new_zeros(()), torch.zeros_like(tile) if with_slope else None
    for bandwidth in bandwidths:
        kernel = (tile * bandwidth**-2).add_(1.0).reciprocal_()
        total = total + kernel.sum()
        if slope is not None:
            slope.sub_(kernel.square_(), alpha=bandwidth**-2)
    return total, slope


def _laplace(bandwidths: tuple[float, ...], tile: Tensor, with_slope: bool) -> tuple[Tensor, Tensor | None]:
    distance = tile.sqrt_()
    total, slope = tile.new_zeros(()), torch.zeros_like(tile) if with_slope else None
    for bandwidth in bandwidths:
        kernel = (distance * (-1.0 / bandwidth)).exp_()
        total = total + kernel.sum()
        if slope is not None:
            slope.sub_(kernel, alpha=0.5 / bandwidth)
    return total, None if slope is None else _over_distance(slope, distance)


def _linear(scale: float, tile: Tensor, with_slope: bool) -> tuple[Tensor, Tensor | None]:
    return tile.sum() * scale, torch.full_like(tile, scale) if with_slope else None


def _polynomial(scales: tuple[float, ...], tile: Tensor, with_slope: bool) -> tuple[Tensor, Tensor | None]:
    total, slope = tile.new_zeros(()), torch.zeros_like(tile) if with_slope else None
    for scale in scales:
        base = (tile * scale).add_(1.0)
        total = total + base.pow(_DEGREE).sum()
        if slope is not None:
            slope.add_(base.pow_(_DEGREE - 1), alpha=_DEGREE * scale)
    return total, slope


def _negative_distance(tile: Tensor, with_slope: bool) -> tuple[Tensor, Tensor | None]:
    distance = tile.sqrt_()
    return -distance.sum(), _over_distance(torch.full_like(distance, -0.5), distance) if with_slope else None


def _over_distance(slope: Tensor, distance: Tensor) -> Tensor:
    """Divides by the distance; 0 at distance 0, the subgradient that pushes equal points nowhere."""
    return slope.div_(distance).masked_fill_(distance == 0.0, 0.0)


_RADIAL = {"gaussian": _gaussian, "laplace": _laplace, "inverse_multiquadric": _inverse_multiquadric}
KERNELS = ("gaussian", "rational_quadratic", "laplace", "inverse_multiquadric", "linear", "polynomial")
negative_distance = PairFunction(_negative_distance, precise=True)
