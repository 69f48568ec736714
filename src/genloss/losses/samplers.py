"""Markov chains that draw from an energy's density."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor

from genloss.losses._checks import at_least_float32, floating, not_empty, random_stream
from genloss.losses._fields import at_least, finite_number, not_negative, positive
from genloss.losses.card import Card, Loss, Reference

__all__ = ["BipartiteEnergy", "Energy", "Gibbs", "Langevin", "Sampler"]

Energy = Callable[..., Tensor]
"""Maps samples `(batch, ...)` to energies `(batch,)`, low for what is likely; $p(x)\\propto e^{-E(x)}$."""


@runtime_checkable
class BipartiteEnergy(Protocol):
    """An energy with hidden units, whose two layers are independent given each other: what `Gibbs` needs."""

    def __call__(self, visible: Tensor) -> Tensor:
        """Returns the free energy of visible units `(batch, visible)`, `(batch,)`."""

    def sample_hidden(self, visible: Tensor, rng: torch.Generator) -> Tensor:
        """Draws the hidden units given the visible ones."""

    def sample_visible(self, hidden: Tensor, rng: torch.Generator) -> Tensor:
        """Draws the visible units given the hidden ones."""


def energies_of(energy: Energy, x: Tensor, *condition: Tensor) -> Tensor:
    """Returns the energies of a batch, checked to be one number a sample."""
    values: Tensor = energy(x, *condition)
    floating(energy=values)
    if values.shape != x.shape[:1]:
        raise ValueError(
            f"the energy of a batch {tuple(x.shape)} has shape {tuple(values.shape)}, expected {tuple(x.shape[:1])}: "
            f"one number a sample. Squeeze or sum the other axes."
        )
    return at_least_float32(values)


def slope(energies: Tensor, x: Tensor, *, graph: bool) -> Tensor:
    """Returns the gradient of a sum of energies in the input; raises ValueError when none can reach it."""
    if energies.requires_grad:
        (gradient,) = torch.autograd.grad(energies.sum(), x, create_graph=graph, allow_unused=True)
        if gradient is not None:
            return gradient
    raise ValueError(
        "the energy has no gradient: it is constant, or detached from its input; expected a differentiable function "
        "of x, without torch.no_grad()."
    )


class Sampler(Loss, ABC):
    """A Markov chain on an energy's density. A subclass writes one transition and where a fresh chain starts."""

    family: ClassVar[str] = "sampler"

    def run(self, energy: Energy, start: Tensor, steps: int, rng: torch.Generator) -> Tensor:
        """Returns the chains `(batch, ...)` after `steps` transitions from `start`, without a graph.

        Raises:
            TypeError: `start` is not floating, or the sampler does not fit the energy.
            ValueError: there is no chain, steps are negative, or the energy does not depend on its input.
        """
        floating(start=start)
        not_empty(start=start)
        at_least(0, steps=steps)
        random_stream(rng)
        x = start.detach()
        for _ in range(steps):
            x = self.step(energy, x, rng)
        return x

    @abstractmethod
    def step(self, energy: Energy, x: Tensor, rng: torch.Generator) -> Tensor:
        """Returns the chains after one transition, detached."""

    @abstractmethod
    def fresh(self, like: Tensor, rng: torch.Generator) -> Tensor:
        """Returns starts of new chains in the shape, dtype and device of `like`."""


@dataclass(frozen=True, kw_only=True)
class Langevin(Sampler):
    r"""Langevin dynamics: gradient descent on the energy with noise.

    $$x\leftarrow x-\frac{\epsilon^2}{2}\nabla E(x)+\eta\,\epsilon_t,\qquad\epsilon_t\sim N(0,I)$$

    With noise $\eta=\epsilon$ (the default) and a small step it draws from $e^{-E}$, up to a bias of the order of
    $\epsilon^2$; deep energies on images are trained with far less noise than that, which draws from a colder density.
    It fails by steps that are too large, when chains leave the data: the bounds and `gradient_clip` hold them.

    Args:
        step_size: $\epsilon$, in the units of the data, positive.
        noise: $\eta$, not negative; None for $\epsilon$.
        low: bound of the data below, or None.
        high: bound of the data above, or None.
        gradient_clip: largest absolute value of an entry of the gradient, or None.

    Raises:
        ValueError: a field is out of its range.

    Example:
        >>> chains = Langevin(step_size=0.5).run(lambda x: 0.5 * x.square().sum(1), torch.zeros(2000, 1), 100,
        ...     torch.Generator().manual_seed(0))
        >>> abs(chains.var().item() - 1.0) < 0.15
        True

    Source: Welling & Teh 2011, equation 4 (with exact gradients); Du & Mordatch 2019, section 3.
    """

    card: ClassVar[Card] = Card(
        name="langevin",
        aliases=("sgld",),
        formula={"step": r"x-\frac{\epsilon^2}{2}\nabla E(x)+\eta\,\epsilon_t"},
        minimised_by="Nobody: it draws the model's samples for a contrastive loss.",
        when="For continuous data and a differentiable energy.",
        fails="Large steps leave the data; small ones do not mix between modes.",
        references=(
            Reference(
                authors="Du, Mordatch",
                year=2019,
                title="Implicit Generation and Modeling with Energy Based Models",
                venue="NeurIPS",
                url="https://arxiv.org/abs/1903.08689",
                equation="section 3",
            ),
            Reference(
                authors="Welling, Teh",
                year=2011,
                title="Bayesian Learning via Stochastic Gradient Langevin Dynamics",
                venue="ICML",
                url="https://icml.cc/2011/papers/398_icmlpaper.pdf",
                equation="(4)",
            ),
        ),
    )

    step_size: float = 0.1
    noise: float | None = None
    low: float | None = None
    high: float | None = None
    gradient_clip: float | None = None

    def __post_init__(self) -> None:
        positive(step_size=self.step_size)
        if self.noise is not None:
            not_negative(noise=self.noise)
        if self.gradient_clip is not None:
            positive(gradient_clip=self.gradient_clip)
        finite_number(**{name: end for name, end in (("low", self.low), ("high", self.high)) if end is not None})
        if self.low is not None and self.high is not None and not self.low < self.high:
            raise ValueError(f"low={self.low} and high={self.high}, expected low below high.")

    def step(self, energy: Energy, x: Tensor, rng: torch.Generator) -> Tensor:
        """Returns the chains after one transition, detached."""
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            gradient = slope(energies_of(energy, leaf), leaf, graph=False)
        if self.gradient_clip is not None:
            gradient = gradient.clamp(-self.gradient_clip, self.gradient_clip)
        noise = torch.empty_like(x).normal_(generator=rng) * (self.step_size if self.noise is None else self.noise)
        moved = x.detach() - 0.5 * self.step_size**2 * gradient + noise
        return moved if self.low is None and self.high is None else moved.clamp(self.low, self.high)

    def fresh(self, like: Tensor, rng: torch.Generator) -> Tensor:
        """Returns uniform noise between both bounds, standard normal noise where one is missing."""
        random_stream(rng)
        if self.low is not None and self.high is not None:
            return torch.empty_like(like).uniform_(self.low, self.high, generator=rng)
        return torch.empty_like(like).normal_(generator=rng)


@dataclass(frozen=True, kw_only=True)
class Gibbs(Sampler):
    r"""Block Gibbs sampling of an energy with hidden units, such as a restricted Boltzmann machine.

    $$h\sim p(h|x),\qquad x\sim p(x|h)$$

    Exact: the chain's stationary density is the model's. It fails to mix once the weights are large.

    Example:
        >>> Gibbs().fresh(torch.zeros(2, 3), torch.Generator().manual_seed(0)).shape
        torch.Size([2, 3])

    Source: Hinton 2002, section 3.
    """

    card: ClassVar[Card] = Card(
        name="gibbs",
        formula={"step": r"h\sim p(h|x),\ x\sim p(x|h)"},
        minimised_by="Nobody: it draws the model's samples for a contrastive loss.",
        when="For restricted Boltzmann machines.",
        fails="Mixes slowly once the weights are large.",
        references=(
            Reference(
                authors="Hinton",
                year=2002,
                title="Training Products of Experts by Minimizing Contrastive Divergence",
                venue="Neural Computation",
                url="https://doi.org/10.1162/089976602760128018",
                equation="section 3",
            ),
        ),
    )

    def step(self, energy: Energy, x: Tensor, rng: torch.Generator) -> Tensor:
        """Returns the chains after one transition, detached."""
        if not isinstance(energy, BipartiteEnergy):
            raise TypeError(
                f"Gibbs received an energy of type {type(energy).__name__}, expected one with sample_hidden and "
                f"sample_visible, such as a restricted Boltzmann machine; use Langevin for others."
            )
        with torch.no_grad():
            return energy.sample_visible(energy.sample_hidden(x, rng), rng)

    def fresh(self, like: Tensor, rng: torch.Generator) -> Tensor:
        """Returns fair coin flips."""
        random_stream(rng)
        return torch.empty_like(like).bernoulli_(0.5, generator=rng)
