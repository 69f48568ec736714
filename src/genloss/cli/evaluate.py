"""`genloss evaluate`: measure a run on held-out data."""

from __future__ import annotations

from typing import Annotated

import typer

from genloss.cli._common import Checkpoint, Json, print_json

__all__ = ["register"]


def evaluate(
    run: Annotated[str, typer.Argument(help="The run's folder.")],
    split: Annotated[str, typer.Option(help="test, or select.")] = "test",
    samples: Annotated[int, typer.Option(min=10, help="Generated samples, and at most so many real ones.")] = 10_000,
    checkpoint: Checkpoint = None,
    json: Json = False,
) -> None:
    """Measure a run on held-out data; every number carries its conventions.

    Example: genloss evaluate runs/ring_gan-1 --json
    """
    from genloss.runs.sampling import evaluate_run

    metrics, which = evaluate_run(run, split=split, samples=samples, which=checkpoint)
    if json:
        values = {k: {"value": m.value, "n": m.n, "signature": m.signature} for k, m in metrics.items()}
        print_json({"run": run, "checkpoint": which, "metrics": values})
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("metric", "value", "n", "", "signature", title=f"{run}, checkpoint {which}, split {split}")
    for name, metric in metrics.items():
        better = "larger is better" if metric.higher_is_better else "smaller is better"
        table.add_row(name, f"{metric.value:.6g}", str(metric.n), better, metric.signature)
    Console().print(table)


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(evaluate)
