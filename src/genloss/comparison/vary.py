"""`--vary key=a,b+c`: axes of a comparison, their product, and names for the variants."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from genloss.errors import InputError
from genloss.runs.overrides import parse_override, split_outside_brackets

__all__ = ["Axis", "Choice", "added_penalties", "combinations", "folder_names", "parse_vary"]

# What all variants share: the measuring and where runs go; seeds come from --seeds.
FIXED = {
    "seed": "each variant runs with the same seeds; choose their number with --seeds",
    "name": "variants are named by what they vary",
    "runs_dir": "all runs lie in the comparison's folder",
    "data": "numbers on different data do not compare; start one comparison for each data set",
    "evaluation.samples": "all variants are measured alike",
    "evaluation.features": "all variants are measured alike",
}


@dataclass(frozen=True)
class Choice:
    """One value of an axis.

    Args:
        label: what a reader sees.
        override: the `key=value` that sets it.
        additions: penalties and constraints that `+` adds to a loss.
    """

    label: str
    override: str
    additions: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Axis:
    """What one `--vary` says: a key of the recipe and its values."""

    key: str
    choices: tuple[Choice, ...]


def parse_vary(text: str) -> Axis:
    """Reads `loss=wasserstein+gradient_penalty,{name: least_squares, real_target: 0.9}`.

    The comma separates values, outside brackets; in `loss`, `+` adds a penalty or constraint.

    Raises:
        InputError: no key, an empty value, a key that all variants share, or text that is not YAML.

    Example:
        >>> [choice.label for choice in parse_vary("loss=hinge+{name: r1, weight: 1},wasserstein").choices]
        ['hinge+r1(weight=1)', 'wasserstein']
    """
    key, equals, values = text.partition("=")
    key = key.strip()
    if not equals or not key:
        raise InputError(
            f"--vary {text!r} is not key=a,b,c; for example --vary loss=hinge,wasserstein+gradient_penalty."
        )
    for fixed, reason in FIXED.items():
        if key == fixed or key.startswith(f"{fixed}.") or fixed.startswith(f"{key}."):
            raise InputError(f"--vary {key} cannot be varied: {reason}.")
    parts = split_outside_brackets(values, ",")
    if not all(parts):
        raise InputError(f"--vary {text!r} has an empty value; expected values separated by single commas.")
    if len(set(parts)) < len(parts):
        twice = next(part for part in parts if parts.count(part) > 1)
        raise InputError(f"--vary {key} names {twice!r} twice; name each value once.")
    return Axis(key, tuple(_choice(key, part) for part in parts))


def _choice(key: str, part: str) -> Choice:
    if key != "loss":
        value = parse_override(f"{key}={part}")[1]
        label = _label(value, part)
        return Choice(label if key in ("model", "model.name") else f"{key}={label}", f"{key}={part}")
    terms = split_outside_brackets(part, "+")
    if not all(terms):
        raise InputError(f"--vary loss has {part!r}, where a + has nothing on one side; expected loss+penalty.")
    specifications = [parse_override(f"loss={term}")[1] for term in terms]
    label = "+".join(_label(value, term) for value, term in zip(specifications, terms, strict=True))
    return Choice(label, f"loss={terms[0]}", tuple(specifications[1:]))


def _label(value: Any, text: str) -> str:
    """A short readable form: `r1(weight=1)` for `{name: r1, weight: 1}`, the class alone for `package.module:Class`."""
    if isinstance(value, dict) and isinstance(value.get("name"), str):
        fields = ", ".join(f"{k}={_plain(v)}" for k, v in value.items() if k != "name")
        return f"{_last(value['name'])}({fields})" if fields else _last(value["name"])
    return _last(value) if isinstance(value, str) else text


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _last(name: str) -> str:
    return name.rpartition(":")[2] if re.fullmatch(r"[\w.]+:\w+", name) else name


def combinations(axes: Sequence[Axis]) -> list[tuple[str, tuple[Choice, ...]]]:
    """Returns every variant of the grid as its unique name and its choices, the last axis fastest.

    Raises:
        InputError: two axes on one key.
    """
    keys = [axis.key for axis in axes]
    for first, second in itertools.permutations(keys, 2):
        if first == second or second.startswith(f"{first}."):
            raise InputError(f"--vary {first} and --vary {second} set the same key; use one --vary for it.")
    if "penalties" in keys and any(choice.additions for axis in axes for choice in axis.choices):
        raise InputError("--vary penalties and a + in --vary loss both set the penalties; use one of them.")
    grid = list(itertools.product(*(axis.choices for axis in axes)))
    names = _unique([" / ".join(choice.label for choice in choices) for choices in grid], " ({})")
    return list(zip(names, grid, strict=True))


def _unique(names: Iterable[str], suffix: str) -> list[str]:
    """Numbers the second and later of equal names; upper and lower case are equal to some file systems."""
    taken: set[str] = set()
    unique = []
    for name in names:
        number, candidate = 2, name
        while candidate.lower() in taken:
            candidate, number = name + suffix.format(number), number + 1
        taken.add(candidate.lower())
        unique.append(candidate)
    return unique


def folder_names(names: Sequence[str]) -> list[str]:
    """Returns unique names of at most 100 characters that every file system and a recipe's `name` take.

    Example:
        >>> folder_names(["wasserstein+gradient_penalty", "hinge / train.steps=100"])
        ['wasserstein-gradient_penalty', 'hinge-train.steps-100']
    """
    short = [re.sub(r"[^A-Za-z0-9_.]+", "-", name).strip("-.")[:96].rstrip("-.") or "variant" for name in names]
    return _unique([name if name[0].isalnum() else f"v{name}" for name in short], "-{}")


def added_penalties(present: Sequence[Any], additions: Sequence[Any]) -> str:
    """Returns the override that adds penalties to those of the recipe; one of the same name takes the other's place."""
    names = {_name(addition) for addition in additions}
    kept = [penalty for penalty in present if _name(penalty) not in names]
    flow = yaml.safe_dump([*kept, *additions], default_flow_style=True, width=10**6, sort_keys=False).strip()
    return f"penalties={flow}"


def _name(specification: Any) -> Any:
    return specification.get("name") if isinstance(specification, dict) else specification
