"""How long the command line takes to answer, and what `genloss.losses` adds to `import torch`."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from _report import Estimate, arguments, estimate, table, write_section

COMMANDS: dict[str, Sequence[str]] = {
    "python, nothing": ("-c", "pass"),
    "genloss --help": (str(Path(sys.executable).with_name("genloss")), "--help"),
    "import torch": ("-c", "import torch"),
    "import torch, genloss.losses": ("-c", "import torch, genloss.losses"),
}


def main() -> None:
    """Times fresh processes, in turn, after one untimed start of each."""
    options = arguments(main.__doc__ or "", rounds=15)
    wall: dict[str, list[float]] = {name: [] for name in COMMANDS}
    cpu: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for number in range(options.rounds + 1):
        for name in list(COMMANDS) if number % 2 else reversed(COMMANDS):
            elapsed, used = _start(COMMANDS[name])
            if number:
                wall[name].append(elapsed)
                cpu[name].append(used)
    rows = [(name, _seconds(estimate(wall[name])), _seconds(estimate(cpu[name]))) for name in COMMANDS]
    added = [
        _seconds(estimate([a - b for a, b in zip(t["import torch, genloss.losses"], t["import torch"], strict=True)]))
        for t in (wall, cpu)
    ]
    rows.append(("genloss.losses adds", added[0], added[1]))
    text = (
        "Fresh processes, seconds. Goals: `genloss --help` within 0.3, `genloss.losses` under 0.1 on top of torch.\n\n"
    )
    write_section("Start-up", text + table(("", "wall", "CPU time"), rows), options)


def _start(arguments_: Sequence[str]) -> tuple[float, float]:
    command = [sys.executable, *arguments_]
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    elapsed, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    return elapsed, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def _seconds(value: Estimate) -> str:
    return f"{value.median:.3f} [{value.low:.3f}, {value.high:.3f}]"


if __name__ == "__main__":
    main()
