"""Reading a trained run back: its model, its metrics, its samples in a file."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from genloss.data import Standardisation
from genloss.errors import InputError, WorkError
from genloss.metrics import MetricValue
from genloss.runs.build import Built, build
from genloss.runs.evaluation import Evaluator, all_finite, draw
from genloss.runs.folder import RunFolder
from genloss.runs.listeners import provenance
from genloss.runs.pictures import picture
from genloss.training.checkpoint import load_weights
from genloss.training.randomness import stream
from genloss.training.storage import write_file

__all__ = ["evaluate_run", "open_run", "sample_run"]


def open_run(path: str | Path, which: str | None = None, *, data: bool = True) -> tuple[RunFolder, Built, str]:
    """Opens a run with the weights of a checkpoint: `best` where there is one, else `last`.

    Args:
        path: the run's folder.
        which: the checkpoint.
        data: False where only the model is wanted: its data need not be there then.

    Returns:
        The folder, what was built, and which checkpoint it is, as `best (turn 500)`.
    """
    folder = RunFolder.open(path)
    saved = folder.saved()
    chosen = which or (saved[0] if saved else "last")
    if chosen not in saved:
        raise InputError(f"{folder.path} has no checkpoint {chosen!r}; {_instead(folder, saved)}.")
    outline = None if data else folder.outline()
    built = build(folder.recipe, outline)
    if outline is None:
        folder.check_data(built.dataset)
    turn = load_weights(folder.checkpoints, chosen, built.state)
    return folder, built, f"{chosen} (turn {turn})"


def _instead(folder: RunFolder, saved: list[str]) -> str:
    if saved:
        return f"it has {' and '.join(saved)}"
    if folder.status() == "diverged":  # resumed, it would begin again and diverge again
        return "it diverged before the first one; train a new run with a lower learning rate or another loss"
    return f"go on with `genloss resume {folder.path}`"


def evaluate_run(
    path: str | Path, *, split: str = "test", samples: int = 10_000, which: str | None = None
) -> tuple[dict[str, MetricValue], list[str], str]:
    """Measures a run on a split.

    Returns:
        Every metric that its data allow, a sentence for each that they do not, and which checkpoint it is.
    """
    _, built, checkpoint = open_run(path, which)
    metrics, left_out = Evaluator(built.recipe, built.dataset, split, samples).full(built.state)
    return metrics, left_out, checkpoint


def sample_run(path: str | Path, n: int, output: Path, *, seed: int = 0, which: str | None = None) -> Path:
    """Draws samples into a file: a picture (.png), arrays (.npz) or a table (.csv), by its ending.

    The data that the run was trained on need not be there.

    Raises:
        InputError: another ending, or a file that exists.
        WorkError: the samples are not finite, or the file cannot be written.
    """
    kinds = (".png", ".npz", ".csv")
    if output.suffix not in kinds:
        raise InputError(f"{str(output)!r} ends in {output.suffix!r}, expected one of {', '.join(kinds)}.")
    if output.exists():
        raise InputError(f"{str(output)!r} exists; name another file or remove it.")
    folder, built, checkpoint = open_run(path, which, data=False)
    device = next(built.state.model.parameters()).device
    with built.state.sampling() as model:
        x = draw(model, n, stream(seed, "sample", device))
    if not all_finite(x):
        raise WorkError(
            f"the {checkpoint} of {folder.path} generates values that are not finite, so its weights are spoilt; take "
            "the other checkpoint with --checkpoint, or train again with a lower learning rate. Nothing was written."
        )
    marks = provenance(folder, checkpoint, seed)
    if output.suffix == ".png":
        real = built.dataset.all("test", limit=n).x if built.dataset.kind == "points" else None
        content = picture(x, built.dataset, real, f"{folder.path.name}, {checkpoint}", marks)
    else:
        content = _arrays(_original_units(x, built), output.suffix, marks, built)
    try:
        return write_file(output, content)
    except OSError as error:
        raise WorkError(f"cannot write {str(output)!r}: {error}.") from error


def _original_units(x: Tensor, built: Built) -> Tensor:
    scale = built.dataset.standardisation
    return x.cpu() if scale is None else scale.invert(x.cpu())


def _digits(scale: Standardisation | None, columns: int) -> list[int]:
    """Returns how many digits of each column float32 holds: those of its spread, and those of its mean before them."""
    if scale is None:
        return [7] * columns
    before = (scale.mean.abs() / scale.scale).clamp(min=1.0).log10().ceil()
    return (7 + before).clamp(max=17).int().tolist()


def _arrays(x: Tensor, suffix: str, marks: dict[str, str], built: Built) -> bytes:
    buffer = io.BytesIO()
    if suffix == ".npz":
        arrays: dict[str, Any] = {"samples": x.numpy(), **{key: np.array(value) for key, value in marks.items()}}
        np.savez_compressed(buffer, **arrays)
        return buffer.getvalue()
    scale = built.dataset.standardisation
    flat = x.flatten(1).numpy()
    names = scale.columns if scale is not None else [f"x{i}" for i in range(flat.shape[1])]
    comments = "".join(f"{key}: {value}\n" for key, value in marks.items()).splitlines()
    text = io.StringIO()
    text.write("".join(f"# {line}\n" for line in comments))
    # Quoted, a name may hold a comma, a line's end or begin with the '#' of a comment.
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n").writerow(names)
    np.savetxt(text, flat, delimiter=",", fmt=[f"%.{digits}g" for digits in _digits(scale, flat.shape[1])])
    return text.getvalue().encode()
