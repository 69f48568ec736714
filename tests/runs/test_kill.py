"""A run that is killed at any moment goes on from its last whole checkpoint and ends as if nothing had happened."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest
import safetensors.torch
import torch

from genloss.runs.execute import resume_run, train_run
from genloss.runs.folder import RunFolder
from genloss.runs.recipes import read_recipe

OVERRIDES = [
    "train.steps=60",
    "train.batch_size=8",
    "train.log_every=5",
    "train.checkpoint_every=3",
    "evaluation.every=20",
    "evaluation.samples=20",
    "model.network.width=8",
    "data=digits",
    "evaluation.metric=mmd2",
    "evaluation.grid=4",
]

CHILD = """
import sys, threading, time
from genloss.runs.execute import resume_run, train_run
from genloss.runs.recipes import read_recipe
print("imported", flush=True)
for line in sys.stdin:
    verb, *rest = line.split()
    outcome = resume_run(rest[0]) if verb == "resume" else train_run(read_recipe("ring_gan", rest)[0])
    print("done", outcome.status, flush=True)
"""


class Child:
    """A process that has paid for its imports and then trains, so that kills fall into the run itself."""

    def __init__(self):
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        assert self.process.stdout.readline() == "imported\n"

    def tell(self, *words):
        self.process.stdin.write(" ".join(words) + "\n")
        self.process.stdin.flush()

    def end(self, number):
        self.process.send_signal(number)
        self.process.stdin.close()
        self.process.stdout.read()
        self.process.wait()
        self.process.stdout.close()


def weights(folder):
    return safetensors.torch.load_file(folder / "checkpoints" / "last" / "weights.safetensors")


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """The run that nothing interrupts, and how long it takes."""
    begin = time.monotonic()
    folder = train_run(
        read_recipe("ring_gan", [*OVERRIDES, f"runs_dir={tmp_path_factory.mktemp('straight')}"])[0]
    ).folder
    return folder, time.monotonic() - begin


def test_killed_twenty_times_a_run_ends_like_the_one_that_was_not(tmp_path, straight):
    expected, seconds = straight
    chance = random.Random(0)
    kills = 0
    runs = 0
    while kills < 20:
        runs += 1
        runs_dir = tmp_path / str(runs)
        child = Child()
        child.tell("train", *OVERRIDES, f"runs_dir={runs_dir}")
        for _ in range(5):
            time.sleep(chance.uniform(0, seconds))
            child.end(signal.SIGKILL)
            kills += 1
            found = (
                [entry for entry in runs_dir.iterdir() if not entry.name.startswith(".")] if runs_dir.is_dir() else []
            )
            child = Child()
            if not found:  # killed before the folder appeared: nothing to lose
                child.tell("train", *OVERRIDES, f"runs_dir={runs_dir}")
                continue
            RunFolder.open(found[0]).check_resumable()
            child.tell("resume", str(found[0]))
        child.process.stdin.close()
        child.process.stdout.read()
        child.process.wait()
        child.process.stdout.close()
        folder = next(entry for entry in runs_dir.iterdir() if not entry.name.startswith("."))
        assert RunFolder(folder).status() == "finished"
        assert_same(folder, expected)


def assert_same(folder, expected):
    ours, theirs = weights(folder), weights(expected)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert (folder / "metrics.jsonl").read_text() == (expected / "metrics.jsonl").read_text()
    leftovers = [p.name for p in folder.rglob("*") if p.name.endswith(".tmp")]
    assert not leftovers


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_finishes_the_turn_saves_and_says_so(tmp_path, straight, number):
    expected, _ = straight
    child = Child()
    child.tell("train", *OVERRIDES, "train.checkpoint_every=0", f"runs_dir={tmp_path}")
    while not list(tmp_path.glob("ring_gan-1/metrics.jsonl")):
        time.sleep(0.01)
    child.process.send_signal(number)
    line = child.process.stdout.readline()
    child.end(signal.SIGKILL)
    assert line == "done interrupted\n"
    folder = tmp_path / "ring_gan-1"
    assert RunFolder(folder).status() == "interrupted"
    outcome = resume_run(folder)
    assert outcome.status == "finished"
    assert_same_weights(folder, expected)


def assert_same_weights(folder, expected):
    ours, theirs = weights(folder), weights(expected)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
