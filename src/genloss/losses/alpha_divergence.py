"""The alpha-divergences as an adversarial loss."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import softplus

from genloss.losses._arguments import finite_number
from genloss.losses._f_divergence import SCORE_LIMIT, FDivergence, f_card
from genloss.losses.card import Card

__all__ = ["FAlpha"]

_POWER_LIMIT = 60.0  # lower than for an exponential: the derivative of a power passes through larger numbers
_NEAREST = 1e-6  # to 0 and 1: nearer, the difference to the limit is lost in rounding


@dataclass(frozen=True, kw_only=True)
class FAlpha(FDivergence):
    r"""The alpha-divergences: a path from reverse to forward KL and beyond.

    $$f(u)=\frac{u^\alpha-1-\alpha(u-1)}{\alpha(\alpha-1)}$$

    $\alpha\to0$ is reverse KL, $\alpha\to1$ forward KL, $\alpha=2$ half of Pearson's, $\alpha=\frac12$ twice the
    squared-Hellinger integral. For $\alpha<1$, $g_f(v)=\frac1{1-\alpha}-\zeta(c-v)$ with
    $c=\log(e^{1/(1-\alpha)}-1)$; for $\alpha>1$, $g_f(v)=v$ and the conjugate is constant below
    $v=-\frac1{\alpha-1}$. So score 0 means equal densities for every order. The paper has $c=0$: the same game with all
    scores shifted, in which the best critic would score about $-\frac1{1-\alpha}$ and a fresh one overflow near 1.

    Use it to move between the named divergences. It fails where the critic is not bounded: the conjugate is a steep
    power of the score, and outside `score_range()` the loss raises.

    Args:
        alpha: the order, finite, not within 1e-6 of 0 or 1.
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
        activation=r"\tfrac1{1-\alpha}-\zeta(c-v),\ c=\log(e^{1/(1-\alpha)}-1)\ (\alpha<1),\ v\ (\alpha>1)",
        conjugate=r"\tfrac1\alpha\left(((\alpha-1)g_f(v)+1)^{\alpha/(\alpha-1)}-1\right)",
        bound="The bound is the alpha-divergence.",
        fails="A power of the score, which overflows: beyond its range the loss raises.",
        score_range=(-math.inf, 61.0),
    )
    """The range is that of the default order; `score_range()` returns that of the fields."""

    def __post_init__(self) -> None:
        FDivergence.__post_init__(self)
        finite_number(alpha=self.alpha)
        if min(abs(self.alpha), abs(self.alpha - 1.0)) < _NEAREST:
            raise ValueError(
                f"alpha is {self.alpha}, expected a number other than 0 and 1 (by {_NEAREST:g} or more); "
                "their limits are f_reverse_kl and f_kl."
            )

    def score_range(self) -> tuple[float, float] | None:
        """Returns the range in which the power of this alpha is finite in float32."""
        order = self._order
        if self.alpha > 1.0:
            # ((alpha - 1) v + 1) ** order <= e^60
            return (-math.inf, math.expm1(_POWER_LIMIT / order) / (self.alpha - 1.0))
        if self.alpha < 0.0:
            return (-math.inf, SCORE_LIMIT)
        # ((1 - alpha) softplus(c - v)) ** order <= e^60, with a negative order; a small one allows for more than the
        # limit of an exponential, and would round to nothing here.
        exponent = max(_POWER_LIMIT / order, -2.0 * SCORE_LIMIT)
        least, log_keep = math.exp(exponent) / (1.0 - self.alpha), self._log_keep
        highest = log_keep - math.expm1(exponent) / (1.0 - self.alpha) - math.log(-math.expm1(-least))
        # A whole number, so that a score in half precision is not rounded out of the range.
        return (-math.inf, min(SCORE_LIMIT, float(math.floor(highest))))

    def saturates(self) -> frozenset[str]:
        """Names the discriminator for negative orders, and the generator for positive ones with the conjugate."""
        if self.alpha < 0.0:
            return frozenset({"discriminator"})
        return super().saturates()

    def convex_function(self, ratio: Tensor) -> Tensor:
        return (ratio.pow(self.alpha) - 1.0 - self.alpha * (ratio - 1.0)) / (self.alpha * (self.alpha - 1.0))

    def optimal_score(self, ratio: Tensor) -> Tensor:
        rise = torch.expm1((self.alpha - 1.0) * ratio.log())
        if self.alpha > 1.0:
            return rise / (self.alpha - 1.0)
        target = (rise + 1.0) / (1.0 - self.alpha)  # = softplus(c - v), solved for v
        return self._log_keep - rise / (1.0 - self.alpha) - torch.log(-torch.expm1(-target))

    @property
    def _order(self) -> float:
        return self.alpha / (self.alpha - 1.0)

    @property
    def _log_keep(self) -> float:
        """The logarithm of $1-e^{-1/(1-\\alpha)}$, by which $c$ is less than $1/(1-\\alpha)$; for orders below 1."""
        return math.log(-math.expm1(-1.0 / (1.0 - self.alpha)))

    @property
    def _centre(self) -> float:
        """The shift $c$ of the scores, for orders below 1."""
        return 1.0 / (1.0 - self.alpha) + self._log_keep

    def _activation(self, score: Tensor) -> Tensor:
        if self.alpha > 1.0:
            return score
        # 1 / (1 - alpha) - softplus(c - v), without the large numbers that cancel there near alpha = 1
        return score - self._log_keep - softplus(score - self._centre)

    def _conjugate(self, score: Tensor) -> Tensor:
        # (1 + t) ** order - 1 by logarithms: near alpha = 1 the sum would round, and a large order magnifies that.
        t = (self.alpha - 1.0) * self._activation(score)
        if self.alpha > 1.0:
            positive = t > -1.0
            power = torch.expm1(self._order * torch.log1p(torch.where(positive, t, 0.0)))
            return torch.where(positive, power, -1.0) / self.alpha
        far = t < -0.5  # where t nears -1, and the sum is a softplus
        by_softplus = _log_softplus(torch.where(far, self._centre - score, 0.0), factor=1.0 - self.alpha)
        logarithm = torch.where(far, by_softplus, torch.log1p(torch.where(far, 0.0, t)))
        return torch.expm1(self._order * logarithm) / self.alpha


def _log_softplus(values: Tensor, *, factor: float) -> Tensor:
    """Returns log(factor * softplus(t)), whose derivatives stay finite where softplus(t) underflows."""
    small = torch.exp(values.clamp(max=-15.0))
    series = math.log(factor) + values - small * (0.5 - small * (5.0 / 24.0))
    return torch.where(values < -15.0, series, (factor * softplus(values.clamp(min=-15.0))).log())
