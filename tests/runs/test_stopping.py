"""Where a run stops and goes on: which checkpoints there are then, and what a person is told."""

import shutil
import signal
import subprocess
import sys

import pytest

from genloss.errors import InputError
from genloss.metrics import MetricValue
from genloss.protocols import TurnDone
from genloss.runs.evaluation import Evaluator
from genloss.runs.execute import resume_run, train_run
from genloss.runs.folder import RunFolder
from genloss.runs.recipes import read_recipe
from genloss.runs.sampling import open_run
from genloss.training.checkpoint import save_checkpoint
from tests.runs.tiny_data import TINY_RUN


def test_divergence_before_the_first_checkpoint_is_not_told_to_be_resumed(tmp_path):
    overrides = ["train.optimizer=sgd", "train.learning_rate=1e30", "loss=least_squares"]
    outcome = train_run(read_recipe("ring_gan", [*TINY_RUN, *overrides, f"runs_dir={tmp_path}"])[0])
    assert outcome.status == "diverged"
    assert RunFolder(outcome.folder).saved() == []
    with pytest.raises(InputError, match=r"no checkpoint 'last'; it diverged before the first one; train a new run"):
        open_run(outcome.folder)


def test_an_unknown_checkpoint_is_answered_with_those_there_are(tmp_path):
    folder = train_run(read_recipe("ring_gan", [*TINY_RUN, f"runs_dir={tmp_path}"])[0]).folder
    with pytest.raises(InputError, match=r"no checkpoint 'foo'; it has best and last\.$"):
        open_run(folder, "foo")


def test_of_checkpoints_whose_metric_ties_the_later_is_best(tmp_path, monkeypatch):
    def tie(evaluator, state):
        return {"mmd2": MetricValue(name="mmd2", value=1.0, n=10, signature="", higher_is_better=False)}

    monkeypatch.setattr(Evaluator, "quick", tie)
    overrides = [*TINY_RUN, "evaluation.every=1", f"runs_dir={tmp_path}"]
    folder = train_run(read_recipe("ring_gan", overrides)[0]).folder
    assert open_run(folder)[2] == "best (turn 2)"


def test_a_second_interrupt_waits_for_the_save(tmp_path, monkeypatch):
    def first(event):
        if isinstance(event, TurnDone) and event.turn == 2:
            signal.raise_signal(signal.SIGINT)

    def second(*arguments, **options):
        signal.raise_signal(signal.SIGINT)
        return save_checkpoint(*arguments, **options)

    heard = []
    overrides = [*TINY_RUN, "train.steps=9", "evaluation.every=9", f"runs_dir={tmp_path}"]
    with monkeypatch.context() as patch:
        patch.setattr("genloss.runs.execute.save_checkpoint", second)
        with pytest.raises(KeyboardInterrupt):
            train_run(read_recipe("ring_gan", overrides)[0], tell=lambda built, folder: [first], say=heard.append)
    assert heard == ["stopping after this turn: saving ..."]
    folder = next(tmp_path.iterdir())
    assert open_run(folder)[2] == "last (turn 3)"
    assert resume_run(folder, say=heard.append).status == "finished"
    assert heard[1:] == ["resumed from the checkpoint of turn 3"]
    resume_run(folder, say=heard.append)
    assert heard[2:] == ["already finished at turn 9"]


def test_resuming_without_a_checkpoint_says_that_the_run_begins_again(tmp_path):
    folder = train_run(read_recipe("ring_gan", [*TINY_RUN, f"runs_dir={tmp_path}"])[0]).folder
    shutil.rmtree(folder / "checkpoints")
    heard = []
    resume_run(folder, say=heard.append)
    assert heard == ["there is no checkpoint yet: the run begins again from turn 0"]


def test_a_run_in_training_cannot_be_trained_by_another_process(tmp_path):
    answers = []

    def resume_meanwhile(event):
        if isinstance(event, TurnDone) and event.turn == 2:
            command = [sys.executable, "-m", "genloss", "resume", str(next(tmp_path.glob("ring_gan-*")))]
            answers.append(subprocess.run(command, capture_output=True, text=True, check=False))

    overrides = [*TINY_RUN, f"runs_dir={tmp_path}"]
    outcome = train_run(read_recipe("ring_gan", overrides)[0], tell=lambda built, folder: [resume_meanwhile])
    assert answers[0].returncode == 2
    assert "is being trained by another process" in " ".join(answers[0].stderr.split())
    assert resume_run(outcome.folder).status == "finished"
