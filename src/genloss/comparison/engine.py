"""Runs the cells of a plan side by side in processes of their own; what one cell does to its process hurts no other."""

from __future__ import annotations

import fcntl
import json
import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import IO, Any, Protocol

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

from genloss.comparison.plan import Cell, Plan
from genloss.errors import InputError, WorkError
from genloss.training.storage import write_file

__all__ = ["Engine", "Result", "Watcher", "cores", "read_result", "turn_of"]

TICK = 0.25


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True)
class Result:
    """How a cell ended.

    Args:
        status: `finished`, `diverged` (a value was not finite), `died` (its process ended) or `failed` (an error).
        message: a sentence on a failure.
        metrics: every metric of the final measurement; None stands for a value that is not finite.
        signature: the conventions of the compared metric.
        checkpoint: what was measured, as `best (turn 500)`.
        n: generated samples of the measurement.
        seconds: wall time of the training, None when it was resumed.
    """

    status: str
    message: str = ""
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    signature: str = ""
    checkpoint: str = ""
    n: int = 0
    seconds: float | None = None

    def value(self, metric: str) -> float | None:
        """Returns the metric of a finished cell, None for one that failed."""
        return self.metrics.get(metric) if self.status == "finished" else None


class Watcher(Protocol):
    """Who is told what happens; every call comes from the engine's own thread."""

    def opened(self, cells: int) -> None:
        """So many cells are to be run."""

    def began(self, cell: Cell, run: Path) -> None:
        """A process took the cell."""

    def ticked(self) -> None:
        """A moment passed."""

    def ended(self, cell: Cell, result: Result | None) -> None:
        """The cell ended; None: it was stopped and will go on."""


def cores() -> int:
    """Returns the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def read_result(folder: Path, cell: Cell) -> Result | None:
    """Returns the result of a cell, or None when it has not ended or its file is damaged: it is then run."""
    try:
        text = (folder / "cells" / f"{cell.name}.json").read_bytes()
        return TypeAdapter(Result).validate_json(text)
    except (FileNotFoundError, ValidationError):
        return None


def turn_of(run: Path) -> int:
    """Returns the last turn that a run wrote to `metrics.jsonl`, reading only the end of the file."""
    try:
        with (run / "metrics.jsonl").open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 8192))
            lines = file.read().split(b"\n")
    except OSError:
        return 0
    for line in reversed(lines):
        try:
            return int(json.loads(line)["turn"])
        except (ValueError, TypeError, KeyError):
            continue
    return 0


@dataclass
class _Slot:
    """A worker process and the cell that it runs."""

    process: subprocess.Popen[str]
    cell: Cell

    def pipe(self) -> IO[str]:
        assert self.process.stdout is not None
        return self.process.stdout

    def give(self, job: Mapping[str, Any]) -> None:
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):  # a dead process is noticed by the end of its standard output
            self.process.stdin.write(json.dumps(job) + "\n")
            self.process.stdin.flush()

    def end(self) -> None:
        """Ends the process, which is idle, asked to stop, or dead."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.wait()
        self.pipe().close()


class Engine:
    """Brings every cell of a plan to its end.

    Args:
        plan: what to run.
        folder: the comparison's folder, with the locked recipes in it.
        jobs: cells at once; None: as many as there are cores for their threads.
    """

    def __init__(self, plan: Plan, folder: Path, jobs: int | None = None) -> None:
        self.plan = plan
        self.folder = folder
        self._threads = max(variant.recipe["threads"] for variant in plan.variants)
        self._jobs = jobs or max(1, cores() // self._threads)
        self._slots: list[_Slot] = []
        self._signals = 0
        self._lock = -1

    def unfinished(self) -> list[Cell]:
        """Returns the cells to run: those without a result, and those that died or failed and get another try."""
        results = {cell: read_result(self.folder, cell) for cell in self.plan.cells}
        return [cell for cell, result in results.items() if result is None or result.status in ("died", "failed")]

    def run(self, cells: Sequence[Cell], watcher: Watcher) -> bool:
        """Runs the cells; returns False when Ctrl-C or SIGTERM stopped it. A second signal kills what still saves."""
        waiting = list(cells)
        watcher.opened(len(waiting))
        with self._locked(), self._listening(), selectors.DefaultSelector() as ready:
            try:
                while len(self._slots) < self._jobs and waiting and not self._signals:
                    self._start(waiting.pop(0), ready, watcher)
                while self._slots:
                    for key, _ in ready.select(TICK):
                        self._answered(key.data, waiting, ready, watcher)
                    watcher.ticked()
            except OSError as error:
                raise WorkError(
                    f"a write to {self.folder} failed: {error}. Mend the cause and give the same command again."
                ) from error
            finally:
                for slot in self._slots:
                    slot.process.terminate()
                    slot.end()
        return self._signals == 0

    def _start(self, cell: Cell, ready: selectors.BaseSelector, watcher: Watcher) -> None:
        # A worker runs many cells, because importing torch can take longer than a small cell; a cell that fails or dies
        # takes only its own worker along.
        (self.folder / "cells").mkdir(exist_ok=True)
        threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(self._threads))
        with self._log(cell).open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "genloss.comparison.worker"],  # -P: no file here hides a module
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, **threads},
                start_new_session=True,  # Ctrl-C goes to this process alone, which passes it on once
                pass_fds=[
                    self._lock
                ],  # the folder stays locked until the last worker has saved, even if this one is killed
            )
        slot = _Slot(process, cell)
        self._slots.append(slot)
        if self._signals:  # the signal came before the handler could know of this process
            process.terminate()
        ready.register(slot.pipe(), selectors.EVENT_READ, slot)
        self._give(slot, cell, watcher)

    def _give(self, slot: _Slot, cell: Cell, watcher: Watcher) -> None:
        slot.cell = cell
        slot.give(
            {
                "recipe": str(self.folder / "recipes" / f"{cell.variant.folder}.yaml"),
                "runs_dir": str(self.folder / "cells"),
                "name": cell.name,
                "seed": cell.seed,
                "log": str(self._log(cell)),
                "split": self.plan.split,
                "samples": self.plan.samples,
                "metric": self.plan.metric,
            }
        )
        watcher.began(cell, self.folder / "cells" / f"{cell.name}-1")

    def _log(self, cell: Cell) -> Path:
        return self.folder / "cells" / f"{cell.name}.log"

    def _answered(self, slot: _Slot, waiting: list[Cell], ready: selectors.BaseSelector, watcher: Watcher) -> None:
        """Reads an answer or the end of a worker, writes the result, and starts the next cell."""
        line = slot.pipe().readline()
        alive = line.endswith("\n")
        result = Result(**json.loads(line)) if alive else self._death(slot)
        if result is not None:
            content = json.dumps(asdict(result), indent=1)
            write_file(self.folder / "cells" / f"{slot.cell.name}.json", content)
        watcher.ended(slot.cell, result)
        if alive and result is not None and result.status != "failed" and waiting and not self._signals:
            self._give(slot, waiting.pop(0), watcher)
            return
        ready.unregister(slot.pipe())
        self._slots.remove(slot)
        slot.end()
        if waiting and not self._signals:
            self._start(waiting.pop(0), ready, watcher)

    def _death(self, slot: _Slot) -> Result | None:
        code = slot.process.wait()
        if self._signals:
            return None
        name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        hint = ", perhaps because the memory was full" if name == "SIGKILL" else ""
        return Result("died", f"its process ended with {name}{hint}; {self._log(slot.cell)} holds what it printed.")

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Holds the folder against a second comparison, and against workers of a killed one that still save."""
        self._lock = os.open(self.folder / ".lock", os.O_WRONLY | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._lock)
            raise InputError(
                f"another `genloss compare` works in {str(self.folder)!r}, or its last runs are still saving; "
                "wait for its end and give the same command again."
            ) from error
        try:
            yield
        finally:
            os.close(self._lock)

    @contextmanager
    def _listening(self) -> Iterator[None]:
        """Passes the first Ctrl-C or SIGTERM on as SIGTERM, so that every cell saves; kills on the second."""

        def on_signal(number: int, frame: FrameType | None) -> None:
            self._signals += 1
            for slot in self._slots:
                act: Callable[[], None] = slot.process.terminate if self._signals == 1 else slot.process.kill
                act()

        previous = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
