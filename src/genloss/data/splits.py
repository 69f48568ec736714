"""Which samples train, which select and which test: the same ones in every run."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from genloss.errors import InputError

__all__ = ["PARTS", "compact", "complete", "hold_out", "shuffled"]

PARTS = ("train", "select", "test")
_SEED = 20_240_229
_MOST_SELECTING = 5_000


def shuffled(count: int) -> Tensor:
    """Returns the fixed order of `count` samples, int64: it depends on nothing but `count`.

    >>> shuffled(5).tolist() == shuffled(5).tolist(), sorted(shuffled(5).tolist())
    (True, [0, 1, 2, 3, 4])
    """
    # RandomState's stream is frozen for good, unlike that of numpy's and torch's generators.
    return torch.from_numpy(np.random.RandomState(_SEED).permutation(count).astype(np.int64))


def hold_out(rows: Tensor, wanted: list[str], where: str) -> dict[str, Tensor]:
    """Takes a tenth of `rows` from their end for each part in `wanted`, at most 5,000 for `select`, at least 1.

    Args:
        rows: samples in their fixed order.
        wanted: `select`, `test` or both.
        where: the data, for the error.

    Returns:
        `train` and the wanted parts.

    Raises:
        InputError: too few samples for one in each part.

    Example:
        >>> {name: len(rows) for name, rows in hold_out(shuffled(100), ["select", "test"], "mine").items()}
        {'train': 80, 'select': 10, 'test': 10}
    """
    if len(rows) < len(wanted) + 1:
        raise InputError(
            f"{where} has {len(rows)} samples to share between train and {' and '.join(wanted)}; "
            f"it needs {len(wanted) + 1} or more."
        )
    sizes = dict.fromkeys(wanted, max(1, len(rows) // 10))
    if "select" in sizes:
        sizes["select"] = min(sizes["select"], _MOST_SELECTING)
    parts = torch.split(rows, [len(rows) - sum(sizes.values()), *sizes.values()])
    return dict(zip(("train", *wanted), parts, strict=True))


def complete(given: Mapping[str, Tensor], where: str) -> tuple[dict[str, Tensor], str]:
    """Puts each given part in its fixed order and takes missing ones from `train`.

    Args:
        given: rows by part; `train` must be there.
        where: the data, for errors.

    Returns:
        rows of `train`, `select` and `test`, and a sentence that says what was given and what was taken.

    Raises:
        InputError: there is no `train`, a part is empty, or `train` has too few samples to share.

    Example:
        >>> complete({"train": torch.arange(50)}, "mine")[1]
        'No split was given: a fixed shuffle gave 40 to train, 5 to select and 5 to test.'
    """
    if "train" not in given:
        raise InputError(f"{where} has {' and '.join(given)} but no train; put the training samples into 'train'.")
    parts = {name: rows[shuffled(len(rows))] for name, rows in given.items()}
    for name, rows in parts.items():
        if len(rows) == 0:
            raise InputError(f"{where} has no sample in {name!r}; it needs at least one.")
    missing = [name for name in PARTS if name not in parts]
    if missing:
        parts |= hold_out(parts["train"], missing, where)
    sizes = {name: f"{len(parts[name]):,} to {name}" for name in PARTS}
    if not missing:
        note = "The given train, select and test were kept."
    elif len(given) == 1:
        note = f"No split was given: a fixed shuffle gave {sizes['train']}, {sizes['select']} and {sizes['test']}."
    else:
        note = f"The given {' and '.join(given)} were kept; a fixed shuffle of train gave {sizes[missing[0]]}."
    return {name: parts[name] for name in PARTS}, note


def compact(
    values: Tensor, labels: Tensor | None, rows: Mapping[str, Tensor]
) -> tuple[Tensor, Tensor | None, dict[str, Tensor]]:
    """Returns the store without the rows that no part uses, and the parts' rows in it.

    The store stays as it is when at least nine tenths of it are used: then a copy would cost more than it frees.
    """
    used = torch.cat(list(rows.values()))
    if len(used) >= 0.9 * len(values):
        return values, labels, dict(rows)
    position = torch.full((len(values),), -1)
    position[used] = torch.arange(len(used))
    return (
        values.index_select(0, used),
        None if labels is None else labels.index_select(0, used),
        {name: position[index] for name, index in rows.items()},
    )
