"""Writes are whole or absent, whichever call of the system fails."""

import os

import pytest

from genloss.training.storage import point, write_file, write_folder


class Faults:
    """Makes the n-th call of write, fsync or rename fail, once or from then on."""

    def __init__(self, monkeypatch, first, forever, error):
        self.calls, self.first, self.forever, self.error = 0, first, forever, error
        for name in ("write", "fsync", "replace", "rename", "symlink"):
            monkeypatch.setattr(os, name, self._wrap(getattr(os, name)))

    def _wrap(self, function):
        def call(*arguments, **options):
            self.calls += 1
            if self.calls == self.first or (self.forever and self.calls > self.first):
                raise OSError(self.error, os.strerror(self.error))
            return function(*arguments, **options)

        return call


@pytest.mark.parametrize("forever", [False, True])
def test_a_failed_write_leaves_the_old_file_or_the_new_one(tmp_path, monkeypatch, forever):
    path = tmp_path / "file"
    write_file(path, b"old" * 100)
    for n in range(1, 50):
        with monkeypatch.context() as patch:
            faults = Faults(patch, n, forever, 28)
            try:
                write_file(path, b"new" * 100)
            except OSError:
                failed = True
            else:
                failed = False
        assert path.read_bytes() in (b"old" * 100, b"new" * 100)
        assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
        if not failed:
            assert faults.calls < n
            assert n > 3
            return
        write_file(path, b"old" * 100)
    pytest.fail("the write never succeeded")


@pytest.mark.parametrize("forever", [False, True])
def test_a_failed_folder_is_absent_or_whole(tmp_path, monkeypatch, forever):
    for n in range(1, 50):
        target = tmp_path / f"folder-{n}"
        with monkeypatch.context() as patch:
            Faults(patch, n, forever, 5)
            try:
                write_folder(target, [("a", b"1" * 1000), ("b", b"2" * 1000)])
            except OSError:
                failed = True
            else:
                failed = False
        if target.exists():
            assert (target / "a").read_bytes() == b"1" * 1000
            assert (target / "b").read_bytes() == b"2" * 1000
        assert not [entry for entry in tmp_path.iterdir() if entry.name.endswith(".tmp")]
        if not failed:
            assert n > 5
            return
    pytest.fail("the write never succeeded")


def test_point_moves_the_link_in_one_step(tmp_path, monkeypatch):
    for name in ("one", "two"):
        write_folder(tmp_path / name, [("x", name.encode())])
    point(tmp_path / "last", tmp_path / "one")
    with monkeypatch.context() as patch:
        Faults(patch, 2, True, 28)
        with pytest.raises(OSError, match="space"):
            point(tmp_path / "last", tmp_path / "two")
    assert (tmp_path / "last" / "x").read_text() == "one"
    point(tmp_path / "last", tmp_path / "two")
    assert (tmp_path / "last" / "x").read_text() == "two"
