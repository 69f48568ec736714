"""The contract of the penalties that look at the critic."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, final

import torch
from torch import Tensor

from genloss.losses._checks import (
    at_least_float32,
    floating,
    not_empty,
    random_stream,
    remembers,
    same_kind,
    same_shape,
)
from genloss.losses.card import Loss

__all__ = ["Critic", "CriticView", "Penalty", "safe_norm", "unit_rows"]

Critic = Callable[[Tensor], Tensor]
"""Maps samples `(batch, ...)` to scores `(batch, ...)`."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CriticView:
    """What a penalty may look at: the critic, the samples, and scores that the caller already has.

    Args:
        critic: maps samples to scores `(batch, ...)`.
        real: real samples `(batch, ...)`.
        fake: as many generated samples, same shape.
        rng: where random numbers come from.
        real_scores: the critic's scores of `real`, whose graph reaches `real`; None where the critic is still to run.
        fake_scores: the same for `fake`.
        state: the memory of a penalty that has one.
    """

    critic: Critic
    real: Tensor
    fake: Tensor
    rng: torch.Generator
    real_scores: Tensor | None = None
    fake_scores: Tensor | None = None
    state: Mapping[str, Tensor] = field(default_factory=dict)

    def scores(self, samples: Tensor) -> Tensor:
        """Returns the critic's scores in float32 or better, `(batch, ...)`, taking those handed over where it can.

        `real` and `fake` are detached for the critic; a point made from them keeps the graph that it has.
        """
        scores = self._given(samples)
        if scores is None:
            own = samples is self.real or samples is self.fake
            scores = self._run(at_least_float32(samples.detach() if own else samples))
        _check_scores(scores, samples)
        return at_least_float32(scores)

    def gradient(self, samples: Tensor) -> Tensor:
        """Returns the gradient of each sample's mean score in that sample, flat, `(batch, values)`.

        Gradients are enabled inside. Under `torch.no_grad()` the result carries no graph.
        """
        keep_graph = torch.is_grad_enabled()
        given = self._given(samples)
        with torch.enable_grad():
            if given is None:
                samples = at_least_float32(samples.detach()).requires_grad_()
                scores = self._run(samples)
            else:
                scores = given
                _check_graph(scores, samples)
            _check_scores(scores, samples)
            total = (scores.flatten(1).mean(1) if scores.ndim > 1 else scores).sum()
            gradient: Tensor | None = None
            if total.requires_grad:
                (gradient,) = torch.autograd.grad(
                    total, samples, create_graph=keep_graph, retain_graph=True, allow_unused=True
                )
        if gradient is None:
            raise ValueError(
                "the critic's scores do not depend on its samples, so they have no gradient there; expected scores "
                "computed from these very samples, with no detach or no_grad between."
            )
        return gradient.flatten(1)

    def uniform(self) -> Tensor:
        """Returns one uniform number per sample, `(batch, 1, ..., 1)`, drawn on the generator's device."""
        real = at_least_float32(self.real)
        shape = (real.shape[0],) + (1,) * (real.ndim - 1)
        random_stream(self.rng)
        return torch.rand(shape, generator=self.rng, dtype=real.dtype, device=self.rng.device).to(real.device)

    def interpolates(self) -> Tensor:
        """Returns a point on the line from each fake to its real sample, one weight per sample, detached."""
        real, fake = at_least_float32(self.real.detach()), at_least_float32(self.fake.detach())
        return torch.lerp(fake, real, self.uniform())

    def jitter(self, samples: Tensor, deviation: float) -> Tensor:
        """Returns the samples with Gaussian noise of this standard deviation, in float32 or better, detached."""
        samples = at_least_float32(samples.detach())
        random_stream(self.rng)
        noise = torch.randn(samples.shape, generator=self.rng, dtype=samples.dtype, device=self.rng.device)
        return samples + deviation * noise.to(samples.device)

    def _run(self, samples: Tensor) -> Tensor:
        try:
            return self.critic(samples)
        except RuntimeError as error:
            if not re.search(r"\bd?type\b", str(error)):
                raise
            raise TypeError(
                f"the critic does not take samples of {samples.dtype} ({error}), expected parameters of that dtype: a "
                "penalty is computed in float32 or better. Keep the critic's parameters there, and use torch.autocast "
                "to train in half precision."
            ) from error

    def _given(self, samples: Tensor) -> Tensor | None:
        """Returns the scores handed over for exactly this tensor of samples."""
        if samples is self.real and self.real_scores is not None:
            return self.real_scores
        return self.fake_scores if samples is self.fake else None


def _check_scores(scores: Tensor, samples: Tensor) -> None:
    """Raises unless there is one score (or one map of scores) a sample."""
    floating(scores=scores)
    if scores.ndim == 0 or scores.shape[0] != samples.shape[0]:
        raise ValueError(
            f"the critic's scores have shape {tuple(scores.shape)} for samples of shape {tuple(samples.shape)}, "
            "expected one score a sample: (batch, ...)."
        )


def _check_graph(scores: Tensor, samples: Tensor) -> None:
    """Raises unless a gradient of scores handed over can be taken, in full precision."""
    if not samples.requires_grad:
        raise ValueError(
            "the samples whose scores were handed over do not require a gradient; call samples.requires_grad_() "
            "before the critic's forward pass, or leave the scores out."
        )
    if scores.dtype in (torch.float16, torch.bfloat16):
        raise TypeError(
            f"the scores handed over have dtype {scores.dtype}, expected float32 or better: a gradient norm loses its "
            "precision there; run the critic outside autocast, or leave the scores out."
        )


class Penalty(Loss, ABC):
    r"""A term on the critic's behaviour at chosen points, added to its loss with a weight.

    `points` names where the critic is looked at: `real`, `fake`, `interpolates` (between the two) or `noise` (around
    a point). A caller that already has the scores of `real` or `fake` hands them over, so that the critic is not run
    twice: it must set `requires_grad` on those samples before its forward pass, and run the critic outside autocast.
    Without them the penalty runs the critic itself, on detached samples, in float32 or better.

    Of a critic with patch scores, slopes are those of their mean, which one backward pass gives; what compares scores
    is averaged over the patches afterwards. A penalty with a memory starts it with `init_state()`; the caller keeps
    it, hands it over as `state`, and replaces it by what `next_state` returns after each update.

    Class attributes:
        points: where the critic is looked at.
        space: `latents` says that the samples to hand over are latents, and the critic that after the generator.
        players: the players that it is meant for, by the names that a GAN gives them.
        follows_critic: the points themselves depend on the critic, and are held constant in the gradient.

    A subclass writes one method, `_penalty(view)`.
    """

    family: ClassVar[str] = "penalty"
    points: ClassVar[frozenset[str]]
    space: ClassVar[Literal["samples", "latents"]] = "samples"
    players: ClassVar[tuple[str, ...]] = ("discriminator",)
    follows_critic: ClassVar[bool] = False

    @final
    def __call__(
        self,
        critic: Critic,
        real: Tensor,
        fake: Tensor,
        rng: torch.Generator,
        *,
        real_scores: Tensor | None = None,
        fake_scores: Tensor | None = None,
        state: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """Returns the penalty per sample, without its weight.

        Args:
            critic: maps samples to scores `(batch, ...)`.
            real: real samples `(batch, ...)`.
            fake: as many generated samples, same shape, dtype and device.
            rng: where random numbers come from.
            real_scores: the critic's scores of `real`, whose graph reaches `real`; None runs the critic.
            fake_scores: the same for `fake`.
            state: the memory of a penalty that has one; None starts it anew.

        Returns:
            `(batch,)`; differentiable in the critic's parameters.

        Raises:
            TypeError: a tensor is not floating, dtypes or devices differ, the scores handed over or the critic's
                parameters are of half precision, or a penalty that draws got no generator.
            ValueError: a tensor is empty, shapes differ, the scores do not depend on the samples, or the state is not
                that of this penalty.
        """
        floating(real=real, fake=fake)
        not_empty(real=real, fake=fake)
        same_shape(real=real, fake=fake)
        same_kind(real=real, fake=fake)
        start = self.init_state()
        if state is not None:
            remembers(state, *start)
        view = CriticView(
            critic=critic,
            real=real,
            fake=fake,
            rng=rng,
            real_scores=real_scores,
            fake_scores=fake_scores,
            state=start if state is None else state,
        )
        # Not only the critic's forward pass: a backward pass inside autocast would run in half precision too.
        with torch.autocast(real.device.type, enabled=False):
            return self._penalty(view)

    def init_state(self) -> dict[str, Tensor]:
        """Returns the memory before the first update: scalars by name, empty for most penalties."""
        return {}

    def next_state(self, state: Mapping[str, Tensor], real_scores: Tensor, fake_scores: Tensor) -> dict[str, Tensor]:
        """Returns the memory after an update of the critic on these scores, detached."""
        return dict(state)

    @abstractmethod
    def _penalty(self, view: CriticView) -> Tensor:
        """Returns the penalty per sample, `(batch,)`."""


def safe_norm(gradient: Tensor) -> Tensor:
    """Returns the Euclidean norm of every row, with gradient 0 (not NaN) where the norm is 0."""
    squared = gradient.square().sum(1)
    zero = squared == 0  # NaN is not, and stays
    return torch.where(zero, 0.0, torch.where(zero, 1.0, squared).sqrt())


def unit_rows(rows: Tensor) -> Tensor:
    """Returns every row at length 1, or 0 where it is 0, however small or large its numbers are."""
    # In units of the largest number, whose square neither overflows nor rounds to 0.
    rows = rows / _no_zeros(rows.detach().abs().amax(1, keepdim=True))
    return rows / _no_zeros(safe_norm(rows)[:, None])


def _no_zeros(divisor: Tensor) -> Tensor:
    """Returns the divisor with 1 in the place of 0."""
    return torch.where(divisor == 0, 1.0, divisor)
