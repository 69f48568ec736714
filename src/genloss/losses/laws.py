"""Checks a loss against the laws of its family: one of ours, or your own."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch

from genloss.losses.card import Loss

__all__ = ["LawBroken", "LawResult", "LawSkipped", "check_loss", "families", "law"]

EVERY = "every family"
"""Laws under this name bind every loss."""

_LAWS: dict[str, list[Callable[[Any], str]]] = {}
_SHAPE_LAWS: set[Callable[[Any], str]] = set()


class LawBroken(Exception):
    """A law does not hold; the message says what was measured and what was expected."""


class LawSkipped(Exception):
    """A law cannot be tried on this loss or on this machine; the message says why."""


@dataclass(frozen=True)
class LawResult:
    """What one law found.

    Args:
        law: the law, a sentence.
        status: `passed`, `broken`, or `skipped` where it could not be tried.
        message: what was measured, or why it was skipped.
    """

    law: str
    status: Literal["passed", "broken", "skipped"]
    message: str

    @property
    def holds(self) -> bool:
        """Whether nothing speaks against the law."""
        return self.status != "broken"


def law(family: str, *, shape: bool = False) -> Callable[[Callable[[Any], str]], Callable[[Any], str]]:
    """Registers a law of a family.

    The decorated function takes the loss and returns what it measured. It raises `LawBroken` where the law does not
    hold and `LawSkipped` where it cannot be tried. The first line of its docstring is the law. A module of laws is
    named `laws_<family>.py` and is found by itself.

    Args:
        family: the `family` of the losses that it binds, or `EVERY`.
        shape: whether it is the law on the loss's shape: where it is broken, later laws that raise are skipped.
    """

    def register(function: Callable[[Any], str]) -> Callable[[Any], str]:
        if shape:
            _SHAPE_LAWS.add(function)
        _LAWS.setdefault(family, []).append(function)
        return function

    return register


def families() -> list[str]:
    """Returns the families that have laws, in alphabetical order.

    >>> "adversarial" in families()
    True
    """
    import genloss.losses as package

    for module in pkgutil.iter_modules(package.__path__):
        if module.name.startswith("laws_"):
            importlib.import_module(f"{package.__name__}.{module.name}")
    return sorted(set(_LAWS) - {EVERY})


def check_loss(loss: Loss) -> list[LawResult]:
    """Runs every law of the loss's family and returns what each found.

    Use it on a loss of your own before you train with it: it finds wrong signs, terms that overflow, means taken too
    early, samples that see each other, and derivatives that are not those of the value. A law that needs something
    the loss does not state, such as its optimum, is skipped and says so. It does not know what the loss is for: a
    loss that keeps every law may still be the wrong one.

    Args:
        loss: an instance of a subclass of a family's base class; it needs no card.

    Returns:
        One result a law, in a fixed order.

    Raises:
        TypeError: it is not an instance of a loss, or lacks what its base class asks for.
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
    known = families()
    family = getattr(loss, "family", None)
    if family not in known:
        raise ValueError(
            f"{type(loss).__name__} is of the family {family!r}, which has no laws; families with laws: "
            f"{', '.join(known)}."
        )
    _check_declared(loss)
    results: list[LawResult] = []
    shape_broken = False
    for function in (*_LAWS[family], *_LAWS[EVERY]):
        results.append(_run(function, loss, shape_broken))
        shape_broken |= function in _SHAPE_LAWS and not results[-1].holds
    return results


def _check_declared(loss: Loss) -> None:
    """Raises TypeError where a base class asks for an attribute that the loss does not have."""
    for base in type(loss).__mro__:
        for name, kind in inspect.get_annotations(base).items():
            if name != "card" and not hasattr(loss, name):
                raise TypeError(
                    f"{type(loss).__name__} has no {name!r}, which {base.__name__} asks for ({kind}); set it in the "
                    f"class."
                )


def _run(function: Callable[[Any], str], loss: Loss, shape_broken: bool) -> LawResult:
    name = (function.__doc__ or function.__name__).strip().splitlines()[0].rstrip(".")
    try:
        with torch.enable_grad():
            return LawResult(name, "passed", function(loss))
    except LawBroken as broken:
        return LawResult(name, "broken", str(broken))
    except LawSkipped as skipped:
        return LawResult(name, "skipped", str(skipped))
    except Exception as error:
        if shape_broken:
            # What it raises on a wrong shape tells nothing more.
            return LawResult(name, "skipped", "the shape law is broken")
        # A loss under test may raise anything; a law that cannot be checked does not hold.
        return LawResult(name, "broken", f"raised {type(error).__name__}: {error}")
