"""The contract of every model: networks, a loss of one family, and who minimises what."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, final

import torch
from torch import Tensor, nn

from genloss.errors import InputError, WorkError, did_you_mean
from genloss.losses import ParameterPenalty
from genloss.models.restraints import AppliedPenalty, PlayerRestraints, Restraint
from genloss.models.terms import Terms

__all__ = ["GenerativeModel", "Player", "Streams"]


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


@dataclass(frozen=True)
class Streams:
    """The random streams that a model draws from, each independent of the others.

    Args:
        noise: latent noise and reparameterisation.
        penalty: interpolation weights and perturbations.
    """

    noise: torch.Generator
    penalty: torch.Generator


class GenerativeModel(nn.Module, ABC):
    """Networks, a loss of one family, and who minimises what.

    A subclass ends its constructor with `_set_players`, and writes `_losses` and `sample`.
    """

    players: tuple[Player, ...]
    loss: Any

    def _set_players(self, players: Sequence[Player], restraints: Sequence[Restraint]) -> None:
        """Takes the players in their order, and gives each its penalties and constraints."""
        self.players = tuple(players)
        given: dict[str, list[Restraint]] = {player.name: [] for player in players}
        for restraint in restraints:
            for name in self._players_of(restraint):
                self._check_restraint(restraint, name)
                given[name].append(restraint)
        self.restraints = nn.ModuleDict(
            {
                player.name: PlayerRestraints(given[player.name], self.module_of(player).parameters())
                for player in players
            }
        )

    def _players_of(self, restraint: Restraint) -> tuple[str, ...]:
        names = [player.name for player in self.players]
        if restraint.player is not None:
            if restraint.player not in names:
                raise InputError(
                    f"{restraint.name} names the player {restraint.player!r}, which a {type(self).__name__} does not "
                    f"have.{did_you_mean(restraint.player, names)}"
                )
            return (restraint.player,)
        loss = restraint.penalty if isinstance(restraint, AppliedPenalty) else restraint.constraint
        # Meant for a player of a game, it falls to the player that a model without a game has.
        return tuple(name for name in loss.players if name in names) or (names[-1],)

    def _check_restraint(self, restraint: Restraint, player: str) -> None:
        """Raises InputError unless the player can be restrained so; here, only in its parameters."""
        if isinstance(restraint, AppliedPenalty) and not isinstance(restraint.penalty, ParameterPenalty):
            raise InputError(
                f"{restraint.name} is a {restraint.penalty.family}: such penalties act on a critic, which a "
                f"{type(self).__name__} does not have; leave it out, or take one on parameters, such as weight_decay."
            )

    def restraints_of(self, player: str) -> PlayerRestraints:
        """Returns the penalties and constraints of a player."""
        restraints = self.restraints[player]
        assert isinstance(restraints, PlayerRestraints)
        return restraints

    def take(self, part: Any) -> None:
        """Takes a loss, penalty or constraint with other numbers in the place of the one that it has."""
        if not isinstance(part, Restraint):
            self.loss = part
            return
        for player in self.players:
            self.restraints_of(player.name).take(part)

    def set_updates(self, **updates: int) -> None:
        """Sets how many updates a turn players make, by their names; the others keep theirs."""
        self.players = tuple(replace(p, updates=updates.get(p.name, p.updates)) for p in self.players)

    @final
    def losses(self, player: str, x: Tensor, streams: Streams, turn: int) -> Terms:
        """Returns the named terms that this player minimises on the batch `x` `(batch, *shape)`.

        Raises:
            InputError: the model has no such player, or its loss cannot work on such a batch.
            WorkError: the loss refused what the networks put out, such as scores that overflow.
        """
        mover = next((candidate for candidate in self.players if candidate.name == player), None)
        if mover is None:
            names = [candidate.name for candidate in self.players]
            raise InputError(f"there is no player {player!r}; the players are {', '.join(names)}.")
        try:
            terms = self._losses(player, x, streams, turn)
            self.restraints_of(player).add_parameter_terms(terms, self.module_of(mover), turn)
        except InputError:
            raise
        except ValueError as error:
            raise WorkError(f"turn {turn}, {player}: {error}") from error
        return terms

    @abstractmethod
    def _losses(self, player: str, x: Tensor, streams: Streams, turn: int) -> Terms:
        """Returns the terms of a player but for its penalties on parameters."""

    @abstractmethod
    def sample(self, n: int, *, rng: torch.Generator) -> Tensor:
        """Draws `n` samples `(n, *shape)`; deterministic given `rng`."""

    def after_update(self, player: str) -> None:
        """Applies what holds after a player's update: constraints on its parameters, and what penalties remember."""
        for mover in self.players:
            if mover.name == player:
                self.restraints_of(player).after_update(self.module_of(mover))

    def averaged_modules(self) -> Iterable[str]:
        """Names the submodules that an exponential moving average follows: those that `sample` uses."""
        return ("generator",)

    def module_of(self, player: Player) -> nn.Module:
        """Returns the submodule that a player moves."""
        return self.get_submodule(player.module)

    def description(self) -> Mapping[str, int]:
        """Returns the number of parameters of every player."""
        return {p.name: sum(q.numel() for q in self.module_of(p).parameters()) for p in self.players}
