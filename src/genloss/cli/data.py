"""`genloss data`: what was found in a data set or at a path."""

from __future__ import annotations

from typing import Annotated

import typer

from genloss.cli._common import Json, print_json

__all__ = ["register"]


def data(
    name_or_path: Annotated[str | None, typer.Argument(help="A known data set, or your own folder or file.")] = None,
    size: Annotated[int | None, typer.Option(min=4, help="Side to which images are resized.")] = None,
    crop: Annotated[bool, typer.Option(help="Crop the centre to a square first.")] = False,
    skip_bad: Annotated[bool, typer.Option(help="Skip and count unreadable images and bad rows.")] = False,
    json: Json = False,
) -> None:
    """Say what is in a data set before training on it; without a name, list the known ones.

    Example: genloss data ./photos --size 64
    """
    from genloss.data import known_datasets, load_data

    if name_or_path is None:
        known = known_datasets()
        if json:
            print_json([{"name": name, "summary": summary} for name, summary in known.items()])
        else:
            for name, summary in known.items():
                print(f"{name:<18}{summary}")
        return
    found = load_data(name_or_path, size=size, crop=crop, skip_bad=skip_bad).describe()
    if json:
        print_json(found)
        return
    for key, value in found.items():
        if key == "notes":
            for note in value if isinstance(value, (list, tuple)) else ():
                print(f"note: {note}")
        else:
            print(f"{key}: {value}")


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(data)
