"""Adversarial losses: two players, one critic's scores."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import relu, softplus

from genloss.losses import _references as source
from genloss.losses._adversarial import AdversarialLoss, adam
from genloss.losses._fields import finite_number, positive
from genloss.losses.card import Card, Equilibrium

__all__ = [
    "AdversarialLoss",
    "Hinge",
    "LeastSquares",
    "Minimax",
    "NonSaturating",
    "RelativisticPaired",
    "Wasserstein",
]


@dataclass(frozen=True, kw_only=True)
class _Logistic(AdversarialLoss):
    """The discriminator of the cross-entropy losses, with a smoothed target for real samples and class weights."""

    real_label: float = 1.0
    real_weight: float = 1.0
    fake_weight: float = 1.0

    def __post_init__(self) -> None:
        positive(real_label=self.real_label, real_weight=self.real_weight, fake_weight=self.fake_weight)
        if self.real_label > 1.0:
            raise ValueError(f"real_label is {self.real_label}, expected a probability in (0, 1], e.g. 0.9.")

    def _discriminator(self, a_r: Tensor, a_f: Tensor) -> Tensor:
        # label * softplus(-a) + (1 - label) * softplus(a) equals softplus(a) - label * a; for label 1 the first
        # form has no cancellation at large scores.
        on_real = softplus(-a_r)
        if self.real_label < 1.0:
            on_real = self.real_label * on_real + (1.0 - self.real_label) * softplus(a_r)
        on_fake = softplus(a_f)
        if self.real_weight != 1.0 or self.fake_weight != 1.0:  # a small model feels each kernel
            return self.real_weight * on_real + self.fake_weight * on_fake
        return on_real + on_fake

    def _best_probability(self) -> float:
        """Returns the probability of "real" that the best critic gives where both densities agree."""
        return self.real_weight * self.real_label / (self.real_weight + self.fake_weight)

    def _equilibrium(self, generator: float) -> Equilibrium:
        p = self._best_probability()
        entropy = -p * math.log(p) - (1.0 - p) * math.log1p(-p)
        return Equilibrium(
            score=math.log(p) - math.log1p(-p),
            discriminator=(self.real_weight + self.fake_weight) * entropy,
            generator=generator,
        )


_CROSS_ENTROPY = r"\zeta(-a_r)+\zeta(a_f),\quad \zeta(t)=\log(1+e^t)"


@dataclass(frozen=True, kw_only=True)
class Minimax(_Logistic):
    r"""The zero-sum game of the first GAN: the generator minimises what the discriminator maximises.

    $$L_D=\zeta(-a_r)+\zeta(a_f),\qquad L_G=-\zeta(a_f)=\log(1-D(G(z)))$$

    At the best discriminator, $-L_D=2\,JS(p_r\Vert p_g)-2\log 2$. Use it to study the theory. It fails early in
    training: where the discriminator rejects fakes surely, the generator's gradient $-\sigma(a_f)$ vanishes.

    Args:
        real_label: target probability of real samples in (0, 1]; below 1 is one-sided label smoothing.
        real_weight: weight of the real samples' cross-entropy, positive.
        fake_weight: weight of the fake samples' cross-entropy, positive.

    Raises:
        ValueError: a field is out of its range.

    Example:
        >>> import torch
        >>> loss = Minimax()
        >>> loss.discriminator(torch.zeros(2), torch.zeros(2))
        tensor([1.3863, 1.3863])
        >>> loss.generator(torch.tensor([-20.0]))
        tensor([-2.0612e-09])

    Source: Goodfellow et al. 2014, equation 1; Qiu 2020, equations 13.30 to 13.36.
    """

    card: ClassVar[Card] = Card(
        name="minimax",
        aliases=("saturating",),
        formula={"discriminator": _CROSS_ENTROPY, "generator": r"-\zeta(a_f)=\log(1-D(G(z)))"},
        minimised_by="The discriminator minimises the cross-entropy of real against fake; the generator minimises its "
        "negative.",
        when="To study the theory: at the best discriminator the game's value is 2 JS - 2 log 2.",
        fails="Saturates: when the discriminator is sure that a sample is fake, the generator's gradient vanishes.",
        references=(source.GOODFELLOW_2014.at("(1)"), source.NNDL.at("(13.30)-(13.36)")),
        paper={"train.discriminator.updates": 1},
    )

    def _generator(self, a_f: Tensor, a_r: Tensor | None) -> Tensor:
        return -softplus(a_f)

    def saturates(self) -> frozenset[str]:
        """Names the generator: that is the loss's known weakness."""
        return frozenset({"generator"})

    def equilibrium(self, *, batch: int = 1) -> Equilibrium:
        """Returns 2 log 2 and -log 2 at score 0 for the default fields."""
        return self._equilibrium(generator=math.log1p(-self._best_probability()))


@dataclass(frozen=True, kw_only=True)
class NonSaturating(_Logistic):
    r"""The practical loss of the first GAN: the generator maximises the log-probability of "real".

    $$L_D=\zeta(-a_r)+\zeta(a_f),\qquad L_G=\zeta(-a_f)=-\log D(G(z))$$

    Same fixed point as `Minimax`, another gradient: it stays near -1 where fakes are rejected. A good default with
    R1. It drops modes: at the best discriminator its gradient is that of $KL(p_g\Vert p_r)-2\,JS$.

    Args:
        real_label: target probability of real samples in (0, 1]; below 1 is one-sided label smoothing.
        real_weight: weight of the real samples' cross-entropy, positive.
        fake_weight: weight of the fake samples' cross-entropy, positive.

    Raises:
        ValueError: a field is out of its range.

    Example:
        >>> import torch
        >>> loss = NonSaturating(real_label=0.9)
        >>> loss.discriminator(torch.zeros(2), torch.zeros(2))
        tensor([1.3863, 1.3863])
        >>> loss.generator(torch.tensor([-20.0]))
        tensor([20.])

    Source: Goodfellow et al. 2014, section 3; Qiu 2020, equation 13.33; smoothing: Salimans et al. 2016, section 3.4;
    the paper of its optimiser: Radford et al. 2016.
    """

    card: ClassVar[Card] = Card(
        name="non_saturating",
        aliases=("logistic", "ns"),
        formula={"discriminator": _CROSS_ENTROPY, "generator": r"\zeta(-a_f)=-\log D(G(z))"},
        minimised_by="The discriminator minimises the cross-entropy of real against fake; the generator minimises the "
        "cross-entropy of its samples under the label real.",
        when="A good default, with R1: its gradient stays large where the discriminator rejects the fakes.",
        fails="Drops modes (its gradient is that of KL(fake || real) - 2 JS) and circles around the optimum without a "
        "penalty.",
        references=(
            source.GOODFELLOW_2014.at("section 3"),
            source.NNDL.at("(13.33)"),
            source.SALIMANS_2016.at("section 3.4"),
            source.RADFORD_2016,
        ),
        paper=adam(2e-4, 0.5, 0.999),
    )

    def _generator(self, a_f: Tensor, a_r: Tensor | None) -> Tensor:
        return softplus(-a_f)

    def equilibrium(self, *, batch: int = 1) -> Equilibrium:
        """Returns 2 log 2 and log 2 at score 0 for the default fields."""
        return self._equilibrium(generator=-math.log(self._best_probability()))


@dataclass(frozen=True, kw_only=True)
class LeastSquares(AdversarialLoss):
    r"""Squared distance of the scores to targets: no saturation on either side of the decision boundary.

    $$L_D=\tfrac12(a_r-b)^2+\tfrac12(a_f-a)^2,\qquad L_G=\tfrac12(a_f-c)^2$$

    with $a$ `fake_target`, $b$ `real_target`, $c$ `generator_target`; scores are raw, without a sigmoid. With
    $b-c=1$ and $b-a=2$ the generator minimises the Pearson chi-squared of the mixture. Use it when the cross-entropy
    saturates. It fails by large scores: a far outlier dominates the batch.

    Args:
        fake_target: what the discriminator aims at for fakes.
        real_target: what it aims at for real samples, above `fake_target`.
        generator_target: what the generator wants its fakes to score, above `fake_target`.

    Raises:
        ValueError: a target is not finite or not above `fake_target`.

    Example:
        >>> import torch
        >>> LeastSquares().discriminator(torch.tensor([0.5]), torch.tensor([0.5]))
        tensor([0.2500])

    Source: Mao et al. 2017, equation 2.
    """

    fake_target: float = 0.0
    real_target: float = 1.0
    generator_target: float = 1.0

    card: ClassVar[Card] = Card(
        name="least_squares",
        aliases=("lsgan",),
        formula={"discriminator": r"\tfrac12(a_r-b)^2+\tfrac12(a_f-a)^2", "generator": r"\tfrac12(a_f-c)^2"},
        minimised_by="The discriminator minimises the squared distance of scores to their targets; the generator that "
        "of its samples to the generator's target.",
        when="When the cross-entropy saturates; a smooth loss whose gradient grows with the distance to the target.",
        fails="Outlying scores dominate the batch; it drops modes on multi-modal data like the cross-entropy.",
        references=(source.MAO_2017.at("(2)"),),
        paper=adam(1e-3, 0.5, 0.999),
    )

    def __post_init__(self) -> None:
        finite_number(
            fake_target=self.fake_target, real_target=self.real_target, generator_target=self.generator_target
        )
        for name in ("real_target", "generator_target"):
            if getattr(self, name) <= self.fake_target:
                raise ValueError(
                    f"{name} is {getattr(self, name)}, expected more than fake_target, {self.fake_target}: "
                    "scores are high for real samples."
                )

    def _discriminator(self, a_r: Tensor, a_f: Tensor) -> Tensor:
        return 0.5 * (a_r - self.real_target).square() + 0.5 * (a_f - self.fake_target).square()

    def _generator(self, a_f: Tensor, a_r: Tensor | None) -> Tensor:
        return 0.5 * (a_f - self.generator_target).square()

    def equilibrium(self, *, batch: int = 1) -> Equilibrium:
        """Returns 0.25 and 0.125 at score 0.5 for the default fields."""
        score = 0.5 * (self.real_target + self.fake_target)
        return Equilibrium(
            score=score,
            discriminator=0.25 * (self.real_target - self.fake_target) ** 2,
            generator=0.5 * (score - self.generator_target) ** 2,
        )


@dataclass(frozen=True, kw_only=True)
class Wasserstein(AdversarialLoss):
    r"""The critic's difference of means; the negative of its loss estimates $K\cdot W_1(p_r,p_g)$.

    $$L_D=a_f-a_r,\qquad L_G=-a_f$$

    The critic must be $K$-Lipschitz: add `GradientPenalty`, `WeightClip`, or spectral normalisation, and give it
    several updates a turn. Without one of them the loss runs to minus infinity. Use it for a loss that falls with the
    distance.

    Example:
        >>> import torch
        >>> Wasserstein().discriminator(torch.tensor([3.0]), torch.tensor([1.0]))
        tensor([-2.])

    Source: Arjovsky et al. 2017, equations 2 and 3 and algorithm 1; Qiu 2020, equations 13.55 and 13.56
    and algorithm 13.2.
    """

    card: ClassVar[Card] = Card(
        name="wasserstein",
        aliases=("wgan",),
        formula={"discriminator": r"a_f-a_r", "generator": r"-a_f"},
        minimised_by="The critic minimises the mean score of fakes less that of real samples; the generator the "
        "negative mean score of its samples.",
        when="When the loss should fall with the distance between the distributions, and supports hardly overlap.",
        fails="Runs away without a Lipschitz constraint (gradient penalty, clipping, spectral normalisation); a critic "
        "with few updates gives a poor estimate; with weight clipping its capacity is wasted.",
        references=(
            source.ARJOVSKY_2017.at("(2), (3), algorithm 1"),
            source.NNDL.at("(13.55), (13.56), algorithm 13.2"),
        ),
        paper={
            "train.generator.optimizer": "rmsprop",
            "train.discriminator.optimizer": "rmsprop",
            "train.generator.learning_rate": 5e-5,
            "train.discriminator.learning_rate": 5e-5,
            "train.discriminator.updates": 5,
            "penalties": [{"name": "weight_clip", "bound": 0.01}],
        },
    )

    def _discriminator(self, a_r: Tensor, a_f: Tensor) -> Tensor:
        return a_f - a_r

    def _generator(self, a_f: Tensor, a_r: Tensor | None) -> Tensor:
        return -a_f

    def equilibrium(self, *, batch: int = 1) -> Equilibrium:
        """Returns 0 for the critic at any constant score."""
        return Equilibrium(score=None, discriminator=0.0, generator=None)


@dataclass(frozen=True, kw_only=True)
class Hinge(AdversarialLoss):
    r"""The critic stops pushing a sample once it is beyond the margin.

    $$L_D=[1-a_r]_+ +[1+a_f]_+,\qquad L_G=-a_f$$

    At the best critic the generator's value is the total variation distance. The usual choice for deep image GANs
    with spectral normalisation. It fails when every score lies beyond the margin: the critic's gradient is then 0.

    Example:
        >>> import torch
        >>> Hinge().discriminator(torch.tensor([0.0, 2.0]), torch.tensor([0.0, -2.0]))
        tensor([2., 0.])

    Source: Lim and Ye 2017; Miyato et al. 2018, equations 16 and 17.
    """

    card: ClassVar[Card] = Card(
        name="hinge",
        aliases=("geometric",),
        formula={"discriminator": r"[1-a_r]_+ +[1+a_f]_+", "generator": r"-a_f"},
        minimised_by="The critic minimises the hinge of its margin on both sides; the generator the negative mean "
        "score of its samples.",
        when="Image GANs with spectral normalisation; robust to outliers, since a sample beyond the margin is left "
        "alone.",
        fails="The critic's gradient is 0 once all scores are beyond the margin; without a constraint it gets there.",
        references=(source.LIM_2017, source.MIYATO_2018.at("(16), (17)")),
        paper={**adam(2e-4, 0.0, 0.9), "train.discriminator.updates": 5},
    )

    def _discriminator(self, a_r: Tensor, a_f: Tensor) -> Tensor:
        return relu(1.0 - a_r) + relu(1.0 + a_f)

    def _generator(self, a_f: Tensor, a_r: Tensor | None) -> Tensor:
        return -a_f

    def equilibrium(self, *, batch: int = 1) -> Equilibrium:
        """Returns 2 for the critic at any constant score in [-1, 1]."""
        return Equilibrium(score=None, discriminator=2.0, generator=None)


@dataclass(frozen=True, kw_only=True)
class RelativisticPaired(AdversarialLoss):
    r"""The critic judges each real sample against one fake, so that no score is good by itself.

    $$L_D=\zeta(-(a_r-a_f)),\qquad L_G=\zeta(-(a_f-a_r))$$

    With `R1` and `R2` it converges locally and keeps every mode of stacked MNIST. The generator's update costs a
    forward pass of real samples. Without penalties it diverges as the others do.

    Example:
        >>> import torch
        >>> loss = RelativisticPaired()
        >>> loss.generator(torch.tensor([1.0]), torch.tensor([1.0]))
        tensor([0.6931])

    Source: Jolicoeur-Martineau 2019, section 4 (RSGAN); Huang et al. 2024, equation 2 (in its non-saturating form).
    """

    generator_needs_real: ClassVar[bool] = True
    card: ClassVar[Card] = Card(
        name="relativistic",
        aliases=("relativistic_paired", "rpgan"),
        formula={"discriminator": r"\zeta(-(a_r-a_f))", "generator": r"\zeta(-(a_f-a_r))"},
        minimised_by="The critic minimises the cross-entropy of 'this real sample is more real than this fake'; the "
        "generator that of the opposite.",
        when="With R1 and R2, for coverage: no mode can be dropped without a pair that shows it.",
        fails="Diverges without a gradient penalty; needs real scores in the generator's update.",
        references=(source.JOLICOEUR_2019.at("section 4"), source.HUANG_2024.at("(2)")),
        paper={
            **adam(2e-4, 0.0, 0.99),
            "penalties": [{"name": "r1", "weight": 1.0}, {"name": "r2", "weight": 1.0}],
        },
    )

    def _discriminator(self, a_r: Tensor, a_f: Tensor) -> Tensor:
        return softplus(a_f - a_r)

    def _generator(self, a_f: Tensor, a_r: Tensor | None) -> Tensor:
        assert a_r is not None
        return softplus(a_r - a_f)

    def equilibrium(self, *, batch: int = 1) -> Equilibrium:
        """Returns log 2 for both players at any constant score."""
        return Equilibrium(score=None, discriminator=math.log(2.0), generator=math.log(2.0))
