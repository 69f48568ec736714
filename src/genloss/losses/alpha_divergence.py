"""The alpha-divergences as an adversarial loss."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import softplus

from genloss.losses._f_divergence import SCORE_LIMIT, FDivergence, f_card
from genloss.losses._fields import finite_number
from genloss.losses.card import Card

__all__ = ["FAlpha"]

_FALLEN = 3.0  # powers of e by which a slope that vanishes is smaller at the end of the range
_POWER_LIMIT = 60.0  # lower than for an exponential: the derivative of a power passes through larger numbers


@dataclass(frozen=True, kw_only=True)
class FAlpha(FDivergence):
    r"""The alpha-divergences: a path from reverse to forward KL and beyond.

    $$f(u)=\frac{u^\alpha-1-\alpha(u-1)}{\alpha(\alpha-1)}$$

    $\alpha\to0$ is reverse KL, $\alpha\to1$ forward KL, $\alpha=2$ half of Pearson's, $\alpha=\frac12$ twice the
    squared-Hellinger integral. For $\alpha<1$, $g_f(v)=\frac1{1-\alpha}-\zeta(-v)$; for $\alpha>1$, $g_f(v)=v$ and the
    conjugate is constant below $v=-\frac1{\alpha-1}$.

    Use it to move between the named divergences. It fails near 1 from below: the best critic scores about
    $-\frac1{1-\alpha}$ where both densities agree, far from the score 0 that a critic starts at, where above 0.95 or so
    the conjugate overflows. Approach forward KL from above 1, or take `FKullbackLeibler`.

    Args:
        alpha: the order, finite, neither 0 nor 1.
        generator_form: `trick` minimises $-g_f(a_f)$, `conjugate` minimises $-f^*(g_f(a_f))$, the true bound, which
            saturates for positive orders.

    Raises:
        ValueError: a field is out of its range; in a call, a score lies outside `score_range()`.

    Example:
        >>> import torch
        >>> FAlpha(alpha=2.0).discriminator(torch.zeros(1), torch.ones(1))
        tensor([1.5000])

    Source: Nowozin et al. 2016, equations 4 and 7 and tables 2 and 6.
    """

    alpha: float = 0.5

    card: ClassVar[Card] = f_card(
        "alpha",
        activation=r"\tfrac1{1-\alpha}-\zeta(-v)\ (\alpha<1),\ v\ (\alpha>1)",
        conjugate=r"\tfrac1\alpha\left(((\alpha-1)g_f(v)+1)^{\alpha/(\alpha-1)}-1\right)",
        bound="The bound is the alpha-divergence.",
        fails="A power of the score: the nearer alpha is to 1, the steeper, and the narrower the range that does not "
        "raise.",
        score_range=(-math.inf, _POWER_LIMIT - math.log(2.0)),
    )
    """The range is that of the default order; `score_range()` returns that of the fields."""

    def __post_init__(self) -> None:
        FDivergence.__post_init__(self)
        finite_number(alpha=self.alpha)
        if self.alpha in (0.0, 1.0):
            raise ValueError(
                f"alpha is {self.alpha}, expected a finite number other than 0 and 1; "
                "their limits are f_reverse_kl and f_kl."
            )

    def score_range(self) -> tuple[float, float] | None:
        """Returns the range in which the power of this alpha is finite in float32."""
        order = self.alpha / (self.alpha - 1.0)
        if self.alpha > 1.0:
            # ((alpha - 1) v + 1) ** order <= e^60
            return (-math.inf, math.expm1(_POWER_LIMIT / order) / (self.alpha - 1.0))
        if self.alpha < 0.0:
            return (-math.inf, SCORE_LIMIT)
        # ((1 - alpha) softplus(-v)) ** order <= e^60, with a negative order; a small one allows for more than the limit
        # of an exponential, and would round to nothing here.
        least = math.exp(max(_POWER_LIMIT / order, -2.0 * SCORE_LIMIT)) / (1.0 - self.alpha)
        return (-math.inf, min(SCORE_LIMIT, -(least + math.log(-math.expm1(-least)))))

    def saturates(self) -> frozenset[str]:
        """Names the discriminator for negative orders, and the generator for positive ones with the conjugate.

        The discriminator's slope falls by a power that goes to 0 with the order, near it too slowly to matter.
        """
        if self.alpha < 0.0:
            fallen = self.alpha / (self.alpha - 1.0) * SCORE_LIMIT
            return frozenset({"discriminator"}) if fallen > _FALLEN else frozenset()
        return super().saturates()

    def convex_function(self, ratio: Tensor) -> Tensor:
        # Two forms of one: the power less 1 keeps its digits where its exponent, alpha or alpha - 1, is small.
        below = self.alpha - 1.0
        if self.alpha > 0.5:
            return (ratio * torch.expm1(below * ratio.log()) / below - (ratio - 1.0)) / self.alpha
        return (torch.expm1(self.alpha * ratio.log()) / self.alpha - (ratio - 1.0)) / below

    def optimal_score(self, ratio: Tensor) -> Tensor:
        below = self.alpha - 1.0
        if self.alpha > 1.0:
            return torch.expm1(below * ratio.log()) / below
        target = ratio.pow(below) / -below  # = softplus(-v), solved for v
        return -(target + torch.log(-torch.expm1(-target)))

    def _activation(self, score: Tensor) -> Tensor:
        return score if self.alpha > 1.0 else 1.0 / (1.0 - self.alpha) - softplus(-score)

    def _conjugate(self, score: Tensor) -> Tensor:
        order = self.alpha / (self.alpha - 1.0)
        if self.alpha > 1.0:
            slope = (self.alpha - 1.0) * score
            constant = slope <= -1.0
            power = torch.expm1(order * torch.log1p(slope.masked_fill(constant, 0.0)))
            return power.masked_fill(constant, -1.0) / self.alpha
        return torch.expm1(order * _log_softplus(-score, factor=1.0 - self.alpha)) / self.alpha


def _log_softplus(values: Tensor, *, factor: float) -> Tensor:
    """Returns log(factor * softplus(t)), whose derivatives stay finite where softplus(t) underflows."""
    small = torch.exp(values.clamp(max=-15.0))
    series = math.log(factor) + values - small * (0.5 - small * (5.0 / 24.0))
    return torch.where(values < -15.0, series, (factor * softplus(values.clamp(min=-15.0))).log())
