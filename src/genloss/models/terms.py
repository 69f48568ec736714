"""What a player minimises in one update, as named terms, and the memory that some of them keep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn

__all__ = ["Memory", "Terms"]


@dataclass
class Terms:
    """The named terms of one player's loss, per sample or already reduced, with their weights.

    Every sum and mean is taken here. The order is kept, so that the first term that stops being finite can be named.

    Example:
        >>> import torch
        >>> terms = Terms()
        >>> terms.add("loss", torch.tensor([1.0, 3.0]))
        >>> terms.add("r1", torch.tensor([0.5, 0.5]), weight=10.0)
        >>> terms.total().item()
        7.0
    """

    parts: dict[str, tuple[Tensor, float]] = field(default_factory=dict)
    statistics: dict[str, Tensor] = field(default_factory=dict)

    def add(self, name: str, values: Tensor, *, weight: float = 1.0) -> None:
        """Adds `weight * mean(values)` to what is minimised; raises ValueError where they are no tensor."""
        if not isinstance(values, Tensor):
            raise ValueError(f"the term {name} is {values!r}, expected a tensor with one value a sample.")
        self.parts[name] = (values.mean(), weight)

    def note(self, name: str, values: Tensor) -> None:
        """Reports `mean(values)` without minimising it."""
        self.statistics[name] = values.detach().mean()

    def total(self) -> Tensor:
        """Returns the scalar that the player minimises."""
        total: Tensor | None = None
        for value, weight in self.parts.values():
            weighted = value if weight == 1.0 else weight * value
            total = weighted if total is None else total + weighted
        if total is None:
            raise ValueError("a player's loss has no term; add at least one.")
        return total

    def values(self) -> dict[str, Tensor]:
        """Returns every statistic and every term (unweighted) as detached scalars, statistics first."""
        return self.statistics | {name: value.detach() for name, (value, _) in self.parts.items()}


class Memory(nn.Module):
    """The memory of a loss or a penalty, kept as buffers: saved, resumed and moved like any other."""

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        super().__init__()
        for name, value in state.items():
            self.register_buffer(name, value.clone())

    def state(self) -> dict[str, Tensor]:
        """Returns the memory by name."""
        return dict(self.named_buffers())

    def replace(self, state: Mapping[str, Tensor]) -> None:
        """Takes over the memory after an update."""
        for name, buffer in self.named_buffers():
            setattr(self, name, state[name].to(buffer))
