"""From a name, a mapping, `package.module:Class` or `FILE.py:Class` to an object of the catalogue and back, checked."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

from genloss.errors import InputError, did_you_mean, folded
from genloss.losses import (
    AdversarialLoss,
    Constraint,
    FeaturePenalty,
    Likelihood,
    Loss,
    ParameterPenalty,
    Penalty,
    SampleDistance,
    VariationalLoss,
    VectorQuantised,
    catalogue,
    find_loss,
)
from genloss.runs.own_code import own_module, place_of, said, source_of

__all__ = [
    "DEFAULT_LOSS",
    "LOSS_BASES",
    "OPTIONS",
    "PENALTY_BASES",
    "class_of",
    "construct",
    "losses_in",
    "made",
    "plain",
    "to_mapping",
]

T = TypeVar("T")
Fill = Callable[[type[Any], dict[str, Any]], dict[str, Any]]
"""From a class and the fields that were given to those that the data decide."""

DEFAULT_LOSS = {"gan": "non_saturating", "vae": "elbo", "mmd": "mmd"}
LOSS_BASES: dict[str, tuple[type[Loss], ...]] = {
    "gan": (AdversarialLoss,),
    "vae": (VariationalLoss, VectorQuantised),
    "mmd": (SampleDistance,),
}
_ADJECTIVES = ("adversarial", "variational", "quantisation")  # families that are named by one
PENALTY_BASES: tuple[type[Loss], ...] = (Penalty, ParameterPenalty, FeaturePenalty, Constraint)
OPTIONS = ("weight", "interval", "player")  # of a penalty in a recipe, beside its own fields


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
    """Returns the catalogue's class of this name in one of the families, or the user's own, `package.module:Class` or
    `FILE.py:Class`; of an instance, its class.
    """
    families = [base.family for base in bases]
    if ":" in name:
        found = _imported(name, key)
        found = type(found) if isinstance(found, bases) else found
        if not (inspect.isclass(found) and issubclass(found, bases)):
            raise InputError(f"{key}={name!r} is not a subclass of {_public(bases)}; derive it from there.")
        if missing := sorted(getattr(found, "__abstractmethods__", ())):
            raise InputError(f"{key}={name!r} does not write {', '.join(missing)}, which its base class asks for.")
        return found
    for family in families:
        try:
            return find_loss(name, family)
        except KeyError:
            continue
    raise InputError(f"{key}={name!r} {_why_unknown(name, bases, key)}")


def _why_unknown(name: str, bases: tuple[type[Loss], ...], key: str) -> str:
    """Says what a name that no loss of the families has may be, and where a recipe takes it."""
    if name.endswith(".py"):
        own = [f"{name}:{each}" for each, found in losses_in(_module(name, name, key)).items() if _is(found, bases)]
        return f"is a file; name the class: {', '.join(own)}." if own else f"holds no {_public(bases)}; derive one."
    if key == "loss" and "+" in name:
        loss, *penalties = (part.strip() for part in name.split("+"))
        return (
            f"adds penalties as --vary of `genloss compare` does; write loss={loss} penalties=[{', '.join(penalties)}]."
        )
    families = [base.family for base in bases]
    wanted = [cls for family in families for cls in catalogue(family).values()]
    kind = " or ".join(dict.fromkeys("penalty" if family.endswith("penalty") else family for family in families))
    alike = [cls for cls in catalogue().values() if folded(name) in map(folded, (*_names(cls), cls.__name__))]
    if alike and not any(cls in wanted for cls in alike):
        other = alike[0]
        alias = "" if name == other.card.name else f"{other.card.name} "
        known = ", ".join(cls.card.name for cls in wanted)
        place = _place(other, name, wanted if key == "loss" else [])
        return f"is {alias}of family {other.family}, but {kind} is needed here; {place}. Known here: {known}."
    kind += " loss" if families[-1] in _ADJECTIVES else ""
    return f"is not a known {kind}.{did_you_mean(name, [each for cls in wanted for each in _names(cls)])}"


def _names(cls: type[Loss]) -> tuple[str, ...]:
    return (cls.card.name, *cls.card.aliases)


def _place(cls: type[Loss], called: str, losses: Sequence[type[Loss]]) -> str:
    """Says which key of a recipe takes a loss; with a penalty, the loss with whose name its own begins: `wgan_gp`."""
    name = cls.card.name
    if issubclass(cls, PENALTY_BASES):
        with_it = [of for of in losses if any(folded(called).startswith(folded(each)) for each in _names(of))]
        return "write " + "".join(f"loss={of.card.name} " for of in with_it[:1]) + f"penalties=[{name}]"
    if issubclass(cls, Likelihood):
        return f"model.likelihood={name} takes it, with model=vae"
    models = [model for model, bases in LOSS_BASES.items() if issubclass(cls, bases)]
    return f"loss={name} takes it, with model={models[0]}" if models else "no key of a recipe takes it"


def losses_in(module: ModuleType) -> dict[str, Loss | type[Loss]]:
    """Returns the losses, classes and instances, that a module defines, without private ones and imported classes."""
    return {
        name: value
        for name, value in vars(module).items()
        if name[0] != "_" and _is(value, (Loss,)) and (isinstance(value, Loss) or value.__module__ == module.__name__)
    }


def _is(value: Any, bases: tuple[type[Loss], ...]) -> bool:
    return isinstance(value, bases) or (inspect.isclass(value) and issubclass(value, bases))


def _public(bases: tuple[type[Loss], ...]) -> str:
    return " or ".join(f"genloss.losses.{base.__name__}" for base in bases)


def _imported(name: str, key: str) -> Any:
    place, _, attribute = name.rpartition(":")
    module = _module(place, name, key)
    if not hasattr(module, attribute):
        known = losses_in(module)
        hint = did_you_mean(attribute, known) if known else " It holds no loss."
        raise InputError(
            f"{key}={name!r} cannot be imported: {place!r} has no {attribute!r}; expected package.module:Class or "
            f"FILE.py:Class.{hint}"
        )
    return getattr(module, attribute)


def _module(place: str, name: str, key: str) -> ModuleType:
    try:
        return own_module(place)
    except (Exception, SystemExit) as error:
        # Code of one's own may raise anything.
        line = place_of(error)
        where = f" ({line})" if line is not None else ""
        raise InputError(
            f"{key}={name!r} cannot be imported: {said(error)}{where}; expected package.module:Class or FILE.py:Class."
        ) from error


def made(specification: Any, bases: tuple[type[Loss], ...], key: str, fill: Fill | None = None) -> Any:
    """Makes an object of one of the families from its name, `{name: ..., field: ...}` or `package.module:Object`.

    Raises:
        InputError: the name is unknown or of another family, or a field is wrong.
    """
    fields = to_mapping(specification, key)
    name = fields.pop("name")
    if ":" in name and not inspect.isclass(found := _imported(name, key)):
        return _instance(found, name, fields, bases, key)
    return construct(class_of(name, bases, key), fields, key, fill)


def _instance(found: Any, name: str, fields: dict[str, Any], bases: tuple[type[Loss], ...], key: str) -> Any:
    if not isinstance(found, bases):
        raise InputError(f"{key}={name!r} is a {type(found).__name__}, expected a {_public(bases)}.")
    if fields:
        raise InputError(
            f"{key}.{next(iter(fields))} was given, but {name!r} is an instance, whose fields are set in its file; "
            f"leave it out, or name the class {type(found).__name__}."
        )
    if "<locals>" in type(found).__qualname__:
        raise InputError(
            f"{key}={name!r} is of the class {type(found).__name__}, which was made inside a function, so that a run "
            "could not find it again; move the class out of the function."
        )
    return found


def construct(cls: type[T], fields: dict[str, Any], key: str, fill: Fill | None = None) -> T:
    """Makes a frozen dataclass from checked fields; a field that holds another loss is made likewise.

    Args:
        cls: the dataclass; a class that is none has no fields.
        fields: what was given.
        key: how messages call it.
        fill: asked for fields that the data decide; those given come first.

    Raises:
        InputError: for an unknown field, a wrong type, or a value that the class refuses.
    """
    known = [f.name for f in dataclasses.fields(cls)] if dataclasses.is_dataclass(cls) else []
    for field in fields:
        if field not in known:
            raise InputError(f"{key}.{field} is not a field of {cls.__name__}.{_field_meant(cls, field, known)}")
    if not dataclasses.is_dataclass(cls):
        return _of_plain_class(cls, key)
    hints = typing.get_type_hints(cls)
    given = {} if fill is None else fill(cls, fields)
    for field, value in fields.items():
        bases = _loss_bases(hints[field])
        nested = bases and isinstance(value, (str, dict))
        given[field] = made(value, bases, f"{key}.{field}", fill) if nested else value
    try:
        checked: T = TypeAdapter(with_config(ConfigDict(arbitrary_types_allowed=True))(cls)).validate_python(given)
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "missing":
            missing = first["loc"][-1]
            raise InputError(
                f"{key}.{missing} is required: {cls.__name__} has no default for it; give it, {key}={{name: ..., "
                f"{missing}: ...}}."
            ) from error
        path = ".".join([key, *(str(part) for part in first["loc"])])
        reason = first["msg"].removeprefix("Value error, ").rstrip(".")
        # What the class itself refuses it also explains; of a wrong type pydantic does not say what it got.
        got = "" if first["type"] == "value_error" else f" is {first['input']!r}"
        raise InputError(f"{path}{got}: {reason}.") from error
    return checked


def _field_meant(cls: type[Any], field: str, known: list[str]) -> str:
    """Says which field may be meant; of a penalty or constraint also what a recipe gives it beside its fields."""
    options: tuple[str, ...] = OPTIONS if issubclass(cls, PENALTY_BASES) else ()
    options = ("player",) if issubclass(cls, Constraint) else options
    hint = did_you_mean(field, [*known, *options]) if known or options else " It has no fields."
    return hint if not options or hint.startswith(" Known") else f"{hint} It also takes {', '.join(options)}."


def _of_plain_class(cls: type[T], key: str) -> T:
    try:
        return cls()
    except Exception as error:
        # Code of one's own may raise anything.
        raise InputError(
            f"{key}: {cls.__name__}() raised {said(error)}; a class with fields is a @dataclass "
            "whose fields have defaults."
        ) from error


def _loss_bases(hint: Any) -> tuple[type[Loss], ...]:
    """Returns the classes of the catalogue among the types that a field takes."""
    candidates = typing.get_args(hint) or (hint,)
    return tuple(kind for kind in candidates if inspect.isclass(kind) and issubclass(kind, Loss))


def plain(value: Any) -> Any:
    """Returns an object as a recipe writes it: a loss as `{name: ..., field: ...}`, a tuple as a list.

    Example:
        >>> from genloss.losses import EnergyDistance
        >>> plain(EnergyDistance())
        {'name': 'energy_distance', 'estimator': 'unbiased'}
    """
    if isinstance(value, Loss):
        if not dataclasses.is_dataclass(value):
            return {"name": source_of(value) or _name_of(type(value))}  # what it holds only its file can say
        fields = {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"name": _name_of(type(value)), **fields}
    return [plain(entry) for entry in value] if isinstance(value, tuple) else value


def _name_of(cls: type[Loss]) -> str:
    card = cls.__dict__.get("card")
    if card is not None and catalogue().get(card.name) is cls:
        return str(card.name)
    return f"{cls.__module__}:{cls.__qualname__}"
