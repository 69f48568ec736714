"""The catalogue: every loss by its name. A new class with a card is found by itself."""

from __future__ import annotations

import difflib

from genloss.losses.card import Loss

__all__ = ["catalogue", "find_loss"]


def catalogue(family: str | None = None) -> dict[str, type[Loss]]:
    """Returns every loss that has a card, by name, in the order of families and names.

    Args:
        family: keep only this family (`adversarial`, `penalty`, `constraint`, `distance`, `variational`, ...).

    >>> "hinge" in catalogue("adversarial")
    True
    """
    import genloss.losses  # noqa: F401  (its import defines the classes)

    found: dict[str, type[Loss]] = {}
    waiting: list[type[Loss]] = [Loss]
    while waiting:
        cls = waiting.pop()
        waiting.extend(cls.__subclasses__())
        if "card" in cls.__dict__ and cls.__module__.startswith("genloss.") and family in (None, cls.family):
            found[cls.card.name] = cls
    return dict(sorted(found.items(), key=lambda item: (item[1].family, item[0])))


def find_loss(name: str, family: str | None = None) -> type[Loss]:
    """Returns the loss class with this name, alias or class name.

    Raises:
        KeyError: when no loss of the family has it, with the family that has, or the nearest name or alias.

    >>> find_loss("hinge").__name__
    'Hinge'
    """
    known = catalogue(family)
    for cls in known.values():
        if name in _names(cls):
            return cls
    for cls in catalogue().values():
        if name in _names(cls):
            raise KeyError(f"there is no {family} loss named {name!r}: {cls.card.name} is of the family {cls.family}.")
    names = [name for cls in known.values() for name in (cls.card.name, *cls.card.aliases)]
    close = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.6)
    hint = f"Did you mean {close[0]!r}?" if close else f"Known: {', '.join(known)}."
    raise KeyError(f"there is no {family or 'known'} loss named {name!r}. {hint}")


def _names(cls: type[Loss]) -> tuple[str, ...]:
    return (cls.card.name, cls.__name__, *cls.card.aliases)
