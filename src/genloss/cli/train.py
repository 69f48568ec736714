"""`genloss train`: train a recipe in a new run folder."""

from __future__ import annotations

from typing import Annotated

import typer

from genloss.cli._common import Json, Overrides, announce, conclude, say

__all__ = ["register"]


def train(
    recipe: Annotated[str, typer.Argument(help="A bundled recipe (`genloss recipes`) or a YAML file.")],
    overrides: Overrides = None,
    json: Json = False,
) -> None:
    """Train a recipe in a new run folder.

    Example: genloss train digits_gan loss=hinge train.steps=2000 seed=1
    """
    from genloss.runs.execute import train_run
    from genloss.runs.recipes import read_recipe

    checked, notes = read_recipe(recipe, overrides or [])
    for note in notes:
        say(note)
    conclude(train_run(checked, notes, announce, say), json)


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(train)
