"""Losses of energy-based models: densities known up to their normaliser."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Protocol, final

import torch
from torch import Tensor
from torch.nn.functional import softplus

from genloss.losses._checks import at_least_float32, finite_data, floating, not_empty
from genloss.losses._fields import at_least, not_negative, true_or_false
from genloss.losses.card import Card, Loss, Reference
from genloss.losses.samplers import Energy, Sampler

__all__ = [
    "ContrastiveDivergence",
    "EnergyLoss",
    "EnergyTerms",
    "NoiseContrastive",
    "NoiseDensity",
    "NormalNoise",
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
        aliases=("cd", "pcd"),
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
        if sampler is None:
            raise ValueError(
                "ContrastiveDivergence draws the model's samples and got no sampler; pass sampler=Langevin()."
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


@dataclass(frozen=True, kw_only=True)
class NoiseContrastive(EnergyLoss):
    r"""Tells data from noise of a known density; the normaliser is learned with the energy.

    $$\zeta(-G(x))+\sum_{i=1}^\nu\zeta(G(n_i)),\qquad G(u)=-E(u)-\log p_n(u)-\log\nu$$

    At the optimum $-E$ is the normalised log-density, so the energy must be free to move by a constant. The value
    there is $(1+\nu)\log(1+\nu)-\nu\log\nu$, at most, where noise and data agree. Use it where chains are too slow and
    a noise density near the data is known. It fails when noise is told apart at a glance: it then teaches nothing.

    Args:
        ratio: $\nu$, noise samples for each real one, at least 1.

    Raises:
        ValueError: a field is out of its range, or no noise.

    Example:
        >>> noise = NormalNoise(mean=torch.zeros(2), root=torch.eye(2))
        >>> energy = lambda x: 0.5 * x.square().sum(1) + math.log(2 * math.pi)
        >>> NoiseContrastive()(energy, torch.zeros(3, 2), rng=torch.Generator().manual_seed(0), noise=noise).surrogate
        tensor([1.3863, 1.3863, 1.3863])

    Source: Gutmann & Hyvarinen 2010, equation 3; 2012, equation 8 (ratio).
    """

    card: ClassVar[Card] = Card(
        name="noise_contrastive",
        aliases=("nce",),
        formula={"energy": r"\zeta(-G(x))+\sum_i\zeta(G(n_i)),\ G=-E-\log p_n-\log\nu"},
        minimised_by="The energy minimises it; at the optimum its negative is the normalised log-density.",
        when="Where chains are too slow, with a noise density near the data.",
        fails="Noise far from the data is told apart at a glance and teaches nothing.",
        references=(
            Reference(
                authors="Gutmann, Hyvarinen",
                year=2010,
                title="Noise-contrastive estimation: A new estimation principle for unnormalized statistical models",
                venue="AISTATS",
                url="https://proceedings.mlr.press/v9/gutmann10a.html",
                equation="(3)",
            ),
            Reference(
                authors="Gutmann, Hyvarinen",
                year=2012,
                title="Noise-Contrastive Estimation of Unnormalized Statistical Models, with Applications to Natural "
                "Image Statistics",
                venue="JMLR",
                url="https://jmlr.org/papers/v13/gutmann12a.html",
                equation="(8)",
            ),
        ),
    )

    ratio: int = 1

    def __post_init__(self) -> None:
        at_least(1, ratio=self.ratio)

    def _terms(
        self,
        energy: Energy,
        real: Tensor,
        rng: torch.Generator,
        sampler: Sampler | None,
        noise: NoiseDensity | None,
        state: dict[str, Tensor],
    ) -> EnergyTerms:
        if noise is None:
            raise ValueError("NoiseContrastive tells data from noise and got none; pass noise=NormalNoise.fit(real).")
        fakes = noise.sample(self.ratio * len(real), rng).to(real).detach()
        if fakes.shape[1:] != real.shape[1:]:
            raise ValueError(
                f"one sample of the noise has shape {tuple(fakes.shape[1:])} and one of the data "
                f"{tuple(real.shape[1:])}, expected equal shapes; fit the noise to the data, as NormalNoise.fit does."
            )
        on_real = self._logits(energy, real, noise)
        on_noise = self._logits(energy, fakes, noise)
        parts = {
            "real": softplus(-on_real),
            "noise": softplus(on_noise).reshape(len(real), self.ratio).sum(1),
        }
        return EnergyTerms(surrogate=parts["real"] + parts["noise"], parts=parts)

    def _logits(self, energy: Energy, x: Tensor, noise: NoiseDensity) -> Tensor:
        log_noise = noise.log_prob(x)
        if log_noise.shape != x.shape[:1]:
            raise ValueError(
                f"the noise's log-density of a batch {tuple(x.shape)} has shape {tuple(log_noise.shape)}, expected "
                f"{tuple(x.shape[:1])}: one number a sample. Sum it over the sample's axes."
            )
        return -energies_of(energy, x) - log_noise - math.log(self.ratio)


@dataclass(frozen=True, kw_only=True, eq=False)
class NormalNoise:
    """Normal noise with a full covariance, over samples of any shape.

    Args:
        mean: `(...)`, the shape of one sample.
        root: `(features, features)`, lower triangular, the Cholesky factor of the covariance of flattened samples.

    Raises:
        ValueError: the root is no such factor, or does not fit the mean.

    Example:
        >>> noise = NormalNoise.fit(torch.randn(100, 3, generator=torch.Generator().manual_seed(0)))
        >>> noise.sample(5, torch.Generator().manual_seed(0)).shape
        torch.Size([5, 3])
    """

    mean: Tensor
    root: Tensor

    def __post_init__(self) -> None:
        size = self.mean.numel()
        if self.root.shape != (size, size):
            raise ValueError(
                f"root has shape {tuple(self.root.shape)} for samples of shape {tuple(self.mean.shape)}, expected "
                f"({size}, {size}): a factor of the covariance of flattened samples."
            )
        if bool(self.root.triu(1).any()) or not bool((self.root.diagonal() > 0.0).all()):
            raise ValueError(
                "root is not lower triangular with a positive diagonal; expected torch.linalg.cholesky(covariance)."
            )

    @classmethod
    def fit(cls, real: Tensor, *, floor: float = 1e-3) -> NormalNoise:
        """Returns noise with the mean and covariance of `real` `(n, ...)`; `floor` is a variance added everywhere.

        Raises:
            TypeError: `real` is not floating.
            ValueError: there are fewer than 2 samples, or (checked on the CPU only) a value is not finite.
        """
        floating(real=real)
        if real.ndim == 0 or len(real) < 2:
            raise ValueError(f"real has shape {tuple(real.shape)}, expected at least 2 samples to have a covariance.")
        finite_data(real=real)
        flat = at_least_float32(real.detach()).reshape(len(real), -1)
        covariance = flat.mT.cov().reshape(flat.shape[1], flat.shape[1])
        root: Tensor = torch.linalg.cholesky(covariance + floor * torch.eye(len(covariance)).to(covariance))
        return cls(mean=flat.mean(0).reshape(real.shape[1:]), root=root)

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        """Draws `(n, ...)`."""
        white = torch.empty(n, len(self.root), dtype=self.root.dtype, device=self.root.device).normal_(generator=rng)
        with torch.autocast(white.device.type, enabled=False):
            return self.mean + (white @ self.root.mT).reshape(n, *self.mean.shape)

    def log_prob(self, x: Tensor) -> Tensor:
        """Returns the log-density of `x` `(n, ...)`, `(n,)` in nats."""
        with torch.autocast(x.device.type, enabled=False):
            white: Tensor = torch.linalg.solve_triangular(
                self.root, (x - self.mean).reshape(len(x), -1).mT, upper=False
            )
            size = len(self.root)
            log_volume = self.root.diagonal().log().sum() + 0.5 * size * math.log(2.0 * math.pi)
            return -0.5 * white.square().sum(0) - log_volume
