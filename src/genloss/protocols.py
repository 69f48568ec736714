"""What the layers say to each other: the events of a training run and the capabilities of a model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

__all__ = [
    "CheckpointSaved",
    "Decodes",
    "Diverged",
    "Encodes",
    "Evaluated",
    "Event",
    "Finished",
    "HasBound",
    "Reconstructs",
    "StepDone",
    "TurnDone",
]


@dataclass(frozen=True)
class StepDone:
    """One player made one update. The values stay on the device: reading one synchronises.

    Args:
        turn: the turn it belongs to, from 1.
        player: whose parameters moved.
        values: scalar tensors by name, in the order in which they were computed, the gradient norms last.
    """

    turn: int
    player: str
    values: dict[str, Tensor]


@dataclass(frozen=True)
class TurnDone:
    """Every player made its updates. `statistics` holds the means since the last ones, or is empty.

    Args:
        turn: turns made so far.
        samples: training samples that all players have processed so far.
        statistics: `player/name` -> mean over the turns since the last non-empty statistics.
    """

    turn: int
    samples: int
    statistics: dict[str, float]


@dataclass(frozen=True)
class Evaluated:
    """The model was measured on held-out data. `best` says that the selecting metric improved."""

    turn: int
    metrics: dict[str, float]
    best: bool


@dataclass(frozen=True)
class CheckpointSaved:
    """A whole checkpoint lies at `path`, synced to the disk."""

    turn: int
    path: Path


@dataclass(frozen=True)
class Diverged:
    """A value stopped being finite: the run ends, the last good checkpoint stays.

    Args:
        turn: the turn of the first value that was not finite.
        player: whose update it was; None for a metric, which is no player's.
        tensor: the first tensor at fault: a term, a score, the gradient of a named parameter, or the metric.
        value: what it held, `nan`, `inf` or `-inf`.
    """

    turn: int
    player: str | None
    tensor: str
    value: float

    def sentence(self) -> str:
        """The finding in one sentence."""
        if self.player is None:
            return (
                f"the run diverged: measured at turn {self.turn}, {self.tensor!r} was {self.value}; lower the learning "
                "rates, clip the gradients or add a penalty."
            )
        return (
            f"the run diverged at turn {self.turn}: {self.tensor!r} of player {self.player!r} became {self.value}; "
            "lower its learning rate, clip its gradient or add a penalty."
        )


@dataclass(frozen=True)
class Finished:
    """The last event of a run: `status` is `finished`, `interrupted` or `diverged`."""

    turn: int
    status: str


Event = StepDone | TurnDone | Evaluated | CheckpointSaved | Diverged | Finished


@runtime_checkable
class Encodes(Protocol):
    """Maps data to a latent code."""

    def encode(self, x: Tensor) -> Tensor:
        """Returns the codes `(batch, latent)` of `x`."""
        ...


@runtime_checkable
class Decodes(Protocol):
    """Maps latent codes to data."""

    def decode(self, z: Tensor) -> Tensor:
        """Returns the data `(batch, *shape)` of the codes `z` `(batch, latent)`."""
        ...


@runtime_checkable
class Reconstructs(Protocol):
    """Maps data to its reconstruction."""

    def reconstruct(self, x: Tensor) -> Tensor:
        """Returns `x` after encoding and decoding."""
        ...


@runtime_checkable
class HasBound(Protocol):
    """Bounds the log-likelihood of data from below."""

    @property
    def bound_name(self) -> str:
        """Which bound, under which density of the data: two bounds compare only when these are equal."""
        ...

    def bound(self, x: Tensor, rng: torch.Generator) -> Tensor:
        """Returns a lower bound of log p(x) in nats, `(batch,)`."""
        ...
