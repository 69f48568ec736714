"""Losses of energy-based models: densities known up to their normaliser."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Protocol, final

import torch
from torch import Tensor

from genloss.losses._checks import at_least_float32, finite_data, floating, not_empty, random_stream
from genloss.losses._fields import at_least, finite_number, not_negative, true_or_false
from genloss.losses.card import Card, Loss, Reference
from genloss.losses.samplers import Energy, Sampler, energies_of

__all__ = [
    "ContrastiveDivergence",
    "EnergyLoss",
    "EnergyTerms",
    "NoiseDensity",
]


class NoiseDensity(Protocol):
    """A density that can be drawn from and evaluated: what `NoiseContrastive` tells data from."""

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        """Draws `(n, ...)`."""

    def log_prob(self, x: Tensor) -> Tensor:
        """Returns the log-density of `x` `(n, ...)`, `(n,)` in nats."""


@dataclass(frozen=True, kw_only=True, eq=False)
class EnergyTerms:
    """What an energy loss returns.

    Args:
        surrogate: what the energy minimises, `(batch,)`; its gradient is what counts.
        parts: named terms, each `(batch,)`.
        state: the memory after this batch, empty for a loss without one.
    """

    surrogate: Tensor
    parts: dict[str, Tensor]
    state: dict[str, Tensor] = field(default_factory=dict)


class EnergyLoss(Loss, ABC):
    """A loss on an energy function, low for likely samples, and real data.

    The energy must treat samples independently (no batch normalisation): gradients by the input are taken of sums over
    the batch. A subclass writes `_terms`.
    """

    family: ClassVar[str] = "energy"

    @final
    def __call__(
        self,
        energy: Energy,
        real: Tensor,
        *,
        rng: torch.Generator,
        sampler: Sampler | None = None,
        noise: NoiseDensity | None = None,
        state: Mapping[str, Tensor] | None = None,
    ) -> EnergyTerms:
        """Returns the terms of the loss.

        Args:
            energy: maps `(batch, ...)` to `(batch,)`.
            real: data `(batch, ...)`, floating.
            rng: where chains, noise and projections are drawn from.
            sampler: for a contrastive loss.
            noise: for noise-contrastive estimation.
            state: the memory of a loss that has one, from `init_state` or the last terms.

        Raises:
            TypeError: `real` or the energy is not floating.
            ValueError: `real` is empty or (checked on the CPU only) not finite, something that the loss needs is
                missing, or a shape is wrong.
        """
        random_stream(rng)
        floating(real=real)
        not_empty(real=real)
        finite_data(real=real)
        return self._terms(energy, at_least_float32(real).detach(), rng, sampler, noise, dict(state or {}))

    @property
    def noise_level(self) -> float:
        """The standard deviation of the noise that is added to the data and learned with them; 0 for most losses."""
        return 0.0

    def init_state(self, like: Tensor, sampler: Sampler, rng: torch.Generator) -> dict[str, Tensor]:
        """Returns the memory before the first batch for data like `like` `(batch, ...)`; empty for most losses."""
        return {}

    @abstractmethod
    def _terms(
        self,
        energy: Energy,
        real: Tensor,
        rng: torch.Generator,
        sampler: Sampler | None,
        noise: NoiseDensity | None,
        state: dict[str, Tensor],
    ) -> EnergyTerms: ...


@dataclass(frozen=True, kw_only=True)
class ContrastiveDivergence(EnergyLoss):
    r"""Lowers the energy of data and raises that of the model's own samples.

    $$E(x)-E(x^-)+\alpha\big(E(x)^2+E(x^-)^2\big)$$

    Its gradient estimates that of the negative log-likelihood; the value does not estimate the likelihood and hovers
    about 0. $x^-$ is where chains of a `sampler` stand after `steps`: chains that start at the data (CD-k), or
    `persistent` ones that go on from where the last batch left them, some of them restarted. Use it for energies and
    Boltzmann machines. It fails when the chains lag behind: CD-k leaves deep minima far from the data untouched, and
    the value then runs off. Raise `steps`, lower the learning rate, or raise `penalty`. A value that is not finite is
    returned as it is.

    Args:
        steps: transitions between updates, at least 1.
        persistent: keep chains between batches; they live in the state.
        chains: number of persistent chains, at least the batch.
        restart: share of persistent chains that start afresh each time, in [0, 1].
        penalty: $\alpha$, not negative.

    Raises:
        ValueError: a field is out of its range, no sampler, or no state for persistent chains.

    Example:
        >>> from genloss.losses import Langevin
        >>> terms = ContrastiveDivergence(steps=2)(lambda x: 0.5 * x.square().sum(1), torch.zeros(4, 2),
        ...     rng=torch.Generator().manual_seed(0), sampler=Langevin())
        >>> bool((terms.parts["model_energy"] > terms.parts["real_energy"]).all())
        True

    Source: Hinton 2002, equation 5; Tieleman 2008 (persistent); Du & Mordatch 2019, section 3 (replay, penalty).
    """

    card: ClassVar[Card] = Card(
        name="contrastive_divergence",
        aliases=("cd",),
        formula={"energy": r"E(x)-E(x^-)+\alpha(E(x)^2+E(x^-)^2)"},
        minimised_by="The energy minimises it; its samples come from its own Markov chains.",
        when="For energies and Boltzmann machines, with a sampler that mixes.",
        fails="Chains that lag behind the energy: its differences run off. Raise steps or the penalty, lower the "
        "learning rate.",
        references=(
            Reference(
                authors="Hinton",
                year=2002,
                title="Training Products of Experts by Minimizing Contrastive Divergence",
                venue="Neural Computation",
                url="https://doi.org/10.1162/089976602760128018",
                equation="(5)",
            ),
            Reference(
                authors="Tieleman",
                year=2008,
                title="Training Restricted Boltzmann Machines using Approximations to the Likelihood Gradient",
                venue="ICML",
                url="https://doi.org/10.1145/1390156.1390290",
            ),
            Reference(
                authors="Du, Mordatch",
                year=2019,
                title="Implicit Generation and Modeling with Energy Based Models",
                venue="NeurIPS",
                url="https://arxiv.org/abs/1903.08689",
                equation="section 3",
            ),
        ),
    )

    steps: int = 20
    persistent: bool = False
    chains: int = 1000
    restart: float = 0.05
    penalty: float = 0.0

    def __post_init__(self) -> None:
        at_least(1, steps=self.steps, chains=self.chains)
        true_or_false(persistent=self.persistent)
        not_negative(penalty=self.penalty)
        finite_number(restart=self.restart)
        if not 0.0 <= self.restart <= 1.0:
            raise ValueError(f"restart is {self.restart}, expected a share in [0, 1].")

    def init_state(self, like: Tensor, sampler: Sampler, rng: torch.Generator) -> dict[str, Tensor]:
        """Returns the persistent chains, freshly started; empty for CD-k."""
        if not self.persistent:
            return {}
        chains = at_least_float32(like.new_empty((self.chains, *like.shape[1:])))  # as the data will be
        return {"chains": sampler.fresh(chains, rng)}

    def _terms(
        self,
        energy: Energy,
        real: Tensor,
        rng: torch.Generator,
        sampler: Sampler | None,
        noise: NoiseDensity | None,
        state: dict[str, Tensor],
    ) -> EnergyTerms:
        if not isinstance(sampler, Sampler):
            raise ValueError(
                f"ContrastiveDivergence draws the model's samples and got {sampler!r} as its sampler; pass "
                "sampler=Langevin()."
            )
        if self.persistent:
            fakes, state = self._go_on(energy, real, rng, sampler, state)
        else:
            fakes = sampler.run(energy, real, self.steps, rng)
        on_real, on_model = energies_of(energy, real), energies_of(energy, fakes)
        surrogate = on_real - on_model
        if self.penalty > 0.0:
            surrogate = surrogate + self.penalty * (on_real.square() + on_model.square())
        return EnergyTerms(surrogate=surrogate, parts={"real_energy": on_real, "model_energy": on_model}, state=state)

    def _go_on(
        self, energy: Energy, real: Tensor, rng: torch.Generator, sampler: Sampler, state: dict[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Runs as many of the kept chains as there are data; returns where they stand and the new memory."""
        n = len(real)
        if "chains" not in state or len(state["chains"]) < n:
            found = "none" if "chains" not in state else str(len(state["chains"]))
            raise ValueError(
                f"persistent chains need a state with at least {n} chains for a batch of {n}, received {found}; start "
                f"with init_state and chains={max(n, self.chains)}, and hand on terms.state."
            )
        chains = state["chains"]
        if chains.shape[1:] != real.shape[1:]:
            raise ValueError(
                f"one persistent chain has shape {tuple(chains.shape[1:])} and one sample {tuple(real.shape[1:])}, "
                f"expected equal shapes; start the state anew with init_state(real, ...)."
            )
        rows = torch.randperm(len(chains), generator=rng, device=rng.device)[:n].to(chains.device)
        start = chains[rows]
        again = torch.rand(n, generator=rng, device=rng.device).to(start.device) < self.restart
        start = torch.where(again.reshape(-1, *(1,) * (start.ndim - 1)), sampler.fresh(start, rng), start)
        fakes = sampler.run(energy, start, self.steps, rng)
        return fakes, {"chains": chains.index_copy(0, rows, fakes)}
