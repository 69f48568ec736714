"""Checks of a loss's hyperparameters: a wrong one is a sentence that names the field."""

from __future__ import annotations

import math

__all__ = ["at_least", "not_negative", "one_of", "positive"]


def one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    """Raises ValueError unless the field is one of the allowed names."""
    if value not in allowed:
        raise ValueError(f"{name} is {value!r}, expected one of {', '.join(allowed)}.")


def positive(**fields: float) -> None:
    """Raises ValueError unless every field is a positive finite number."""
    for name, value in fields.items():
        if not 0.0 < value < math.inf:
            raise ValueError(f"{name} is {value}, expected a positive finite number.")


def not_negative(**fields: float) -> None:
    """Raises ValueError unless every field is a finite number of at least 0."""
    for name, value in fields.items():
        if not 0.0 <= value < math.inf:
            raise ValueError(f"{name} is {value}, expected a finite number of at least 0.")


def at_least(lowest: int, **fields: int) -> None:
    """Raises ValueError unless every field is at least the lowest."""
    for name, value in fields.items():
        if value < lowest:
            raise ValueError(f"{name} is {value}, expected at least {lowest}.")
