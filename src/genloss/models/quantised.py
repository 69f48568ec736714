"""A variational autoencoder with discrete latents: codes of a codebook."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from genloss.errors import InputError
from genloss.losses import Likelihood, Quantised, VariationalTerms, VectorQuantised
from genloss.models.base import Player, Streams
from genloss.models.decoding import DecodingModel, variational_terms
from genloss.models.restraints import Restraint
from genloss.models.terms import Memory, Terms

__all__ = ["Codebook", "QuantisedVAE"]


class Codebook(nn.Module):
    """The codes that latents may take: a parameter, or a moving average where the loss has a decay.

    Args:
        codes: number of codes, at least 2.
        dim: dimensions of a code, at least 1.
        positions: codes of one latent, at least 1.
        loss: says how the codes are learned.

    Raises:
        InputError: a number is too small.
    """

    def __init__(self, codes: int, dim: int, positions: int, loss: VectorQuantised) -> None:
        super().__init__()
        if codes < 2 or min(dim, positions) < 1:
            raise InputError(
                f"the codebook has {codes} codes of dimension {dim} at {positions} positions, expected at least 2, 1 "
                "and 1."
            )
        self.positions = positions
        start = torch.empty(codes, dim).uniform_(-1.0 / codes, 1.0 / codes)
        self.memory = Memory(loss.init_state(start))
        self.weight = nn.Parameter(start) if loss.decay is None else None

    @property
    def codes(self) -> Tensor:
        """The codes `(codes, dim)`."""
        return self.memory.state()["codebook"] if self.weight is None else self.weight

    def draw(self, n: int, rng: torch.Generator) -> Tensor:
        """Draws `n` latents of uniform codes, `(n, positions * dim)`."""
        chosen = torch.randint(len(self.codes), (n, self.positions), generator=rng, device=rng.device)
        return self.codes[chosen].flatten(1)


class QuantisedVAE(DecodingModel):
    r"""An encoder whose outputs snap to codes, and a decoder of the codes (VQ-VAE).

    A latent of $n\cdot d$ dimensions is $n$ codes of dimension $d$. Samples are decoded from codes drawn uniformly:
    the prior of the bound. That prior is poor, so use the model for its codes, or fit a stronger prior to them.

    Args:
        encoder: maps `(batch, *shape)` to `(batch, n * d)`.
        generator: the decoder; maps `(batch, n * d)` to the likelihood's parameters `(batch, *shape[, values])`.
        loss: the codebook and commitment terms.
        likelihood: the decoder's density.
        codebook: the codes, of dimension $d$.
        value_range: lowest and highest value of the data, for a Bernoulli decoder.
        penalties: penalties and constraints on the parameters.

    Example:
        >>> from genloss.losses import Gaussian
        >>> loss = VectorQuantised()
        >>> model = QuantisedVAE(nn.Linear(2, 6), nn.Linear(6, 2), loss, Gaussian(), Codebook(8, 3, 2, loss))
        >>> tuple(model.encode(torch.zeros(5, 2)).shape), tuple(model.bound(torch.zeros(5, 2), torch.Generator()).shape)
        ((5, 6), (5,))

    Source: van den Oord, Vinyals & Kavukcuoglu 2017, section 3.
    """

    def __init__(
        self,
        encoder: nn.Module,
        generator: nn.Module,
        loss: VectorQuantised,
        likelihood: Likelihood,
        codebook: Codebook,
        *,
        value_range: tuple[float, float] = (0.0, 1.0),
        penalties: Sequence[Restraint] = (),
    ) -> None:
        super().__init__(generator, likelihood, value_range)
        self.encoder = encoder
        self.loss = loss
        self.codebook = codebook
        self._set_players((Player("autoencoder", ""),), penalties)

    def _losses(self, player: str, x: Tensor, streams: Streams, turn: int) -> Terms:
        latents, quantised, result = self._quantised(x)
        state = self.codebook.memory.state()
        self.codebook.memory.replace(self.loss.next_state(state, latents, quantised.indices))
        return variational_terms(result)

    def _quantised(self, x: Tensor) -> tuple[Tensor, Quantised, VariationalTerms]:
        codes = self.codebook.codes
        latents = self.encoder(x).unflatten(1, (self.codebook.positions, -1)).to(codes.dtype)
        quantised = self.loss.quantise(latents, codes)
        log_likelihood = self._log_likelihood(x, quantised.codes.flatten(1).unsqueeze(0))[0]
        return latents, quantised, self.loss(latents, quantised, log_likelihood, codes=len(codes))

    @property
    def bound_name(self) -> str:
        """Codes under a uniform prior, and what is bounded."""
        return f"codes, {self._measured}"

    def bound(self, x: Tensor, rng: torch.Generator) -> Tensor:
        """Returns log p(x|e) less the cost of the codes under a uniform prior, `(batch,)` in nats."""
        return self._quantised(x)[2].bound

    def encode(self, x: Tensor) -> Tensor:
        """Returns the codes of `x`, `(batch, positions * dim)`."""
        return self._quantised(x)[1].codes.flatten(1)

    def sample(self, n: int, *, rng: torch.Generator) -> Tensor:
        """Draws codes uniformly and returns the decoder's means `(n, *shape)`."""
        return self.decode(self.codebook.draw(n, rng))

    def averaged_modules(self) -> tuple[str, ...]:
        """Both networks and the codebook, which must agree; codes that are a moving average have no parameters."""
        networks = ("encoder", "generator")
        return networks if self.codebook.weight is None else (*networks, "codebook")
