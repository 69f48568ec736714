"""Numbers that change with the turn: learning rates, loss weights."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

__all__ = ["Schedule"]


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """A number that moves from one value to another and stays there.

    Args:
        schedule: `linear`, `cosine` (half a cosine wave), or `cyclical`: a linear ramp over the first half of every
            period of `turns`, then the end value (Fu et al. 2019).
        start_value: the value up to the turn `start`.
        end_value: the value from `start + turns` on.
        start: the turn in which it begins to move.
        turns: how many turns it takes, at least 1.

    Example:
        >>> Schedule(schedule="linear", start_value=1.0, end_value=0.0, start=10, turns=10).value(15)
        0.5
    """

    schedule: Literal["linear", "cosine", "cyclical"]
    start_value: float
    end_value: float
    start: int
    turns: int

    def value(self, turn: int) -> float:
        """Returns the number at a turn, counted from 0."""
        share = (turn - self.start) / self.turns
        if share <= 0:
            return self.start_value
        if self.schedule == "cyclical":
            share = min(2.0 * (share % 1.0), 1.0)
        share = min(share, 1.0)
        if self.schedule == "cosine":
            share = 0.5 - 0.5 * math.cos(math.pi * share)
        return self.start_value + share * (self.end_value - self.start_value)
