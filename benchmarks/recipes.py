"""Trains a bundled recipe over seeds, two side by side, and keeps its test metrics: `recipes.py ring_gan --seeds 5`."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from _report import made_by, put_section, table

SHOWN = ("bound", "modes", "high_quality", "kl", "mmd2", "frechet_distance", "precision", "recall", "coverage")


def main() -> None:
    """Trains, evaluates on the test split, and writes the recipe's section."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("recipe")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    options = parser.parse_args()
    with ThreadPoolExecutor(options.jobs) as pool:
        runs = list(pool.map(lambda seed: measure(options, seed), range(options.seeds)))
    names = [name for name in SHOWN if name in runs[0]["metrics"]]
    rows: list[list[object]] = [
        [seed, run["steps"], f"{run['seconds']:.0f}", *(f"{run['metrics'][n]['value']:.4g}" for n in names)]
        for seed, run in enumerate(runs)
    ]
    true = {name: run.get(f"true/{name}") for name in names for run in [runs[0]["metrics"]]}
    if any(true.values()):
        rows.append(["true samples", "", "", *(f"{t['value']:.4g}" if (t := true[n]) else "" for n in names)])
    title = " ".join([options.recipe, *options.overrides])
    note = f"Test split, checkpoint `best`, {runs[0]['metrics']['mmd2']['n']} generated samples; seconds are wall time "
    note += f"on a shared machine, {options.jobs} at a time."
    made = made_by(f"{title} --seeds {options.seeds} --samples {options.samples}", "cpu")
    body = f"{note}\n\n{table(['seed', 'turns', 'seconds', *names], rows)}\n\n{made}"
    put_section(f"recipe-{title.replace(' ', '-')}", f"Recipe `{title}`", body)


def measure(options: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Trains one seed and returns its run and its test metrics."""
    where = [f"runs_dir={options.runs}", f"seed={seed}"]
    run = _genloss("train", options.recipe, *options.overrides, *where, "--json")
    found = _genloss("evaluate", run["run"], "--samples", str(options.samples), "--json")
    return {**run, "metrics": found["metrics"]}


def _genloss(*arguments: str) -> dict[str, Any]:
    done = subprocess.run([sys.executable, "-m", "genloss", *arguments], capture_output=True, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


if __name__ == "__main__":
    main()
