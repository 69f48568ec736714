"""Everything that moves during a run: parameters, optimisers, averages, streams, position."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from genloss.errors import WorkError
from genloss.models.base import GenerativeModel, Player, Streams
from genloss.training.batches import BatchStream
from genloss.training.history import History
from genloss.training.schedule import Schedule, Scheduled

__all__ = ["PlayerTraining", "TrainingState"]


@dataclass(frozen=True)
class PlayerTraining:
    """How one player is optimised.

    Args:
        optimizer: over the player's parameters.
        learning_rate: the schedule that overrides the optimiser's learning rate, or None.
        clip_norm: largest norm of the player's gradient, or None.
    """

    optimizer: torch.optim.Optimizer
    learning_rate: Schedule | None = None
    clip_norm: float | None = None


@dataclass
class TrainingState:
    """A model in training.

    Args:
        model: the model, in training mode.
        training: how each player is optimised, by its name.
        batches: the training batches.
        streams: the random streams by name.
        ema: decay of the exponential moving average of the sampling networks, or None.
        precision: dtype of the networks' autocast, float32 for none.
        scheduled: the model's loss, penalties and constraints of which fields change with the turn.
    """

    model: GenerativeModel
    training: Mapping[str, PlayerTraining]
    batches: BatchStream
    streams: dict[str, torch.Generator]
    ema: float | None = None
    precision: torch.dtype = torch.float32
    scheduled: Sequence[Scheduled] = ()
    turn: int = 0
    samples: int = 0
    best: float | None = None
    history: History = field(default_factory=History)

    def __post_init__(self) -> None:
        # Walking the modules for the names takes longer than a small network's update.
        self._parameters = {player.name: self._named(player) for player in self.model.players}
        self.averaged: dict[str, nn.Module] = {}
        if self.ema is not None:
            for name in self.model.averaged_modules():
                self.averaged[name] = copy.deepcopy(self.model.get_submodule(name)).requires_grad_(False)

    @property
    def model_streams(self) -> Streams:
        """The streams that the model draws from."""
        return Streams(self.streams["noise"], self.streams["penalty"])

    @property
    def updates(self) -> int:
        """Batches that a turn takes: the most updates that any player makes."""
        return max(player.updates for player in self.model.players)

    def parameters(self, player: Player) -> list[tuple[str, nn.Parameter]]:
        """Returns a player's parameters by their names in the model."""
        return self._parameters[player.name]

    def _named(self, player: Player) -> list[tuple[str, nn.Parameter]]:
        prefix = f"{player.module}." if player.module else ""
        return [(prefix + name, p) for name, p in self.model.module_of(player).named_parameters()]

    def follow_schedules(self) -> None:
        """Gives the model's loss, penalties and constraints the numbers of this turn, which alone decides them.

        Raises:
            WorkError: one of them refuses its numbers.
        """
        try:
            for part in self.scheduled:
                self.model.take(part.value(max(0, self.turn - 1)))
        except ValueError as error:
            raise WorkError(str(error)) from error

    def average(self) -> None:
        """Moves the averages one step towards the current weights; buffers are copied."""
        if self.ema is None:
            return
        for name, averaged in self.averaged.items():
            source = self.model.get_submodule(name)
            with torch.no_grad():
                torch._foreach_lerp_(list(averaged.parameters()), list(source.parameters()), 1.0 - self.ema)
                for buffer, new in zip(averaged.buffers(), source.buffers(), strict=True):
                    buffer.copy_(new)

    @contextmanager
    def sampling(self) -> Iterator[GenerativeModel]:
        """Yields the model as it is measured: averaged weights, evaluation mode, float32, no gradients."""
        current = {name: self.model.get_submodule(name) for name in self.averaged}
        training = self.model.training
        try:
            for name, module in self.averaged.items():
                setattr(self.model, name, module)
            self.model.eval()
            with torch.no_grad():
                yield self.model
        finally:
            for name, module in current.items():
                setattr(self.model, name, module)
            self.model.train(training)

    def autocast(self) -> AbstractContextManager[object]:
        """Returns the context in which the networks run."""
        if self.precision == torch.float32:
            return nullcontext()  # a disabled autocast takes as long as a layer of a small network
        return torch.autocast(next(self.model.parameters()).device.type, dtype=self.precision)

    def weights(self) -> dict[str, Tensor]:
        """Returns every parameter and buffer, those of the averages under `ema.`."""
        tensors = dict(self.model.state_dict())
        for name, module in self.averaged.items():
            tensors |= {f"ema.{name}.{key}": value for key, value in module.state_dict().items()}
        return tensors

    def load_weights(self, tensors: Mapping[str, Tensor]) -> None:
        """Takes over what `weights` returned."""
        own = {key: value for key, value in tensors.items() if not key.startswith("ema.")}
        self.model.load_state_dict(own)
        for name, module in self.averaged.items():
            prefix = f"ema.{name}."
            module.load_state_dict({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})

    def state_dict(self) -> dict[str, Any]:
        """Returns all but the weights: optimisers, streams, position, statistics under way."""
        return {
            "turn": self.turn,
            "samples": self.samples,
            "best": self.best,
            "batches": self.batches.state_dict(),
            "streams": {name: rng.get_state() for name, rng in self.streams.items()},
            "optimizers": {name: how.optimizer.state_dict() for name, how in self.training.items()},
            "history": self.history.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes over what `state_dict` returned."""
        self.turn = state["turn"]
        self.samples = state["samples"]
        self.best = state["best"]
        self.batches.load_state_dict(state["batches"])
        for name, rng in self.streams.items():
            rng.set_state(state["streams"][name])
        for name, how in self.training.items():
            how.optimizer.load_state_dict(state["optimizers"][name])
        self.history.load_state_dict(state["history"])
        self.follow_schedules()
