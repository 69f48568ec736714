"""The report of one run: a page that needs nothing beside it."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence
from pathlib import Path

from genloss.runs.folder import RunFolder, recipe_text
from genloss.runs.schema import Recipe
from genloss.training.storage import write_file

__all__ = ["embedded_image", "html_page", "html_table", "write_run_report"]

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem; color: #1a1a1a; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; border-bottom: 1px solid #ccc; }
table { border-collapse: collapse; margin: 0.5rem 0; } th, td { padding: 0.25rem 0.75rem; text-align: left; }
th { border-bottom: 2px solid #444; } td { border-bottom: 1px solid #ddd; font-variant-numeric: tabular-nums; }
figure { display: inline-block; margin: 0.5rem 1rem 0.5rem 0; vertical-align: top; } figure img { max-width: 100%; }
figcaption { font-size: 0.85rem; color: #555; } pre { background: #f5f5f5; padding: 0.75rem; overflow-x: auto; }
.note { color: #555; }
"""


def html_page(title: str, body: str) -> str:
    """Returns a self-contained page."""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{STYLE}</style></head><body><h1>{html.escape(title)}</h1>\n{body}\n</body></html>\n"
    )


def html_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns a table of plain text cells."""
    top = "".join(f"<th>{html.escape(cell)}</th>" for cell in head)
    lines = ("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{top}</tr>{''.join(lines)}</table>"


def embedded_image(path: Path, caption: str) -> str:
    """Returns a figure with the PNG inside the page."""
    data = base64.b64encode(path.read_bytes()).decode()
    text = html.escape(caption)
    return f'<figure><img alt="{text}" src="data:image/png;base64,{data}"><figcaption>{text}</figcaption></figure>'


def write_run_report(folder: RunFolder, recipe: Recipe) -> Path:
    """Writes `report.html` of a run: its metrics, curves, samples through time and recipe."""
    evaluated = [event for event in folder.events() if event["event"] == "evaluated"]
    # A metric may be missing from an evaluation that it does not apply to: the spread of modes before any is hit.
    names = list(dict.fromkeys(key for event in evaluated for key in event if key not in ("event", "turn", "best")))
    best = max((event["turn"] for event in evaluated if event["best"]), default=None)  # each was the best so far
    rows = [
        [
            str(event["turn"]),
            *(f"{event[n]:.5g}" if n in event else "-" for n in names),
            "best" if event["turn"] == best else "",
        ]
        for event in evaluated
    ]
    samples = sorted((folder.path / "samples").glob("turn-*.png"))
    shown = samples if len(samples) <= 6 else [samples[round(i * (len(samples) - 1) / 5)] for i in range(6)]
    pictures = [
        embedded_image(path, f"generated, turn {int(path.stem.removeprefix('turn-'))}, the same noise")
        for path in shown
    ]
    real = folder.path / "samples" / "real.png"
    pictures += [embedded_image(real, "real data")] if real.is_file() else []
    plots = [embedded_image(path, path.stem) for path in sorted((folder.path / "plots").glob("*.png"))]
    status = folder.status()
    body = [
        f"<p>Status: {status}. Metrics of the select split, {recipe.evaluation.samples} samples an evaluation.</p>",
        "<h2>Metrics</h2>",
        html_table(["turn", *names, ""], rows),
        "<h2>Samples</h2>",
        *pictures,
        "<h2>Curves</h2>",
        *plots,
        f"<h2>Recipe</h2><pre>{html.escape(recipe_text(recipe))}</pre>",
    ]
    return write_file(folder.path / "report.html", html_page(f"genloss run {folder.path.name}", "\n".join(body)))
