"""Checkpoints: weights as safetensors, the rest beside them, each whole or absent."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import safetensors.torch
import torch

from genloss.errors import InputError
from genloss.training.state import TrainingState
from genloss.training.storage import point, write_folder

__all__ = ["has_checkpoint", "load_checkpoint", "load_weights", "save_checkpoint"]

WEIGHTS = "weights.safetensors"
STATE = "state.pt"


def save_checkpoint(folder: Path, state: TrainingState, *, best: bool) -> Path:
    """Writes a checkpoint to `folder`, points `last` (and `best`) to it and prunes those that nothing points to.

    Returns:
        The checkpoint's own folder, named by its turn.
    """
    buffer = io.BytesIO()
    torch.save(state.state_dict(), buffer)
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in state.weights().items()}
    content = {
        WEIGHTS: safetensors.torch.save(weights, {"format": "pt", "turn": str(state.turn)}),
        STATE: buffer.getvalue(),
    }
    target = folder / f"turn-{state.turn:08d}"
    if target.exists():
        # Saved before the run was resumed from an earlier turn; a folder cannot be replaced in one step.
        target = _unused(target)
    write_folder(target, content)
    if best:  # first, for `last` is where a resumed run starts: whatever it repeats, it repeats whole
        point(folder / "best", target)
    point(folder / "last", target)
    _prune(folder)
    return target


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


def load_weights(folder: Path, which: str, state: TrainingState) -> int:
    """Loads the weights of `last` or `best` into a state and returns the turn they come from."""
    path = folder / which / WEIGHTS
    if not path.is_file():
        raise InputError(f"{folder.parent} has no checkpoint {which!r} yet; train the run first.")
    tensors = safetensors.torch.load_file(path)
    try:
        state.load_weights(tensors)
    except RuntimeError as error:
        raise InputError(f"the weights in {path} do not fit the run's recipe: {error}") from error
    with safetensors.safe_open(path, "pt") as file:
        return int(file.metadata()["turn"])


def load_checkpoint(folder: Path, state: TrainingState) -> None:
    """Loads the checkpoint `last` into a state, so that training goes on as if it had not stopped."""
    load_weights(folder, "last", state)
    device = next(state.model.parameters()).device
    content = torch.load(folder / "last" / STATE, map_location=device, weights_only=True)
    for name, rng_state in content["streams"].items():
        content["streams"][name] = rng_state.cpu()
    content["batches"]["epoch_state"] = content["batches"]["epoch_state"].cpu()
    state.load_state_dict(content)
