"""Standard output and error as the commands use them, whatever the shell made of them."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = ["drop_output", "open_streams"]


class _Output(io.FileIO):
    """Standard output: a failed write says whose it was."""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            error.filename = "standard output"
            raise


class _Progress(io.FileIO):
    """Standard error: what nobody can read any more (`2>&1 | head`) is dropped, for the work matters more."""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes


def open_streams() -> None:
    """Takes the process's own streams over; a closed one (`>&-`) becomes one that nobody reads."""
    if sys.stdout is None or sys.stdout is sys.__stdout__:
        sys.stdout = _opened(1, _Output, sys.stdout)
    if sys.stderr is None or sys.stderr is sys.__stderr__:
        sys.stderr = _opened(2, _Progress, sys.stderr)


def _opened(descriptor: int, kind: Callable[..., io.FileIO], before: TextIO | None) -> io.TextIOWrapper:
    try:
        os.fstat(descriptor)
    except OSError:
        _to_nowhere(descriptor)
    file = kind(descriptor, "w", closefd=False)
    lines = descriptor == 2 or file.isatty()
    encoding, errors = ("utf-8", "replace") if before is None else (before.encoding, before.errors)
    return io.TextIOWrapper(io.BufferedWriter(file), encoding, errors, line_buffering=lines)


def drop_output() -> None:
    """Sends what standard output still holds nowhere, after a write to it failed."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        _to_nowhere(1)


def _to_nowhere(descriptor: int) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    if nowhere != descriptor:
        os.dup2(nowhere, descriptor)
        os.close(nowhere)
