"""The command line as a person or a script meets it: exit codes, JSON, sentences instead of tracebacks."""

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.command import genloss, last_json

TINY = ["train.steps=4", "train.batch_size=8", "evaluation.samples=40", "model.network.width=8", "evaluation.grid=9"]
COMMANDS = ["train", "resume", "sample", "evaluate", "compare", "losses", "recipes", "data", "doctor", "check", "cite"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    done = genloss("train", "digits_gan", *TINY, f"runs_dir={tmp_path_factory.mktemp('runs')}", "--json")
    assert done.returncode == 0, done.stderr
    return last_json(done)


def test_train_reports_its_run(run):
    assert set(run) >= {"run", "status", "steps", "seconds"}
    assert (run["status"], run["steps"]) == ("finished", 4)
    assert (Path(run["run"]) / "report.html").is_file()


def test_evaluate_gives_every_number_its_conventions(run):
    done = genloss("evaluate", run["run"], "--samples", 100, "--json")
    assert done.returncode == 0, done.stderr
    found = last_json(done)
    assert found["run"] == run["run"]
    assert {"mmd2", "sliced_wasserstein", "precision", "recall", "density", "coverage"} <= set(found["metrics"])
    for metric in found["metrics"].values():
        assert set(metric) == {"value", "n", "real", "signature"}
        assert (metric["n"], metric["real"]) == (100, 100)
    shown = genloss("evaluate", run["run"], "--samples", 400, COLUMNS="40").stdout
    rows = {line.split()[0]: line.split() for line in shown.splitlines() if line}
    assert rows["metric"][2:] == ["generated", "real"]
    for name, metric in found["metrics"].items():
        assert rows[name][2:4] == ["400", "179"]
        assert f"  {metric['signature'].partition('|n:')[0]}|n:400" in shown


def test_evaluate_keeps_what_few_samples_allow(tmp_path):
    table = tmp_path / "table.csv"
    np.savetxt(table, np.random.default_rng(0).normal(size=(40, 5)), delimiter=",")
    done = genloss("train", "digits_gan", *TINY, f"data.path={table}", f"runs_dir={tmp_path / 'runs'}", "--json")
    run = last_json(done)["run"]
    found = last_json(genloss("evaluate", run, "--json"))
    assert set(found["metrics"]) == {"mmd2", "sliced_wasserstein"}
    distance, manifold = found["left_out"]
    assert distance.startswith("frechet_distance was given 10000 fake and 4 real samples")
    assert manifold.startswith("precision, recall, density and coverage were given 10000 fake and 4 real samples")
    assert f"left out: {manifold}" in genloss("evaluate", run).stdout
    assert "frechet_distance" in last_json(genloss("evaluate", run, "--split", "train", "--json"))["metrics"]
    refused = genloss("evaluate", run, "--split", "foo")
    assert (refused.returncode, refused.stderr) == (
        2,
        "genloss: split is 'foo', expected one of select, test, train.\n",
    )


def test_evaluating_a_toy_shows_the_row_of_true_samples(tmp_path):
    trained = last_json(genloss("train", "ring_gan", *TINY, f"runs_dir={tmp_path}", "--json"))
    metrics = last_json(genloss("evaluate", trained["run"], "--samples", 2000, "--json"))["metrics"]
    assert metrics["true/modes"]["value"] == 8
    assert metrics["true/high_quality"]["value"] > 0.97
    assert metrics["true/kl"]["value"] < 0.02
    assert metrics["kl"]["value"] > metrics["true/kl"]["value"]
    pixels = {}
    for name in ("real", "turn-00000004"):
        with Image.open(Path(trained["run"]) / "samples" / f"{name}.png") as image:
            pixels[name] = np.asarray(image.convert("RGB")).astype(int)
    blue = {name: int((array[:, :, 2] - array[:, :, 0] > 40).sum()) for name, array in pixels.items()}
    assert blue["real"] == 0  # the colour of what is generated
    assert blue["turn-00000004"] > 0


def test_samples_say_what_generated_them(run, tmp_path):
    grid = tmp_path / "grid.png"
    assert genloss("sample", run["run"], "-n", 9, "-o", grid, "--seed", 3).returncode == 0
    with Image.open(grid) as image:
        assert image.text["genloss:seed"] == "3"
        assert image.text["genloss:run"] == Path(run["run"]).name
        assert "turn 4" in image.text["genloss:checkpoint"]
        assert "generated" in image.text["Description"]
    arrays = tmp_path / "samples.npz"
    assert genloss("sample", run["run"], "-n", 5, "-o", arrays).returncode == 0
    with np.load(arrays) as found:
        assert found["samples"].shape == (5, 1, 8, 8)
        assert "generated" in str(found["Description"])
    table = tmp_path / "samples.csv"
    assert genloss("sample", run["run"], "-n", 5, "-o", table).returncode == 0
    lines = table.read_text().splitlines()
    assert any(line.startswith("# genloss:run") for line in lines)
    assert len(list(csv.reader(line for line in lines if not line.startswith("#")))) == 6
    refused = genloss("sample", run["run"], "-o", grid)
    assert refused.returncode == 2
    assert "exists" in refused.stderr


def test_losses_are_listed_and_shown():
    listed = last_json(genloss("losses", "--json"))
    assert {"name": "hinge", "class": "Hinge", "family": "adversarial"} in listed
    shown = genloss("losses", "show", "wasserstein").stdout
    assert "(13.55), (13.56)" in shown
    assert "weight_clip" in shown


def test_recipes_are_listed_and_printed():
    assert "ring_gan" in {entry["name"] for entry in last_json(genloss("recipes", "--json"))}
    assert genloss("recipes", "ring_gan").stdout.startswith("# ")
    assert last_json(genloss("recipes", "ring_gan", "--json"))["recipe"]["data"]["name"] == "ring"


def test_data_says_what_it_found(tmp_path):
    table = tmp_path / "table.csv"
    rng = np.random.default_rng(0)
    np.savetxt(table, rng.normal(size=(50, 3)), delimiter=",", header="a,b,c", comments="")
    found = last_json(genloss("data", table, "--json"))
    assert found["kind"] == "table"
    assert "digits" in genloss("data").stdout
    done = genloss("train", "digits_gan", *TINY, f"data.path={table}", f"runs_dir={tmp_path / 'runs'}")
    assert done.returncode == 0, done.stderr


def test_doctor_tries_a_run(tmp_path):
    found = last_json(genloss("doctor", "--json", cwd=tmp_path))
    assert found["trial"].startswith("finished 5 turns")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command):
    done = genloss(command, "--help")
    assert done.returncode == 0
    assert "Example: genloss" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "rign_gan"], "Did you mean 'ring_gan'"),
        (["train", "ring_gan", "loss=hing"], "Did you mean 'hinge'"),
        (["train", "ring_gan", "train.step=2"], "Did you mean 'train.steps'"),
        (["train", "ring_gan", "loss={name:hinge,foo:1}"], "put a space after the colon: name: hinge."),
        (["train", "ring_gan", "penalties=[{name:r1}]"], "put a space after the colon: name: r1."),
        (["train", "ring_gan", "data.path=/nowhere"], "/nowhere"),
        (["resume", "/nowhere"], "there is no run"),
        (["evaluate", "."], "is not a run"),
        (["losses", "show", "hing"], "Did you mean 'hinge'"),
        (["losses", "list"], "'list' is not known"),
        (["recipes", "rign_gan"], "Did you mean 'ring_gan'"),
        (["data", "minst"], "Did you mean 'mnist'"),
        (["trian"], "No such command"),
        (["train"], "Missing argument"),
    ],
)
def test_a_mistake_is_exit_2_and_a_sentence(tmp_path, arguments, message):
    done = genloss(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_diverged_run_is_exit_1(tmp_path):
    wild = ["train.optimizer=sgd", "train.learning_rate=1e30", "loss=least_squares", f"runs_dir={tmp_path}"]
    done = genloss("train", "ring_gan", *TINY, *wild, "--json")
    assert done.returncode == 1
    assert last_json(done)["status"] == "diverged"
    assert "diverged at turn" in done.stderr
    assert "It has no checkpoint yet;" in done.stderr


def test_a_file_in_place_of_the_runs_folder_is_left_alone(tmp_path):
    target = tmp_path / "runs"
    target.write_text("a file where the folder should be")
    done = genloss("train", "ring_gan", *TINY, f"runs_dir={target}")
    assert done.returncode == 2
    assert "is a file, expected a folder" in done.stderr
    assert target.read_text() == "a file where the folder should be"


def test_torch_is_not_imported_for_help():
    code = "import sys; import genloss.cli.app; sys.exit(any(m in sys.modules for m in ('torch', 'numpy', 'pydantic')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
