"""What several commands share: options, JSON, the progress line, how a run is announced and ends."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from genloss.protocols import Event
    from genloss.runs.build import Built
    from genloss.runs.execute import Outcome
    from genloss.runs.folder import RunFolder

__all__ = ["Checkpoint", "Json", "Overrides", "announce", "conclude", "print_json", "say"]

Json = Annotated[bool, typer.Option("--json", help="Print one JSON value last on standard output.")]


def _each_once(overrides: list[str] | None) -> list[str] | None:
    if overrides:
        from genloss.runs.overrides import refuse_twice

        refuse_twice(overrides)
    return overrides


Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="Keys of the recipe to change.", callback=_each_once),
]
Checkpoint = Annotated[str | None, typer.Option(help="best or last; best where there is one if left out.")]


def print_json(content: Any) -> None:
    """Prints a JSON value as the last line of standard output."""
    print(json.dumps(content, allow_nan=False), flush=True)


def say(sentence: str) -> None:
    """Prints a sentence on standard error."""
    print(sentence, file=sys.stderr, flush=True)


class Progress:
    """One live line on a terminal, a line an evaluation everywhere; on standard error."""

    def __init__(self, built: Built) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        self._console = Console(stderr=True, highlight=False)
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[losses]}"),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("turns", total=built.timetable.turns, completed=built.state.turn, losses="")
        self._bar.start()

    def __call__(self, event: Event) -> None:
        """Moves the line, prints an evaluation, stops at the end."""
        from genloss.protocols import Evaluated, Finished, TurnDone

        if isinstance(event, TurnDone):
            if event.statistics:
                losses = {k.removesuffix("/loss"): v for k, v in event.statistics.items() if k.endswith("/loss")}
                parts = [f"{player} {value:.4g}" for player, value in losses.items()]
                self._bar.update(self._task, losses="  ".join(parts))
            self._bar.update(self._task, completed=event.turn)
        elif isinstance(event, Evaluated):
            values = "  ".join(f"{name} {value:.5g}" for name, value in event.metrics.items())
            self._console.print(f"turn {event.turn:>6}  {values}{'  best' if event.best else ''}")
        elif isinstance(event, Finished):
            self._bar.stop()


def announce(built: Built, folder: RunFolder) -> Sequence[Progress]:
    """Says what was found and chosen, and returns the progress line."""
    about = built.dataset.describe()
    parameters = ", ".join(f"{name} {count:,}" for name, count in built.state.model.description().items())
    print(f"data {about['name']}: {about['kind']} {about['shape']}, {about['sizes']}", file=sys.stderr)
    for note in built.notes:
        print(f"  {note}", file=sys.stderr)
    print(f"parameters: {parameters}", file=sys.stderr)
    print(f"run {folder.path}", file=sys.stderr)
    return [Progress(built)]


def conclude(outcome: Outcome, as_json: bool) -> None:
    """Says how a run ended and leaves with its exit code."""
    from genloss.runs.folder import RunFolder

    report = outcome.folder / "report.html"
    if outcome.status == "interrupted":
        print(f"stopped after turn {outcome.turn}; go on with: genloss resume {outcome.folder}", file=sys.stderr)
    elif outcome.status == "diverged":
        saved = RunFolder(outcome.folder).saved()
        stays = (
            f"The last good checkpoint and {report} stay." if saved else f"It has no checkpoint yet; {report} stays."
        )
        say(f"genloss: {outcome.message} {stays}")
    else:
        print(f"done in {outcome.seconds:.0f} s: {report}", file=sys.stderr)
    if as_json:
        print_json(
            {
                "run": str(outcome.folder),
                "status": outcome.status,
                "steps": outcome.turn,
                "seconds": round(outcome.seconds, 3),
                "metrics": outcome.metrics,
                "message": outcome.message,
            }
        )
    raise typer.Exit({"finished": 0, "diverged": 1, "interrupted": 130}[outcome.status])
