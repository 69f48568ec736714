"""What a run remembers of its data: never to go on with other data unnoticed, and to sample where they are not."""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genloss.data import Dataset, Split, Standardisation
from genloss.losses import Loss
from genloss.runs.own_code import is_own

__all__ = ["code_digests", "data_changes", "fingerprint", "outline"]

MOST_VALUES = 1 << 22


def fingerprint(dataset: Dataset) -> dict[str, Any]:
    """Returns what identifies the data, as JSON can hold it: shape, sizes, names, units, and a digest of the values.

    The digest covers every split, its labels and the standardisation; of a split with more than 2^22 values it takes
    evenly spaced samples. A toy has none: its recipe says all, and its points may differ in the last bit by processor.
    """
    scale = dataset.standardisation
    marks: dict[str, Any] = {
        "name": dataset.name,
        "kind": dataset.kind,
        "shape": list(dataset.shape),
        "sizes": {name: len(part) for name, part in dataset.splits.items()},
        "columns": [] if scale is None else list(scale.columns),
        "units": None if scale is None else {"mean": scale.mean.tolist(), "scale": scale.scale.tolist()},
        "classes": list(dataset.class_names),
        "value_range": dataset.value_range,
        "binarise": dataset.binarise,
    }
    if dataset.kind != "points":
        marks["sha256"] = _digest(dataset)
    return marks


def outline(marks: dict[str, Any]) -> Dataset | None:
    """Returns data of the shape, units and sizes of a fingerprint, empty of content: all that a model is built from.

    None for a toy, whose recipe makes the data themselves, and for a fingerprint of an earlier genloss.
    """
    if marks.get("kind", "points") == "points":
        return None
    row = torch.zeros(1, *marks["shape"], dtype=torch.uint8 if marks["kind"] == "image" else torch.float32)
    units = marks["units"]
    moments = () if units is None else [torch.tensor(units[name], dtype=torch.float64) for name in ("mean", "scale")]
    return Dataset(
        name=marks["name"],
        kind=marks["kind"],
        shape=tuple(marks["shape"]),
        splits={name: Split(row.expand(size, *row.shape[1:])) for name, size in marks["sizes"].items()},
        value_range=None if marks["value_range"] is None else tuple(marks["value_range"]),
        class_names=tuple(marks["classes"]),
        binarise=marks["binarise"],
        standardisation=Standardisation(tuple(marks["columns"]), *moments) if moments else None,
    )


def code_digests(losses: Iterable[Any]) -> dict[str, str]:
    """Returns the digests of the files, by their paths, that define losses of the user's own, also inside others."""
    found: dict[str, str] = {}
    for loss in losses:
        source = inspect.getsourcefile(type(loss))
        if source is not None and is_own(type(loss)):
            found[source] = hashlib.sha256(Path(source).read_bytes()).hexdigest()
        if dataclasses.is_dataclass(loss):
            parts = [getattr(loss, part.name) for part in dataclasses.fields(loss)]
            found |= code_digests(part for part in parts if isinstance(part, Loss))
    return found


def data_changes(before: dict[str, Any], dataset: Dataset) -> str | None:
    """Returns what differs from an earlier fingerprint, as part of a sentence, or None."""
    now = fingerprint(dataset)
    for key, what in (
        ("shape", "the shape of a sample"),
        ("columns", "the columns"),
        ("classes", "the classes"),
        ("sizes", "the sizes of the splits"),
    ):
        if now[key] != before.get(key):
            return f"{what} went from {_short(before.get(key))} to {_short(now[key])}"
    if now.get("sha256") != before.get("sha256"):
        return "shape and sizes are the same, the values are not"
    return None


def _digest(dataset: Dataset) -> str:
    digest = hashlib.sha256()
    for name, part in dataset.splits.items():
        size = len(part)
        count = min(size, max(1, MOST_VALUES // torch.Size(dataset.shape).numel()))
        digest.update(name.encode())
        for stored in part.take(torch.arange(count) * size // count):
            digest.update(_bytes(stored))
    if (scale := dataset.standardisation) is not None:
        digest.update(_bytes(scale.mean) + _bytes(scale.scale))
    return digest.hexdigest()


def _bytes(tensor: Tensor | None) -> bytes:
    return b"" if tensor is None else tensor.cpu().numpy().tobytes()


def _short(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{count} {name}" for name, count in value.items())
    text = str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
