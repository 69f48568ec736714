"""The importance-weighted bound of log p(x) and its gradient estimators."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from genloss.losses import _likelihood_references as source
from genloss.losses._fields import at_least, one_of
from genloss.losses.card import Card, Reference
from genloss.losses.variational import DiagonalNormal, VariationalLoss, VariationalTerms

__all__ = ["IWAE"]


@dataclass(frozen=True, kw_only=True)
class IWAE(VariationalLoss):
    r"""The importance-weighted bound, which tightens with the number of samples.

    $$\log\frac1k\sum_{i=1}^k w_i,\qquad w_i=\frac{p(x|z_i)\,p(z_i)}{q(z_i|x)}$$

    What is reported is this bound; what is minimised has the gradient of its negative, by one of three estimators.
    Use it for a better likelihood than the ELBO's. It fails for the encoder: with many samples the standard gradient of
    the encoder drowns in noise, since the bound depends less on it. The doubly reparameterised one does not, has the
    same mean, and costs one more pass back through the decoder.

    Args:
        samples: number $k$ of latents per data point, at least 1; with 1 it is the ELBO.
        gradient: `standard` differentiates the bound; `doubly_reparameterised` weights the path through the latents by
            $\tilde w_i^2$, unbiased with less noise; `path` by $\tilde w_i$, unbiased for 1 sample alone.

    Raises:
        ValueError: a field is out of its range.

    Example:
        >>> posterior = DiagonalNormal(mean=torch.zeros(1, 2), log_variance=torch.zeros(1, 2))
        >>> z = posterior.sample(torch.Generator().manual_seed(0), 2)
        >>> IWAE(samples=2)(posterior, DiagonalNormal.standard_like(posterior), z, torch.tensor([[-1.0], [-3.0]])).bound
        tensor([-1.5662])

    Source: Burda, Grosse & Salakhutdinov 2016, equation 8 and section 3; Roeder, Wu & Duvenaud 2017 (path); Tucker et
    al. 2019, section 3 (doubly reparameterised).
    """

    card: ClassVar[Card] = Card(
        name="iwae",
        aliases=("importance_weighted",),
        formula={"autoencoder": r"-\log\frac1k\sum_i\frac{p(x|z_i)\,p(z_i)}{q(z_i|x)}"},
        minimised_by="Encoder and decoder minimise it together.",
        when="For a tighter bound of log p(x) than the ELBO; with many samples and gradient=doubly_reparameterised.",
        fails="The encoder's standard gradient drowns in noise as the samples grow; more samples cost more decoding.",
        references=(
            source.BURDA_2016.at("(8), section 3"),
            Reference(
                authors="Tucker, Lawson, Gu, Maddison",
                year=2019,
                title="Doubly Reparameterized Gradient Estimators for Monte Carlo Objectives",
                venue="ICLR",
                url="https://arxiv.org/abs/1810.04152",
                equation="section 3",
            ),
            Reference(
                authors="Roeder, Wu, Duvenaud",
                year=2017,
                title="Sticking the Landing: Simple, Lower-Variance Gradient Estimators for Variational Inference",
                venue="NeurIPS",
                url="https://arxiv.org/abs/1703.09194",
            ),
        ),
        # Of the first paper, whose epsilon of 1e-4 and stepwise falling rate a recipe has no keys for.
        paper={
            "train.optimizer": "adam",
            "train.learning_rate": 1e-3,
            "train.betas": [0.9, 0.999],
            "train.batch_size": 20,
        },
    )

    differentiates_latents: ClassVar[bool] = True

    samples: int = 5
    gradient: Literal["standard", "path", "doubly_reparameterised"] = "standard"

    def __post_init__(self) -> None:
        at_least(1, samples=self.samples)
        one_of("gradient", self.gradient, ("standard", "path", "doubly_reparameterised"))

    @property
    def bound_name(self) -> str:
        """More samples make a tighter bound; the gradient does not change it."""
        return f"iwae of {self.samples} samples"

    def _terms(
        self,
        posterior: DiagonalNormal,
        prior: DiagonalNormal,
        z: Tensor,
        log_likelihood: Tensor,
        rng: torch.Generator | None,
    ) -> VariationalTerms:
        # Without the gradient through the posterior's own parameters only the path through the latents is left.
        density = posterior if self.gradient == "standard" else posterior.detach()
        kl = density.log_prob(z) - prior.log_prob(z)
        log_weights = log_likelihood - kl
        bound = log_weights.logsumexp(0) - math.log(self.samples)
        weights = log_weights.detach().softmax(0)
        return VariationalTerms(
            surrogate=self._surrogate(z, log_weights, weights, bound),
            bound=bound,
            parts={
                "reconstruction": log_likelihood.mean(0),
                "kl": kl.mean(0),
                "effective_samples": 1.0 / weights.square().sum(0),
            },
        )

    def _surrogate(self, z: Tensor, log_weights: Tensor, weights: Tensor, bound: Tensor) -> Tensor:
        if self.gradient != "doubly_reparameterised" or not (z.requires_grad and torch.is_grad_enabled()):
            return -bound
        # The gradient of the bound weights every path by w; the decoder keeps that, and the latents need w squared.
        # A term of value 0 adds w squared less w on them.
        (on_z,) = torch.autograd.grad((weights * log_weights).sum(), z, retain_graph=True)
        missing = (weights - 1.0).unsqueeze(-1) * on_z
        extra = (missing * (z - z.detach())).sum((0, 2))
        return -bound - extra
