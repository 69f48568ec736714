"""Moment matching: a generator that minimises a distance between samples, of the data or of their codes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from genloss.losses import SampleDistance
from genloss.models.base import GenerativeModel, Player, Streams
from genloss.models.prior import Prior
from genloss.models.restraints import Restraint
from genloss.models.terms import Terms

__all__ = ["Autoencoder", "MomentMatching"]


class Autoencoder(nn.Module):
    """An encoder into codes of (0, 1) and a decoder back.

    Args:
        encoder: maps `(batch, *shape)` to `(batch, codes)`, unbounded; a sigmoid follows.
        decoder: maps codes `(batch, codes)` to `(batch, *shape)`.
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder

    def forward(self, x: Tensor) -> Tensor:
        """Returns the reconstruction of `x`."""
        reconstruction: Tensor = self.decoder(self.encode(x))
        return reconstruction

    def encode(self, x: Tensor) -> Tensor:
        """Returns the codes of `x`, `(batch, codes)` in (0, 1)."""
        return torch.sigmoid(self.encoder(x))


class MomentMatching(GenerativeModel):
    r"""A generator that minimises $d(G(z), x)$, for example a maximum mean discrepancy (GMMN).

    With an autoencoder, that one trains first, alone, on the squared error; then it stands still, the generator matches
    its codes, and samples are decoded (GMMN+AE).

    Args:
        generator: maps noise to `(batch, *shape)`, or to codes when there is an autoencoder (a sigmoid follows).
        loss: the distance between two sets of samples.
        prior: the prior of the noise.
        autoencoder: matches its codes instead of the data, or None.
        autoencoder_turns: turns in which the autoencoder trains, before the generator's.
        penalties: penalties and constraints on the players' parameters.

    Example:
        >>> from genloss.losses import MMD
        >>> from genloss.networks import MLP
        >>> model = MomentMatching(MLP(width=8, depth=1).generator(2, (2,)), MMD(), Prior("normal", 2))
        >>> streams = Streams(torch.Generator(), torch.Generator())
        >>> model.losses("generator", torch.zeros(4, 2), streams, 1).total().shape
        torch.Size([])

    Source: Li, Swersky & Zemel 2015, algorithms 1 and 2.
    """

    def __init__(
        self,
        generator: nn.Module,
        loss: SampleDistance,
        prior: Prior,
        *,
        autoencoder: Autoencoder | None = None,
        autoencoder_turns: int = 0,
        penalties: Sequence[Restraint] = (),
    ) -> None:
        super().__init__()
        self.generator = generator
        self.loss = loss
        self.prior = prior
        self.autoencoder = autoencoder
        players: tuple[Player, ...] = (Player("generator", "generator"),)
        if autoencoder is not None:
            players = (
                Player("autoencoder", "autoencoder", last_turn=autoencoder_turns),
                Player("generator", "generator", first_turn=autoencoder_turns + 1),
            )
        self._set_players(players, penalties)

    def _losses(self, player: str, x: Tensor, streams: Streams, turn: int) -> Terms:
        terms = Terms()
        if player == "autoencoder":
            assert self.autoencoder is not None
            terms.add("loss", (self.autoencoder(x) - x).square().flatten(1).sum(1))
            return terms
        matched = self.generator(self.prior.draw(len(x), streams.noise))
        if self.autoencoder is not None:
            matched = torch.sigmoid(matched)
            with torch.no_grad():
                x = self.autoencoder.encode(x)
        terms.add("loss", self.loss(matched, x, rng=streams.penalty))
        return terms

    def sample(self, n: int, *, rng: torch.Generator) -> Tensor:
        """Draws `n` samples `(n, *shape)`."""
        samples: Tensor = self.generator(self.prior.draw(n, rng))
        if self.autoencoder is not None:
            samples = self.autoencoder.decoder(torch.sigmoid(samples))
        return samples
