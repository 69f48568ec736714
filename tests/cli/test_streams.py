"""What the system refuses is a sentence: folders, files, full disks, closed and broken streams, interrupts."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.command import genloss

FULL = Path("/dev/full")
TINY = ["train.steps=3", "train.batch_size=8", "evaluation.samples=40", "model.network.width=8"]


def shell(script, **environment):
    """Runs a line of bash in which $G is the command, and returns the finished process."""
    done = subprocess.run(
        ["bash", "-c", script],
        capture_output=True,
        text=True,
        env={**os.environ, "G": f"{sys.executable} -m genloss", "OMP_NUM_THREADS": "1", **environment},
        check=False,
    )
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    return done


@pytest.mark.skipif(not FULL.exists(), reason="has no /dev/full")
@pytest.mark.parametrize("command", ["cite hinge", "losses --json", "losses"])
def test_a_full_disk_behind_standard_output_is_a_sentence(command):
    done = shell(f"$G {command} > /dev/full")
    assert done.returncode == 1
    assert done.stderr.startswith("genloss: standard output cannot be used: No space left on device")
    assert done.stderr.count("\n") == 1


def test_closed_streams_are_ones_that_nobody_reads():
    assert shell("$G losses >&-").returncode == 0
    done = shell("$G losses show no_such 2>&-")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "")
    assert "hinge" in shell("$G losses 2>&-").stdout


def test_what_nobody_reads_any_more_does_not_end_a_run(tmp_path):
    shell(f"$G train ring_gan {' '.join(TINY)} runs_dir={tmp_path} 2>&1 | head -1")
    log = (tmp_path / "ring_gan-1" / "log.txt").read_text()
    assert "turn 3: finished" in log


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="has no /proc")
def test_a_folder_that_cannot_be_written_is_a_sentence():
    done = genloss("losses", "show", "hinge", "-o", "/proc/plot.png")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("genloss: /proc/plot.png cannot be used: ")


@pytest.mark.skipif(shutil.which("setpriv") is None or os.getuid() != 0, reason="needs setpriv and root")
def test_permissions_are_a_sentence(tmp_path):
    (tmp_path / "closed").mkdir(mode=0o555)
    (tmp_path / "recipe.yaml").write_text("model: gan\n")
    (tmp_path / "recipe.yaml").chmod(0)
    lowered = "setpriv --bounding-set -all --inh-caps -all --no-new-privs"
    for command, name in [
        (f"losses show hinge -o {tmp_path}/closed/plot.png", "plot.png"),
        (f"train {tmp_path}/recipe.yaml", "recipe.yaml"),
    ]:
        done = shell(f"{lowered} $G {command}")
        assert done.returncode == 1
        assert name in done.stderr
        assert "Permission denied" in done.stderr


def test_an_interrupt_leaves_with_a_word(tmp_path):
    # A shell that starts the tests in the background may have had interrupts ignored.
    code = (
        "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\nsignal.raise_signal(signal.SIGINT)\n"
    )
    (tmp_path / "slow.py").write_text(code)
    done = genloss("check", tmp_path / "slow.py")
    assert (done.returncode, done.stderr) == (130, "genloss: interrupted.\n")


@pytest.mark.parametrize("key", ["model.network.width=10000000000", "model.noise_dim=100000000000000"])
def test_what_no_memory_holds_is_a_sentence(tmp_path, key):
    done = genloss("train", "ring_gan", "train.steps=3", key, f"runs_dir={tmp_path}")
    assert done.returncode == 1
    assert "genloss: out of memory: " in done.stderr
    assert "lower train.batch_size, model.network.width" in done.stderr


def test_a_key_given_twice_is_refused(tmp_path):
    done = genloss("train", "ring_gan", "train.steps=3", "train.steps=4", f"runs_dir={tmp_path}")
    assert (done.returncode, list(tmp_path.iterdir())) == (2, [])
    assert done.stderr == "genloss: train.steps is given twice, as '3' and as '4'; keep one of them.\n"
