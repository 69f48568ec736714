"""`key=value` on the command line: dotted keys, YAML values, shorthands."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from genloss.errors import InputError
from genloss.runs.recipe_yaml import read_yaml

__all__ = ["apply_overrides", "merge", "parse_override", "refuse_twice", "split_outside_brackets"]

# A plain name given for one of these sections sets its `name`.
NAMED_SECTIONS = ("data", "model")
FAMILY_KEYS = ("loss", "penalties", "preset")


def parse_override(text: str) -> tuple[str, Any]:
    """Splits `train.steps=100` into its key and its YAML value.

    >>> parse_override("train.betas=[0, 0.9]")
    ('train.betas', [0, 0.9])
    """
    key, equals, value = text.partition("=")
    key = key.strip()
    if not equals or not key:
        raise InputError(f"{text!r} is not an override; expected key=value, for example train.steps=1000.")
    if not all(key.split(".")):
        raise InputError(f"{text!r} has a dot with nothing on one side; expected a key such as train.steps.")
    content = read_yaml(value, f"the value of {key}, {value!r},") if value.strip() else None
    _refuse_glued(content, key)
    return key, content


def refuse_twice(overrides: Iterable[str]) -> None:
    """Raises InputError where a command line gives a key twice: one of the two values would not count."""
    given: dict[str, str] = {}
    for text in overrides:
        key, _, value = (part.strip() for part in text.partition("="))
        if key in given:
            raise InputError(f"{key} is given twice, as {given[key]!r} and as {value!r}; keep one of them.")
        section = key.removesuffix(".name")  # another name replaces what belongs to the old one
        below = next((other for other in given if other.startswith(f"{section}.")), None)
        if below is not None and section not in NAMED_SECTIONS:
            raise InputError(f"{below} is given before {key}={value}, which would replace it; give {key} first.")
        given[key] = value


def _refuse_glued(content: Any, key: str) -> None:
    """Raises where a key holds its own value: YAML reads {name:hinge} as the key `name:hinge` of nothing."""
    for entry in content if isinstance(content, (dict, list)) else ():
        inner = content[entry] if isinstance(content, dict) else entry
        if isinstance(content, dict) and inner is None and ":" in str(entry):
            raise InputError(
                f"the value of {key} holds {entry!r}; put a space after the colon: {str(entry).replace(':', ': ', 1)}."
            )
        _refuse_glued(inner, key)


def merge(tree: dict[str, Any], key: str, value: Any) -> None:
    """Sets a dotted key in a tree of mappings; a section that is a plain name becomes a mapping first.

    `loss.name=hinge` and `model.network.name=dcgan` do what `loss=hinge` and `model.network=dcgan` do: the fields of
    another loss or network do not stay.
    """
    parts = key.split(".")
    node = tree
    for depth, part in enumerate(parts[:-1]):
        inner = node.get(part)
        if isinstance(inner, str):
            inner = {"name": inner}
        elif isinstance(inner, (int, float, list)) and not isinstance(inner, bool):
            raise InputError(f"{key} goes below {'.'.join(parts[: depth + 1])}, which is {inner!r} and has no keys.")
        node[part] = inner = dict(inner) if isinstance(inner, dict) else {}
        node = inner
    last = parts[-1]
    if len(parts) == 1 and last in NAMED_SECTIONS and isinstance(value, str):
        section = tree.get(last)
        node[last] = {**section, "name": value} if isinstance(section, dict) else {"name": value}
        return
    if last == "name" and node is not tree and ".".join(parts[:-1]) not in NAMED_SECTIONS and node.get(last) != value:
        node.clear()  # fields of another loss or network
    node[last] = value


def apply_overrides(recipe: dict[str, Any], overrides: Iterable[str]) -> tuple[dict[str, Any], list[str]]:
    """Applies overrides to a raw recipe, in their order.

    When another model is chosen and no loss with it, what belongs to the old model (loss, penalties, its own keys, the
    sections of its players) is dropped, so that the new model's defaults hold.

    Returns:
        The new raw recipe, and sentences on what was dropped.
    """
    tree: dict[str, Any] = dict(recipe)
    pairs = [parse_override(text) for text in overrides]
    notes: list[str] = []
    model = next((str(v) for k, v in reversed(pairs) if k in ("model", "model.name") and isinstance(v, str)), None)
    old = tree.get("model", {})
    if model is not None and isinstance(old, dict) and model != old.get("name"):
        notes += _leave_family(tree, old, model)
    if any(key in ("data.path", "data.name", "data") for key, _ in pairs) and isinstance(tree.get("data"), dict):
        tree["data"] = {key: value for key, value in tree["data"].items() if key not in ("name", "path", "options")}
    for key, value in pairs:
        merge(tree, key, value)
    return tree, notes


def _leave_family(tree: dict[str, Any], old: dict[str, Any], model: str) -> list[str]:
    dropped = [key for key in FAMILY_KEYS if tree.pop(key, None)]
    kept = ("name", "network", "prior", "noise_dim")
    dropped += [f"model.{key}" for key in old if key not in kept]
    tree["model"] = {key: value for key, value in old.items() if key in kept}
    train = tree.get("train")
    if isinstance(train, dict):
        players = [key for key in ("generator", "discriminator", "autoencoder") if train.get(key)]
        dropped += [f"train.{key}" for key in players]
        tree["train"] = {key: value for key, value in train.items() if key not in players}
    evaluation = tree.get("evaluation")
    if isinstance(evaluation, dict) and evaluation.get("metric") == "bound":
        dropped.append("evaluation.metric")
        tree["evaluation"] = {key: value for key, value in evaluation.items() if key != "metric"}
    if not dropped:
        return []
    return [f"model={model} is another family: its defaults take the place of the recipe's {', '.join(dropped)}."]


def split_outside_brackets(text: str, separator: str) -> list[str]:
    """Splits at a separator that stands outside brackets, braces and quotes.

    >>> split_outside_brackets("{name: hinge, x: [1, 2]},wasserstein+r1", ",")
    ['{name: hinge, x: [1, 2]}', 'wasserstein+r1']
    """
    parts, depth, current, quote = [], 0, "", ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character in "[{(":
            depth += 1
        elif character in "]})":
            depth -= 1
        elif character == separator and depth == 0:
            parts.append(current.strip())
            current = ""
            continue
        current += character
    return [*parts, current.strip()]
