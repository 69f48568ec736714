"""What restrains a player beside its loss: penalties with a weight, and constraints after its updates."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from genloss.errors import InputError
from genloss.losses import Constraint, FeaturePenalty, ParameterPenalty, Penalty
from genloss.losses._fields import at_least, not_negative
from genloss.models.terms import Memory, Terms

__all__ = ["AppliedConstraint", "AppliedPenalty", "PlayerRestraints", "Restraint"]


@dataclass(frozen=True)
class AppliedPenalty:
    """A penalty with its weight, computed every `interval` turns (and then `interval` times as heavy).

    Args:
        penalty: on samples, parameters or features.
        weight: factor of its mean, at least 0.
        interval: compute it in every `interval`-th turn only, at least 1.
        player: who minimises it; None for the players that the penalty is meant for.

    Raises:
        ValueError: the weight or the interval is out of range.
    """

    penalty: Penalty | ParameterPenalty | FeaturePenalty
    weight: float = 1.0
    interval: int = 1
    player: str | None = None

    def __post_init__(self) -> None:
        not_negative(weight=self.weight)
        at_least(1, interval=self.interval)

    @property
    def name(self) -> str:
        """The name of its term."""
        return _name(self.penalty)


@dataclass(frozen=True)
class AppliedConstraint:
    """A constraint on a player's parameters, applied after each of its updates.

    Args:
        constraint: the constraint.
        player: whose parameters; None for the players that the constraint is meant for.
    """

    constraint: Constraint
    player: str | None = None

    @property
    def name(self) -> str:
        """The name by which a message calls it."""
        return _name(self.constraint)


Restraint = AppliedPenalty | AppliedConstraint


def _name(of: Penalty | ParameterPenalty | FeaturePenalty | Constraint) -> str:
    # One of a person's own need not have a card.
    card = getattr(of, "card", None)
    return type(of).__name__ if card is None else card.name


class PlayerRestraints(nn.Module):
    """The penalties and constraints of one player, with what they remember.

    Args:
        restraints: those of this player.
        parameters: the player's parameters.

    Raises:
        InputError: a penalty or constraint is given twice.
    """

    def __init__(self, restraints: Sequence[Restraint], parameters: Iterable[Tensor]) -> None:
        super().__init__()
        names = [restraint.name for restraint in restraints]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise InputError(f"{', '.join(twice)} is given twice for one player; give it once, with its whole weight.")
        self._keep(restraints)
        kept = list(parameters)
        self.memories = nn.ModuleDict()
        for applied in self.penalties:
            penalty = applied.penalty
            if isinstance(penalty, ParameterPenalty):
                self.memories[applied.name] = Memory(penalty.init_state(kept))
            elif isinstance(penalty, Penalty):
                self.memories[applied.name] = Memory(penalty.init_state())

    def _keep(self, restraints: Sequence[Restraint]) -> None:
        self._restraints = tuple(restraints)
        self.penalties = tuple(r for r in restraints if isinstance(r, AppliedPenalty))
        self.constraints = tuple(r.constraint for r in restraints if isinstance(r, AppliedConstraint))

    def take(self, restraint: Restraint) -> None:
        """Takes a restraint in the place of that of its name which names the same player; what it remembers stays."""
        same = (restraint.name, restraint.player)
        self._keep([restraint if (own.name, own.player) == same else own for own in self._restraints])

    def due(self, turn: int) -> list[AppliedPenalty]:
        """Returns the penalties of this turn."""
        return [applied for applied in self.penalties if turn % applied.interval == 0]

    def memory(self, applied: AppliedPenalty) -> Memory:
        """Returns what a penalty remembers."""
        memory = self.memories[applied.name]
        assert isinstance(memory, Memory)
        return memory

    def add_parameter_terms(self, terms: Terms, module: nn.Module, turn: int) -> None:
        """Adds the penalties on parameters that are due."""
        for applied in self.due(turn):
            if isinstance(applied.penalty, ParameterPenalty):
                values = applied.penalty(module.parameters(), state=self.memory(applied).state())
                terms.add(applied.name, values, weight=applied.weight * applied.interval)

    def after_update(self, module: nn.Module) -> None:
        """Applies the constraints, and lets the penalties on parameters remember where these went."""
        for constraint in self.constraints:
            constraint.apply_(module.parameters())
        for applied in self.penalties:
            if isinstance(applied.penalty, ParameterPenalty):
                memory = self.memory(applied)
                memory.replace(applied.penalty.next_state(memory.state(), module.parameters()))
