"""What every benchmark shares: timing two sides in turn, intervals, and the sections of RESULTS.md."""

from __future__ import annotations

import argparse
import ctypes
import gc
import math
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import torch

from genloss.protocols import TurnDone
from genloss.runs.build import Built
from genloss.runs.listeners import Listener
from genloss.training.loop import Hooks, train

__all__ = [
    "Estimate",
    "Timings",
    "arguments",
    "estimate",
    "fetch_peer",
    "interleave",
    "made_by",
    "memory_peak",
    "put_section",
    "table",
    "turns",
    "write_section",
]

RESULTS = Path(__file__).with_name("RESULTS.md")
PEERS = Path(__file__).with_name(".peers")
HEADER = """# Benchmarks

Each script runs both sides in one process, in turn (A B, B A, ...), on the same work, and writes its own section
here; `make bench` runs them all. What counts is the ratio: the median over the pairs of neighbouring runs, with the
95 % interval of that median from order statistics. Absolute times belong to the machine and to what else ran on it.
`CPU time` is the processor time of the whole process, which other programs disturb less than the clock on the wall.
"""


@dataclass(frozen=True)
class Estimate:
    """A median with the 95 % interval of the population's median, from order statistics."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        """The median and its interval, to two digits after the point."""
        return f"{self.median:.2f} [{self.low:.2f}, {self.high:.2f}]"


@dataclass(frozen=True)
class Timings:
    """Seconds of every side, run by run: on the wall, and of the processor."""

    wall: Mapping[str, Sequence[float]]
    cpu: Mapping[str, Sequence[float]]

    def ratio(self, slow: str, fast: str, *, cpu: bool = False) -> Estimate:
        """How many times less time `fast` took than `slow`, over the pairs."""
        times = self.cpu if cpu else self.wall
        return estimate([a / b for a, b in zip(times[slow], times[fast], strict=True)])


def estimate(values: Sequence[float]) -> Estimate:
    """Returns the median of the values and its 95 % interval; with fewer than 6 values that is their range."""
    ordered = sorted(values)
    n, below, rank = len(ordered), 0.0, 0
    while rank < n // 2:
        below += math.comb(n, rank) / 2**n
        if below > 0.025:
            break
        rank += 1
    rank = max(rank - 1, 0)
    return Estimate(statistics.median(ordered), ordered[rank], ordered[n - 1 - rank])


def interleave(sides: Mapping[str, Callable[[], None]], rounds: int, device: str = "cpu") -> Timings:
    """Runs every side once untimed, then all of them `rounds` times, each second round in reverse order."""

    def wait() -> None:
        if device == "cuda":
            torch.cuda.synchronize()

    wall: dict[str, list[float]] = {name: [] for name in sides}
    cpu: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        for name in list(sides) if number % 2 else reversed(list(sides)):
            wait()
            begin, begin_cpu = time.perf_counter(), time.process_time()
            sides[name]()
            wait()
            if number:
                wall[name].append(time.perf_counter() - begin)
                cpu[name].append(time.process_time() - begin_cpu)
    return Timings(wall, cpu)


def memory_peak(work: Callable[[], object]) -> int:
    """Returns by how many bytes the resident memory of this process rises while the work runs (Linux, glibc)."""

    def resident(field: str) -> int:
        lines = Path("/proc/self/status").read_text("utf-8").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))

    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # freed memory that the allocator keeps would hide what the work takes
    Path("/proc/self/clear_refs").write_text("5", "utf-8")  # the peak begins anew
    before = resident("VmRSS")
    work()
    return resident("VmHWM") - before


def fetch_peer(package: str, requirement: str) -> None:
    """Puts a package without its dependencies into a folder beside the benchmarks, and makes it importable."""
    if not (PEERS / package).is_dir():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(PEERS), requirement]
        subprocess.run(command, check=True)
    if str(PEERS) not in sys.path:
        sys.path.append(str(PEERS))


def turns(built: Built, count: int, listeners: Sequence[Listener] = ()) -> Callable[[], None]:
    """Returns a function that makes the next `count` turns of a run each time it is called."""
    events = train(built.state, built.timetable, Hooks())

    def run() -> None:
        until = built.state.turn + count
        for event in events:
            for listener in listeners:
                listener(event)
            if isinstance(event, TurnDone) and event.turn == until:
                return
        raise RuntimeError(f"the run ended at turn {built.state.turn}, expected to reach turn {until}.")

    return run


def arguments(description: str, *, rounds: int) -> argparse.Namespace:
    """Reads the options that the benchmarks share, and sets the number of threads."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rounds", type=int, default=rounds, help="timed runs of each side")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch; more than one wants an idle machine")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dry", action="store_true", help="print the table and leave RESULTS.md alone")
    parsed = parser.parse_args()
    torch.set_num_threads(parsed.threads)
    return parsed


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Returns a Markdown table."""
    lines = [" | ".join(head), " | ".join("---" for _ in head)]
    lines += [" | ".join(str(cell) for cell in row) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)


def write_section(title: str, body: str, options: argparse.Namespace) -> None:
    """Prints a benchmark's result and puts it in its section of RESULTS.md, replacing the last one."""
    script = Path(sys.argv[0]).name
    command = f"--device {options.device} --threads {options.threads} --rounds {options.rounds} --seed {options.seed}"
    name = f"{script.removesuffix('.py')}-{options.device}"
    put_section(name, title, f"{body}\n\n{made_by(command, options.device)}", dry=options.dry)


def made_by(arguments: str, device: str) -> str:
    """Says which command made a number, when, where and with which versions."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "genloss"))
    return (
        f"`python benchmarks/{Path(sys.argv[0]).name} {arguments}`, {datetime.now(UTC):%Y-%m-%d}. {_machine(device)}; "
        f"Python {platform.python_version()}, {versions}."
    )


def put_section(name: str, title: str, body: str, *, dry: bool = False) -> None:
    """Prints a section and, unless dry, replaces the one of this name in RESULTS.md."""
    section = f"<!-- begin {name} -->\n## {title}\n\n{body}\n<!-- end {name} -->\n"
    print(section)
    if dry:
        return
    text = RESULTS.read_text("utf-8") if RESULTS.exists() else HEADER
    begin, end = text.find(f"<!-- begin {name} -->"), text.find(f"<!-- end {name} -->\n")
    before, after = (text + "\n", "") if begin < 0 else (text[:begin], text[end + len(f"<!-- end {name} -->\n") :])
    RESULTS.write_text(before + section + after, "utf-8")


def _machine(device: str) -> str:
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    cores = f"{model}, {os.cpu_count()} cores ({torch.backends.cpu.get_cpu_capability()})"
    return f"{torch.cuda.get_device_name()}, {cores}" if device == "cuda" else cores
