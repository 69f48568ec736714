"""Adversarial losses whose samples see each other."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import softplus

from genloss.losses import _references as source
from genloss.losses._adversarial import AdversarialLoss, adam
from genloss.losses.card import Card, Equilibrium, Reference

__all__ = ["RelativisticAverage", "RelativisticAverageLeastSquares", "SoftmaxGAN"]


@dataclass(frozen=True, kw_only=True)
class RelativisticAverage(AdversarialLoss):
    r"""Each sample is judged against the mean score of the other side's batch.

    $$L_D=\zeta(-(a_r-\bar a_f))+\zeta(a_f-\bar a_r),\qquad L_G=\zeta(a_r-\bar a_f)+\zeta(-(a_f-\bar a_r))$$

    Means run over the batch, separately at every patch. Less noisy than one random pair, but its value depends on
    the batch: small batches bias it. Prefer `RelativisticPaired` with R1 and R2.

    Example:
        >>> import torch
        >>> RelativisticAverage().discriminator(torch.zeros(2), torch.zeros(2))
        tensor([1.3863, 1.3863])

    Source: Jolicoeur-Martineau 2019, section 4 (RaSGAN).
    """

    generator_needs_real: ClassVar[bool] = True
    couples_batch: ClassVar[bool] = True
    card: ClassVar[Card] = Card(
        name="relativistic_average",
        aliases=("ragan",),
        formula={
            "discriminator": r"\zeta(-(a_r-\bar a_f))+\zeta(a_f-\bar a_r)",
            "generator": r"\zeta(a_r-\bar a_f)+\zeta(-(a_f-\bar a_r))",
        },
        minimised_by="The critic minimises the cross-entropy of 'more real than the average fake' and 'less real than "
        "the average real sample'; the generator that of the opposite.",
        when="As relativistic, where single pairs are too noisy and batches are large.",
        fails="Biased at small batches; diverges without a gradient penalty; needs real scores in the generator's "
        "update.",
        references=(source.JOLICOEUR_2019.at("section 4"),),
        paper=adam(2e-4, 0.5, 0.999),
    )

    def _discriminator(self, a_r: Tensor, a_f: Tensor) -> Tensor:
        return softplus(a_f.mean(0) - a_r) + softplus(a_f - a_r.mean(0))

    def _generator(self, a_f: Tensor, a_r: Tensor | None) -> Tensor:
        assert a_r is not None
        return self._discriminator(a_f, a_r)

    def equilibrium(self, *, batch: int = 1) -> Equilibrium:
        """Returns 2 log 2 for both players at any constant score."""
        return Equilibrium(score=None, discriminator=2.0 * math.log(2.0), generator=2.0 * math.log(2.0))


@dataclass(frozen=True, kw_only=True)
class RelativisticAverageLeastSquares(AdversarialLoss):
    r"""Each sample's score should lie one above, or below, the mean score of the other side's batch.

    $$L_D=(a_r-\bar a_f-1)^2+(a_f-\bar a_r+1)^2,\qquad L_G=(a_f-\bar a_r-1)^2+(a_r-\bar a_f+1)^2$$

    Means run over the batch, separately at every patch. Its gradient grows with the distance to the target, as that of
    `LeastSquares` does, and no shift of all scores changes it. Use it where `RelativisticAverage` saturates. It fails
    by outlying scores, which dominate the batch, and small batches bias it.

    Example:
        >>> import torch
        >>> RelativisticAverageLeastSquares().discriminator(torch.ones(2), torch.zeros(2))
        tensor([0., 0.])

    Source: Jolicoeur-Martineau 2019, RaLSGAN.
    """

    generator_needs_real: ClassVar[bool] = True
    couples_batch: ClassVar[bool] = True
    card: ClassVar[Card] = Card(
        name="relativistic_average_least_squares",
        aliases=("ralsgan",),
        formula={
            "discriminator": r"(a_r-\bar a_f-1)^2+(a_f-\bar a_r+1)^2",
            "generator": r"(a_f-\bar a_r-1)^2+(a_r-\bar a_f+1)^2",
        },
        minimised_by="The critic minimises the squared distance of each score from one above, or below, the other "
        "side's mean; the generator that with the sides exchanged.",
        when="As relativistic_average, where its gradient vanishes; batches should be large.",
        fails="Outlying scores dominate the batch; small batches bias it; needs real scores in the generator's update.",
        references=(source.JOLICOEUR_2019.at("RaLSGAN"),),
        paper=adam(2e-4, 0.5, 0.999),
    )

    def _discriminator(self, a_r: Tensor, a_f: Tensor) -> Tensor:
        return (a_r - a_f.mean(0) - 1.0).square() + (a_f - a_r.mean(0) + 1.0).square()

    def _generator(self, a_f: Tensor, a_r: Tensor | None) -> Tensor:
        assert a_r is not None
        return self._discriminator(a_f, a_r)

    def equilibrium(self, *, batch: int = 1) -> Equilibrium:
        """Returns 2 for both players at any constant score."""
        return Equilibrium(score=None, discriminator=2.0, generator=2.0)


@dataclass(frozen=True, kw_only=True)
class SoftmaxGAN(AdversarialLoss):
    r"""A softmax over all samples of the batch, real and fake: who is the real one?

    $$L_D=\log Z-a_r,\qquad L_G=\log Z-\tfrac12(a_r+a_f),\qquad Z=\sum_{x\in B_r\cup B_f}e^{a(x)}$$

    Per sample; the batch means are the cross-entropies with targets $1/\lvert B_r\rvert$ on real samples
    (discriminator) and $1/\lvert B\rvert$ on all (generator). Its value depends on the batch size: $\log 2\lvert
    B_r\rvert$ at equilibrium. The gradient in the scores is their softmax less the targets: it sums to 0, so that only
    differences within the batch count, and no score is raised by more than its target. Use it where levels of the
    scores should not matter. It fails by outliers: one score some nats above the rest takes the whole softmax, is
    lowered with the weight of the entire batch, and hides all other fakes from the discriminator. At the equilibrium
    the generator does not move: its gradient is 0 where all scores are equal.

    Example:
        >>> import torch
        >>> SoftmaxGAN().discriminator(torch.zeros(2), torch.zeros(2))
        tensor([1.3863, 1.3863])

    Source: Lin 2017, section 3.
    """

    generator_needs_real: ClassVar[bool] = True
    couples_batch: ClassVar[bool] = True
    card: ClassVar[Card] = Card(
        name="softmax",
        aliases=("softmax_gan",),
        formula={
            "discriminator": r"\log Z-\overline{a_r},\quad Z=\sum_{B_r\cup B_f}e^{a}",
            "generator": r"\log Z-\tfrac12(\overline{a_r}+\overline{a_f})",
        },
        minimised_by="Both minimise the cross-entropy of a softmax over the batch: the discriminator with uniform "
        "targets on the real samples, the generator with uniform targets on all.",
        when="Where levels of the scores should not matter: only their differences within the batch count.",
        fails="Outlying scores rule: one far above the rest takes the gradient of the whole batch. Its value depends "
        "on the batch size; needs real scores in the generator's update.",
        references=(
            Reference(
                authors="Lin",
                year=2017,
                title="Softmax GAN",
                venue="arXiv",
                url="https://arxiv.org/abs/1704.06191",
                equation="section 3",
            ),
        ),
    )

    def _discriminator(self, a_r: Tensor, a_f: Tensor) -> Tensor:
        return torch.cat((a_r, a_f)).logsumexp(0) - a_r

    def _generator(self, a_f: Tensor, a_r: Tensor | None) -> Tensor:
        assert a_r is not None
        return torch.cat((a_r, a_f)).logsumexp(0) - 0.5 * (a_r + a_f)

    def equilibrium(self, *, batch: int = 1) -> Equilibrium:
        """Returns the logarithm of twice the batch size for both players at any constant score."""
        return Equilibrium(score=None, discriminator=math.log(2.0 * batch), generator=math.log(2.0 * batch))
