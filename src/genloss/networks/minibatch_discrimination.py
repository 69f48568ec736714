"""Minibatch discrimination: a critic that also sees how close a sample is to the others of its batch."""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor, nn

from genloss.errors import InputError
from genloss.networks.base import CouplesBatch, check_size

__all__ = ["MinibatchDiscrimination"]


class MinibatchDiscrimination(CouplesBatch):
    r"""Appends to the features of each sample how close they are to those of the other samples.

    $$M_i=f(x_i)\,T,\qquad o(x_i)_b=\sum_{j\ne i}\exp\bigl(-\lVert M_{i,b}-M_{j,b}\rVert_1\bigr)$$

    with $T\in\mathbb R^{A\times B\times C}$; the output is $[f(x_i), o(x_i)]$. A generator that returns one sample
    again and again has $o$ near the size of the batch, which the critic sees at once: use it against collapse. The sum
    grows with the batch, so keep one batch size, and give real and fake samples in two passes. A score then depends on
    the whole batch, which penalties on slopes at one sample do not mean; and memory grows with the square of the batch.
    Closeness is computed in float32 or better. $T$ starts from $N(0, 1/A)$, so that distances start near $C$ times
    the features' scale, where the exponential still has a gradient.

    Args:
        features: $A$, features of a sample, at least 1.
        kernels: $B$, features that are appended, at least 1.
        dims: $C$, dimensions in which a kernel measures distance, at least 1.

    Raises:
        InputError: a size below 1; in a call, an input that is not `(batch, features)`.

    Example:
        >>> layer = MinibatchDiscrimination(3, kernels=2)
        >>> layer(torch.ones(4, 3))  # all alike: as close as can be to 3 others
        tensor([[1., 1., 1., 3., 3.],
                [1., 1., 1., 3., 3.],
                [1., 1., 1., 3., 3.],
                [1., 1., 1., 3., 3.]], grad_fn=<CatBackward0>)

    Source: Salimans et al. 2016, section 3.2; the sample's own term, constantly 1, is left out, as its text says.
    """

    def __init__(self, features: int, kernels: int = 50, dims: int = 5) -> None:
        super().__init__()
        check_size(features=features, kernels=kernels, dims=dims)
        self.kernels = kernels
        self.weight = nn.Parameter(torch.randn(features, kernels, dims) / math.sqrt(features))

    def forward(self, x: Tensor) -> Tensor:
        """Returns `(batch, features + kernels)` of features `(batch, features)`; a lone sample gets zeros."""
        if x.ndim != 2 or x.shape[1] != len(self.weight):
            raise InputError(
                f"minibatch discrimination was given features of shape {tuple(x.shape)}, expected (batch, "
                f"{len(self.weight)}); flatten them, or make the layer with their number."
            )
        projected = (x @ self.weight.flatten(1)).unflatten(1, self.weight.shape[1:])
        projected = projected.to(torch.promote_types(projected.dtype, torch.float32)).movedim(2, 0).contiguous()
        # One dimension at a time: twice as fast as a sum over a short last axis. cdist has no second derivative.
        distances = functools.reduce(torch.add, ((m[:, None] - m[None]).abs() for m in projected))
        itself = torch.eye(len(x), dtype=torch.bool, device=x.device)
        closeness = (-distances.masked_fill(itself[:, :, None], torch.inf)).exp().sum(1)
        return torch.cat((x, closeness.to(x.dtype)), dim=1)
