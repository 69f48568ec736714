"""`genloss doctor`: what a bug report needs, and whether all is in order."""

from __future__ import annotations

import typer

from genloss.cli._common import Json, print_json

__all__ = ["register"]


def doctor(json: Json = False) -> None:
    """Print versions, devices, precision and where data are looked for; then train a GAN for five turns.

    Example: genloss doctor
    """
    import os
    import tempfile

    import torch

    from genloss.data import cache_folder
    from genloss.runs.build import choose_device
    from genloss.runs.execute import train_run
    from genloss.runs.folder import environment
    from genloss.runs.recipes import read_recipe

    found = environment()
    found["device"] = str(choose_device("auto"))
    found["threads"] = torch.get_num_threads()
    found["GENLOSS_DATA"] = os.environ.get("GENLOSS_DATA", "")
    found["cache"] = str(cache_folder())
    with tempfile.TemporaryDirectory() as folder:
        tiny = ["train.steps=5", "train.batch_size=16", "evaluation.samples=100", f"runs_dir={folder}"]
        outcome = train_run(read_recipe("ring_gan", tiny)[0])
        found["trial"] = f"{outcome.status} {outcome.turn} turns in {outcome.seconds:.1f} s"
    if json:
        print_json(found)
        return
    for key, value in found.items():
        if isinstance(value, dict):
            print(f"{key}: " + ", ".join(f"{name} {version}" for name, version in value.items()))
        else:
            print(f"{key}: {value}")


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(doctor)
