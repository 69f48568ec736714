"""`genloss compare` from the command line to the report."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.comparison.command import genloss

SETTINGS = ["digits_gan", "train.steps=5", "train.batch_size=8", "evaluation.samples=50", "evaluation.every=2"]
VARY = ["--vary", "loss=hinge,minimax+{name: r1, weight: 1}", "--seeds", "2", "--jobs", "1"]


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """A finished comparison: its folder, what it printed as JSON, and the arguments that made it."""
    arguments = ["compare", *SETTINGS, f"runs_dir={tmp_path_factory.mktemp('runs')}", *VARY]
    code, out, err = genloss(*arguments, "--json")
    assert code == 0, err
    printed = json.loads(out.splitlines()[-1])
    return Path(printed["folder"]), printed, arguments


def test_json_names_every_seed_of_every_variant(compared):
    folder, printed, _ = compared
    assert printed["metric"] == "mmd2"
    assert printed["higher_is_better"] is False
    assert printed["seeds"] == [0, 1]
    assert [variant["name"] for variant in printed["variants"]] == ["hinge", "minimax+r1(weight=1)"]
    assert printed["plan"] == json.loads((folder / "plan.json").read_text())["sha256"]
    for variant in printed["variants"]:
        low, high = variant["interval"]
        assert len(variant["seeds"]) == 2
        assert low <= min(variant["seeds"]) <= variant["mean"] <= max(variant["seeds"]) <= high
        assert variant["mean"] == pytest.approx(sum(variant["seeds"]) / 2)
        assert variant["failures"] == []


def test_seeds_differ_and_variants_differ(compared):
    values = [value for variant in compared[1]["variants"] for value in variant["seeds"]]
    assert len(set(values)) == 4


def test_one_loss_over_its_seeds_is_summed_up_without_a_rank(tmp_path):
    arguments = ["compare", *SETTINGS, f"runs_dir={tmp_path}", "--vary", "loss=hinge", "--seeds", "2"]
    code, out, err = genloss(*arguments)
    assert code == 0, err
    assert "hinge: mean MMD²" in out
    assert "compared with nothing" in out
    assert "best" not in out


def test_every_number_is_what_genloss_evaluate_says(compared):
    folder, printed, _ = compared
    run = folder / "cells" / "minimax-r1-weight-1-seed1-1"
    code, out, _ = genloss("evaluate", str(run), "--samples", "50", "--json")
    assert code == 0
    assert json.loads(out)["metrics"]["mmd2"]["value"] == printed["variants"][1]["seeds"][1]


def test_the_page_is_whole_and_holds_every_seed(compared):
    folder, printed, _ = compared
    page = (folder / "report.html").read_text()
    for variant in printed["variants"]:
        assert variant["name"] in page
        for value in variant["seeds"]:
            assert f"<td>{value:.5g}</td>" in page
    assert printed["plan"] in page
    assert "Exploratory: 2 seeds" in page
    assert "real training data" in page
    assert page.count("plotly.js v") == 1
    own = re.sub(r"<script>.*?</script>", "", page, count=1, flags=re.DOTALL)  # plotly.js itself holds addresses
    assert own.count('src="data:image/png;base64,') == 3
    assert not re.findall(r'(?:src|href)="(?!data:)', own)


def test_comparison_json_holds_every_metric_of_every_run(compared):
    content = json.loads((compared[0] / "comparison.json").read_text())
    assert [(run["variant"], run["seed"]) for run in content["runs"]] == [
        (name, seed) for seed in (0, 1) for name in ("hinge", "minimax+r1(weight=1)")
    ]
    assert all({"mmd2", "sliced_wasserstein", "precision"} <= set(run["metrics"]) for run in content["runs"])
    assert len({run["signature"] for run in content["runs"]}) == 1
    assert 0 < abs(content["facts"]["floor"]) < min(min(v["seeds"]) for v in content["variants"])


def test_calling_again_runs_nothing(compared):
    folder, printed, arguments = compared
    before = [(path, path.lstat().st_mtime_ns) for path in sorted((folder / "cells").rglob("*"))]
    code, out, _ = genloss(*arguments)
    assert code == 0
    assert [(path, path.lstat().st_mtime_ns) for path in sorted((folder / "cells").rglob("*"))] == before
    assert str(folder / "report.html") in out
    assert f"{printed['variants'][0]['mean']:.4g}" in out


@pytest.mark.parametrize("damage", ["", '{"status": "fini', "[]", '{"status": "finished", "more": 1}', "{}"])
def test_a_damaged_result_is_made_again(compared, damage):
    folder, _, arguments = compared
    path = folder / "cells" / "hinge-seed1.json"
    before = json.loads(path.read_text())
    path.write_text(damage)
    code, _, err = genloss(*arguments)
    assert code == 0, err
    assert "hinge, seed 1: mmd2" in err
    assert json.loads(path.read_text())["metrics"] == before["metrics"]


def test_a_narrow_terminal_shows_every_variant_by_lines(compared, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    code, out, _ = genloss(*compared[2])
    mean = compared[1]["variants"][1]["mean"]
    assert code == 0
    assert f"minimax+r1(weight=1)\n  mean: {mean:.4g}\n  95 % t-interval: " in out
    monkeypatch.setenv("COLUMNS", "120")
    lines = genloss(*compared[2])[1].splitlines()
    assert any("minimax+r1(weight=1)" in line and f"{mean:.4g}" in line for line in lines)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["ring_gan", "--vary", "loss=hinge,wassersten"], "Did you mean 'wasserstein'"),
        (["ring_gan", "--vary", "loss=hinge,{name: least_squares, real_traget: 1}"], "real_target"),
        (["ring_gan", "--vary", "model.network=mlp,{name: mlp, widht: 3}"], "width"),
        (["ring_gan", "evaluation.metric=bound", "--vary", "loss=hinge,minimax"], "bound"),
        (["ring_gan", "--vary", "loss=hinge,minimax", "--seeds", "0"], "--seeds"),
        (["digits_vae", "--vary", "loss=elbo,{name: iwae, samples: 5}"], "iwae of 5 samples, density"),
        (["ring_gan"], "--vary"),
        (["rign_gan", "--vary", "loss=hinge,minimax"], "ring_gan"),
    ],
)
def test_whatever_is_wrong_is_said_before_anything_is_run(arguments, part, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    code, _, err = genloss("compare", *arguments, "evaluation.samples=50")
    assert code == 2
    assert part in err
    assert list(tmp_path.iterdir()) == []


def test_help_needs_no_heavy_import():
    code = "import sys, genloss.cli.app; print({'torch', 'plotly', 'scipy', 'rich.progress'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
