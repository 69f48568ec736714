"""Checks of a loss's hyperparameters: a wrong one is a sentence that names the field."""

from __future__ import annotations

import math
from numbers import Integral, Real

__all__ = ["at_least", "each_positive", "finite_number", "not_negative", "one_of", "positive", "true_or_false"]


def one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    """Raises ValueError unless the field is one of the allowed names."""
    if value not in allowed:
        raise ValueError(f"{name} is {value!r}, expected one of {', '.join(allowed)}.")


def finite_number(**fields: float) -> None:
    """Raises ValueError unless every field is a finite number, of either sign."""
    for name, value in fields.items():
        if not _is_number(value) or not math.isfinite(value):
            raise ValueError(f"{name} is {value!r}, expected a finite number.")


def positive(**fields: float) -> None:
    """Raises ValueError unless every field is a positive finite number."""
    for name, value in fields.items():
        if not (_is_number(value) and 0.0 < value < math.inf):
            raise ValueError(f"{name} is {value!r}, expected a positive finite number.")


def not_negative(**fields: float) -> None:
    """Raises ValueError unless every field is a finite number of at least 0."""
    for name, value in fields.items():
        if not (_is_number(value) and 0.0 <= value < math.inf):
            raise ValueError(f"{name} is {value!r}, expected a finite number of at least 0.")


def at_least(lowest: int, **fields: int) -> None:
    """Raises ValueError unless every field is a whole number and at least the lowest."""
    for name, value in fields.items():
        if not isinstance(value, Integral) or isinstance(value, bool) or value < lowest:
            raise ValueError(f"{name} is {value!r}, expected a whole number of at least {lowest}.")


def each_positive(**fields: tuple[float, ...]) -> None:
    """Raises ValueError unless every field is a tuple of one or more positive finite numbers."""
    for name, values in fields.items():
        fits = isinstance(values, tuple | list) and all(
            _is_number(value) and 0.0 < value < math.inf for value in values
        )
        if not fits or not values:
            raise ValueError(f"{name} is {values!r}, expected one or more positive finite numbers, such as (1.0,).")


def true_or_false(**fields: bool) -> None:
    """Raises ValueError unless every field is True or False: any other value would count as one of them."""
    for name, value in fields.items():
        if not isinstance(value, bool):
            raise ValueError(f"{name} is {value!r}, expected True or False.")


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
