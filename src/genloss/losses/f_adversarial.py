"""The f-divergence losses by name; the alpha-divergences, a family of their own, are in `alpha_divergence`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import softplus

from genloss.losses._f_divergence import SCORE_LIMIT, FDivergence, f_card
from genloss.losses.card import Card, Equilibrium

__all__ = [
    "FDivergence",
    "FGan",
    "FHellinger",
    "FJensenShannon",
    "FKullbackLeibler",
    "FNeyman",
    "FPearson",
    "FReverseKullbackLeibler",
    "FTotalVariation",
]


@dataclass(frozen=True, kw_only=True)
class FKullbackLeibler(FDivergence):
    r"""Forward KL, $f(u)=u\log u$: the bound of $KL(p_r\Vert p_g)$, which covers every mode.

    Args:
        generator_form: `trick` minimises $-g_f(a_f)$, `conjugate` the bound itself, $-f^*(g_f(a_f))$; it saturates.

    Raises:
        ValueError: `generator_form` is neither; in a call, a score lies outside the range of the card.

    Example:
        >>> import torch
        >>> loss = FKullbackLeibler()
        >>> loss.discriminator(torch.ones(1), torch.ones(1))
        tensor([0.])
        >>> loss.discriminator(torch.zeros(1), torch.tensor([200.0]))
        Traceback (most recent call last):
        ...
        ValueError: fake_scores reach 200, and FKullbackLeibler can be computed for scores in [-inf, 80] only, ...

    Source: Nowozin et al. 2016, equations 4 and 7 and tables 2 and 6.
    """

    card: ClassVar[Card] = f_card(
        "kl",
        activation=r"v",
        conjugate=r"e^{v-1}",
        bound="The bound is KL(real || fake).",
        fails="The exponential of a fake's score: one outlier rules the batch, and scores above 80 raise.",
        score_range=(-math.inf, SCORE_LIMIT),
    )

    def convex_function(self, ratio: Tensor) -> Tensor:
        return torch.xlogy(ratio, ratio)

    def optimal_score(self, ratio: Tensor) -> Tensor:
        return 1.0 + ratio.log()

    def _activation(self, score: Tensor) -> Tensor:
        return score

    def _conjugate(self, score: Tensor) -> Tensor:
        return torch.exp(score - 1.0)


@dataclass(frozen=True, kw_only=True)
class FReverseKullbackLeibler(FDivergence):
    r"""Reverse KL, $f(u)=-\log u$: the bound of $KL(p_g\Vert p_r)$, which seeks modes.

    Args:
        generator_form: `trick` minimises $-g_f(a_f)$, `conjugate` the bound itself, $-f^*(g_f(a_f))$.

    Raises:
        ValueError: `generator_form` is neither; in a call, a score lies outside the range of the card.

    Example:
        >>> import torch
        >>> FReverseKullbackLeibler().discriminator(torch.zeros(1), torch.zeros(1))
        tensor([0.])

    Source: Nowozin et al. 2016, equations 4 and 7 and tables 2 and 6.
    """

    conjugate_saturates: ClassVar[bool] = False
    card: ClassVar[Card] = f_card(
        "reverse_kl",
        activation=r"-e^{-v}",
        conjugate=r"-1+v",
        bound="The bound is KL(fake || real).",
        fails="Drops modes; the exponential of a real sample's negative score: scores below -80 raise.",
        score_range=(-SCORE_LIMIT, math.inf),
    )

    def convex_function(self, ratio: Tensor) -> Tensor:
        return -ratio.log()

    def optimal_score(self, ratio: Tensor) -> Tensor:
        return ratio.log()

    def _activation(self, score: Tensor) -> Tensor:
        return -torch.exp(-score)

    def _conjugate(self, score: Tensor) -> Tensor:
        return score - 1.0


@dataclass(frozen=True, kw_only=True)
class FPearson(FDivergence):
    r"""Pearson chi-squared, $f(u)=(u-1)^2$: the bound of $\int(p_r-p_g)^2/p_g$.

    The conjugate is that of $f$ on the whole line, as the paper prints it: quadratic below $v=-2$ too, so that no
    score of the discriminator has a zero gradient.

    Args:
        generator_form: `trick` minimises $-g_f(a_f)$, `conjugate` the bound itself, $-f^*(g_f(a_f))$, which
            pushes fakes the wrong way below score -2.

    Raises:
        ValueError: `generator_form` is neither.

    Example:
        >>> import torch
        >>> FPearson().discriminator(torch.zeros(1), torch.ones(1))
        tensor([1.2500])

    Source: Nowozin et al. 2016, equations 4 and 7 and tables 2 and 6.
    """

    conjugate_saturates: ClassVar[bool] = False
    card: ClassVar[Card] = f_card(
        "pearson",
        activation=r"v",
        conjugate=r"\tfrac14v^2+v",
        bound="The bound is the Pearson chi-squared, the integral of (real - fake)^2 / fake.",
        fails="Grows with the square of the density ratio: infinite where the model puts little mass. With the "
        "conjugate, the generator is pushed the wrong way below score -2.",
    )

    def convex_function(self, ratio: Tensor) -> Tensor:
        return (ratio - 1.0).square()

    def optimal_score(self, ratio: Tensor) -> Tensor:
        return 2.0 * (ratio - 1.0)

    def _activation(self, score: Tensor) -> Tensor:
        return score

    def _conjugate(self, score: Tensor) -> Tensor:
        return 0.25 * score.square() + score


@dataclass(frozen=True, kw_only=True)
class FNeyman(FDivergence):
    r"""Neyman chi-squared, $f(u)=(1-u)^2/u$: the bound of $\int(p_r-p_g)^2/p_r$.

    Args:
        generator_form: `trick` minimises $-g_f(a_f)$, `conjugate` the bound itself, $-f^*(g_f(a_f))$.

    Raises:
        ValueError: `generator_form` is neither; in a call, a score lies outside the range of the card.

    Example:
        >>> import torch
        >>> FNeyman().discriminator(torch.zeros(1), torch.zeros(1))
        tensor([0.])

    Source: Nowozin et al. 2016, equations 4 and 7 and tables 2 and 6.
    """

    card: ClassVar[Card] = f_card(
        "neyman",
        activation=r"1-e^{-v}",
        conjugate=r"2-2e^{-v/2}",
        bound="The bound is the Neyman chi-squared, the integral of (real - fake)^2 / real.",
        fails="Drops modes; the discriminator hardly lowers a fake with a high score; the exponential of a real "
        "sample's negative score: scores below -80 raise.",
        score_range=(-SCORE_LIMIT, math.inf),
    )

    def saturates(self) -> frozenset[str]:
        """Names the discriminator: the conjugate levels off at high scores of fakes."""
        return frozenset({"discriminator"})

    def convex_function(self, ratio: Tensor) -> Tensor:
        return (1.0 - ratio).square() / ratio

    def optimal_score(self, ratio: Tensor) -> Tensor:
        return 2.0 * ratio.log()

    def _activation(self, score: Tensor) -> Tensor:
        return -torch.expm1(-score)

    def _conjugate(self, score: Tensor) -> Tensor:
        return -2.0 * torch.expm1(-0.5 * score)


@dataclass(frozen=True, kw_only=True)
class FHellinger(FDivergence):
    r"""Squared Hellinger, $f(u)=(\sqrt u-1)^2$: the bound of $\int(\sqrt{p_r}-\sqrt{p_g})^2$, in [0, 2].

    Args:
        generator_form: `trick` minimises $-g_f(a_f)$, `conjugate` the bound itself, $-f^*(g_f(a_f))$; it saturates.

    Raises:
        ValueError: `generator_form` is neither; in a call, a score lies outside the range of the card.

    Example:
        >>> import torch
        >>> FHellinger().discriminator(torch.zeros(1), torch.zeros(1))
        tensor([0.])

    Source: Nowozin et al. 2016, equations 4 and 7 and tables 2 and 6.
    """

    card: ClassVar[Card] = f_card(
        "hellinger",
        activation=r"1-e^{-v}",
        conjugate=r"e^{v}-1",
        bound="The bound is the integral of (sqrt(real) - sqrt(fake))^2, twice the squared Hellinger distance.",
        fails="Exponentials on both sides: scores beyond 80 in absolute value raise.",
        score_range=(-SCORE_LIMIT, SCORE_LIMIT),
    )

    def convex_function(self, ratio: Tensor) -> Tensor:
        return (ratio.sqrt() - 1.0).square()

    def optimal_score(self, ratio: Tensor) -> Tensor:
        return 0.5 * ratio.log()

    def _activation(self, score: Tensor) -> Tensor:
        return -torch.expm1(-score)

    def _conjugate(self, score: Tensor) -> Tensor:
        return torch.expm1(score)


@dataclass(frozen=True, kw_only=True)
class FJensenShannon(FDivergence):
    r"""Jensen-Shannon, $f(u)=u\log u-(u+1)\log\frac{1+u}2$: the bound of $2\,JS(p_r,p_g)$, in $[0,2\log2]$.

    Args:
        generator_form: `trick` minimises $-g_f(a_f)$, `conjugate` the bound itself, $-f^*(g_f(a_f))$; it saturates.

    Raises:
        ValueError: `generator_form` is neither.

    Example:
        >>> import torch
        >>> FJensenShannon().discriminator(torch.zeros(1), torch.zeros(1))
        tensor([0.])

    Source: Nowozin et al. 2016, equations 4 and 7 and tables 2 and 6.
    """

    card: ClassVar[Card] = f_card(
        "jensen_shannon",
        activation=r"\log2-\zeta(-v)",
        conjugate=r"\zeta(v)-\log2",
        bound="The bound is twice the Jensen-Shannon divergence in nats.",
        fails="Constant where the supports do not meet; as a discriminator the same as non_saturating.",
    )

    def convex_function(self, ratio: Tensor) -> Tensor:
        return torch.xlogy(ratio, ratio) - (ratio + 1.0) * torch.log(0.5 * (1.0 + ratio))

    def optimal_score(self, ratio: Tensor) -> Tensor:
        return ratio.log()

    def _activation(self, score: Tensor) -> Tensor:
        return math.log(2.0) - softplus(-score)

    def _conjugate(self, score: Tensor) -> Tensor:
        return softplus(score) - math.log(2.0)


@dataclass(frozen=True, kw_only=True)
class FGan(FDivergence):
    r"""The first GAN as an f-divergence, $f(u)=u\log u-(u+1)\log(u+1)$: the bound of $2\,JS-2\log2$.

    With the trick it is `NonSaturating`, with the conjugate it is `Minimax`.

    Args:
        generator_form: `trick` minimises $-g_f(a_f)$, `conjugate` the bound itself, $-f^*(g_f(a_f))$; it saturates.

    Raises:
        ValueError: `generator_form` is neither.

    Example:
        >>> import torch
        >>> FGan().discriminator(torch.zeros(1), torch.zeros(1))
        tensor([1.3863])

    Source: Nowozin et al. 2016, equations 4 and 7 and tables 2 and 6.
    """

    card: ClassVar[Card] = f_card(
        "gan",
        activation=r"-\zeta(-v)",
        conjugate=r"\zeta(v)",
        bound="The bound is 2 JS - 2 log 2.",
        fails="As non_saturating (trick) and minimax (conjugate): drops modes, or saturates.",
    )

    def convex_function(self, ratio: Tensor) -> Tensor:
        return torch.xlogy(ratio, ratio) - (ratio + 1.0) * torch.log1p(ratio)

    def optimal_score(self, ratio: Tensor) -> Tensor:
        return ratio.log()

    def _activation(self, score: Tensor) -> Tensor:
        return -softplus(-score)

    def _conjugate(self, score: Tensor) -> Tensor:
        return softplus(score)


@dataclass(frozen=True, kw_only=True)
class FTotalVariation(FDivergence):
    r"""Total variation, $f(u)=\frac12\lvert u-1\rvert$: the bound of $\frac12\int\lvert p_r-p_g\rvert$, in [0, 1].

    The best score is $\pm\infty$, with its sign telling which density is larger: both players saturate.

    Args:
        generator_form: `trick` minimises $-g_f(a_f)$, `conjugate` the bound itself, $-f^*(g_f(a_f))$; it saturates.

    Raises:
        ValueError: `generator_form` is neither.

    Example:
        >>> import torch
        >>> FTotalVariation().discriminator(torch.tensor([20.0]), torch.tensor([-20.0]))
        tensor([-1.])

    Source: Nowozin et al. 2016, equations 4 and 7 and tables 2 and 6.
    """

    card: ClassVar[Card] = f_card(
        "total_variation",
        activation=r"\tfrac12\tanh v",
        conjugate=r"\tfrac12\tanh v",
        bound="The bound is the total variation distance.",
        fails="Both players saturate: the best score is infinite, where the hyperbolic tangent has no gradient.",
    )

    def convex_function(self, ratio: Tensor) -> Tensor:
        return 0.5 * (ratio - 1.0).abs()

    def optimal_score(self, ratio: Tensor) -> Tensor:
        return torch.where(ratio == 1.0, 0.0, torch.where(ratio > 1.0, math.inf, -math.inf)).to(ratio.dtype)

    def saturates(self) -> frozenset[str]:
        """Names both players, in both forms, which are the same."""
        return frozenset({"generator", "discriminator"})

    def equilibrium(self, *, batch: int = 1) -> Equilibrium:
        """Returns 0 for the discriminator at any constant score."""
        return Equilibrium(score=None, discriminator=0.0, generator=None)

    def _activation(self, score: Tensor) -> Tensor:
        return 0.5 * torch.tanh(score)

    def _conjugate(self, score: Tensor) -> Tensor:
        return 0.5 * torch.tanh(score)
