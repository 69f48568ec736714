"""A run remembers which data it was made with, and where they lie."""

import json
import re

import pytest
import torch

from genloss.data import load_data
from genloss.errors import InputError
from genloss.runs.build import build
from genloss.runs.execute import resume_run, train_run
from genloss.runs.fingerprint import data_changes, fingerprint
from genloss.runs.folder import RunFolder
from genloss.runs.recipes import read_recipe
from genloss.runs.sampling import evaluate_run, sample_run
from tests.runs.tiny_data import TINY_RUN


@pytest.fixture
def table_run(tmp_path, monkeypatch):
    """A run on a table that it was given by a relative path, and the table."""
    table = tmp_path / "t.csv"
    table.write_text("a,b\n" + "".join(f"{i % 7},{i * i % 11}\n" for i in range(120)))
    monkeypatch.chdir(tmp_path)
    overrides = [entry for entry in TINY_RUN if entry != "data=digits"]
    return train_run(read_recipe("ring_gan", [*overrides, "data.path=t.csv"])[0]).folder.resolve(), table


def test_a_run_is_opened_from_any_folder(table_run, tmp_path, monkeypatch):
    run, table = table_run
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert RunFolder.open(run).recipe.data.path == str(table.resolve())
    assert resume_run(run).status == "finished"
    assert len(evaluate_run(run, samples=10)[0]) > 1
    sample_run(run, 5, tmp_path / "out.csv")


def test_a_path_is_a_path_though_a_known_set_has_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    overrides = [entry for entry in TINY_RUN if entry != "data=digits"]
    recipe = read_recipe("ring_gan", [*overrides, "data.path=digits"])[0]
    with pytest.raises(InputError, match=r"no file or folder '\./digits'.*data\.name=digits"):
        build(recipe)
    (tmp_path / "digits").write_bytes(b"a")
    with pytest.raises(InputError, match="no known format"):
        build(recipe)


def test_what_decides_the_bits_is_written_out_and_does_not_depend_on_earlier_builds(monkeypatch):
    monkeypatch.setattr("genloss.runs.build._THREADS", 3)
    small = build(read_recipe("ring_gan", TINY_RUN)[0]).recipe
    assert (small.threads, small.precision) == (1, "float32")
    large = build(
        read_recipe("ring_gan", [*TINY_RUN[:4], "data=digits", "data.size=16", "model.network=dcgan"])[0]
    ).recipe
    assert large.threads == 3
    assert large.precision in ("float32", "bfloat16")
    torch.set_num_threads(1)


@pytest.mark.parametrize(("given", "decay"), [("adam", 0.0), ("adamw", 0.01), ("adamw train.weight_decay=0", 0.0)])
def test_weight_decay_is_that_of_torch_unless_given(given, decay):
    built = build(read_recipe("ring_gan", [*TINY_RUN, *f"train.optimizer={given}".split()])[0])
    assert {how.optimizer.defaults["weight_decay"] for how in built.state.training.values()} == {decay}


def test_a_known_name_stays_a_name():
    recipe = build(read_recipe("ring_gan", TINY_RUN)[0]).recipe
    assert (recipe.data.name, recipe.data.path) == ("digits", None)


@pytest.mark.parametrize(
    ("pattern", "new", "change"),
    [
        (r"^6,3$", "6,4", "the values are not"),
        (r"^a,b$", "a,c", "the columns went from"),
        (r"^a,b$", "a,b\n1,2", "the sizes of the splits went from"),
        (r"(\w)$", r"\1,x", "the classes went from"),
    ],
)
def test_a_run_does_not_go_on_with_other_data(table_run, pattern, new, change):
    run, table = table_run
    text = table.read_text()
    changed, count = re.subn(pattern, new, text, flags=re.MULTILINE)
    assert count
    table.write_text(changed)
    for attempt in (resume_run, evaluate_run):
        with pytest.raises(InputError, match=f"changed since the run .*{change}.* start a new run with") as caught:
            attempt(run)
        assert "\n" not in str(caught.value)
    table.write_text(text)
    assert resume_run(run).status == "finished"


def test_a_run_without_a_fingerprint_goes_on(table_run):
    run, table = table_run
    marks = json.loads((run / "environment.json").read_text())
    del marks["data"]
    (run / "environment.json").write_text(json.dumps(marks))
    table.write_text(table.read_text() + "1,1\n")
    assert resume_run(run).status == "finished"


def test_a_fingerprint_sees_a_pixel_and_a_label():
    digits = load_data("digits")
    before = json.loads(json.dumps(fingerprint(digits)))
    assert data_changes(before, load_data("digits")) is None
    for store in (digits.splits["test"].values, digits.splits["test"].labels):
        row = digits.splits["test"].index[-1]
        store[row] = 9 - store[row]
        assert "the values are not" in data_changes(before, digits)
        store[row] = 9 - store[row]
    assert data_changes(before, digits) is None
    assert "sha256" not in fingerprint(load_data("ring", limit=10))
