"""Penalties on a critic's slope."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import relu

from genloss.losses import _references as source
from genloss.losses._fields import not_negative, positive, true_or_false
from genloss.losses._penalty import Critic, CriticView, Penalty, safe_norm
from genloss.losses.card import Card, Reference
from genloss.losses.parameter_penalties import Constraint, WeightClip

__all__ = [
    "R1",
    "R2",
    "Constraint",
    "Critic",
    "CriticView",
    "Dragan",
    "GradientPenalty",
    "Penalty",
    "WassersteinDivergence",
    "WeightClip",
    "ZeroCentred",
]


@dataclass(frozen=True, kw_only=True)
class GradientPenalty(Penalty):
    r"""Keeps the critic's slope near a target on lines between real and fake samples (WGAN-GP).

    $$(\lVert\nabla_{\hat x}D(\hat x)\rVert_2-k)^2,\qquad \hat x=\epsilon x+(1-\epsilon)G(z),\quad
    \epsilon\sim U[0,1]\text{ once per sample}$$

    The norm runs over all axes of a sample; its gradient at 0 is defined as 0. One-sided, slopes below the target
    cost nothing. Use it with `Wasserstein`, several critic updates a turn, and no batch normalisation in the critic,
    which would mix the samples' gradients. It fails as a regulariser at the optimum: the two-sided form asks for slope
    1 where the best critic is flat, so training circles.

    Args:
        target: the slope $k$, at least 0.
        one_sided: penalise slopes above the target only.

    Raises:
        ValueError: a field is out of its range.

    Example:
        >>> import torch
        >>> critic = torch.nn.Linear(2, 1)
        >>> _ = critic.weight.data.copy_(torch.tensor([[3.0, 4.0]]))
        >>> real, fake = torch.zeros(2, 2), torch.ones(2, 2)
        >>> GradientPenalty()(critic, real, fake, torch.Generator().manual_seed(0)).tolist()
        [16.0, 16.0]

    Source: Gulrajani et al. 2017, equation 3 and algorithm 1.
    """

    target: float = 1.0
    one_sided: bool = False

    points: ClassVar[frozenset[str]] = frozenset({"interpolates"})
    card: ClassVar[Card] = Card(
        name="gradient_penalty",
        aliases=("wgan_gp", "gp"),
        formula={"discriminator": r"(\lVert\nabla_{\hat x}D(\hat x)\rVert_2-k)^2,\ \hat x=\epsilon x+(1-\epsilon)G(z)"},
        minimised_by="The critic minimises it beside its loss.",
        when="With the Wasserstein loss: it keeps the critic near 1-Lipschitz without clipping.",
        fails="Meaningless with batch normalisation in the critic; the two-sided form keeps the game circling at the "
        "optimum; costs a second backward pass.",
        references=(source.GULRAJANI_2017.at("(3), algorithm 1"),),
        paper={
            "train.generator.optimizer": "adam",
            "train.discriminator.optimizer": "adam",
            "train.generator.learning_rate": 1e-4,
            "train.discriminator.learning_rate": 1e-4,
            "train.generator.betas": [0.0, 0.9],
            "train.discriminator.betas": [0.0, 0.9],
            "train.discriminator.updates": 5,
        },
        weight=10.0,
    )

    def __post_init__(self) -> None:
        not_negative(target=self.target)
        true_or_false(one_sided=self.one_sided)

    def _penalty(self, view: CriticView) -> Tensor:
        excess = safe_norm(view.gradient(view.interpolates())) - self.target
        return relu(excess).square() if self.one_sided else excess.square()


@dataclass(frozen=True, kw_only=True)
class R1(Penalty):
    r"""Squared slope of the critic at real samples.

    $$\tfrac12\lVert\nabla_x D(x)\rVert_2^2,\quad x\sim p_r$$

    The recipe's weight is the paper's $\gamma$. It damps the circling of the game at the optimum, where a good critic
    is flat on the data: local convergence is proven. Use it with every logistic loss. It fails when too weak (the
    game circles) or too strong (the critic is blind); a weight tuned for one resolution does not carry to another.

    Example:
        >>> import torch
        >>> critic = torch.nn.Linear(2, 1)
        >>> _ = critic.weight.data.copy_(torch.tensor([[3.0, 4.0]]))
        >>> real = torch.zeros(2, 2)
        >>> R1()(critic, real, real, torch.Generator()).tolist()
        [12.5, 12.5]

    Source: Mescheder et al. 2018, equation 9.
    """

    points: ClassVar[frozenset[str]] = frozenset({"real"})
    card: ClassVar[Card] = Card(
        name="r1",
        formula={"discriminator": r"\tfrac12\lVert\nabla_x D(x)\rVert_2^2"},
        minimised_by="The discriminator minimises it beside its loss; the recipe's weight is gamma.",
        when="With every logistic or relativistic loss: it makes the game converge near the optimum.",
        fails="A weight that is too small lets the game circle, one that is too large blinds the critic; the right one "
        "depends on the resolution.",
        references=(source.MESCHEDER_2018.at("(9)"),),
        weight=10.0,
    )

    def _penalty(self, view: CriticView) -> Tensor:
        return 0.5 * view.gradient(view.real).square().sum(1)


@dataclass(frozen=True, kw_only=True)
class R2(Penalty):
    r"""Squared slope of the critic at generated samples.

    $$\tfrac12\lVert\nabla D(G(z))\rVert_2^2$$

    The recipe's weight is the paper's $\gamma$. Use it beside `R1`: without it, a critic that is smooth on the data
    only can still explode on the fakes. Alone it says nothing about the data.

    Example:
        >>> import torch
        >>> critic = torch.nn.Linear(2, 1)
        >>> _ = critic.weight.data.copy_(torch.tensor([[3.0, 4.0]]))
        >>> fake = torch.zeros(2, 2)
        >>> R2()(critic, fake, fake, torch.Generator()).tolist()
        [12.5, 12.5]

    Source: Mescheder et al. 2018, equation 10; Huang et al. 2024, section 2.
    """

    points: ClassVar[frozenset[str]] = frozenset({"fake"})
    card: ClassVar[Card] = Card(
        name="r2",
        formula={"discriminator": r"\tfrac12\lVert\nabla D(G(z))\rVert_2^2"},
        minimised_by="The discriminator minimises it beside its loss; the recipe's weight is gamma.",
        when="Beside R1, above all with the relativistic loss: both together converge where R1 alone diverges.",
        fails="Alone it leaves the critic free on the data; costs a second backward pass.",
        references=(source.MESCHEDER_2018.at("(10)"), source.HUANG_2024.at("section 2")),
        weight=10.0,
    )

    def _penalty(self, view: CriticView) -> Tensor:
        return 0.5 * view.gradient(view.fake).square().sum(1)


@dataclass(frozen=True, kw_only=True)
class ZeroCentred(Penalty):
    r"""Squared slope of the critic on lines between real and fake samples (0-GP).

    $$\lVert\nabla_{\hat x}D(\hat x)\rVert_2^2,\qquad \hat x=\epsilon x+(1-\epsilon)G(z)$$

    Unlike `R1` it flattens the critic between the data and the model too, which keeps it from memorising the training
    set. It fails when too strong: on lines far from both the critic should not be flat.

    Example:
        >>> import torch
        >>> critic = torch.nn.Linear(2, 1)
        >>> _ = critic.weight.data.copy_(torch.tensor([[3.0, 4.0]]))
        >>> real, fake = torch.zeros(2, 2), torch.ones(2, 2)
        >>> ZeroCentred()(critic, real, fake, torch.Generator()).tolist()
        [25.0, 25.0]

    Source: Thanh-Tung et al. 2019.
    """

    points: ClassVar[frozenset[str]] = frozenset({"interpolates"})
    card: ClassVar[Card] = Card(
        name="zero_centred",
        aliases=("zero_gp", "zero_centered"),
        formula={"discriminator": r"\lVert\nabla_{\hat x}D(\hat x)\rVert_2^2,\ \hat x=\epsilon x+(1-\epsilon)G(z)"},
        minimised_by="The discriminator minimises it beside its loss.",
        when="When the discriminator memorises a small training set.",
        fails="Too strong a weight flattens the critic where it should tell the distributions apart.",
        references=(
            Reference(
                authors="Thanh-Tung, Tran, Venkatesh",
                year=2019,
                title="Improving Generalization and Stability of Generative Adversarial Networks",
                venue="ICLR",
                url="https://arxiv.org/abs/1902.03984",
            ),
        ),
        weight=10.0,
    )

    def _penalty(self, view: CriticView) -> Tensor:
        return view.gradient(view.interpolates()).square().sum(1)


@dataclass(frozen=True, kw_only=True)
class Dragan(Penalty):
    r"""Keeps the critic's slope near a target around real samples.

    $$(\lVert\nabla D(x+\delta)\rVert_2-k)^2,\qquad \delta\sim N(0,s^2 I)$$

    It needs no fakes and fits the cross-entropy losses. It fails like every penalty with a target above 0: at the
    optimum the best critic is flat.

    Args:
        target: the slope $k$, at least 0.
        deviation: standard deviation $s$ of the perturbation in units of the data, positive. The paper's code takes
            about half of the batch's own deviation.

    Raises:
        ValueError: a field is out of its range.

    Example:
        >>> import torch
        >>> critic = torch.nn.Linear(2, 1)
        >>> _ = critic.weight.data.copy_(torch.tensor([[3.0, 4.0]]))
        >>> real = torch.zeros(2, 2)
        >>> Dragan()(critic, real, real, torch.Generator()).tolist()
        [16.0, 16.0]

    Source: Kodali et al. 2017, algorithm 1.
    """

    target: float = 1.0
    deviation: float = 0.5

    points: ClassVar[frozenset[str]] = frozenset({"noise"})
    card: ClassVar[Card] = Card(
        name="dragan",
        formula={"discriminator": r"(\lVert\nabla D(x+\delta)\rVert_2-k)^2,\ \delta\sim N(0,s^2I)"},
        minimised_by="The discriminator minimises it beside its loss.",
        when="With the cross-entropy losses, when the slope should be kept around the data only.",
        fails="A target above 0 keeps the game circling at the optimum; the deviation must fit the data's scale.",
        references=(
            Reference(
                authors="Kodali, Abernethy, Hays, Kira",
                year=2017,
                title="On Convergence and Stability of GANs",
                venue="arXiv",
                url="https://arxiv.org/abs/1705.07215",
                equation="algorithm 1",
            ),
        ),
        weight=10.0,
    )

    def __post_init__(self) -> None:
        not_negative(target=self.target)
        positive(deviation=self.deviation)

    def _penalty(self, view: CriticView) -> Tensor:
        return (safe_norm(view.gradient(view.jitter(view.real, self.deviation))) - self.target).square()


@dataclass(frozen=True, kw_only=True)
class WassersteinDivergence(Penalty):
    r"""A power of the critic's slope between real and fake: with `Wasserstein` it makes the Wasserstein divergence.

    $$k\,\lVert\nabla_{\hat x}D(\hat x)\rVert_2^p,\qquad \hat x=\epsilon x+(1-\epsilon)G(z)$$

    The critic needs no Lipschitz constant: the divergence itself bounds its slope. The coefficient is inside, so the
    recipe's weight is 1. Use it as another WGAN-GP. It fails as that one does with batch normalisation.

    Args:
        coefficient: the factor $k$, positive.
        power: the exponent $p$, above 1.

    Raises:
        ValueError: a field is out of its range.

    Example:
        >>> import torch
        >>> critic = torch.nn.Linear(2, 1)
        >>> _ = critic.weight.data.copy_(torch.tensor([[0.6, 0.8]]))
        >>> real, fake = torch.zeros(2, 2), torch.ones(2, 2)
        >>> WassersteinDivergence()(critic, real, fake, torch.Generator())
        tensor([2., 2.], grad_fn=<MulBackward0>)

    Source: Wu et al. 2018, algorithm 1.
    """

    coefficient: float = 2.0
    power: float = 6.0

    points: ClassVar[frozenset[str]] = frozenset({"interpolates"})
    card: ClassVar[Card] = Card(
        name="wasserstein_divergence",
        aliases=("wgan_div",),
        formula={"discriminator": r"k\,\lVert\nabla_{\hat x}D(\hat x)\rVert_2^p,\ \hat x=\epsilon x+(1-\epsilon)G(z)"},
        minimised_by="The critic minimises it beside the Wasserstein loss.",
        when="With the Wasserstein loss, without a Lipschitz constant to enforce.",
        fails="Meaningless with batch normalisation in the critic; the high power makes steep starts explode.",
        references=(
            Reference(
                authors="Wu, Huang, Thoma, Acharya, Van Gool",
                year=2018,
                title="Wasserstein Divergence for GANs",
                venue="ECCV",
                url="https://arxiv.org/abs/1712.01026",
                equation="algorithm 1",
            ),
        ),
    )

    def __post_init__(self) -> None:
        positive(coefficient=self.coefficient, power=self.power)
        if self.power <= 1.0:
            raise ValueError(f"power is {self.power}, expected a finite number above 1.")

    def _penalty(self, view: CriticView) -> Tensor:
        squared = view.gradient(view.interpolates()).square().sum(1)
        zero = squared == 0  # NaN is not, and stays
        powered = torch.where(zero, 1.0, squared).pow(0.5 * self.power)
        return self.coefficient * torch.where(zero, 0.0, powered)
