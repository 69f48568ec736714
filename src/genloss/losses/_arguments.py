"""Checks of what comes beside the tensors: a number, a random stream, a memory."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real

import torch
from torch import Tensor

__all__ = ["finite_number", "random_stream", "remembers"]


def finite_number(**fields: float) -> None:
    """Raises ValueError unless every field is a finite number, of either sign."""
    for name, value in fields.items():
        if not isinstance(value, Real) or isinstance(value, bool) or not math.isfinite(value):
            raise ValueError(f"{name} is {value!r}, expected a finite number.")


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
