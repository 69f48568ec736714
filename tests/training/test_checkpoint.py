"""Checkpoints survive the failure of any single call of the system, and of all after it."""

import resource

import pytest
import torch

from genloss.errors import InputError
from genloss.training.checkpoint import has_checkpoint, load_checkpoint, save_checkpoint
from genloss.training.loop import Hooks, Timetable, train
from tests.training.test_storage import Faults
from tests.training.tiny import make_state


def advance(state, turns):
    list(train(state, Timetable(state.turn + turns), Hooks()))


@pytest.mark.parametrize(("forever", "error"), [(False, 28), (True, 28), (False, 5), (True, 5)])
def test_a_failed_save_leaves_the_last_checkpoint_whole(tmp_path, monkeypatch, forever, error):
    state = make_state()
    advance(state, 1)
    save_checkpoint(tmp_path, state, best=True)
    for n in range(1, 60):
        saved = state.turn
        advance(state, 1)
        with monkeypatch.context() as patch:
            Faults(patch, n, forever, error)
            try:
                save_checkpoint(tmp_path, state, best=True)
            except OSError:
                failed = True
            else:
                failed = False
        assert has_checkpoint(tmp_path)
        assert has_checkpoint(tmp_path, "best")
        fresh = make_state()
        load_checkpoint(tmp_path, fresh)
        assert fresh.turn in (saved, state.turn)
        if fresh.turn == state.turn:
            assert all(
                torch.equal(a, b) for a, b in zip(fresh.weights().values(), state.weights().values(), strict=True)
            )
        if not failed:
            assert n > 8
            return
        save_checkpoint(tmp_path, state, best=True)
    pytest.fail("the save never succeeded")


def test_a_save_beyond_what_the_system_lets_a_file_grow_says_so_and_leaves_the_last_one_whole(tmp_path):
    state = make_state()
    advance(state, 1)
    save_checkpoint(tmp_path, state, best=True)
    sizes = [file.stat().st_size for file in (tmp_path / "last").iterdir()]
    advance(state, 1)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    for limit in [1, *range(500, max(sizes), 500)]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
        try:
            with pytest.raises(OSError, match="too large"):
                save_checkpoint(tmp_path, state, best=True)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        load_checkpoint(tmp_path, fresh := make_state())
        assert fresh.turn == 1
        assert sorted(entry.name for entry in tmp_path.iterdir()) == ["best", "last", "turn-00000001"]
    save_checkpoint(tmp_path, state, best=True)
    load_checkpoint(tmp_path, fresh := make_state())
    assert fresh.turn == 2


def test_only_what_last_and_best_point_to_is_kept(tmp_path):
    state = make_state()
    for turn in range(1, 6):
        advance(state, 1)
        save_checkpoint(tmp_path, state, best=turn == 2)
    folders = sorted(entry.name for entry in tmp_path.iterdir() if not entry.is_symlink())
    assert folders == ["turn-00000002", "turn-00000005"]
    assert (tmp_path / "best").resolve().name == "turn-00000002"


def test_weights_of_another_network_are_refused(tmp_path):
    state = make_state()
    save_checkpoint(tmp_path, state, best=False)
    other = make_state(ema=0.9)
    with pytest.raises(InputError, match="do not fit"):
        load_checkpoint(tmp_path, other)
