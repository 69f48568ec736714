"""`genloss sample`: draw samples of a run into a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from genloss.cli._common import Checkpoint, Json, print_json

__all__ = ["register"]


def sample(
    run: Annotated[str, typer.Argument(help="The run's folder.")],
    n: Annotated[int, typer.Option("-n", min=1, help="How many samples.")] = 64,
    output: Annotated[Path, typer.Option("-o", "--output", help="A .png, .npz or .csv file.")] = Path("samples.png"),
    seed: Annotated[int, typer.Option(min=0, help="Seed of the noise.")] = 0,
    checkpoint: Checkpoint = None,
    json: Json = False,
) -> None:
    """Draw samples of a run into a picture, arrays or a table; the file says what generated it.

    Example: genloss sample runs/digits_gan-1 -n 64 -o grid.png
    """
    from genloss.runs.sampling import sample_run

    path = sample_run(run, n, output, seed=seed, which=checkpoint)
    print_json({"output": str(path), "n": n, "seed": seed}) if json else print(path)


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(sample)
