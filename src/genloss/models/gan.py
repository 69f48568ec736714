"""Generative adversarial networks: a generator and a critic, any adversarial loss, any penalties."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from genloss.errors import InputError
from genloss.losses import AdversarialLoss, Constraint, Penalty
from genloss.models.base import GenerativeModel, Memory, Player, Streams, Terms
from genloss.models.prior import Prior
from genloss.networks import couples_batch

__all__ = ["GAN", "AppliedPenalty"]


@dataclass(frozen=True)
class AppliedPenalty:
    """A penalty on the critic with its weight, computed every `interval` turns (and then `interval` times as heavy).

    Args:
        penalty: the penalty.
        weight: factor of its mean, at least 0.
        interval: compute it in every `interval`-th turn only, at least 1.
    """

    penalty: Penalty
    weight: float = 1.0
    interval: int = 1


class GAN(GenerativeModel):
    r"""A generator $G$ and a critic $D$ that minimise the two sides of one adversarial loss in turn.

    The critic moves on detached fakes, the generator through a frozen critic. With `Wasserstein`, `WeightClip(0.01)`,
    RMSProp and 5 critic updates a turn it is algorithm 13.2 of NNDL.

    Args:
        generator: maps noise `(batch, prior.dim)` to `(batch, *shape)`.
        discriminator: maps `(batch, *shape)` to scores `(batch, ...)`, unbounded.
        loss: the adversarial loss.
        prior: the prior of the noise.
        penalties: penalties on the critic.
        constraints: applied to the critic's parameters after each of its updates.
        critic_updates: critic updates a turn.

    Example:
        >>> from genloss.losses import Hinge
        >>> from genloss.networks import MLP
        >>> mlp = MLP(width=8, depth=1)
        >>> gan = GAN(mlp.generator(2, (2,)), mlp.critic((2,)), Hinge(), Prior("normal", 2))
        >>> rng = torch.Generator().manual_seed(0)
        >>> tuple(gan.sample(3, rng=rng).shape)
        (3, 2)

    Source: Goodfellow et al. 2014, algorithm 1; NNDL algorithms 13.1 and 13.2.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        loss: AdversarialLoss,
        prior: Prior,
        *,
        penalties: Sequence[AppliedPenalty] = (),
        constraints: Sequence[Constraint] = (),
        critic_updates: int = 1,
    ) -> None:
        super().__init__()
        self.generator = generator
        self.discriminator = discriminator
        self.loss = loss
        self.prior = prior
        self.penalties = tuple(penalties)
        self.constraints = tuple(constraints)
        self.players = (
            Player("discriminator", "discriminator", updates=critic_updates),
            Player("generator", "generator"),
        )
        self._one_pass = not couples_batch(discriminator)
        names = [applied.penalty.card.name for applied in self.penalties]
        if len(set(names)) < len(names):
            raise InputError(f"a penalty is given twice: {', '.join(names)}; give each once, with its whole weight.")
        states = {"loss": loss.init_state()} | {a.penalty.card.name: a.penalty.init_state() for a in self.penalties}
        self.memories = nn.ModuleDict({name: Memory(state) for name, state in states.items()})

    def losses(self, player: str, x: Tensor, streams: Streams, turn: int) -> Terms:
        """Returns the terms of `discriminator` or `generator` on the real batch `x`."""
        if player == "generator":
            return self._generator_terms(x, streams)
        if player == "discriminator":
            return self._discriminator_terms(x, streams, turn)
        raise InputError(f"a GAN has no player {player!r}; its players are discriminator and generator.")

    def _generator_terms(self, x: Tensor, streams: Streams) -> Terms:
        fake_scores = self.discriminator(self.generator(self.prior.draw(len(x), streams.noise)))
        real_scores = None
        if self.loss.generator_needs_real:
            with torch.no_grad():
                real_scores = self.discriminator(x)
        terms = Terms()
        terms.add("loss", self.loss.generator(fake_scores, real_scores))
        return terms

    def _discriminator_terms(self, x: Tensor, streams: Streams, turn: int) -> Terms:
        with torch.no_grad():
            fake = self.generator(self.prior.draw(len(x), streams.noise)).to(x.dtype)
        active = [applied for applied in self.penalties if turn % applied.interval == 0]
        points = {point for applied in active for point in applied.penalty.points}
        real_scores, fake_scores, x, fake = self._score(x, fake, points)
        terms = Terms()
        terms.note("real_score", real_scores)
        terms.note("fake_score", fake_scores)
        memory = self._memory("loss")
        terms.add("loss", self.loss.discriminator(real_scores, fake_scores, state=memory.state()))
        memory.replace(self.loss.next_state(memory.state(), real_scores, fake_scores))
        for applied in active:
            penalty, memory = applied.penalty, self._memory(applied.penalty.card.name)
            values = penalty(
                self.discriminator,
                x,
                fake,
                streams.penalty,
                real_scores=real_scores if "real" in penalty.points else None,
                fake_scores=fake_scores if "fake" in penalty.points else None,
                state=memory.state(),
            )
            terms.add(penalty.card.name, values, weight=applied.weight * applied.interval)
            memory.replace(penalty.next_state(memory.state(), real_scores, fake_scores))
        return terms

    def _memory(self, name: str) -> Memory:
        memory = self.memories[name]
        assert isinstance(memory, Memory)
        return memory

    def _score(self, real: Tensor, fake: Tensor, points: set[str]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Scores both halves, in one pass where nothing couples them; penalised points get an input gradient first."""
        if self._one_pass and not points & {"real", "fake"}:
            real_scores, fake_scores = self.discriminator(torch.cat((real, fake))).chunk(2)
            return real_scores, fake_scores, real, fake
        scored = []
        for name, x in (("real", real), ("fake", fake)):
            penalised = name in points
            x = x.detach().requires_grad_() if penalised else x
            # A penalty differentiates these scores twice, which bfloat16 is too coarse for.
            with torch.autocast(x.device.type, enabled=torch.is_autocast_enabled(x.device.type) and not penalised):
                scored.append((self.discriminator(x).to(x.dtype), x))
        (real_scores, real), (fake_scores, fake) = scored
        return real_scores, fake_scores, real, fake

    def after_update(self, player: str) -> None:
        """Applies the constraints to the critic's parameters."""
        if player == "discriminator":
            for constraint in self.constraints:
                constraint.apply_(self.discriminator.parameters())

    def sample(self, n: int, *, rng: torch.Generator) -> Tensor:
        """Draws `n` samples `(n, *shape)` from the generator."""
        samples: Tensor = self.generator(self.prior.draw(n, rng))
        return samples
