"""Variational losses that see the aggregate posterior: the mixture of all posteriors of a batch."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from genloss.losses._checks import floating, not_empty, random_stream
from genloss.losses._fields import at_least, finite_number, not_negative
from genloss.losses.card import Card, Reference
from genloss.losses.distances import MMD, SampleDistance
from genloss.losses.variational import DiagonalNormal, VariationalLoss, VariationalTerms

__all__ = ["WAE", "BetaTCVAE", "InfoVAE", "permuted_latents"]

# Heavy tails and widths that fit the distances of standard normal latents in 2 to some 100 dimensions.
_LATENT_MMD = MMD(kernel="inverse_multiquadric", bandwidths=(1.0, 2.0, 4.0, 8.0, 16.0))


@dataclass(frozen=True, kw_only=True)
class BetaTCVAE(VariationalLoss):
    r"""The evidence lower bound with its KL term split into three, each with a weight.

    $$-E\log p(x|z)+\alpha\,I(x;z)+\beta\,KL\big(q(z)\Vert\textstyle\prod_jq(z_j)\big)
    +\gamma\sum_jKL(q(z_j)\Vert p(z_j))$$

    The three are the mutual information, the total correlation and the divergence of each dimension; they add up to
    the KL term. $q(z)$ is estimated from the batch with minibatch-stratified weights, whose mean over batches is exact
    for $q$ (its logarithm stays biased); a batch of the whole data set needs no estimate. Use it for independent
    latents. It fails with small batches, where the total correlation is mostly bias. The bound reported is the ELBO.

    Args:
        dataset_size: number of training samples, at least the batch.
        alpha: weight of the mutual information, not negative.
        beta: weight of the total correlation, not negative.
        gamma: weight of the divergence of each dimension, not negative.
        samples: number of latents per data point, at least 1.

    Raises:
        ValueError: a field is out of its range, or the batch is larger than the data set.

    Example:
        >>> posterior = DiagonalNormal(mean=torch.eye(4)[:, :2], log_variance=torch.zeros(4, 2))
        >>> z = posterior.sample(torch.Generator().manual_seed(0), 1)
        >>> loss = BetaTCVAE(dataset_size=100)
        >>> sorted(loss(posterior, DiagonalNormal.standard_like(posterior), z, torch.zeros(1, 4)).parts)
        ['dimension_kl', 'kl', 'mutual_information', 'reconstruction', 'total_correlation']

    Source: Chen et al. 2018, equations 2 and 4 and appendix C.2.
    """

    card: ClassVar[Card] = Card(
        name="beta_tc_vae",
        aliases=("total_correlation",),
        formula={
            "autoencoder": r"-E\log p(x|z)+\alpha I(x;z)+\beta KL(q(z)\Vert\prod_jq(z_j))"
            r"+\gamma\sum_jKL(q(z_j)\Vert p(z_j))"
        },
        minimised_by="Encoder and decoder minimise it together.",
        when="For independent latents, at less cost in reconstruction than a large beta on the whole KL term.",
        fails="Small batches: the estimate of the total correlation is then mostly bias.",
        references=(
            Reference(
                authors="Chen, Li, Grosse, Duvenaud",
                year=2018,
                title="Isolating Sources of Disentanglement in Variational Autoencoders",
                venue="NeurIPS",
                url="https://arxiv.org/abs/1802.04942",
                equation="(2), (4), appendix C.2",
            ),
        ),
    )
    couples_batch: ClassVar[bool] = True

    dataset_size: int
    alpha: float = 1.0
    beta: float = 6.0
    gamma: float = 1.0
    samples: int = 1

    def __post_init__(self) -> None:
        at_least(1, dataset_size=self.dataset_size, samples=self.samples)
        not_negative(alpha=self.alpha, beta=self.beta, gamma=self.gamma)

    def _terms(
        self,
        posterior: DiagonalNormal,
        prior: DiagonalNormal,
        z: Tensor,
        log_likelihood: Tensor,
        rng: torch.Generator | None,
    ) -> VariationalTerms:
        weights = _stratified_log_weights(z, self.dataset_size)
        # Every latent under every posterior of the batch: (samples, batch, batch, dim).
        pairs = posterior.log_prob_terms(z.unsqueeze(2).expand(-1, -1, z.shape[1], -1))
        log_joint = (pairs.sum(-1) + weights).logsumexp(2)
        log_marginals = (pairs + weights.unsqueeze(-1)).logsumexp(2).sum(-1)
        parts = {
            "reconstruction": log_likelihood.mean(0),
            "kl": posterior.kl(prior),
            "mutual_information": (posterior.log_prob(z) - log_joint).mean(0),
            "total_correlation": (log_joint - log_marginals).mean(0),
            "dimension_kl": (log_marginals - prior.log_prob(z)).mean(0),
        }
        weighed = (
            self.alpha * parts["mutual_information"]
            + self.beta * parts["total_correlation"]
            + self.gamma * parts["dimension_kl"]
        )
        return VariationalTerms(
            surrogate=weighed - parts["reconstruction"], bound=parts["reconstruction"] - parts["kl"], parts=parts
        )


def _stratified_log_weights(z: Tensor, dataset_size: int) -> Tensor:
    """Returns the log-weights `(batch, batch)` of sample j in the estimate of q at a latent of sample i, as `z` is."""
    batch = z.shape[1]
    if batch > dataset_size:
        raise ValueError(f"the batch holds {batch} samples, expected at most dataset_size={dataset_size}; correct it.")
    if batch == dataset_size:
        return z.new_full((batch, batch), -math.log(batch))
    if batch < 2:
        raise ValueError("the batch holds 1 sample, expected at least 2 to estimate the aggregate posterior.")
    others = batch - 1
    weights = z.new_full((batch, batch), 1.0 / others)
    rows = torch.arange(batch, device=z.device)
    weights[rows, rows] = 1.0 / dataset_size
    weights[rows, (rows + 1) % batch] = (dataset_size - others) / (dataset_size * others)
    return weights.log()


@dataclass(frozen=True, kw_only=True)
class _AggregateMatching(VariationalLoss):
    """Reconstruction, a weighted KL term, and a weighted distance of the batch's latents to the prior's."""

    couples_batch: ClassVar[bool] = True

    divergence: SampleDistance = _LATENT_MMD
    samples: int = 1

    def __post_init__(self) -> None:
        at_least(1, samples=self.samples)
        if not isinstance(self.divergence, SampleDistance):
            raise TypeError(
                f"divergence is {self.divergence!r}, expected a SampleDistance; pass an instance, such as MMD()."
            )

    @abstractmethod
    def _weights(self) -> tuple[float, float]:
        """Returns the weights of the KL term and of the aggregate divergence."""

    def _terms(
        self,
        posterior: DiagonalNormal,
        prior: DiagonalNormal,
        z: Tensor,
        log_likelihood: Tensor,
        rng: torch.Generator | None,
    ) -> VariationalTerms:
        if rng is None:
            raise ValueError(f"{type(self).__name__} draws from the prior and got no rng; pass rng=torch.Generator().")
        on_kl, on_aggregate = self._weights()
        reconstruction, kl = log_likelihood.mean(0), posterior.kl(prior)
        aggregate = self.divergence(z[0], prior.sample(rng, 1)[0], rng=rng).expand_as(kl)
        surrogate = on_aggregate * aggregate - reconstruction
        return VariationalTerms(
            # With weight 0 the term stays out: an encoder without noise has an infinite KL, and 0 times that is NaN.
            surrogate=surrogate + on_kl * kl if on_kl != 0.0 else surrogate,
            bound=reconstruction - kl,
            parts={"reconstruction": reconstruction, "kl": kl, "aggregate_divergence": aggregate},
        )


@dataclass(frozen=True, kw_only=True)
class InfoVAE(_AggregateMatching):
    r"""The evidence lower bound with a free weight on the information that the latent carries.

    $$-E\log p(x|z)+(1-\alpha)\,KL(q(z|x)\Vert p(z))+(\alpha+\lambda-1)\,D(q(z)\Vert p(z))$$

    $D$ is a distance between the batch's latents and the prior's, an MMD by default. With $\alpha=0$ it is the ELBO and
    that distance; with $\alpha=1$ only the aggregate is held to the prior (MMD-VAE, the same objective as `WAE`), so
    that the latent may say all it can. Use it where the ELBO collapses.
    It fails when $\lambda$ is too small for the scale of $D$: samples of the prior then decode badly. The bound
    reported is the ELBO.

    Args:
        information: $\alpha$, at most 1: how much of the KL term is given up.
        scale: $\lambda$, at least $1-\alpha$: weight of the aggregate divergence.
        divergence: the distance between latents and draws from the prior.
        samples: number of latents per data point; the first one enters the distance.

    Raises:
        TypeError: `divergence` is no `SampleDistance`.
        ValueError: a field is out of its range, or no `rng`.

    Example:
        >>> posterior = DiagonalNormal(mean=torch.zeros(8, 2), log_variance=torch.zeros(8, 2))
        >>> rng = torch.Generator().manual_seed(0)
        >>> z = posterior.sample(rng, 1)
        >>> terms = InfoVAE()(posterior, DiagonalNormal.standard_like(posterior), z, torch.zeros(1, 8), rng=rng)
        >>> terms.surrogate.shape
        torch.Size([8])

    Source: Zhao, Song & Ermon 2019, equation 6.
    """

    card: ClassVar[Card] = Card(
        name="info_vae",
        formula={
            "autoencoder": r"-E\log p(x|z)+(1-\alpha)KL(q(z|x)\Vert p(z))+(\alpha+\lambda-1)D(q(z)\Vert p(z))",
        },
        minimised_by="Encoder and decoder minimise it together.",
        when="Where the ELBO collapses: latents may carry information as long as the batch as a whole fits the prior.",
        fails="With too small a scale the latents leave the prior and its samples decode badly.",
        references=(
            Reference(
                authors="Zhao, Song, Ermon",
                year=2019,
                title="InfoVAE: Balancing Learning and Inference in Variational Autoencoders",
                venue="AAAI",
                url="https://arxiv.org/abs/1706.02262",
                equation="(6)",
            ),
        ),
    )

    information: float = 0.0
    scale: float = 1000.0

    def __post_init__(self) -> None:
        super().__post_init__()
        finite_number(information=self.information, scale=self.scale)
        if self.information > 1.0:
            raise ValueError(f"information is {self.information}, expected a finite number of at most 1.")
        if self.scale < 1.0 - self.information:
            raise ValueError(
                f"scale is {self.scale}, expected at least 1 - information = {1.0 - self.information}: below, the "
                f"aggregate is pushed away from the prior."
            )

    def _weights(self) -> tuple[float, float]:
        return 1.0 - self.information, self.information + self.scale - 1.0


@dataclass(frozen=True, kw_only=True)
class WAE(_AggregateMatching):
    r"""The Wasserstein autoencoder: reconstruction, and the aggregate posterior held to the prior.

    $$-E\log p(x|z)+\lambda\,D(q(z)\Vert p(z))$$

    With a Gaussian likelihood of fixed scale the first term is the squared cost of the paper. There is no KL term: the
    encoder may be sure of its latents. Use it for sharper reconstructions than a VAE's. It fails when the weight is too
    small for the scale of $D$. The bound reported is the ELBO, which a sure encoder makes very loose. With an MMD and
    an encoder that is not sure it is MMD-VAE, `InfoVAE` with $\alpha=1$.

    Args:
        scale: $\lambda$, not negative.
        divergence: the distance between latents and draws from the prior.
        samples: number of latents per data point; the first one enters the distance.

    Raises:
        TypeError: `divergence` is no `SampleDistance`.
        ValueError: a field is out of its range, or no `rng`.

    Example:
        >>> posterior = DiagonalNormal(mean=torch.zeros(8, 2), log_variance=torch.zeros(8, 2))
        >>> rng = torch.Generator().manual_seed(0)
        >>> z = posterior.sample(rng, 1)
        >>> terms = WAE(scale=0.0)(posterior, DiagonalNormal.standard_like(posterior), z, torch.ones(1, 8), rng=rng)
        >>> terms.surrogate.mean()
        tensor(-1.)

    Source: Tolstikhin et al. 2018, equation 4 and algorithm 2.
    """

    card: ClassVar[Card] = Card(
        name="wae",
        aliases=("wae_mmd", "mmd_vae"),
        formula={"autoencoder": r"-E\log p(x|z)+\lambda D(q(z)\Vert p(z))"},
        minimised_by="Encoder and decoder minimise it together.",
        when="For sharper reconstructions than a VAE's; no bound of log p(x) is needed.",
        fails="With too small a scale the latents leave the prior and its samples decode badly.",
        references=(
            Reference(
                authors="Tolstikhin, Bousquet, Gelly, Schoelkopf",
                year=2018,
                title="Wasserstein Auto-Encoders",
                venue="ICLR",
                url="https://arxiv.org/abs/1711.01558",
                equation="(4), algorithm 2",
            ),
        ),
        paper={
            "train.optimizer": "adam",
            "train.learning_rate": 1e-3,
            "train.betas": [0.5, 0.999],
            "train.batch_size": 100,
        },
    )

    scale: float = 10.0

    def __post_init__(self) -> None:
        super().__post_init__()
        not_negative(scale=self.scale)

    def _weights(self) -> tuple[float, float]:
        return 0.0, self.scale


def permuted_latents(z: Tensor, rng: torch.Generator) -> Tensor:
    r"""Returns latents whose dimensions do not depend on each other: draws of $\prod_jq(z_j)$ from draws of $q(z)$.

    Each dimension is permuted across the batch by itself. A critic that tells `z` from these estimates the total
    correlation $KL(q(z)\Vert\prod_jq(z_j))$ from its density ratio. It fails with small batches, in which most of the
    dimensions of a row stay together.

    Args:
        z: `(batch, latent)`, one draw for every data point.
        rng: draws the permutations.

    Returns:
        `(batch, latent)`; in every dimension the values of `z`, in another order.

    Raises:
        TypeError: `z` is not floating, or `rng` is no generator.
        ValueError: another number of axes, or an empty batch.

    Example:
        >>> z = torch.arange(4.0).unsqueeze(1).expand(4, 2)
        >>> permuted_latents(z, torch.Generator().manual_seed(0)).T
        tensor([[1., 2., 3., 0.],
                [1., 2., 0., 3.]])

    Source: Kim & Mnih 2018, algorithm 1.
    """
    floating(z=z)
    not_empty(z=z)
    random_stream(rng)
    if z.ndim != 2:
        raise ValueError(f"z has shape {tuple(z.shape)}, expected (batch, latent); take one draw of each data point.")
    order = torch.rand(z.shape, generator=rng, device=z.device).argsort(0)
    return z.gather(0, order)
