"""The memory of the MNIST runs above that of the imports."""

from __future__ import annotations

import contextlib
import importlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from _report import arguments, table, write_section

RECIPES = ("mnist_gan", "mnist_wgan_gp", "mnist_vae", "mnist_mmd")
TURNS = 300
LIMIT = 1.5


def main() -> None:
    """Measures the peak of each run in a process of its own, with an evaluation, pictures and checkpoints."""
    options = arguments(main.__doc__ or "", rounds=1)
    rows = []
    for recipe in RECIPES:
        with tempfile.TemporaryDirectory() as runs:
            modules = _child(recipe, runs, options.seed, [])["modules"]
            result = _child(recipe, runs, options.seed, modules)
        state = result["data"] + result["model"] + result["optimizer"]
        columns = [result[key] for key in ("imports", "data", "model", "optimizer", "turns", "run")]
        times = [result[key] / state for key in ("turns", "run")]
        rows.append((recipe, *(f"{column / 2**20:.0f}" for column in columns), *(f"{ratio:.2f}" for ratio in times)))
    text = (
        f"{TURNS} turns in a fresh process, with evaluations, pictures and checkpoints, in MiB. `turns` is the peak of "
        "resident memory before the first evaluation, `run` that of the whole run, both above what was resident once "
        "all modules were imported, less the pages of libraries that were read from their files since. The last two "
        f"columns are `turns` and `run` over data + model + optimiser. Linux, CPU. Goal: at most {LIMIT}.\n\n"
    )
    head = ("recipe", "imports", "data", "model", "optimiser", "turns", "run", "turns, times", "run, times")
    write_section("Memory", text + table(head, rows), options)


def _child(recipe: str, runs: str, seed: int, modules: list[str]) -> dict[str, Any]:
    command = [sys.executable, __file__, "--child", recipe, runs, str(seed)]
    done = subprocess.run(command, check=True, input=json.dumps(modules), stdout=subprocess.PIPE, text=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def child(recipe_name: str, runs: str, seed: str) -> None:
    """Imports the given modules, runs the recipe and prints what it held, as JSON."""
    for name in json.load(sys.stdin):
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    import torch

    from genloss.protocols import TurnDone
    from genloss.runs.build import Built
    from genloss.runs.execute import train_run
    from genloss.runs.listeners import Listener
    from genloss.runs.recipes import read_recipe

    imports, code = _resident("VmRSS"), _resident("RssFile")

    def growth() -> int:
        return _resident("VmHWM") - imports - (_resident("RssFile") - code)

    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    recipe, _ = read_recipe(
        recipe_name,
        f"device=cpu threads=1 seed={seed} runs_dir={runs} train.steps={TURNS} evaluation.every={TURNS // 2} "
        f"train.checkpoint_every={TURNS // 2}".split(),
    )
    held: list[Built] = []
    turns: list[int] = []

    def tell(built: Built, folder: object) -> list[Listener]:
        held.append(built)
        return [lambda event: turns.append(growth()) if isinstance(event, TurnDone) else None]

    train_run(recipe, tell=tell)
    (built,) = held
    state = built.state
    stores = {split.values.data_ptr(): split.values.nbytes for split in built.dataset.splits.values()}
    moments = [
        value
        for how in state.training.values()
        for entry in how.optimizer.state.values()
        for value in entry.values()
        if isinstance(value, torch.Tensor)
    ]
    result = {
        "imports": imports,
        "turns": turns[TURNS // 2 - 2],
        "run": growth(),
        "data": sum(stores.values()),
        "model": sum(tensor.nbytes for tensor in state.weights().values()),
        "optimizer": sum(value.nbytes for value in moments),
        "modules": sorted(name for name in sys.modules if name != "__main__"),
    }
    print("\n" + json.dumps(result))


def _resident(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field + ":"))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(*sys.argv[2:])
    else:
        main()
