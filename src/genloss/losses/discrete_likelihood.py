"""Likelihoods of values on a grid, such as 8-bit pixels: true probabilities, comparable in bits per dimension."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from genloss.losses._fields import at_least, finite_number, positive
from genloss.losses.card import Card, Reference
from genloss.losses.likelihood import Likelihood, soft_floor

__all__ = ["Categorical", "DiscretisedLogisticMixture"]

_OFF_GRID = 1e-3  # of a step, where rounding is finer
_ROUNDINGS = 4  # of the largest level to float32: what arithmetic on the data leaves of it


@dataclass(frozen=True, kw_only=True)
class _Grid(Likelihood):
    """A density over equally spaced levels of the data."""

    levels: int = 256
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        at_least(2, levels=self.levels)
        finite_number(low=self.low, high=self.high)
        if not self.low < self.high:
            raise ValueError(f"low={self.low} and high={self.high}, expected finite numbers with low below high.")

    @property
    def step(self) -> float:
        """The distance between two levels, in the units of the data."""
        return (self.high - self.low) / (self.levels - 1)

    def levels_of_data(self) -> Tensor:
        """Returns every level, from the lowest to the highest."""
        return torch.linspace(self.low, self.high, self.levels, dtype=torch.float64)

    def _check_support(self, x: Tensor) -> None:
        index = (x.detach().double() - self.low) / self.step
        off = (index - index.round()).abs().max().item()
        # Data in float64 may have been in float32 before. Half a step and more would be another level.
        rounding = torch.finfo(torch.float32).eps * max(abs(self.low), abs(self.high)) / self.step
        allowed = min(max(_OFF_GRID, _ROUNDINGS * rounding), 0.4)
        if not (off <= allowed and index.min() >= -allowed and index.max() <= self.levels - 1 + allowed):
            raise ValueError(
                f"x lies in [{float(x.min()):.4g}, {float(x.max()):.4g}] and up to {off:.2g} of a step off the grid, "
                f"expected {self.levels} levels from {self.low} to {self.high}; round the data to them, or set low, "
                f"high and levels as the data are."
            )

    def _index(self, x: Tensor) -> Tensor:
        return ((x - self.low) / self.step).round().long()


@dataclass(frozen=True, kw_only=True)
class Categorical(_Grid):
    r"""One probability for every level of a value.

    $$\log p(x|l)=l_{x}-\log\sum_k e^{l_k}$$

    Use it for values with few levels, or where their order means nothing. It fails to know that neighbouring levels are
    alike, and its decoder puts out `levels` numbers for each value.

    Args:
        levels: number of levels, at least 2.
        low: the lowest level, in the units of the data.
        high: the highest level.

    Raises:
        ValueError: a field is out of its range, or data off the grid.

    Example:
        >>> Categorical(levels=2).log_prob(torch.tensor([[0.0, 1.0]]), torch.zeros(1, 2, 2))
        tensor([-1.3863])

    Source: van den Oord, Kalchbrenner & Kavukcuoglu 2016, section 2.2.
    """

    takes_logits: ClassVar[bool] = True
    card: ClassVar[Card] = Card(
        name="categorical",
        formula={"log_prob": r"l_x-\log\sum_ke^{l_k}"},
        minimised_by="Decoder and encoder minimise its negative as the reconstruction term.",
        when="For values with few levels, or whose order means nothing.",
        fails="Neighbouring levels are strangers to it, and the decoder puts out one number for each level.",
        references=(
            Reference(
                authors="van den Oord, Kalchbrenner, Kavukcuoglu",
                year=2016,
                title="Pixel Recurrent Neural Networks",
                venue="ICML",
                url="https://arxiv.org/abs/1601.06759",
                equation="section 2.2",
            ),
        ),
    )

    @property
    def parameters_per_value(self) -> int:
        """One logit for each level."""
        return self.levels

    def _logits(self, parameters: tuple[Tensor, ...]) -> Tensor:
        return torch.stack(parameters, dim=-1)

    def _log_prob(self, x: Tensor, parameters: tuple[Tensor, ...]) -> Tensor:
        log_probabilities = self._logits(parameters).log_softmax(-1)
        index = self._index(x).expand(log_probabilities.shape[:-1])
        return log_probabilities.gather(-1, index.unsqueeze(-1)).squeeze(-1)

    def _mean(self, parameters: tuple[Tensor, ...]) -> Tensor:
        logits = self._logits(parameters)
        return logits.softmax(-1) @ self.levels_of_data().to(logits)

    def _sample(self, parameters: tuple[Tensor, ...], rng: torch.Generator) -> Tensor:
        probabilities = self._logits(parameters).softmax(-1)
        drawn = torch.multinomial(probabilities.flatten(0, -2), 1, generator=rng).reshape(probabilities.shape[:-1])
        return self.low + drawn.to(probabilities.dtype) * self.step


@dataclass(frozen=True, kw_only=True)
class DiscretisedLogisticMixture(_Grid):
    r"""A mixture of logistic densities, integrated over each level's bin.

    $$p(x)=\sum_i\pi_i\Big[\sigma\Big(\frac{x+h-\mu_i}{s_i}\Big)-\sigma\Big(\frac{x-h-\mu_i}{s_i}\Big)\Big]$$

    with $h$ half a step; the lowest and the highest bin reach to infinity, so that probabilities sum to 1. Use it for
    8-bit images: a few components describe 256 levels and know their order. Channels are independent given the latent,
    unlike in the paper. It fails on data that are not on the grid, which it refuses. Computed in log space, where no
    difference of sigmoids can round to 0.

    Args:
        components: number of mixture components, at least 1.
        levels: number of levels, at least 2.
        low: the lowest level, in the units of the data.
        high: the highest level.
        minimum_scale: soft floor of the $s_i$, in the units of the data, positive.

    Raises:
        ValueError: a field is out of its range, or data off the grid.

    Example:
        >>> density = DiscretisedLogisticMixture(components=1, levels=2)
        >>> density.log_prob(torch.zeros(1, 1), torch.tensor([[[0.0, 0.5, 0.0]]])).exp()
        tensor([0.5000])

    Source: Salimans et al. 2017, equations 1 and 2.
    """

    card: ClassVar[Card] = Card(
        name="discretised_logistic_mixture",
        aliases=("discretized_logistic_mixture",),
        formula={"log_prob": r"\log\sum_i\pi_i[\sigma((x+h-\mu_i)/s_i)-\sigma((x-h-\mu_i)/s_i)]"},
        minimised_by="Decoder and encoder minimise its negative as the reconstruction term.",
        when="For 8-bit images: true probabilities in bits per dimension, from a few parameters.",
        fails="Needs data on the grid; channels are independent given the latent.",
        references=(
            Reference(
                authors="Salimans, Karpathy, Chen, Kingma",
                year=2017,
                title="PixelCNN++: Improving the PixelCNN with Discretized Logistic Mixture Likelihood and Other "
                "Modifications",
                venue="ICLR",
                url="https://arxiv.org/abs/1701.05517",
                equation="(1), (2)",
            ),
        ),
    )

    components: int = 5
    minimum_scale: float = 1e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, components=self.components)
        positive(minimum_scale=self.minimum_scale)

    @property
    def parameters_per_value(self) -> int:
        """A logit, a mean and a log-scale for each component, in this order."""
        return 3 * self.components

    def _components(self, parameters: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, Tensor]:
        """Returns logits, means and log-scales, each `(..., components)`."""
        logits, means, log_scales = torch.stack(parameters, dim=-1).chunk(3, dim=-1)
        return logits, means, soft_floor(log_scales, math.log(self.minimum_scale))

    def _log_prob(self, x: Tensor, parameters: tuple[Tensor, ...]) -> Tensor:
        logits, means, log_scales = self._components(parameters)
        index = self._index(x).unsqueeze(-1)
        inverse_scale = (-log_scales).exp()
        offset = self.low + index.to(means.dtype) * self.step - means
        upper, lower = (offset + 0.5 * self.step) * inverse_scale, (offset - 0.5 * self.step) * inverse_scale
        # sigma(u) - sigma(l) = sigma(u) sigma(-l) (1 - e^(l - u)), each factor exact in log space.
        width = (self.step * inverse_scale).clamp(min=1e-30)  # a huge scale would make it 0, and its logarithm infinite
        inside = logsigmoid(upper) + logsigmoid(-lower) + torch.log(-torch.expm1(-width))
        inside = torch.where(index == 0, logsigmoid(upper), inside)
        inside = torch.where(index == self.levels - 1, logsigmoid(-lower), inside)
        return (logits.log_softmax(-1) + inside).logsumexp(-1)

    def _mean(self, parameters: tuple[Tensor, ...]) -> Tensor:
        logits, means, log_scales = self._components(parameters)
        inverse_scale = (-log_scales).exp()
        # The sum over the edges between bins of the probability to lie above; one edge at a time needs little memory.
        steps, offset = torch.zeros_like(means), means * inverse_scale
        for edge in (self.levels_of_data()[:-1] + 0.5 * self.step).tolist():
            steps += torch.add(offset, inverse_scale, alpha=-edge).sigmoid_()
        return self.low + self.step * (logits.softmax(-1) * steps).sum(-1)

    def _sample(self, parameters: tuple[Tensor, ...], rng: torch.Generator) -> Tensor:
        logits, means, log_scales = self._components(parameters)
        chosen = torch.multinomial(logits.flatten(0, -2).softmax(-1), 1, generator=rng).reshape(*logits.shape[:-1], 1)
        mean, log_scale = (values.gather(-1, chosen).squeeze(-1) for values in (means, log_scales))
        first, second = (torch.empty_like(mean).exponential_(generator=rng).log() for _ in range(2))
        value = mean + (second - first) * log_scale.exp()
        return self.low + self._index(value.clamp(self.low, self.high)).to(mean.dtype) * self.step
