"""Numbers that change with the turn: learning rates, weights, fields of a loss."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

__all__ = ["Schedule", "Scheduled"]


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


@dataclass(frozen=True)
class Scheduled:
    """A loss, penalty or constraint of which some fields change with the turn.

    Args:
        name: how messages call it, the key of the recipe.
        of: a frozen dataclass.
        fields: how its fields change; one that holds another such object is a `Scheduled` itself.

    Example:
        >>> from genloss.losses import WeightClip
        >>> fall = Schedule(schedule="linear", start_value=0.5, end_value=0.0, start=0, turns=5)
        >>> Scheduled("penalties[0]", WeightClip(), {"bound": fall}).value(1)
        WeightClip(bound=0.4)
    """

    name: str
    of: Any
    fields: Mapping[str, Schedule | Scheduled]

    def value(self, turn: int) -> Any:
        """Returns the object at a turn, counted from 0; all its fields change at once.

        Raises:
            ValueError: the object refuses their values; the message names the turn as the loop counts it, from 1.
        """
        values = {name: field.value(turn) for name, field in self.fields.items()}
        try:
            return replace(self.of, **values)
        except Exception as error:  # code of one's own may raise anything
            numbers = [f"{self.name}.{name} is {v:.6g}" for name, v in values.items() if isinstance(v, (int, float))]
            said = str(error) or type(error).__name__
            raise ValueError(f"{' and '.join(numbers) or self.name} in turn {turn + 1}: {said}") from error

    def schedules(self) -> list[Schedule]:
        """Returns the schedules of its fields and of the objects that they hold."""
        parts = (part.schedules() if isinstance(part, Scheduled) else [part] for part in self.fields.values())
        return [schedule for part in parts for schedule in part]
