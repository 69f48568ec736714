"""Noise-contrastive estimation: an energy and its normaliser from telling data and noise apart."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import softplus

from genloss.losses._checks import at_least_float32, finite_data, floating, random_stream
from genloss.losses._fields import at_least, not_negative
from genloss.losses.card import Card, Reference
from genloss.losses.energy import EnergyLoss, EnergyTerms, NoiseDensity
from genloss.losses.samplers import Energy, Sampler, energies_of

__all__ = ["NoiseContrastive", "NormalNoise"]


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
            ValueError: there are fewer than 2 samples, (checked on the CPU only) a value is not finite, or the floor is
                negative or too low for a covariance that is singular.
        """
        floating(real=real)
        not_negative(floor=floor)
        if real.ndim == 0 or len(real) < 2:
            raise ValueError(f"real has shape {tuple(real.shape)}, expected at least 2 samples to have a covariance.")
        finite_data(real=real)
        flat = at_least_float32(real.detach()).reshape(len(real), -1)
        covariance = flat.mT.cov().reshape(flat.shape[1], flat.shape[1])
        root, wrong = torch.linalg.cholesky_ex(covariance + floor * torch.eye(len(covariance)).to(covariance))
        if int(wrong):
            raise ValueError(
                f"the covariance of real {tuple(real.shape)} with floor={floor} added is singular, expected a density "
                f"in all directions; raise the floor, to a share of the data's variance."
            )
        return cls(mean=flat.mean(0).reshape(real.shape[1:]), root=root)

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        """Draws `(n, ...)`."""
        random_stream(rng)
        white = torch.empty(n, len(self.root), dtype=self.root.dtype, device=self.root.device).normal_(generator=rng)
        with torch.autocast(white.device.type, enabled=False):
            return self.mean + (white @ self.root.mT).reshape(n, *self.mean.shape)

    def log_prob(self, x: Tensor) -> Tensor:
        """Returns the log-density of `x` `(n, ...)`, floating, `(n,)` in nats, float32 or better.

        Raises:
            TypeError: `x` is not floating.
            ValueError: one sample does not have the shape of the mean.
        """
        floating(x=x)
        if x.ndim == 0 or x.shape[1:] != self.mean.shape:
            raise ValueError(
                f"x has shape {tuple(x.shape)}, expected (n, ...) with samples of the noise's shape "
                f"{tuple(self.mean.shape)}; reshape it (nothing broadcasts)."
            )
        dtype = torch.promote_types(self.root.dtype, x.dtype)
        mean, root = self.mean.to(dtype), self.root.to(dtype)
        with torch.autocast(x.device.type, enabled=False):
            away = (x.to(dtype) - mean).reshape(len(x), -1).mT
            white: Tensor = torch.linalg.solve_triangular(root, away, upper=False)
            size = len(root)
            log_volume = root.diagonal().log().sum() + 0.5 * size * math.log(2.0 * math.pi)
            return -0.5 * white.square().sum(0) - log_volume
