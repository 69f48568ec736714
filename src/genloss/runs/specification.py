"""From a name, a mapping or `package.module:Class` to an object of the catalogue, checked against its dataclass."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import os
import sys
from typing import Any, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

from genloss.errors import InputError, did_you_mean
from genloss.losses import AdversarialLoss, Loss, SampleDistance, VariationalLoss, catalogue, find_loss

__all__ = ["DEFAULT_LOSS", "LOSS_BASE", "class_of", "construct", "to_mapping"]

T = TypeVar("T")

DEFAULT_LOSS = {"gan": "non_saturating", "vae": "elbo", "mmd": "mmd"}
LOSS_BASE: dict[str, type[Loss]] = {"gan": AdversarialLoss, "vae": VariationalLoss, "mmd": SampleDistance}


def to_mapping(specification: Any, key: str) -> dict[str, Any]:
    """Returns a specification as a mapping with a `name`."""
    if isinstance(specification, str):
        return {"name": specification}
    if isinstance(specification, dict) and isinstance(specification.get("name"), str):
        return dict(specification)
    raise InputError(
        f"{key} is {specification!r}, expected a name or a mapping with a `name`, such as {{name: hinge}}."
    )


def class_of(name: str, bases: tuple[type[Loss], ...], key: str) -> type[Any]:
    """Returns the catalogue's class of this name in one of the families, or the user's own `package.module:Class`."""
    families = [base.family for base in bases]
    if ":" in name:
        found = _imported(name, key)
        if not (inspect.isclass(found) and issubclass(found, bases)):
            wanted = " or ".join(f"genloss.losses.{base.__name__}" for base in bases)
            raise InputError(f"{key}={name!r} is not a subclass of {wanted}; derive it from there.")
        return found
    for family in families:
        try:
            return find_loss(name, family)
        except KeyError:
            continue
    known = [other for family in families for other in catalogue(family)]
    kind = " or ".join(families)
    if name in catalogue():
        raise InputError(
            f"{key}={name!r} is of family {catalogue()[name].family}, but {kind} is needed here: {', '.join(known)}."
        )
    raise InputError(f"{key}={name!r} is not a known {kind}.{did_you_mean(name, known)}")


def _imported(name: str, key: str) -> Any:
    module_name, _, attribute = name.partition(":")
    try:
        # A loss of one's own usually lies where the command is called, which a console script does not search.
        if (here := os.getcwd()) not in sys.path:
            sys.path.insert(0, here)
        return getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError) as error:
        raise InputError(f"{key}={name!r} cannot be imported: {error}; expected package.module:Class.") from error


def construct(cls: type[T], fields: dict[str, Any], key: str) -> T:
    """Makes a frozen dataclass from checked fields.

    Raises:
        InputError: for an unknown field, a wrong type, or a value that the class refuses.
    """
    known = [f.name for f in dataclasses.fields(cls)]  # type: ignore[arg-type]
    for field in fields:
        if field not in known:
            hint = did_you_mean(field, known) if known else " It has no fields."
            raise InputError(f"{key}.{field} is not a field of {cls.__name__}.{hint}")
    try:
        checked: T = TypeAdapter(with_config(ConfigDict(arbitrary_types_allowed=True))(cls)).validate_python(fields)
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join([key, *(str(part) for part in first["loc"])])
        raise InputError(f"{path} is {first['input']!r}: {first['msg'].removeprefix('Value error, ')}.") from error
    return checked
