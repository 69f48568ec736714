"""Checkpoints: weights as safetensors, the rest beside them, each whole or absent."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import safetensors.torch
import torch

from genloss.errors import InputError
from genloss.training.state import TrainingState
from genloss.training.storage import Content, point, write_folder

__all__ = ["has_checkpoint", "load_checkpoint", "load_weights", "newest_checkpoint", "save_checkpoint"]

WEIGHTS = "weights.safetensors"
STATE = "state.pt"


def save_checkpoint(folder: Path, state: TrainingState, *, best: bool) -> Path:
    """Writes a checkpoint to `folder`, points `last` (and `best`) to it and prunes those that nothing points to.

    Returns:
        The checkpoint's own folder, named by its turn.
    """
    target = folder / f"turn-{state.turn:08d}"
    if target.exists():
        # Saved before the run was resumed from an earlier turn; a folder cannot be replaced in one step.
        target = _unused(target)
    write_folder(target, _files(state))
    if best:  # first, for `last` is where a resumed run starts: whatever it repeats, it repeats whole
        point(folder / "best", target)
    point(folder / "last", target)
    _prune(folder)
    return target


def _files(state: TrainingState) -> Iterator[tuple[str, Content]]:
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in state.weights().items()}
    yield WEIGHTS, safetensors.torch.save(weights, {"format": "pt", "turn": str(state.turn)})
    yield STATE, lambda file: torch.save(state.state_dict(), file)


def _unused(target: Path) -> Path:
    number = 2
    while (candidate := target.with_name(f"{target.name}-{number}")).exists():
        number += 1
    return candidate


def _prune(folder: Path) -> None:
    kept = {(folder / name).resolve() for name in ("last", "best") if (folder / name).exists()}
    for entry in folder.iterdir():
        leftover = entry.name.startswith(".") and entry.name.endswith(".tmp")
        if not entry.is_symlink() and entry.is_dir() and (leftover or entry.resolve() not in kept):
            shutil.rmtree(entry)


def has_checkpoint(folder: Path, which: str = "last") -> bool:
    """Says whether the folder of checkpoints holds a whole one of this name."""
    return (folder / which / WEIGHTS).is_file() and (folder / which / STATE).is_file()


def newest_checkpoint(folder: Path) -> str | None:
    """Returns the checkpoint to go on from: `last`, or the newest whole one where that is lost; None before the first.

    Raises:
        InputError: there are checkpoints, and none is whole.
    """
    if has_checkpoint(folder):
        return "last"
    found = [name for name in ("last", "best") if (folder / name).is_dir() or (folder / name).is_symlink()]
    found += sorted(entry.name for entry in folder.glob("turn-*"))
    whole = [name for name in found if has_checkpoint(folder, name)]
    if found and not whole:
        raise InputError(
            f"{folder} holds {', '.join(found)}, and none of them is whole ({WEIGHTS} and {STATE}); put the missing "
            f"files back, or train a new run. Nothing was changed."
        )
    return whole[-1] if whole else None


def load_weights(folder: Path, which: str, state: TrainingState) -> int:
    """Loads the weights of `last` or `best` into a state and returns the turn they come from."""
    path = folder / which / WEIGHTS
    if not path.is_file():
        raise InputError(f"{folder.parent} has no checkpoint {which!r} yet; train the run first.")
    with _reading(path):
        tensors = safetensors.torch.load_file(path)
        with safetensors.safe_open(path, "pt") as file:
            turn = int(file.metadata()["turn"])
    try:
        state.load_weights(tensors)
    except RuntimeError as error:
        reason = " ".join(str(error).partition("\n")[2].split()) or str(error)
        raise InputError(
            f"the weights in {path} do not fit the run's recipe: {reason[:300]} Put back the file that the run wrote; "
            f"`genloss sample` and `evaluate` read another checkpoint with --checkpoint."
        ) from error
    state.turn = turn
    state.follow_schedules()
    return turn


def load_checkpoint(folder: Path, state: TrainingState, which: str = "last") -> None:
    """Loads a checkpoint into a state, so that training goes on as if it had not stopped."""
    load_weights(folder, which, state)
    device = next(state.model.parameters()).device
    path = folder / which / STATE
    with _reading(path):
        content = torch.load(path, map_location=device, weights_only=True)
        for name, rng_state in content["streams"].items():
            content["streams"][name] = rng_state.cpu()
        content["batches"]["epoch_state"] = content["batches"]["epoch_state"].cpu()
        state.load_state_dict(content)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Says of a file that cannot be read, whatever its reader raises, that it is damaged and what else there is."""
    try:
        yield
    except Exception as error:
        raise InputError(
            f"{path} is damaged: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'empty'}. Put "
            f"a whole copy in its place; `genloss sample` and `evaluate` read another one with --checkpoint."
        ) from error
