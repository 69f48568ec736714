"""`genloss evaluate`: measure a run on held-out data."""

from __future__ import annotations

from typing import Annotated

import typer

from genloss.cli._common import Checkpoint, Json, print_json

__all__ = ["register"]


def evaluate(
    run: Annotated[str, typer.Argument(help="The run's folder.")],
    split: Annotated[str, typer.Option(help="test, select, or train.")] = "test",
    samples: Annotated[int, typer.Option(min=10, help="Generated samples, and at most so many real ones.")] = 10_000,
    checkpoint: Checkpoint = None,
    json: Json = False,
) -> None:
    """Measure a run on held-out data; every number carries its conventions.

    Example: genloss evaluate runs/ring_gan-1 --json
    """
    from genloss.runs.sampling import evaluate_run

    metrics, left_out, which = evaluate_run(run, split=split, samples=samples, which=checkpoint)
    if json:
        values = {
            name: {"value": metric.value, "n": metric.n, "real": metric.real, "signature": metric.signature}
            for name, metric in metrics.items()
        }
        print_json({"run": run, "checkpoint": which, "metrics": values, "left_out": left_out})
        return
    print(f"{run}, checkpoint {which}, split {split}\n")
    rows: list[tuple[str, ...]] = [("metric", "value", "generated", "real", "")]
    for name, metric in metrics.items():
        generated, real = (metric.n, metric.real) if metric.measures == "generated" else (None, metric.n)
        counts = ("-" if count is None else str(count) for count in (generated, real))
        better = "larger is better" if metric.higher_is_better else "smaller is better"
        rows.append((name, f"{metric.value:.6g}", *counts, better))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print("\nsignatures (two values compare only where these are equal)")
    for signature in dict.fromkeys(metric.signature for metric in metrics.values()):
        print(f"  {signature}")
    notes = [f"note: {name}: {metric.note}" for name, metric in metrics.items() if metric.note]
    for line in [*notes, *(f"left out: {sentence}" for sentence in left_out)]:
        print(line)


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(evaluate)
