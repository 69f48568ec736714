"""The report of a comparison: a page that needs nothing beside it, and the same as JSON."""

from __future__ import annotations

import html
import json
import math
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from genloss.comparison.charts import Curve, budget_chart, interval_chart, library
from genloss.comparison.conclusion import headline, metric_title, number_of, ranked, standing_of, summary_json
from genloss.comparison.plan import Cell, Variant
from genloss.comparison.run import Comparison
from genloss.errors import WorkError
from genloss.runs.folder import RunFolder
from genloss.runs.report import embedded_image, html_page, html_table
from genloss.training.storage import write_file

__all__ = ["write_report"]

STYLE = """<style>
.verdict { border-left: 5px solid #0072B2; background: #f2f7fb; padding: 0.6rem 1rem; font-size: 1.05rem; }
.verdict p { margin: 0.3rem 0; } .scroll { overflow-x: auto; } details { margin: 0.5rem 0; }
.grids figure { max-width: 20rem; } code { overflow-wrap: anywhere; }
</style>"""


def write_report(comparison: Comparison) -> Path:
    """Writes `comparison.json` and `report.html` into the comparison's folder and returns the page's path.

    Raises:
        WorkError: the disk refuses.
    """
    path = comparison.folder / "report.html"
    content = {
        **summary_json(comparison),
        "runs": [_run_json(comparison, cell) for cell in comparison.plan.cells],
        "facts": comparison.facts,
        "versions": comparison.plan.versions,
        "machines": _machines(comparison),
    }
    try:
        write_file(comparison.folder / "comparison.json", json.dumps(content, indent=1, allow_nan=False))
        return write_file(path, _page(comparison))
    except OSError as error:
        raise WorkError(f"cannot write {str(path)!r}: {error}.") from error


def _run_json(comparison: Comparison, cell: Cell) -> dict[str, Any]:
    result = comparison.results[cell]
    return {
        "variant": cell.variant.name,
        "seed": cell.seed,
        "run": str(_run(comparison, cell)),
        "status": result.status,
        "message": result.message,
        "checkpoint": result.checkpoint,
        "metrics": dict(result.metrics),
        "signature": result.signature,
        "seconds": result.seconds,
    }


def _run(comparison: Comparison, cell: Cell) -> Path:
    return comparison.folder / "cells" / f"{cell.name}-1"


def _page(comparison: Comparison) -> str:
    plan = comparison.plan
    verdict = "".join(f"<p>{html.escape(sentence)}</p>" for sentence in headline(comparison))
    direction = "larger is better" if plan.higher_is_better else "smaller is better"
    about = (
        f"{metric_title(plan.metric)} ({direction}) of each run's checkpoint <i>best</i>, on the {plan.split} split "
        f"with {plan.samples} generated samples; the checkpoint was chosen on the select split. "
        f"Locked plan <code>{plan.sha256}</code>."
    )
    body = [
        STYLE,
        library(),
        f'<div class="verdict">{verdict}</div><p>{about}</p>',
        *_result_section(comparison),
        *_failure_section(comparison),
        *_budget_section(comparison),
        *_sample_section(comparison),
        *_metrics_section(comparison),
        *_difference_section(comparison),
        *_repeat_section(comparison),
    ]
    title = f"{plan.recipe}: {number_of(plan.variants, 'variant')}, {number_of(plan.seeds, 'seed')} each"
    return html_page(title, "\n".join(body))


def _result_section(comparison: Comparison) -> list[str]:
    plan, found = comparison.plan, standing_of(comparison)
    verdicts = {str(found.best): "best mean"} | dict.fromkeys(found.similar, "not distinguishable from it")
    verdicts |= dict.fromkeys(found.separated, "interval apart")
    rows = []
    for summary in ranked(comparison):
        status = {failure.seed: failure.status for failure in summary.failures}
        seeds = [_number(v) if v is not None else status[s] for s, v in zip(plan.seeds, summary.values, strict=True)]
        interval = (
            "" if summary.interval is None else f"{_number(summary.interval[0])} to {_number(summary.interval[1])}"
        )
        mean = "" if summary.mean is None else _number(summary.mean)
        untold = "one finished seed: no interval" if summary.finished else "no finished seed"
        untold = "not comparable" if len(comparison.conventions) > 1 else untold
        rows.append([summary.name, mean, interval, verdicts.get(summary.name, untold), *seeds])
    head = ["variant", "mean", "95 % t-interval", "by the intervals", *(f"seed {seed}" for seed in plan.seeds)]
    floor = comparison.facts["floor"]
    notes = (
        "Dots are seeds; the diamond is their mean, the bar its 95 % Student t-interval, uncorrected for the number of "
        "variants. On a logarithmic axis, what is at or below zero is drawn at the left edge; the table has its number."
    )
    if floor is not None:
        notes += (
            f" The dashed line is {comparison.facts['floor_samples']} real training samples in the place of generated "
            f"ones ({_number(floor)}): what a generator that had learned the data would score."
        )
    chart = interval_chart(ranked(comparison), _colours(comparison), plan.seeds, metric_title(plan.metric), floor)
    return [
        f"<h2>{html.escape(metric_title(plan.metric))} of every seed</h2>",
        f'<div class="scroll">{html_table(head, rows)}</div>',
        chart,
        f'<p class="note">{notes}</p>',
    ]


def _number(value: float) -> str:
    return f"{value:.5g}"


def _colours(comparison: Comparison) -> dict[str, int]:
    return {variant.name: position for position, variant in enumerate(comparison.plan.variants)}


def _failure_section(comparison: Comparison) -> list[str]:
    seeds: dict[tuple[str, str, str], list[str]] = {}
    for summary in comparison.summaries:
        for failure in summary.failures:
            seeds.setdefault((summary.name, failure.status, failure.message), []).append(str(failure.seed))
    if not seeds:
        return [f"<h2>Failures</h2><p>None: all {len(comparison.plan.cells)} runs finished.</p>"]
    rows = [[name, status, ", ".join(failed), message] for (name, status, message), failed in seeds.items()]
    return [
        "<h2>Failures</h2>",
        html_table(["variant", "status", "seeds", "what happened"], rows),
        '<p class="note">A failed seed is an outcome, not a gap: means are over the seeds that finished. The same '
        "command again tries those that died or failed, not those that diverged.</p>",
    ]


def _events(comparison: Comparison, cell: Cell) -> list[dict[str, Any]]:
    return list(RunFolder(_run(comparison, cell)).events())


def _budget_section(comparison: Comparison) -> list[str]:
    plan = comparison.plan
    curves: dict[str, list[Curve]] = {}
    costs = []
    for variant in plan.variants:
        cells = [Cell(variant, seed) for seed in plan.seeds]
        curves[variant.name] = [_curve(comparison, cell) for cell in cells]
        costs.append([variant.name, *_costs(comparison, cells)])
    return [
        f"<h2>{html.escape(metric_title(plan.metric))} against the budget</h2>",
        budget_chart(curves, _colours(comparison), metric_title(plan.metric)),
        '<p class="note">Measured in training on the select split: thin lines are seeds, thick lines the mean of those '
        "that finished, a cross the last value of one that failed. On a logarithmic axis, "
        "what is at or below zero is drawn at the lower edge; on a linear one the first turns may lie outside the "
        "frame (double-click to see them).</p>",
        html_table(
            ["variant", "turns", "samples that all players processed", "training seconds a run", "parameters"], costs
        ),
    ]


def _curve(comparison: Comparison, cell: Cell) -> Curve:
    metric, events = comparison.plan.metric, _events(comparison, cell)
    points = [(e["turn"], e[metric]) for e in events if e["event"] == "evaluated" and metric in e]
    finished = comparison.results[cell].status == "finished"
    return Curve(cell.seed, tuple(turn for turn, _ in points), tuple(value for _, value in points), finished)


def _costs(comparison: Comparison, cells: Sequence[Cell]) -> list[str]:
    seconds = [s for cell in cells if (s := comparison.results[cell].seconds) is not None]
    samples = [e["samples"] for cell in cells for e in _events(comparison, cell) if e["event"] == "statistics"]
    parameters = comparison.facts["parameters"][cells[0].variant.name]
    return [
        f"{cells[0].variant.recipe['train']['steps']:,}",
        f"{max(samples):,}" if samples else "",
        f"{sum(seconds) / len(seconds):.1f}" if seconds else "",
        ", ".join(f"{player} {count:,}" for player, count in parameters.items()),
    ]


def _sample_section(comparison: Comparison) -> list[str]:
    plan, figures = comparison.plan, []
    for variant in plan.variants:
        cell = Cell(variant, plan.seeds[0])
        pictures = sorted((_run(comparison, cell) / "samples").glob("turn-*.png"))
        if pictures:
            turn = int(pictures[-1].stem.partition("-")[2])
            figures.append(embedded_image(pictures[-1], f"{variant.name}, generated at turn {turn}, seed {cell.seed}"))
    real = (_run(comparison, Cell(variant, plan.seeds[0])) / "samples" / "real.png" for variant in plan.variants)
    figures += [embedded_image(path, "real data of the test split") for path in real if path.is_file()][:1]
    return [
        "<h2>Samples</h2>",
        '<p class="note">Neither picked by eye nor the measured checkpoint: the last pictures of the first seed, '
        "all from the same noise where the variants' latents have one shape.</p>",
        f'<div class="grids">{"".join(figures)}</div>',
    ]


def _metrics_section(comparison: Comparison) -> list[str]:
    plan, rows = comparison.plan, []
    names = dict.fromkeys(name for result in comparison.results.values() for name in result.metrics)
    shown = [name for name in names if not name.startswith("true/")]
    for variant in plan.variants:
        rows.append([variant.name, *(_mean_metric(comparison, [variant], name) for name in shown)])
    if len(shown) < len(names):
        rows.append(["real samples", *(_mean_metric(comparison, plan.variants, f"true/{name}") for name in shown)])
    if len(shown) < 2:
        return []
    return [
        "<h2>Every metric</h2>",
        f'<div class="scroll">{html_table(["mean over finished seeds", *map(metric_title, shown)], rows)}</div>',
        f'<p class="note">Shown for context: the plan compares {html.escape(metric_title(plan.metric))} alone.</p>',
    ]


def _mean_metric(comparison: Comparison, variants: Sequence[Variant], name: str) -> str:
    cells = [Cell(variant, seed) for variant in variants for seed in comparison.plan.seeds]
    values = [value for cell in cells if (value := comparison.results[cell].value(name)) is not None]
    return _number(math.fsum(values) / len(values)) if values else ""


def _difference_section(comparison: Comparison) -> list[str]:
    plan = comparison.plan
    parts = ["<h2>What differs besides what was varied</h2>"]
    if plan.differences:
        names = [variant.name for variant in plan.variants]
        rows = [[key, *(_value(own[name]) for name in names)] for key, own in plan.differences.items()]
        parts.append(f'<div class="scroll">{html_table(["key", *names], rows)}</div>')
    else:
        parts.append(f"<p>Nothing: the variants differ in {html.escape(', '.join(plan.varied))} alone.</p>")
    notes = [*plan.notes, *(f"{v.name}: {note}" for v in plan.variants for note in v.notes)]
    return [*parts, *(f'<p class="note">{html.escape(note)}</p>' for note in notes)]


def _value(value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, dict):
        return ", ".join(f"{key} {_value(entry)}" for key, entry in value.items())
    return json.dumps(value)


def _machines(comparison: Comparison) -> list[str]:
    """The machines that the runs were made on, as each run recorded it."""
    found: dict[str, None] = {}
    for cell in comparison.plan.cells:
        path = _run(comparison, cell)
        if path.exists():
            own = RunFolder(path).environment
            parts = [own.get("processor"), own.get("accelerator"), f"{own.get('cores')} cores", own.get("platform")]
            found[", ".join(str(part) for part in parts if part)] = None
    return list(found)


def _repeat_section(comparison: Comparison) -> list[str]:
    plan, recipes = comparison.plan, comparison.folder / "recipes"
    where = shlex.quote(f"runs_dir={comparison.folder.parent}")
    rows = []
    for variant in plan.variants:
        train = shlex.join(["genloss", "train", str(recipes / f"{variant.folder}.yaml")])
        rows.append([variant.name, f"{train} seed=SEED {where}", " ".join(map(shlex.quote, variant.overrides))])
    evaluate = f"genloss evaluate RUN --split {plan.split} --samples {plan.samples}"
    versions = ", ".join(f"{name} {version}" for name, version in plan.versions["packages"].items())
    data = comparison.facts["data"]
    seeds = ", ".join(map(str, plan.seeds))
    about = [
        f"Data {data['name']}: {_value(data['sizes'])}.",
        f"genloss {plan.versions['genloss']}, Python {plan.versions['python']}, {versions}.",
        f"Device {comparison.facts['device']}; {'; '.join(_machines(comparison))}.",
    ]
    return [
        "<h2>Repeat one run</h2>",
        f'<div class="scroll">{html_table(["variant", "command", "overrides of the recipe"], rows)}</div>',
        f"<p>SEED is one of {seeds}. Then <code>{html.escape(evaluate)}</code> measures it.</p>",
        f"<p>{html.escape(' '.join(about))}</p>",
        f"<details><summary>The locked plan</summary><pre>{html.escape(plan.text())}</pre></details>",
    ]
