"""What every model with a decoder shares: the density that the decoder parameterises, and the data's range."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn

from genloss.losses import Bernoulli, Likelihood, VariationalTerms
from genloss.models.base import GenerativeModel
from genloss.models.terms import Terms

__all__ = ["DecodingModel", "variational_terms"]


class DecodingModel(GenerativeModel):
    """A model that decodes latents to the parameters of a density of the data.

    A `Bernoulli` decoder reads data of range `value_range` as probabilities: it maps the range to [0, 1] and its means
    back.

    Args:
        generator: the decoder; maps latents to the likelihood's parameters `(batch, *shape[, values])`.
        likelihood: the decoder's density.
        value_range: lowest and highest value of the data, for a Bernoulli decoder.
    """

    def __init__(self, generator: nn.Module, likelihood: Likelihood, value_range: tuple[float, float]) -> None:
        super().__init__()
        self.generator = generator
        self.likelihood = likelihood
        self.low, self.high = value_range if isinstance(likelihood, Bernoulli) else (0.0, 1.0)
        self.shared = nn.Parameter(torch.zeros(likelihood.shared_parameters)) if likelihood.shared_parameters else None

    def _parameters_at(self, z: Tensor) -> Tensor:
        """Decodes latents `(batch, dim)` to the likelihood's parameters `(batch, *shape[, values])`."""
        out: Tensor = self.generator(z)
        if self.shared is None:
            return out
        return torch.stack((out, *(value.expand_as(out) for value in self.shared)), dim=-1)

    def _log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        """Returns log p(x|z) of data `(batch, *shape)` at latents `(samples, batch, dim)`, `(samples, batch)`."""
        parameters = self._parameters_at(z.flatten(0, 1)).unflatten(0, z.shape[:2])
        if (self.low, self.high) != (0.0, 1.0):
            x = (x - self.low).div_(self.high - self.low)
        return self.likelihood.log_prob(x, parameters)

    def decode(self, z: Tensor) -> Tensor:
        """Returns the decoder's mean for latents `(batch, dim)`."""
        mean: Tensor = self.likelihood.mean(self._parameters_at(z))
        return mean if (self.low, self.high) == (0.0, 1.0) else mean * (self.high - self.low) + self.low

    @property
    def _measured(self) -> str:
        """What the decoder gives the data: numbers of a density and of probabilities do not compare."""
        levels = self.likelihood.levels_of_data()
        return "density" if levels is None else f"probabilities of {len(levels)} levels"

    @abstractmethod
    def encode(self, x: Tensor) -> Tensor:
        """Returns the code of data `(batch, *shape)` at which it is reconstructed, `(batch, dim)`."""

    def reconstruct(self, x: Tensor) -> Tensor:
        """Returns the decoder's mean at the code of `x`."""
        return self.decode(self.encode(x))


def variational_terms(result: VariationalTerms) -> Terms:
    """Returns what a variational loss minimises, its parts and its bound noted beside it."""
    terms = Terms()
    for name, part in result.parts.items():
        terms.note(name, part)
    terms.note("bound", result.bound)
    terms.add("loss", result.surrogate)
    return terms
