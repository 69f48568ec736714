"""Generative adversarial networks: a generator and a critic, any adversarial loss, any penalties."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import NamedTuple

import torch
from torch import Tensor, nn

from genloss.errors import InputError
from genloss.losses import AdversarialLoss, Constraint, FeaturePenalty, ParameterPenalty, Penalty
from genloss.models.base import GenerativeModel, Player, Streams
from genloss.models.critics import caught_features, head_of
from genloss.models.prior import Prior
from genloss.models.restraints import AppliedConstraint, AppliedPenalty, Restraint
from genloss.models.terms import Memory, Terms
from genloss.models.unrolling import Unrolling, unrolled
from genloss.networks import couples_batch

__all__ = ["GAN"]

FOLLOWED = frozenset({"real", "noise"})  # points that stay where they are when the generator moves


class _Scored(NamedTuple):
    """Both halves of a batch and their scores."""

    real: Tensor
    fake: Tensor
    real_scores: Tensor
    fake_scores: Tensor


class _Generated(NamedTuple):
    """Latents, what the generator made of them, and in which turn."""

    turn: int
    z: Tensor
    samples: Tensor


class GAN(GenerativeModel):
    r"""A generator $G$ and a critic $D$ that minimise the two sides of one adversarial loss in turn.

    The critic moves on detached fakes, the generator through a frozen critic. With `Wasserstein`, `WeightClip(0.01)`,
    RMSProp and 5 critic updates a turn it is algorithm 13.2 of NNDL.

    Penalties on samples go to the critic. One on latents (`LatentConsistency`) goes to the critic, or, named with
    `player="generator"`, to the generator, which **maximises** the change of its own output: together they are zCR
    (weights 5 and 0.5 in its paper). Penalties on features read the critic's last hidden layer.

    Args:
        generator: maps noise `(batch, prior.dim)` to `(batch, *shape)`.
        discriminator: maps `(batch, *shape)` to scores `(batch, ...)`, unbounded; with packing, whole packs.
        loss: the adversarial loss.
        prior: the prior of the noise.
        penalties: penalties and constraints of both players.
        packing: samples that the critic sees at once, joined along their first axis, at least 1 (PacGAN): against
            dropped modes, for a pack shows a lack of variety. The batch is a multiple of it.
        unrolling: lets the generator look ahead through steps of the critic, or None.
        reuse_fakes: let the generator move on the very fakes of the critic's last update in the same turn, as many
            plain loops do: saves a pass through the generator, but the critic has just moved against these samples.

    Raises:
        InputError: a penalty or constraint cannot work so.

    Example:
        >>> from genloss.losses import Hinge
        >>> from genloss.networks import MLP
        >>> mlp = MLP(width=8, depth=1)
        >>> gan = GAN(mlp.generator(2, (2,)), mlp.critic((2,)), Hinge(), Prior("normal", 2))
        >>> rng = torch.Generator().manual_seed(0)
        >>> tuple(gan.sample(3, rng=rng).shape)
        (3, 2)

    Source: Goodfellow et al. 2014, algorithm 1; NNDL algorithms 13.1 and 13.2; Lin et al. 2018, section 2 (packing);
    Metz et al. 2017 (unrolling).
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        loss: AdversarialLoss,
        prior: Prior,
        *,
        penalties: Sequence[Restraint] = (),
        packing: int = 1,
        unrolling: Unrolling | None = None,
        reuse_fakes: bool = False,
    ) -> None:
        super().__init__()
        self.generator = generator
        self.discriminator = discriminator
        self.loss = loss
        self.prior = prior
        self.packing = packing
        self.unrolling = unrolling
        self.reuse_fakes = reuse_fakes
        self.memory = Memory(loss.init_state())
        self._one_pass = not couples_batch(discriminator)
        self._generated: _Generated | None = None
        self._set_players((Player("discriminator", "discriminator"), Player("generator", "generator")), penalties)

    def _check_restraint(self, restraint: Restraint, player: str) -> None:
        """Refuses what has no meaning for this player, or what unrolled steps of the critic could not follow."""
        name, critic = restraint.name, player == "discriminator"
        of = restraint.constraint if isinstance(restraint, AppliedConstraint) else restraint.penalty
        if isinstance(of, Penalty) and not critic and of.space == "samples":
            raise InputError(f"{name} looks at the critic's scores of samples: a generator has none; leave out player.")
        if isinstance(of, FeaturePenalty):
            if critic:
                raise InputError(f"{name} is minimised by the generator alone, not by the critic; leave out player.")
            head_of(self.discriminator)
        if self.unrolling is None or not critic:
            return
        moves = isinstance(of, Penalty) and not (of.space == "samples" and of.points <= FOLLOWED)
        if moves or isinstance(of, Constraint):
            raise InputError(
                f"{name} cannot be used with unrolled steps of the critic, which follow penalties on parameters and on "
                "real samples only (r1, dragan); leave it out, or leave out model.unrolled."
            )

    def _losses(self, player: str, x: Tensor, streams: Streams, turn: int) -> Terms:
        if len(x) % self.packing:
            raise InputError(
                f"the batch holds {len(x)} samples, which packs of {self.packing} do not divide; set train.batch_size "
                "to a multiple of model.packing."
            )
        if player == "generator":
            return self._generator_terms(x, streams, turn)
        return self._discriminator_terms(x, streams, turn)

    def _generator_terms(self, x: Tensor, streams: Streams, turn: int) -> Terms:
        z, generated = self._taken_up(len(x), turn) or self._generate(len(x), streams)
        real, fake = self._pack(x), self._pack(generated)
        due = self.restraints_of("generator").due(turn)
        on_features = [applied for applied in due if isinstance(applied.penalty, FeaturePenalty)]
        critic = self._opponent(real, fake, streams)
        catching: AbstractContextManager[list[Tensor]] = (
            caught_features(self.discriminator) if on_features else nullcontext([])
        )
        with catching as features:
            fake_scores, real_scores = critic(fake), None
            if self.loss.generator_needs_real or on_features:
                with torch.no_grad():
                    real_scores = critic(real)
        terms = Terms()
        terms.add("loss", self.loss.generator(fake_scores, real_scores if self.loss.generator_needs_real else None))
        for applied in on_features:
            assert isinstance(applied.penalty, FeaturePenalty)
            _add(terms, applied, applied.penalty(features[1], features[0]))
        for applied in due:
            if isinstance(applied.penalty, Penalty):
                values = applied.penalty(self.generator, z, z, streams.penalty, fake_scores=generated)
                _add(terms, applied, -values)  # the generator maximises what the critic minimises
        return terms

    def _opponent(self, real: Tensor, fake: Tensor, streams: Streams) -> Callable[[Tensor], Tensor]:
        """Returns the critic that the generator faces: as it is, or some steps ahead on this very batch."""
        if self.unrolling is None:
            return self.discriminator
        fake = fake.to(real.dtype)

        def critic_loss(critic: Callable[[Tensor], Tensor], parameters: Mapping[str, Tensor]) -> Tensor:
            scored = self._scored_once(critic, real, fake)
            terms = Terms()
            terms.add("loss", self.loss.discriminator(*scored, state=self.memory.state()))
            own = self.restraints_of("discriminator")
            for applied in own.penalties:
                state = own.memory(applied).state()
                if isinstance(applied.penalty, ParameterPenalty):
                    values = applied.penalty(parameters.values(), state=state)
                else:
                    assert isinstance(applied.penalty, Penalty)
                    values = applied.penalty(critic, real, fake, streams.penalty, state=state)
                terms.add(applied.name, values, weight=applied.weight)
            return terms.total()

        with torch.autocast(real.device.type, enabled=False):
            return unrolled(self.discriminator, critic_loss, self.unrolling)

    def _discriminator_terms(self, x: Tensor, streams: Streams, turn: int) -> Terms:
        if self.reuse_fakes:
            with _thawed(self.generator):
                z, generated = self._generate(len(x), streams)
            self._generated = _Generated(turn, z, generated)
        else:
            with torch.no_grad():
                z, generated = self._generate(len(x), streams)
        fake = generated.detach().to(x.dtype)
        own = self.restraints_of("discriminator")
        due = [(applied, applied.penalty) for applied in own.due(turn) if isinstance(applied.penalty, Penalty)]
        points = {point for _, penalty in due if penalty.space == "samples" for point in penalty.points}
        scored = self._score(self._pack(x), self._pack(fake), points)
        terms = Terms()
        terms.note("real_score", scored.real_scores)
        terms.note("fake_score", scored.fake_scores)
        state = self.memory.state()
        terms.add("loss", self.loss.discriminator(scored.real_scores, scored.fake_scores, state=state))
        self.memory.replace(self.loss.next_state(state, scored.real_scores, scored.fake_scores))
        for applied, penalty in due:
            memory = own.memory(applied)
            _add(terms, applied, self._penalise(penalty, scored, z, streams, memory.state()))
            memory.replace(penalty.next_state(memory.state(), scored.real_scores, scored.fake_scores))
        return terms

    def _generate(self, n: int, streams: Streams) -> tuple[Tensor, Tensor]:
        """Returns latents and what the generator makes of them."""
        z = self.prior.draw(n, streams.noise)
        return z, self.generator(z)

    def _taken_up(self, n: int, turn: int) -> tuple[Tensor, Tensor] | None:
        """Returns what the critic saw last in this turn, once: after its own update the generator would differ."""
        last, self._generated = self._generated, None
        return (last.z, last.samples) if last is not None and last.turn == turn and len(last.z) == n else None

    def _penalise(
        self, penalty: Penalty, scored: _Scored, z: Tensor, streams: Streams, state: Mapping[str, Tensor]
    ) -> Tensor:
        if penalty.space == "latents":
            z = z.unflatten(0, (-1, self.packing))
            return penalty(self._score_latents, z, z, streams.penalty, fake_scores=scored.fake_scores, state=state)
        return penalty(
            self.discriminator,
            scored.real,
            scored.fake,
            streams.penalty,
            real_scores=scored.real_scores if "real" in penalty.points else None,
            fake_scores=scored.fake_scores if "fake" in penalty.points else None,
            state=state,
        )

    def _score_latents(self, z: Tensor) -> Tensor:
        """Scores the samples of latents `(packs, packing, dim)`; the generator stands still."""
        with torch.no_grad():
            fake = self.generator(z.flatten(0, 1))
        scores: Tensor = self.discriminator(self._pack(fake))
        return scores

    def _pack(self, x: Tensor) -> Tensor:
        """Joins neighbours along their first axis: `(batch, c, ...)` to `(batch / packing, packing c, ...)`."""
        return x if self.packing == 1 else x.unflatten(0, (-1, self.packing)).flatten(1, 2)

    def _score(self, real: Tensor, fake: Tensor, points: set[str]) -> _Scored:
        """Scores both halves, in one pass where nothing couples them; penalised points get an input gradient first."""
        if not points & {"real", "fake"}:
            return _Scored(real, fake, *self._scored_once(self.discriminator, real, fake))
        scored = []
        for name, x in (("real", real), ("fake", fake)):
            penalised = name in points
            x = x.detach().requires_grad_() if penalised else x
            # A penalty differentiates these scores twice, which bfloat16 is too coarse for.
            with torch.autocast(x.device.type, enabled=torch.is_autocast_enabled(x.device.type) and not penalised):
                scored.append((self.discriminator(x).to(x.dtype), x))
        (real_scores, real), (fake_scores, fake) = scored
        return _Scored(real, fake, real_scores, fake_scores)

    def _scored_once(self, critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the scores of both halves; batch normalisation must see them apart."""
        if not self._one_pass:
            return critic(real), critic(fake)
        real_scores, fake_scores = critic(torch.cat((real, fake))).chunk(2)
        return real_scores, fake_scores

    def sample(self, n: int, *, rng: torch.Generator) -> Tensor:
        """Draws `n` samples `(n, *shape)` from the generator."""
        samples: Tensor = self.generator(self.prior.draw(n, rng))
        return samples


@contextmanager
def _thawed(module: nn.Module) -> Iterator[None]:
    """Lets gradients reach parameters that are frozen while an opponent moves."""
    frozen = [parameter for parameter in module.parameters() if not parameter.requires_grad]
    for parameter in frozen:
        parameter.requires_grad_(True)
    try:
        yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(False)


def _add(terms: Terms, applied: AppliedPenalty, values: Tensor) -> None:
    terms.add(applied.name, values, weight=applied.weight * applied.interval)
