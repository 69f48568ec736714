"""Cells in processes: a death or an error stays in its cell, a stop saves, the same command goes on."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from genloss.comparison.engine import Engine, read_result, turn_of
from genloss.comparison.plan import make_plan
from genloss.comparison.report import write_report
from genloss.comparison.run import compare
from genloss.errors import InputError
from genloss.runs.execute import train_run
from genloss.runs.recipes import read_recipe
from tests.comparison.command import genloss

SMALL = ["train.batch_size=8", "model.network.width=8", "model.network.depth=1", "evaluation.samples=50"]
SMALL += ["train.checkpoint_every=50", "train.log_every=10"]

SETTINGS = [*SMALL, "train.steps=400"]
OWN = ",".join(f"own_engine_losses:{name}" for name in ("Slow", "Raises", "Diverges"))
VARY = ["--vary", f"loss={OWN},hinge", "--seeds", "1"]

OWN_LOSSES = """# The first two are mended by the file `mended`.
import time
from pathlib import Path

from genloss.losses import Hinge


class Slow(Hinge):
    def discriminator(self, *scores, **memory):
        if not Path("mended").exists():
            time.sleep(0.005)
        return super().discriminator(*scores, **memory)


class Raises(Hinge):
    calls = 0

    def discriminator(self, *scores, **memory):
        Raises.calls += 1
        if Raises.calls > 3 and not Path("mended").exists():  # the plan's check computes each loss once
            raise ZeroDivisionError("what the loss says")
        return super().discriminator(*scores, **memory)


class Diverges(Hinge):
    def discriminator(self, *scores, **memory):
        return super().discriminator(*scores, **memory) * float("nan")
"""


class Watching:
    """Notes which cells began, and acts at every tick."""

    def __init__(self, act=lambda runs: None):
        self.act = act
        self.runs = {}

    def opened(self, cells):
        self.cells = cells

    def began(self, cell, run):
        self.runs[cell.name] = run

    def ticked(self):
        self.act(self.runs)

    def ended(self, cell, result):
        assert result is not None


def worker_of(run):
    """The process that prints into the log of a run's cell."""
    log = str(run.resolve().with_name(run.name.removesuffix("-1") + ".log"))
    for descriptor in Path("/proc").glob("[0-9]*/fd/1"):
        try:
            if os.readlink(descriptor) == log:
                return int(descriptor.parts[2])
        except OSError:
            continue
    raise AssertionError(f"no process writes to {log}")


@pytest.fixture
def planned(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("own_engine_losses.py").write_text(OWN_LOSSES)
    Path("queue.py").write_text("raise ImportError('a file of the user hides a module of Python')")
    return make_plan("ring_gan", SETTINGS, [VARY[1]], 1)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds processes by /proc")
def test_failures_stay_in_their_cells_a_stop_saves_and_further_calls_finish_exactly(planned):
    plan, folder = planned
    killed = []

    def kill(runs):
        if not killed and turn_of(runs["Slow-seed0"]) >= 60:
            killed.append(worker_of(runs["Slow-seed0"]))
            os.kill(killed[0], signal.SIGKILL)

    first = compare(plan, folder, Watching(kill), 1)
    results = {cell.variant.name: result for cell, result in first.results.items()}
    statuses = {"Slow": "died", "Raises": "failed", "Diverges": "diverged", "hinge": "finished"}
    assert {name: result.status for name, result in results.items()} == statuses
    assert "SIGKILL" in results["Slow"].message
    assert results["Raises"].message == "ZeroDivisionError: what the loss says"
    assert "ZeroDivisionError" in (folder / "cells" / "Raises-seed0.log").read_text()
    assert "nan" in results["Diverges"].message
    assert first.failed == 3
    assert [summary.values[0] is None for summary in first.summaries] == [True, True, True, False]
    page = write_report(first).read_text()
    assert "Failed seeds: Slow 1 of 1, Raises 1 of 1, Diverges 1 of 1." in page
    assert all(f"<td>{result.status}</td>" in page for result in results.values() if result.status != "finished")
    assert "ZeroDivisionError: what the loss says" in page

    run = folder / "cells" / "Slow-seed0-1"
    asker = threading.Thread(
        target=lambda: (wait_for(lambda: turn_of(run) >= 200), os.kill(os.getpid(), signal.SIGTERM))
    )
    asker.start()
    code, _, said = genloss("compare", "ring_gan", *SETTINGS, *VARY, "--jobs", "1")
    asker.join()
    assert code == 130
    assert "Go on with: genloss compare ring_gan" in said
    log = (run / "log.txt").read_text()
    assert "resumed from the checkpoint of turn" in log
    assert "interrupted" in log

    Path("mended").touch()
    last = Watching()
    final = compare(plan, folder, last, 1)
    assert list(last.runs) == ["Slow-seed0", "Raises-seed0"]
    assert last.cells == 2
    assert [result.status for result in final.results.values()] == ["finished", "finished", "diverged", "finished"]
    # What was killed, stopped or mended ends like the run with the same maths that nothing happened to, bit for bit,
    # and a cell like the same recipe trained by itself.
    alone = train_run(read_recipe(str(folder / "recipes" / "hinge.yaml"), ["seed=0"])[0]).folder
    slow, raises, _, hinge = (folder / "cells" / f"{cell.name}-1" for cell in plan.cells)
    assert statistics(slow) == statistics(raises) == statistics(hinge) == statistics(alone)
    values = [summary.values for summary in final.summaries]
    assert values[0] == values[1] == values[3]


def statistics(run):
    return (run / "metrics.jsonl").read_text()


def locked(folder):
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def test_when_the_parent_is_killed_its_worker_saves_and_ends(tmp_path):
    settings = [*SMALL, "train.steps=1000000", f"runs_dir={tmp_path}"]
    vary = "loss=hinge,minimax"
    plan, folder = make_plan("ring_gan", settings, [vary], 1)
    command = [sys.executable, "-m", "genloss", "compare", "ring_gan", *settings, "--vary", vary]
    parent = subprocess.Popen([*command, "--seeds", "1", "--jobs", "1"], stderr=subprocess.DEVNULL)
    cell = plan.cells[0]
    run = folder / "cells" / f"{cell.name}-1"
    try:
        wait_for(lambda: turn_of(run) >= 50)
        with pytest.raises(InputError, match="another `genloss compare` works"):
            compare(plan, folder, Watching())
    finally:
        parent.kill()
        parent.wait()
    wait_for(lambda: not locked(folder))
    assert json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])["status"] == "interrupted"
    assert (run / "checkpoints" / "last").exists()
    assert read_result(folder, cell) is None
    assert Engine(plan, folder).unfinished() == plan.cells


def wait_for(condition):
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_the_last_turn_is_read_from_the_end_of_the_file(tmp_path):
    assert turn_of(tmp_path) == 0
    lines = [json.dumps({"event": "statistics", "turn": turn, "filler": "x" * 100}) for turn in range(1, 500)]
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines) + '\n{"event": "stat')
    assert turn_of(tmp_path) == 499
