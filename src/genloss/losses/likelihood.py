"""Likelihoods: the densities that a decoder parameterises."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal, final

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

from genloss.losses import _likelihood_references as source
from genloss.losses._checks import (
    at_least_float32,
    finite_data,
    floating,
    logits_not_probabilities,
    not_empty,
    random_stream,
    same_kind,
)
from genloss.losses._fields import one_of, positive
from genloss.losses._references import NNDL
from genloss.losses.card import Card, Loss, Reference

__all__ = ["Bernoulli", "Gaussian", "Laplace", "Likelihood"]


class Likelihood(Loss, ABC):
    """The density $p(x|z)$ of the data given what the decoder puts out: a choice of its own beside the loss.

    Let `values = parameters_per_value + shared_parameters`. The parameters of data `(batch, *data)` have shape
    `(..., batch, *data)` when `values` is 1 and `(..., batch, *data, values)` otherwise; leading axes hold samples of
    the latent. The values are independent given the latent. Constants are included, so that log-likelihoods of
    different densities compare on the same data. A subclass writes `_log_prob`, `_mean` and `_sample`, elementwise.

    Class attributes:
        takes_logits: all parameters are logits, so that the decoder must not end in a sigmoid or a softmax.
    """

    family: ClassVar[str] = "likelihood"
    takes_logits: ClassVar[bool] = False

    @property
    def parameters_per_value(self) -> int:
        """How many numbers the decoder's network puts out for each value of the data."""
        return 1

    @property
    def shared_parameters(self) -> int:
        """How many scalars the decoder itself learns, appended to each value's parameters; start them at 0."""
        return 0

    def levels_of_data(self) -> Tensor | None:
        """Returns the values that have a probability, in order, or None for a density on the whole line."""
        return None

    @final
    def log_prob(self, x: Tensor, parameters: Tensor) -> Tensor:
        """Returns $\\log p(x|z)$, summed over the data axes.

        Args:
            x: data `(batch, *data)`, floating.
            parameters: as the class says, floating.

        Returns:
            `(..., batch)`, nats, float32 or better.

        Raises:
            TypeError: a tensor is not floating, or dtypes or devices differ (half precision counts as float32).
            ValueError: the shapes do not fit, logits come straight from a sigmoid or a softmax, or (checked on the CPU
                only, elsewhere it would wait for the device) `x` is not finite or outside the density's support.
        """
        floating(x=x, parameters=parameters)
        not_empty(x=x, parameters=parameters)
        trailing = self._trailing_axis()
        data = parameters.shape[:-1] if trailing else parameters.shape
        if tuple(data[max(0, len(data) - x.ndim) :]) != tuple(x.shape):
            wanted = ", ".join(str(size) for size in (*x.shape, *trailing))
            raise ValueError(
                f"parameters have shape {tuple(parameters.shape)} for data {tuple(x.shape)}, expected (..., {wanted}) "
                f"for {type(self).__name__}; size the decoder's output by parameters_per_value."
            )
        if self.takes_logits:
            logits_not_probabilities(parameters=parameters)
        x, parameters = at_least_float32(x), at_least_float32(parameters)
        same_kind(x=x, parameters=parameters)
        if x.is_cpu:
            self._check_support(x)
        value = self._log_prob(x, self._split(parameters))
        return value.sum(tuple(range(value.ndim - x.ndim + 1, value.ndim))) if x.ndim > 1 else value

    @final
    def mean(self, parameters: Tensor) -> Tensor:
        """Returns the mean of the density, `(..., batch, *data)`: what to show as an image."""
        return self._mean(self._split(parameters))

    @final
    def sample(self, parameters: Tensor, rng: torch.Generator) -> Tensor:
        """Draws data `(..., batch, *data)` from the density; raises TypeError when `rng` is no generator."""
        random_stream(rng)
        return self._sample(self._split(parameters), rng)

    def _trailing_axis(self) -> tuple[int, ...]:
        values = self.parameters_per_value + self.shared_parameters
        return (values,) if values > 1 else ()

    def _split(self, parameters: Tensor) -> tuple[Tensor, ...]:
        floating(parameters=parameters)
        parameters = at_least_float32(parameters)
        trailing = self._trailing_axis()
        if not trailing:
            return (parameters,)
        if parameters.ndim == 0 or parameters.shape[-1] != trailing[0]:
            raise ValueError(
                f"parameters have shape {tuple(parameters.shape)}, expected a last axis of {trailing[0]} for "
                f"{type(self).__name__}."
            )
        return parameters.unbind(-1)

    def _check_support(self, x: Tensor) -> None:
        """Raises ValueError when `x` is outside the support, by default the finite numbers."""
        finite_data(x=x)

    @abstractmethod
    def _log_prob(self, x: Tensor, parameters: tuple[Tensor, ...]) -> Tensor: ...

    @abstractmethod
    def _mean(self, parameters: tuple[Tensor, ...]) -> Tensor: ...

    @abstractmethod
    def _sample(self, parameters: tuple[Tensor, ...], rng: torch.Generator) -> Tensor: ...


@dataclass(frozen=True, kw_only=True)
class Bernoulli(Likelihood):
    r"""Binary values with the decoder's output as logits.

    $$\log p(x|l)=x\,l-\zeta(l),\qquad \zeta(l)=\log(1+e^l)$$

    Use it for binary data. Grey values in [0, 1] are accepted as probabilities, but the result is then a cross-entropy
    and no log-density: do not compare it with numbers on binarised data. Taking logits, it keeps its gradient where a
    probability would have rounded to 0 or 1.

    Raises:
        ValueError: data outside [0, 1].

    Example:
        >>> Bernoulli().log_prob(torch.tensor([[0.0, 1.0]]), torch.tensor([[20.0, 20.0]]))
        tensor([-20.])

    Source: Kingma & Welling 2014, appendix C.1, equation 11.
    """

    takes_logits: ClassVar[bool] = True
    card: ClassVar[Card] = Card(
        name="bernoulli",
        formula={"log_prob": r"x\,l-\zeta(l)"},
        minimised_by="Decoder and encoder minimise its negative as the reconstruction term.",
        when="For binary data, such as binarised digits.",
        fails="On grey values in [0, 1] it is a cross-entropy, not a log-density: not comparable with numbers on "
        "binary data.",
        references=(source.KINGMA_2014.at("appendix C.1, (11)"),),
    )

    def levels_of_data(self) -> Tensor:
        """Returns 0 and 1."""
        return torch.tensor([0.0, 1.0], dtype=torch.float64)

    def _check_support(self, x: Tensor) -> None:
        low, high = (float(end) for end in x.aminmax())
        if not (low >= 0.0 and high <= 1.0):
            raise ValueError(
                f"x lies in [{low:.4g}, {high:.4g}], expected [0, 1] for a Bernoulli density; rescale the data, for "
                f"[-1, 1] by (x + 1) / 2."
            )

    def _log_prob(self, x: Tensor, parameters: tuple[Tensor, ...]) -> Tensor:
        (logits,) = parameters
        # x l - softplus(l) cancels where a large logit is right; the log-probability of the nearer of 0 and 1 does not,
        # nor does what a grey value adds to it.
        nearer = x.round()
        beyond = x - nearer
        return torch.addcmul(logsigmoid(logits * nearer.mul_(2.0).sub_(1.0)), beyond, logits)

    def _mean(self, parameters: tuple[Tensor, ...]) -> Tensor:
        return parameters[0].sigmoid()

    def _sample(self, parameters: tuple[Tensor, ...], rng: torch.Generator) -> Tensor:
        return torch.bernoulli(parameters[0].sigmoid(), generator=rng)


@dataclass(frozen=True, kw_only=True)
class _LocationScale(Likelihood):
    """A density that the decoder's output moves and a fixed or learned scale widens."""

    variance: Literal["fixed", "shared", "predicted"] = "fixed"
    scale: float = 1.0
    minimum_scale: float = 1e-3

    def __post_init__(self) -> None:
        one_of("variance", self.variance, ("fixed", "shared", "predicted"))
        positive(scale=self.scale, minimum_scale=self.minimum_scale)
        if self.variance != "fixed" and self.minimum_scale >= self.scale:
            raise ValueError(f"minimum_scale is {self.minimum_scale}, expected a number below scale={self.scale}.")

    @property
    def parameters_per_value(self) -> int:
        """The location, and with `predicted` also the log-scale."""
        return 2 if self.variance == "predicted" else 1

    @property
    def shared_parameters(self) -> int:
        """The log-scale, with `shared`."""
        return 1 if self.variance == "shared" else 0

    def log_scale(self, s: Tensor) -> Tensor:
        r"""Returns $\log\sigma=\log(m+\sigma_\text{scale}\,e^{s})$ for the learned parameter `s`."""
        return soft_floor(s + math.log(self.scale), math.log(self.minimum_scale))

    def _log_prob(self, x: Tensor, parameters: tuple[Tensor, ...]) -> Tensor:
        if self.variance == "fixed":
            return self._standard_log_prob((x - parameters[0]) / self.scale) - math.log(self.scale)
        log_scale = self.log_scale(parameters[1])
        return self._standard_log_prob((x - parameters[0]) * (-log_scale).exp()) - log_scale

    def _mean(self, parameters: tuple[Tensor, ...]) -> Tensor:
        return parameters[0]

    def _sample(self, parameters: tuple[Tensor, ...], rng: torch.Generator) -> Tensor:
        noise = self._standard_sample(parameters[0], rng)
        return parameters[0] + noise * (self.scale if self.variance == "fixed" else self.log_scale(parameters[1]).exp())

    @abstractmethod
    def _standard_log_prob(self, u: Tensor) -> Tensor: ...

    @abstractmethod
    def _standard_sample(self, like: Tensor, rng: torch.Generator) -> Tensor: ...


def soft_floor(value: Tensor, floor: float) -> Tensor:
    """Returns log(e^floor + e^value): a smooth maximum, which is the value well above the floor."""
    return floor + softplus(value - floor)


@dataclass(frozen=True, kw_only=True)
class Gaussian(_LocationScale):
    r"""Normal values around the decoder's output, with a fixed or a learned scale.

    $$\log p(x|\mu,\sigma)=-\frac{(x-\mu)^2}{2\sigma^2}-\log\sigma-\frac12\log 2\pi$$

    A learned scale is $\sigma=m+\sigma_\text{scale}\,e^{s}$ with the parameter $s$ and the floor $m$, `minimum_scale`:
    where a decoder could reproduce its data exactly, the density would otherwise grow without bound. With a fixed scale
    of 1 this is the squared error, whose weight against the KL term is then an arbitrary choice; `shared` learns it,
    and is the safe start. `predicted` learns one for each value and can collapse onto constant pixels, down to the
    floor.

    Args:
        variance: `fixed`; `shared`, one scale that the decoder learns; or `predicted`, one for each value.
        scale: the fixed standard deviation in the units of the data, positive; a learned one is this and the
            floor at $s=0$.
        minimum_scale: the floor of a learned scale, positive and below `scale`.

    Raises:
        ValueError: a field is out of its range.

    Example:
        >>> Gaussian().log_prob(torch.zeros(1, 2), torch.zeros(1, 2))
        tensor([-1.8379])

    Source: Kingma & Welling 2014, appendix C.2, equation 12; Rybkin, Daniilidis & Levine 2021, section 4; Qiu 2020,
    equation 13.28, where the half of the squared error is missing and the KL term has the wrong sign.
    """

    card: ClassVar[Card] = Card(
        name="gaussian",
        aliases=("normal",),
        formula={"log_prob": r"-\frac{(x-\mu)^2}{2\sigma^2}-\log\sigma-\frac12\log2\pi"},
        minimised_by="Decoder and encoder minimise its negative as the reconstruction term.",
        when="For continuous data; with variance=shared unless the noise of the data is known.",
        fails="A fixed scale fixes the weight of the KL term, too large a one collapses the posterior; a predicted one "
        "shrinks onto constant values.",
        references=(
            source.KINGMA_2014.at("appendix C.2, (12)"),
            Reference(
                authors="Rybkin, Daniilidis, Levine",
                year=2021,
                title="Simple and Effective VAE Training with Calibrated Decoders",
                venue="ICML",
                url="https://arxiv.org/abs/2006.13202",
                equation="section 4",
            ),
            NNDL.at("(13.28)"),
        ),
    )

    def _standard_log_prob(self, u: Tensor) -> Tensor:
        return -0.5 * u.square() - 0.5 * math.log(2.0 * math.pi)

    def _standard_sample(self, like: Tensor, rng: torch.Generator) -> Tensor:
        return torch.empty_like(like).normal_(generator=rng)


@dataclass(frozen=True, kw_only=True)
class Laplace(_LocationScale):
    r"""Laplace values around the decoder's output: the absolute error as a density.

    $$\log p(x|\mu,b)=-\frac{|x-\mu|}{b}-\log 2b$$

    The scale is fixed or learned as in `Gaussian`. Use it for continuous data with rare large errors: it forgives them,
    and its mode is the median, so that images come out sharper. The fields' risks are those of `Gaussian`.

    Args:
        variance: `fixed`, `shared` or `predicted`: how the scale $b$ is chosen, as in `Gaussian`.
        scale: the fixed $b$ in the units of the data, positive; a learned one is this and the floor at
            parameter 0.
        minimum_scale: the floor of a learned scale, positive and below `scale`.

    Raises:
        ValueError: a field is out of its range.

    Example:
        >>> Laplace().log_prob(torch.zeros(1, 2), torch.zeros(1, 2))
        tensor([-1.3863])

    Source: Kotz, Kozubowski & Podgorski 2001, equation 2.1.1.
    """

    card: ClassVar[Card] = Card(
        name="laplace",
        formula={"log_prob": r"-\frac{|x-\mu|}{b}-\log2b"},
        minimised_by="Decoder and encoder minimise its negative as the reconstruction term.",
        when="For continuous data with rare large errors.",
        fails="As the Gaussian: a fixed scale fixes the weight of the KL term, a predicted one can shrink.",
        references=(
            Reference(
                authors="Kotz, Kozubowski, Podgorski",
                year=2001,
                title="The Laplace Distribution and Generalizations",
                venue="Birkhaeuser",
                url="https://doi.org/10.1007/978-1-4612-0173-1",
                equation="(2.1.1)",
            ),
        ),
    )

    def _standard_log_prob(self, u: Tensor) -> Tensor:
        return -u.abs() - math.log(2.0)

    def _standard_sample(self, like: Tensor, rng: torch.Generator) -> Tensor:
        # A difference of two exponentials; no logarithm of 0 can come up.
        positive_part, negative_part = (torch.empty_like(like).exponential_(generator=rng) for _ in range(2))
        return positive_part - negative_part
