"""`genloss check`: the laws, on a loss of one's own."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from genloss.cli._common import Json, print_json

if TYPE_CHECKING:
    from genloss.losses.laws import LawResult

__all__ = ["register"]

_MARKS = {"passed": "[green]passed[/]", "broken": "[bold red]broken[/]", "skipped": "[dim]skipped[/]"}


def check(
    loss: Annotated[str, typer.Argument(metavar="FILE[:LOSS]", help="Your file, or package.module:Loss.")],
    json: Json = False,
) -> None:
    """Check a loss of your own against the laws of its family: signs, gradients, extremes, batches, precision.

    The loss is a class derived from a base class of genloss.losses, or an instance of one; it needs no card. Exit code
    1 when a law is broken, 2 when the loss cannot be used.

    Example: genloss check my_loss.py:MyLoss
    """
    from genloss.cli._own_loss import load_loss
    from genloss.errors import InputError
    from genloss.losses.laws import check_loss

    found = load_loss(loss)
    try:
        results = check_loss(found)
    except (TypeError, ValueError) as error:
        raise InputError(str(error)) from error
    counts = Counter(result.status for result in results)
    if json:
        laws = [{"law": result.law, "status": result.status, "message": result.message} for result in results]
        print_json({"loss": repr(found), "family": found.family, "keeps_every_law": not counts["broken"], "laws": laws})
    else:
        _print(results)
        name = type(found).__name__
        print(f"{name} ({found.family}): {counts['passed']} laws passed, {counts['broken']} broken, ", end="")
        print(f"{counts['skipped']} skipped.")
    if counts["broken"]:
        raise typer.Exit(1)


def _print(results: list[LawResult]) -> None:
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("", "law", "what was measured, or why it was skipped", box=SIMPLE, padding=(0, 1, 1, 1))
    # What is broken comes last, where a terminal ends.
    for result in sorted(results, key=lambda result: ("passed", "skipped", "broken").index(result.status)):
        table.add_row(_MARKS[result.status], escape(result.law), escape(result.message))
    Console().print(table)


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(check)
