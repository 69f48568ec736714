"""The training loop: a generator of events that the terminal, the log, the pictures and the page listen to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from genloss.models.base import Player
from genloss.protocols import CheckpointSaved, Diverged, Evaluated, Event, Finished, StepDone, TurnDone
from genloss.training.memory import return_freed
from genloss.training.state import TrainingState

__all__ = ["Hooks", "Timetable", "train"]


@dataclass(frozen=True)
class Timetable:
    """When the loop does what, in turns; 0 stands for only at the end.

    Args:
        turns: turns of the whole run.
        log_every: turns between two readings of the statistics (one transfer from the device each).
        evaluate_every: turns between two evaluations.
        checkpoint_every: turns between two checkpoints; every evaluation is followed by one besides.
    """

    turns: int
    log_every: int = 50
    evaluate_every: int = 0
    checkpoint_every: int = 0

    def due(self, every: int, turn: int) -> bool:
        """Says whether something that comes `every` so many turns comes after this one."""
        return turn == self.turns or (every > 0 and turn % every == 0)


@dataclass(frozen=True)
class Hooks:
    """What a higher layer hands down.

    Args:
        evaluate: measures the model as `state.sampling()` gives it; must not touch the run's streams.
        better: returns the selecting metric's value when it is no worse than `state.best`, else None.
        save: writes a checkpoint and returns its path; the flag says that it is the best so far.
        stop: asked after every turn; True ends the run in good order.
    """

    evaluate: Callable[[TrainingState], dict[str, float]] | None = None
    better: Callable[[TrainingState, dict[str, float]], float | None] = lambda state, metrics: None
    save: Callable[[TrainingState, bool], Path] | None = None
    stop: Callable[[], bool] = lambda: False


def train(state: TrainingState, timetable: Timetable, hooks: Hooks) -> Iterator[Event]:
    """Runs turns until the timetable's end, a stop, or a value that is not finite.

    In each turn every player, in order, makes its updates; the others are frozen meanwhile. The loop itself prints and
    writes nothing, and reads nothing from the device between two reports.

    Yields:
        `StepDone` an update, `TurnDone` a turn, `Evaluated` and `CheckpointSaved` when they happen, `Diverged` at most
        once, `Finished` last.

    Raises:
        WorkError: a loss or penalty refused what the networks put out, or what a schedule makes of its fields.
    """
    state.model.train()
    return_freed()
    while state.turn < timetable.turns:
        state.turn += 1
        yield from _turn(state)
        log = timetable.due(timetable.log_every, state.turn)
        evaluate = timetable.due(timetable.evaluate_every, state.turn)
        stopping = hooks.stop()
        save = evaluate or stopping or timetable.due(timetable.checkpoint_every, state.turn)
        if (log or save) and (fault := _fault(state, weights=save)):
            yield fault
            yield Finished(fault.turn, "diverged")
            return
        yield TurnDone(state.turn, state.samples, state.history.drain() if log else {})
        best = False
        if save:
            return_freed()
        if evaluate and hooks.evaluate is not None:
            evaluated = _evaluate(state, hooks)
            return_freed()
            yield evaluated
            if isinstance(evaluated, Diverged):
                yield Finished(state.turn, "diverged")
                return
            best = evaluated.best
        if save and hooks.save is not None:
            yield CheckpointSaved(state.turn, hooks.save(state, best))
            return_freed()
        if stopping and state.turn < timetable.turns:
            yield Finished(state.turn, "interrupted")
            return
    yield Finished(state.turn, "finished")


def _fault(state: TrainingState, *, weights: bool) -> Diverged | None:
    """Finds the first value that is not finite since the last call; before a checkpoint, among the weights too."""
    fault = state.history.first_fault()
    if fault is not None or not weights:
        return fault
    for player in state.model.players:
        named = state.parameters(player)
        # The largest weight of each, for a sum of squares would overflow where the weights do not.
        largest = torch._foreach_norm([parameter.detach() for _, parameter in named], float("inf"))
        for (name, _), weight in zip(named, torch.stack(largest).tolist(), strict=True):
            if not abs(weight) < float("inf"):
                return Diverged(state.turn, player.name, f"weights of {name}", weight)
    return None


def _evaluate(state: TrainingState, hooks: Hooks) -> Evaluated | Diverged:
    assert hooks.evaluate is not None
    metrics = hooks.evaluate(state)
    for name, value in metrics.items():
        if not abs(value) < float("inf"):
            return Diverged(state.turn, None, name, value)
    best = hooks.better(state, metrics)
    if best is not None:
        state.best = best
    return Evaluated(state.turn, metrics, best is not None)


def _turn(state: TrainingState) -> Iterator[StepDone]:
    state.follow_schedules()
    moving = [player for player in state.model.players if player.moves(state.turn)]
    batches = [state.batches.next() for _ in range(max(player.updates for player in moving))]
    for player in moving:
        _freeze_others(state, player)
        for x in batches[-player.updates :]:
            values = _update(state, player, x)
            state.history.append(state.turn, player.name, values)
            state.samples += len(x)
            yield StepDone(state.turn, player.name, values)
    state.average()


def _freeze_others(state: TrainingState, player: Player) -> None:
    if len(state.model.players) == 1:
        return
    for other in state.model.players:
        for _, parameter in state.parameters(other):
            parameter.requires_grad_(other is player)


def _update(state: TrainingState, player: Player, x: Tensor) -> dict[str, Tensor]:
    how = state.training[player.name]
    if how.learning_rate is not None:
        for group in how.optimizer.param_groups:
            group["lr"] = how.learning_rate.value(state.turn - 1)
    with state.autocast():
        terms = state.model.losses(player.name, x, state.model_streams, state.turn)
    terms.total().backward()
    parameters = state.parameters(player)
    named = [(name, p.grad) for name, p in parameters if p.grad is not None]
    gradients = [gradient for _, gradient in named]
    norms = torch._foreach_norm(gradients)
    if how.clip_norm is not None:
        total = torch.stack(norms).norm()
        torch._foreach_mul_(gradients, (how.clip_norm / (total + 1e-6)).clamp(max=1.0))
    how.optimizer.step()
    for _, parameter in parameters:  # what zero_grad does, in less time than a small network's layer
        parameter.grad = None
    state.model.after_update(player.name)
    return terms.values() | {f"gradient of {name}": norm for (name, _), norm in zip(named, norms, strict=True)}
