"""Maximum likelihood for models with an exact log-density, and bits per dimension."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from genloss.losses._checks import at_least_float32, floating, not_empty, random_stream
from genloss.losses._fields import at_least
from genloss.losses._references import NNDL
from genloss.losses.card import Card, Loss, Reference

__all__ = ["LikelihoodLoss", "MaximumLikelihood", "bits_per_dimension", "dequantise"]


class LikelihoodLoss(Loss, ABC):
    """A loss on the log-density that a model gives to the data. A subclass writes `_loss`."""

    family: ClassVar[str] = "likelihood_loss"

    @final
    def __call__(self, log_prob: Tensor) -> Tensor:
        """Returns what the model minimises, per sample.

        Args:
            log_prob: $\\log p(x)$ of each sample, `(batch,)`, floating, nats.

        Returns:
            `(batch,)`, nats, float32 or better.

        Raises:
            TypeError: the tensor is not floating.
            ValueError: it is empty or has more than one axis.
        """
        floating(log_prob=log_prob)
        not_empty(log_prob=log_prob)
        if log_prob.ndim != 1:
            raise ValueError(
                f"log_prob has shape {tuple(log_prob.shape)}, expected (batch,): one log-density a sample, summed over "
                f"its dimensions."
            )
        return self._loss(at_least_float32(log_prob))

    @abstractmethod
    def _loss(self, log_prob: Tensor) -> Tensor: ...


@dataclass(frozen=True, kw_only=True)
class MaximumLikelihood(LikelihoodLoss):
    r"""The negative log-likelihood.

    $$-\log p_\theta(x)$$

    Its mean over the data is the forward KL from the data to the model plus the entropy of the data, so its optimum is
    that entropy and not 0. Use it whenever the density is exact: flows, autoregressive models, mixtures. It fails on
    discrete data taken as continuous, where a density grows without bound: `dequantise` first. A negative value is no
    fault; densities may exceed 1.

    Example:
        >>> MaximumLikelihood()(torch.tensor([-1.0, 0.5]))
        tensor([ 1.0000, -0.5000])

    Source: Fisher 1922; Qiu 2020, section 13.1.
    """

    card: ClassVar[Card] = Card(
        name="maximum_likelihood",
        aliases=("nll", "negative_log_likelihood"),
        formula={"model": r"-\log p_\theta(x)"},
        minimised_by="The model minimises it alone; the optimum is the entropy of the data.",
        when="Whenever the model's density is exact.",
        fails="On discrete data taken as continuous the density grows without bound; it covers modes at the price of "
        "mass between them.",
        references=(
            Reference(
                authors="Fisher",
                year=1922,
                title="On the Mathematical Foundations of Theoretical Statistics",
                venue="Philosophical Transactions of the Royal Society A",
                url="https://doi.org/10.1098/rsta.1922.0009",
            ),
            NNDL.at("section 13.1"),
        ),
    )

    def _loss(self, log_prob: Tensor) -> Tensor:
        return -log_prob


def bits_per_dimension(log_prob: Tensor, dimensions: int, *, levels: int = 1) -> Tensor:
    r"""Returns $-\frac{\log p(x)}{D\log 2}+\log_2(\text{levels})$, the bits that the model spends on each value.

    For a density over data that `dequantise` spread over [0, 1), give its `levels`: the result is then an upper bound
    of the bits of the discrete values. For a probability of discrete values leave it at 1.

    Args:
        log_prob: `(...)`, nats, summed over dimensions.
        dimensions: values in one sample, at least 1: 3072 for a colour image of 32 x 32.
        levels: number of discrete levels that [0, 1) stands for, at least 1.

    Returns:
        `(...)`, bits.

    Raises:
        TypeError: the tensor is not floating.
        ValueError: a number is below 1.

    Example:
        >>> bits_per_dimension(torch.zeros(1), 4, levels=256)
        tensor([8.])

    Source: Theis, van den Oord & Bethge 2016, section 3.1.
    """
    floating(log_prob=log_prob)
    at_least(1, dimensions=dimensions, levels=levels)
    return at_least_float32(log_prob) * (-1.0 / (dimensions * math.log(2.0))) + math.log2(levels)


def dequantise(x: Tensor, levels: int, rng: torch.Generator) -> Tensor:
    r"""Returns $(k+u)/\text{levels}$ with $u\sim U[0,1)$: discrete values spread over their bins in [0, 1).

    The expected log-density of the result, less $D\log(\text{levels})$, bounds the log-probability of the discrete
    values from below.

    Args:
        x: the values $k$, integers from 0 to `levels - 1` in any dtype.
        levels: number of levels, at least 2.
        rng: where the noise is drawn from.

    Returns:
        The shape of `x`, float32 or better.

    Raises:
        ValueError: `levels` is below 2, or (checked on the CPU only) a value is none of the levels.

    Example:
        >>> spread = dequantise(torch.tensor([0, 255]), 256, torch.Generator().manual_seed(0))
        >>> (spread * 256).floor()
        tensor([  0., 255.])

    Source: Theis, van den Oord & Bethge 2016, section 3.1.
    """
    at_least(2, levels=levels)
    random_stream(rng)
    if x.device.type == "cpu" and bool(((x < 0) | (x > levels - 1) | (x != x.round())).any()):
        raise ValueError(
            f"x lies in [{float(x.min()):.4g}, {float(x.max()):.4g}], expected integers from 0 to {levels - 1}; undo "
            f"the scaling first."
        )
    values = at_least_float32(x) if x.is_floating_point() else x.float()
    noise = torch.empty_like(values).uniform_(generator=rng)
    # Rounding may reach the next bin's edge; the largest number below it stays inside.
    upper = torch.nextafter((values + 1.0) / levels, torch.zeros_like(values))
    return torch.minimum((values + noise) / levels, upper)
