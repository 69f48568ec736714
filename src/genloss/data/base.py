"""What every data set offers: splits, the shape of a sample, a description and batches."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from genloss.errors import InputError, did_you_mean

__all__ = ["Batch", "Binarise", "Dataset", "Kind", "Modes", "Split", "Standardisation", "ToyDensity"]

Kind = Literal["points", "image", "table"]
Binarise = Literal["none", "stochastic", "threshold"]


class Batch(NamedTuple):
    """Samples and, where the data has them, their labels.

    Args:
        x: samples, float32 `(batch, *shape)`.
        labels: class indices, int64 `(batch,)`, or None.
    """

    x: Tensor
    labels: Tensor | None


@dataclass(frozen=True, eq=False)
class Split:
    """One part of a data set: the rows `index` of a store that other splits may share.

    Args:
        values: the store: uint8 for images, float32 otherwise, `(stored, *shape)`.
        labels: class indices of the store, int64 `(stored,)`, or None.
        index: rows of the store that belong to this split, int64 `(samples,)`; None means all, in order.

    Example:
        >>> import torch
        >>> len(Split(torch.zeros(5, 2), None, torch.tensor([0, 3])))
        2
    """

    values: Tensor
    labels: Tensor | None = None
    index: Tensor | None = None

    def __len__(self) -> int:
        """The number of samples."""
        return len(self.values if self.index is None else self.index)

    def take(self, indices: Tensor) -> tuple[Tensor, Tensor | None]:
        """Returns the stored values and labels of the samples `indices`, int64 `(batch,)`."""
        rows = indices.to(self.values.device)
        if self.index is not None:
            rows = self.index.index_select(0, rows)
        labels = None if self.labels is None else self.labels.index_select(0, rows)
        return self.values.index_select(0, rows), labels

    def all_labels(self) -> Tensor | None:
        """Returns the labels of every sample, int64 `(samples,)`, or None."""
        if self.labels is None or self.index is None:
            return self.labels
        return self.labels.index_select(0, self.index)


class Modes(NamedTuple):
    """Where a toy's probability sits.

    Args:
        means: centres of the modes, float32 `(modes, dimensions)`, on the CPU.
        sigma: standard deviation of every mode in every direction.
    """

    means: Tensor
    sigma: float


class ToyDensity(ABC):
    """A distribution whose log-density is exact."""

    @property
    def modes(self) -> Modes | None:
        """Equal modes, or None when the distribution has none that could be counted."""
        return None

    @abstractmethod
    def log_prob(self, x: Tensor) -> Tensor:
        """Returns log p(x) in nats, float64 `(batch,)`, of points `(batch, dimensions)`, on their device."""

    @abstractmethod
    def draw(self, n: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Returns `n` points, float64 `(n, dimensions)`, and the component each came from, int64 `(n,)`."""

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        """Returns `n` points, float32 `(n, dimensions)`, on the generator's device."""
        return self.draw(n, rng)[0].float()


@dataclass(frozen=True, eq=False)
class Standardisation:
    """How the columns of a table were shifted and scaled, by the statistics of the training split.

    Args:
        columns: names, in the order of the values.
        mean: `(columns,)`, float64, subtracted.
        scale: `(columns,)`, float64, divided by; 1 for a constant column.

    Example:
        >>> import torch
        >>> Standardisation(("a",), torch.tensor([3.0]), torch.tensor([2.0])).invert(torch.tensor([[0.5]]))
        tensor([[4.]], dtype=torch.float64)
    """

    columns: tuple[str, ...]
    mean: Tensor
    scale: Tensor

    def invert(self, x: Tensor) -> Tensor:
        """Returns standardised values `(batch, columns)` in the units of the file, in float64.

        Float32 would lose the spread of a column that is small beside its mean, such as a time in seconds.
        """
        return x.double() * self.scale.double().to(x.device) + self.mean.double().to(x.device)


@dataclass(frozen=True, eq=False, kw_only=True)
class Dataset:
    """Samples in memory, split in three, decoded once and indexed where they lie.

    Images stay uint8 and are scaled when a batch is made. A split holds its samples in a fixed random order, so that
    its first samples are a fair part of it.

    Args:
        name: what the data is called.
        kind: `points` (a toy), `image` or `table`.
        shape: shape of one sample: `(2,)`, `(channels, height, width)` or `(columns,)`.
        splits: `train`, `select` (to choose by) and `test` (to report).
        value_range: least and largest value of a pixel as batches give it; None for points and tables.
        class_names: names of the labels, empty without labels.
        notes: sentences that say what was resized, cropped, assumed or skipped.
        density: the exact distribution of a toy.
        binarise: how pixels become 0 or 1 when a batch is made.
        standardisation: how a table was scaled.

    Example:
        >>> import torch
        >>> from genloss.data import load_data
        >>> digits = load_data("digits")
        >>> digits.shape, digits.value_range
        ((1, 8, 8), (-1.0, 1.0))
        >>> digits.batch("train", torch.arange(4)).x.shape
        torch.Size([4, 1, 8, 8])
    """

    name: str
    kind: Kind
    shape: tuple[int, ...]
    splits: dict[str, Split]
    value_range: tuple[float, float] | None = None
    class_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    density: ToyDensity | None = None
    binarise: Binarise = "none"
    standardisation: Standardisation | None = None

    def batch(self, split: str, indices: Tensor, rng: torch.Generator | None = None) -> Batch:
        """Returns the samples `indices` of a split.

        Args:
            split: `train`, `select` or `test`.
            indices: positions in the split, int64 `(batch,)`, each from 0 to the split's size - 1.
            rng: where the pixels of `binarise="stochastic"` are drawn from, on the data's device; unused otherwise.

        Returns:
            float32 samples `(batch, *shape)` and their labels, on the data's device.

        Raises:
            InputError: the split is unknown, or the data is binarised stochastically and `rng` is missing.
        """
        values, labels = self._split(split).take(indices)
        return Batch(self._finish(values, rng), labels)

    def all(self, split: str, limit: int | None = None, rng: torch.Generator | None = None) -> Batch:
        """Returns the first `limit` samples of a split, or every one; arguments as for `batch`."""
        size = len(self._split(split))
        if limit is not None and limit < 1:
            raise InputError(f"limit is {limit}; it must be 1 or more, or None for every sample.")
        return self.batch(split, torch.arange(size if limit is None else min(size, limit)), rng)

    def to(self, device: torch.device | str) -> Dataset:
        """Returns the same data on a device; splits that share a store keep sharing it."""
        moved: dict[int, Tensor] = {}

        def move(tensor: Tensor | None) -> Tensor | None:
            if tensor is None:
                return None
            if id(tensor) not in moved:
                moved[id(tensor)] = tensor.to(device)
            return moved[id(tensor)]

        splits = {}
        for name, part in self.splits.items():
            values = move(part.values)
            assert values is not None
            splits[name] = Split(values, move(part.labels), move(part.index))
        return replace(self, splits=splits)

    def describe(self) -> dict[str, object]:
        """Returns what the data is, as JSON can hold it: sizes, shape, range, samples per class and split, notes."""
        described: dict[str, object] = {
            "name": self.name,
            "kind": self.kind,
            "shape": list(self.shape),
            "sizes": {name: len(part) for name, part in self.splits.items()},
            "value_range": None if self.value_range is None else list(self.value_range),
            "binarise": self.binarise,
            "classes": self._class_counts(),
            "notes": list(self.notes),
        }
        if self.standardisation is not None:
            described["columns"] = list(self.standardisation.columns)
        return described

    def _class_counts(self) -> dict[str, dict[str, int]] | None:
        if not self.class_names:
            return None
        counts = {}
        for name, part in self.splits.items():
            labels = part.all_labels()
            assert labels is not None
            binned = torch.bincount(labels, minlength=len(self.class_names)).tolist()
            counts[name] = dict(zip(self.class_names, binned, strict=True))
        return counts

    def _split(self, name: str) -> Split:
        if name not in self.splits:
            raise InputError(f"{self.name!r} has no split {name!r}.{did_you_mean(name, self.splits)}")
        return self.splits[name]

    def _finish(self, values: Tensor, rng: torch.Generator | None) -> Tensor:
        """Returns stored values as a model gets them."""
        if self.kind != "image":
            return values
        if self.binarise == "threshold":
            return values.ge(128).float()
        x = values.float()
        if self.binarise == "stochastic":
            if rng is None:
                raise InputError(
                    f"{self.name!r} is binarised stochastically, but no random generator was given; "
                    "pass rng=torch.Generator(device) to batch() or all()."
                )
            return torch.rand(x.shape, generator=rng, device=x.device).mul_(255).lt(x).float()
        assert self.value_range is not None
        low, high = self.value_range
        return x.mul_((high - low) / 255).add_(low)
