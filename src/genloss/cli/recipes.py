"""`genloss recipes`: the bundled recipes."""

from __future__ import annotations

from typing import Annotated

import typer

from genloss.cli._common import Json, print_json

__all__ = ["register"]


def recipes(
    name: Annotated[str | None, typer.Argument(help="Print this recipe's file.")] = None, json: Json = False
) -> None:
    """List the bundled recipes, or print one to start your own from.

    Example: genloss recipes digits_gan > my_recipe.yaml
    """
    from genloss.errors import InputError, did_you_mean
    from genloss.runs.recipe_yaml import read_yaml
    from genloss.runs.recipes import bundled_recipes, recipe_summary

    known = bundled_recipes()
    if name is not None:
        if name not in known:
            raise InputError(f"there is no recipe {name!r}.{did_you_mean(name, known)}")
        if json:
            content = read_yaml(known[name], name)
            print_json({"name": name, "summary": recipe_summary(known[name]), "recipe": content})
        else:
            print(known[name], end="")
    elif json:
        print_json([{"name": key, "summary": recipe_summary(text)} for key, text in known.items()])
    else:
        width = max(map(len, known))
        for key, text in known.items():
            print(f"{key:<{width}}  {recipe_summary(text)}")


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(recipes)
