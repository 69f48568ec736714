"""`genloss losses`: the catalogue, and a loss's card."""

from __future__ import annotations

from typing import Annotated

import typer

from genloss.cli._common import Json, print_json

__all__ = ["register"]


def losses(
    action: Annotated[str | None, typer.Argument(help="`show` to see one loss's card.")] = None,
    name: Annotated[str | None, typer.Argument(help="The loss.")] = None,
    json: Json = False,
) -> None:
    """List every loss by family, or show the card of one.

    Example: genloss losses show wasserstein
    """
    from genloss.errors import InputError
    from genloss.losses import catalogue, find_loss

    if action is not None:
        if action != "show" or name is None:
            raise InputError(f"{action!r} is not known; use `genloss losses` or `genloss losses show NAME`.")
        try:
            found = find_loss(name)
        except KeyError as error:
            raise InputError(f"{error.args[0]}") from error
        _show(found, json)
        return
    known = catalogue()
    if json:
        print_json([{"name": key, "class": cls.__name__, "family": cls.family} for key, cls in known.items()])
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("family", "name", "class", "when to use it")
    previous = ""
    for key, cls in known.items():
        table.add_row("" if cls.family == previous else cls.family, key, cls.__name__, cls.card.when)
        previous = cls.family
    Console().print(table)


def _show(cls: type, as_json: bool) -> None:
    import dataclasses

    from genloss.losses import Loss

    assert issubclass(cls, Loss)
    card = cls.card
    if as_json:
        print_json({"class": cls.__name__, "family": cls.family, **dataclasses.asdict(card)})
        return
    fields = [f"{f.name} = {f.default!r}" for f in dataclasses.fields(cls)]  # type: ignore[arg-type]
    print(f"{card.name}   genloss.losses.{cls.__name__}({', '.join(fields)})   family: {cls.family}")
    if card.aliases:
        print(f"also called: {', '.join(card.aliases)}")
    print(f"\n{card.minimised_by}")
    for role, formula in card.formula.items():
        print(f"  {role}: {formula}")
    print(f"\nWhen:  {card.when}\nFails: {card.fails}")
    if card.paper:
        print("Paper's settings (preset=paper): " + ", ".join(f"{key}={value}" for key, value in card.paper.items()))
    for reference in card.references:
        parts = (reference.title, reference.venue, reference.equation, reference.url)
        print(". ".join([f"  {reference.authors} ({reference.year})", *(part for part in parts if part)]))


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(losses)
