"""The two kinds of error that a person sees: a wrong input, and work that failed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher
from itertools import takewhile
from typing import Any

__all__ = ["InputError", "WorkError", "did_you_mean", "folded", "likeness", "shared", "suggested"]

_NEAR = 0.5  # likeness from which a name may be meant
_MOST = 3  # names that are offered at once


class InputError(ValueError):
    """What was asked for cannot be done: a wrong name, value, file or folder. Exit code 2."""


class WorkError(RuntimeError):
    """What was asked for began and failed: no disk space, a diverged run. Exit code 1."""


def folded(name: str) -> str:
    """Returns the letters and digits of a name, small: `wgan-gp`, `WGAN_GP` and `wgan_gp` are one."""
    return re.sub(r"[\W_]", "", name).lower()


def likeness(name: str, other: str) -> float:
    """Returns how like two names are, from 0 to 1; case and what is no letter or digit do not count."""
    return SequenceMatcher(None, folded(other), folded(name)).ratio()


def shared(one: Sequence[Any], other: Sequence[Any]) -> int:
    """Returns with how many equal elements two sequences begin."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def suggested(names: Iterable[str]) -> str:
    """Returns ` Did you mean 'x' or 'y'?`, or nothing where there is no name.

    >>> suggested(["r1", "r2"])
    " Did you mean 'r1' or 'r2'?"
    """
    offered = " or ".join(repr(name) for name in sorted(names)[:_MOST])
    return f" Did you mean {offered}?" if offered else ""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Returns ` Did you mean 'x'?` for the nearest known names, all that are equally near, else the known names.

    >>> did_you_mean("hing", ["hinge", "wasserstein"])
    " Did you mean 'hinge'?"
    """
    # Of names that are equally like, those that begin alike come first.
    scores = {other: (likeness(name, other), shared(folded(name), folded(other))) for other in known}
    best = max(scores.values(), default=(0.0, 0))
    near = [other for other in scores if scores[other] == best] if best[0] >= _NEAR else []
    return suggested(near) or f" Known: {', '.join(sorted(scores))}."
