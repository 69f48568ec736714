"""`genloss compare`: train variants of a recipe over several seeds and compare them on held-out data."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genloss.cli._common import Json, Overrides, print_json

if TYPE_CHECKING:
    from genloss.comparison.engine import Result
    from genloss.comparison.plan import Cell, Plan
    from genloss.comparison.run import Comparison

__all__ = ["register"]

_WIDE = 10_000  # of a terminal on which nothing wraps

Vary = Annotated[
    list[str],
    typer.Option(
        metavar="KEY=A,B,C",
        help="Values of a key, one variant each; + adds a penalty to a loss, braces hold {name: ..., field: ...}. "
        "Several --vary make a grid.",
    ),
]


def compare(
    recipe: Annotated[str, typer.Argument(help="A bundled recipe (`genloss recipes`) or a YAML file.")],
    vary: Vary,
    overrides: Overrides = None,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds of each variant, from the recipe's seed on.")] = 3,
    jobs: Annotated[int | None, typer.Option(min=1, help="Runs at once; as many as cores if left out.")] = None,
    json: Json = False,
) -> None:
    """Compare losses, or whatever else --vary names, under one locked plan; the same command again continues it.

    Example: genloss compare digits_gan --vary loss=non_saturating,wasserstein+gradient_penalty --seeds 5
    """
    from genloss.comparison.conclusion import summary_json
    from genloss.comparison.plan import make_plan
    from genloss.comparison.report import write_report
    from genloss.comparison.run import compare as run_comparison

    plan, folder = make_plan(recipe, overrides or [], vary, seeds)
    _announce(plan, folder)
    board = _Board(plan)
    try:
        comparison = run_comparison(plan, folder, board, jobs)
    finally:
        board.close()
    if comparison is None:
        command = shlex.join(["genloss", *sys.argv[1:]])
        print(f"stopped; what is finished stays, the rest was saved. Go on with: {command}", file=sys.stderr)
        raise typer.Exit(130)
    report = write_report(comparison)
    if json:
        print_json(summary_json(comparison))
    else:
        _print_table(comparison)
        print(f"report: {report}")
    raise typer.Exit(1 if comparison.failed else 0)


def _announce(plan: Plan, folder: Path) -> None:
    from genloss.comparison.conclusion import number_of

    print(
        f"plan {plan.sha256[:8]}: {number_of(plan.variants, 'variant')}, seeds {_listed(plan.seeds)}: "
        f"{number_of(plan.cells, 'run')}",
        file=sys.stderr,
    )
    for variant in plan.variants:
        print(f"  {variant.name}", file=sys.stderr)
        for note in variant.notes:
            print(f"    {note}", file=sys.stderr)
    for note in plan.notes:
        print(f"  {note}", file=sys.stderr)
    print(f"folder {folder}", file=sys.stderr)


def _listed(seeds: tuple[int, ...]) -> str:
    return str(seeds[0]) if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"


class _Board:
    """On a terminal a line for all runs and one for each that is running; everywhere a line for each that ended."""

    def __init__(self, plan: Plan) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._plan = plan
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, console=self._console, transient=True, disable=not self._console.is_terminal)
        self._all = self._bar.add_task("runs", total=None)
        self._running: dict[Cell, tuple[Any, Path]] = {}

    def opened(self, cells: int) -> None:
        """Shows how many runs there are to do."""
        total = len(self._plan.cells)
        self._bar.update(self._all, total=total, completed=total - cells)
        self._bar.start()

    def began(self, cell: Cell, run: Path) -> None:
        """Adds a line."""
        from genloss.comparison.engine import turn_of

        title = f"{cell.variant.name}, seed {cell.seed}"
        total = cell.variant.recipe["train"]["steps"]
        self._running[cell] = (self._bar.add_task(title, total=total, completed=turn_of(run)), run)

    def ticked(self) -> None:
        """Moves the lines."""
        from genloss.comparison.engine import turn_of

        if not self._bar.disable:
            for task, run in self._running.values():
                self._bar.update(task, completed=turn_of(run))

    def ended(self, cell: Cell, result: Result | None) -> None:
        """Takes the line away and prints how the run ended."""
        task, _ = self._running.pop(cell)
        self._bar.remove_task(task)
        if result is None:
            return
        self._bar.advance(self._all)
        value = result.value(self._plan.metric)
        said = f"{self._plan.metric} {value:.5g}" if value is not None else f"{result.status}: {result.message}"
        self._console.print(f"{cell.variant.name}, seed {cell.seed}: {said}", markup=False)

    def close(self) -> None:
        """Ends the live lines."""
        self._bar.stop()


def _print_table(comparison: Comparison) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from genloss.comparison.conclusion import headline, ranked

    plan, console = comparison.plan, Console()
    direction = "larger is better" if plan.higher_is_better else "smaller is better"
    heads = ("variant", "mean", "95 % t-interval", "finished seeds")
    rows = []
    for summary in ranked(comparison):
        mean = "" if summary.mean is None else f"{summary.mean:.4g}"
        interval = "" if summary.interval is None else f"{summary.interval[0]:.4g} to {summary.interval[1]:.4g}"
        rows.append((summary.name, mean, interval, f"{len(summary.finished)} of {len(plan.seeds)}"))
    table = Table(*heads, title=f"{plan.metric} of the {plan.split} split, {direction}")
    for row in rows:
        table.add_row(*map(escape, row))
    if console.measure(table, options=console.options.update(width=_WIDE)).maximum <= console.width:
        console.print(table)
    else:
        print(table.title)
        for name, *cells in rows:
            print(name, *(f"  {head}: {cell}" for head, cell in zip(heads[1:], cells, strict=True) if cell), sep="\n")
    for sentence in headline(comparison):
        print(sentence)


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(compare)
