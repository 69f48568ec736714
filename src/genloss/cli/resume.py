"""`genloss resume`: go on with a run where it stopped."""

from __future__ import annotations

from typing import Annotated

import typer

from genloss.cli._common import Json, announce, conclude, say

__all__ = ["register"]


def resume(
    context: typer.Context, run: Annotated[str, typer.Argument(help="The run's folder.")], json: Json = False
) -> None:
    """Go on with a run from its last checkpoint, exactly as if it had not stopped.

    Example: genloss resume runs/digits_gan-1
    """
    from genloss.errors import InputError
    from genloss.runs.execute import resume_run

    if context.args:
        raise InputError(
            f"{context.args[0]!r} was given, but the recipe of a run does not change, since schedules depend on its "
            f"length; train anew with the change: genloss train RECIPE {context.args[0]}."
        )
    conclude(resume_run(run, announce, say), json)


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command(context_settings={"allow_extra_args": True})(resume)
