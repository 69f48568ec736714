"""Variational losses: bounds of log p(x) through an approximate posterior."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal, final

import torch
from torch import Tensor

from genloss.losses import _likelihood_references as source
from genloss.losses._checks import at_least_float32, floating, not_empty, random_stream, same_kind, same_shape
from genloss.losses._fields import at_least, not_negative, one_of
from genloss.losses._references import NNDL
from genloss.losses.card import Card, Loss, Reference
from genloss.losses.normal_divergences import inverse_deviation, kl_diagonal_normal_terms

__all__ = ["ELBO", "DiagonalNormal", "FreeBits", "VariationalLoss", "VariationalTerms"]


@dataclass(frozen=True, kw_only=True, eq=False)
class DiagonalNormal:
    r"""Independent normal distributions $N(\mu,\sigma^2)$: a posterior or a prior.

    Args:
        mean: `(batch, dim)`.
        log_variance: $\log\sigma^2$, same shape.

    Raises:
        TypeError: a tensor is not floating, or dtypes or devices differ.
        ValueError: a tensor is empty, shapes differ, or there is no batch.

    Example:
        >>> posterior = DiagonalNormal(mean=torch.zeros(3, 2), log_variance=torch.zeros(3, 2))
        >>> posterior.sample(torch.Generator().manual_seed(0), 5).shape
        torch.Size([5, 3, 2])
        >>> posterior.kl(DiagonalNormal.standard_like(posterior))
        tensor([0., 0., 0.])
    """

    mean: Tensor
    log_variance: Tensor

    def __post_init__(self) -> None:
        floating(mean=self.mean, log_variance=self.log_variance)
        not_empty(mean=self.mean)
        same_shape(mean=self.mean, log_variance=self.log_variance)
        same_kind(mean=self.mean, log_variance=self.log_variance)
        if self.mean.ndim < 2:
            raise ValueError(
                f"mean and log_variance have shape {tuple(self.mean.shape)}, expected (batch, dim): one distribution a "
                "sample; unsqueeze(0) a single one."
            )

    @classmethod
    def standard_like(cls, other: DiagonalNormal) -> DiagonalNormal:
        """Returns N(0, I) in the shape, dtype and device of `other`."""
        zeros = torch.zeros_like(other.mean, requires_grad=False)
        return cls(mean=zeros, log_variance=zeros)

    def sample(self, rng: torch.Generator, samples: int) -> Tensor:
        r"""Draws $z=\mu+\sigma\odot\epsilon$, `(samples, batch, dim)`, differentiable (NNDL 13.27).

        Raises:
            TypeError: `rng` is no generator.
            ValueError: `samples` is below 1.
        """
        random_stream(rng)
        at_least(1, samples=samples)
        mean, log_variance = at_least_float32(self.mean), at_least_float32(self.log_variance)
        noise = torch.empty((samples, *mean.shape), dtype=mean.dtype, device=mean.device).normal_(generator=rng)
        return mean + (0.5 * log_variance).exp() * noise

    def log_prob(self, z: Tensor) -> Tensor:
        """Returns the log-density of `z` `(..., batch, dim)`, summed over dimensions, `(..., batch)` in nats.

        Raises:
            TypeError: `z` is not floating, or of another dtype or device (half precision counts as float32).
            ValueError: its last two axes are not those of the mean.
        """
        return self.log_prob_terms(z).sum(-1)

    def log_prob_terms(self, z: Tensor) -> Tensor:
        """Returns the log-density of every dimension, `(..., batch, dim)` in nats; raises as `log_prob`."""
        floating(z=z)
        if z.shape[-self.mean.ndim :] != self.mean.shape:
            raise ValueError(
                f"z has shape {tuple(z.shape)}, expected (..., {', '.join(map(str, self.mean.shape))}) as the mean; "
                "reshape or expand it (nothing broadcasts)."
            )
        z, mean, log_variance = (at_least_float32(tensor) for tensor in (z, self.mean, self.log_variance))
        same_kind(z=z, mean=mean)
        scaled = (z - mean) * inverse_deviation(log_variance)
        return -0.5 * (scaled.square() + log_variance + math.log(2.0 * math.pi))

    def kl(self, other: DiagonalNormal) -> Tensor:
        """Returns the divergence KL(self, other) in closed form, `(batch,)` in nats."""
        return self.kl_terms(other).sum(-1)

    def kl_terms(self, other: DiagonalNormal) -> Tensor:
        """Returns the divergence of every dimension, `(batch, dim)` in nats."""
        return kl_diagonal_normal_terms(self.mean, self.log_variance, other.mean, other.log_variance)

    def kl_gradient_norm(self, other: DiagonalNormal) -> Tensor:
        r"""Returns $\lVert\partial KL/\partial(\mu,\log\sigma^2)\rVert_2$, `(batch,)`; 0 where both agree."""
        same_shape(mean=self.mean, other_mean=other.mean)
        own, other = _in_float32(self), _in_float32(other)
        same_kind(mean=own.mean, other_mean=other.mean)
        inverse = inverse_deviation(other.log_variance)
        on_mean = (own.mean - other.mean) * inverse * inverse
        on_log_variance = 0.5 * torch.expm1(own.log_variance - other.log_variance)
        norm: Tensor = torch.linalg.vector_norm(torch.cat((on_mean, on_log_variance), dim=-1), dim=-1)
        return norm

    def detach(self) -> DiagonalNormal:
        """Returns the same distribution without gradient to its parameters."""
        return DiagonalNormal(mean=self.mean.detach(), log_variance=self.log_variance.detach())


def _in_float32(normal: DiagonalNormal) -> DiagonalNormal:
    """Returns a distribution of half precision in float32, and every other one itself."""
    mean = at_least_float32(normal.mean)
    return normal if mean is normal.mean else DiagonalNormal(mean=mean, log_variance=normal.log_variance.float())


@dataclass(frozen=True, kw_only=True, eq=False)
class VariationalTerms:
    """What a variational loss returns, per sample.

    Args:
        surrogate: what is minimised, `(batch,)`; only its gradient has a meaning.
        bound: the bound of log p(x) to report, `(batch,)` in nats.
        parts: named terms, each `(batch,)` in nats.
    """

    surrogate: Tensor
    bound: Tensor
    parts: dict[str, Tensor]


class VariationalLoss(Loss, ABC):
    """A loss on a posterior q(z|x), a prior p(z) and the decoder's log p(x|z) at samples of the posterior.

    What is minimised (`surrogate`) and what is reported (`bound`) are kept apart: the first may carry weights or exist
    for its gradient alone. A subclass writes `_terms`, which gets everything in float32 or better.

    Class attributes:
        differentiates_latents: `_terms` takes a gradient in `z` and therefore gets the caller's own tensor, also in
            half precision: the decoder's path does not pass through a copy of it.
    """

    family: ClassVar[str] = "variational"
    differentiates_latents: ClassVar[bool] = False
    samples: int

    @property
    def bound_name(self) -> str:
        """Which bound of log p(x) is reported: two compare only when these are equal."""
        return "elbo"

    @final
    def __call__(
        self,
        posterior: DiagonalNormal,
        prior: DiagonalNormal,
        z: Tensor,
        log_likelihood: Tensor,
        *,
        rng: torch.Generator | None = None,
    ) -> VariationalTerms:
        """Returns the terms of the loss.

        Args:
            posterior: q(z|x), parameters `(batch, dim)`.
            prior: p(z) or p(z|c), same shape.
            z: samples of the posterior, `(samples, batch, dim)`, reparameterised.
            log_likelihood: $\\log p(x|z)$ at these, `(samples, batch)` in nats.
            rng: for a loss that draws numbers of its own.

        Raises:
            TypeError: a tensor is not floating, or dtypes or devices differ (half precision counts as float32).
            ValueError: shapes do not fit, or a loss that draws numbers got no `rng`.
        """
        floating(z=z, log_likelihood=log_likelihood)
        same_shape(posterior_mean=posterior.mean, prior_mean=prior.mean)
        expected = (self.samples, *posterior.mean.shape)
        if z.shape != expected:
            raise ValueError(
                f"z has shape {tuple(z.shape)}, expected {expected}: samples={self.samples} of a posterior of shape "
                f"{tuple(posterior.mean.shape)}. Draw them with posterior.sample(rng, {self.samples})."
            )
        if log_likelihood.shape != z.shape[:-1]:
            raise ValueError(
                f"log_likelihood has shape {tuple(log_likelihood.shape)}, expected {tuple(z.shape[:-1])} to fit z "
                f"{tuple(z.shape)}; sum it over the data axes, not over samples or batch."
            )
        posterior, prior = _in_float32(posterior), _in_float32(prior)
        lifted, log_likelihood = at_least_float32(z), at_least_float32(log_likelihood)
        same_kind(posterior=posterior.mean, prior=prior.mean, z=lifted, log_likelihood=log_likelihood)
        return self._terms(posterior, prior, z if self.differentiates_latents else lifted, log_likelihood, rng)

    @abstractmethod
    def _terms(
        self,
        posterior: DiagonalNormal,
        prior: DiagonalNormal,
        z: Tensor,
        log_likelihood: Tensor,
        rng: torch.Generator | None,
    ) -> VariationalTerms: ...


@dataclass(frozen=True, kw_only=True)
class ELBO(VariationalLoss):
    r"""The evidence lower bound, with the KL term weighted by $\beta$ in what is minimised.

    $$\frac1M\sum_m\log p(x|z_m)-\beta\,KL(q(z|x)\Vert p(z)),\qquad z_m=\mu+\sigma\odot\epsilon_m$$

    The bound reported is the one with $\beta=1$, whatever $\beta$ trains; its gap to $\log p(x)$ is the KL from
    $q(z|x)$ to the true posterior. Use it first. It fails by posterior collapse, when a strong decoder ignores $z$ and
    the KL term falls to 0: then warm $\beta$ up from 0. A $\beta$ above 1 trades reconstruction for independence.

    Args:
        beta: weight of the KL term, not negative; a recipe may schedule it.
        samples: number $M$ of latents per data point, at least 1.
        kl: `analytic`, or `monte_carlo` from the same latents.
        capacity: replaces the divergence by its distance $|KL-C|$ to this many nats; with a large `beta` it holds the
            divergence there, and a recipe may schedule it upwards.
        kl_gradient: weight of $\lVert\partial KL/\partial(\mu,\log\sigma^2)\rVert_2$, not negative. It pulls the
            posterior to the prior, with a force that does not fade near it.

    Raises:
        ValueError: a field is out of its range.

    Example:
        >>> posterior = DiagonalNormal(mean=torch.ones(1, 2), log_variance=torch.zeros(1, 2))
        >>> z = posterior.sample(torch.Generator().manual_seed(0), 1)
        >>> terms = ELBO(beta=4.0)(posterior, DiagonalNormal.standard_like(posterior), z, torch.full((1, 1), -3.0))
        >>> terms.surrogate, terms.bound
        (tensor([7.]), tensor([-4.]))

    Source: Kingma & Welling 2014, equations 7 and 10; Higgins et al. 2017, equation 4; Burgess et al. 2018, equation
    8; Qiu 2020, equations 13.20 to 13.27.
    """

    card: ClassVar[Card] = Card(
        name="elbo",
        aliases=("beta_vae", "vae"),
        formula={"autoencoder": r"-\frac1M\sum_m\log p(x|z_m)+\beta\,KL(q(z|x)\Vert p(z))"},
        minimised_by="Encoder and decoder minimise it together.",
        when="First; with beta=1 it bounds log p(x), with a larger one latents become more independent.",
        fails="Posterior collapse: a strong decoder ignores the latent and the KL term falls to 0. Warm beta up or use "
        "free bits.",
        references=(
            source.KINGMA_2014.at("(7), (10)"),
            Reference(
                authors="Higgins, Matthey, Pal, Burgess, Glorot, Botvinick, Mohamed, Lerchner",
                year=2017,
                title="beta-VAE: Learning Basic Visual Concepts with a Constrained Variational Framework",
                venue="ICLR",
                url="https://openreview.net/forum?id=Sy2fzU9gl",
                equation="(4)",
            ),
            Reference(
                authors="Burgess, Higgins, Pal, Matthey, Watters, Desjardins, Lerchner",
                year=2018,
                title="Understanding disentangling in beta-VAE",
                venue="arXiv",
                url="https://arxiv.org/abs/1804.03599",
                equation="(8)",
            ),
            NNDL.at("(13.20)-(13.27)"),
        ),
    )

    beta: float = 1.0
    samples: int = 1
    kl: Literal["analytic", "monte_carlo"] = "analytic"
    capacity: float | None = None
    kl_gradient: float = 0.0

    def __post_init__(self) -> None:
        not_negative(beta=self.beta, kl_gradient=self.kl_gradient)
        if self.capacity is not None:
            not_negative(capacity=self.capacity)
        at_least(1, samples=self.samples)
        one_of("kl", self.kl, ("analytic", "monte_carlo"))

    def _terms(
        self,
        posterior: DiagonalNormal,
        prior: DiagonalNormal,
        z: Tensor,
        log_likelihood: Tensor,
        rng: torch.Generator | None,
    ) -> VariationalTerms:
        reconstruction = log_likelihood.mean(0)
        kl = posterior.kl(prior) if self.kl == "analytic" else (posterior.log_prob(z) - prior.log_prob(z)).mean(0)
        weighed = kl if self.capacity is None else (kl - self.capacity).abs()
        surrogate = self.beta * weighed - reconstruction
        parts = {"reconstruction": reconstruction, "kl": kl}
        if self.kl_gradient > 0.0:
            parts["kl_gradient"] = posterior.kl_gradient_norm(prior)
            surrogate = surrogate + self.kl_gradient * parts["kl_gradient"]
        return VariationalTerms(surrogate=surrogate, bound=reconstruction - kl, parts=parts)


@dataclass(frozen=True, kw_only=True)
class FreeBits(VariationalLoss):
    r"""The evidence lower bound that lets every latent dimension carry some information for free.

    $$-\frac1M\sum_m\log p(x|z_m)+\beta\sum_j\max\big(\lambda,\,\overline{KL_j}\big)$$

    with $\overline{KL_j}$ the divergence of dimension $j$ averaged over the batch: the maximum comes **after** the
    mean. Use it against posterior collapse. It fails softly: dimensions settle just at $\lambda$, and one below it has
    no gradient from the KL term. The samples of a batch see each other through the mean. Each sample gets its own
    divergence where the mean is above $\lambda$ and $\lambda$ where it is not, so that the batch mean is the formula.

    Args:
        free: $\lambda$, nats for each dimension, not negative.
        beta: weight of the counted divergence, 1 in the paper, not negative; a recipe may schedule it.
        samples: number $M$ of latents per data point, at least 1.

    Raises:
        ValueError: a field is out of its range.

    Example:
        >>> posterior = DiagonalNormal(mean=torch.zeros(2, 3), log_variance=torch.zeros(2, 3))
        >>> z = posterior.sample(torch.Generator().manual_seed(0), 1)
        >>> FreeBits(free=0.5)(posterior, DiagonalNormal.standard_like(posterior), z, torch.zeros(1, 2)).surrogate
        tensor([1.5000, 1.5000])

    Source: Kingma et al. 2016, appendix C.8.
    """

    card: ClassVar[Card] = Card(
        name="free_bits",
        formula={"autoencoder": r"-\frac1M\sum_m\log p(x|z_m)+\beta\sum_j\max(\lambda,\overline{KL_j})"},
        minimised_by="Encoder and decoder minimise it together.",
        when="Against posterior collapse, with a strong decoder.",
        fails="Dimensions settle just at the free amount; below it the KL term has no gradient.",
        references=(
            Reference(
                authors="Kingma, Salimans, Jozefowicz, Chen, Sutskever, Welling",
                year=2016,
                title="Improved Variational Inference with Inverse Autoregressive Flow",
                venue="NeurIPS",
                url="https://arxiv.org/abs/1606.04934",
                equation="appendix C.8",
            ),
        ),
    )
    couples_batch: ClassVar[bool] = True

    free: float = 0.25
    beta: float = 1.0
    samples: int = 1

    def __post_init__(self) -> None:
        not_negative(free=self.free, beta=self.beta)
        at_least(1, samples=self.samples)

    def _terms(
        self,
        posterior: DiagonalNormal,
        prior: DiagonalNormal,
        z: Tensor,
        log_likelihood: Tensor,
        rng: torch.Generator | None,
    ) -> VariationalTerms:
        reconstruction = log_likelihood.mean(0)
        each = posterior.kl_terms(prior)
        counted = torch.where(each.mean(0) <= self.free, self.free, each).sum(-1)
        kl = each.sum(-1)
        return VariationalTerms(
            surrogate=self.beta * counted - reconstruction,
            bound=reconstruction - kl,
            parts={"reconstruction": reconstruction, "kl": kl, "counted_kl": counted},
        )
