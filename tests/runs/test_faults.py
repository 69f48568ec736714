"""Every write of a run may fail, once or from then on: what was there before stays whole, and the run can go on."""

import errno
import os

import pytest
import torch

from genloss.errors import InputError, WorkError
from genloss.runs.execute import resume_run, train_run
from genloss.runs.folder import RunFolder
from genloss.runs.recipes import read_recipe
from genloss.runs.sampling import open_run
from tests.runs.tiny_data import TINY_RUN
from tests.training.test_storage import Faults

OVERRIDES = [*TINY_RUN, "train.checkpoint_every=1"]


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    folder = train_run(read_recipe("ring_gan", [*OVERRIDES, f"runs_dir={tmp_path_factory.mktemp('whole')}"])[0]).folder
    return open_run(folder, "last")[1].state.weights()


@pytest.mark.parametrize(("forever", "error"), [(False, errno.EIO), (True, errno.ENOSPC)])
def test_the_nth_write_fails(tmp_path, monkeypatch, expected, forever, error):
    recipe, _ = read_recipe("ring_gan", [*OVERRIDES, f"runs_dir={tmp_path}"])
    for n in range(1, 400):
        before = {entry.name for entry in tmp_path.iterdir()} if tmp_path.exists() else set()
        with monkeypatch.context() as patch:
            faults = Faults(patch, n, forever, error)
            message = ""
            try:
                train_run(recipe)
            except WorkError as failure:
                message = str(failure)
        failed = bool(message)
        assert not failed or os.strerror(error) in message
        new = [entry for entry in tmp_path.iterdir() if entry.name not in before]
        assert len(new) <= 1
        if new:
            run = RunFolder.open(new[0])
            if failed:
                assert resume_run(run.path).status == "finished"
            weights = open_run(run.path, "last")[1].state.weights()
            assert all(torch.equal(weights[name], expected[name]) for name in expected)
        if not failed and faults.calls < n:
            assert n > 20
            return
    pytest.fail("the run never succeeded")


def test_a_changed_recipe_cannot_be_resumed(tmp_path):
    folder = train_run(read_recipe("ring_gan", [*OVERRIDES, f"runs_dir={tmp_path}"])[0]).folder
    recipe = folder / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("seed: 0", "seed: 1"))
    with pytest.raises(InputError, match="was changed since the run began"):
        resume_run(folder)


def test_a_run_of_another_version_cannot_be_resumed(tmp_path):
    folder = train_run(read_recipe("ring_gan", [*OVERRIDES, f"runs_dir={tmp_path}"])[0]).folder
    marks = folder / "environment.json"
    text = marks.read_text()
    marks.write_text(text.replace('"genloss": "', '"genloss": "99.'))
    with pytest.raises(InputError, match="was made by genloss 99"):
        resume_run(folder)
    marks.write_text(text.replace('"format": 1', '"format": 2'))
    with pytest.raises(InputError, match="format 2"):
        open_run(folder)


def test_what_is_not_a_run_is_refused(tmp_path):
    with pytest.raises(InputError, match="is not a run"):
        resume_run(tmp_path)
    with pytest.raises(InputError, match="there is no run"):
        resume_run(tmp_path / "nowhere")


def test_a_finished_run_resumes_to_itself(tmp_path, expected):
    folder = train_run(read_recipe("ring_gan", [*OVERRIDES, f"runs_dir={tmp_path}"])[0]).folder
    outcome = resume_run(folder)
    assert (outcome.status, outcome.turn) == ("finished", 2)
    weights = open_run(folder, "last")[1].state.weights()
    assert all(torch.equal(weights[name], expected[name]) for name in expected)


def test_a_diverged_run_keeps_its_last_good_checkpoint(tmp_path):
    overrides = [
        *OVERRIDES,
        f"runs_dir={tmp_path}",
        "train.optimizer=sgd",
        "train.learning_rate=1e30",
        "loss=least_squares",
    ]
    outcome = train_run(read_recipe("ring_gan", overrides)[0])
    assert outcome.status == "diverged"
    assert "diverged at turn" in outcome.message
    assert "'discriminator'" in outcome.message or "'generator'" in outcome.message
    assert RunFolder(outcome.folder).status() == "diverged"
