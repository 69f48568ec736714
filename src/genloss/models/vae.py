"""Variational autoencoders: an inference network, a decoder, any variational loss, any decoder density."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from genloss.losses import ELBO, DiagonalNormal, Likelihood, VariationalLoss
from genloss.losses._checks import at_least_float32
from genloss.models.base import Player, Streams
from genloss.models.decoding import DecodingModel, variational_terms
from genloss.models.prior import Prior
from genloss.models.restraints import Restraint
from genloss.models.terms import Terms

__all__ = ["VAE"]


class VAE(DecodingModel):
    r"""An inference network $q(z|x)$ and a decoder $p(x|z)$ that minimise one variational loss together.

    $z = \mu + \sigma \odot \epsilon$ (NNDL 13.27); the decoder's density is a choice of its own. A `Bernoulli` decoder
    reads data of range `value_range` as probabilities: it maps the range to [0, 1] and its means back.

    Args:
        encoder: maps `(batch, *shape)` to mean and log-variance, each `(batch, prior.dim)`.
        generator: the decoder; maps `(batch, prior.dim)` to the likelihood's parameters `(batch, *shape[, values])`.
        loss: the variational loss.
        likelihood: the decoder's density.
        prior: the prior of the latent.
        value_range: lowest and highest value of the data, for a Bernoulli decoder.
        penalties: penalties and constraints on the parameters.

    Example:
        >>> from genloss.losses import ELBO, Gaussian
        >>> from genloss.networks import MLP, GaussianInference
        >>> mlp = MLP(width=8, depth=1)
        >>> encoder = GaussianInference(mlp.critic((2,), outputs=4))
        >>> vae = VAE(encoder, mlp.generator(2, (2,), bounded=False), ELBO(), Gaussian(), Prior("normal", 2))
        >>> tuple(vae.bound(torch.zeros(3, 2), torch.Generator().manual_seed(0)).shape)
        (3,)

    Source: Kingma & Welling 2014, algorithm 1; NNDL section 13.2.
    """

    def __init__(
        self,
        encoder: nn.Module,
        generator: nn.Module,
        loss: VariationalLoss,
        likelihood: Likelihood,
        prior: Prior,
        *,
        value_range: tuple[float, float] = (0.0, 1.0),
        penalties: Sequence[Restraint] = (),
    ) -> None:
        super().__init__(generator, likelihood, value_range)
        self.encoder = encoder
        self.loss = loss
        self.prior = prior
        self._set_players((Player("autoencoder", ""),), penalties)

    def _losses(self, player: str, x: Tensor, streams: Streams, turn: int) -> Terms:
        posterior, u, log_likelihood = self._infer(x, streams.noise, self.loss.samples)
        result = self.loss(posterior, DiagonalNormal.standard_like(posterior), u, log_likelihood, rng=streams.penalty)
        return variational_terms(result)

    def _infer(self, x: Tensor, rng: torch.Generator, samples: int) -> tuple[DiagonalNormal, Tensor, Tensor]:
        mean, log_variance = self.encoder(x)
        posterior = DiagonalNormal(mean=at_least_float32(mean), log_variance=at_least_float32(log_variance))
        u = posterior.sample(rng, samples)
        return posterior, u, self._log_likelihood(x, self.prior.transform(u))

    @property
    def bound_name(self) -> str:
        """The bound that `bound` returns, and what it bounds."""
        return f"{ELBO().bound_name if self.loss.couples_batch else self.loss.bound_name}, {self._measured}"

    def bound(self, x: Tensor, rng: torch.Generator) -> Tensor:
        """Returns the bound of log p(x) that the loss reports, `(batch,)` in nats.

        For a loss whose samples see each other it is the ELBO, so that no sample's bound depends on its company.
        """
        posterior, u, log_likelihood = self._infer(x, rng, self.loss.samples)
        loss = ELBO(samples=self.loss.samples) if self.loss.couples_batch else self.loss
        bound: Tensor = loss(posterior, DiagonalNormal.standard_like(posterior), u, log_likelihood, rng=rng).bound
        return bound

    def encode(self, x: Tensor) -> Tensor:
        """Returns the posterior means in the space of the prior, `(batch, latent)`, in float32 or better."""
        return self.prior.transform(at_least_float32(self.encoder(x)[0]))

    def sample(self, n: int, *, rng: torch.Generator) -> Tensor:
        """Draws `n` latents from the prior and returns the decoder's means `(n, *shape)`.

        A draw from the decoder's density would add its pixel noise, which pictures and feature metrics do not want.
        """
        return self.decode(self.prior.draw(n, rng))

    def averaged_modules(self) -> tuple[str, ...]:
        """Both networks: the bound needs them to agree."""
        return ("encoder", "generator")
