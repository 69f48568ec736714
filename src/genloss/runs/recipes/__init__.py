"""The recipes that come with genloss, found by name; any YAML file is one too."""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from genloss.errors import InputError, did_you_mean
from genloss.losses import Loss
from genloss.runs.overrides import apply_overrides, merge, parse_override
from genloss.runs.recipe_yaml import read_yaml
from genloss.runs.schema import Recipe, checked
from genloss.runs.specification import DEFAULT_LOSS, LOSS_BASES, PENALTY_BASES, class_of, to_mapping

__all__ = ["bundled_recipes", "parse_recipe", "read_recipe", "recipe_summary"]


def bundled_recipes() -> dict[str, str]:
    """Returns name -> text of the bundled recipes."""
    files = [entry for entry in resources.files(__package__).iterdir() if entry.name.endswith(".yaml")]
    return {entry.name.removesuffix(".yaml"): entry.read_text("utf-8") for entry in sorted(files, key=lambda e: e.name)}


def recipe_summary(text: str) -> str:
    """Returns the first comment line of a recipe: what it trains."""
    return next((line.lstrip("# ").strip() for line in text.splitlines() if line.startswith("#")), "")


def _raw(name_or_path: str) -> dict[str, Any]:
    bundled = bundled_recipes()
    path = Path(name_or_path)
    if name_or_path in bundled:
        text, name = bundled[name_or_path], name_or_path
    elif path.is_file():
        text, name = _text_of(path), path.stem
    elif path.suffix in (".yaml", ".yml"):
        raise InputError(f"there is no recipe file {name_or_path!r}; check the path.")
    else:
        raise InputError(f"there is no recipe {name_or_path!r}.{did_you_mean(name_or_path, bundled)}")
    content = read_yaml(text, name_or_path)
    if not isinstance(content, dict):
        raise InputError(
            f"{name_or_path} holds {type(content).__name__}, expected a mapping with data, model, loss, train."
        )
    content.setdefault("name", name)
    return content


def _text_of(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is not UTF-8 text (byte {error.start} is not); save it in UTF-8, as every editor can."
        ) from error


def read_recipe(name_or_path: str, overrides: Sequence[str] = ()) -> tuple[Recipe, list[str]]:
    """Reads a bundled recipe or a YAML file, applies `key=value` overrides and checks the whole.

    Returns:
        The recipe, and sentences on what the overrides dropped.

    Raises:
        InputError: for an unknown recipe, key or value, in one sentence with the nearest name.
    """
    tree, notes = apply_overrides(_raw(name_or_path), overrides)
    if tree.get("preset") is not None:
        notes += _apply_preset(tree, overrides)
    return parse_recipe(tree), notes


def _apply_preset(tree: dict[str, Any], overrides: Sequence[str]) -> list[str]:
    """Sets what the papers of the loss and of the penalties use, except where the command line says otherwise.

    A penalty with a paper of its own comes last and stays: a Wasserstein loss with a gradient penalty is that paper's.
    All is written out, so the preset itself is dropped: the resulting recipe means the same without it.
    """
    recipe = parse_recipe(tree)
    name = to_mapping(recipe.loss or DEFAULT_LOSS[recipe.model.name], "loss")["name"]
    paper = _paper(name, LOSS_BASES[recipe.model.name], "loss")
    for position, penalty in enumerate(recipe.penalties):
        key = f"penalties[{position}]"
        if own := _paper(to_mapping(penalty, key)["name"], PENALTY_BASES, key):
            paper = {**{key: value for key, value in paper.items() if key != "penalties"}, **own}
    if not paper:
        raise InputError(
            f"preset=paper: the card of the loss {name!r} names no optimiser or schedule; leave preset out."
        )
    explicit = dict(parse_override(text) for text in overrides)
    applied = {key: value for key, value in paper.items() if not _says(explicit, key)}
    tree.setdefault("loss", name)
    for key, value in applied.items():
        merge(tree, key, value)
    del tree["preset"]
    return ["preset=paper sets " + ", ".join(f"{key}={value}" for key, value in applied.items()) + "."]


def _paper(name: str, bases: tuple[type[Loss], ...], key: str) -> dict[str, Any]:
    card = getattr(class_of(name, bases, key), "card", None)  # a loss of one's own need not have a card
    return {} if card is None else dict(card.paper)


def _says(explicit: dict[str, Any], key: str) -> bool:
    """Says whether overrides give a dotted key: itself, in a mapping above it, or for all players at once."""
    parts = key.split(".")
    for depth in range(1, len(parts) + 1):
        node: Any = explicit.get(".".join(parts[:depth]))
        for part in parts[depth:]:
            node = node.get(part) if isinstance(node, dict) else None
        if node is not None:
            return True
    return len(parts) == 3 and _says(explicit, f"{parts[0]}.{parts[2]}")


def parse_recipe(tree: dict[str, Any]) -> Recipe:
    """Checks a raw recipe; the error names the key as a person writes it."""
    for section in ("data", "model"):
        if isinstance(tree.get(section), str):
            tree = {**tree, section: {"name": tree[section]}}
    network = tree.get("model", {}).get("network") if isinstance(tree.get("model"), dict) else None
    if isinstance(network, str):
        tree = {**tree, "model": {**tree["model"], "network": {"name": network}}}
    _refuse_infinities(tree, "")
    return checked(Recipe, tree)


def _refuse_infinities(node: Any, key: str) -> None:
    if isinstance(node, dict):
        for name, value in node.items():
            _refuse_infinities(value, f"{key}.{name}" if key else str(name))
    elif isinstance(node, list):
        for position, value in enumerate(node):
            _refuse_infinities(value, f"{key}[{position}]")
    elif isinstance(node, float) and not math.isfinite(node):
        raise InputError(f"{key} is {node}, expected a finite number.")
