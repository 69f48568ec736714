"""The two kinds of error that a person sees: a wrong input, and work that failed."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["InputError", "WorkError", "did_you_mean"]


class InputError(ValueError):
    """What was asked for cannot be done: a wrong name, value, file or folder. Exit code 2."""


class WorkError(RuntimeError):
    """What was asked for began and failed: no disk space, a diverged run. Exit code 1."""


def did_you_mean(name: str, known: Iterable[str], prefix: str = "") -> str:
    """Returns ` Did you mean 'x'?` for the nearest known name, else the list of known names.

    `prefix` is what stands before the nearest name, such as the section of a key.

    >>> did_you_mean("hing", ["hinge", "wasserstein"])
    " Did you mean 'hinge'?"
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f" Did you mean {prefix + close[0]!r}?" if close else f" Known: {', '.join(names)}."
