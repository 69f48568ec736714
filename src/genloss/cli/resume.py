"""`genloss resume`: go on with a run where it stopped."""

from __future__ import annotations

from typing import Annotated

import typer

from genloss.cli._common import Json, announce, conclude, say

__all__ = ["register"]


def resume(run: Annotated[str, typer.Argument(help="The run's folder.")], json: Json = False) -> None:
    """Go on with a run from its last checkpoint, exactly as if it had not stopped.

    Example: genloss resume runs/digits_gan-1
    """
    from genloss.runs.execute import resume_run

    conclude(resume_run(run, announce, say), json)


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(resume)
