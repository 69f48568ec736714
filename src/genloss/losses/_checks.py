"""Checks at the head of a loss: a wrong input is a sentence, never a silent repair.

What a check may cost decides where it stands. Shapes, dtypes, devices and the graph are looked at always: that reads no
value. Values are looked at on the CPU only, since elsewhere it would wait for the device, and only those of data, of
masks, and where one look tells a mistake. What a network computed may be NaN when training diverges; no loss refuses or
hides that: NaN in gives NaN out, and the training loop names the tensor that it came from.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

__all__ = [
    "at_least_float32",
    "boolean",
    "finite_data",
    "floating",
    "in_vocabulary",
    "logits_not_probabilities",
    "mask_counts",
    "not_above_zero",
    "not_empty",
    "random_stream",
    "remembers",
    "rows_not_probabilities",
    "same_kind",
    "same_shape",
    "whole_numbers",
]

# What moves or copies numbers without changing them, by the name of its node in the graph.
_MOVES = (
    "View",
    "UnsafeView",
    "ReshapeAlias",
    "Squeeze",
    "Unsqueeze",
    "Expand",
    "Transpose",
    "T",
    "Permute",
    "Slice",
    "Select",
    "Split",
    "Unbind",
    "Cat",
    "Stack",
    "Clone",
    "ToCopy",
)
_LONGEST_WAY = 8
_SQUASHES = {"Sigmoid": "a sigmoid", "Softmax": "a softmax", "LogSigmoid": "a log-sigmoid"}
_ROW_SUM = 1e-3  # what half precision leaves of a sum of probabilities
_ABOVE_ZERO = 1e-3  # nats that a sum of many log-probabilities may reach above 0


def floating(**tensors: Tensor) -> None:
    """Raises TypeError unless every tensor is of a floating dtype."""
    for name, tensor in tensors.items():
        _is_tensor(name, tensor)
        if not tensor.is_floating_point():
            raise TypeError(
                f"{name} has dtype {tensor.dtype}, expected a floating dtype; convert it with {name}.float()."
            )


def _is_tensor(name: str, value: object) -> None:
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} is a {type(value).__name__}, expected a torch.Tensor.")


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


def finite_data(**tensors: Tensor) -> None:
    """Raises ValueError when data on the CPU hold NaN or infinity."""
    for name, tensor in tensors.items():
        # One pass for the usual case; only a sum that is not finite is looked at closely, for it may have overflowed.
        if not tensor.is_cpu or math.isfinite(tensor.detach().sum().item()):
            continue
        wrong = ~tensor.detach().isfinite()
        if bool(wrong.any()):
            place = tuple(wrong.nonzero()[0].tolist())
            raise ValueError(
                f"{name} is {tensor[place].item()} at {place}, and {int(wrong.sum())} of its {tensor.numel()} values "
                f"are not finite; expected finite data. Remove or mend these samples."
            )


def boolean(**masks: Tensor) -> None:
    """Raises TypeError unless every mask is of dtype bool."""
    for name, mask in masks.items():
        _is_tensor(name, mask)
        if mask.dtype != torch.bool:
            raise TypeError(f"{name} has dtype {mask.dtype}, expected torch.bool; convert it with {name}.bool().")


def whole_numbers(**tokens: Tensor) -> None:
    """Raises TypeError unless all tokens are int64."""
    for name, tensor in tokens.items():
        _is_tensor(name, tensor)
        if tensor.dtype != torch.long:
            raise TypeError(f"{name} have dtype {tensor.dtype}, expected torch.int64; convert them with .long().")


def not_above_zero(**log_probs: Tensor) -> None:
    """Raises ValueError when log-probabilities of sequences on the CPU are above 0."""
    for name, tensor in log_probs.items():
        if tensor.is_cpu and (highest := tensor.detach().max().item()) > _ABOVE_ZERO:
            raise ValueError(
                f"{name} reach {highest:.4g}, expected log-probabilities, at most 0; pass sequence_log_prob(...) "
                f"itself, neither its exponential nor its negative."
            )


def mask_counts(**masks: Tensor) -> None:
    """Raises unless every mask is of dtype bool and, looked at on the CPU, true somewhere."""
    boolean(**masks)
    for name, mask in masks.items():
        if mask.is_cpu and not bool(mask.any()):
            raise ValueError(
                f"{name} of shape {tuple(mask.shape)} is false everywhere, so that nothing counts; expected true where "
                f"a position counts. Is it inverted? Then pass ~{name}; else skip the batch."
            )


def in_vocabulary(size: int, **tokens: Tensor) -> None:
    """Raises ValueError when tokens on the CPU, also those that a mask leaves out, are not in [0, size)."""
    for name, tensor in tokens.items():
        if not tensor.is_cpu:
            continue
        wrong = (tensor < 0) | (tensor >= size)
        if bool(wrong.any()):
            place = tuple(wrong.nonzero()[0].tolist())
            raise ValueError(
                f"{name} hold {tensor[place].item()} at {place}, expected 0 to {size - 1} for a vocabulary of {size}. "
                f"Padding is told by the mask and not by a token such as -100: give it any token, e.g. 0."
            )


def logits_not_probabilities(**tensors: Tensor) -> None:
    """Raises ValueError when numbers come straight from a sigmoid or a softmax, as their graph tells."""
    for name, tensor in tensors.items():
        node = tensor.grad_fn
        for _ in range(_LONGEST_WAY):
            if node is None:
                break
            operation = node.name().partition("Backward")[0]
            if operation in _SQUASHES:
                raise ValueError(
                    f"{name} come from {_SQUASHES[operation]}, expected logits: unbounded numbers, as the last linear "
                    f"layer gives them. Remove the activation after it."
                )
            if operation not in _MOVES:
                break
            node = node.next_functions[0][0]


def rows_not_probabilities(mask: Tensor, **tensors: Tensor) -> None:
    """Raises ValueError when the first row that counts of a tensor without a graph, on the CPU, is of probabilities.

    The mask `(...)` says which rows of `(..., features)` count.
    """
    for name, tensor in tensors.items():
        if tensor.requires_grad or not tensor.is_cpu or tensor.shape[-1] < 2:
            continue
        row = tensor[tuple(mask.nonzero()[0].tolist())]
        if abs(row.sum().item() - 1.0) < _ROW_SUM and row.min().item() >= 0.0:
            raise ValueError(
                f"{name} look like probabilities: their first row lies in [{row.min().item():.4g}, "
                f"{row.max().item():.4g}] and sums to 1; expected logits. Remove the softmax, or take the logarithm."
            )


def random_stream(rng: torch.Generator) -> None:
    """Raises TypeError unless the random numbers come from a generator: torch would take None for the global one."""
    if not isinstance(rng, torch.Generator):
        raise TypeError(f"rng is {rng!r}, expected a torch.Generator; pass torch.Generator().manual_seed(0).")


def remembers(state: Mapping[str, Tensor], *names: str) -> None:
    """Raises ValueError unless a memory holds all of these."""
    if missing := [name for name in names if name not in state]:
        raise ValueError(
            f"the state holds {', '.join(state) or 'nothing'}, expected {', '.join(missing)} too; start it with "
            "init_state(...), and replace it by what next_state(...) returns after each update."
        )


def at_least_float32(tensor: Tensor) -> Tensor:
    """Returns half-precision tensors in float32 and every other one unchanged."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor
