"""The contract of every adversarial loss."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, final

from torch import Tensor

from genloss.losses._checks import (
    at_least_float32,
    floating,
    logits_not_probabilities,
    not_empty,
    remembers,
    same_kind,
    same_shape,
)
from genloss.losses.card import Equilibrium, Loss

__all__ = ["AdversarialLoss", "adam"]


def adam(learning_rate: float, beta1: float, beta2: float) -> dict[str, object]:
    """Returns the recipe keys of Adam for both players."""
    return {
        f"train.{player}.{key}": value
        for player in ("generator", "discriminator")
        for key, value in {"optimizer": "adam", "learning_rate": learning_rate, "betas": [beta1, beta2]}.items()
    }


class AdversarialLoss(Loss, ABC):
    r"""A loss of two players who see the critic's scores only.

    Scores are logits (or energies, where `energies` says so) of shape `(batch, ...)`. A subclass writes the two
    elementwise methods `_discriminator` and `_generator`; the public ones check the input, compute in float32 or
    better (also under autocast), and average the patch axes **after** the loss.

    A loss with a memory starts it with `init_state()`. The caller keeps it, hands it to `discriminator`, and replaces
    it by what `next_state` returns after each of the critic's updates. A loss without one keeps an empty state, so
    that a caller treats both alike.

    Class attributes:
        generator_needs_real: the generator's loss reads the real scores too (the relativistic losses).
        energies: scores are energies, low for real samples.
    """

    family: ClassVar[str] = "adversarial"
    generator_needs_real: ClassVar[bool] = False
    energies: ClassVar[bool] = False

    @final
    def discriminator(
        self, real_scores: Tensor, fake_scores: Tensor, *, state: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        """Returns what the discriminator minimises, per sample.

        Args:
            real_scores: the critic's scores of real samples, `(batch, ...)`, floating.
            fake_scores: its scores of as many generated samples, same shape, dtype and device.
            state: the memory of a loss that has one.

        Returns:
            `(batch,)`, nats, float32 or better.

        Raises:
            TypeError: a tensor is not floating, or dtypes or devices differ.
            ValueError: a tensor is empty, shapes differ, scores come straight from a sigmoid, or the loss has a memory
                and got no state or another's.
        """
        self._check(real_scores=real_scores, fake_scores=fake_scores)
        if state is not None:
            remembers(state, *self.init_state())
        a_r, a_f = at_least_float32(real_scores), at_least_float32(fake_scores)
        return _average_patches(self._discriminator_with(state, a_r, a_f))

    @final
    def generator(self, fake_scores: Tensor, real_scores: Tensor | None = None) -> Tensor:
        """Returns what the generator minimises, per sample.

        Args:
            fake_scores: the critic's scores of generated samples, `(batch, ...)`, floating.
            real_scores: its scores of real samples, same shape; read where `generator_needs_real` is true.

        Returns:
            `(batch,)`, nats, float32 or better.

        Raises:
            TypeError: a tensor is not floating, or dtypes or devices differ.
            ValueError: a tensor is empty, shapes differ, scores come straight from a sigmoid, or the loss needs
                `real_scores` and got none.
        """
        if real_scores is None:
            if self.generator_needs_real:
                raise ValueError(
                    f"the generator's loss of {type(self).__name__} got no real_scores, and it compares fake scores "
                    "with real ones; pass the critic's scores of a real batch: generator(fake_scores, real_scores)."
                )
            self._check(fake_scores=fake_scores)
            return _average_patches(self._generator(at_least_float32(fake_scores), None))
        self._check(fake_scores=fake_scores, real_scores=real_scores)
        return _average_patches(self._generator(at_least_float32(fake_scores), at_least_float32(real_scores)))

    def equilibrium(self, *, batch: int = 1) -> Equilibrium | None:
        """Returns where the two losses settle when the generator has won and the critic is at its best.

        None states nothing, as a loss of one's own may; every loss of the catalogue states it.

        Args:
            batch: number of real samples; matters for a loss whose value depends on it.
        """
        return None

    def score_range(self) -> tuple[float, float] | None:
        """Returns the lowest and highest scores that the loss takes, or None where every finite one will do."""
        # A loss of one's own need not have a card.
        card = getattr(self, "card", None)
        return None if card is None else card.score_range

    def saturates(self) -> frozenset[str]:
        """Names the players whose gradient vanishes where they are badly wrong: `generator`, `discriminator`."""
        return frozenset()

    def init_state(self) -> dict[str, Tensor]:
        """Returns the memory before the first update: scalars by name, empty for most losses."""
        return {}

    def next_state(self, state: Mapping[str, Tensor], real_scores: Tensor, fake_scores: Tensor) -> dict[str, Tensor]:
        """Returns the memory after an update of the critic on these scores, detached."""
        return dict(state)

    def _check(self, **scores: Tensor) -> None:
        """Raises unless the scores can be compared as they are."""
        floating(**scores)
        not_empty(**scores)
        same_shape(**scores)
        same_kind(**scores)
        if not self.energies:
            logits_not_probabilities(**scores)

    def _discriminator_with(self, state: Mapping[str, Tensor] | None, a_r: Tensor, a_f: Tensor) -> Tensor:
        """Returns the discriminator's loss given the memory; a loss without one ignores it."""
        return self._discriminator(a_r, a_f)

    @abstractmethod
    def _discriminator(self, a_r: Tensor, a_f: Tensor) -> Tensor:
        """Returns the discriminator's loss, of the scores' shape."""

    @abstractmethod
    def _generator(self, a_f: Tensor, a_r: Tensor | None) -> Tensor:
        """Returns the generator's loss, of the scores' shape."""


def _average_patches(values: Tensor) -> Tensor:
    """Returns the mean over every axis but the first."""
    if not isinstance(values, Tensor):
        raise ValueError(f"the loss returned {values!r}, expected a tensor of the scores' shape.")
    if values.ndim < 2:
        return values
    # One patch needs no mean, and a small model feels each kernel.
    return values.flatten() if values.numel() == values.shape[0] else values.flatten(1).mean(1)
