"""Shape and dtype checks at the head of a loss: a wrong input is a sentence, never a silent repair."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["at_least_float32", "floating", "not_empty", "same_kind", "same_shape"]


def floating(**tensors: Tensor) -> None:
    """Raises TypeError unless every tensor is of a floating dtype."""
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor):
            raise TypeError(f"{name} is a {type(tensor).__name__}, expected a torch.Tensor.")
        if not tensor.is_floating_point():
            raise TypeError(
                f"{name} has dtype {tensor.dtype}, expected a floating dtype; convert it with {name}.float()."
            )


def not_empty(**tensors: Tensor) -> None:
    """Raises ValueError when a tensor has no axis or no element: a loss needs at least one sample."""
    for name, tensor in tensors.items():
        if tensor.ndim == 0 or tensor.numel() == 0:
            raise ValueError(f"{name} has shape {tuple(tensor.shape)}, expected (batch, ...) with at least one sample.")


def same_shape(**tensors: Tensor) -> None:
    """Raises ValueError unless all shapes are equal, so that nothing broadcasts unseen."""
    if len({tensor.shape for tensor in tensors.values()}) > 1:
        received = ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in tensors.items())
        raise ValueError(f"shapes differ: {received}; expected equal shapes, reshape one of them (nothing broadcasts).")


def same_kind(**tensors: Tensor) -> None:
    """Raises TypeError unless dtype and device agree, so that nothing is promoted or moved unseen."""
    if len({(tensor.dtype, tensor.device) for tensor in tensors.values()}) > 1:
        received = ", ".join(f"{name} {tensor.dtype} on {tensor.device}" for name, tensor in tensors.items())
        raise TypeError(f"dtypes or devices differ: {received}; expected equal ones, convert one with .to(...).")


def at_least_float32(tensor: Tensor) -> Tensor:
    """Returns half-precision tensors in float32 and every other one unchanged."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor
