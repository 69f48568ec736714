"""Writes that are whole or absent: a temporary name, fsync, then one rename."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = ["Content", "point", "write_file", "write_folder"]

Content = bytes | Callable[[BinaryIO], None]

_BUFFER = 1 << 20


class _Descriptor(io.RawIOBase):
    """An open file, for writers that take one; it keeps the error that they may hide behind one of their own."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.error: OSError | None = None

    def writable(self) -> bool:
        return True

    def write(self, content: ReadableBuffer) -> int:
        try:
            return os.write(self._descriptor, content)
        except OSError as error:
            self.error = error
            raise


def _write(path: Path, content: Content) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    raw = _Descriptor(descriptor)
    try:
        with io.BufferedWriter(raw, _BUFFER) as file:
            if callable(content):
                content(file)
            else:
                file.write(content)
        os.fsync(descriptor)
    except Exception as error:
        raise raw.error or error from None
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_file(path: Path, content: bytes | str) -> Path:
    """Replaces a file by `content` in one step; after any failure the old file is still whole.

    Raises:
        OSError: as the system reports it, for example when the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        _write(temporary, content.encode() if isinstance(content, str) else content)
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return path


def write_folder(folder: Path, files: Iterable[tuple[str, Content]]) -> Path:
    """Makes a folder with these files, names and contents, appear in one step; it must not exist yet.

    A content too large to be held twice is a function that writes it to the file that it is given.

    Raises:
        OSError: as the system reports it; nothing of the folder is left then.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir()
        for name, content in files:
            _write(temporary / name, content)
            del content  # a generator makes the next one while memory holds none
        _sync_folder(temporary)
        os.rename(temporary, folder)
        _sync_folder(folder.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return folder


def point(link: Path, target: Path) -> None:
    """Makes the symbolic link `link` point to its sibling `target` in one step.

    A copy may have made a folder of the link: that one is first moved out of the way, under the name of a leftover.
    """
    temporary = link.with_name(f".{link.name}.{os.getpid()}.tmp")
    try:
        temporary.unlink(missing_ok=True)
        os.symlink(target.name, temporary)
        if link.is_dir() and not link.is_symlink():
            os.rename(link, link.with_name(f".{link.name}.copied.{os.getpid()}.tmp"))
        os.replace(temporary, link)
        _sync_folder(link.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
