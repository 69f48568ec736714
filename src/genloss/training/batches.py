"""Seeded batches of a split, resumable at any position."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from genloss.data import Dataset
from genloss.errors import InputError

__all__ = ["BatchStream"]


class BatchStream:
    """Shuffled batches without end. A batch may span two epochs, so every sample is seen equally often.

    Args:
        dataset: where the samples come from, on the device of the model.
        batch_size: samples a batch, at most those of the training split.
        order: the stream of the permutations, on the CPU.
        rng: the stream of what the data draws afresh (stochastic binarisation), on the device.
    """

    def __init__(self, dataset: Dataset, batch_size: int, order: torch.Generator, rng: torch.Generator) -> None:
        self.size = len(dataset.splits["train"])
        if batch_size > self.size:
            raise InputError(
                f"train.batch_size is {batch_size}, but {dataset.name!r} has {self.size} training samples; "
                f"set train.batch_size to {self.size} or less."
            )
        self.dataset = dataset
        self.batch_size = batch_size
        self._order = order
        self._rng = rng
        self._begin_epoch()

    def _begin_epoch(self) -> None:
        self._epoch_state = self._order.get_state()
        self._permutation = torch.randperm(self.size, generator=self._order).to(self._rng.device)
        self._position = 0

    def next(self) -> Tensor:
        """Returns the next batch `(batch_size, *shape)`."""
        taken = self._permutation[self._position : self._position + self.batch_size]
        self._position += len(taken)
        if len(taken) < self.batch_size:
            missing = self.batch_size - len(taken)
            self._begin_epoch()
            taken = torch.cat((taken, self._permutation[:missing]))
            self._position = missing
        return self.dataset.batch("train", taken, self._rng).x

    def state_dict(self) -> dict[str, Any]:
        """Returns the position; the streams themselves are saved with the others."""
        return {"epoch_state": self._epoch_state, "position": self._position}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes back to a position; leaves the order stream where the saved run had it."""
        self._order.set_state(state["epoch_state"])
        self._begin_epoch()
        self._position = state["position"]
