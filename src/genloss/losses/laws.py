"""Checks a loss against the laws of its family: one of ours, or your own."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from genloss.losses.card import Loss

__all__ = ["LawBroken", "LawResult", "check_loss", "law"]

_LAWS: dict[str, list[Callable[[Any], str | None]]] = {}


class LawBroken(Exception):
    """A law does not hold; the message says what was measured and what was expected."""


@dataclass(frozen=True)
class LawResult:
    """What one law found.

    Args:
        law: the law, a sentence.
        holds: whether the loss keeps it.
        message: what was measured.
    """

    law: str
    holds: bool
    message: str


def law(family: str) -> Callable[[Callable[[Any], str | None]], Callable[[Any], str | None]]:
    """Registers a law of a family.

    The decorated function takes the loss, returns what it measured (None where the law does not apply) and raises
    `LawBroken` where the law does not hold. The first line of its docstring is the law. A module of laws is named
    `laws_<family>.py` and is found by itself.

    Args:
        family: the `family` of the losses that it binds.
    """

    def register(function: Callable[[Any], str | None]) -> Callable[[Any], str | None]:
        _LAWS.setdefault(family, []).append(function)
        return function

    return register


def check_loss(loss: Loss) -> list[LawResult]:
    """Runs every law of the loss's family and returns what each found.

    Use it on a loss of your own before you train with it: it finds wrong signs, terms that overflow, means taken too
    early, samples that see each other, and derivatives that are not those of the value. It does not know what the
    loss is for: a loss that keeps every law may still be the wrong one.

    Args:
        loss: an instance of a subclass of a family's base class.

    Returns:
        One result a law that applies, in a fixed order.

    Raises:
        TypeError: it is not an instance of a loss.
        ValueError: its family has no laws.

    Example:
        >>> from genloss.losses import Hinge
        >>> all(result.holds for result in check_loss(Hinge()))
        True
    """
    if not isinstance(loss, Loss):
        raise TypeError(
            f"check_loss received {loss!r}, expected an instance of a loss, e.g. check_loss(Hinge()); "
            "a loss is a subclass of a family's base class such as AdversarialLoss."
        )
    import genloss.losses as package

    for module in pkgutil.iter_modules(package.__path__):
        if module.name.startswith("laws_"):
            importlib.import_module(f"{package.__name__}.{module.name}")
    family = getattr(loss, "family", None)
    if family not in _LAWS:
        raise ValueError(
            f"{type(loss).__name__} is of the family {family!r}, which has no laws; families with laws: "
            f"{', '.join(sorted(_LAWS))}."
        )
    results = [_run(function, loss) for function in _LAWS[family]]
    return [result for result in results if result is not None]


def _run(function: Callable[[Any], str | None], loss: Loss) -> LawResult | None:
    """Returns what a law found, or None where it does not apply."""
    name = (function.__doc__ or function.__name__).strip().splitlines()[0].rstrip(".")
    try:
        with torch.enable_grad():
            message = function(loss)
    except LawBroken as broken:
        return LawResult(law=name, holds=False, message=str(broken))
    except Exception as error:
        # A loss under test may raise anything; a law that cannot be checked does not hold.
        return LawResult(law=name, holds=False, message=f"raised {type(error).__name__}: {error}")
    return None if message is None else LawResult(law=name, holds=True, message=message)
