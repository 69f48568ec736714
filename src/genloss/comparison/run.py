"""A comparison from its plan to its report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genloss.comparison.check import check_plan
from genloss.comparison.engine import Engine, Result, Watcher, read_result
from genloss.comparison.plan import Cell, Plan, lock, locked_facts
from genloss.comparison.statistics import Failure, Summary
from genloss.errors import InputError, WorkError

__all__ = ["Comparison", "compare", "summarise"]


@dataclass(frozen=True)
class Comparison:
    """A comparison whose cells have all ended.

    Args:
        plan: what was run.
        folder: where it lies.
        facts: what was found before the first run: the data, parameters, the floor.
        results: how each cell ended.
        summaries: one a variant, in the plan's order.
    """

    plan: Plan
    folder: Path
    facts: dict[str, Any]
    results: dict[Cell, Result]
    summaries: tuple[Summary, ...]

    @property
    def conventions(self) -> list[str]:
        """The signatures of the compared metric; numbers of different ones do not compare."""
        return sorted({result.signature for result in self.results.values() if result.signature})

    @property
    def failed(self) -> int:
        """The number of cells that gave no number."""
        return sum(len(summary.failures) for summary in self.summaries)


def compare(plan: Plan, folder: Path, watcher: Watcher, jobs: int | None = None) -> Comparison | None:
    """Runs whatever of a plan has not been run yet; returns None when Ctrl-C or SIGTERM stopped it.

    Raises:
        InputError: a variant cannot be built, or another comparison works in the folder; nothing was run then.
        WorkError: a write to the comparison's own files failed.
    """
    if folder.parent.exists() and not folder.parent.is_dir():
        raise InputError(f"runs_dir={str(folder.parent)!r} is a file, expected a folder; name another one.")
    facts = locked_facts(plan, folder)
    if facts is None:
        facts = check_plan(plan)
    try:
        lock(plan, folder, facts)
    except OSError as error:
        raise WorkError(f"cannot write the plan to {str(folder)!r}: {error}.") from error
    engine = Engine(plan, folder, jobs)
    cells = engine.unfinished()
    if cells and not engine.run(cells, watcher):
        return None
    results = {cell: result for cell in plan.cells if (result := read_result(folder, cell)) is not None}
    return Comparison(plan, folder, facts, results, summarise(plan, results))


def summarise(plan: Plan, results: dict[Cell, Result]) -> tuple[Summary, ...]:
    """Returns what the seeds of each variant gave; a failed seed stays in view."""
    summaries = []
    for variant in plan.variants:
        own = [(seed, results[Cell(variant, seed)]) for seed in plan.seeds]
        values = tuple(result.value(plan.metric) for _, result in own)
        failures = tuple(Failure(seed, r.status, r.message) for seed, r in own if r.value(plan.metric) is None)
        summaries.append(Summary(variant.name, values, failures))
    return tuple(summaries)
