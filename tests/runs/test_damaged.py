"""Runs that were copied, cut, or edited: what is whole is used, what is not is named, and nothing more is lost."""

import json
import resource
import shutil
import threading
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import safetensors.torch

from genloss.errors import InputError
from genloss.protocols import TurnDone
from genloss.runs.execute import resume_run, train_run
from genloss.runs.folder import RunFolder
from genloss.runs.listeners import TensorBoard, provenance
from genloss.runs.recipes import read_recipe
from genloss.runs.sampling import evaluate_run, open_run
from tests.runs.tiny_data import TINY_RUN

STOPPED = ["train.steps=8", "train.checkpoint_every=2", "evaluation.every=8"]


def stopped_run(tmp_path, *overrides):
    """Returns a run that was interrupted at turn 4 of 8, with no best checkpoint yet."""

    class Interrupt(Exception):
        pass

    def stop(event):
        if type(event).__name__ == "CheckpointSaved" and event.turn == 4:
            raise Interrupt

    recipe = read_recipe("ring_gan", [*TINY_RUN, *STOPPED, *overrides, f"runs_dir={tmp_path}"])[0]
    with pytest.raises(Interrupt):
        train_run(recipe, tell=lambda built, folder: [stop])
    return next(tmp_path.glob("ring_gan-*"))


def content(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_weights_without_one_tensor_name_it(tmp_path):
    path = stopped_run(tmp_path) / "checkpoints" / "last" / "weights.safetensors"
    tensors = safetensors.torch.load_file(path)
    lost = sorted(tensors)[0]
    del tensors[lost]
    safetensors.torch.save_file(tensors, path, {"turn": "4"})
    with pytest.raises(InputError, match=f"Missing key.*{lost}.*--checkpoint"):
        resume_run(path.parents[2])


@pytest.mark.parametrize("quiet", [True, False])
def test_the_thread_of_tensorboard_prints_no_error_that_the_run_tells(tmp_path, monkeypatch, quiet):
    printed = []
    monkeypatch.setattr(threading, "excepthook", printed.append)
    board = TensorBoard(SimpleNamespace(path=tmp_path), 0)

    def write():
        for turn in range(1, 100_000):
            board(TurnDone(turn, 0, {"loss": 1.0}))

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, before[1]))
    try:
        with TensorBoard.without_traceback() if quiet else nullcontext(), pytest.raises(OSError, match="too large"):
            write()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert len(printed) == (0 if quiet else 1)
    assert threading.excepthook == printed.append


def test_a_lost_pointer_does_not_begin_the_run_again(tmp_path):
    run, notes = stopped_run(tmp_path), []
    (run / "checkpoints" / "last").unlink()
    outcome = resume_run(run, say=notes.append)
    assert notes[0] == (
        "resumed from the checkpoint of turn 4 (turn-00000004: the checkpoint 'last' is missing or incomplete)"
    )
    assert (outcome.status, outcome.turn) == ("finished", 8)


def test_a_run_copied_with_its_links_followed_goes_on(tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(stopped_run(tmp_path), copy, symlinks=False)
    assert (copy / "checkpoints" / "last").is_dir()
    assert not (copy / "checkpoints" / "last").is_symlink()
    assert resume_run(copy).status == "finished"
    assert (copy / "checkpoints" / "last").is_symlink()
    assert resume_run(copy).status == "finished"


@pytest.mark.parametrize("name", ["weights.safetensors", "state.pt"])
def test_without_a_whole_checkpoint_nothing_is_changed(tmp_path, name):
    run = stopped_run(tmp_path)
    (run / "checkpoints" / "turn-00000004" / name).unlink()
    before = content(run)
    with pytest.raises(InputError, match=r"holds last, turn-00000004, and none of them is whole"):
        resume_run(run)
    assert content(run).keys() - before.keys() <= {(run / ".lock").relative_to(run)}
    assert before.items() <= content(run).items()


@pytest.mark.parametrize("size", [0, 50])
@pytest.mark.parametrize("name", ["weights.safetensors", "state.pt"])
def test_a_damaged_checkpoint_is_named(tmp_path, name, size):
    run = stopped_run(tmp_path)
    damaged = run / "checkpoints" / "turn-00000004" / name
    damaged.write_bytes(damaged.read_bytes()[:size])
    with pytest.raises(InputError, match=rf"last.{name} is damaged: .*read another one with --checkpoint"):
        resume_run(run)
    if name == "weights.safetensors":
        with pytest.raises(InputError, match="is damaged"):
            evaluate_run(run, samples=20)


@pytest.mark.parametrize("line", [b'{"broken\n', b"[]\n", b"5\n", b"\xff\n", b'{"event": "statistics"}\n'])
def test_a_damaged_line_of_the_metrics_loses_no_other(tmp_path, line):
    run = stopped_run(tmp_path)
    metrics = run / "metrics.jsonl"
    metrics.write_bytes(line + metrics.read_bytes())
    before = metrics.read_bytes()
    with pytest.raises(InputError, match=r"line 1 of .*metrics.jsonl is damaged"):
        resume_run(run)
    assert metrics.read_bytes() == before


def test_what_a_crash_left_of_a_last_line_is_passed_over(tmp_path):
    run = stopped_run(tmp_path)
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"event": "stat')
    assert resume_run(run).status == "finished"
    assert all(json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines())


def test_an_edited_recipe_is_refused_everywhere(tmp_path):
    run = stopped_run(tmp_path)
    recipe = run / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("prior: normal", "prior: uniform"))
    for use in (resume_run, open_run, lambda path: RunFolder.open(path).recipe):
        with pytest.raises(InputError, match=r"recipe.yaml was changed since the run began"):
            use(run)


def test_changed_code_of_ones_own_is_refused(tmp_path):
    own = tmp_path / "own_hinge.py"
    own.write_text("from genloss.losses import Hinge\n\n\nclass Mine(Hinge):\n    pass\n")
    run = stopped_run(tmp_path, f"loss={own}:Mine")
    own.write_text(own.read_text() + "# another line\n")
    with pytest.raises(InputError, match=r"own_hinge.py changed since the run .* began"):
        resume_run(run)
    assert evaluate_run(run, samples=20)[0]


def test_bounds_have_one_signature_where_they_compare_and_only_there(tmp_path):
    tiny = ["train.steps=2", "train.batch_size=8", "evaluation.samples=20", "model.network.width=8"]
    (tmp_path / "own_bound.py").write_text(
        "from genloss.losses import ELBO, VariationalLoss\n\n\n"
        "class Mine(VariationalLoss):\n    samples = 1\n\n"
        "    def _terms(self, *given):\n        return ELBO()._terms(*given)\n"
    )

    def signature(change):
        recipe = read_recipe("digits_vae", [*tiny, change, f"runs_dir={tmp_path}"])[0]
        metrics, _, _ = evaluate_run(train_run(recipe).folder, samples=20)
        assert all(value.signature.endswith("|data:digits|split:test") for value in metrics.values())
        return metrics["bound"].signature

    elbo, *alike = map(signature, ("loss=elbo", "model.likelihood=laplace", f"loss={tmp_path / 'own_bound.py'}:Mine"))
    assert set(alike) == {elbo}
    iwae = [signature(f"loss={{name: iwae, samples: 2, gradient: {kind}}}") for kind in ("standard", "path")]
    assert iwae[0] == iwae[1]
    assert len({elbo, iwae[0], signature("model.likelihood=bernoulli"), signature("model.likelihood=categorical")}) == 4


def test_only_a_runs_own_checkpoints_are_opened(tmp_path):
    with pytest.raises(InputError, match=r"has no checkpoint '../checkpoints/last'; it has last"):
        open_run(stopped_run(tmp_path), "../checkpoints/last")


def test_a_run_named_by_a_dot_is_named_in_what_it_generates(tmp_path, monkeypatch):
    run = stopped_run(tmp_path)
    monkeypatch.chdir(run)
    assert provenance(RunFolder.open("."), "last", 0)["genloss:run"] == run.name
