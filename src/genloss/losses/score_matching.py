"""Score matching: energies fitted through the gradient of their log-density, without normaliser or chains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from genloss.losses._fields import at_least, each_positive
from genloss.losses.card import Card, Reference
from genloss.losses.energy import EnergyLoss, EnergyTerms, NoiseDensity
from genloss.losses.samplers import Energy, Sampler, energies_of, slope

__all__ = ["DenoisingScoreMatching", "ScoreMatching", "SlicedScoreMatching"]


def _score(energy: Energy, x: Tensor, *condition: Tensor) -> Tensor:
    """Returns $-\\nabla E(x)$ with a graph."""
    return -slope(energies_of(energy, x, *condition), x, graph=True)


def _rows(x: Tensor) -> Tensor:
    """Returns `(batch, features)`, also of data that are one number a sample."""
    return x.reshape(len(x), -1)


def _derivative(values: Tensor, x: Tensor) -> Tensor:
    """Returns the derivative of a sum of values, 0 where it does not depend on `x`, with a graph."""
    if not values.requires_grad:
        return torch.zeros_like(x)
    (found,) = torch.autograd.grad(values.sum(), x, create_graph=True, allow_unused=True)
    return torch.zeros_like(x) if found is None else found


@dataclass(frozen=True, kw_only=True)
class ScoreMatching(EnergyLoss):
    r"""Fits the score $s=-\nabla E$ to that of the data, with the exact trace.

    $$\tfrac12\lVert s(x)\rVert^2+\mathrm{tr}\,\nabla s(x)$$

    Equal in the mean to half the squared error of the score, less a constant of the data: the value at the optimum is
    $-\frac12E\lVert\nabla\log p\rVert^2$ and negative. Use it in few dimensions, or as an oracle: it costs one pass
    back for each. It fails on data that lie on a thin surface, where the trace falls without bound: add noise or use
    the denoising form. The energy must be twice differentiable; a ReLU's second derivative is 0 and teaches nothing.

    Example:
        >>> loss = ScoreMatching()
        >>> energy = lambda x: 0.5 * x.square().sum(1)
        >>> loss(energy, torch.tensor([[1.0, 2.0]]), rng=torch.Generator()).surrogate.detach()
        tensor([0.5000])

    Source: Hyvarinen 2005, equation 4.
    """

    card: ClassVar[Card] = Card(
        name="score_matching",
        formula={"energy": r"\tfrac12\lVert s(x)\rVert^2+\mathrm{tr}\nabla s(x),\quad s=-\nabla E"},
        minimised_by="The energy minimises it; the optimum is minus half the data's Fisher information.",
        when="In few dimensions, for a smooth energy: no chains, no normaliser.",
        fails="One pass back for each dimension; on data near a thin surface it falls without bound.",
        references=(
            Reference(
                authors="Hyvarinen",
                year=2005,
                title="Estimation of Non-Normalized Statistical Models by Score Matching",
                venue="JMLR",
                url="https://jmlr.org/papers/v6/hyvarinen05a.html",
                equation="(4)",
            ),
        ),
    )

    def _terms(
        self,
        energy: Energy,
        real: Tensor,
        rng: torch.Generator,
        sampler: Sampler | None,
        noise: NoiseDensity | None,
        state: dict[str, Tensor],
    ) -> EnergyTerms:
        with torch.enable_grad():
            x = real.requires_grad_()
            score = _rows(_score(energy, x))
            columns = [_rows(_derivative(score[:, i], x))[:, i] for i in range(score.shape[1])]
        trace, square = torch.stack(columns).sum(0), 0.5 * score.square().sum(1)
        return EnergyTerms(surrogate=square + trace, parts={"half_square": square, "trace": trace})


@dataclass(frozen=True, kw_only=True)
class SlicedScoreMatching(EnergyLoss):
    r"""Score matching with the trace estimated along random directions.

    $$\tfrac12\lVert s(x)\rVert^2+\frac1M\sum_m v_m^\top\nabla s(x)\,v_m$$

    The variance-reduced form, with directions of random signs, for which the trace is exact in the mean. Use it in many
    dimensions: one more pass back for each direction, whatever the dimension. It fails as `ScoreMatching` does on thin
    data.

    Args:
        projections: number $M$ of directions for each sample, at least 1.

    Raises:
        ValueError: a field is out of its range.

    Example:
        >>> energy = lambda x: 0.5 * x.square().sum(1)
        >>> loss = SlicedScoreMatching()
        >>> loss(energy, torch.tensor([[1.0, 2.0]]), rng=torch.Generator().manual_seed(0)).surrogate.detach()
        tensor([0.5000])

    Source: Song, Garg, Shi & Ermon 2019, equation 8.
    """

    card: ClassVar[Card] = Card(
        name="sliced_score_matching",
        aliases=("ssm",),
        formula={"energy": r"\tfrac12\lVert s(x)\rVert^2+\frac1M\sum_mv_m^\top\nabla s(x)v_m"},
        minimised_by="The energy minimises it.",
        when="In many dimensions, for a smooth energy.",
        fails="Noise from the directions; on data near a thin surface it falls without bound.",
        references=(
            Reference(
                authors="Song, Garg, Shi, Ermon",
                year=2019,
                title="Sliced Score Matching: A Scalable Approach to Density and Score Estimation",
                venue="UAI",
                url="https://arxiv.org/abs/1905.07088",
                equation="(8)",
            ),
        ),
    )

    projections: int = 1

    def __post_init__(self) -> None:
        at_least(1, projections=self.projections)

    def _terms(
        self,
        energy: Energy,
        real: Tensor,
        rng: torch.Generator,
        sampler: Sampler | None,
        noise: NoiseDensity | None,
        state: dict[str, Tensor],
    ) -> EnergyTerms:
        with torch.enable_grad():
            x = real.requires_grad_()
            score = _score(energy, x)
            trace = score.new_zeros(len(score))
            for _ in range(self.projections):
                signs = torch.empty_like(real).bernoulli_(0.5, generator=rng).mul_(2.0).sub_(1.0)
                along = _derivative(score * signs, x)
                trace = trace + _rows(along * signs).sum(1) / self.projections
        square = 0.5 * _rows(score).square().sum(1)
        return EnergyTerms(surrogate=square + trace, parts={"half_square": square, "trace": trace})


@dataclass(frozen=True, kw_only=True)
class DenoisingScoreMatching(EnergyLoss):
    r"""Fits the score of the data with noise added, by predicting the noise.

    $$\tfrac12\lVert\sigma\,s(x+\sigma\epsilon)+\epsilon\rVert^2,\qquad\epsilon\sim N(0,I)$$

    The weight $\sigma^2$ gives all noise levels the same size. The energy learned is that of the noisy data, whose
    variance is larger by $\sigma^2$. The value at the optimum is not 0 but the part of the noise that cannot be told.
    Use it first of the three: one derivative less, and thin data are no trouble. It fails with a noise so small that
    the gradient's variance, of the order $1/\sigma^2$, drowns it.

    Args:
        sigmas: noise levels in the units of the data, positive. With one, the energy is called as `energy(x)`; with
            more, each sample draws one and the energy is called as `energy(x, sigma)`, `sigma` `(batch,)`.

    Raises:
        ValueError: a field is out of its range.

    Example:
        >>> loss = DenoisingScoreMatching(sigmas=(0.5,))
        >>> terms = loss(lambda x: 0.5 * x.square().sum(1), torch.zeros(3, 2), rng=torch.Generator().manual_seed(0))
        >>> terms.surrogate.shape
        torch.Size([3])

    Source: Vincent 2011, equation 11; Song & Ermon 2019, equations 5 and 6.
    """

    card: ClassVar[Card] = Card(
        name="denoising_score_matching",
        aliases=("dsm",),
        formula={"energy": r"\tfrac12\lVert\sigma s(x+\sigma\epsilon)+\epsilon\rVert^2,\quad s=-\nabla E"},
        minimised_by="The energy minimises it.",
        when="First of the score losses: cheap, and thin data are no trouble.",
        fails="Fits the noisy data; a very small noise drowns the gradient.",
        references=(
            Reference(
                authors="Vincent",
                year=2011,
                title="A Connection Between Score Matching and Denoising Autoencoders",
                venue="Neural Computation",
                url="https://doi.org/10.1162/NECO_a_00142",
                equation="(11)",
            ),
            Reference(
                authors="Song, Ermon",
                year=2019,
                title="Generative Modeling by Estimating Gradients of the Data Distribution",
                venue="NeurIPS",
                url="https://arxiv.org/abs/1907.05600",
                equation="(5), (6)",
            ),
        ),
    )

    sigmas: tuple[float, ...] = (0.1,)

    def __post_init__(self) -> None:
        each_positive(sigmas=self.sigmas)
        object.__setattr__(self, "sigmas", tuple(self.sigmas))  # a list would have no hash

    @property
    def noise_level(self) -> float:
        """The noise level, or 0 with several: the energy is then told which one it meets."""
        return self.sigmas[0] if len(self.sigmas) == 1 else 0.0

    def _terms(
        self,
        energy: Energy,
        real: Tensor,
        rng: torch.Generator,
        sampler: Sampler | None,
        noise: NoiseDensity | None,
        state: dict[str, Tensor],
    ) -> EnergyTerms:
        levels = real.new_tensor(self.sigmas)
        drawn = torch.randint(len(levels), (len(real),), generator=rng, device=rng.device).to(real.device)
        sigma = levels[drawn]
        wide = sigma.reshape(-1, *(1,) * (real.ndim - 1))
        error = torch.empty_like(real).normal_(generator=rng)
        with torch.enable_grad():
            noisy = (real + wide * error).requires_grad_()
            score = _score(energy, noisy, *(() if len(levels) == 1 else (sigma,)))
        surrogate = 0.5 * _rows(wide * score + error).square().sum(1)
        return EnergyTerms(surrogate=surrogate, parts={"denoising": surrogate})
