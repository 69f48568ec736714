"""What the README says a person can do, done: the tour, the loop, and the script of the continuous integration."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

from tests.runs.tiny_data import write_photos

README = Path(__file__).parents[1] / "README.md"
# A newcomer waits for a whole training of their own data; the test does not.
SHORT = ["train.steps=2", "train.batch_size=8", "evaluation.samples=20", "evaluation.grid=4"]


def tour():
    text = README.read_text("utf-8").split("## A tour of five minutes")[1].split("\n## ")[0]
    lines = [line for block in re.findall(r"```\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    return [line.split("#")[0].split() for line in lines if line.startswith("genloss ")]


def test_the_tour_runs_as_it_is_written(tmp_path):
    write_photos(tmp_path / "photos", 40)
    np.savetxt(tmp_path / "table.csv", np.random.default_rng(0).normal(size=(60, 3)), delimiter=",", header="a,b,c")
    commands = tour()
    assert len(commands) > 8
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GENLOSS_CACHE": str(tmp_path / "cache")}
    for _, *arguments in commands:
        own_data = any(argument.startswith("data.path=") for argument in arguments)
        command = [sys.executable, "-m", "genloss", *arguments, *(SHORT if own_data else [])]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (arguments, done.stderr)
    assert (tmp_path / "tour" / "grid.png").is_file()
    assert list((tmp_path / "tour").glob("compare-*/report.html"))


def test_the_loop_of_ones_own_runs():
    code = re.search(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL).group(1)
    names = {}
    exec(compile(code, "README.md", "exec"), names)
    assert names["critic_loss"].requires_grad
    assert names["generator_loss"].isfinite()


def test_the_script_of_the_integration_lints_tests_and_finds_the_real_data(tmp_path):
    project = tmp_path / "project"
    shutil.copytree(README.parent / ".ci", project / ".ci")
    (project / "Makefile").write_text('lint test:\n\t@echo "$@ $$GENLOSS_DATA" >> made\n')
    environment = {name: value for name, value in os.environ.items() if name != "GENLOSS_DATA"}

    def made():
        (project / "made").unlink(missing_ok=True)
        subprocess.run([project / ".ci" / "run"], env=environment, check=True)
        return (project / "made").read_text().splitlines()

    assert made() == ["lint ", "test "]
    data = tmp_path / "shared" / "data"
    data.mkdir(parents=True)
    assert made() == [f"lint {data}", f"test {data}"]
