"""The contract of every model: networks, a loss of one family, and who minimises what."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["GenerativeModel", "Memory", "Player", "Streams", "Terms"]


@dataclass(frozen=True)
class Player:
    """A named group of parameters that minimises its own loss.

    Args:
        name: the key of the recipe that holds its optimiser (`train.generator`).
        module: the name of the model's submodule that it moves.
        updates: updates a turn.
        first_turn: the first turn in which it moves, from 1.
        last_turn: the last one, or None.
    """

    name: str
    module: str
    updates: int = 1
    first_turn: int = 1
    last_turn: int | None = None

    def moves(self, turn: int) -> bool:
        """Says whether the player makes its updates in this turn."""
        return self.first_turn <= turn and (self.last_turn is None or turn <= self.last_turn)


@dataclass
class Terms:
    """The named terms of one player's loss, per sample or already reduced, with their weights.

    Every sum and mean is taken here. The order is kept, so that the first term that stops being finite can be named.

    Example:
        >>> terms = Terms()
        >>> terms.add("loss", torch.tensor([1.0, 3.0]))
        >>> terms.add("r1", torch.tensor([0.5, 0.5]), weight=10.0)
        >>> terms.total().item()
        7.0
    """

    parts: dict[str, tuple[Tensor, float]] = field(default_factory=dict)
    statistics: dict[str, Tensor] = field(default_factory=dict)

    def add(self, name: str, values: Tensor, *, weight: float = 1.0) -> None:
        """Adds `weight * mean(values)` to what is minimised."""
        self.parts[name] = (values.mean(), weight)

    def note(self, name: str, values: Tensor) -> None:
        """Reports `mean(values)` without minimising it."""
        self.statistics[name] = values.detach().mean()

    def total(self) -> Tensor:
        """Returns the scalar that the player minimises."""
        total: Tensor | None = None
        for value, weight in self.parts.values():
            weighted = value if weight == 1.0 else weight * value
            total = weighted if total is None else total + weighted
        if total is None:
            raise ValueError("a player's loss has no term; add at least one.")
        return total

    def values(self) -> dict[str, Tensor]:
        """Returns every statistic and every term (unweighted) as detached scalars, statistics first."""
        return self.statistics | {name: value.detach() for name, (value, _) in self.parts.items()}


@dataclass(frozen=True)
class Streams:
    """The random streams that a model draws from, each independent of the others.

    Args:
        noise: latent noise and reparameterisation.
        penalty: interpolation weights and perturbations.
    """

    noise: torch.Generator
    penalty: torch.Generator


class Memory(nn.Module):
    """The memory of a loss or a penalty, kept as buffers: saved, resumed and moved like any other."""

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        super().__init__()
        for name, value in state.items():
            self.register_buffer(name, value.clone())

    def state(self) -> dict[str, Tensor]:
        """Returns the memory by name."""
        return dict(self.named_buffers())

    def replace(self, state: Mapping[str, Tensor]) -> None:
        """Takes over the memory after an update."""
        for name, buffer in self.named_buffers():
            setattr(self, name, state[name].to(buffer))


class GenerativeModel(nn.Module, ABC):
    """Networks, a loss of one family, and who minimises what."""

    players: tuple[Player, ...]
    loss: Any

    @abstractmethod
    def losses(self, player: str, x: Tensor, streams: Streams, turn: int) -> Terms:
        """Returns the named terms that this player minimises on the batch `x` `(batch, *shape)`."""

    @abstractmethod
    def sample(self, n: int, *, rng: torch.Generator) -> Tensor:
        """Draws `n` samples `(n, *shape)`; deterministic given `rng`."""

    def after_update(self, player: str) -> None:
        """Applies what holds after a player's update: constraints on its parameters."""

    def averaged_modules(self) -> Iterable[str]:
        """Names the submodules that an exponential moving average follows: those that `sample` uses."""
        return ("generator",)

    def module_of(self, player: Player) -> nn.Module:
        """Returns the submodule that a player moves."""
        return self.get_submodule(player.module)

    def description(self) -> Mapping[str, int]:
        """Returns the number of parameters of every player."""
        return {p.name: sum(q.numel() for q in self.module_of(p).parameters()) for p in self.players}
