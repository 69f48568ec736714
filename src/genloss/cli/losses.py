"""`genloss losses`: the catalogue, and a loss's card."""

from __future__ import annotations

import dataclasses
import math
import shutil
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genloss.cli._common import Json, print_json

if TYPE_CHECKING:
    from genloss.losses import AdversarialLoss, Card, Loss

__all__ = ["register"]

_ROWS = 5  # of the table of values in a terminal


def losses(
    action: Annotated[str | None, typer.Argument(help="`show` to see one loss's card.")] = None,
    name: Annotated[str | None, typer.Argument(help="The loss.")] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Save a plot of an adversarial loss: .png, .svg or .pdf.")
    ] = None,
    json: Json = False,
) -> None:
    """List every loss by family, or show the card of one, with values and gradients where it is one of scores.

    Example: genloss losses show wasserstein -o wasserstein.png
    """
    from genloss.errors import InputError

    if action is None:
        if output is not None:
            raise InputError("-o saves the plot of one loss; name it: genloss losses show NAME -o FILE.png.")
        _list(json)
    elif action == "show" and name is None:
        raise InputError("`genloss losses show` needs the name of a loss: genloss losses show NAME.")
    elif action != "show" or name is None:
        raise InputError(f"{action!r} is not known; use `genloss losses` or `genloss losses show NAME`.")
    else:
        _show(name, output, json)


def _list(as_json: bool) -> None:
    from genloss.losses import catalogue

    known = catalogue()
    if as_json:
        print_json([{"name": key, "class": cls.__name__, "family": cls.family} for key, cls in known.items()])
        return
    width = max(map(len, known))
    # On a terminal a line is what fits; a name is never cut, and what is piped is whole.
    room = shutil.get_terminal_size().columns - width - 4 if sys.stdout.isatty() else None
    previous = ""
    for key, cls in known.items():
        if cls.family != previous:
            print(cls.family)
            previous = cls.family
        when = cls.card.when if room is None else textwrap.shorten(cls.card.when, max(room, 3), placeholder="...")
        print(f"  {key:<{width}}  {when}")


def _show(name: str, output: Path | None, as_json: bool) -> None:
    from genloss.errors import InputError
    from genloss.losses import AdversarialLoss, catalogue, find_loss

    try:
        cls = find_loss(name)
    except KeyError as error:
        if members := catalogue(name):
            raise InputError(
                f"{name!r} is a family, not a loss; `genloss losses` lists every family, and `genloss losses show` "
                f"shows one loss, here {', '.join(members)}."
            ) from error
        raise InputError(f"{error.args[0]}") from error
    of_scores = cls() if issubclass(cls, AdversarialLoss) else None
    if output is not None:
        from genloss.cli._score_plot import save_score_plot

        if of_scores is None:
            raise InputError(
                f"{cls.card.name} is a {cls.family}, and only adversarial losses are functions of a score that can be "
                "drawn; leave -o out."
            )
        save_score_plot(of_scores, output)
    if as_json:
        print_json(_content(cls, of_scores) | {"plot": None if output is None else str(output)})
        return
    _print_card(cls)
    if of_scores is not None:
        _print_curves(of_scores)
    if output is not None:
        print(f"plot: {output}")


def _content(cls: type[Loss], of_scores: AdversarialLoss | None) -> dict[str, Any]:
    """Returns the card, and the curves of an adversarial loss, as JSON can hold them."""
    from genloss.losses.score_curves import score_curves

    card = dataclasses.asdict(cls.card)
    if cls.card.score_range is not None:
        card["score_range"] = [edge if math.isfinite(edge) else None for edge in cls.card.score_range]
    curves = [] if of_scores is None else [dataclasses.asdict(curve) for curve in score_curves(of_scores, points=41)]
    return {"class": cls.__name__, "family": cls.family, **card, "curves": curves}


def _print_card(cls: type[Loss]) -> None:
    card: Card = cls.card
    print(f"{card.name}   genloss.losses.{cls.__name__}({', '.join(_fields(cls))})   family: {cls.family}")
    if card.aliases:
        print(f"also called: {', '.join(card.aliases)}")
    print(f"\n{card.minimised_by}")
    for role, formula in card.formula.items():
        print(f"  {role}: {formula}")
    print(f"\nWhen:  {card.when}\nFails: {card.fails}")
    if card.paper:
        print("Paper's settings (preset=paper): " + ", ".join(f"{key}={value}" for key, value in card.paper.items()))
    for reference in card.references:
        print(f"  {reference}")


def _fields(cls: type[Loss]) -> list[str]:
    """Returns the fields as a signature has them."""
    written = []
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]
        made = field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default
        written.append(field.name if made is dataclasses.MISSING else f"{field.name}={made!r}")
    return written


def _print_curves(loss: AdversarialLoss) -> None:
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    from genloss.losses.score_curves import score_curves

    curves = score_curves(loss, points=_ROWS)
    unit = "energy" if loss.energies else "score"
    heads = [f"{curve.role}, {curve.side}" for curve in curves]
    title = f"value (gradient) against the {unit}; the other {unit} is held at {curves[0].other_score:.4g}"
    table = Table(unit, *heads, box=SIMPLE, title=title, title_justify="left")
    for row in range(_ROWS):
        cells = (f"{curve.values[row] + 0.0:.4g} ({curve.gradients[row] + 0.0:+.4g})" for curve in curves)
        table.add_row(f"{curves[0].scores[row]:.4g}", *cells)
    Console().print(table)


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(losses)
