"""Statistics that accumulate on the device and are read in one transfer, where the first fault is found too."""

from __future__ import annotations

from functools import reduce
from typing import Any

import torch
from torch import Tensor

from genloss.protocols import Diverged

__all__ = ["History"]

_GRADIENT = "gradient of "


class History:
    """The values of the turns since the last report, one row an update.

    Nothing is read from the device until `drain` or `first_fault`.
    """

    def __init__(self) -> None:
        self._rows: list[tuple[int, str, tuple[str, ...], Tensor]] = []
        self._faultless = 0
        self._stores: dict[tuple[str, ...], Tensor] = {}
        self._used: dict[tuple[str, ...], int] = {}

    def append(self, turn: int, player: str, values: dict[str, Tensor]) -> None:
        """Keeps the scalars of one update; norms of named gradients have names that begin with `gradient of`."""
        names = tuple(values)
        scalars = list(values.values())
        row = self._free_row((player, *names), scalars)
        torch.stack(scalars, out=row)
        self._rows.append((turn, player, names, row))

    def _free_row(self, key: tuple[str, ...], scalars: list[Tensor]) -> Tensor:
        """Returns a row of a store that outlives the reports, in float32 or better whatever the networks compute in.

        A scalar kept by itself would pin the end of the heap between two updates, and the heap would grow around it.
        """
        used = self._used.get(key, 0)
        store = self._stores.get(key)
        if store is None or used == len(store):
            dtype = reduce(torch.promote_types, (scalar.dtype for scalar in scalars), torch.float32)
            store = scalars[0].new_empty(max(64, 2 * used), len(scalars), dtype=dtype)
            self._stores[key] = store
            used = 0
        self._used[key] = used + 1
        return store[used]

    def first_fault(self) -> Diverged | None:
        """Returns the first value since the last call that is not finite, in the order of computation."""
        rows = self._rows[self._faultless :]
        if not rows:
            return None
        flat = torch.cat([row[3] for row in rows]).tolist()
        position = 0
        for turn, player, names, _ in rows:
            for name in names:
                value = flat[position]
                position += 1
                if not abs(value) < float("inf"):
                    return Diverged(turn, player, name, value)
        self._faultless = len(self._rows)
        return None

    def drain(self) -> dict[str, float]:
        """Returns `player/name` -> mean over the kept rows and forgets them; gradients become one norm a player."""
        sums: dict[str, tuple[float, int]] = {}
        flat = torch.cat([row[3] for row in self._rows]).tolist() if self._rows else []
        position = 0
        for _, player, names, _ in self._rows:
            squared = 0.0
            for name in names:
                value = flat[position]
                position += 1
                if name.startswith(_GRADIENT):
                    squared += value * value
                else:
                    total, count = sums.get(f"{player}/{name}", (0.0, 0))
                    sums[f"{player}/{name}"] = (total + value, count + 1)
            total, count = sums.get(f"{player}/gradient_norm", (0.0, 0))
            sums[f"{player}/gradient_norm"] = (total + squared**0.5, count + 1)
        self._rows = []
        self._used = {}
        self._faultless = 0
        return {name: total / count for name, (total, count) in sums.items()}

    def state_dict(self) -> dict[str, Any]:
        """Returns the kept rows, so that a resumed run reports the same means."""
        return {"rows": [(turn, player, list(names), values.clone()) for turn, player, names, values in self._rows]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over saved rows."""
        self._rows = [(turn, player, tuple(names), values) for turn, player, names, values in state["rows"]]
        self._faultless = len(self._rows)
