"""Which normalisation an architecture puts between its layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

from torch import nn

from genloss.errors import InputError
from genloss.networks.virtual_batch_norm import ReferenceBatch, VirtualBatchNorm

__all__ = ["Norm", "check_norm", "needs_bias", "norm_layers", "with_reference"]

Norm = Literal["batch", "layer", "instance", "virtual_batch", "none"]
"""Over what a feature's mean and variance are taken.

`batch`: all samples of the batch. `layer`: one sample's features and positions, as `torch.nn.LayerNorm` over
`(channels, height, width)`, with one scale and shift a feature. `instance`: one sample's positions. `virtual_batch`:
a fixed reference batch and the sample. `none`: no normalisation.
"""


def check_norm(norm: str, known: Sequence[str] = get_args(Norm)) -> None:
    """Raises InputError unless the normalisation is known."""
    if norm not in known:
        raise InputError(f"norm is {norm!r}, expected one of {', '.join(known)}.")


def norm_layers(norm: Norm, features: int, *, maps: bool) -> list[nn.Module]:
    """Returns the layers that normalise `(batch, features)`, or with maps `(batch, features, height, width)`."""
    if norm == "batch":
        return [nn.BatchNorm2d(features) if maps else nn.BatchNorm1d(features)]
    if norm == "layer":
        return [nn.GroupNorm(1, features)]
    if norm == "instance":
        return [nn.GroupNorm(features, features)]
    return [VirtualBatchNorm(features)] if norm == "virtual_batch" else []


def needs_bias(norm: Norm) -> bool:
    """Says whether the layer before this normalisation has a bias: where its mean over samples is not taken away.

    Without one, statistics of a single sample would also take away the scale of the sample itself.
    """
    return norm not in ("batch", "virtual_batch")


def with_reference(layers: Sequence[nn.Module], norm: Norm, shape: tuple[int, ...]) -> list[nn.Module]:
    """Returns the layers, those of virtual batch normalisation within the reference batch that they need."""
    return [ReferenceBatch(nn.Sequential(*layers), shape)] if norm == "virtual_batch" else list(layers)
