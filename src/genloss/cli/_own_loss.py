"""From `FILE[:Loss]` or `package.module:Loss` to a loss that can be checked; every mistake is a sentence."""

from __future__ import annotations

import inspect
from pathlib import Path
from types import ModuleType
from typing import Any, TypeGuard

from genloss.errors import InputError, did_you_mean
from genloss.losses import Loss
from genloss.runs.own_code import own_module, place_of, said
from genloss.runs.specification import losses_in

__all__ = ["load_loss"]

_POSITIONAL = inspect.Parameter.POSITIONAL_OR_KEYWORD
_FORMS = "expected FILE.py, FILE.py:Loss or package.module:Loss"


def load_loss(target: str) -> Loss:
    """Returns the loss that a target names: an instance as it is, a class with its defaults.

    Raises:
        InputError: the file or module cannot be imported, holds no such loss, or the loss cannot be made.
    """
    place, _, name = target.rpartition(":")
    if not place or Path(target).is_file():
        place, name = target, ""
    is_file = Path(place).is_file()
    if not is_file and (place.endswith(".py") or not name):
        raise InputError(f"there is no file {place!r}; {_FORMS}.")
    if is_file and not place.endswith(".py"):
        raise InputError(f"{place!r} is not a Python file; {_FORMS}.")
    module = _imported(place)
    found = _named(module, name, place) if name else _only(module, place)
    return _instance(found) if isinstance(found, type) else found


def _imported(place: str) -> ModuleType:
    try:
        return own_module(place)
    except (Exception, SystemExit) as error:
        # Code of one's own may raise anything.
        where = place_of(error) or "before its first line"
        raise InputError(
            f"{place!r} cannot be imported: {said(error)} ({where}); mend it there, and "
            "see that `python` can import it."
        ) from error


def _is_loss(value: Any) -> TypeGuard[Loss | type[Loss]]:
    return isinstance(value, Loss) or (inspect.isclass(value) and issubclass(value, Loss) and value is not Loss)


def _named(module: ModuleType, name: str, place: str) -> Loss | type[Loss]:
    if not name.isidentifier():
        raise InputError(
            f"{place}:{name} names no attribute; to check a loss with fields of your choice, write "
            f"`my_loss = {name.partition('(')[0]}(...)` in the file and check {place}:my_loss."
        )
    if not hasattr(module, name):
        known = losses_in(module)
        hint = did_you_mean(name, known) if known else " It holds no loss."
        raise InputError(f"{place!r} has no {name!r}.{hint}")
    found = getattr(module, name)
    if not _is_loss(found):
        raise InputError(
            f"{place}:{name} is {_described(found)}, expected a loss: a subclass of a base class of genloss.losses "
            "such as AdversarialLoss, Penalty or SampleDistance, or an instance of one."
        )
    return found


def _described(value: Any) -> str:
    return f"the class {value.__name__}" if inspect.isclass(value) else f"of type {type(value).__name__}"


def _only(module: ModuleType, place: str) -> type[Loss]:
    own = {name: value for name, value in losses_in(module).items() if isinstance(value, type)}
    whole = [name for name, value in own.items() if not inspect.isabstract(value)] or list(own)
    if not whole:
        raise InputError(
            f"{place!r} holds no loss: no class in it subclasses a base class of genloss.losses such as "
            "AdversarialLoss, Penalty, SampleDistance, VariationalLoss, Likelihood, EnergyLoss or TokenLoss; derive "
            "yours from one."
        )
    if len(whole) > 1:
        raise InputError(f"{place!r} holds {len(whole)} losses; name one: {', '.join(f'{place}:{n}' for n in whole)}.")
    return own[whole[0]]


def _instance(cls: type[Loss]) -> Loss:
    if missing := sorted(getattr(cls, "__abstractmethods__", ())):
        raise InputError(f"{cls.__name__} does not write {', '.join(missing)}, which its base class asks for.")
    required = [
        str(parameter)
        for parameter in inspect.signature(cls).parameters.values()
        if parameter.default is parameter.empty and parameter.kind in (parameter.KEYWORD_ONLY, _POSITIONAL)
    ]
    if required:
        raise InputError(
            f"{cls.__name__} has fields without defaults ({', '.join(required)}), so it cannot be made here; give them "
            f"defaults, or write `my_loss = {cls.__name__}(...)` in the file and check FILE:my_loss."
        )
    try:
        return cls()
    except Exception as error:
        raise InputError(
            f"{cls.__name__}() raised {said(error)}; mend its defaults, or make an "
            "instance in the file and check FILE:instance."
        ) from error
