"""Training a recipe in a folder, and going on where it stopped."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from genloss.errors import WorkError
from genloss.models.decoding import DecodingModel
from genloss.protocols import Diverged, Evaluated, Event, Finished
from genloss.runs.build import Built, build
from genloss.runs.evaluation import Evaluator
from genloss.runs.fingerprint import code_digests
from genloss.runs.folder import RunFolder
from genloss.runs.listeners import Listener, MetricsFile, Pictures, TensorBoard
from genloss.runs.report import write_run_report
from genloss.runs.schema import Recipe
from genloss.training.checkpoint import load_checkpoint, newest_checkpoint, save_checkpoint
from genloss.training.loop import Hooks, train
from genloss.training.state import TrainingState

__all__ = ["Outcome", "resume_run", "train_run"]


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Args:
        folder: the run.
        status: `finished`, `interrupted` or `diverged`.
        turn: turns made.
        seconds: wall time of this call.
        message: a sentence on a divergence, else empty.
        metrics: the last evaluation.
    """

    folder: Path
    status: str
    turn: int
    seconds: float
    message: str
    metrics: dict[str, float]


class _Stop:
    """What signals ask for: the first Ctrl-C or SIGTERM an end in good order, the second Ctrl-C one at once."""

    def __init__(self) -> None:
        self.asked = False
        self._saving = False
        self._again = False

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.asked and number == signal.SIGINT:
            if not self._saving:
                raise KeyboardInterrupt
            self._again = True
        self.asked = True

    @contextmanager
    def saving(self) -> Iterator[None]:
        """Puts the second Ctrl-C off until the save is whole, for the save is what the first one was for."""
        self._saving = True
        try:
            yield
        finally:
            self._saving = False
        if self._again:
            raise KeyboardInterrupt


@contextmanager
def _stopping() -> Iterator[_Stop]:
    stop = _Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    previous = {number: signal.signal(number, stop.on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def train_run(
    recipe: Recipe,
    notes: Sequence[str] = (),
    tell: Callable[[Built, RunFolder], Sequence[Listener]] | None = None,
    say: Callable[[str], None] = lambda sentence: None,
) -> Outcome:
    """Trains a recipe in a new run folder.

    Args:
        recipe: what to do.
        notes: sentences for the log.
        tell: called with what was built before the first turn; returns more listeners (a progress bar, say).
        say: takes what a person who waits should hear at once: that the run is stopping.

    Raises:
        InputError: the recipe cannot be built; nothing was written then.
        WorkError: a write failed; the last checkpoint is whole.
    """
    with _stopping() as stop:
        built = build(recipe)
        evaluator = _evaluator(built)
        try:
            folder = RunFolder.create(built.recipe, built.dataset, _own_code(built))
        except OSError as error:
            raise WorkError(f"cannot make a run folder in {recipe.runs_dir!r}: {error}.") from error
        with folder.in_use(), TensorBoard.without_traceback():
            return _run(built, evaluator, folder, stop, [*notes, *built.notes], tell, say)


def resume_run(
    path: str | Path,
    tell: Callable[[Built, RunFolder], Sequence[Listener]] | None = None,
    say: Callable[[str], None] = lambda sentence: None,
) -> Outcome:
    """Goes on with a run from its last checkpoint, or from its beginning when it has none yet, and says which.

    On a CPU the result equals that of the run that was not interrupted, bit for bit. `tell` and `say` are those of
    `train_run`.
    """
    folder = RunFolder.open(path)
    folder.check_resumable()
    with folder.in_use(), TensorBoard.without_traceback(), _stopping() as stop:
        built = build(folder.recipe)
        folder.check_data(built.dataset)
        folder.check_code(_own_code(built))
        evaluator = _evaluator(built)
        checkpoint = newest_checkpoint(folder.checkpoints)
        if checkpoint is not None:
            load_checkpoint(folder.checkpoints, built.state, checkpoint)
            done = built.state.turn >= built.timetable.turns
            note = "already finished at turn" if done else "resumed from the checkpoint of turn"
            note = f"{note} {built.state.turn}"
            if checkpoint != "last":
                note += f" ({checkpoint}: the checkpoint 'last' is missing or incomplete)"
        else:
            note = "there is no checkpoint yet: the run begins again from turn 0"
        try:
            folder.rewind(built.state.turn)
        except OSError as error:
            raise WorkError(f"cannot write to {folder.path}: {error}; nothing was lost.") from error
        say(note)
        return _run(built, evaluator, folder, stop, [note], tell, say)


def _own_code(built: Built) -> dict[str, str]:
    model = built.state.model
    losses = [model.loss, model.likelihood] if isinstance(model, DecodingModel) else [model.loss]
    for player in model.players:
        restraints = model.restraints_of(player.name)
        losses += [applied.penalty for applied in restraints.penalties]
        losses += restraints.constraints
    return code_digests(losses)


def _evaluator(built: Built) -> Evaluator:
    evaluator = Evaluator(built.recipe, built.dataset, "select", built.recipe.evaluation.samples)
    evaluator.metric(built.state.model)  # an unknown name is an error now, not after the first evaluation
    return evaluator


def _hooks(evaluator: Evaluator, folder: RunFolder, stop: _Stop, say: Callable[[str], None]) -> Hooks:
    larger: dict[str, bool] = {}

    def evaluate(state: TrainingState) -> dict[str, float]:
        values = evaluator.quick(state)
        larger.update({name: value.higher_is_better for name, value in values.items()})
        return {name: value.value for name, value in values.items()}

    def better(state: TrainingState, metrics: dict[str, float]) -> float | None:
        name = evaluator.metric(state.model)
        value = metrics[name]
        # A metric that saturates ties for long; of equals the later one has trained more.
        if state.best is None or (value >= state.best if larger[name] else value <= state.best):
            return value
        return None

    def save(state: TrainingState, best: bool) -> Path:
        with stop.saving():
            return save_checkpoint(folder.checkpoints, state, best=best)

    def stopping() -> bool:
        if stop.asked:
            say("stopping after this turn: saving ...")
        return stop.asked

    return Hooks(evaluate=evaluate, better=better, save=save, stop=stopping)


def _run(
    built: Built,
    evaluator: Evaluator,
    folder: RunFolder,
    stop: _Stop,
    notes: Sequence[str],
    tell: Callable[[Built, RunFolder], Sequence[Listener]] | None,
    say: Callable[[str], None],
) -> Outcome:
    begin = time.monotonic()
    message, status, metrics = "", "interrupted", dict[str, float]()
    try:
        file = MetricsFile(folder)
        for note in notes:
            file.log(note)
        pictures = Pictures(folder, built)
        board = TensorBoard(folder, built.state.turn)
        listeners: list[Listener] = [file, board, pictures, *(tell(built, folder) if tell else ())]
        for event in train(built.state, built.timetable, _hooks(evaluator, folder, stop, say)):
            for listener in listeners:
                listener(event)
            message, status, metrics = _read(event, message, status, metrics)
        board.close()
        file.close()
        write_run_report(folder, built.recipe)
    except OSError as error:
        kept = "The last checkpoint is whole" if folder.saved() else "There was no checkpoint yet"
        raise WorkError(
            f"a write to {folder.path} failed: {error}. {kept}; mend the cause (free space, say) and go on with "
            f"`genloss resume {folder.path}`."
        ) from error
    return Outcome(folder.path, status, built.state.turn, time.monotonic() - begin, message, metrics)


def _read(event: Event, message: str, status: str, metrics: dict[str, float]) -> tuple[str, str, dict[str, float]]:
    if isinstance(event, Diverged):
        message = event.sentence()
    elif isinstance(event, Evaluated):
        metrics = event.metrics
    elif isinstance(event, Finished):
        status = event.status
    return message, status, metrics
