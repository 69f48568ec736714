"""Generator terms on features of real and generated samples."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from genloss.losses import _references as source
from genloss.losses._checks import at_least_float32, floating, not_empty, same_kind, same_shape
from genloss.losses._penalty import unit_rows
from genloss.losses.card import Card, Loss

__all__ = ["FeatureMatching", "FeaturePenalty", "PullingAway"]


class FeaturePenalty(Loss, ABC):
    """A term on features of samples, e.g. a critic's last hidden layer, added to the generator's loss with a weight.

    A subclass writes `_penalty(real, fake)` on flat features.

    Class attributes:
        players: the players that it is meant for, by the names that a GAN gives them.
    """

    family: ClassVar[str] = "feature_penalty"
    players: ClassVar[tuple[str, ...]] = ("generator",)
    couples_batch: ClassVar[bool] = True

    @final
    def __call__(self, real_features: Tensor, fake_features: Tensor) -> Tensor:
        """Returns the penalty without its weight.

        Args:
            real_features: features of real samples, `(batch, ...)`, floating.
            fake_features: features of as many generated samples, same shape, dtype and device.

        Returns:
            `(batch,)`, or `()` where the statistic belongs to the whole batch; float32 or better.

        Raises:
            TypeError: a tensor is not floating, or dtypes or devices differ.
            ValueError: a tensor is empty, shapes differ, or a sample has no feature axis.
        """
        features = {"real_features": real_features, "fake_features": fake_features}
        floating(**features)
        not_empty(**features)
        same_shape(**features)
        same_kind(**features)
        if real_features.ndim < 2:
            raise ValueError(
                f"features have shape {tuple(real_features.shape)}, expected (batch, ...) with at least one feature "
                "axis; unsqueeze(1) a single feature."
            )
        with torch.autocast(real_features.device.type, enabled=False):
            real, fake = (at_least_float32(values).flatten(1) for values in (real_features, fake_features))
            return self._penalty(real, fake)

    @abstractmethod
    def _penalty(self, real: Tensor, fake: Tensor) -> Tensor:
        """Returns the penalty of flat features `(batch, features)`."""


@dataclass(frozen=True, kw_only=True)
class FeatureMatching(FeaturePenalty):
    r"""Squared distance between the mean features of real and generated samples.

    $$\lVert\mathbb E f(x)-\mathbb E f(G(z))\rVert_2^2$$

    One number for the batch. Use it on a hidden layer of the discriminator, above all in semi-supervised training. It
    fails as the only loss: equal means do not make equal distributions.

    Example:
        >>> import torch
        >>> FeatureMatching()(torch.zeros(4, 2), torch.ones(4, 2))
        tensor(2.)

    Source: Salimans et al. 2016, section 3.1.
    """

    card: ClassVar[Card] = Card(
        name="feature_matching",
        formula={"generator": r"\lVert\mathbb E f(x)-\mathbb E f(G(z))\rVert_2^2"},
        minimised_by="The generator minimises it, on features of the discriminator's hidden layer.",
        when="To steady the generator, above all in semi-supervised training.",
        fails="Equal means do not make equal distributions; noisy with small batches.",
        references=(source.SALIMANS_2016.at("section 3.1"),),
    )

    def _penalty(self, real: Tensor, fake: Tensor) -> Tensor:
        return (real.mean(0) - fake.mean(0)).square().sum()


@dataclass(frozen=True, kw_only=True)
class PullingAway(FeaturePenalty):
    r"""Mean squared cosine between the features of different generated samples.

    $$\frac1{N(N-1)}\sum_i\sum_{j\ne i}\left(\frac{s_i^\top s_j}{\lVert s_i\rVert\,\lVert s_j\rVert}\right)^2$$

    Per sample the mean over all others, so that the batch mean is the formula. Use it on the code of an autoencoder
    critic against collapse. It fails where features are few: N vectors cannot be orthogonal in fewer than N
    dimensions.

    Raises:
        ValueError: in a call, there is a single sample.

    Example:
        >>> import torch
        >>> PullingAway()(torch.zeros(2, 2), torch.tensor([[1.0, 0.0], [1.0, 1.0]]))
        tensor([0.5000, 0.5000])

    Source: Zhao et al. 2017, equation 4.
    """

    card: ClassVar[Card] = Card(
        name="pulling_away",
        aliases=("pt",),
        formula={"generator": r"\frac1{N(N-1)}\sum_{i\ne j}\cos^2(s_i,s_j)"},
        minimised_by="The generator minimises it, on features of its samples.",
        when="Against collapse, on the code of an autoencoder critic.",
        fails="Fights a floor where the batch is larger than the number of features.",
        references=(source.ZHAO_2017.at("(4)"),),
        weight=0.1,
    )

    def _penalty(self, real: Tensor, fake: Tensor) -> Tensor:
        samples = fake.shape[0]
        if samples < 2:
            raise ValueError("there is a single sample, and PullingAway compares different ones; expected two or more.")
        unit = unit_rows(fake)
        squared = (unit @ unit.T).square()
        return (squared.sum(1) - squared.diagonal()) / (samples - 1)
