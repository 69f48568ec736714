"""Penalties and constraints on a player's parameters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from genloss.losses import _references as source
from genloss.losses._checks import at_least_float32, floating, remembers
from genloss.losses._fields import positive, true_or_false
from genloss.losses.card import Card, Loss, Reference

__all__ = ["Constraint", "HistoricalAverage", "OrthogonalPenalty", "ParameterPenalty", "WeightClip", "WeightDecay"]


class ParameterPenalty(Loss, ABC):
    """A term on a player's parameters, added to its loss with a weight.

    A penalty with a memory starts it with `init_state(parameters)`; the caller keeps it, hands it over as `state`, and
    replaces it by what `next_state` returns after each update. A subclass writes `_penalty(parameters, state)`.

    Class attributes:
        players: the players that it is meant for, by the names that a GAN gives them.
    """

    family: ClassVar[str] = "parameter_penalty"
    players: ClassVar[tuple[str, ...]] = ("discriminator",)

    @final
    def __call__(self, parameters: Iterable[Tensor], *, state: Mapping[str, Tensor] | None = None) -> Tensor:
        """Returns the penalty, a scalar, without its weight.

        Args:
            parameters: the player's parameters, e.g. `module.parameters()`.
            state: the memory of a penalty that has one; None starts it anew.

        Returns:
            `()`, float32 or better; differentiable in the parameters.

        Raises:
            TypeError: the parameters are a module, or one is not floating.
            ValueError: there is no parameter, or the state is not that of this penalty.
        """
        kept = _listed(parameters)
        with torch.autocast(kept[0].device.type, enabled=False):
            return self._penalty(kept, self.init_state(kept) if state is None else state)

    def init_state(self, parameters: Iterable[Tensor]) -> dict[str, Tensor]:
        """Returns the memory before the first update, empty for most penalties."""
        return {}

    def next_state(self, state: Mapping[str, Tensor], parameters: Iterable[Tensor]) -> dict[str, Tensor]:
        """Returns the memory after an update to these parameters, detached."""
        return dict(state)

    @abstractmethod
    def _penalty(self, parameters: list[Tensor], state: Mapping[str, Tensor]) -> Tensor:
        """Returns the penalty, a scalar."""


def _floating_list(parameters: Iterable[Tensor]) -> list[Tensor]:
    """Returns the parameters as a list; raises when there is none or one is not floating."""
    if isinstance(parameters, nn.Module) or not isinstance(parameters, Iterable):
        raise TypeError(
            f"parameters are a {type(parameters).__name__}, expected an iterable of tensors; pass module.parameters()."
        )
    kept = list(parameters)
    if not kept:
        raise ValueError("there is no parameter; pass module.parameters(), an iterator that is not spent.")
    floating(**{f"parameters[{index}]": parameter for index, parameter in enumerate(kept)})
    return kept


def _listed(parameters: Iterable[Tensor]) -> list[Tensor]:
    """Returns the parameters as a list, in float32 or better; raises when there is none."""
    return [at_least_float32(parameter) for parameter in _floating_list(parameters)]


@dataclass(frozen=True, kw_only=True)
class WeightDecay(ParameterPenalty):
    r"""Half the squared length of all parameters, in the loss (not the decoupled decay of AdamW).

    $$\tfrac12\sum_i\theta_i^2$$

    Use it to keep a critic's weights small. Under Adam its gradient is rescaled like every other, so that it acts
    unlike decoupled decay. It fails with normalisation layers, whose weights have no scale to shrink.

    Example:
        >>> import torch
        >>> WeightDecay()([torch.tensor([3.0, 4.0])])
        tensor(12.5000)

    Source: Krogh and Hertz 1992, equation 2.
    """

    card: ClassVar[Card] = Card(
        name="weight_decay",
        aliases=("l2",),
        formula={"player": r"\tfrac12\sum_i\theta_i^2"},
        minimised_by="The player whose parameters they are, beside its loss.",
        when="To keep a player's weights small.",
        fails="Acts unlike decoupled decay under Adam; pointless before a normalisation layer.",
        references=(
            Reference(
                authors="Krogh, Hertz",
                year=1992,
                title="A Simple Weight Decay Can Improve Generalization",
                venue="NeurIPS",
                url="https://proceedings.neurips.cc/paper/1991/hash/8eefcfdf5990e441f0fb6f3fad709e21-Abstract.html",
                equation="(2)",
            ),
        ),
        weight=1e-4,
    )

    def _penalty(self, parameters: list[Tensor], state: Mapping[str, Tensor]) -> Tensor:
        return 0.5 * torch.stack([parameter.square().sum() for parameter in parameters]).sum()


@dataclass(frozen=True, kw_only=True)
class OrthogonalPenalty(ParameterPenalty):
    r"""Keeps the filters of every layer orthogonal to each other.

    $$\sum_W\lVert WW^\top\odot(1-I)\rVert_F^2\qquad\text{or, with `unit_norm`, }\sum_W\lVert WW^\top-I\rVert_F^2$$

    Each weight of two or more axes is a matrix with one row a filter, transposed when it has more rows than columns;
    biases and gains are left alone. The first form leaves the filters' lengths free. Use it on the generator of a large
    image GAN, so that truncated latents still give samples. It fails by its cost in very wide layers.

    Args:
        unit_norm: also ask for filters of length 1.

    Raises:
        ValueError: `unit_norm` is not a boolean; in a call, no parameter has two axes.

    Example:
        >>> import torch
        >>> OrthogonalPenalty()([torch.tensor([[1.0, 0.0], [1.0, 1.0]])])
        tensor(2.)

    Source: Brock et al. 2019, equations 2 and 3.
    """

    unit_norm: bool = False

    players: ClassVar[tuple[str, ...]] = ("generator",)
    card: ClassVar[Card] = Card(
        name="orthogonal",
        formula={"player": r"\sum_W\lVert WW^\top\odot(1-I)\rVert_F^2"},
        minimised_by="The player whose parameters they are, beside its loss.",
        when="On the generator of a large image GAN, to make truncated latents safe.",
        fails="Costs a matrix product a layer; with unit_norm it limits the generator too much.",
        references=(
            Reference(
                authors="Brock, Donahue, Simonyan",
                year=2019,
                title="Large Scale GAN Training for High Fidelity Natural Image Synthesis",
                venue="ICLR",
                url="https://arxiv.org/abs/1809.11096",
                equation="(2), (3)",
            ),
        ),
        weight=1e-4,
    )

    def __post_init__(self) -> None:
        true_or_false(unit_norm=self.unit_norm)

    def _penalty(self, parameters: list[Tensor], state: Mapping[str, Tensor]) -> Tensor:
        matrices = [parameter.flatten(1) for parameter in parameters if parameter.ndim > 1]
        if not matrices:
            raise ValueError("no parameter has two or more axes, so there are no filters to compare; pass weights.")
        return torch.stack([self._matrix(matrix) for matrix in matrices]).sum()

    def _matrix(self, matrix: Tensor) -> Tensor:
        """Returns the term of one matrix."""
        if matrix.shape[0] > matrix.shape[1]:
            matrix = matrix.T
        gram = matrix @ matrix.T
        diagonal = torch.ones_like(gram.diagonal()) if self.unit_norm else gram.diagonal()
        return (gram - torch.diag(diagonal)).square().sum()


@dataclass(frozen=True, kw_only=True)
class HistoricalAverage(ParameterPenalty):
    r"""Squared distance of the parameters to the mean of their past.

    $$\Bigl\lVert\theta-\frac1t\sum_{i=1}^t\theta_i\Bigr\rVert_2^2$$

    The memory is that mean (as many numbers as there are parameters) and the count $t$; before the first update the
    penalty is 0. It damps the circling of a game with few parameters. It fails in long runs: the mean remembers the
    start for ever.

    Example:
        >>> import torch
        >>> penalty, weight = HistoricalAverage(), torch.tensor([1.0, 2.0])
        >>> state = penalty.next_state(penalty.init_state([weight]), [weight])
        >>> penalty([weight + 1.0], state=state)
        tensor(2.)

    Source: Salimans et al. 2016, section 3.3.
    """

    players: ClassVar[tuple[str, ...]] = ("discriminator", "generator")
    card: ClassVar[Card] = Card(
        name="historical_average",
        formula={"player": r"\lVert\theta-\tfrac1t\sum_i\theta_i\rVert_2^2"},
        minimised_by="The player whose parameters they are, beside its loss.",
        when="Where a game with few parameters circles.",
        fails="The mean remembers the start for ever; it doubles the memory of the player.",
        references=(source.SALIMANS_2016.at("section 3.3"),),
    )

    def init_state(self, parameters: Iterable[Tensor]) -> dict[str, Tensor]:
        """Returns a mean of zeros, flat, and the count 0."""
        flat = _flat(_listed(parameters)).detach()
        return {"mean": torch.zeros_like(flat), "count": torch.zeros((), device=flat.device)}

    def next_state(self, state: Mapping[str, Tensor], parameters: Iterable[Tensor]) -> dict[str, Tensor]:
        """Returns the mean and the count with these parameters among the past."""
        flat, count = _remembered(state, _listed(parameters)).detach(), state["count"] + 1.0
        return {"mean": state["mean"] + (flat - state["mean"]) / count, "count": count}

    def _penalty(self, parameters: list[Tensor], state: Mapping[str, Tensor]) -> Tensor:
        flat = _remembered(state, parameters)
        return (flat - state["mean"]).square().sum() * (state["count"] > 0)


def _remembered(state: Mapping[str, Tensor], parameters: list[Tensor]) -> Tensor:
    """Returns all parameters in one row; raises unless the state is one of as many numbers."""
    remembers(state, "mean", "count")
    flat = _flat(parameters)
    if flat.shape != state["mean"].shape:
        raise ValueError(
            f"the state remembers {state['mean'].numel()} numbers and the parameters are {flat.numel()}; start the "
            "state anew with init_state(parameters)."
        )
    return flat


def _flat(parameters: list[Tensor]) -> Tensor:
    """Returns all parameters in one row."""
    return torch.cat([parameter.flatten() for parameter in parameters])


class Constraint(Loss, ABC):
    """What holds of a player's parameters after each of its updates.

    Class attributes:
        players: the players that it is meant for, by the names that a GAN gives them.
    """

    family: ClassVar[str] = "constraint"
    players: ClassVar[tuple[str, ...]] = ("discriminator",)

    @abstractmethod
    def apply_(self, parameters: Iterable[Tensor]) -> None:
        """Changes the parameters in place so that the constraint holds.

        Args:
            parameters: the player's parameters, e.g. `module.parameters()`.

        Raises:
            TypeError: the parameters are a module, or one is not floating.
            ValueError: there is no parameter.
        """


@dataclass(frozen=True, kw_only=True)
class WeightClip(Constraint):
    r"""Clips every weight to a box, the first way to bound a critic's slope.

    $$w\leftarrow\mathrm{clip}(w,-c,c)$$

    Use it to reproduce the first Wasserstein GAN. It fails by pushing the weights to the two bounds: the critic is
    then too simple, and gradients vanish or explode with depth. `GradientPenalty` is better.

    Args:
        bound: the bound $c$, positive.

    Raises:
        ValueError: the bound is not positive and finite.

    Example:
        >>> import torch
        >>> weight = torch.tensor([-1.0, 0.005])
        >>> WeightClip().apply_([weight])
        >>> weight
        tensor([-0.0100,  0.0050])

    Source: Arjovsky et al. 2017, algorithm 1, line 7; Qiu 2020, algorithm 13.2.
    """

    bound: float = 0.01

    card: ClassVar[Card] = Card(
        name="weight_clip",
        aliases=("clip",),
        formula={"discriminator": r"w\leftarrow\mathrm{clip}(w,-c,c)"},
        minimised_by="Nobody: it is applied to the critic's weights after each of its updates.",
        when="To reproduce the first Wasserstein GAN.",
        fails="Weights gather at the two bounds: the critic is too simple, gradients vanish or explode with depth.",
        references=(source.ARJOVSKY_2017.at("algorithm 1"), source.NNDL.at("algorithm 13.2")),
    )

    def __post_init__(self) -> None:
        positive(bound=self.bound)

    @torch.no_grad()
    def apply_(self, parameters: Iterable[Tensor]) -> None:
        """Clips each parameter to [-bound, bound] in place."""
        kept = _floating_list(parameters)
        for parameter in kept:
            parameter.clamp_(-self.bound, self.bound)
