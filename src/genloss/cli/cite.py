"""`genloss cite`: BibTeX for what was used."""

from __future__ import annotations

from typing import Annotated

import typer

from genloss.cli._common import Json, print_json

__all__ = ["register"]


def cite(
    target: Annotated[
        str, typer.Argument(metavar="NAME|RUN", help="A loss, penalty, model, data set or metric; or a run's folder.")
    ],
    json: Json = False,
) -> None:
    """Print BibTeX for exactly what a run used, or for one name. Lines that begin with % say what is cited for what.

    Example: genloss cite gradient_penalty > references.bib
    """
    from pathlib import Path

    from genloss.runs.citations import bibtex, cite_name, cite_run
    from genloss.runs.folder import RunFolder

    # What has a separator can only be meant as a folder, so that its absence is told.
    is_run = (Path(target) / "recipe.yaml").is_file() or Path(target).name != target
    used = cite_run(RunFolder.open(target)) if is_run else cite_name(target)
    entries = bibtex(used)
    if json:
        cited = [{"kind": use.kind, "name": use.name, "keys": list(use.references)} for use in used]
        print_json({"used": cited, "entries": entries})
        return
    for use in used:
        print(f"% {use}")
    for entry in entries.values():
        print(f"\n{entry}")


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(cite)
